//! Kernel parameters of the container's namespaces.

use crate::fail::{Result, Step};
use crate::io::Io;
use crate::proc;
use crate::wire::{Plan, Sysctl};

/// Writes them all. Which namespace a file of /proc/sys belongs to is decided by who opens it: we are in all of
/// the container's.
pub fn all(plan: &Plan<'_>, io: &Io) -> Result<()> {
    for (index, sysctl) in plan.items(plan.header.sysctls) {
        io.enter(Step::Sysctl, index);
        let sysctl: Sysctl = sysctl?;
        proc::write(plan, io, plan.text(sysctl.path)?, plan.text(sysctl.value)?.bytes())?;
    }
    Ok(())
}
