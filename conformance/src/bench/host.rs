//! The place to measure in: a mount namespace with a plain cgroup2 view and a tmpfs.

use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::Result;

const CGROUP: &str = "/sys/fs/cgroup";
/// The floor program's cgroups; it has the same path compiled in.
const FLOOR_CGROUP: &str = "/sys/fs/cgroup/runtime-bench";
const CONTROLLERS: &str = "/sys/fs/cgroup/cgroup.subtree_control";

/// The place once it is ready.
pub struct Host {
    path: PathBuf,
    /// Controllers that were on for the children of the root before any runtime turned on more.
    controllers: String,
}

/// Mounts cgroup2 and a tmpfs, and makes this process the one that inherits orphans.
pub fn prepare() -> Result<Host> {
    nix::sys::prctl::set_child_subreaper(true).map_err(|e| format!("prctl(PR_SET_CHILD_SUBREAPER): {e}"))?;
    let none = None::<&str>;
    umount2(CGROUP, MntFlags::MNT_DETACH).map_err(|e| format!("umount2({CGROUP}): {e}"))?;
    mount(Some("cgroup2"), CGROUP, Some("cgroup2"), MsFlags::empty(), none)
        .map_err(|e| format!("mount(cgroup2, {CGROUP}): {e}"))?;
    let path = super::program::directory()?.join("fs");
    std::fs::create_dir_all(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
        .map_err(|e| format!("mount(tmpfs, {}): {e}", path.display()))?;
    let controllers = std::fs::read_to_string(CONTROLLERS).unwrap_or_default();
    std::fs::create_dir_all(FLOOR_CGROUP).map_err(|e| format!("{FLOOR_CGROUP}: {e}"))?;
    Ok(Host { path, controllers })
}

impl Host {
    /// The tmpfs.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes away what would outlive the namespace: cgroups, and controllers that a runtime turned on.
    pub fn leave(&self) {
        remove_groups(Path::new(CGROUP));
        remove_groups(Path::new(FLOOR_CGROUP));
        let _ = std::fs::remove_dir(FLOOR_CGROUP);
        let before: Vec<&str> = self.controllers.split_whitespace().collect();
        for name in std::fs::read_to_string(CONTROLLERS).unwrap_or_default().split_whitespace() {
            if !before.contains(&name) {
                let _ = std::fs::write(CONTROLLERS, format!("-{name}"));
            }
        }
    }
}

/// Removes the cgroups of the benchmark's containers below `path`; one with a process in it stays.
fn remove_groups(path: &Path) {
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().contains("bench-");
        if ours && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&entry.path());
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}
