//! Loading the system call filter.

use crate::fail::{Result, Step};
use crate::io::Io;
use crate::sys;
use crate::wire::{Plan, flag};

/// Without no_new_privs the filter needs CAP_SYS_ADMIN, so it is loaded before the capabilities go.
pub fn early(plan: &Plan<'_>, io: &Io) -> Result<()> {
    if plan.header.flags & flag::NO_NEW_PRIVS != 0 { Ok(()) } else { load(plan, io) }
}

/// With no_new_privs it is loaded last, so that it need not allow what the set-up does.
pub fn late(plan: &Plan<'_>, io: &Io) -> Result<()> {
    if plan.header.flags & flag::NO_NEW_PRIVS != 0 { load(plan, io) } else { Ok(()) }
}

fn load(plan: &Plan<'_>, io: &Io) -> Result<()> {
    if plan.header.seccomp.count == 0 {
        return Ok(());
    }
    io.enter(Step::Seccomp, 0);
    sys::seccomp_filter(plan.header.seccomp_flags, plan.raw(plan.header.seccomp, 8)?).map(drop)
}
