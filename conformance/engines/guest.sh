#!/bin/sh
# Podman under systemd, in the machine of scripts/guest.sh: as root with systemd's cgroups, and as a user in his session.
#
#   guest.sh RUNTIME [SECONDS]     ends with `N passed, N failed, N skipped`; what is not begun in time is skipped
set -u
runtime=$1
end=$(($(date +%s) + ${2:-300}))
place=$(mktemp -d)
chmod 755 "$place"
trap 'rm -rf "$place"' EXIT
passed=0 failed=0 skipped=0

cat >"$place/containers.conf" <<CONF
[containers]
log_driver = "k8s-file"
[engine]
events_logger = "file"
runtime_supports_json = ["crun", "runc", "runtime"]
CONF
export CONTAINERS_CONF="$place/containers.conf"

# check NAME STATUS PATTERN COMMAND…: exit status, and output with errors behind it, must be those.
check() {
    name=$1 status=$2 pattern=$3
    shift 3
    if [ "$(date +%s)" -gt $end ]; then
        skipped=$((skipped + 1))
        return
    fi
    begin=$(date +%s)
    said=$("$@" 2>&1)
    got=$?
    # shellcheck disable=SC2254
    case "$got:$said" in
    $status:$pattern)
        passed=$((passed + 1))
        echo "passed   podman $name ($(($(date +%s) - begin)) s)"
        ;;
    *)
        failed=$((failed + 1))
        echo "FAILED   podman $name: exit $got, wanted $status; said: $said"
        ;;
    esac
}

mkdir -p "$place/image/bin" "$place/image/tmp" "$place/image/etc"
cp /bin/busybox "$place/image/bin/"
for applet in sh echo sleep cat true; do ln -s busybox "$place/image/bin/$applet"; done
tar -C "$place/image" -cf "$place/image.tar" .

root() { podman --runtime "$runtime" "$@"; }
user() {
    setpriv --reuid=1000 --regid=1000 --init-groups --inh-caps=-all env -i PATH="$PATH" HOME=/home/user USER=user \
        CONTAINERS_CONF="$CONTAINERS_CONF" XDG_RUNTIME_DIR=/run/user/1000 \
        DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus systemd-run --user --scope --quiet --collect "$@"
}
rootless() { user podman --runtime "$runtime" "$@"; }

# The cgroup of a container, and a file of it.
cgroup() { echo "/sys/fs/cgroup$(cut -d: -f3 "/proc/$("$1" inspect --format '{{.State.Pid}}' c)/cgroup")"; }
file() { cat "$(cgroup "$1")/$2"; }
# What systemd still knows of containers.
left() {
    sleep 1
    systemctl list-units --all --plain --no-legend 'libpod-*'
    systemctl --machine=user@.host --user list-units --all --plain --no-legend 'libpod-*'
}

# by WHO PATTERN: the same with both; PATTERN is that of the cgroup.
by() {
    check "$1: import" 0 '*' "$1" import "$place/image.tar" bb
    check "$1: run" 0 hello "$1" run --rm --network none bb echo hello
    check "$1: run, exit status" 43 '' "$1" run --rm --network none bb sh -c 'exit 43'
    check "$1: run -d with limits" 0 '*' "$1" run -d --name c --network none --memory 64m --pids-limit 50 bb sleep 1000
    check "$1: the scope is systemd's" 0 "$2" cgroup "$1"
    check "$1: memory.max" 0 67108864 file "$1" memory.max
    check "$1: pids.max" 0 50 file "$1" pids.max
    check "$1: exec" 0 inside "$1" exec c echo inside
    check "$1: update" 0 '*' "$1" update --memory 48m c
    check "$1: memory.max after it" 0 50331648 file "$1" memory.max
    check "$1: stop" 0 '*' "$1" stop -t 1 c
    check "$1: start again" 0 '*' "$1" start c
    check "$1: kill" 0 '*' "$1" kill c
    check "$1: rm" 0 '*' "$1" rm -f c
    check "$1: no unit is left" 0 '' left
}
by root '/sys/fs/cgroup/machine.slice/libpod-*.scope*'
by rootless '/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-*.scope*'

echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
