# containerd with its shim: tasks run, exec, pause, metrics, kill, delete; the shim's parent restarted.
# needs: containerd ctr
# Standard input and terminals through ctr are left out: ctr 1.6 without a person at it never ends, with runc neither.
# shellcheck shell=sh disable=SC2016
set -u
. "$(dirname "$0")/lib.sh"
make_image
about "containerd $(containerd --version | cut -d' ' -f3)"
cat > "$PLACE/config.toml" <<EOF
version = 2
root = "$PLACE/root"
state = "$PLACE/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
    "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
address = "$PLACE/sock"
[debug]
level = "warn"
EOF
serve() {
    (containerd --config "$PLACE/config.toml"; echo "containerd ended: $?") >> "$PLACE/log" 2>&1 &
    DAEMON=$!
    wait_for 20 timeout 2 ctr -a "$PLACE/sock" version || { cat "$PLACE/log"; exit 1; }
}
serve
# `ctr` and `ctr run` as one word for scenario; the name of a container is its cgroup's too.
printf '#!/bin/sh\nexec timeout 20 ctr -a %s/sock "$@"\n' "$PLACE" > "$PLACE/c"
cat > "$PLACE/run" <<EOF
#!/bin/sh
# run ID [FLAG...] -- COMMAND...
id=\$1; shift
n=\$#; flags=
while [ "\$1" != -- ]; do flags="\$flags \$1"; shift; done; shift
exec timeout 20 ctr -a $PLACE/sock run --cgroup /$PARENT/\$id --runtime io.containerd.runc.v2 --runc-binary $RUNTIME --runc-root $PLACE/rr \
    --env PATH=/bin \$flags --rootfs $PLACE/image \$id "\$@"
EOF
chmod +x "$PLACE/c" "$PLACE/run"
C=$PLACE/c RUN=$PLACE/run

if [ -n "$STORM" ]; then
    once() { timeout 60 ctr -a "$PLACE/sock" run --cgroup "/$PARENT/$2" --runtime io.containerd.runc.v2 --runc-binary "$1" \
        --runc-root "$PLACE/rr" --env PATH=/bin --rm --rootfs "$PLACE/image" "$2" echo ok; }
    . "$(dirname "$0")/storm.sh"
    in_a_row
    at_once 100
fi

scenario "run" 0 "hello" "$RUN" a --rm -- echo hello
scenario "run: exit status" 43 "" "$RUN" a --rm -- sh -c 'exit 43'
scenario "run: missing program" 1 "*no/such*no such file or directory*" "$RUN" a --rm -- /no/such
scenario "run: directory, environment" 0 "/tmp B" "$RUN" a --rm --cwd /tmp --env A=B -- sh -c 'echo $(pwd) $A'
scenario "run: read-only root" 1 "*Read-only*" "$RUN" a --rm --read-only -- touch /x
scenario "run: memory limit" 0 "33554432" "$RUN" a --rm --memory-limit 33554432 --mount type=bind,src=/sys/fs/cgroup/memory,dst=/m,options=rbind:ro -- sh -c 'cat /m$(grep memory /proc/self/cgroup | cut -d: -f3)/memory.limit_in_bytes'
scenario "run: privileged" 0 "*" "$RUN" a --rm --privileged -- ls /dev/null
scenario "run: seccomp" 0 "Seccomp:	2" "$RUN" a --rm --seccomp -- grep Seccomp: /proc/self/status
scenario "run: a mount" 0 "root:*" "$RUN" a --rm --mount type=bind,src=/etc,dst=/m,options=rbind:ro -- head -1 /m/passwd
scenario "run: host network" 0 "*lo*" "$RUN" a --rm --net-host -- ip link

scenario "run -d" 0 "" "$RUN" d -d -- sh -c 'trap "exit 5" TERM; while :; do sleep 0.1; done'
scenario "task ls" 0 "*d*RUNNING*" "$C" task ls
scenario "task exec" 0 "hello" "$C" task exec --exec-id x d echo hello
scenario "task exec: exit status" 9 "" "$C" task exec --exec-id x d sh -c 'exit 9'
scenario "task exec: user, directory" 0 "1000 /tmp" "$C" task exec --user 1000 --cwd /tmp --exec-id x d sh -c 'echo $(id -u) $(pwd)'
scenario "task exec: missing program" 1 "*no/such*" "$C" task exec --exec-id x d /no/such
scenario "task ps" 0 "*PID*" "$C" task ps d
scenario "task metrics" 0 "*memory*" "$C" task metrics d
scenario "task pause" 0 "" "$C" task pause d
scenario "task ls: paused" 0 "*d*PAUSED*" "$C" task ls
scenario "task resume" 0 "" "$C" task resume d
scenario "containerd restarted" 0 "*d*RUNNING*" sh -c "kill $DAEMON; sleep 1; containerd --config $PLACE/config.toml >> $PLACE/log 2>&1 & sleep 2; $C task ls"
scenario "task exec after it" 0 "again" "$C" task exec --exec-id y d echo again
scenario "task kill" 0 "" "$C" task kill -s TERM d
chosen "run -d" && wait_for 5 sh -c "$C task ls | grep -q 'd .*STOPPED'"
scenario "task delete: the program's exit status" 0 "*exit code 5*" "$C" task delete d
scenario "container delete" 0 "" "$C" container delete d
scenario "task kill -s KILL --all" 0 "*exit code 137*" sh -c "$RUN e -d -- sh -c 'sleep 100 & sleep 100' && $C task kill -s KILL --all e && sleep 0.5 && $C task delete e && $C container delete e"
scenario "task delete --force of the running" 0 "*" sh -c "$RUN f -d -- sleep 100 && $C task delete --force f; $C container delete f"
scenario "twenty at once" 0 "20" sh -c "for n in \$(seq 20); do $RUN p\$n --rm -- echo x & done | grep -c x"

scenario "no task is left" 0 "TASK*" sh -c "$C task ls; $C container ls -q"
pkill -P 1 containerd 2> /dev/null
for pid in $(pidof containerd containerd-shim-runc-v2); do kill "$pid"; done
wait_for 5 sh -c '! pidof containerd containerd-shim-runc-v2'
judge "nothing is left behind" 0 "" 0 "$(left_behind; pidof containerd-shim-runc-v2; ls "$PLACE/rr/default" 2> /dev/null)"
[ -z "${DEBUG:-}" ] || cat "$PLACE/log"
finish
