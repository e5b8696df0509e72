#!/bin/sh
# Makes, once, what the scenarios want of a newer Debian, in DIRECTORY: root/, a root file system with that suite's engines, and
# services.tar, an image with nginx, Python, Redis and PostgreSQL. Needs root, debootstrap and a mirror.
#
#   suite.sh SUITE DIRECTORY
set -u
PATH=$PATH:/usr/sbin:/sbin
suite=${1:?} cache=${2:?}
mirror=${ENGINES_MIRROR:-http://deb.debian.org/debian}
engines="podman conmon crun runc buildah docker.io docker-cli docker-buildx docker-compose podman-compose containerd iptables nftables \
catatonit iproute2 curl jq busybox-static uidmap slirp4netns passt netavark aardvark-dns procps"
services="nginx-light python3-minimal python3-redis python3-psycopg2 redis-server postgresql postgresql-client"

fail() {
    echo "suite: $*"
    exit 1
}

# Other packages or other steps are another root.
recipe="$suite $(cksum < "$0")"
is_there() { [ "$(cat "$cache/recipe" 2> /dev/null)" = "$recipe" ]; }
is_there && exit 0
command -v debootstrap > /dev/null || fail "debootstrap is not installed"
[ "$(id -u)" = 0 ] || fail "needs root"
mkdir -p "$cache"
exec 9> "$cache/lock"
flock 9
is_there && exit 0
grep -qF " $cache/" /proc/self/mountinfo && fail "something is mounted below $cache"
rm -rf --one-file-system "${cache:?}/root" "$cache/base" "$cache/services" "$cache/services.tar" "$cache/recipe"
echo "suite: fetching the engines of $suite (once; kept in $cache)"

# Each step in a mount and pid namespace of its own: nothing that they mount or start outlives them.
apart() { unshare --mount --pid --fork --kill-child "$@" > "$cache/log" 2>&1 9>&-; }

# into ROOT PACKAGE...: installs them there.
into() {
    root=$1
    shift
    cp /etc/resolv.conf "$root/etc/"
    # shellcheck disable=SC2016
    apart sh -c 'mount -t proc proc "$0/proc" && chroot "$0" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@"' "$root" "$@"
}

apart debootstrap --variant=minbase "$suite" "$cache/base" "$mirror" || fail "debootstrap: $(tail -1 "$cache/log")"
# No service starts, nothing waits for the disk, nobody reads.
printf '#!/bin/sh\nexit 101\n' > "$cache/base/usr/sbin/policy-rc.d"
chmod +x "$cache/base/usr/sbin/policy-rc.d"
printf 'force-unsafe-io\npath-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\npath-exclude=/usr/share/locale/*\n' \
    > "$cache/base/etc/dpkg/dpkg.cfg.d/lean"
cp -a "$cache/base" "$cache/root"
cp -a "$cache/base" "$cache/services"
# shellcheck disable=SC2086 # words are meant
into "$cache/root" $engines || fail "engines: $(tail -1 "$cache/log")"
# shellcheck disable=SC2086
into "$cache/services" $services || fail "services: $(tail -1 "$cache/log")"
for root in root services; do
    rm -rf "$cache/$root"/var/cache/apt/* "$cache/$root"/var/lib/apt/lists/* "$cache/$root"/usr/share/doc "$cache/$root"/usr/share/locale
done
# What compiles queries is a third of it.
tar -C "$cache/services" --exclude 'libLLVM*' --exclude 'libz3*' --exclude './usr/share/i18n' -cf "$cache/services.tar" . || fail "no room for the image"
rm -rf --one-file-system "${cache:?}/base" "$cache/services"
echo "$recipe" > "$cache/recipe"
