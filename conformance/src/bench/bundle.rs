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

/// What `runc spec` prints on a cgroup v2 host, without a terminal.
fn config(args: Value, seccomp: Option<Value>) -> Value {
    let mut config = crate::bundle::spec_config(args);
    config["hostname"] = json!("bench");
    if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
        namespaces.push(json!({ "type": "cgroup" }));
    }
    if let Some(seccomp) = seccomp {
        config["linux"]["seccomp"] = seccomp;
    }
    config
}
