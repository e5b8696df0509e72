#!/bin/sh
# Runs the engine scenarios, isolated from the host: read-only tree, a network and pids of its own, every daemon with its
# directories and sockets below one scratch directory that is removed.
#
#   run.sh [-o PATTERN] ENGINE[@SUITE]... -- RUNTIME...  these engines on these runtimes; PATTERN is part of a scenario's name
#   run.sh --phase RUNTIME                       what scripts/test.sh runs: every engine, the newer too, short storms, the sabotage
#   run.sh --sabotage RUNTIME                    broken runtimes, made of this one, must make scenarios fail
#   run.sh --storm RUNTIME                       hundreds of containers in a row and at once, beside runc's and crun's times
#   run.sh --table RUNTIME                       every engine with runc and RUNTIME, as the table of docs/engines.md
#
# The engines are the host's, of Debian 12, and with @SUITE those of another Debian, which suite.sh fetches once into
# $ENGINES_CACHE. A scenario of --phase that fails is run with runc too: what fails there says nothing about us and counts as skipped.
set -u
here=$(cd "$(dirname "$0")" && pwd)
ENGINES=${ENGINES:-"podman docker containerd cri buildah stacks supervised"}
suite_wanted=${ENGINES_SUITE:-trixie}
cache=${ENGINES_CACHE:-/var/cache/conformance-engines}
checkout=$(cd "$here/../.." && pwd)
scratch=${ENGINES_SCRATCH:-$checkout/target}/engines.$$
PATH=$PATH:/usr/sbin:/sbin
passed=0 failed=0 skipped=0

. "$here/judge.sh"
. "$here/sabotage.sh"
. "$here/table.sh"

ONLY= mode=some
case "${1:-}" in
--phase | --sabotage | --storm | --table) mode=${1#--}; shift ;;
-o) ONLY=$2; shift 2 ;;
esac
engines=
if [ $mode = some ]; then
    while [ $# -gt 0 ] && [ "$1" != -- ]; do engines="$engines $1"; shift; done
    [ $# -gt 0 ] && shift
fi
[ $# -gt 0 ] && { [ $mode != some ] || [ -n "$engines" ]; } || { sed -n '5,9s/^# *//p' "$0" >&2; exit 2; }

isolate=${CONFORMANCE:-$(ls -t "$checkout"/target/*/debug/conformance "$checkout"/target/debug/conformance 2>/dev/null | head -1)}
[ "$(id -u)" = 0 ] || { lane_skipped "needs root: it starts daemons and mounts"; exit; }
[ -x "$isolate" ] || { echo "build conformance first: cargo build -p conformance" >&2; exit 2; }
trap 'sweep; rm -rf "$scratch/broken"; rm -f "$scratch"/*.results "$scratch"/*.log; rmdir "$scratch" 2> /dev/null' EXIT
trap 'exit 1' INT TERM
for runtime in "$@"; do
    [ -x "$runtime" ] || command -v "$runtime" > /dev/null || { echo "$runtime: no such program" >&2; exit 2; }
done

case $mode in
some)
    for engine in $engines; do
        for runtime in "$@"; do
            engine_run "$engine" "$runtime"
            grep -q '^failed' "$results" && failed=1
            grep -q '^ended' "$results" || failed=1
        done
    done
    ;;
phase)
    "$here/setup.sh" || echo "== some packages could not be installed: their engines are skipped"
    fetch "$suite_wanted"
    for engine in $ENGINES; do
        for each in $engine $engine@$suite_wanted; do engine_judged "$each" "$1"; done
    done
    STORM=1
    for engine in podman docker containerd; do engine_judged "$engine" "$1"; done
    STORM=
    sabotage "$1"
    echo "engines: $passed passed, $failed failed, $skipped skipped"
    ;;
sabotage)
    sabotage "$1"
    echo "sabotage: $passed passed, $failed failed, $skipped skipped"
    ;;
storm)
    for engine in ${ENGINE:-podman docker containerd}; do
        STORM=${TURNS:-10} ENGINE_SECONDS=1800 engine_run "$engine" "$1"
        grep -q '^failed' "$results" && failed=1
    done
    ;;
table)
    fetch "$suite_wanted" >&2
    table "$1"
    ;;
esac
[ $failed = 0 ]
