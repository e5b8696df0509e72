#!/usr/bin/env bash
# The benchmark: ours against runc, crun and youki where they are installed, and against the kernel's floor.
# Arguments go to it: scripts/bench.sh --rounds 40 --json figures.json (--help lists them).
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release -p runtime-cli -p conformance
program="target/$(uname -m)-unknown-linux-gnu/release/conformance"
if [ "$(id -u)" -eq 0 ]; then
  exec "$program" bench "$@"
fi
exec sudo "$program" bench "$@"
