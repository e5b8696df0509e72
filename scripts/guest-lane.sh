#!/usr/bin/env bash
# The cases that need systemd, pure cgroup v2 and AppArmor, in the machine of guest.sh: ours, and runc and crun as controls.
#
#   [RUNTIME=BINARY] [GUEST_CACHE=DIRECTORY] [LANE_SECONDS=720] scripts/guest-lane.sh
#
# Ends with `N passed, N failed, N skipped`. Where no guest can be made, or it does not start, that is one skipped, with the
# reason: it says nothing about the runtime. The image is kept in $GUEST_CACHE, target/guest otherwise.
set -uo pipefail
cd "$(dirname "$0")/.."
begin=$SECONDS
limit=${LANE_SECONDS:-720}
triple=$(uname -m)-unknown-linux-gnu

finish() {
  echo "$1 passed, $2 failed, $3 skipped"
  [ "$2" -eq 0 ]
  exit
}
skip() {
  echo "skipped  guest: $*"
  finish 0 0 1
}

[ "$(uname -m)" = x86_64 ] || skip "the guest is a PC"
[ "$(id -u)" -eq 0 ] || skip "needs root, for debootstrap"
for tool in qemu-system-x86_64 debootstrap mkfs.ext4 busybox xz modprobe; do
  PATH=$PATH:/usr/sbin:/sbin command -v $tool >/dev/null || skip "$tool is not installed"
done

cargo build --quiet -p conformance || finish 0 1 0
runtime=${RUNTIME:-target/$triple/release/runtime}
[ -x "$runtime" ] || cargo build --quiet --release -p runtime-cli || finish 0 1 0

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for name in conformance probe; do
  strip -o "$scratch/$name" "target/$triple/debug/$name" 2>/dev/null || cp "target/$triple/debug/$name" "$scratch/$name"
done
cp "$runtime" "$scratch/runtime"

# What nothing but the guest has first; then all about cgroups, and of the rest what a shared "/", AppArmor or another kernel may
# change. What is not begun in time is skipped.
first="unified:: unit:: label::"
then="cgroup:: resource:: rootless:: live:: exec::sub exec::many exec::joins exec::terminal device::rules device::user_namespace
  lifecycle::created lifecycle::kill_takes lifecycle::pause lifecycle::kill_of_paused lifecycle::run_
  lifecycle::parallel lifecycle::failed mount::cgroup mounting::cgroup mounting::shared mounting::propagation mounting::rbind
  root::propagation root::is_ root::submounts namespace::new_ones namespace::each_kind namespace::joined_user trace::run
  process:: terminal::console"
# One binary is as good as the other here; these show that a case is right.
controls="unified::unlimited unified::update_from unified::inner_tree_takes unit::lifecycle cgroup::gone label::apparmor_confines"

# What is left when the image is there and the guest is up (at most 3 minutes) is for the cases.
cat >"$scratch/lane.sh" <<LANE
export CONFORMANCE_TIME_FACTOR=\${CONFORMANCE_TIME_FACTOR:-6}
cd /work
end=\$((SECONDS + \$1))
# test SHARE RUNTIME… FILTER…: with that share, in percent, of the time that is left.
tests() {
  local left=\$((end - SECONDS)) share=\$1
  shift
  [ \$left -gt 0 ] || left=0
  ./conformance test --jobs 3 --within \$((left * share / 100)) "\$@" || failed=1
}
tests 60 --runtime /work/runtime $first
tests 60 --runtime /work/runtime $(echo $then)
tests 50 --runtime /usr/sbin/runc --runtime /usr/bin/crun $(echo $controls)
systemctl list-units --all --plain --no-legend '*cf*x*' | sed 's/^/left: /'
exit \${failed:-0}
LANE

# Builds the image and proves that it starts; a minute, and only the first time.
prepare=$((limit / 2))
mkdir -p "${GUEST_CACHE:-target/guest}"
if ! [ -e "${GUEST_CACHE:-target/guest}/root.img" ]; then
  timeout "$prepare" scripts/guest.sh -t $((prepare - 10)) true >"$scratch/prepare" 2>&1 ||
    skip "no guest: $(grep -v '^$' "$scratch/prepare" | tail -1)"
fi
left=$((limit - (SECONDS - begin)))
log=$scratch/log
scripts/guest.sh -t $((left - 10)) -a "$scratch/conformance" -a "$scratch/probe" -a "$scratch/runtime" -a "$scratch/lane.sh" \
  bash /work/lane.sh $((left - 150)) 2>&1 | tee "$log" | grep -E --line-buffered -v '^[0-9]+ passed, |^passed '
grep -q '^guest: up' "$log" || skip "it did not start: $(tail -1 "$log")"

passed=0 failed=0 skipped=0 ends=0
while read -r p _ f _ s _; do
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s)) ends=$((ends + 1))
done < <(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped' "$log")
left=$(grep -c '^left: ' "$log")
failed=$((failed + left))
if [ $ends -lt 3 ]; then
  # The machine stopped before the tests did; what they had said until then holds.
  echo "skipped  guest: it stopped before the end: $(tail -1 "$log")"
  [ $ends -eq 0 ] && passed=$(grep -c '^passed ' "$log") failed=$(grep -c '^FAILED ' "$log")
  skipped=$((skipped + 1))
fi
finish $passed $failed $skipped
