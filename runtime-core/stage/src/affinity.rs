//! Which CPUs the program may run on: what the caller was pinned to is not the container's business.

use crate::fail::{Result, Step};
use crate::io::Io;
use crate::sys::{self, errno};
use crate::wire::{Plan, flag};

/// More CPUs than any kernel is built for.
const ALL: [u8; 1024] = [0xff; 1024];

/// Before the cgroups of v1 are entered. (That of v2 is entered by birth, so these CPUs may be out of bounds already;
/// then they are past.)
pub fn initial(plan: &Plan<'_>, io: &Io) -> Result<()> {
    let cpus = plan.raw(plan.header.cpus_initial, 8)?;
    if cpus.is_empty() {
        return Ok(());
    }
    io.enter(Step::Affinity, 0);
    match sys::sched_setaffinity(cpus) {
        Err(fail) if fail.is(errno::EINVAL) => Ok(()),
        result => result,
    }
}

/// Inside the cgroup: the CPUs asked for; without, all that the cgroup has.
pub fn last(plan: &Plan<'_>, io: &Io) -> Result<()> {
    let cpus = plan.raw(plan.header.cpus_final, 8)?;
    if !cpus.is_empty() {
        io.enter(Step::Affinity, 1);
        return sys::sched_setaffinity(cpus);
    }
    if plan.header.flags & flag::KEEP_CPUS == 0 {
        // Best effort: nobody asked for it. Who is born in its cgroup (CLONE_INTO_CGROUP) keeps the caller's processors
        // against the CPU set on kernels without commit 42a11bf5c543 (6.4), which 5.10 never got.
        let _ = sys::sched_setaffinity(&ALL);
    }
    Ok(())
}
