#!/usr/bin/env bash
# Builds the runtime for release and says where it is: one static binary, with musl where that target is installed
# (scripts/setup.sh sees to it if it can), else with glibc, whose start takes longer (README, "Benchmark"). RUNTIME_LIBC=gnu
# asks for glibc. With a word behind it, prints only the target.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(uname -m)-unknown-linux-musl
[ "${RUNTIME_LIBC:-musl}" = musl ] && [ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ] ||
  target=$(uname -m)-unknown-linux-gnu
if [ $# -gt 0 ]; then
  echo "$target"
  exit
fi
cargo build --release -p runtime-cli --bin runtime --target "$target" >&2
echo "${CARGO_TARGET_DIR:-$PWD/target}/$target/release/runtime"
