//! Loading the system call filter.

use crate::fail::{Result, Step};
use crate::io::{Io, message};
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
    let flags = plan.header.seccomp_flags;
    let listener = sys::seccomp_filter(flags, plan.raw(plan.header.seccomp, 8)?)?;
    if flags & NEW_LISTENER == 0 {
        return Ok(());
    }
    // From here on every call may wait for the agent, which has nothing to answer on before the parent has
    // fetched the listener: hence write(2), the one call that is never notified. All that follows, the agent
    // can answer. Our own copy has to go: while it exists, nobody learns that the agent is gone.
    io.enter(Step::Seccomp, 1);
    io.tell(message::LISTENER, listener as u64)?;
    io.wait_plainly()?;
    sys::close_now(listener as i32);
    Ok(())
}

/// SECCOMP_FILTER_FLAG_NEW_LISTENER.
const NEW_LISTENER: u32 = 1 << 3;
