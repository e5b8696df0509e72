# Docker with a daemon of its own: containers in front and behind, exec, logs, stop, limits, networks, a build.
# needs: dockerd docker containerd iptables script curl
# shellcheck shell=sh disable=SC2016
set -u
. "$(dirname "$0")/lib.sh"
make_image
about "docker $(dockerd --version | sed 's/.*version \([^,+]*\).*/\1/'), containerd $(containerd --version | cut -d' ' -f3)"
multi_stage bb
# Images to build.
mkdir -p "$PLACE/b"
printf 'FROM bb\nRUN echo built > /x && id\nCMD cat /x\n' > "$PLACE/b/Dockerfile"
printf 'FROM bb\nRUN exit 9\n' > "$PLACE/b/Fails"
echo s3cret > "$PLACE/b/secret"
cat > "$PLACE/b/Mounts" <<'FILE'
FROM bb
RUN --mount=type=secret,id=x --mount=type=cache,target=/c \
    cp /run/secrets/x /said && chmod 644 /said && touch /c/x
RUN --mount=type=cache,target=/c [ ! -s /run/secrets/x ] && ls /c >> /said
CMD cat /said
FILE
printf '#!/bin/sh\nexport DOCKER_BUILDKIT=1\nexec %s/d build --no-cache "$@" %s\n' "$PLACE" "$PLACE/b" > "$PLACE/bk"
chmod +x "$PLACE/bk"
BK=$PLACE/bk
. "$(dirname "$0")/dockerd.sh"
"$D" import "$PLACE/image.tar" bb > /dev/null || { tail -20 "$PLACE/log"; exit 1; }

printf '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}' > "$PLACE/profile.json"

if [ -n "$STORM" ]; then
    once() { case $1 in */*) set -- tested "$2" ;; esac; "$RUN" --rm --runtime "$1" --name "$2" bb echo ok; }
    . "$(dirname "$0")/storm.sh"
    in_a_row
fi

scenario "info shows the runtime" 0 "tested" "$D" info --format '{{.DefaultRuntime}}'
scenario "run" 0 "hello" "$RUN" --rm bb echo hello
scenario "run: exit status" 43 "" "$RUN" --rm bb sh -c 'exit 43'
scenario "run: missing program is 127" 127 "*no/such*" "$RUN" --rm bb /no/such
scenario "run: not in PATH is 127" 127 "*executable file not found in*PATH*" "$RUN" --rm bb nosuch
scenario "run: not in PATH, of which a part is another's, is 127" 127 "*executable file not found in*PATH*" "$RUN" --rm -u 1000 -e PATH=/root:/bin --tmpfs /root:mode=700 bb nosuch
scenario "run: a file on a directory is explained" 125 "*Are you trying to mount a directory onto a file*" "$RUN" --rm -v /etc/passwd:/tmp bb true
scenario "run: program that is no program is 126" 126 "*" "$RUN" --rm bb /etc
scenario "run: wrong flag is 125" 125 "*" "$RUN" --rm --no-such-flag bb true
scenario "run -i: stdin" 0 "12" sh -c "echo hello world | $RUN -i --rm bb wc -c"
scenario "run -t: a terminal" 0 "*/dev/pts/0*" "$TERMINAL" "$RUN -it --rm bb tty"
scenario "run: user, directory, environment, host name" 0 "1000 1000 /tmp B h" \
    "$RUN" --rm -u 1000:1000 -w /tmp -e A=B -h h bb sh -c 'echo $(id -u) $(id -g) $(pwd) $A $(hostname)'
scenario "run --init" 0 "*init*" "$RUN" --rm --init bb cat /proc/1/cmdline
scenario "run --read-only" 1 "*Read-only*" "$RUN" --rm --read-only bb touch /x
scenario "run --tmpfs: size, owner" 0 "*size=1024k,*uid=7*" "$RUN" --rm --tmpfs /t:size=1m,uid=7 bb grep ' /t ' /proc/mounts
scenario "run -v: read-only bind" 1 "*Read-only*" "$RUN" --rm -v "$PLACE/image:/m:ro" bb touch /m/x
scenario "run -v: named volume" 0 "kept" sh -c \
    "$RUN --rm -v vol:/m bb sh -c 'echo kept > /m/x' && $RUN --rm -v vol:/m bb cat /m/x"
scenario "run --cap-drop" 0 "CapEff:	0000000000000000" "$RUN" --rm --cap-drop all bb grep CapEff /proc/self/status
scenario "run --cap-add" 0 "CapEff:	0000000000200000" "$RUN" --rm --cap-drop all --cap-add sys_admin bb grep CapEff /proc/self/status
scenario "run: default seccomp profile" 0 "Seccomp:	2" "$RUN" --rm bb grep Seccomp: /proc/self/status
# No capability is asked for a user namespace, so that only the profile can refuse it.
scenario "run: the profile is in force" 1 "*Operation not permitted*" "$RUN" --rm bb unshare -U true
scenario "run --security-opt seccomp: a profile of one's own" 1 "*Operation not permitted*" \
    "$RUN" --rm --security-opt "seccomp=$PLACE/profile.json" bb mkdir /x
scenario "run --security-opt seccomp=unconfined" 0 "Seccomp:	0" \
    "$RUN" --rm --security-opt seccomp=unconfined bb grep Seccomp: /proc/self/status
scenario "run --privileged" 0 "Seccomp:	0" "$RUN" --rm --privileged bb grep Seccomp: /proc/self/status
scenario "run --security-opt no-new-privileges" 0 "NoNewPrivs:	1" "$RUN" --rm --security-opt no-new-privileges bb grep NoNewPrivs /proc/self/status
scenario "run --memory" 0 "33554432" "$RUN" --rm --memory 32m bb cat /sys/fs/cgroup/memory/memory.limit_in_bytes
scenario "run --pids-limit" 0 "17" "$RUN" --rm --pids-limit 17 bb cat /sys/fs/cgroup/pids/pids.max
scenario "run --cpus" 0 "50000" "$RUN" --rm --cpus 0.5 bb cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us
scenario "run --ulimit" 0 "123" "$RUN" --rm --ulimit nofile=123:123 bb sh -c 'ulimit -n'
scenario "run --device" 0 "*10, 229*" "$RUN" --rm --device /dev/fuse bb ls -l /dev/fuse
scenario "run --sysctl" 0 "1" "$RUN" --rm --sysctl net.ipv4.ip_forward=1 bb cat /proc/sys/net/ipv4/ip_forward
scenario "run --pid host" 0 "*" "$RUN" --rm --pid host bb sh -c '[ $$ != 1 ]'
scenario "run --ipc host" 0 "*" "$RUN" --rm --ipc host bb true
scenario "run --net host" 0 "*docker0*" "$RUN" --rm --net host bb ip link
scenario "run --net none" 0 "1" "$RUN" --rm --net none bb sh -c 'ip link | grep -c ^[0-9]'
scenario "run: bridge network" 0 "*inet 172.*" "$RUN" --rm bb ip -4 addr show dev eth0
scenario "run --memory: out of memory" 137 "*" "$RUN" --rm --memory 16m --memory-swap 16m bb sh -c 'x=$(head -c 64m /dev/zero | tr "\0" x); sleep 1'

scenario "run -d" 0 "*" "$RUN" -d --name dd bb sh -c 'echo started; trap "echo stopping; exit 5" TERM; while :; do sleep 0.1; done'
chosen "run -d" && wait_for 5 sh -c "$D logs dd | grep -q started"
scenario "ps" 0 "dd Up*" "$D" ps --format '{{.Names}} {{.Status}}'
scenario "exec" 0 "hello" "$D" exec dd echo hello
scenario "exec: exit status" 9 "" "$D" exec dd sh -c 'exit 9'
scenario "exec: user, directory, environment" 0 "1000 /tmp B" "$D" exec -u 1000 -w /tmp -e A=B dd sh -c 'echo $(id -u) $(pwd) $A'
scenario "exec -i" 0 "12" sh -c "echo hello world | $D exec -i dd wc -c"
scenario "exec -t" 0 "*/dev/pts/*" "$TERMINAL" "$D exec -it dd tty"
scenario "exec -d" 0 "*/from-exec*" sh -c "$D exec -d dd touch /from-exec; sleep 0.5; $D exec dd ls /from-exec"
scenario "exec: missing program" "12[67]" "*no*such*" "$D" exec dd /no/such
scenario "top" 0 "*sleep*" "$D" top dd
scenario "stats" 0 "dd *" "$D" stats --no-stream --format '{{.Name}} {{.PIDs}}' dd
scenario "pause" 0 "dd" "$D" pause dd
scenario "ps of the paused" 0 "*Paused*" "$D" ps --format '{{.Status}}'
scenario "unpause" 0 "dd" "$D" unpause dd
scenario "update" 0 "dd" "$D" update --memory 64m --memory-swap 64m dd
scenario "update: in force" 0 "67108864" "$D" exec dd cat /sys/fs/cgroup/memory/memory.limit_in_bytes
scenario "cp out and in" 0 "root:*from outside" sh -c "echo from outside > $PLACE/h && $D cp dd:/etc/passwd - | tar -xO && $D cp $PLACE/h dd:/h 2> /dev/null && $D exec dd cat /h"
scenario "stop" 0 "dd" "$D" stop -t 5 dd
scenario "wait: the program's own exit" 0 "5" "$D" wait dd
scenario "logs" 0 "started*stopping" "$D" logs dd
scenario "start again, kill, wait" 0 "*137" sh -c "$D start dd; $D kill dd; $D wait dd"
scenario "run --memory: the engine knows why it ended" 0 "true 137" sh -c \
    "$RUN -d --name oo --memory 16m --memory-swap 16m bb sh -c 'x=\$(head -c 64m /dev/zero | tr \"\\0\" x); sleep 1' > /dev/null; $D wait oo > /dev/null; $D inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' oo; $D rm -f oo > /dev/null"
scenario "stop: killed after its time" 0 "*137" sh -c "$RUN -d --name st bb sh -c 'trap : TERM; while :; do sleep 0.1; done' > /dev/null; sleep 0.5; $D stop -t 1 st; $D wait st; $D rm st > /dev/null"
scenario "restart" 0 "dd" "$D" restart -t 1 dd
scenario "rm -f" 0 "dd" "$D" rm -f dd
scenario "restart policy" 0 "*[1-9]" sh -c "$RUN -d --name rr --restart on-failure:3 bb sh -c 'exit 1' > /dev/null; sleep 2; $D inspect -f '{{.RestartCount}}' rr; $D rm -f rr > /dev/null"
scenario "health check" 0 "*healthy*" sh -c "$RUN -d --name hh --health-cmd 'test -e /etc/passwd' --health-interval 0.3s bb sleep 100 > /dev/null; sleep 2; $D inspect -f '{{.State.Health.Status}}' hh; $D rm -f hh"
scenario "join pid, ipc, network of another" 0 "*sleep 77*" sh -c "$RUN -d --name jj --ipc shareable bb sleep 77 > /dev/null; $RUN --rm --pid container:jj --ipc container:jj --net container:jj bb ps; $D rm -f jj > /dev/null"
scenario "own network: names" 0 "*64 bytes*" sh -c "$D network create nn > /dev/null; $RUN -d --name kk --net nn bb sleep 100 > /dev/null; $RUN --rm --net nn bb ping -c 1 kk; $D rm -f kk > /dev/null; $D network rm nn > /dev/null"
scenario "build" 0 "*built*" sh -c "DOCKER_BUILDKIT=0 $D build -q -t b $PLACE/b > /dev/null && $RUN --rm b"
scenario "ten at once" 0 "10" sh -c "for n in 0 1 2 3 4 5 6 7 8 9; do $RUN --rm bb echo x & done | grep -c x"

scenario "build: multi-stage, from scratch" 7 "from scratch" sh -c "DOCKER_BUILDKIT=0 $D build -q -t multi $PLACE/multi > /dev/null 2>&1 && $RUN --rm multi"
# BuildKit knows no runtimes and runs `runc` of the daemon's PATH, which notes its command lines.
if docker buildx version > /dev/null 2>&1 || [ -z "$SUITE" ]; then
    rm -f "$PLACE/runc.log"
    scenario "BuildKit: build" 0 "*built" sh -c "$BK -q -t bk > /dev/null && $RUN --rm bk"
    scenario "BuildKit: multi-stage, from scratch" 7 "from scratch" \
        sh -c "DOCKER_BUILDKIT=1 $D build -q -t bkm $PLACE/multi > /dev/null && $RUN --rm bkm"
    scenario "BuildKit: a step that fails" "[1-9]*" "*exit code: 9*" "$BK" -f "$PLACE/b/Fails"
    scenario "BuildKit: a secret, a cache" 0 "s3cret?x" \
        sh -c "$BK -q -f $PLACE/b/Mounts --secret id=x,src=$PLACE/b/secret -t bks > /dev/null && $RUN --rm bks"
    scenario "BuildKit: it was the runtime that ran" 0 "*run *" cat "$PLACE/runc.log"
else
    skipped "BuildKit: build" "docker-buildx is not installed"
fi
scenario "build: a step that fails" "[1-9]*" "*returned a non-zero code: 9*" sh -c "DOCKER_BUILDKIT=0 $D build -f $PLACE/b/Fails $PLACE/b"
scenario "restart policy on-failure: as often as it says" 0 "2 5" sh -c "$RUN -d --name r1 --restart on-failure:2 bb sh -c 'exit 5' > /dev/null; sleep 4; $D inspect -f '{{.RestartCount}} {{.State.ExitCode}}' r1; $D rm -f r1 > /dev/null"
scenario "restart policy always: until it is stopped" 0 "exited" sh -c "$RUN -d --name r2 --restart always bb sleep 0.3 > /dev/null; sleep 3; [ \$($D inspect -f '{{.RestartCount}}' r2) -gt 1 ] && $D stop -t 1 r2 > /dev/null; sleep 1; $D inspect -f '{{.State.Status}}' r2; $D rm -f r2 > /dev/null"
scenario "health check: an unhealthy one" 0 "unhealthy" sh -c "$RUN -d --name h2 --health-cmd false --health-retries 2 --health-interval 0.3s bb sleep 100 > /dev/null; sleep 3; $D inspect -f '{{.State.Health.Status}}' h2; $D rm -f h2 > /dev/null"
scenario "published port" 0 "*root:*" sh -c "$RUN -d --name pub -p 127.0.0.1:8099:80 bb httpd -f -p 80 -h /etc > /dev/null; sleep 1; curl -s http://127.0.0.1:8099/passwd; $D rm -f pub > /dev/null"
scenario "attach" 0 "tick*" sh -c "$RUN -d --name att bb sh -c 'sleep 1; echo tick' > /dev/null; $D attach --no-stdin att; $D rm -f att > /dev/null"
# The same over the HTTP API.
printf '#!/bin/sh\npath=$1; shift\nexec curl -s --unix-socket %s/sock "$@" "http://docker$path"\n' "$PLACE" > "$PLACE/api"
printf '{"Image":"bb","Cmd":["sh","-c","echo from the API; exit 6"]}' > "$PLACE/create.json"
chmod +x "$PLACE/api"
API=$PLACE/api
scenario "API: create" 0 "201" "$API" "/containers/create?name=api" -o /dev/null -w '%{http_code}' -H 'Content-Type: application/json' -d "@$PLACE/create.json"
scenario "API: start" 0 "204" "$API" /containers/api/start -X POST -w '%{http_code}'
scenario "API: wait" 0 '*"StatusCode":6*' "$API" /containers/api/wait -X POST
scenario "API: logs" 0 "*from the API*" sh -c "$API '/containers/api/logs?stdout=1' | tr -d '\\000'"
scenario "API: exec and its exit status" 0 '*"ExitCode":4*' sh -c "$RUN -d --name ae bb sleep 100 > /dev/null
    id=\$($API /containers/ae/exec -H 'Content-Type: application/json' -d '{\"Cmd\":[\"sh\",\"-c\",\"exit 4\"]}' | sed 's/.*\"Id\":\"\([0-9a-f]*\).*/\1/')
    $API /exec/\$id/start -H 'Content-Type: application/json' -d '{}'; sleep 0.5; $API /exec/\$id/json; $D rm -f ae > /dev/null"
scenario "API: delete" 0 "204" "$API" /containers/api -X DELETE -w '%{http_code}'
# Compose: a server, and a client that finds it by its name.
mkdir -p "$PLACE/stack"
cat > "$PLACE/stack/docker-compose.yml" <<STACK
version: "3"
services:
  data: {image: bb, command: "sh -c 'mkdir -p /w && echo stored > /w/x && exec httpd -f -p 81 -h /w'"}
  app: {image: bb, depends_on: [data], command: "sh -c 'mkdir -p /w && until wget -q -O /w/x http://data:81/x; do sleep 0.2; done; exec httpd -f -p 80 -h /w'"}
  front: {image: bb, depends_on: [app], command: "sh -c 'until wget -q -O - http://app/x; do sleep 0.2; done'"}
STACK
if command -v docker-compose > /dev/null; then
    printf '#!/bin/sh\ncd %s/stack && exec timeout 60 docker-compose "$@"\n' "$PLACE" > "$PLACE/c"
    chmod +x "$PLACE/c"
    scenario "compose up: three tiers" 0 "*stored*exited with code 0*" "$PLACE/c" up --exit-code-from front
    scenario "compose down" 0 "*" "$PLACE/c" down -t 1
    scenario "compose: nothing left" 0 "" "$D" ps -a --filter label=com.docker.compose.project --format "{{.Names}}"
else
    skipped "compose up: three tiers" "docker-compose is not installed"
fi
# The daemon ends and starts again while a container runs.
if chosen "live-restore: exec after it"; then
    "$RUN" -d --name live bb sh -c 'trap "exit 8" TERM; while :; do echo alive; sleep 0.2; done' > /dev/null
    pid=$("$D" inspect -f '{{.State.Pid}}' live)
    "$D" ps -aq -f name=live > /dev/null
    served
    judge "live-restore: the container outlives the daemon" 0 "" "$(kill -0 "$pid" 2> /dev/null; echo $?)" ""
    serve --data-root "$PLACE/data"
    scenario "live-restore: the daemon finds it again" 0 "live Up*" "$D" ps --format '{{.Names}} {{.Status}}'
    scenario "live-restore: exec after it" 0 "again" "$D" exec live echo again
    scenario "live-restore: logs after it" 0 "*alive*" sh -c "sleep 0.5; $D logs --since 400ms live"
    scenario "live-restore: stop and exit status" 0 "8" sh -c "$D stop -t 5 live > /dev/null; $D wait live"
fi
"$D" ps -aq | xargs -r "$D" rm -f > /dev/null 2>&1
served
# A second daemon, whose containers have a user namespace.
if chosen "userns-remap: the container's root is not root" && [ -z "$STORM" ]; then
    for file in subuid subgid; do
        echo "nobody:100000:65536" > "$PLACE/$file"
        [ -e /etc/$file ] && mount --bind "$PLACE/$file" /etc/$file
    done
    serve --data-root "$PLACE/data2" --userns-remap nobody:nogroup
    "$D" import "$PLACE/image.tar" bb > /dev/null
    scenario "userns-remap: the container's root is not root" 0 "*0 *100000 *65536" "$RUN" --rm bb cat /proc/self/uid_map
    scenario "userns-remap: root writes its own files" 0 "0" "$RUN" --rm bb sh -c 'touch /x && stat -c %u /x'
    scenario "userns-remap: network, exit status" 43 "*inet 172.*" "$RUN" --rm bb sh -c 'ip -4 addr show dev eth0; exit 43'
    scenario "userns-remap: not the host's files" 1 "*Permission denied*" "$RUN" --rm -v /root:/m bb ls /m
    scenario "userns-remap: exec" 0 "0" sh -c "$RUN -d --name uu bb sleep 100 > /dev/null; $D exec uu id -u; $D rm -f uu > /dev/null"
    scenario "userns-remap: off for one" 0 "*0 *0 *4294967295" "$RUN" --rm --userns host bb cat /proc/self/uid_map
    served
fi
skipped "checkpoint" "the runtime has no checkpoint"
for mount in $(grep " $PLACE/" /proc/self/mountinfo | awk '{print $5}' | sort -r); do umount "$mount" 2> /dev/null; done
judge "nothing is left behind" 0 "" 0 "$(left_behind; pidof containerd-shim-runc-v2)"
[ -z "${DEBUG:-}" ] || cat "$PLACE/log"
finish
