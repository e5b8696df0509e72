#!/usr/bin/env bash
# Builds the runtime and runs a container with a real root filesystem: a shell where there is a terminal,
# otherwise a few commands that show where they run.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin

if [ "$(id -u)" -ne 0 ]; then
  echo "demo: run it as root (it makes a root filesystem)" >&2
  exit 1
fi

runtime=$(scripts/build.sh)
work=$(mktemp -d)
id="demo-$$"

# Removes a directory of ours, unless something is mounted in it: --one-file-system does not stop at a bind mount of
# the same file system, and what shows there is not ours to delete.
remove() {
  if grep -qF -e " $1/" -e " $1 " /proc/self/mountinfo; then
    echo "demo: something is still mounted at or under $1: not deleted" >&2
    return 1
  fi
  rm -rf --one-file-system "$1"
}

clean() {
  "$runtime" --root "$work/state" delete --force "$id" 2>/dev/null || true
  remove "$work" || true
}
trap clean EXIT

# A Debian root, cached; busybox where the mirror cannot be reached.
make_root() {
  local cache=$PWD/.cache/rootfs
  if [ ! -e "$cache/bin/sh" ] && command -v debootstrap >/dev/null; then
    local partial
    partial=$(mktemp -d -p "$PWD/.cache")
    echo "demo: debootstrap (once; kept in .cache)"
    if debootstrap --variant=minbase stable "$partial" >"$work/debootstrap.log" 2>&1; then
      remove "$cache"
      mv "$partial" "$cache"
    else
      remove "$partial" || true
      echo "demo: debootstrap failed: $(tail -n 1 "$work/debootstrap.log")"
    fi
  fi
  mkdir -p "$work/bundle"
  if [ -e "$cache/bin/sh" ]; then
    cp -a "$cache" "$work/bundle/rootfs"
    return
  fi
  echo "demo: using busybox as the root filesystem"
  local root=$work/bundle/rootfs applet
  mkdir -p "$root"/{bin,proc,dev,sys,etc,root,tmp}
  cp "$(command -v busybox)" "$root/bin/busybox"
  for applet in sh ls cat id ps mount hostname echo true sleep; do
    ln -s busybox "$root/bin/$applet"
  done
}

mkdir -p .cache
make_root
"$runtime" spec --bundle "$work/bundle"

if [ -t 0 ] && [ -t 1 ]; then
  echo "demo: a shell in container $id; leave it with exit"
  status=0
  "$runtime" --root "$work/state" run --bundle "$work/bundle" "$id" || status=$?
  echo "demo: the shell ended with status $status"
  exit 0
fi

# No terminal: the same config, with commands in place of the shell.
show='echo "user: $(id)"; echo "host name: $(hostname)"; echo "process id: $$"; ls /; cat /proc/self/mounts'
jq --arg show "$show" '.process.terminal = false | .process.args = ["/bin/sh", "-c", $show]' \
  "$work/bundle/config.json" >"$work/config.json"
mv "$work/config.json" "$work/bundle/config.json"
"$runtime" --root "$work/state" run --bundle "$work/bundle" "$id"
echo "demo: done"
