# Runs one engine's script isolated, and says what its results are worth. Sourced by run.sh.
# shellcheck shell=sh disable=SC2154 # variables of run.sh

tab=$(printf '\t')

lane_skipped() {
    echo "== engines: skipped: $1"
    echo "0 passed, 0 failed, 1 skipped"
}

export STORM="${STORM:-}"
# crun refuses hybrid cgroups. In a storm it is to be compared with, so that only version 1 is mounted there, anew: what was
# mounted on the version 2 directory must not show, or a runtime would write into it.
# shellcheck disable=SC2016
VERSION_1='[ -z "$STORM" ] || [ ! -d /sys/fs/cgroup/unified ] || {
    lists=$(awk -F: "\$2 != \"\" { print \$2 }" /proc/self/cgroup)
    umount -R /sys/fs/cgroup && mount -t tmpfs -o mode=0755 tmpfs /sys/fs/cgroup || exit 1
    for list in $lists; do
        mkdir "/sys/fs/cgroup/${list#name=}" && mount -t cgroup -o "$list" cgroup "/sys/fs/cgroup/${list#name=}" || exit 1
    done
}'

# fetch SUITE: into the cache, with crictl, if it is not there; $unfetched says why not.
fetch() {
    "$here/crictl.sh" "$cache/tools"
    [ -e "$cache/$1/recipe" ] || echo "== fetching the engines of $1: minutes, and only the first time"
    said=$(timeout 900 "$here/suite.sh" "$1" "$cache/$1" 2>&1)
    unfetched=$(echo "$said" | tail -1)
    [ -z "$said" ] || echo "$said"
}

# engine_run ENGINE[@SUITE] RUNTIME: its lines on standard output, and in $results: `passed NAME`, `failed NAME`,
# `skipped NAME<tab>REASON` and at the end `ended`. With a suite, the engine and a runtime without a path are that suite's.
engine_run() {
    script=${1%@*} suite=${1#"${1%@*}"}
    suite=${suite#@}
    place=$scratch/$1
    root=${suite:+$cache/$suite/root}
    runtime=$2
    [ -n "$suite" ] && [ "${2#*/}" = "$2" ] || runtime=$(realpath "$(command -v "$2")")
    results=$scratch/$1-$(basename "$2").results
    mkdir -p "$place"
    hello "$place/hello"
    : > "$results"
    echo "== $1 on $2"
    missing=$(missing_for "$script")
    if [ -n "$missing" ]; then
        echo "skipped  $1: $missing"
        printf 'skipped all\t%s\nended\n' "$missing" > "$results"
        rm -rf "${place:?}"
        return
    fi
    # The outer shell is the namespace's pid 1: while it waits it reaps whatever daemons leave to it.
    # shellcheck disable=SC2016
    timeout -k 5 "${ENGINE_SECONDS:-900}" unshare --mount sh -c "$VERSION_1"'; exec "$@"' sh "$isolate" isolated -w "$place" -- \
        unshare --net --pid --fork --kill-child --mount-proc env -i PLACE="$place" CHECKOUT="$checkout" RUNTIME="$runtime" \
        CACHE="$cache" SUITE="$suite" ONLY="$ONLY" SECONDS_EACH="${SECONDS_EACH:-40}" DEBUG="${DEBUG:-}" STORM="$STORM" \
        ${root:+sh "$here/enter.sh" "$root"} sh -c 'sh "$1"; exit $?' init "$here/$script.sh"
    [ ! -e "$place/results" ] || cp "$place/results" "$results"
    sweep
    # Nothing is mounted below it outside of the namespace that has ended.
    if grep -q " $place" /proc/self/mountinfo; then
        echo "mounts below $place: not removed"
        echo "failed mounts on the host" >> "$results"
    else
        rm -rf "${place:?}"
    fi
}

# The static C program of the builds; newer engines' root has no compiler.
hello() {
    printf '#include <stdio.h>\nint main(void) { puts("from scratch"); return 7; }\n' > "$1.c"
    gcc -static -O1 -o "$1" "$1.c"
}

# The processes have ended with their pid namespace; what a broken runtime left of cgroups goes here.
sweep() {
    find /sys/fs/cgroup -depth -type d -path "*/engines.$$-*" -exec rmdir {} + 2> /dev/null
}

# Why the script cannot run: what of its `# needs:` line is not installed. A word with a "/" is a file of the cache.
missing_for() {
    if [ -n "$root" ] && [ ! -e "$cache/$suite/recipe" ]; then
        echo "not fetched: ${unfetched:-run.sh --phase does it}"
        return
    fi
    lacking=
    for word in $(sed -n 's/^# needs: //p' "$here/$1.sh"); do
        installed "$word" || lacking="$lacking $word"
    done
    [ -z "$lacking" ] || echo "not installed:$lacking"
}

# In the suite's root, or the host's, where lib.sh looks. A link there may lead nowhere from here.
installed() {
    case $1 in */*) [ -e "$cache/$1" ]; return ;; esac
    for dir in /usr/sbin /usr/bin /sbin /bin; do
        [ -x "$root$dir/$1" ] || [ -L "$root$dir/$1" ] && return
    done
    return 1
}

# As engine_run, and counts. Only if something failed it runs again, and then with runc, to see whether it was the machine.
engine_judged() {
    begin=$(date +%s)
    engine_run "$1" "$2"
    first=$scratch/$1.first again=$results control=$scratch/$1-runc.results
    cp "$results" "$first"
    if grep -q '^failed' "$first" || ! grep -q '^ended' "$first"; then
        echo "== something failed: once more, and the same with runc, to tell us from the machine"
        for by in "$2" runc; do
            engine_run "$1" "$by" > "$scratch/again.log" 2>&1
            grep -aE '^(FAILED|skipped) ' "$scratch/again.log"
            rm -f "$scratch/again.log"
        done
    fi
    [ -e "$control" ] || : > "$control"
    while read -r verdict what; do
        what=${what%%"$tab"*}
        case $verdict in
        passed) passed=$((passed + 1)) ;;
        skipped) skipped=$((skipped + 1)) ;;
        failed) blame "$1" "$what" ;;
        esac
    done < "$first"
    grep -q '^ended' "$first" || blame "$1" "the script came to its end" ended
    echo "== $1: $(grep -c '^passed' "$first") passed, $(($(date +%s) - begin)) s"
    rm -f "$first"
}

# blame ENGINE SCENARIO [LINE]: ours failed it; it is ours if it fails again and runc passes it. Under load engines lose a
# container's output once in some hundred times, with runc too.
blame() {
    if grep -qxF "${3:-passed $2}" "$again"; then
        skipped=$((skipped + 1))
        echo "UNSTABLE $1: $2: failed once, passed once: counts as skipped"
    elif grep -qxF "${3:-passed $2}" "$control"; then
        failed=$((failed + 1))
        echo "FAILED   $1: $2: twice, and runc passes it"
    else
        skipped=$((skipped + 1))
        echo "skipped  $1: $2: runc fails it too on this machine"
    fi
}
