//! A bundle: a config.json that starts from one fixed default and a root filesystem with only the probe in it.

use crate::runtime::beside;
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub struct Bundle {
    pub path: PathBuf,
    /// Written to config.json by [`Bundle::save`].
    pub config: Value,
}

impl Bundle {
    /// An empty root filesystem with the mountpoints images have, and the probe as /probe.
    pub fn new(path: &Path, id: &str) -> io::Result<Self> {
        let root = path.join("rootfs");
        for folder in ["proc", "sys", "dev", "tmp", "etc", "bin"] {
            fs::create_dir_all(root.join(folder))?;
        }
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")?;
        let probe =
            beside("probe").ok_or_else(|| io::Error::other("the probe is not built (cargo build -p conformance)"))?;
        // A copy, never a link: writing through a link once emptied the probe for all later tests.
        if !root.join("probe").exists() {
            let _alone = crate::command::FORKING.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            fs::copy(&probe, root.join("probe"))?;
        }
        Ok(Self { path: path.into(), config: default_config(id) })
    }

    pub fn rootfs(&self) -> PathBuf {
        self.path.join("rootfs")
    }

    /// Puts busybox with a shell into the root filesystem; false where the host has no static one.
    pub fn busybox(&self, names: &[&str]) -> io::Result<bool> {
        let source = Path::new("/usr/bin/busybox");
        if !source.is_file() {
            return Ok(false);
        }
        fs::copy(source, self.rootfs().join("bin/busybox"))?;
        for name in names {
            symlink("busybox", self.rootfs().join("bin").join(name))?;
        }
        Ok(true)
    }

    /// Sets the value at a JSON pointer, making objects on the way.
    #[must_use]
    pub fn with(mut self, pointer: &str, value: Value) -> Self {
        self.set(pointer, value);
        self
    }

    /// As [`Bundle::with`]; `-` as the last word appends to an array.
    pub fn set(&mut self, pointer: &str, value: Value) {
        let mut at = &mut self.config;
        let words: Vec<String> = pointer.split('/').skip(1).map(|w| w.replace("~1", "/").replace("~0", "~")).collect();
        for word in &words {
            if let Value::Array(list) = at {
                let index = word.parse().unwrap_or(list.len());
                while list.len() <= index {
                    list.push(Value::Null);
                }
                at = &mut list[index];
                continue;
            }
            if !at.is_object() {
                *at = if word == "-" { json!([]) } else { json!({}) };
            }
            if let Value::Array(list) = at {
                list.push(Value::Null);
                let last = list.len() - 1;
                at = &mut list[last];
            } else {
                at = &mut at[word.as_str()];
            }
        }
        *at = value;
    }

    /// Takes a member away.
    pub fn remove(&mut self, pointer: &str) {
        let Some((parent, name)) = pointer.rsplit_once('/') else { return };
        if let Some(Value::Object(map)) = self.config.pointer_mut(parent) {
            map.remove(name);
        }
    }

    /// Runs the probe with these words.
    #[must_use]
    pub fn probe(self, words: &[&str]) -> Self {
        let mut args = vec!["/probe"];
        args.extend(words);
        self.with("/process/args", json!(args))
    }

    /// Runs the probe, which also looks at these paths.
    #[must_use]
    pub fn looking_at(self, paths: &[&str]) -> Self {
        let mut words = vec!["report"];
        words.extend(paths.iter().flat_map(|path| ["--path", *path]));
        self.probe(&words)
    }

    /// Adds a mount behind the default ones.
    pub fn mount(&mut self, destination: &str, kind: &str, source: &str, options: &[&str]) {
        self.set(
            "/mounts/-",
            json!({ "destination": destination, "type": kind, "source": source, "options": options }),
        );
    }

    /// Adds (or replaces) a namespace; an empty path means a new one.
    pub fn namespace(&mut self, kind: &str, path: &str) {
        self.drop_namespace(kind);
        let entry = if path.is_empty() { json!({ "type": kind }) } else { json!({ "type": kind, "path": path }) };
        self.set("/linux/namespaces/-", entry);
    }

    pub fn drop_namespace(&mut self, kind: &str) {
        if let Some(Value::Array(list)) = self.config.pointer_mut("/linux/namespaces") {
            list.retain(|n| n["type"] != kind);
        }
    }

    /// Removes the mount at a destination.
    pub fn drop_mount(&mut self, destination: &str) {
        if let Some(Value::Array(list)) = self.config.pointer_mut("/mounts") {
            list.retain(|m| m["destination"] != destination);
        }
    }

    /// A new user namespace in which container ids 0… are host ids `first`…, with `count` ids.
    pub fn map_ids(&mut self, first: u32, count: u32) {
        self.namespace("user", "");
        let map = json!([{ "containerID": 0, "hostID": first, "size": count }]);
        self.set("/linux/uidMappings", map.clone());
        self.set("/linux/gidMappings", map);
    }

    /// A new user namespace whose root, host id 100000, owns the root filesystem's folder.
    pub fn map_root(&mut self) -> io::Result<()> {
        self.map_ids(100_000, 65_536);
        self.give_root(100_000)
    }

    /// Gives the root filesystem's folder to an id of the host.
    pub fn give_root(&self, id: u32) -> io::Result<()> {
        chown(self.rootfs(), Some(id), Some(id))
    }

    /// As [`Bundle::save`]; the word that follows `--bundle`.
    pub fn saved(&self) -> io::Result<String> {
        self.save()?;
        Ok(self.path.to_string_lossy().into_owned())
    }

    /// Writes config.json.
    pub fn save(&self) -> io::Result<()> {
        fs::write(self.path.join("config.json"), serde_json::to_vec_pretty(&self.config)?)
    }
}

/// As `runc spec` makes it, but the probe instead of a shell, no terminal, and a cgroup of the test's own.
pub fn default_config(id: &str) -> Value {
    let mut config = spec_config(json!(["/probe", "report"]));
    config["process"]["env"] = json!([PATH, "TERM=xterm", format!("{}={id}", crate::leak::MARKER)]);
    config["linux"]["cgroupsPath"] = json!(format!("/{id}"));
    config
}

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What `runc spec` prints, without a terminal. ociVersion 1.0.2, because old crun refuses newer ones.
pub fn spec_config(args: Value) -> Value {
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": args,
            "env": [PATH, "TERM=xterm"],
            "cwd": "/",
            "capabilities": { "bounding": caps, "effective": caps, "permitted": caps },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "runc",
        "mounts": mounts(),
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [{ "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" }],
            "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                            "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        }
    })
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
        { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"] },
        { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] },
        { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
          "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] }
    ])
}
