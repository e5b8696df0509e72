# What the scenarios have in common. Sourced; $RUNTIME is the runtime, $PLACE a directory of this run alone.
# shellcheck shell=sh

export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C HOME="$PLACE/home" TMPDIR="$PLACE/tmp"
unset DOCKER_HOST CONTAINER_HOST XDG_RUNTIME_DIR NOTIFY_SOCKET
NAME=$(basename "$RUNTIME")
PARENT=$(basename "$(dirname "$PLACE")")-$NAME
FAILED=0 PASSED=0
# Engines have paths of their own that no option changes. Only here, and gone with this mount namespace.
for dir in /var/cache /var/tmp /var/lib; do mount -t tmpfs -o mode=1777 tmpfs $dir; done
mkdir -p "$HOME" "$TMPDIR"

# A root filesystem with busybox, and as a tar file: the image of every scenario.
make_image() {
    root=$PLACE/image
    mkdir -p "$root/bin" "$root/etc" "$root/tmp" "$root/root" "$root/proc" "$root/sys" "$root/dev"
    chmod 1777 "$root/tmp"
    cp /usr/bin/busybox "$root/bin/busybox"
    for name in $("$root/bin/busybox" --list); do [ "$name" = busybox ] || ln -sf busybox "$root/bin/$name"; done
    printf 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n' > "$root/etc/passwd"
    printf 'root:x:0:\nuser:x:1000:\n' > "$root/etc/group"
    tar -C "$root" -cf "$PLACE/image.tar" .
}

# scenario NAME EXIT OUTPUT COMMAND...: the command's exit status, and a shell pattern for all it prints.
scenario() {
    what=$1 code=$2 wanted=$3
    shift 3
    [ -z "$ONLY" ] || case $what in *$ONLY*) ;; *) return ;; esac
    said=$(timeout 40 "$@" 2>&1 < /dev/null)
    got=$?
    judge "$what" "$code" "$wanted" "$got" "$said"
}

judge() {
    # shellcheck disable=SC2254 # a pattern is meant
    case "$4:$5" in
    $2:$3)
        PASSED=$((PASSED + 1))
        echo "passed   $NAME  $1"
        ;;
    *)
        FAILED=$((FAILED + 1))
        echo "FAILED   $NAME  $1: exit $4, wanted $2 and $3"
        printf '%s\n' "$5" | tail -15 | sed 's/^/      /'
        ;;
    esac
}

# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
    left=$(($1 * 20))
    shift
    until "$@" > /dev/null 2>&1; do
        left=$((left - 1))
        [ $left -gt 0 ] || return 1
        sleep 0.05
    done
}

# What is left on the host: cgroups of this run, processes, mounts, the runtime's own state.
left_behind() {
    for dir in $(find /sys/fs/cgroup -maxdepth 6 -type d -path "*$PARENT*" 2> /dev/null | sort -r); do
        # The parent is the engine's, and so is conmon's.
        case $dir in
        */"$PARENT" | */conmon) rmdir "$dir" 2> /dev/null || echo "cgroup $dir: $(cat "$dir/cgroup.procs")" ;;
        *) echo "cgroup $dir: $(cat "$dir/cgroup.procs")" ;;
        esac
    done
    grep " $PLACE" /proc/self/mountinfo | grep -v " $PLACE " | sed 's/^/mount /'
}

finish() {
    echo "$NAME: $PASSED passed, $FAILED failed"
    [ "$FAILED" = 0 ]
}
