# Stacks of real services (stack.sh) through docker-compose and podman-compose.
# needs: trixie/services.tar dockerd docker docker-compose containerd podman conmon podman-compose iptables ip curl
# shellcheck shell=sh disable=SC2016
set -u
SECONDS_EACH=100
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/stack.sh"
about "docker-compose $(docker-compose version --short), podman-compose $(podman-compose --version 2>&1 | sed -n 's/^podman-compose.*version:* *//p')"
ip link set lo up 2> /dev/null

# First, as Docker forbids forwarding for other engines' networks.
. "$(dirname "$0")/podman-store.sh"
"$P" import -q "$CACHE/trixie/services.tar" services > "$PLACE/log" 2>&1 || { cat "$PLACE/log"; exit 1; }
mkdir -p "$PLACE/podman"
# podman-compose runs `podman`; the cgroups are to be told from others'.
cat > "$PLACE/podman/podman" <<PODMAN
#!/bin/sh
case "\$1 \${2:-}" in
run\ * | create\ *) verb=\$1; shift; set -- "\$verb" --cgroup-parent /$PARENT "\$@" ;;
esac
exec $PLACE/p "\$@"
PODMAN
printf '#!/bin/sh\nPATH=%s/podman:$PATH\ncd %s/stack && exec podman-compose "$@"\n' "$PLACE" "$PLACE" > "$PLACE/pc"
chmod +x "$PLACE/podman/podman" "$PLACE/pc"
stack podman-compose "$PLACE/pc" "$P"
"$P" rm -fa -t 0 > /dev/null 2>&1
"$P" rmi -fa > /dev/null 2>&1
umount "$PLACE/storage/overlay" 2> /dev/null

. "$(dirname "$0")/dockerd.sh"
"$D" import "$CACHE/trixie/services.tar" services > /dev/null || { tail -20 "$PLACE/log"; exit 1; }
printf '#!/bin/sh\ncd %s/stack && exec docker-compose "$@"\n' "$PLACE" > "$PLACE/c"
chmod +x "$PLACE/c"
stack docker-compose "$PLACE/c" "$D"
"$D" ps -aq | xargs -r "$D" rm -f > /dev/null 2>&1
served
for mount in $(grep " $PLACE/" /proc/self/mountinfo | awk '{print $5}' | sort -r); do umount "$mount" 2> /dev/null; done
judge "nothing is left behind" 0 "" 0 "$(left_behind; pidof containerd-shim-runc-v2)"
[ -z "${DEBUG:-}" ] || cat "$PLACE/log"
finish
