# Podman with conmon: containers in front and behind, exec, logs, stop, limits, networks.
# needs: podman conmon catatonit script iptables ip curl setpriv newuidmap
# shellcheck shell=sh disable=SC2016
set -u
. "$(dirname "$0")/lib.sh"
make_image
about "podman $(podman --version | cut -d' ' -f3), conmon $(conmon --version | sed -n '1s/.* //p')"
multi_stage bb
ip link set lo up 2> /dev/null

. "$(dirname "$0")/podman-store.sh"
# The engine's own parent cgroup, so that what is left can be told from others'.
cat > "$PLACE/run" <<EOF
#!/bin/sh
exec $PLACE/p run --cgroup-parent /$PARENT "\$@"
EOF
chmod +x "$PLACE/run"
RUN=$PLACE/run

p import "$PLACE/image.tar" bb > "$PLACE/log" 2>&1 || { cat "$PLACE/log"; exit 1; }

printf '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}' > "$PLACE/profile.json"

if [ -n "$STORM" ]; then
    # Another runtime than the one an image store was used with needs no store of its own.
    once() { podman --root "$PLACE/storage" --runroot "$PLACE/runroot" --tmpdir "$PLACE/libpod" --storage-driver overlay \
        --runtime "$1" run --cgroup-parent "/$PARENT" --rm --name "$2" bb echo ok; }
    . "$(dirname "$0")/storm.sh"
    in_a_row
fi

scenario "podman info shows the runtime" 0 "*$RUNTIME*" "$P" info --format '{{.Host.OCIRuntime.Path}}'
scenario "run" 0 "hello" "$RUN" --rm --net none bb echo hello
scenario "run: exit status" 43 "" "$RUN" --rm --net none bb sh -c 'exit 43'
scenario "run: missing program is 127" 127 "*no/such*" "$RUN" --rm --net none bb /no/such
scenario "run: program that is no program is 126" 126 "*" "$RUN" --rm --net none bb /etc
scenario "run: stdout and stderr apart" 0 "out" sh -c "$RUN --rm --net none bb sh -c 'echo out; echo err >&2' 2>/dev/null"
scenario "run -i: stdin" 0 "12" sh -c "echo hello world | $RUN -i --rm --net none bb wc -c"
scenario "run -t: a terminal" 0 "*/dev/pts/0*" "$TERMINAL" "$RUN -it --rm --net none bb tty"
scenario "run: user, directory, environment, host name" 0 "1000 1000 /tmp B h" \
    "$RUN" --rm --net none -u 1000:1000 -w /tmp -e A=B -h h bb sh -c 'echo $(id -u) $(id -g) $(pwd) $A $(hostname)'
scenario "run --init" 0 "*init*" "$RUN" --rm --net none --init --init-path /usr/bin/catatonit bb cat /proc/1/cmdline
scenario "run --read-only" 1 "*Read-only*" "$RUN" --rm --net none --read-only bb touch /x
scenario "run --tmpfs: size, mode" 0 "*size=1024k,mode=700*" "$RUN" --rm --net none --tmpfs /t:size=1m,mode=700 bb grep ' /t ' /proc/mounts
scenario "run -v: read-only bind" 1 "*Read-only*" "$RUN" --rm --net none -v "$PLACE/image:/m:ro" bb touch /m/x
scenario "run -v: named volume" 0 "kept" sh -c \
    "$RUN --rm --net none -v vol:/m bb sh -c 'echo kept > /m/x' && $RUN --rm --net none -v vol:/m bb cat /m/x"
scenario "run --cap-drop" 0 "CapEff:	0000000000000000" "$RUN" --rm --net none --cap-drop all bb grep CapEff /proc/self/status
scenario "run --cap-add" 0 "CapEff:	*[2367abef]?????" "$RUN" --rm --net none --cap-drop all --cap-add sys_admin bb grep CapEff /proc/self/status
scenario "run: default seccomp profile" 0 "Seccomp:	2" "$RUN" --rm --net none bb grep Seccomp: /proc/self/status
scenario "run --privileged" 0 "Seccomp:	0" "$RUN" --rm --net none --privileged bb grep Seccomp: /proc/self/status
scenario "run --security-opt no-new-privileges" 0 "NoNewPrivs:	1" \
    "$RUN" --rm --net none --security-opt no-new-privileges bb grep NoNewPrivs /proc/self/status
scenario "run --memory" 0 "33554432" "$RUN" --rm --net none --memory 32m bb cat /sys/fs/cgroup/memory/memory.limit_in_bytes
scenario "run --pids-limit" 0 "17" "$RUN" --rm --net none --pids-limit 17 bb cat /sys/fs/cgroup/pids/pids.max
scenario "run --cpus" 0 "50000" "$RUN" --rm --net none --cpus 0.5 bb cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us
scenario "run --ulimit" 0 "123" "$RUN" --rm --net none --ulimit nofile=123:123 --ulimit nproc=100:100 bb sh -c 'ulimit -n'
scenario "run --device" 0 "*10, 229*" "$RUN" --rm --net none --device /dev/fuse bb ls -l /dev/fuse
scenario "run --sysctl" 0 "1" "$RUN" --rm --net none --sysctl net.ipv4.ip_forward=1 bb cat /proc/sys/net/ipv4/ip_forward
scenario "run --pid host" 0 "*" "$RUN" --rm --net none --pid host bb sh -c '[ $$ != 1 ]'
scenario "run --net host" 0 "*lo*" "$RUN" --rm --net host bb ip link
scenario "run: bridge network" 0 "*inet 10.88.*" "$RUN" --rm bb ip -4 addr show dev eth0
scenario "run --userns" 0 "*0 *100000*" "$RUN" --rm --net none --uidmap 0:100000:65536 --gidmap 0:100000:65536 bb cat /proc/self/uid_map
scenario "run --memory: out of memory" 137 "*" "$RUN" --rm --net none --memory 16m --memory-swap 16m bb sh -c 'x=$(head -c 64m /dev/zero | tr "\0" x); sleep 1'

scenario "run -d" 0 "*" "$RUN" -d --net none --name d bb sh -c 'echo started; trap "echo stopping; exit 5" TERM; while :; do sleep 0.1; done'
chosen "run -d" && wait_for 5 sh -c "$P logs d | grep -q started"
scenario "ps" 0 "d Up*" "$P" ps --format '{{.Names}} {{.Status}}'
scenario "logs" 0 "started" "$P" logs d
scenario "inspect: pid is the container's" 0 "sh" sh -c "cat /proc/\$($P inspect -f '{{.State.Pid}}' d)/comm"
scenario "exec" 0 "hello" "$P" exec d echo hello
scenario "exec: exit status" 9 "" "$P" exec d sh -c 'exit 9'
scenario "exec: user, directory, environment" 0 "1000 /tmp B" "$P" exec -u 1000 -w /tmp -e A=B d sh -c 'echo $(id -u) $(pwd) $A'
scenario "exec -i" 0 "12" sh -c "echo hello world | $P exec -i d wc -c"
scenario "exec -t" 0 "*/dev/pts/*" "$TERMINAL" "$P exec -it d tty"
scenario "exec -d" 0 "*" "$P" exec -d d touch /from-exec
scenario "exec: what exec -d did" 0 "*/from-exec*" sh -c "sleep 0.5; $P exec d ls /from-exec"
scenario "exec: missing program is 127" 127 "*no/such*" "$P" exec d /no/such
scenario "top" 0 "*sleep*" "$P" top d
scenario "top with ps's own options" 0 "*sh*" "$P" top d pid comm
scenario "stats" 0 "*d*" "$P" stats --no-stream --format '{{.Name}} {{.PIDs}}' d
scenario "pause" 0 "*" "$P" pause d
scenario "ps of the paused" 0 "*Paused*" "$P" ps -a --format '{{.Status}}'
scenario "unpause" 0 "*" "$P" unpause d
scenario "update of a limit" 0 "*" "$P" update --memory 64m d
scenario "cp out and in" 0 "root:*from outside" sh -c "echo from outside > $PLACE/h && $P cp d:/etc/passwd - | tar -xO && $P cp $PLACE/h d:/h && $P exec d cat /h"
scenario "stop: the program's own exit" 0 "*" "$P" stop -t 5 d
scenario "wait and exit status" 0 "5" "$P" wait d
scenario "logs after the end" 0 "started*stopping" "$P" logs d
scenario "start again" 0 "*" "$P" start d
chosen "run -d" && wait_for 5 sh -c "[ \$($P logs d | grep -c started) = 2 ]"
scenario "kill" 0 "*" "$P" kill -s KILL d
scenario "wait: killed" 0 "137" "$P" wait d
scenario "rm" 0 "*" "$P" rm d
scenario "run --rm -d leaves nothing" 0 "" sh -c "$RUN --rm -d --net none --name e bb sleep 0.2 >/dev/null; sleep 2; $P ps -aq"
scenario "create, start --attach" 0 "hi" sh -c "$P create --cgroup-parent /$PARENT --net none --name f bb echo hi > /dev/null; $P start --attach f"
scenario "rm -f of the running" 0 "*" sh -c "$RUN -d --net none --name g bb sleep 100 && $P rm -f -t 0 g f"
scenario "join a pid namespace" 0 "*sleep 77*" sh -c "$RUN -d --net none --name h bb sleep 77 >/dev/null; $RUN --rm --net none --pid container:h bb ps"
scenario "join a network" 0 "*" sh -c "$RUN --rm --net container:h bb ip link; $P rm -f -t 0 h"
scenario "health check" 0 "*healthy*" sh -c "$RUN -d --net none --name i --health-cmd 'test -e /etc/passwd' bb sleep 100 >/dev/null; $P healthcheck run i; $P inspect -f '{{.State.Healthcheck.Status}}{{.State.Health.Status}}' i; $P rm -f -t 0 i" 
scenario "build" 0 "*built*" sh -c "mkdir -p $PLACE/b && printf 'FROM bb\nRUN echo built > /x && id\nCMD cat /x\n' > $PLACE/b/Dockerfile && $P build --isolation oci --network none --runtime $RUNTIME -t b $PLACE/b && $RUN --rm --net none b"
scenario "ten at once" 0 "10" sh -c "for n in 0 1 2 3 4 5 6 7 8 9; do $RUN --rm --net none bb echo x & done | grep -c x"

# Pods: containers that share a network and a first process that only waits.
if chosen "pod: two containers share localhost"; then
    scenario "pod create" 0 "*" "$P" pod create --name pp --cgroup-parent "/$PARENT" --network none --infra-image bb --infra-command "sleep 1000"
    scenario "pod: a server in it" 0 "*" "$P" run -d --pod pp --name ps bb httpd -f -p 127.0.0.1:80 -h /etc
    scenario "pod: two containers share localhost" 0 "root:*" sh -c "sleep 0.5; $P run --rm --pod pp bb wget -q -O - http://127.0.0.1/passwd"
    scenario "pod ps" 0 "pp Running 2" "$P" pod ps --format '{{.Name}} {{.Status}} {{.NumberOfContainers}}'
    scenario "pod pause and unpause" 0 "*Paused*" sh -c "$P pod pause pp > /dev/null && $P pod ps --format '{{.Status}}' && $P pod unpause pp > /dev/null"
    scenario "pod stop" 0 "*" "$P" pod stop -t 0 pp
    pod=$("$P" pod inspect -f '{{.Id}}' pp 2> /dev/null || "$P" pod ps -q --no-trunc)
    scenario "pod rm" 0 "*" "$P" pod rm -f pp
fi
cat > "$PLACE/pod.yaml" <<POD
apiVersion: v1
kind: Pod
metadata: {name: kube}
spec:
  restartPolicy: Never
  containers:
  - {name: web, image: localhost/bb, imagePullPolicy: Never, command: [/bin/sh, -c, "echo \$GREETING; exec sleep 100"], env: [{name: GREETING, value: hi}],
     securityContext: {runAsUser: 1000, readOnlyRootFilesystem: true}, resources: {limits: {memory: 32Mi}}}
POD
# The first container of a pod that kube makes: catatonit, which a build puts into an image of Podman's own.
scenario "kube play" 0 "*" "$P" kube play --network none "$PLACE/pod.yaml"
scenario "kube play: user" 0 "1000" "$P" exec kube-web /bin/id -u
scenario "kube play: read-only root" 1 "*Read-only*" "$P" exec kube-web /bin/touch /x
scenario "kube play: memory limit" 0 "33554432" "$P" exec kube-web /bin/cat /sys/fs/cgroup/memory/memory.limit_in_bytes
scenario "kube play: what it said" 0 "hi" "$P" logs kube-web
scenario "kube down" 0 "*" "$P" kube down "$PLACE/pod.yaml"
scenario "restart policy on-failure" 0 "2 5" sh -c "$RUN -d --net none --name r1 --restart on-failure:2 bb sh -c 'exit 5' > /dev/null; sleep 3; $P inspect -f '{{.RestartCount}} {{.State.ExitCode}}' r1; $P rm -f r1 > /dev/null"
scenario "attach" 0 "*tick*" sh -c "$RUN -d --net none --name at bb sh -c 'sleep 1; echo tick' > /dev/null; $P attach --no-stdin at; $P rm -f at > /dev/null"
scenario "own network: names" 0 "*root:*" sh -c "$P network create nn > /dev/null; $RUN -d --name kk --net nn bb httpd -f -p 80 -h /etc > /dev/null; sleep 1; $RUN --rm --net nn bb wget -q -O - http://kk/passwd; $P rm -f -t 0 kk > /dev/null; $P network rm nn > /dev/null"
scenario "stop: killed after its time" 0 "*137" sh -c "$RUN -d --net none --name st bb sh -c 'trap : TERM; while :; do sleep 0.1; done' > /dev/null; sleep 0.5; $P stop -t 1 st > /dev/null 2>&1; $P wait st; $P rm st > /dev/null"
scenario "run --security-opt seccomp: a profile of one's own" 1 "*Operation not permitted*" \
    "$RUN" --rm --net none --security-opt "seccomp=$PLACE/profile.json" bb mkdir /x
scenario "exec through many at once" 0 "20" sh -c "$RUN -d --net none --name xx bb sleep 100 > /dev/null; for n in \$(seq 20); do $P exec xx echo x & done | grep -c x; $P rm -f -t 0 xx > /dev/null"
scenario "published port" 0 "*root:*" sh -c "$RUN -d --name pub -p 127.0.0.1:8099:80 bb httpd -f -p 80 -h /etc > /dev/null; sleep 1; curl -s http://127.0.0.1:8099/passwd; $P rm -f -t 0 pub > /dev/null"
scenario "generate systemd: its own command lines work" 0 "*5" sh -c "$RUN -d --net none --name gs bb sh -c 'trap \"exit 5\" TERM; while :; do sleep 0.1; done' > /dev/null; $P generate systemd --name gs | grep -q 'ExecStart=.*start gs' && $P stop -t 5 gs > /dev/null; $P start gs > /dev/null; sleep 0.3; $P stop -t 5 gs > /dev/null; $P wait gs; $P rm gs > /dev/null"
scenario "build: multi-stage, from scratch" 7 "*from scratch" sh -c "$P build -q --isolation oci --network none --runtime $RUNTIME -t multi $PLACE/multi > /dev/null && $RUN --rm --net none multi"

# Rootless: an unprivileged user with ranges of ids, and no cgroup of his own.
if chosen "rootless: run" && [ -z "$STORM" ]; then
    for file in passwd group subuid subgid; do
        cp /etc/$file "$PLACE/etc-$file" 2> /dev/null
        case $file in
        passwd) echo "engines:x:61234:61234::$PLACE/u:/bin/sh" ;;
        group) echo "engines:x:61234:" ;;
        *) printf 'engines:200000:65536\ncontainers:300000:65536\n' ;;
        esac >> "$PLACE/etc-$file"
        [ -e /etc/$file ] || : > /etc/$file
        mount --bind "$PLACE/etc-$file" /etc/$file
    done
    mkdir -p "$PLACE/u/run" "$PLACE/u/tmp"
    chmod 755 "$PLACE"
    chmod 700 "$PLACE/u/run"
    chown -R 61234:61234 "$PLACE/u"
    printf '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime_supports_json = ["crun", "runc", "runtime"]\n[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]\n' > "$PLACE/u/containers.conf"
    printf '#!/bin/sh\ncd %s/u && exec setpriv --reuid 61234 --regid 61234 --clear-groups env -u TMPDIR HOME=%s/u XDG_RUNTIME_DIR=%s/u/run CONTAINERS_CONF=%s/u/containers.conf podman --storage-driver vfs --runtime %s "$@"\n' \
        "$PLACE" "$PLACE" "$PLACE" "$PLACE" "$RUNTIME" > "$PLACE/rl"
    chmod +x "$PLACE/rl"
    RL=$PLACE/rl
    scenario "run --userns auto" 0 "*0 *[1-9]* *1024" "$RUN" --rm --net none --userns auto:size=1024 bb cat /proc/self/uid_map
    scenario "rootless: import" 0 "*" "$RL" import -q "$PLACE/image.tar" bb
    scenario "rootless: run" 0 "hello" "$RL" run --rm --net none bb echo hello
    scenario "rootless: ids" 0 "*0 *61234 *1*1 *200000 *65536" "$RL" run --rm --net none bb cat /proc/self/uid_map
    scenario "rootless: exit status" 43 "" "$RL" run --rm --net none bb sh -c 'exit 43'
    scenario "rootless: missing program is 127" 127 "*no/such*" "$RL" run --rm --net none bb /no/such
    scenario "rootless: another user" 0 "1000" "$RL" run --rm --net none -u 1000 bb id -u
    scenario "rootless: --userns keep-id" 0 "61234" "$RL" run --rm --net none --userns keep-id bb id -u
    scenario "rootless: seccomp" 0 "Seccomp:	2" "$RL" run --rm --net none bb grep Seccomp: /proc/self/status
    scenario "rootless: run -d, exec, stop" 0 "*5" sh -c "$RL run -d --net none --name d bb sh -c 'trap \"exit 5\" TERM; while :; do sleep 0.1; done' > /dev/null; $RL exec d id -u && $RL stop -t 5 d > /dev/null; $RL wait d; $RL rm d > /dev/null"
    scenario "rootless: a terminal" 0 "*/dev/pts/0*" "$TERMINAL" "$RL run -it --rm --net none bb tty"
    if ! setpriv --reuid 61234 --regid 61234 --clear-groups test -w /dev/net/tun; then
        skipped "rootless: network" "/dev/net/tun is not for everyone here"
    elif command -v slirp4netns > /dev/null; then
        scenario "rootless: network" 0 "*inet 10.0.2.100*" "$RL" run --rm --net slirp4netns bb ip -4 addr show dev tap0
    else
        skipped "rootless: network" "slirp4netns is not installed"
    fi
    scenario "rootless: build" 0 "*built*" sh -c "mkdir -p $PLACE/u/b && printf 'FROM bb\nRUN echo built > /x\nCMD cat /x\n' > $PLACE/u/b/Dockerfile && $RL build -q --isolation oci --network none --runtime $RUNTIME -t b $PLACE/u/b > /dev/null && $RL run --rm --net none b"
    scenario "rootless: nothing is left" 0 "" "$RL" ps -aq
fi

skipped "checkpoint" "the runtime has no checkpoint"
p rm -fa -t 0 > /dev/null 2>&1
p pod rm -fa > /dev/null 2>&1
umount "$PLACE/storage/overlay" 2> /dev/null
# A pod's own cgroup is Podman's, which leaves it in the hierarchies that hold no controller.
[ -z "${pod:-}" ] || find /sys/fs/cgroup -maxdepth 4 -type d -path "*/$PARENT/$pod" -exec rmdir {} + 2> /dev/null
left=$(left_behind)
judge "nothing is left behind" 0 "" 0 "$left"
finish
