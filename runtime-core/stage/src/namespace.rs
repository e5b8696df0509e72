//! Namespaces that clone3 could not make: joined ones, and those that must come after the cgroup.

use crate::fail::{Result, Step};
use crate::io::{Io, message};
use crate::proc;
use crate::sys::{self, CloneArgs, clone, errno};
use crate::wire::{Join, Plan, Z, flag};

const PR_SET_DUMPABLE: u32 = 4;

/// Joins in the order of the plan. From here on a process of a joined namespace may see us: not dumpable, so
/// that it can neither trace us nor read our descriptors (CVE-2016-9962).
pub fn join(plan: &Plan<'_>, io: &Io) -> Result<()> {
    if plan.header.flags & flag::NOT_DUMPABLE != 0 {
        sys::prctl(PR_SET_DUMPABLE, 0, 0)?;
    }
    // What belongs to the user namespace we join needs its capabilities, so it is tried again from inside.
    let mut later = 0_u32;
    for (index, join) in plan.items(plan.header.joins) {
        match join_one(io, index, &join?) {
            Err(fail) if fail.is(errno::EPERM) && index < 32 && index + 1 < plan.header.joins.count => {
                later |= 1 << index
            }
            result => result?,
        }
    }
    for index in (0..32).filter(|index| later >> index & 1 == 1) {
        join_one(io, index, &plan.item(plan.header.joins, index)?)?;
    }
    Ok(())
}

fn join_one(io: &Io, index: u32, join: &Join) -> Result<()> {
    io.enter(Step::JoinNamespace, index);
    if u64::from(join.kind) == clone::NEWUSER {
        // In there the kernel may forbid it ("deny" in /proc/PID/setgroups): the caller's groups stay behind if he may
        // drop them, and are those of the namespace's owner if not.
        let _ = sys::setgroups(&[]);
    }
    sys::setns(io.slot(join.slot)?, join.kind)
}

/// Makes the namespaces that remain.
pub fn unshare(plan: &Plan<'_>, io: &Io) -> Result<()> {
    if plan.header.unshare != 0 {
        io.enter(Step::Unshare, 0);
        sys::unshare(plan.header.unshare)?;
    }
    Ok(())
}

/// Sets the clocks of a new time namespace, which can only be done while nobody is in it yet.
pub fn offset_clocks(plan: &Plan<'_>, io: &Io) -> Result<()> {
    let offsets = plan.text(plan.header.time_offsets)?;
    if offsets.is_empty() {
        return Ok(());
    }
    io.enter(Step::TimeOffsets, 0);
    proc::write(plan, io, Z::new(b"self/timens_offsets\0"), offsets.bytes())
}

/// Continues in a child, which is where a joined or unshared pid namespace begins, and a new time namespace. The child is our sibling, so
/// that the runtime stays its parent.
pub fn fork_into_pid(plan: &Plan<'_>, io: &Io) -> Result<()> {
    if plan.header.flags & flag::FORK == 0 {
        return Ok(());
    }
    io.enter(Step::ForkIntoPid, 0);
    let mut pidfd = -1;
    // With CLONE_PARENT the exit signal is the parent's own; clone3(2) wants none given.
    let args = CloneArgs { flags: clone::PARENT | clone::PIDFD, ..CloneArgs::default() };
    let child = sys::fork(args, &mut pidfd)?;
    if child == 0 {
        io.wait()?;
        return Ok(());
    }
    // We ourselves stay in the parent's pid namespace, so the number means the same to it.
    io.hand_over(message::FORKED, child as u64, pidfd)?;
    sys::exit(0)
}
