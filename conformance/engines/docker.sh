# Docker with a daemon of its own: containers in front and behind, exec, logs, stop, limits, networks, a build.
# needs: dockerd docker containerd iptables script
# shellcheck shell=sh disable=SC2016
set -u
. "$(dirname "$0")/lib.sh"
make_image
mkdir -p "$PLACE/b"
printf '{"runtimes":{"tested":{"path":"%s"},"crun":{"path":"/usr/bin/crun"}},"default-runtime":"tested"}' "$RUNTIME" > "$PLACE/daemon.json"
ip link set lo up 2> /dev/null
mount -t tmpfs tmpfs /etc/docker 2> /dev/null
(dockerd --config-file "$PLACE/daemon.json" -H "unix://$PLACE/sock" --data-root "$PLACE/data" --exec-root "$PLACE/exec" \
    --pidfile "$PLACE/pid" --cgroup-parent "/$PARENT" --storage-driver overlay2 \
    --exec-opt native.cgroupdriver=cgroupfs; echo "dockerd ended: $?") > "$PLACE/log" 2>&1 &
printf '#!/bin/sh\nexec timeout 30 docker -H unix://%s/sock "$@"\n' "$PLACE" > "$PLACE/d"
printf '#!/bin/sh\nexec %s/d run "$@"\n' "$PLACE" > "$PLACE/run"
chmod +x "$PLACE/d" "$PLACE/run"
D=$PLACE/d RUN=$PLACE/run
wait_for 30 "$D" version || { tail -20 "$PLACE/log"; exit 1; }
"$D" import "$PLACE/image.tar" bb > /dev/null || { tail -20 "$PLACE/log"; exit 1; }

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
scenario "run: program that is no program is 126" 126 "*" "$RUN" --rm bb /etc
scenario "run: wrong flag is 125" 125 "*" "$RUN" --rm --no-such-flag bb true
scenario "run -i: stdin" 0 "12" sh -c "echo hello world | $RUN -i --rm bb wc -c"
scenario "run -t: a terminal" 0 "*/dev/pts/0*" script -qec "$RUN -t --rm bb tty" /dev/null
scenario "run: user, directory, environment, host name" 0 "1000 1000 /tmp B h" \
    "$RUN" --rm -u 1000:1000 -w /tmp -e A=B -h h bb sh -c 'echo $(id -u) $(id -g) $(pwd) $A $(hostname)'
scenario "run --init" 0 "*init*" "$RUN" --rm --init bb cat /proc/1/cmdline
scenario "run --read-only" 1 "*Read-only*" "$RUN" --rm --read-only bb touch /x
scenario "run --tmpfs" 0 "*size=1024k*" "$RUN" --rm --tmpfs /t:size=1m,uid=7 bb grep ' /t ' /proc/mounts
scenario "run -v: read-only bind" 1 "*Read-only*" "$RUN" --rm -v "$PLACE/image:/m:ro" bb touch /m/x
scenario "run -v: named volume" 0 "kept" sh -c \
    "$RUN --rm -v vol:/m bb sh -c 'echo kept > /m/x' && $RUN --rm -v vol:/m bb cat /m/x"
scenario "run --cap-drop" 0 "CapEff:	0000000000000000" "$RUN" --rm --cap-drop all bb grep CapEff /proc/self/status
scenario "run --cap-add" 0 "CapEff:	0000000000200000" "$RUN" --rm --cap-drop all --cap-add sys_admin bb grep CapEff /proc/self/status
scenario "run: default seccomp profile" 0 "Seccomp:	2" "$RUN" --rm bb grep Seccomp: /proc/self/status
# No capability is asked for a user namespace, so that only the profile can refuse it.
scenario "run: the profile is in force" 1 "*Operation not permitted*" "$RUN" --rm bb unshare -U true
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
scenario "exec -t" 0 "*/dev/pts/*" script -qec "$D exec -t dd tty" /dev/null
scenario "exec -d" 0 "*/from-exec*" sh -c "$D exec -d dd touch /from-exec; sleep 0.5; $D exec dd ls /from-exec"
scenario "exec: missing program" 126 "*no*such*" "$D" exec dd /no/such
scenario "top" 0 "*sleep*" "$D" top dd
scenario "stats" 0 "dd *" "$D" stats --no-stream --format '{{.Name}} {{.PIDs}}' dd
scenario "pause" 0 "dd" "$D" pause dd
scenario "ps of the paused" 0 "*Paused*" "$D" ps --format '{{.Status}}'
scenario "unpause" 0 "dd" "$D" unpause dd
scenario "update" 0 "dd" "$D" update --memory 64m --memory-swap 64m dd
scenario "update: in force" 0 "67108864" "$D" exec dd cat /sys/fs/cgroup/memory/memory.limit_in_bytes
scenario "cp out and in" 0 "root:*" sh -c "$D cp dd:/etc/passwd - | tar -xO && $D cp /etc/hostname dd:/h"
scenario "stop" 0 "dd" "$D" stop -t 5 dd
scenario "wait: the program's own exit" 0 "5" "$D" wait dd
scenario "logs" 0 "started*stopping" "$D" logs dd
scenario "start again, kill, wait" 0 "*137" sh -c "$D start dd; $D kill dd; $D wait dd"
scenario "restart" 0 "dd" "$D" restart -t 1 dd
scenario "rm -f" 0 "dd" "$D" rm -f dd
scenario "restart policy" 0 "*[1-9]" sh -c "$RUN -d --name rr --restart on-failure:3 bb sh -c 'exit 1' > /dev/null; sleep 2; $D inspect -f '{{.RestartCount}}' rr; $D rm -f rr > /dev/null"
scenario "health check" 0 "*healthy*" sh -c "$RUN -d --name hh --health-cmd 'test -e /etc/passwd' --health-interval 0.3s bb sleep 100 > /dev/null; sleep 2; $D inspect -f '{{.State.Health.Status}}' hh; $D rm -f hh"
scenario "join pid, ipc, network of another" 0 "*sleep 77*" sh -c "$RUN -d --name jj --ipc shareable bb sleep 77 > /dev/null; $RUN --rm --pid container:jj --ipc container:jj --net container:jj bb ps; $D rm -f jj > /dev/null"
scenario "own network: names" 0 "*64 bytes*" sh -c "$D network create nn > /dev/null; $RUN -d --name kk --net nn bb sleep 100 > /dev/null; $RUN --rm --net nn bb ping -c 1 kk; $D rm -f kk > /dev/null; $D network rm nn > /dev/null"
scenario "build" 0 "*built*" sh -c "printf 'FROM bb\nRUN echo built > /x && id\nCMD cat /x\n' > $PLACE/b/Dockerfile && DOCKER_BUILDKIT=0 $D build -q -t b $PLACE/b > /dev/null && $RUN --rm b"
scenario "ten at once" 0 "10" sh -c "for n in 0 1 2 3 4 5 6 7 8 9; do $RUN --rm bb echo x & done | grep -c x"

"$D" ps -aq | xargs -r "$D" rm -f > /dev/null 2>&1
kill "$(cat "$PLACE/pid")"
wait_for 15 grep -q "dockerd ended" "$PLACE/log"
for mount in $(grep " $PLACE/" /proc/self/mountinfo | awk '{print $5}' | sort -r); do umount "$mount" 2> /dev/null; done
judge "nothing is left behind" 0 "" 0 "$(left_behind; pidof containerd-shim-runc-v2)"
[ -z "${DEBUG:-}" ] || cat "$PLACE/log"
finish
