# A Docker daemon of this run's own. Sourced.
# shellcheck shell=sh disable=SC2154 # $PLACE, $RUNTIME, $PARENT of lib.sh
printf '{"runtimes":{"tested":{"path":"%s"},"crun":{"path":"/usr/bin/crun"}},"default-runtime":"tested","live-restore":true}' "$RUNTIME" > "$PLACE/daemon.json"
ip link set lo up 2> /dev/null
mount -t tmpfs tmpfs /etc/docker 2> /dev/null
# BuildKit knows no runtimes: it runs the first `runc` in the daemon's PATH. This one says that it was run.
mkdir -p "$PLACE/bin"
printf '#!/bin/sh\necho "$@" >> %s/runc.log\nexec %s "$@"\n' "$PLACE" "$RUNTIME" > "$PLACE/bin/runc"
chmod +x "$PLACE/bin/runc"
# serve OPTION...: the daemon, until it says so in the log.
serve() {
    : > "$PLACE/log"
    (PATH=$PLACE/bin:$PATH dockerd --config-file "$PLACE/daemon.json" -H "unix://$PLACE/sock" --exec-root "$PLACE/exec" \
        --pidfile "$PLACE/pid" --cgroup-parent "/$PARENT" --storage-driver overlay2 \
        --exec-opt native.cgroupdriver=cgroupfs "$@"; echo "dockerd ended: $?") > "$PLACE/log" 2>&1 &
    wait_for 30 timeout 3 docker version || { tail -20 "$PLACE/log"; exit 1; }
}
served() {
    kill "$(cat "$PLACE/pid")"
    wait_for 20 grep -q "dockerd ended" "$PLACE/log"
}
# Not in a process group of its own: that could not read from the terminal.
printf '#!/bin/sh\nexec timeout --foreground 60 docker "$@"\n' > "$PLACE/d"
printf '#!/bin/sh\nexec %s/d run "$@"\n' "$PLACE" > "$PLACE/run"
chmod +x "$PLACE/d" "$PLACE/run"
D=$PLACE/d RUN=$PLACE/run
export DOCKER_HOST="unix://$PLACE/sock"
serve --data-root "$PLACE/data"
