#!/usr/bin/env bash
# Builds the Debian package of `runtime`: the static binary, man pages, completions.
#
#   scripts/deb.sh DIR          builds DIR/runtime_VERSION_ARCH.deb; the same input gives the same bytes
#   scripts/deb.sh --test       builds it twice, installs it in a scratch Debian, and uses it there (needs root)
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD
PATH=$PATH:/usr/sbin:/sbin

fail() {
  echo "deb: $1" >&2
  exit 1
}

# What the tests are run as in the package: counted, so that scripts/test.sh sees them.
passed=0 failed=0
check() {
  local name=$1
  shift
  if "$@" >"$scratch/said" 2>&1; then
    passed=$((passed + 1))
    echo "passed   $name"
  else
    failed=$((failed + 1))
    echo "FAILED   $name"
    tail -5 "$scratch/said" | sed 's/^/      /'
  fi
}

# build DIR
build() {
  local out=$1 version arch tree target bytes
  version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
  arch=$(dpkg --print-architecture)
  target=$(scripts/build.sh target)
  cargo build --quiet --release -p runtime-cli --bin runtime --target "$target"
  target=${CARGO_TARGET_DIR:-target}/$target
  tree=$(mktemp -d)
  # The generator needs no optimising, and a debug build of it is often there already.
  cargo run --quiet -p runtime-cli --example generate -- man "$tree/usr/share/man/man8"
  cargo run --quiet -p runtime-cli --example generate -- completions "$tree/completions"
  install -D -m 755 "$target/release/runtime" "$tree/usr/bin/runtime"
  # The release profile strips already; this drops what a changed profile might leave.
  strip --strip-unneeded "$tree/usr/bin/runtime"
  install -D -m 644 "$tree/completions/runtime.bash" "$tree/usr/share/bash-completion/completions/runtime"
  install -D -m 644 "$tree/completions/_runtime" "$tree/usr/share/zsh/vendor-completions/_runtime"
  install -D -m 644 "$tree/completions/runtime.fish" "$tree/usr/share/fish/vendor_completions.d/runtime.fish"
  rm -r "$tree/completions"
  install -D -m 644 CHANGELOG.md "$tree/usr/share/doc/runtime/changelog"
  install -D -m 644 LICENSE "$tree/usr/share/doc/runtime/copyright"
  gzip -9n "$tree"/usr/share/man/man8/* "$tree/usr/share/doc/runtime/changelog"
  find "$tree" -type d -exec chmod 755 {} +
  find "$tree/usr/share" -type f -exec chmod 644 {} +
  bytes=$(du -sk --apparent-size "$tree" | cut -f1)
  install -d "$tree/DEBIAN"
  {
    echo "Package: runtime"
    echo "Version: $version"
    echo "Architecture: $arch"
    echo "Maintainer: The runtime authors <runtime@localhost>"
    echo "Installed-Size: $bytes"
    echo "Section: admin"
    echo "Priority: optional"
    echo "Suggests: uidmap"
    echo "Description: OCI container runtime"
    echo " Creates and runs containers as the OCI runtime specification describes them, with"
    echo " the command line of runc, so that Docker, Podman, containerd and Buildah can use it."
    echo " One static binary that depends on nothing."
  } >"$tree/DEBIAN/control"
  (cd "$tree" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
  # The time of the commit, or of the change log in a tree without git, for every file.
  SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}
  export SOURCE_DATE_EPOCH
  find "$tree" -exec touch --no-dereference -d "@$SOURCE_DATE_EPOCH" {} +
  mkdir -p "$out"
  dpkg-deb --root-owner-group -Zxz --build "$tree" "$out/runtime_${version}_$arch.deb" >/dev/null
  rm -r "$tree"
  echo "$out/runtime_${version}_$arch.deb"
}

# What runs in the scratch Debian, as its root, in namespaces of its own.
inside() {
  cat <<'INSIDE'
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mount --rbind /host-cgroup /sys/fs/cgroup
mkdir -p /root/b && cd /root/b
runtime spec
mkdir -p rootfs/bin rootfs/proc rootfs/dev rootfs/sys
cp /busybox rootfs/bin/sh
sed -i 's/"terminal": true/"terminal": false/; s|"sh"|"sh", "-c", "echo from the package; exit 43"|' config.json
status=0
said=$(runtime run packaged) || status=$?
[ "$status:$said" = "43:from the package" ] || { echo "$status: $said"; exit 1; }
[ -z "$(runtime list -q)" ]
INSIDE
}

run_tests() {
  [ "$(id -u)" -eq 0 ] || { echo "deb: skipped: needs root"; echo "0 passed, 0 failed, 1 skipped"; exit 0; }
  local deb tarball root isolate packages
  isolate=$(ls -t target/*/debug/conformance target/debug/conformance 2>/dev/null | head -1 || true)
  [ -x "$isolate" ] || fail "build conformance first: cargo build -p conformance"
  isolate=$(realpath "$isolate")
  scratch=$here/target/deb.$$
  mkdir -p "$scratch/a" "$scratch/b"
  # In it nothing is ever mounted but in namespaces that have ended.
  trap 'grep -q " $scratch" /proc/self/mountinfo || rm -rf "$scratch"' EXIT
  deb=$(build "$scratch/a")
  check "the package is reproducible" cmp "$deb" "$(build "$scratch/b")"
  check "the binary is static" sh -c "dpkg-deb -x $deb $scratch/x && ! ldd $scratch/x/usr/bin/runtime"
  # Debian's packages are fetched once; without network there is no Debian to install it in.
  tarball=$here/target/debootstrap-$(dpkg --print-architecture).tgz
  packages=$(date +%s)
  if [ ! -e "$tarball" ] && ! PATH=$PATH timeout 240 debootstrap --variant=minbase --make-tarball="$tarball" \
    bookworm "$scratch/packages" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$scratch/log" 2>&1; then
    tail -2 "$scratch/log"
    rm -f "$tarball"
    echo "deb: skipped: debootstrap cannot fetch Debian"
    echo "$passed passed, $failed failed, 1 skipped"
    [ "$failed" -eq 0 ]
    return
  fi
  echo "deb: Debian's packages: $(($(date +%s) - packages)) s"
  # Its maintainer scripts run in a chroot: off the host all the same. It ends installed in $root.
  root=$scratch/root
  mkdir -p "$root"
  cp "$deb" "$scratch/runtime.deb"
  inside >"$scratch/inside"
  check "a scratch Debian" "$isolate" isolated -w "$scratch" -- unshare --mount --pid --fork --kill-child --mount-proc \
    sh -c "debootstrap --variant=minbase --unpack-tarball=$tarball bookworm $root && rm -rf $root/debootstrap"
  # Bound in a namespace of its own, so that chroot is what the package sees.
  in_root() {
    "$isolate" isolated -w "$scratch" -- unshare --mount --pid --fork --kill-child --ipc --uts chroot "$root" "$@"
  }
  cp "$scratch/runtime.deb" "$root/runtime.deb"
  check "dpkg -i" in_root dpkg -i /runtime.deb
  check "dpkg knows its files" in_root dpkg --verify runtime
  check "runtime --version" in_root sh -c 'runtime --version | grep -q "^runtime: [0-9]"'
  check "the man page of every verb" in_root sh -c 'for verb in create start state kill delete exec run; do
      zcat /usr/share/man/man8/runtime-$verb.8.gz | grep -q "^.TH" || exit 1; done'
  check "completions" sh -c "bash -n $root/usr/share/bash-completion/completions/runtime &&
      grep -q delete $root/usr/share/fish/vendor_completions.d/runtime.fish"
  cp /bin/busybox "$root/busybox"
  cp "$scratch/inside" "$root/inside"
  mkdir -p "$root/host-cgroup"
  check "a container, from the installed package" "$isolate" isolated -w "$scratch" -- unshare --mount --pid --fork \
    --kill-child sh -c "mount --bind $root $root && mount --rbind /sys/fs/cgroup $root/host-cgroup &&
      mount -t tmpfs tmpfs $root/sys && mkdir -p $root/sys/fs/cgroup && exec chroot $root sh /inside"
  check "dpkg --purge leaves nothing" in_root sh -c 'dpkg --purge runtime && ! ls /usr/bin/runtime /usr/share/doc/runtime 2>/dev/null'
  echo "package: $passed passed, $failed failed, 0 skipped"
  [ "$failed" -eq 0 ]
}

case "${1:-}" in
--test) run_tests ;;
"") fail "usage: deb.sh DIR | --test" ;;
*) build "$1" ;;
esac
