//! stats: what the container's cgroups have counted.

use crate::cgroup::{Cgroup, Stats};
use crate::{Container, Error, ErrorKind, Result};

/// Reads the statistics of this moment.
pub(crate) fn stats(container: &Container) -> Result<Stats> {
    let Some(placement) = container.record.own_cgroup(container.root.boot_id()?) else {
        let message = "the container has no cgroup, so nothing is counted";
        return Err(Error::new(ErrorKind::Unsupported, message));
    };
    let cgroup = Cgroup::open(placement)?;
    if cgroup.is_gone() {
        return Err(Error::new(ErrorKind::WrongState, "container not running"));
    }
    cgroup.stats()
}
