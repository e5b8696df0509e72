//! Network devices of the host: the parent moves them into our network namespace.

use crate::fail::{Result, Step};
use crate::io::{Io, message};
use crate::wire::{Plan, flag};

/// Waits until they are here.
pub fn move_in(plan: &Plan<'_>, io: &Io) -> Result<()> {
    if plan.header.flags & flag::NET_DEVICES != 0 {
        io.enter(Step::NetDevices, 0);
        io.ask(message::NET_DEVICES)?;
    }
    Ok(())
}
