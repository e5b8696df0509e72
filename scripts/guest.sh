#!/usr/bin/env bash
# Runs a command in a small virtual machine: Debian with systemd as pid 1, pure cgroup v2 and AppArmor, on a kernel
# of Debian's. Needs root (for debootstrap), qemu-system-x86 and debootstrap; no KVM.
#
#   scripts/guest.sh [-k SUITE] [-t SECONDS] [-a FILE[:NAME]]... [-o DIRECTORY] [-s DIRECTORY] [-n] COMMAND [ARG]...
#   scripts/guest.sh -b [-k SUITE]        only makes the image and fetches the kernel, where they are not there yet
#
#   -a  copy FILE to /work/NAME in the guest, which is also where the command starts; directories with what is in them
#   -o  what the command leaves in /out comes here
#   -s  a directory that the guest shares, as /host (9p): what either side writes there, the other sees at once
#   -k  kernel of another Debian suite (bullseye 5.10, bookworm 6.1, trixie 6.12, sid)
#   -t  seconds until it is given up (720, booting included)
#   -n  no systemd: the command is run by pid 1 of the initial RAM disk's shell; a few seconds, for kernel questions
#
# The command's output comes to standard output and its exit status is that of this script (120 and up: the guest
# failed, see target/guest/console-*.log). In the guest: runc, crun, podman, busybox, strace, uidmap, a user `user` (1000) with
# subordinate ids and a systemd session of his own. Every run starts from the same image, which is kept in target/guest.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=trixie
kernel_suite=$suite
limit=720
systemd=1
out=
share=
build=
add=()
while getopts k:t:a:o:s:nb option; do
  case $option in
    k) kernel_suite=$OPTARG ;;
    t) limit=$OPTARG ;;
    a) add+=("$OPTARG") ;;
    o) out=$OPTARG ;;
    s) share=$(realpath -e "$OPTARG") ;;
    n) systemd= ;;
    b) build=1 ;;
    *) exit 120 ;;
  esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || [ -n "$build" ] || { sed -n '2,/^set/{/^#/s/^# \?//p}' "$0" >&2; exit 120; }

cache=${GUEST_CACHE:-$PWD/target/guest}
mirror=${GUEST_MIRROR:-http://deb.debian.org/debian}
mkdir -p "$cache"
PATH=$PATH:/usr/sbin:/sbin

fail() {
  echo "guest: $*" >&2
  exit 121
}

for tool in qemu-system-x86_64 debootstrap mkfs.ext4 busybox xz modprobe; do
  command -v $tool >/dev/null || fail "$tool is missing (apt-get install qemu-system-x86 debootstrap e2fsprogs busybox-static xz-utils kmod)"
done
[ "$(id -u)" = 0 ] || fail "needs root, for debootstrap"

packages=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,kmod,runc,crun,busybox-static,uidmap,iproute2,strace
packages=$packages,procps,apparmor,util-linux,sudo,jq,podman,conmon,netavark,catatonit

# The newest kernel of a suite, unpacked to $cache/kernel-SUITE: vmlinuz, modules, and an initial RAM disk.
kernel() {
  local to=$cache/kernel-$1 lists index name path version recipe
  recipe=$(declare -f kernel)
  [ "$(cat "$to/recipe" 2>/dev/null)" != "$recipe" ] || return 0
  echo "guest: fetching the kernel of $1" >&2
  rm -rf "$to.new"
  mkdir -p "$to.new/lists/partial" "$to.new/cache/archives/partial"
  lists=(-oDir::Etc::sourcelist="$to.new/sources" -oDir::Etc::sourceparts=/dev/null -oDir::State::Lists="$to.new/lists"
    -oDir::Cache="$to.new/cache" -oAPT::Sandbox::User=root -oAPT::Architecture=amd64)
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $1 main" >"$to.new/sources"
  apt-get "${lists[@]}" update -qq >&2
  index=$(apt-cache "${lists[@]}" show linux-image-amd64 | sed -n 's/^Depends:.*\(linux-image-[^ ,]*\).*/\1/p' | head -1)
  # sid splits the package: the image itself is in linux-binary-…, what is built in stands in linux-base-….
  name=$(apt-cache "${lists[@]}" depends --important "$index" 2>/dev/null |
    sed -n 's/.*Depends: *\(linux-\(binary\|modules\|base\)-[0-9][^ ]*\)/\1/p')
  (cd "$to.new" && apt-get "${lists[@]}" download -qq "$index" $name >&2)
  for path in "$to.new"/*.deb; do dpkg -x "$path" "$to.new/tree"; done
  version=$(basename "$(ls -d "$to.new"/tree/usr/lib/modules/*/ "$to.new"/tree/lib/modules/*/ 2>/dev/null | head -1)")
  mkdir -p "$to.new/modules/lib/modules"
  mv "$(ls -d "$to.new"/tree/{usr/,}lib/modules/"$version" 2>/dev/null | head -1)" "$to.new/modules/lib/modules/"
  cp "$(find "$to.new/tree" "$to.new/modules" -name 'vmlinuz*' -type f | head -1)" "$to.new/vmlinuz"
  depmod -b "$to.new/modules" "$version"
  initrd "$to.new" "$version"
  # Of the modules only what containers may need goes into the guest.
  (cd "$to.new/modules/lib/modules/$version/kernel" && rm -rf sound && cd drivers &&
    find . -mindepth 1 -maxdepth 1 ! -name block ! -name net ! -name virtio ! -name md ! -name char ! -name infiniband -exec rm -rf {} + &&
    rm -rf infiniband/hw infiniband/ulp && cd net && find . -mindepth 1 -maxdepth 1 ! -name 'veth*' ! -name 'dummy*' ! -name 'tun*' ! -name 'macvlan*' -exec rm -rf {} +)
  depmod -b "$to.new/modules" "$version"
  rm -rf "$to.new/tree" "$to.new/lists" "$to.new/cache" "$to.new"/*.deb
  echo "$recipe" >"$to.new/recipe"
  rm -rf "$to"
  mv "$to.new" "$to"
}

# The initial RAM disk: busybox and the modules of the root disk.
initrd() {
  local tree=$1/initrd.tree module
  mkdir -p "$tree"/{bin,dev,proc,sys,root,modules}
  cp /bin/busybox "$tree/bin/"
  ln -s busybox "$tree/bin/sh"
  for module in virtio_pci virtio_blk ext4 overlay loop; do
    modprobe -d "$1/modules" -S "$2" --show-depends "$module" | sed -n 's/^insmod \([^ ]*\).*/\1/p'
  done | awk '!seen[$0]++' >"$1/order"
  : >"$tree/modules/order"
  while read -r module; do
    local name
    name=$(basename "$module")
    case $module in
      *.xz) xz -dc "$module" >"$tree/modules/${name%.xz}" ;;
      *.zst) zstd -qdc "$module" >"$tree/modules/${name%.zst}" ;;
      *) cp "$module" "$tree/modules/" ;;
    esac
    name=${name%.xz}
    echo "${name%.zst}" >>"$tree/modules/order"
  done <"$1/order"
  pack "$1"
}

# Its script, and the file; again when the script is another.
pack() {
  local tree=$1/initrd.tree recipe
  recipe=$(declare -f pack)
  [ "$(cat "$1/packed" 2>/dev/null)" != "$recipe" ] || return 0
  cat >"$tree/init" <<'INIT'
#!/bin/sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "/modules/$module"; done </modules/order
tries=0
while [ ! -b /dev/vda ] && [ $tries -lt 100 ]; do tries=$((tries + 1)); sleep 0.1; done
mount -t ext4 /dev/vda /root || { echo "GUEST-EXIT 122"; poweroff -f; }
if grep -q guest.plain /proc/cmdline; then
  for at in dev proc sys; do mount --move /$at /root/$at; done
  mount -t cgroup2 cgroup2 /root/sys/fs/cgroup
  mount -t tmpfs tmpfs /root/run
  mount -t securityfs securityfs /root/sys/kernel/security
  ln -s /proc/self/fd /root/dev/fd
  # As switch_root does it: in a chroot, what enters a container's mount namespace would find the RAM disk as its root.
  cd /root && mount --move . / && exec chroot . /bin/busybox sh -c '/usr/local/sbin/guest-run; busybox poweroff -f'
fi
mount --move /dev /root/dev
umount /sys /proc
exec switch_root /root /sbin/init
INIT
  chmod +x "$tree/init"
  (cd "$tree" && find . | busybox cpio -o -H newc 2>/dev/null) | gzip -1 >"$1/initrd"
  echo "$recipe" >"$1/packed"
}

# The root file system: debootstrap's, with a unit that runs what the second disk brings.
root() {
  local recipe image=${cache:?}/root.img tree=${cache:?}/root.new builder
  recipe=$(declare -f root; echo "$suite $packages")
  [ "$(cat "$cache/recipe" 2>/dev/null)" != "$recipe" ] || [ ! -e "$image" ] || return 0
  echo "guest: building the image (once)" >&2
  ! grep -q " $tree" /proc/self/mountinfo || fail "something is mounted in $tree"
  rm -rf --one-file-system "$tree"
  # In a mount and pid namespace of its own: nothing it mounts or starts outlives it, or us.
  unshare --mount --pid --fork --kill-child debootstrap --variant=minbase --include="$packages" "$suite" "$tree" "$mirror" \
    >"$cache/debootstrap.log" 2>&1 &
  builder=$!
  trap 'kill -KILL $builder; exit 121' TERM INT
  wait $builder || fail "debootstrap failed, see $cache/debootstrap.log"
  trap - TERM INT
  rm -rf "$tree"/var/cache/apt/* "$tree"/var/lib/apt/lists/* "$tree"/usr/share/{doc,man,locale}
  echo guest >"$tree/etc/hostname"
  echo "127.0.0.1 localhost guest" >"$tree/etc/hosts"
  chroot "$tree" useradd -m -u 1000 -s /bin/bash user
  grep -q ^user: "$tree/etc/subuid" || echo user:100000:65536 | tee "$tree/etc/subuid" >"$tree/etc/subgid"
  mkdir -p "$tree"/{work,out,var/lib/systemd/linger}
  touch "$tree/var/lib/systemd/linger/user"
  cat >"$tree/usr/local/sbin/guest-run" <<'RUN'
#!/bin/bash
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
exec >/dev/ttyS0 2>&1 </dev/null
cd /work && tar xf /dev/vdb
echo "GUEST-READY $(uname -r) $(cut -d. -f1 /proc/uptime) s"
bash /work/.command
echo "GUEST-EXIT $?"
tar cf /dev/vdc -C /out .
sync
[ -d /run/systemd/system ] && systemctl poweroff --force --force
RUN
  chmod +x "$tree/usr/local/sbin/guest-run"
  cat >"$tree/etc/systemd/system/guest.service" <<'UNIT'
[Unit]
After=basic.target dbus.service systemd-logind.service user@1000.service
Wants=dbus.service
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/guest-run
TimeoutStartSec=infinity
Delegate=yes
[Install]
WantedBy=multi-user.target
UNIT
  mkdir -p "$tree/etc/systemd/system/multi-user.target.wants"
  ln -s ../guest.service "$tree/etc/systemd/system/multi-user.target.wants/"
  local unit
  for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer man-db.timer systemd-udev-trigger.service systemd-udev-settle.service getty.target \
    serial-getty@ttyS0.service systemd-timesyncd.service systemd-networkd.service systemd-pstore.service \
    systemd-journal-catalog-update.service systemd-update-done.service ldconfig.service systemd-hwdb-update.service \
    systemd-random-seed.service systemd-binfmt.service modprobe@.service; do
    ln -sf /dev/null "$tree/etc/systemd/system/$unit"
  done
  : >"$tree/etc/fstab"
  rm -f "$image"
  truncate -s 3G "$image"
  mkfs.ext4 -q -F -O ^has_journal -d "$tree" "$image"
  rm -rf --one-file-system "$tree"
  echo "$recipe" >"$cache/recipe"
}

# A lock for each of the parts, which several runs may build at once and all share.
locked() {
  exec 9>"$cache/$1.lock"
  flock 9
  shift
  "$@"
  exec 9>&-
}
locked "kernel-$kernel_suite" kernel "$kernel_suite"
locked "kernel-$kernel_suite" pack "$cache/kernel-$kernel_suite"
locked root root
[ -z "$build" ] || exit 0

run=$(mktemp -d "$cache/run.XXXXXX")
trap 'rm -rf "$run"' EXIT
mkdir "$run/work"
printf '%q ' "$@" >"$run/work/.command"
cp -r "$cache/kernel-$kernel_suite/modules/lib/modules" "$run/work/.modules"
sed -i "1i mkdir -p /usr/lib/modules && mv /work/.modules/* /usr/lib/modules/ && rmdir /work/.modules" "$run/work/.command"
if [ -n "$share" ]; then
  sed -i "1a modprobe 9pnet_virtio && mkdir -p /host && mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 host /host || exit 120" \
    "$run/work/.command"
fi
for entry in ${add[@]+"${add[@]}"}; do
  from=${entry%%:*}
  name=${entry#*:}
  [ "$name" != "$entry" ] || name=$(basename "$from")
  mkdir -p "$(dirname "$run/work/$name")"
  cp -a "$from" "$run/work/$name"
done
tar cf "$run/in.tar" -C "$run/work" .
truncate -s 64M "$run/out.tar"

console=$cache/console-$kernel_suite.log
append="console=ttyS0 panic=-1 quiet loglevel=3 conformance.disposable"
[ -n "$systemd" ] && append+=" systemd.show_status=0" || append+=" guest.plain"
host=()
[ -z "$share" ] || host=(-virtfs "local,path=$share,mount_tag=host,security_model=none")
drive() { echo "file=$1,format=raw,if=virtio,$2"; }
# One boot; what the command says comes out as it is said.
boot() {
  TMPDIR=$run timeout -k 5 "$1" qemu-system-x86_64 -accel "${GUEST_ACCEL:-tcg,thread=multi}" -cpu max -m 2048 -smp 2 \
    -nographic -no-reboot -nic none -kernel "$cache/kernel-$kernel_suite/vmlinuz" -initrd "$cache/kernel-$kernel_suite/initrd" \
    -append "$append" -drive "$(drive "$cache/root.img" snapshot=on)" -drive "$(drive "$run/in.tar" readonly=on)" \
    -drive "$(drive "$run/out.tar" cache=unsafe)" ${host[@]+"${host[@]}"} 2>&1 </dev/null | sed -u 's/\r$//' | tee "$console" |
    sed -u -n '/GUEST-READY/{s/.*GUEST-READY/guest: up,/p;:loop;n;/GUEST-EXIT/q;p;b loop}' || true
}

# QEMU 7.2 emulating two processors runs, once in a while, code that the kernel has patched since; the kernel then
# panics as it boots. Nothing of ours has run by then, so it is booted again.
end=$((SECONDS + limit))
for try in 1 2 3; do
  boot $((end - SECONDS))
  if grep -q GUEST-READY "$console" || ! grep -q 'Kernel panic' "$console"; then break; fi
  cp "$console" "$console.panic$try"
  echo "guest: the emulated kernel panicked as it booted; again" >&2
done
status=$(sed -n 's/.*GUEST-EXIT \([0-9]*\).*/\1/p' "$console" | tail -1)
[ -n "$status" ] || fail "no exit status after $SECONDS s, see $console"
if [ -n "$out" ]; then
  mkdir -p "$out"
  tar xf "$run/out.tar" -C "$out"
fi
exit "$status"
