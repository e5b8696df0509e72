#!/bin/sh
# Installs the engines from Debian's packages; their services are not started. Quick when everything is there.
set -u
PATH=$PATH:/usr/sbin:/sbin
missing=
for pair in podman:podman conmon:conmon buildah:buildah dockerd:docker.io docker:docker-cli containerd:containerd ctr:containerd \
    iptables:iptables catatonit:catatonit jq:jq script:bsdutils ip:iproute2 curl:curl gcc:gcc start-stop-daemon:dpkg runc:runc \
    crun:crun newuidmap:uidmap slirp4netns:slirp4netns docker-compose:docker-compose podman-compose:podman-compose \
    debootstrap:debootstrap; do
    command -v "${pair%%:*}" > /dev/null || missing="$missing ${pair##*:}"
done
# Not in PATH.
[ -x /usr/lib/podman/netavark ] || missing="$missing netavark"
[ -x /usr/lib/podman/aardvark-dns ] || missing="$missing aardvark-dns"
[ -n "$missing" ] || { echo "setup: all engines are there"; exit 0; }
command -v apt-get > /dev/null || { echo "setup: missing:$missing (no apt-get here)"; exit 1; }
[ "$(id -u)" = 0 ] || { echo "setup: missing:$missing (needs root)"; exit 1; }
# No daemon of theirs is to run on this host.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' > $policy && chmod +x $policy
    trap 'rm -f $policy' EXIT
fi
echo "setup: installing$missing"
timeout 120 apt-get update -qq || { echo "setup: apt-get update failed: no network?"; exit 1; }
# One by one, so that one that this suite does not have takes no other with it.
status=0
for package in $missing; do
    timeout 300 env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" > /dev/null ||
        { echo "setup: $package cannot be installed"; status=1; }
done
exit $status
