# What the scenarios have in common. Sourced; $RUNTIME is the runtime, $PLACE a directory of this run alone.
# shellcheck shell=sh

# What was found goes to the disk; the work is in memory, at a short path (a socket's has at most 108 bytes), where no overlay
# lies on whatever the host has. All mounts end with this namespace.
: "${PLACE:?is set by run.sh}" "${RUNTIME:?}" "${CHECKOUT:?}"
RESULTS=$PLACE/results HELLO=$PLACE/hello
NAME=$(basename "$RUNTIME")
# The parent of every cgroup of this run: unlike any other's.
PARENT=$(basename "$(dirname "$PLACE")")-$NAME
for PLACE in /srv /media /mnt /opt none; do
    # One in which nothing is mounted, and nothing that is needed lies.
    grep -q " $PLACE/" /proc/self/mountinfo && continue
    case " $CHECKOUT/ $CACHE/ $RUNTIME $RESULTS" in *" $PLACE/"*) ;; *) break ;; esac
done
mount -t tmpfs -o mode=0755 tmpfs "$PLACE" || exit 1
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C HOME="$PLACE/home" TMPDIR="$PLACE/tmp" PLACE
# Podman 5 would say so on every line.
export PODMAN_IGNORE_CGROUPSV1_WARNING=1
FAILED=0 PASSED=0 SKIPPED=0
mkdir -p "$HOME" "$TMPDIR"

# terminal COMMAND: with a terminal of its own. Its input never ends: at an end script(1) may lose what is still to be said.
cat > "$PLACE/terminal" <<'TERMINAL'
#!/bin/sh
mkfifo "$TMPDIR/input.$$" && exec 3<> "$TMPDIR/input.$$" && rm "$TMPDIR/input.$$" && exec script -qec "$1" /dev/null <&3
TERMINAL
chmod +x "$PLACE/terminal"
TERMINAL=$PLACE/terminal

# hide DIR: empty and writable, but for what of it this run needs.
hide() {
    mkdir "$PLACE/old"
    mount --rbind "$1" "$PLACE/old"
    mount -t tmpfs -o mode=1777 tmpfs "$1"
    for kept in "$CHECKOUT" "${CACHE:-$CHECKOUT}" "$(dirname "$RUNTIME")" "$(dirname "$RESULTS")"; do
        case $kept in "$1"/*)
            [ -e "$PLACE/old/${kept#"$1"/}" ] || continue
            mkdir -p "$kept"
            mount --rbind "$PLACE/old/${kept#"$1"/}" "$kept"
            ;;
        esac
    done
    umount -l "$PLACE/old"
    rmdir "$PLACE/old"
}
# Engines have paths of their own that no option changes.
for dir in /var/cache /var/tmp /var/lib; do hide $dir; done

# about WORDS: the engine and its version, for the table.
about() {
    printf 'about %s\nruntime %s\n' "$*" "$("$RUNTIME" --version | sed -n '1s/ version//p')" >> "$RESULTS"
}

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

# multi_stage BASE: in $PLACE/multi, a static C program that a stage FROM the base tries and one FROM scratch ships.
multi_stage() {
    mkdir -p "$PLACE/multi"
    cp "$HELLO" "$PLACE/multi/main"
    {
        printf 'FROM %s AS build\nUSER 0\nCOPY main /main\n' "$1"
        printf 'RUN /main > /said; [ $? = 7 ] && chmod 755 /main\n'
        printf 'FROM scratch\nCOPY --from=build /main /main\nCOPY --from=build /said /said\nCMD ["/main"]\n'
    } > "$PLACE/multi/Dockerfile"
}

# Whether it was asked for: $ONLY is part of the name, or |whole name|whole name|.
chosen() {
    # shellcheck disable=SC2254 # a pattern is meant
    case $ONLY in
    "") return 0 ;;
    "|"*) case $ONLY in *"|$1|"*) return 0 ;; esac ;;
    *) case $1 in *$ONLY*) return 0 ;; esac ;;
    esac
    return 1
}

# scenario NAME EXIT OUTPUT COMMAND...: the command's exit status, and a shell pattern for all it prints.
scenario() {
    what=$1 code=$2 wanted=$3
    shift 3
    chosen "$what" || return
    said=$(timeout -k 2 "$SECONDS_EACH" "$@" 2>&1 < /dev/null)
    got=$?
    judge "$what" "$code" "$wanted" "$got" "$said"
}

# skipped NAME REASON: what this machine cannot show.
skipped() {
    chosen "$1" || return
    SKIPPED=$((SKIPPED + 1))
    echo "skipped  $NAME  $1: $2"
    printf 'skipped %s\t%s\n' "$1" "$2" >> "$RESULTS"
}

judge() {
    # shellcheck disable=SC2254 # a pattern is meant
    case "$4:$5" in
    $2:$3)
        PASSED=$((PASSED + 1))
        echo "passed   $NAME  $1"
        echo "passed $1" >> "$RESULTS"
        ;;
    *)
        FAILED=$((FAILED + 1))
        echo "FAILED   $NAME  $1: exit $4, wanted $2 and $3"
        echo "failed $1" >> "$RESULTS"
        printf '%s\n' "$5" | tail -15 | sed 's/^/      /'
        ;;
    esac
}

# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
    end=$(($(date +%s) + $1))
    shift
    until "$@" > /dev/null 2>&1; do
        [ "$(date +%s)" -lt $end ] || return 1
        sleep 0.05
    done
}

# What is left on the host: cgroups of this run, processes, mounts, the runtime's own state.
left_behind() {
    for dir in $(find /sys/fs/cgroup -maxdepth 6 -type d -path "*$PARENT*" 2> /dev/null | sort -r); do
        # The parent is the engine's, and so are conmon's and BuildKit's.
        case $dir in
        */"$PARENT" | */conmon | */buildkit) rmdir "$dir" 2> /dev/null || echo "cgroup $dir: $(cat "$dir/cgroup.procs")" ;;
        *) echo "cgroup $dir: $(cat "$dir/cgroup.procs")" ;;
        esac
    done
    grep " $PLACE" /proc/self/mountinfo | grep -v " $PLACE " | sed 's/^/mount /'
}

finish() {
    echo "$NAME: $PASSED passed, $FAILED failed ($SKIPPED skipped)"
    echo ended >> "$RESULTS"
    [ "$FAILED" = 0 ]
}
