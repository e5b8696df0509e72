#!/usr/bin/env bash
# Writes runtime-cli/hot.ld: which functions the usual verbs run, so that the linker puts them side by side and a start
# maps fewer pages. To be run again after larger changes, as root; takes some minutes, for it steps through each verb.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d /dev/shm/hot.XXXXXX)
trap 'rm -rf "${work:?}"' EXIT
target=$(uname -m)-unknown-linux-gnu
CARGO_TARGET_DIR=target/hot CARGO_PROFILE_RELEASE_STRIP=false RUNTIME_HOT_SECTIONS=no \
  cargo rustc --release -p runtime-cli --bin runtime -- -C "link-arg=-Wl,-Map=$work/map"
runtime=$PWD/target/hot/$target/release/runtime
gcc -O2 -Wall -o "$work/step" conformance/floor/step.c

# Bundles: a program that ends, one that waits, one under Docker's profile.
for name in true sleep filter; do
  mkdir -p "$work/$name/rootfs/bin"
  cp /bin/busybox "$work/$name/rootfs/bin/busybox"
  ln -s busybox "$work/$name/rootfs/bin/true"
  "$runtime" spec --bundle "$work/$name"
done
edit() {
  jq "$2" "$work/$1/config.json" >"$work/edited" && mv "$work/edited" "$work/$1/config.json"
}
edit true '.process.terminal = false | .process.args = ["true"]'
edit sleep '.process.terminal = false | .process.args = ["/bin/busybox", "sleep", "600"]'
edit filter '.process.terminal = false | .process.args = ["true"]'
jq --slurpfile profile runtime-core/tests/data/seccomp-docker.json '.linux.seccomp = $profile[0]' \
  "$work/filter/config.json" >"$work/edited" && mv "$work/edited" "$work/filter/config.json"

cat >"$work/verbs" <<'VERBS'
umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup
run() {
  echo "hot-sections: $*" >&2
  "$work/step" "$work/addresses" "$runtime" --root "$work/root" "$@" </dev/null >/dev/null
}
run run --bundle "$work/true" one
run create --bundle "$work/sleep" --pid-file "$work/pid" two
run state two
run start two
run exec two true
run list
run kill two KILL
run delete --force two
run run --bundle "$work/filter" three
run --log "$work/log" --log-format json state missing || true
VERBS
export work runtime
unshare -m bash -eu "$work/verbs"

nm -S "$runtime" >"$work/symbols"
python3 scripts/hot-sections.py "$work/addresses" "$work/symbols" "$work/map" >runtime-cli/hot.ld
echo "hot-sections: $(wc -l <runtime-cli/hot.ld) lines in runtime-cli/hot.ld"
