//! Resource limits, late: a low RLIMIT_NOFILE must not hit the set-up itself.

use crate::fail::{Result, Step};
use crate::io::{Io, message};
use crate::sys::{self, errno};
use crate::wire::{Plan, Rlimit};

/// Sets every limit; where raising one is not for us (a user namespace), the parent sets them all.
pub fn all(plan: &Plan<'_>, io: &Io) -> Result<()> {
    for (index, limit) in plan.items(plan.header.rlimits) {
        io.enter(Step::Rlimit, index);
        let limit: Rlimit = limit?;
        match sys::setrlimit(limit.resource, limit.soft, limit.hard) {
            Err(fail) if fail.is(errno::EPERM) => return io.ask(message::RLIMITS).map(drop),
            result => result?,
        }
    }
    Ok(())
}
