# Runs one engine's script isolated, and says what its results are worth. Sourced by run.sh.
# shellcheck shell=sh disable=SC2154 # variables of run.sh

lane_skipped() {
    echo "== engines: skipped: $1"
    echo "0 passed, 0 failed, 1 skipped"
}

STORM=${STORM:-}
# crun refuses hybrid cgroups. In a storm it is to be compared with, so that only version 1 is mounted there, anew: what was
# mounted on the version 2 directory must not show, or a runtime would write into it.
VERSION_1=:
# shellcheck disable=SC2016
[ -z "$STORM" ] || VERSION_1='[ ! -d /sys/fs/cgroup/unified ] || {
    lists=$(awk -F: "\$2 != \"\" { print \$2 }" /proc/self/cgroup)
    umount -R /sys/fs/cgroup && mount -t tmpfs -o mode=0755 tmpfs /sys/fs/cgroup || exit 1
    for list in $lists; do
        mkdir "/sys/fs/cgroup/${list#name=}" && mount -t cgroup -o "$list" cgroup "/sys/fs/cgroup/${list#name=}" || exit 1
    done
}'

# engine_run ENGINE RUNTIME: its lines on standard output, and in $results: `passed NAME`, `failed NAME`, `skipped NAME`
# and at the end `ended`.
engine_run() {
    place=$scratch/$1
    runtime=$(realpath "$(command -v "$2")")
    results=$scratch/$1-$(basename "$2").results
    mkdir -p "$place"
    : > "$results"
    echo "== $1 on $2"
    missing=$(missing_for "$1")
    if [ -n "$missing" ]; then
        echo "skipped  $1: not installed:$missing"
        printf 'skipped %s: not installed\nended\n' "$1" > "$results"
        rmdir "$place"
        return
    fi
    # The outer shell is the namespace's pid 1: while it waits it reaps whatever daemons leave to it.
    # shellcheck disable=SC2016
    timeout -k 5 "${ENGINE_SECONDS:-900}" unshare --mount sh -c "$VERSION_1"'; exec "$@"' sh "$isolate" isolated -w "$place" -- \
        unshare --net --pid --fork --kill-child --mount-proc env -i PLACE="$place" CHECKOUT="$checkout" RUNTIME="$runtime" \
        ONLY="$ONLY" SECONDS_EACH="${SECONDS_EACH:-40}" DEBUG="${DEBUG:-}" STORM="$STORM" \
        sh -c 'sh "$1"; exit $?' init "$here/$1.sh"
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

# The processes have ended with their pid namespace; what a broken runtime left of cgroups goes here.
sweep() {
    find /sys/fs/cgroup -depth -type d -path "*/engines.$$-*" -exec rmdir {} + 2> /dev/null
}

# What of the script's `# needs:` line is not installed.
missing_for() {
    for word in $(sed -n 's/^# needs: //p' "$here/$1.sh"); do
        command -v "$word" > /dev/null || printf ' %s' "$word"
    done
}

# As engine_run, and counts. Only if something failed does runc run, to see whether it was the machine.
engine_judged() {
    begin=$(date +%s)
    engine_run "$1" "$2"
    ours=$results
    if grep -q '^failed' "$ours" || ! grep -q '^ended' "$ours"; then
        echo "== something failed: the same with runc, to tell us from the machine"
        engine_run "$1" runc > "$scratch/control.log" 2>&1
        grep -E '^(FAILED|skipped) ' "$scratch/control.log"
        rm -f "$scratch/control.log"
    fi
    control=$scratch/$1-runc.results
    [ -e "$control" ] || : > "$control"
    while read -r verdict what; do
        case $verdict in
        passed) passed=$((passed + 1)) ;;
        skipped) skipped=$((skipped + 1)) ;;
        failed) blame "$1" "$what" ;;
        esac
    done < "$ours"
    grep -q '^ended' "$ours" || blame "$1" "the script came to its end" ended
    echo "== $1: $(grep -c '^passed' "$ours") passed, $(($(date +%s) - begin)) s"
}

# blame ENGINE SCENARIO [LINE]: ours failed it; it is ours if runc has passed it.
blame() {
    if grep -qxF "${3:-passed $2}" "$control"; then
        failed=$((failed + 1))
        echo "FAILED   $1: $2: runc passes it"
    else
        skipped=$((skipped + 1))
        echo "skipped  $1: $2: runc fails it too on this machine"
    fi
}

# engine_row ENGINE RUNTIME: one row of the table, and what runc did not pass.
engine_row() {
    for runtime in runc "$2"; do engine_run "$1" "$runtime" >&2; done
    ours=$scratch/$1-$(basename "$2").results control=$scratch/$1-runc.results
    printf '| %s | %s | %s | %s | %s |\n' "$1" "$(grep -cE '^(passed|failed|skipped) ' "$ours")" \
        "$(grep -c '^passed' "$control")" "$(grep -c '^passed' "$ours")" \
        "$(grep -hE '^(failed|skipped) ' "$control" "$ours" | sort -u | tr '\n' ';')"
}
