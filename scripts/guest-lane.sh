#!/usr/bin/env bash
# The cases that need another kernel, systemd, pure cgroup v2 or AppArmor, in machines of guest.sh: ours, and runc and crun as
# controls; and Podman under systemd, as root and as a user in his session.
#
#   [RUNTIME=BINARY] [GUEST_CACHE=DIRECTORY] [LANE_SECONDS=720] scripts/guest-lane.sh
#
# First short ones without systemd, on the oldest supported kernel, one between, and the newest; then the long one with systemd.
# Ends with `N passed, N failed, N skipped`. Where no guest can be made, or it does not start, that is one skipped, with the
# reason: it says nothing about the runtime. Image and kernels are kept in $GUEST_CACHE, target/guest otherwise. What is not
# begun in LANE_SECONDS, making them included, is skipped.
set -uo pipefail
cd "$(dirname "$0")/.."
begin=$SECONDS
limit=${LANE_SECONDS:-720}
triple=$(uname -m)-unknown-linux-gnu
passed=0 failed=0 skipped=0

finish() {
  echo "$passed passed, $failed failed, $skipped skipped"
  [ "$failed" -eq 0 ]
  exit
}
skip() {
  echo "skipped  guest: $*"
  skipped=$((skipped + 1))
}
left() { echo $((limit - (SECONDS - begin))); }

# command:package
needed=(qemu-system-x86_64:qemu-system-x86 debootstrap:debootstrap mkfs.ext4:e2fsprogs busybox:busybox-static xz:xz-utils modprobe:kmod)
missing() {
  local pair
  for pair in "${needed[@]}"; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%:*}" >/dev/null || echo "${pair##*:}"
  done
}

[ "$(uname -m)" = x86_64 ] || { skip "the guest is a PC"; finish; }
[ "$(id -u)" -eq 0 ] || { skip "needs root, for debootstrap"; finish; }
if [ -n "$(missing)" ] && command -v apt-get >/dev/null; then
  echo "guest: installing" $(missing)
  { timeout 60 apt-get update -qq
    DEBIAN_FRONTEND=noninteractive timeout 180 apt-get install -y -qq --no-install-recommends $(missing); } >/dev/null 2>&1
fi
[ -z "$(missing)" ] || { skip "$(missing | tr '\n' ' ')cannot be installed"; finish; }

cargo build --quiet -p conformance || { failed=1; finish; }
runtime=${RUNTIME:-target/$triple/release/runtime}
[ -x "$runtime" ] || cargo build --quiet --release -p runtime-cli || { failed=1; finish; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for name in conformance probe; do
  strip -o "$scratch/$name" "target/$triple/debug/$name" 2>/dev/null || cp "target/$triple/debug/$name" "$scratch/$name"
done
cp "$runtime" "$scratch/runtime"

# Debian's suites, for their kernels.
short_kernels="bullseye bookworm sid"
# What a kernel may change: the calls that are made, cgroup v2, who enters what. About a minute each.
short="kernel:: unified:: update::v2 field:: resource:: device_rule:: dev::bound_in mount_cgroup::shows mount_cgroup::is_read_only
  cgroup::every cgroup::occupied cgroup::frozen cgroup::cgroups_made cgroup::orphans lifecycle::created exec::joins rootless::one_id
  rootless::lifecycle namespace::each_kind namespace::time_is terminal::console"
# With systemd first what nothing else has; then all about cgroups, and of the rest what a shared "/" or AppArmor may change.
first="unit:: unit_rootless:: label:: unified:: update::v2 device_rule::update mount_cgroup::flags"
then="field:: cgroup:: resource:: update:: device_rule:: rootless:: rootless_cgroup:: pause:: ps:: events:: exec::sub
  exec::many exec::joins exec::terminal device::user_namespace dev::bound_in lifecycle::created lifecycle::kill_takes lifecycle::kill_of_paused
  lifecycle::run_ lifecycle::parallel lifecycle::failed mount_cgroup:: mount_option::propagation mount_bind::rbind root::propagation
  root::is_ root::submounts namespace::new_ones namespace::each_kind namespace::time_is user_namespace::joined trace::run kernel::
  process:: terminal::console"
# One binary is as good as the other here; these show that a case is right.
controls="unified::unlimited update::v2_from unified::inner_tree_takes unit::lifecycle cgroup::gone label::apparmor_confines"

# What the guests run. $1: seconds that are left for the cases.
cat >"$scratch/lane.sh" <<LANE
export CONFORMANCE_TIME_FACTOR=\${CONFORMANCE_TIME_FACTOR:-6} PATH=\$PATH:/usr/sbin:/sbin
cd /work
end=\$((SECONDS + \$1))
# tests SHARE RUNTIME… FILTER…: with that share, in percent, of the time that is left.
tests() {
  local left=\$((end - SECONDS)) share=\$1
  shift
  [ \$left -gt 0 ] || left=0
  ./conformance test --jobs 3 --within \$((left * share / 100)) "\$@" || failed=1
}
if ! [ -d /run/systemd/system ]; then
  tests 100 --runtime /work/runtime $(echo $short)
  exit \${failed:-0}
fi
tests 50 --runtime /work/runtime $first
./guest.sh /work/runtime \$(((end - SECONDS) * 40 / 100)) || failed=1
tests 80 --runtime /work/runtime $(echo $then)
tests 60 --runtime /usr/sbin/runc --runtime /usr/bin/crun $(echo $controls)
systemctl list-units --all --plain --no-legend '*cf*x*' | sed 's/^/left: /'
exit \${failed:-0}
LANE

# guest NAME SUITE SECONDS CASES RESULTS [-n]: one machine for so long, its cases for so long; so many result lines are its end.
guest() {
  local name=$1 kernel=$2 seconds=$3 cases=$4 results=$5 log=$scratch/log p f s ends=0 units
  shift 5
  echo "== guest $name, $seconds s"
  scripts/guest.sh "$@" -k "$kernel" -t "$seconds" -a "$scratch/conformance" -a "$scratch/probe" -a "$scratch/runtime" \
    -a "$scratch/lane.sh" -a conformance/engines/guest.sh bash /work/lane.sh "$cases" 2>&1 | tee "$log" |
    grep -E --line-buffered -v '^[0-9]+ passed, |^passed '
  grep -q '^guest: up' "$log" || { skip "$name did not start: $(tail -1 "$log")"; return; }
  units=$(grep -c '^left: ' "$log")
  failed=$((failed + units))
  while read -r p _ f _ s _; do
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s)) ends=$((ends + 1))
  done < <(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped' "$log")
  [ $ends -lt "$results" ] || return
  # The machine stopped before the tests did; what they had said until then holds.
  skip "$name stopped before the end: $(tail -1 "$log")"
  [ $ends -gt 0 ] || { passed=$((passed + $(grep -c '^passed ' "$log"))) failed=$((failed + $(grep -c '^FAILED ' "$log"))); }
}

# The image and the kernels, at once; only the first time.
for kernel in trixie $short_kernels; do
  timeout $((limit / 2)) scripts/guest.sh -b -k "$kernel" >"$scratch/made-$kernel" 2>&1 &
done
wait
echo "guest: image and kernels are there after $((SECONDS - begin)) s"
made() {
  [ -e "${GUEST_CACHE:-target/guest}/kernel-$1/initrd" ] && [ -e "${GUEST_CACHE:-target/guest}/root.img" ] && return
  skip "no guest of $1: $(grep -v '^$' "$scratch/made-$1" | tail -1)"
  return 1
}
# Booting takes a quarter of a minute without systemd, up to two with it, and the last case begins just before the end.
for kernel in $short_kernels; do
  seconds=$(($(left) / 8))
  ! made "$kernel" || guest "with the kernel of $kernel" "$kernel" $seconds $((seconds * 2 / 3)) 1 -n
done
seconds=$(($(left) - 10))
! made trixie || guest "with systemd" trixie $seconds $((seconds - 140)) 4
finish
