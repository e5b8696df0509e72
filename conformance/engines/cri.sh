# containerd's CRI plugin, which is what Kubernetes talks to, through crictl: pods in the host's network, as there is no CNI here.
# needs: containerd ctr tools/crictl
# shellcheck shell=sh disable=SC2016
set -u
. "$(dirname "$0")/lib.sh"
make_image
about "containerd $(containerd --version | cut -d' ' -f3)"
ip link set lo up 2> /dev/null
# oom_score_adj: this machine lowers nobody's.
cat > "$PLACE/config.toml" <<TOML
version = 2
root = "$PLACE/root"
state = "$PLACE/state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.devmapper"]
[grpc]
address = "$PLACE/sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "docker.io/library/bb:latest"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "tested"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.tested]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.tested.options]
BinaryName = "$RUNTIME"
TOML
(containerd --config "$PLACE/config.toml"; echo "containerd ended: $?") > "$PLACE/log" 2>&1 &
printf '#!/bin/sh\nexec timeout 30 %s -c %s/crictl.yaml -t 20s -r unix://%s/sock "$@"\n' "$CACHE/tools/crictl" "$PLACE" "$PLACE" > "$PLACE/c"
chmod +x "$PLACE/c"
: > "$PLACE/crictl.yaml"
C=$PLACE/c
wait_for 30 "$C" version || { tail -20 "$PLACE/log"; exit 1; }

# The image, as `docker save` writes one; a pod's own first process only waits.
mkdir "$PLACE/saved" "$PLACE/logs"
cp "$PLACE/image.tar" "$PLACE/saved/layer.tar"
printf '{"architecture":"%s","os":"linux","config":{"Entrypoint":["/bin/sleep","1000"],"Env":["PATH=/bin"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$(dpkg --print-architecture 2> /dev/null || echo amd64)" "$(sha256sum < "$PLACE/image.tar" | cut -d' ' -f1)" > "$PLACE/saved/config.json"
printf '[{"Config":"config.json","RepoTags":["bb:latest"],"Layers":["layer.tar"]}]' > "$PLACE/saved/manifest.json"
tar -C "$PLACE/saved" -cf "$PLACE/saved.tar" manifest.json config.json layer.tar
ctr -a "$PLACE/sock" -n k8s.io image import "$PLACE/saved.tar" > /dev/null || { tail -20 "$PLACE/log"; exit 1; }

cat > "$PLACE/pod.json" <<JSON
{"metadata": {"name": "p", "namespace": "n", "uid": "u1", "attempt": 1}, "log_directory": "$PLACE/logs",
 "linux": {"cgroup_parent": "/$PARENT/pod", "security_context": {"namespace_options": {"network": 2}}}}
JSON
cat > "$PLACE/web.json" <<'JSON'
{"metadata": {"name": "web"}, "image": {"image": "docker.io/library/bb:latest"}, "log_path": "web.log",
 "command": ["sh", "-c", "echo $GREETING; trap 'exit 5' TERM; while :; do sleep 0.1; done"],
 "envs": [{"key": "GREETING", "value": "hi"}],
 "linux": {"resources": {"memory_limit_in_bytes": 33554432, "cpu_period": 100000, "cpu_quota": 50000},
  "security_context": {"run_as_user": {"value": 1000}, "readonly_rootfs": true, "no_new_privs": true,
   "capabilities": {"drop_capabilities": ["ALL"]}, "seccomp": {"profile_type": 0}}}}
JSON
cat > "$PLACE/job.json" <<'JSON'
{"metadata": {"name": "job"}, "image": {"image": "docker.io/library/bb:latest"}, "log_path": "job.log",
 "command": ["sh", "-c", "ls -l /proc/1/exe; exit 7"],
 "linux": {"security_context": {"namespace_options": {"network": 2, "pid": 0}}}}
JSON
id() { cat "$PLACE/id.$1" 2> /dev/null; }

scenario "pod run" 0 "" sh -c "$C runp $PLACE/pod.json > $PLACE/id.pod"
scenario "pods" 0 "*Ready*" "$C" pods
scenario "container create" 0 "" sh -c "$C create \$(cat $PLACE/id.pod) $PLACE/web.json $PLACE/pod.json > $PLACE/id.web"
scenario "container start" 0 "*" "$C" start "$(id web)"
scenario "ps" 0 "*Running*web*" "$C" ps
scenario "exec: user" 0 "1000" "$C" exec -s "$(id web)" id -u
scenario "exec: exit status" "[1-9]*" "*9*" "$C" exec -s "$(id web)" sh -c 'exit 9'
scenario "exec, streamed: stdin" 0 "*12*" sh -c "echo hello world | $C exec -i $(id web) wc -c"
scenario "read-only root" "[1-9]*" "*Read-only*" "$C" exec -s "$(id web)" touch /x
scenario "no capability, no new privileges, the default profile" 0 "CapEff:	0000000000000000?NoNewPrivs:	1?Seccomp:	2" \
    "$C" exec -s "$(id web)" grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status
scenario "memory limit" 0 "33554432" "$C" exec -s "$(id web)" cat /sys/fs/cgroup/memory/memory.limit_in_bytes
scenario "cpu limit" 0 "50000" "$C" exec -s "$(id web)" cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us
scenario "stats" 0 "*web*" "$C" stats
scenario "update" 0 "*" "$C" update --memory 67108864 "$(id web)"
scenario "update: in force" 0 "67108864" "$C" exec -s "$(id web)" cat /sys/fs/cgroup/memory/memory.limit_in_bytes
scenario "logs" 0 "hi" "$C" logs "$(id web)"
scenario "a second container, in the pod's pids" 0 "" sh -c \
    "$C create \$(cat $PLACE/id.pod) $PLACE/job.json $PLACE/pod.json > $PLACE/id.job && $C start \$(cat $PLACE/id.job) > /dev/null"
scenario "what it saw" 0 "*/bin/busybox*" sh -c "sleep 1; $C logs $(id job)"
scenario "its exit status" 0 '*"exitCode": 7*' "$C" inspect "$(id job)"
scenario "stop" 0 "*" "$C" stop -t 5 "$(id web)"
scenario "stop: the program's own exit" 0 '*"exitCode": 5*' "$C" inspect "$(id web)"
scenario "rm" 0 "*" "$C" rm "$(id web)" "$(id job)"
scenario "pod stop" 0 "*" "$C" stopp "$(id pod)"
scenario "pod rm" 0 "*" "$C" rmp "$(id pod)"
scenario "nothing is listed" 0 "" sh -c "$C ps -aq; $C pods -q"
for pid in $(pidof containerd containerd-shim-runc-v2); do kill "$pid"; done
wait_for 10 sh -c '! pidof containerd containerd-shim-runc-v2'
# The pod's own cgroup is the kubelet's, who is not here.
find /sys/fs/cgroup -maxdepth 4 -type d -path "*/$PARENT/pod" -exec rmdir {} + 2> /dev/null
for mount in $(grep " $PLACE/" /proc/self/mountinfo | awk '{print $5}' | sort -r); do umount "$mount" 2> /dev/null; done
judge "nothing is left behind" 0 "" 0 "$(left_behind; pidof containerd-shim-runc-v2)"
[ -z "${DEBUG:-}" ] || cat "$PLACE/log"
finish
