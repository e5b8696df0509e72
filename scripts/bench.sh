#!/usr/bin/env bash
# The benchmark: ours against runc, crun and youki where they are installed, and against the kernel's floor.
# Arguments go to it: scripts/bench.sh --rounds 40 --json figures.json (--help lists them).
set -euo pipefail
cd "$(dirname "$0")/.."

RUNTIME=${RUNTIME:-$(scripts/build.sh)}
export RUNTIME
cargo build --release -p conformance
program="target/$(uname -m)-unknown-linux-gnu/release/conformance"
if [ "$(id -u)" -eq 0 ]; then
  exec "$program" bench "$@"
fi
exec sudo RUNTIME="$RUNTIME" "$program" bench "$@"
