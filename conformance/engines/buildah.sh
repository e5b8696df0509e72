# Buildah on its own: working containers, run, bud, a static C program FROM scratch.
# needs: buildah
# shellcheck shell=sh disable=SC2016
set -u
. "$(dirname "$0")/lib.sh"
make_image
about "buildah $(buildah --version | cut -d' ' -f3)"
# Newer ones ask for hard limits that this machine may not give.
printf '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]\n[engine]\ncgroup_manager = "cgroupfs"\n[network]\nnetwork_config_dir = "%s/networks"\n' "$PLACE" > "$PLACE/containers.conf"
export CONTAINERS_CONF="$PLACE/containers.conf" BUILDAH_ISOLATION=oci
printf '#!/bin/sh\nexec timeout 60 buildah --root %s/storage --runroot %s/runroot --storage-driver overlay "$@"\n' \
    "$PLACE" "$PLACE" > "$PLACE/b"
printf '#!/bin/sh\nexec %s/b run --runtime %s "$@"\n' "$PLACE" "$RUNTIME" > "$PLACE/run"
printf '#!/bin/sh\nexec %s/b bud --runtime %s --cgroup-parent /%s --network none "$@"\n' "$PLACE" "$RUNTIME" "$PARENT" > "$PLACE/bud"
chmod +x "$PLACE/b" "$PLACE/run" "$PLACE/bud"
B=$PLACE/b RUN=$PLACE/run
mkdir -p "$PLACE/base" "$PLACE/fails"
cp "$PLACE/image.tar" "$PLACE/base"
printf 'FROM scratch\nADD image.tar /\nENV A=B\nRUN echo built as $(id -u) > /x\nUSER 1000\nRUN id -u > /tmp/u\n' > "$PLACE/base/Dockerfile"
multi_stage base
printf 'FROM base\nUSER 0\nRUN exit 9\n' > "$PLACE/fails/Dockerfile"

scenario "bud" 0 "*" "$PLACE/bud" -t base "$PLACE/base"
scenario "from" 0 "w" "$B" from --name w base
scenario "run" 0 "hello" "$RUN" w -- echo hello
scenario "run: exit status" 43 "*exit status 43*" "$RUN" w -- sh -c 'exit 43'
scenario "run: missing program" "[1-9]*" "*no/such*" "$RUN" w -- /no/such
scenario "run: what bud made" 0 "built as 0?1000" "$RUN" w -- cat /x /tmp/u
scenario "run: user, directory, environment, host name" 0 "7 /tmp B h" \
    "$RUN" --user 7 --workingdir /tmp --hostname h w -- sh -c 'echo $(id -u) $(pwd) $A $(hostname)'
scenario "run: stdin" 0 "12" sh -c "echo hello world | $RUN w -- wc -c"
scenario "run: a dropped capability" 1 "*not permitted*" "$RUN" --user 0 --cap-drop CAP_CHOWN w -- chown 7 /x
scenario "run: a mount" 0 "root:*" "$RUN" -v "$PLACE/image/etc:/m:ro" w -- head -1 /m/passwd
scenario "run: seccomp" 0 "Seccomp:	2" "$RUN" w -- grep Seccomp: /proc/self/status
scenario "commit" 0 "*" "$B" commit -q w kept
scenario "bud: multi-stage, from scratch" 0 "*" "$PLACE/bud" -t multi "$PLACE/multi"
scenario "run: the static program" 7 "from scratch*" sh -c "$B from --name s multi > /dev/null && $RUN s -- /main"
scenario "bud: a step that fails" "[1-9]*" "*exit status 9*" "$PLACE/bud" "$PLACE/fails"
scenario "rm" 0 "*" "$B" rm -a
umount "$PLACE/storage/overlay" 2> /dev/null
judge "nothing is left behind" 0 "" 0 "$(left_behind)"
finish
