//! The five capability sets.

use crate::fail::{Result, Step};
use crate::io::Io;
use crate::sys::{self, errno};
use crate::wire::{Plan, flag};

const PR_CAPBSET_DROP: u32 = 24;
const PR_SET_NO_NEW_PRIVS: u32 = 38;
const PR_CAP_AMBIENT: u32 = 47;
const PR_CAP_AMBIENT_RAISE: u64 = 2;

/// Drops from the bounding set what the config does not name. Needs CAP_SETPCAP, so it comes first.
pub fn drop_bounding(plan: &Plan<'_>, io: &Io) -> Result<()> {
    if plan.header.flags & flag::CAPABILITIES == 0 {
        return Ok(());
    }
    for capability in bits(!plan.header.bounding) {
        io.enter(Step::BoundingSet, capability);
        match sys::prctl(PR_CAPBSET_DROP, u64::from(capability), 0) {
            // Past the kernel's last capability there is nothing to drop.
            Err(fail) if fail.is(errno::EINVAL) => break,
            result => drop(result?),
        }
    }
    Ok(())
}

/// Effective, permitted and inheritable at once, then the ambient set one by one. The kernel takes ambient
/// capabilities away by itself when they leave the permitted or the inheritable set.
pub fn set(plan: &Plan<'_>, io: &Io) -> Result<()> {
    if plan.header.flags & flag::CAPABILITIES == 0 {
        return Ok(());
    }
    io.enter(Step::Capabilities, 0);
    let header = &plan.header;
    sys::capset(header.effective, header.permitted, header.inheritable)?;
    for capability in bits(header.ambient) {
        io.enter(Step::Capabilities, capability);
        sys::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, u64::from(capability))?;
    }
    Ok(())
}

/// PR_SET_NO_NEW_PRIVS.
pub fn no_new_privileges(plan: &Plan<'_>, io: &Io) -> Result<()> {
    if plan.header.flags & flag::NO_NEW_PRIVS != 0 {
        io.enter(Step::NoNewPrivileges, 0);
        sys::prctl(PR_SET_NO_NEW_PRIVS, 1, 0)?;
    }
    Ok(())
}

fn bits(set: u64) -> impl Iterator<Item = u32> {
    (0..64).filter(move |bit| set >> bit & 1 == 1)
}
