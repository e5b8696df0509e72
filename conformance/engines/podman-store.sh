# Podman with its images, containers and networks in $PLACE, as `p`. Sourced.
# shellcheck shell=sh disable=SC2154 # $PLACE, $RUNTIME of lib.sh
cat > "$PLACE/containers.conf" <<EOF
[containers]
cgroupns = "private"
log_driver = "k8s-file"
# Newer ones ask for hard limits that this machine may not give.
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime_supports_json = ["crun", "runc", "runtime"]
tmp_dir = "$PLACE/libpod"
volume_path = "$PLACE/volumes"
[network]
network_config_dir = "$PLACE/networks"
EOF
export CONTAINERS_CONF="$PLACE/containers.conf"

p() {
    podman --root "$PLACE/storage" --runroot "$PLACE/runroot" --tmpdir "$PLACE/libpod" --storage-driver overlay \
        --runtime "$RUNTIME" "$@"
}
# `podman` as one word for scenario.
cat > "$PLACE/p" <<EOF
#!/bin/sh
exec /usr/bin/podman --root $PLACE/storage --runroot $PLACE/runroot --tmpdir $PLACE/libpod --storage-driver overlay --runtime $RUNTIME "\$@"
EOF
chmod +x "$PLACE/p"
P=$PLACE/p
