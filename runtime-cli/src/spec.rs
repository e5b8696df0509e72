//! `spec`: writes a default `config.json`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use nix::sys::statfs;

use crate::print;

/// Writes `config.json` to `directory`; one that is there is never touched.
pub fn write(directory: &Path, rootless: bool) -> Result<(), String> {
    let ids = rootless.then(|| (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()));
    let text = runtime_core::verb::spec::default_config(ids, unified());
    let path = directory.join("config.json");
    let failed = |call: &str, error: &std::io::Error| {
        let cause = print::cause(error);
        format!("{call} {}: {cause}", path.display())
    };
    let mut file = match OpenOptions::new().write(true).create_new(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err("File config.json exists. Remove it first".to_owned());
        }
        Err(error) => return Err(failed("open", &error)),
    };
    file.write_all(text.as_bytes()).map_err(|error| {
        // Half a config would stand in the way of the next attempt; the file is the one made above.
        let _ = std::fs::remove_file(&path);
        failed("write", &error)
    })
}

/// Whether this host has cgroup v2 alone; only then a cgroup namespace shows a container what it should see.
fn unified() -> bool {
    statfs::statfs("/sys/fs/cgroup").is_ok_and(|answer| answer.filesystem_type() == statfs::CGROUP2_SUPER_MAGIC)
}
