//! Who the process is: root of its user namespace while it sets up, the configured user at the end.

use crate::fail::{Result, Step};
use crate::io::{Io, message};
use crate::sys::{self, Stat, errno};
use crate::wire::{Plan, flag};

const PR_SET_DUMPABLE: u32 = 4;
const PR_SET_KEEPCAPS: u32 = 8;

/// In a new user namespace: has the parent write the maps, then takes id 0, or where nobody has it, one that is mapped.
pub fn become_root(plan: &Plan<'_>, io: &Io) -> Result<()> {
    if plan.header.flags & flag::MAP_IDS != 0 {
        io.enter(Step::MapIds, 0);
        io.ask(message::MAP_IDS)?;
    }
    if plan.header.flags & flag::BECOME_ROOT != 0 {
        io.enter(Step::MapIds, 1);
        take_root(plan)?;
    }
    Ok(())
}

fn take_root(plan: &Plan<'_>) -> Result<()> {
    sys::setresgid(plan.header.set_up_gid)?;
    sys::setresuid(plan.header.set_up_uid)?;
    set_groups(plan, &[])?;
    if plan.header.flags & flag::NOT_DUMPABLE != 0 {
        sys::prctl(PR_SET_DUMPABLE, 0, 0)?;
    }
    Ok(())
}

/// Takes these groups. In a joined user namespace that forbids it they are what they were before it was joined,
/// which is right only if none were asked for.
fn set_groups(plan: &Plan<'_>, groups: &[u8]) -> Result<()> {
    if plan.header.flags & flag::KEEP_GROUPS != 0 {
        return Ok(());
    }
    let joined = plan.header.flags & (flag::BECOME_ROOT | flag::MAP_IDS) == flag::BECOME_ROOT;
    match sys::setgroups(groups) {
        Err(fail) if fail.is(errno::EPERM) && joined && groups.is_empty() => Ok(()),
        result => result,
    }
}

/// Becomes the configured user. Capabilities survive until [`caps`](crate::caps) sets them.
pub fn become_user(plan: &Plan<'_>, io: &Io) -> Result<()> {
    io.enter(Step::Ids, 0);
    let header = &plan.header;
    if header.uid != 0 {
        sys::prctl(PR_SET_KEEPCAPS, 1, 0)?;
    }
    set_groups(plan, plan.raw(header.groups, 4)?)?;
    io.enter(Step::Ids, 1);
    sys::setresgid(header.gid)?;
    io.enter(Step::Ids, 2);
    sys::setresuid(header.uid)?;
    if header.uid != 0 {
        sys::prctl(PR_SET_KEEPCAPS, 0, 0)?;
    }
    // Nor may a startContainer hook, which is the container's already, reach for our descriptors: with them it could have
    // the caller wait for ever.
    if header.flags & flag::NOT_DUMPABLE != 0 || header.start_container.count > 0 {
        sys::prctl(PR_SET_DUMPABLE, 0, 0)?;
    }
    Ok(())
}

/// Gives the standard streams to the user, as a login would (the group stays). What cannot be given away, and what is
/// not the container's to have, is left alone, see [`may_be_owned`].
pub fn own_stdio(plan: &Plan<'_>, io: &Io) -> Result<()> {
    use crate::wire::Z;
    if plan.header.uid == 0 && plan.header.flags & (flag::BECOME_ROOT | flag::TERMINAL) == 0 {
        return Ok(());
    }
    for fd in 0..3 {
        io.enter(Step::Stdio, fd as u32);
        let file = sys::stat(fd, Z::EMPTY)?;
        let own = plan.header.flags & flag::TERMINAL != 0;
        if file.uid == plan.header.uid || !(own || may_be_owned(fd, &file)?) {
            continue;
        }
        match sys::fchown(fd, plan.header.uid) {
            Err(fail) if !(fail.is(errno::EPERM) || fail.is(errno::EROFS) || fail.is(errno::EINVAL)) => {
                return Err(fail);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether a stream that is not the container's own terminal may be given to its user. Not a device: /dev/null is
/// everyone's, and who owns the caller's terminal reads along. Nor a file that may only be read: its owner may write it.
fn may_be_owned(fd: i32, file: &Stat) -> Result<bool> {
    const F_GETFL: i32 = 3;
    const O_ACCMODE: usize = 3;
    if file.is(Stat::REGULAR) {
        return Ok(sys::fcntl(fd, F_GETFL, 0)? & O_ACCMODE != 0);
    }
    Ok(![Stat::CHARACTER, Stat::BLOCK, Stat::DIRECTORY].iter().any(|kind| file.is(*kind)))
}
