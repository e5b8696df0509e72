//! The bundles: `runc spec`'s config with a busybox root, in three variants.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Result;

const PROFILE: &str = include_str!("../../data/seccomp-docker.json");

/// The Docker-like seccomp profile.
pub fn profile() -> Result<Value> {
    serde_json::from_str(PROFILE).map_err(|e| format!("seccomp-docker.json: {e}"))
}

/// Writes the bundles `true`, `filter` (true with a seccomp profile) and `sleep` under `directory`. The floor
/// program knows them by the last letter of their names. Without `device_rules` the configs lack those.
pub fn write(directory: &Path, device_rules: bool) -> Result<()> {
    let bundles = [
        ("true", json!(["/bin/true"]), None),
        ("filter", json!(["/bin/true"]), Some(profile()?)),
        ("sleep", json!(["/bin/sleep", "1000000"]), None),
    ];
    for (name, args, seccomp) in bundles {
        let bundle = directory.join(name);
        let root = bundle.join("rootfs");
        make_root(&root).map_err(|e| format!("{}: {e}", root.display()))?;
        let mut config = config(args, seccomp);
        if !device_rules {
            config["linux"]["resources"] = json!({});
        }
        std::fs::write(bundle.join("config.json"), config.to_string())
            .map_err(|e| format!("{}: {e}", bundle.display()))?;
    }
    Ok(())
}

fn make_root(root: &Path) -> std::io::Result<()> {
    for directory in ["bin", "proc", "dev", "sys", "etc", "root", "tmp"] {
        std::fs::create_dir_all(root.join(directory))?;
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().map(PathBuf::from).find(|path| path.is_file());
    let busybox = busybox.ok_or_else(|| std::io::Error::other("busybox is missing (package busybox-static)"))?;
    std::fs::copy(busybox, root.join("bin/busybox"))?;
    for name in ["true", "sleep", "sh"] {
        symlink("busybox", root.join("bin").join(name))?;
    }
    Ok(())
}

/// What `runc spec` prints on a cgroup v2 host, without a terminal. ociVersion 1.0.2, because old crun refuses
/// newer ones.
fn config(args: Value, seccomp: Option<Value>) -> Value {
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": args,
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": { "bounding": caps, "effective": caps, "permitted": caps },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "bench",
        "mounts": mounts(),
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" },
                { "type": "uts" }, { "type": "mount" }, { "type": "cgroup" }
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        }
    });
    if let Some(seccomp) = seccomp {
        config["linux"]["seccomp"] = seccomp;
    }
    config
}

fn mounts() -> Value {
    json!([
        { "destination": "/proc", "type": "proc", "source": "proc" },
        { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
          "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
        { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
          "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
        { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
          "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
        { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
          "options": ["nosuid", "noexec", "nodev"] },
        { "destination": "/sys", "type": "sysfs", "source": "sysfs",
          "options": ["nosuid", "noexec", "nodev", "ro"] },
        { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
          "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] }
    ])
}
