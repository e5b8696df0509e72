#!/usr/bin/env bash
# Everything that must hold: set-up, format, lints, tests, conformance. Prints each phase with its time and
# ends with `N passed, N failed, N skipped`.
set -uo pipefail
cd "$(dirname "$0")/.."

passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Adds up the result lines of cargo's harness and of the conformance harness; false if there were none.
count() {
  local line found=1
  while IFS= read -r line; do
    if [[ $line =~ ([0-9]+)\ passed[\;,]\ ([0-9]+)\ failed[\;,]\ ([0-9]+)\ (ignored|skipped) ]]; then
      passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2])) skipped=$((skipped + BASH_REMATCH[3]))
      found=0
    fi
  done <"$log"
  return $found
}

# phase NAME COMMAND…: a phase without a harness counts as one test; one that dies always counts as failed.
phase() {
  local name=$1 begin=$SECONDS status=0 before
  shift
  echo "== $name"
  "$@" 2>&1 | tee "$log"
  status=${PIPESTATUS[0]}
  before=$failed
  if ! count; then
    [ "$status" -ne 0 ] || passed=$((passed + 1))
  fi
  if [ "$status" -ne 0 ] && [ "$failed" -eq "$before" ]; then
    failed=$((failed + 1))
  fi
  echo "== $name: status $status, $((SECONDS - begin)) s"
}

skip() {
  echo "== $1: skipped: $2"
  skipped=$((skipped + 1))
}

phase setup scripts/setup.sh
phase format cargo fmt --all --check
phase lints cargo clippy --workspace --all-targets -- -D warnings
phase "unit tests" cargo test --workspace --exclude conformance
phase tidy cargo test -p conformance --test tidy --test spec
phase "harness tests" cargo test -p conformance --lib --bins
phase "release build" scripts/build.sh
runtime=$(scripts/build.sh 2>/dev/null)

# The binary we ship, by both entries, and as controls the host's runc and crun; all in a mount namespace in which the
# host is read-only (conformance/src/isolate.rs).
if [ "$(id -u)" -eq 0 ]; then
  phase conformance env RUNTIME="$runtime" cargo test -p conformance --test conformance
  # The OCI runtime-tools' programs, a minute each at most; Go builds them once (docs/runtime-tools.md).
  phase "runtime-tools" env RUNTIME="$runtime" timeout 600 \
    cargo run --quiet -p conformance --bin conformance -- runtime-tools
else
  skip conformance "needs root"
  skip runtime-tools "needs root"
fi

# The same binary under Podman, Docker, containerd and Buildah (docs/engines.md). It installs them, and skips what it cannot.
phase engines conformance/engines/run.sh --phase "$runtime"
phase package scripts/deb.sh --test
# systemd, pure cgroup v2, AppArmor, Podman under systemd, and other kernels: in virtual machines, in at most 12 minutes.
phase guest env RUNTIME="$runtime" scripts/guest-lane.sh

if ! command -v cargo-fuzz >/dev/null; then
  timeout 600 cargo install cargo-fuzz --locked --quiet || echo "cargo-fuzz cannot be installed"
fi
if command -v cargo-fuzz >/dev/null; then
  # The golden configs are where it starts; what it finds stays in fuzz/corpus.
  for fuzzer in spec_parse spec_plan wire_decode seccomp; do
    mkdir -p "fuzz/corpus/$fuzzer"
    phase "fuzz $fuzzer" env RUSTC_BOOTSTRAP=1 cargo fuzz run "$fuzzer" --target "$(uname -m)-unknown-linux-gnu" \
      "fuzz/corpus/$fuzzer" runtime-core/tests/golden/configs -- -max_total_time=20 -max_len=65536
  done
else
  skip fuzz "cargo-fuzz is not installed, and cannot be (no network?)"
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
