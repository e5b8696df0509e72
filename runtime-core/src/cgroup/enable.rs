//! What a new directory needs before it works: version 2 controllers, version 1 CPU sets.

use std::os::fd::AsFd;

use nix::errno::Errno;

use super::dir::{self, Dir};
use super::file;
use crate::{Error, ErrorKind, Result};

/// Controllers a cgroup with threads may use; every other one belongs to whole processes.
const THREADED: [&str; 4] = ["cpu", "cpuset", "perf_event", "pids"];

/// Hands controllers down to the new cgroup. Usually all that its parent has, because what runs in the container
/// (an init system, another runtime) may want to hand them on, and statistics need them. From the mount point down
/// if one of `needed` stops on the way, or if the parent is new and has none yet. On a hybrid host
/// (`only_needed`) no others, since the rest belongs to version 1. True: what is made in the parent is a cgroup of whole
/// processes, for so are controllers it has handed down.
pub(super) fn controllers(dir: &Dir, needed: &[&str], new_parent: bool, only_needed: bool) -> Result<bool> {
    let (place, parent) = (&dir.place, &dir.parent);
    if only_needed && needed.is_empty() {
        return Ok(false);
    }
    let fail = |errno| dir::failed(place, "read the controllers of", "read", "../cgroup.controllers", errno);
    let available = file::read(parent, "cgroup.controllers").map_err(fail)?;
    let wanted = |name: &str| !only_needed || needed.contains(&name);
    if !new_parent && needed.iter().all(|name| available.split_whitespace().any(|have| have == *name)) {
        return hand_down(parent, &available, wanted).map_err(fail);
    }
    for level in dir::ancestors(place)? {
        let available = file::read(&level, "cgroup.controllers").map_err(fail)?;
        hand_down(&level, &available, wanted).map_err(fail)?;
    }
    Ok(false)
}

/// Adds to `cgroup.subtree_control` what is missing there. A refusal is no error yet: the limit that needs the
/// controller will name it, and one nobody needs (busy, threaded) does not matter. True: one of whole processes was there.
fn hand_down(level: impl AsFd, available: &str, wanted: impl Fn(&str) -> bool) -> Result<bool, Errno> {
    if available.trim().is_empty() {
        return Ok(false);
    }
    let enabled = file::read(&level, "cgroup.subtree_control")?;
    let missing: Vec<String> = available
        .split_whitespace()
        .filter(|name| wanted(name) && !enabled.split_whitespace().any(|have| have == *name))
        .map(|name| format!("+{name}"))
        .collect();
    if !missing.is_empty() && file::write(&level, "cgroup.subtree_control", &missing.join(" ")).is_err() {
        for one in &missing {
            let _ = file::write(&level, "cgroup.subtree_control", one);
        }
    }
    Ok(enabled.split_whitespace().any(|name| !THREADED.contains(&name)))
}

/// Below a threaded cgroup a new one is "domain invalid" and nothing may enter it. Without a controller that needs
/// whole processes it can be made threaded itself.
pub(super) fn check_type(dir: &Dir, needed: &[&str]) -> Result<()> {
    let fail = |errno| dir::failed(&dir.place, "read the type of", "read", "cgroup.type", errno);
    let kind = file::read(&dir.fd, "cgroup.type").map_err(fail)?;
    let domain = needed.iter().any(|name| !THREADED.contains(name));
    match kind.trim() {
        "domain" => Ok(()),
        kind if domain => {
            let message = format!(
                "cannot enter cgroupv2 {:?} with domain controllers -- it is in {kind} mode",
                dir.place.absolute()
            );
            Err(Error::new(ErrorKind::Unsupported, message))
        }
        "domain invalid" => file::write(&dir.fd, "cgroup.type", "threaded").map_err(fail),
        _ => Ok(()),
    }
}

/// A new version 1 CPU set is empty, and nothing may enter it: it takes what its parent has, and so do parents
/// that were just made. `given`: files the config has its own value for.
pub(super) fn cpuset(dir: &Dir, given: &[&str]) -> Result<()> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let fail = |errno| dir::failed(&dir.place, "initialise", "write", name, errno);
        let mut value = file::read(&dir.parent, name).map_err(fail)?;
        if value.trim().is_empty() {
            value.clear();
            for level in dir::ancestors(&dir.place)? {
                let own = file::read(&level, name).map_err(fail)?;
                if own.trim().is_empty() {
                    file::write(&level, name, value.trim()).map_err(fail)?;
                } else {
                    value = own;
                }
            }
        }
        if given.contains(&name) || (dir.existed && !file::read(&dir.fd, name).map_err(fail)?.trim().is_empty()) {
            continue;
        }
        file::write(&dir.fd, name, value.trim()).map_err(fail)?;
    }
    Ok(())
}
