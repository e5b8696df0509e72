#!/bin/sh
# Inside of the isolation: makes the root file system ROOT the one of this namespace, with whatever is written to it in memory,
# and runs the command there. The checkout, the results and the runtime are where they were.
#
#   enter.sh ROOT COMMAND...
set -eu
root=$1
shift
mount -t tmpfs -o mode=0755 tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o "lowerdir=$root,upperdir=/mnt/upper,workdir=/mnt/work" overlay /mnt/root
for dir in /proc /sys /dev /run /tmp "$CHECKOUT" "$CACHE" "$(dirname "$RUNTIME")" "$PLACE"; do
    case $dir in . | /usr/*) continue ;; esac
    mkdir -p "/mnt/root$dir"
    mount --rbind "$dir" "/mnt/root$dir"
done
# Not a chroot: who enters a container's mount namespace from one would find the other root.
mkdir /mnt/root/.host
cd /mnt/root
pivot_root . .host
cd /
umount -l /.host
rmdir /.host
# A name is that suite's.
RUNTIME=$(command -v "$RUNTIME")
export RUNTIME
exec "$@"
