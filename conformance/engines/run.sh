#!/bin/sh
# Runs the engine scenarios: run.sh [-o PATTERN] ENGINE... -- RUNTIME..., isolated from the host: read-only tree, a network
# and pids of its own, every daemon with its directories and sockets below one scratch directory that is removed.
#
# A scenario counts when runc passes it: name runc first, so that a failure of the next one is its own.
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=${CONFORMANCE:-$(ls -t "$here"/../../target/*/debug/conformance "$here"/../../target/debug/conformance 2>/dev/null | head -1)}
[ -x "$build" ] || { echo "build conformance first" >&2; exit 2; }
ONLY=
[ "${1:-}" = -o ] && { ONLY=$2; shift 2; }
engines=
while [ $# -gt 0 ] && [ "$1" != -- ]; do engines="$engines $1"; shift; done
[ $# -gt 0 ] && shift
[ $# -gt 0 ] && [ -n "$engines" ] || { echo "usage: run.sh [-o PATTERN] ENGINE... -- RUNTIME..." >&2; exit 2; }
scratch=${ENGINES_SCRATCH:-/var/tmp}/engines.$$
status=0
for engine in $engines; do
    for runtime in "$@"; do
        place=$scratch/$engine
        mkdir -p "$place"
        echo "== $engine on $runtime"
        "$build" isolated -w "$place" -- unshare --net --pid --fork --kill-child --mount-proc \
            env -i PLACE="$place" RUNTIME="$runtime" ONLY="$ONLY" sh "$here/$engine.sh" || status=1
        # Nothing is mounted below it outside of the namespace that has ended.
        if grep -q " $place" /proc/self/mountinfo; then
            echo "mounts below $place: not removed"; status=1
        else
            rm -rf "${place:?}"
        fi
    done
done
rmdir "$scratch" 2>/dev/null
exit $status
