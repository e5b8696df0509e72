//! The id maps of a new user namespace, written by the parent.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::process::Command;

use crate::plan::IdMaps;
use crate::spec::IdMapping;
use crate::{Error, ErrorKind, Result};

/// Writes both maps of process `pid`.
pub(super) fn write(pid: i32, maps: &IdMaps) -> Result<()> {
    if maps.deny_setgroups {
        let path = format!("/proc/{pid}/setgroups");
        fs::write(&path, "deny").map_err(|error| failed("/linux/gidMappings", &path, error))?;
    }
    for (file, helper, lines) in [("uid_map", "newuidmap", &maps.uid), ("gid_map", "newgidmap", &maps.gid)] {
        let path = format!("/proc/{pid}/{file}");
        match fs::write(&path, text(lines)) {
            // An unprivileged caller may only map himself; the set-uid helpers know what else is his.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                by_helper(helper, pid, lines).map_err(|error| error.at(pointer(file)))?
            }
            result => result.map_err(|error| failed(pointer(file), &path, error))?,
        }
    }
    Ok(())
}

/// Compares the maps of process `pid`, which is in a user namespace it joined, with what the config says they are.
pub(super) fn verify(pid: i32, maps: &IdMaps) -> Result<()> {
    for (file, lines) in [("uid_map", &maps.uid), ("gid_map", &maps.gid)] {
        let path = format!("/proc/{pid}/{file}");
        let found = fs::read_to_string(&path)
            .map_err(|error| Error::io("cannot compare the mappings", format!("read({path:?})"), error))?;
        if sorted(parse(&found)) != sorted(lines.iter().map(|m| [m.container_id, m.host_id, m.size]).collect()) {
            let found = found.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
            let found = found.collect::<Vec<_>>().join(", ");
            let message = format!("the joined user namespace has other mappings: {found}");
            return Err(Error::new(ErrorKind::InvalidConfig, message)
                .at(pointer(file))
                .with_hint("leave the mappings out: those of the namespace count"));
        }
    }
    Ok(())
}

fn parse(text: &str) -> Vec<[u32; 3]> {
    let number = |word: Option<&str>| word.and_then(|word| word.parse().ok()).unwrap_or(u32::MAX);
    text.lines()
        .map(|line| {
            let mut words = line.split_whitespace();
            [number(words.next()), number(words.next()), number(words.next())]
        })
        .collect()
}

fn sorted(mut lines: Vec<[u32; 3]>) -> Vec<[u32; 3]> {
    lines.sort_unstable();
    lines
}

fn pointer(file: &str) -> &'static str {
    if file == "uid_map" { "/linux/uidMappings" } else { "/linux/gidMappings" }
}

fn text(lines: &[IdMapping]) -> String {
    lines.iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{} {} {}", line.container_id, line.host_id, line.size);
        text
    })
}

fn failed(pointer: &str, path: &str, error: io::Error) -> Error {
    Error::io("cannot map ids", format!("write({path:?})"), error)
        .at(pointer)
        .with_hint("the ranges must be mapped in the caller's own user namespace, and must not overlap")
}

/// newuidmap(1) and newgidmap(1), also without PATH in the environment.
fn by_helper(helper: &str, pid: i32, lines: &[IdMapping]) -> Result<()> {
    let program = ["/usr/bin", "/bin", "/usr/local/bin"]
        .iter()
        .map(|directory| format!("{directory}/{helper}"))
        .find(|path| fs::exists(path).unwrap_or(false))
        .unwrap_or_else(|| helper.to_owned());
    let mut command = Command::new(&program);
    command.arg(pid.to_string());
    for line in lines {
        command.args([line.container_id, line.host_id, line.size].map(|number| number.to_string()));
    }
    let output = command.output().map_err(|error| {
        Error::io("cannot map ids", format!("execve({program:?})"), error).with_hint("install the package uidmap")
    })?;
    if output.status.success() {
        return Ok(());
    }
    // It begins with its own name.
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let said = if said.is_empty() { format!("{helper}: {}", output.status) } else { said };
    Err(Error::new(ErrorKind::Init, said).with_hint("see /etc/subuid and /etc/subgid"))
}
