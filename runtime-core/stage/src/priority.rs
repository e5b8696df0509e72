//! What the kernel prefers for the program: execution domain, memory nodes, CPU time, disk time.
//!
//! Late, so that the set-up itself runs as fast as the caller, and after the last fork: a SCHED_DEADLINE process may
//! not fork.

use crate::fail::{Result, Step};
use crate::io::Io;
use crate::sys;
use crate::wire::{Plan, UNSET};

/// Sets what the config names.
pub fn all(plan: &Plan<'_>, io: &Io) -> Result<()> {
    let header = &plan.header;
    if header.personality != UNSET {
        io.enter(Step::Personality, 0);
        sys::personality(header.personality)?;
    }
    if header.memory_policy != UNSET {
        io.enter(Step::MemoryPolicy, 0);
        sys::set_mempolicy(header.memory_policy, plan.raw(header.memory_nodes, 8)?)?;
    }
    for (index, scheduler) in plan.items(header.scheduler) {
        io.enter(Step::Scheduler, index);
        sys::sched_setattr(&scheduler?)?;
    }
    if header.io_priority != UNSET {
        io.enter(Step::IoPriority, 0);
        sys::ioprio_set(header.io_priority)?;
    }
    Ok(())
}
