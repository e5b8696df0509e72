//! A runtime under test: where it is, and how it has to be called on this host.

use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Debug, Clone)]
pub struct Runtime {
    /// `runc`, `crun`, `runtime`: decides the list of expected differences.
    pub name: String,
    pub path: PathBuf,
    /// What comes before every other argument.
    pub flags: &'static [&'static str],
    /// Whether it must run where only cgroup v2 is to be seen (crun refuses a hybrid host).
    pub v2_view: bool,
}

/// Ours again, by the way into the stage that hosts without executable anonymous files need.
pub const IN_PROCESS: &str = "in-process";

/// A private mount namespace in which /sys/fs/cgroup is cgroup2 only; the machine's own mounts stay as they are.
const V2_VIEW: &str = "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";

impl Runtime {
    pub fn new(path: &Path) -> Self {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let v2_view = name == "crun" && hybrid();
        Self { name, path: std::path::absolute(path).unwrap_or_else(|_| path.into()), flags: &[], v2_view }
    }

    /// Whether it is ours, by either entry.
    pub fn is_ours(&self) -> bool {
        matches!(self.name.as_str(), "runtime" | IN_PROCESS)
    }

    /// Ours, beside this program, then the controls in PATH; what is missing comes back as (name, why).
    pub fn defaults() -> (Vec<Self>, Vec<(String, String)>) {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        match ours() {
            Some(path) => {
                let ours = Self { name: "runtime".into(), ..Self::new(&path) };
                found.push(ours.clone());
                found.push(Self { name: IN_PROCESS.into(), flags: &["--entry=in-process"], ..ours });
            }
            None => missing.push(("runtime".into(), "not built (cargo build -p runtime-cli)".into())),
        }
        for name in ["runc", "crun"] {
            match in_path(name) {
                Some(path) => found.push(Self::new(&path)),
                None => missing.push((name.into(), "not installed".into())),
            }
        }
        (found, missing)
    }

    /// The command up to and without the first argument of the runtime.
    pub fn command(&self, before: &[&str]) -> Command {
        let mut words: Vec<std::ffi::OsString> = Vec::new();
        if self.v2_view {
            words.extend(["unshare", "-m", "sh", "-c", V2_VIEW, "sh"].map(Into::into));
        }
        words.extend(before.iter().map(Into::into));
        words.push(self.path.clone().into());
        words.extend(self.flags.iter().map(Into::into));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    }
}

/// Whether this host has v1 hierarchies, so that tests of v1 files apply.
pub fn hybrid() -> bool {
    Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists() || Path::new("/sys/fs/cgroup/memory").is_dir()
}

/// Whether this host has version 2 only, with controllers.
pub fn unified() -> bool {
    std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").is_ok_and(|all| all.contains("memory"))
}

fn ours() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("RUNTIME") {
        return Some(path.into());
    }
    beside("runtime")
}

/// A program cargo built next to (or one folder above) this one.
pub fn beside(name: &str) -> Option<PathBuf> {
    let me = std::env::current_exe().ok()?;
    me.ancestors().skip(1).take(2).map(|d| d.join(name)).find(|p| p.is_file())
}

/// A program in PATH or where distributions put runtimes.
pub fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/usr/bin", "/usr/local/sbin"]);
    folders.map(|d| Path::new(d).join(name)).find(|p| p.is_file())
}
