//! pause and resume.

use std::time::Duration;

use crate::cgroup::Cgroup;
use crate::state::{Dir, Status};
use crate::{Container, Error, ErrorKind, Result};

/// How long all processes have to stop, or to run again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Freezes a created or running container.
pub(crate) fn pause(container: &Container) -> Result<()> {
    let (_dir, cgroup, status) = open(container)?;
    match status {
        Status::Running | Status::Created => cgroup()?.freeze(PATIENCE),
        _ => Err(Error::new(ErrorKind::WrongState, "container not running")),
    }
}

/// Lets a paused container run.
pub(crate) fn resume(container: &Container) -> Result<()> {
    let (_dir, cgroup, status) = open(container)?;
    match status {
        Status::Paused => cgroup()?.thaw(PATIENCE),
        _ => Err(Error::new(ErrorKind::WrongState, "container not paused")),
    }
}

/// The locked directory, a way to the cgroup, and the status.
fn open(container: &Container) -> Result<(Dir, impl FnOnce() -> Result<Cgroup>, Status)> {
    let mut dir = Dir::open_at(container.root.clone(), container.id())?;
    dir.lock()?;
    let record = container.root.read(container.id())?;
    let status = Status::locked(&container.root, &record)?;
    let placement = record.own_cgroup(container.root.boot_id()?).cloned();
    let cgroup = move || match placement {
        Some(placement) => Cgroup::open(&placement),
        None => Err(Error::new(ErrorKind::Unsupported, "the container has no cgroup, so it cannot be frozen")),
    };
    Ok((dir, cgroup, status))
}
