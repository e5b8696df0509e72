//! Carries out the writes of a container.

use std::fs::File;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::dir::Dir;
use super::file;
use super::write::{Rule, Write};
use crate::{Error, ErrorKind, Result};

/// Writes everything, in order; what old and new values keep from each other is tried again until nothing moves.
/// `dirs` has an entry for each directory of the placement.
pub(super) fn apply(dirs: &[Option<Dir>], writes: &[Write]) -> Result<()> {
    check(dirs, writes)?;
    let mut last = None;
    let mut blocked: Vec<(&Write, Errno)> = Vec::new();
    for write in writes.iter().filter(|write| !matches!(write.rule, Rule::Above { .. })) {
        match once(dirs, write, &mut last) {
            Ok(()) => {}
            Err(errno @ (Errno::EINVAL | Errno::EBUSY)) if write.rule == Rule::Again => blocked.push((write, errno)),
            Err(errno) => return Err(refused(dirs, write, errno)),
        }
    }
    while let Some((first, errno)) = blocked.first().copied() {
        let before = blocked.len();
        blocked.retain(|(write, _)| once(dirs, write, &mut last).is_err());
        if blocked.len() == before {
            return Err(refused(dirs, first, errno));
        }
    }
    Ok(())
}

/// Refuses what the config wants to be refused before anything is written.
pub(super) fn check(dirs: &[Option<Dir>], writes: &[Write]) -> Result<()> {
    writes.iter().try_for_each(|write| check_usage(dirs, write))
}

/// The file written last: consecutive values for one file (device rules) share a descriptor.
type Last<'a> = Option<(usize, &'a str, File)>;

fn once<'a>(dirs: &[Option<Dir>], write: &'a Write, last: &mut Last<'a>) -> Result<(), Errno> {
    let dir = dir_of(dirs, write).ok_or(Errno::ENOENT)?;
    if let Some((place, name, open)) = last
        && *place == write.place
        && *name == write.file
    {
        return file::put(open, &write.value);
    }
    let result = match file::open(&dir.fd, &write.file, OFlag::O_WRONLY) {
        Ok(mut open) => {
            let result = file::put(&mut open, &write.value);
            *last = Some((write.place, &write.file, open));
            result
        }
        Err(errno) => Err(errno),
    };
    match (result, &write.rule) {
        (Err(Errno::ENOENT), Rule::IfPresent) => Ok(()),
        (Err(Errno::ENOENT), Rule::OrElse { file, value }) => file::write(&dir.fd, file, value),
        (result, _) => result,
    }
}

fn dir_of<'a>(dirs: &'a [Option<Dir>], write: &Write) -> Option<&'a Dir> {
    dirs.get(write.place)?.as_ref()
}

/// `memory.checkBeforeUpdate`: refuses a limit that usage is above already.
fn check_usage(dirs: &[Option<Dir>], write: &Write) -> Result<()> {
    let Rule::Above { plus } = &write.rule else { return Ok(()) };
    let Some(dir) = dir_of(dirs, write) else { return Ok(()) };
    let number =
        |name: &str| -> u64 { file::read(&dir.fd, name).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0) };
    let usage = number(&write.file) + plus.as_deref().map_or(0, number);
    let limit: u64 = write.value.parse().unwrap_or(u64::MAX);
    if limit > usage {
        return Ok(());
    }
    let what = if plus.is_some() { "memory+swap" } else { "memory" };
    let message = format!("rejecting {what} limit {limit} <= usage {usage}");
    Err(Error::new(ErrorKind::InvalidConfig, message).at(&write.pointer))
}

/// The error for a write the kernel refused.
fn refused(dirs: &[Option<Dir>], write: &Write, errno: Errno) -> Error {
    let controller = write.file.split('.').next().unwrap_or_default();
    let dir = dir_of(dirs, write);
    let path = dir.map_or_else(String::new, |dir| format!("{}/", dir.place.absolute()));
    let missing = matches!(errno, Errno::ENOENT | Errno::EPERM)
        && dir.is_some_and(|dir| dir.place.v2 && !has_controller(dir, controller));
    let message = match write.pointer.strip_prefix("/linux/resources/unified/") {
        Some(_) if missing => {
            format!("unified resource {:?} can't be set: controller {controller:?} not available", write.file)
        }
        _ if missing => format!("cannot set a limit: cgroup controller {controller:?} is not available here"),
        _ => format!("failed to write {:?}", write.value),
    };
    let call = format!("write({:?})", format!("{path}{}", write.file));
    let error = Error::system(message, call, errno as i32).at(&write.pointer);
    match (errno, write.file.as_str()) {
        (Errno::EBUSY, "memory.limit_in_bytes") => error.with_hint("the container uses more memory than that already"),
        (Errno::ENOENT, name) if name.starts_with("hugetlb.") => error.with_hint("the kernel has no such page size"),
        (Errno::ENODEV, _) => error.with_hint("there is no such device, or the cgroup was removed meanwhile"),
        _ => error,
    }
}

fn has_controller(dir: &Dir, controller: &str) -> bool {
    file::read(&dir.fd, "cgroup.controllers").is_ok_and(|list| list.split_whitespace().any(|c| c == controller))
}
