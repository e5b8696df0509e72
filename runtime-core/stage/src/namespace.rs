//! Namespaces that clone3 could not make: joined ones, and those that must come after the cgroup.

use crate::fail::{Result, Step};
use crate::io::{Io, message};
use crate::sys::{self, CloneArgs, clone};
use crate::wire::{Join, Plan, flag};

const PR_SET_DUMPABLE: u32 = 4;

/// Joins in the order of the plan. From here on a process of a joined namespace may see us: not dumpable, so
/// that it can neither trace us nor read our descriptors (CVE-2016-9962).
pub fn join(plan: &Plan<'_>, io: &Io) -> Result<()> {
    if plan.header.flags & flag::NOT_DUMPABLE != 0 {
        sys::prctl(PR_SET_DUMPABLE, 0, 0)?;
    }
    for (index, join) in plan.items(plan.header.joins) {
        io.enter(Step::JoinNamespace, index);
        let join: Join = join?;
        if u64::from(join.kind) == clone::NEWUSER {
            // In there the kernel may forbid it ("deny" in /proc/PID/setgroups): the caller's groups stay behind if he
            // may drop them, and are those of the namespace's owner if not.
            let _ = sys::setgroups(&[]);
        }
        sys::setns(io.slot(join.slot)?, join.kind)?;
    }
    Ok(())
}

/// Makes the namespaces that remain.
pub fn unshare(plan: &Plan<'_>, io: &Io) -> Result<()> {
    if plan.header.unshare != 0 {
        io.enter(Step::Unshare, 0);
        sys::unshare(plan.header.unshare)?;
    }
    Ok(())
}

/// Continues in a child, which is where a joined or unshared pid namespace begins. The child is our sibling, so
/// that the runtime stays its parent.
pub fn fork_into_pid(plan: &Plan<'_>, io: &Io) -> Result<()> {
    if plan.header.flags & flag::FORK == 0 {
        return Ok(());
    }
    io.enter(Step::ForkIntoPid, 0);
    let mut pidfd = -1;
    // With CLONE_PARENT the exit signal is the parent's own; clone3(2) wants none given.
    let args = CloneArgs { flags: clone::PARENT | clone::PIDFD, ..CloneArgs::default() };
    if sys::fork(args, &mut pidfd)? == 0 {
        io.wait()?;
        return Ok(());
    }
    io.hand_over(message::FORKED, 0, pidfd)?;
    sys::exit(0)
}
