#!/usr/bin/env bash
# Installs what building and testing needs on Debian or Ubuntu. Quick when everything is there.
# The Rust toolchain itself (1.91 or newer) comes from rustup or the distribution.
set -euo pipefail

# command:package
needed=(
  gcc:gcc strace:strace busybox:busybox-static debootstrap:debootstrap runc:runc crun:crun jq:jq
  newuidmap:uidmap unshare:util-linux
)

PATH=$PATH:/usr/sbin:/sbin
missing=()
for pair in "${needed[@]}"; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
[ -e /usr/include/stdio.h ] || missing+=(libc6-dev)
# For tests only: an oracle for our own filters, and 32-bit programs to run under them.
[ -e /usr/include/seccomp.h ] || missing+=(libseccomp-dev)
[ "$(uname -m)" != x86_64 ] || [ -e /usr/lib32/libc.a ] || missing+=(gcc-multilib)

if [ "${#missing[@]}" -gt 0 ]; then
  as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo)
  if ! command -v apt-get >/dev/null; then
    echo "setup: missing: ${missing[*]} (no apt-get here: install them by hand)" >&2
    exit 1
  fi
  echo "setup: installing ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
else
  echo "setup: all packages are there"
fi

if ! command -v cargo >/dev/null; then
  echo "setup: cargo is missing: install Rust from https://rustup.rs" >&2
  exit 1
fi

# What scripts/build.sh links with, where rustup can fetch it.
musl=$(uname -m)-unknown-linux-musl
if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$musl/lib" ] && command -v rustup >/dev/null; then
  timeout 90 rustup target add "$musl" >/dev/null 2>&1 || echo "setup: Rust for $musl cannot be fetched: glibc will do"
fi
