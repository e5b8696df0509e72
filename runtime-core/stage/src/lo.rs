//! The loopback device of a new network namespace.

use crate::fail::{Result, Step};
use crate::io::Io;
use crate::sys;
use crate::wire::{Plan, flag};

/// Brings `lo` up.
pub fn up(plan: &Plan<'_>, io: &Io) -> Result<()> {
    if plan.header.flags & flag::LOOPBACK == 0 {
        return Ok(());
    }
    io.enter(Step::Loopback, 0);
    const SIOCSIFFLAGS: u32 = 0x8914;
    const IFF_UP: u8 = 1;
    // struct ifreq: 16 bytes of name, then the flags.
    let mut request = [0; 40];
    let (name, rest) = request.split_at_mut(16);
    if let (Some(name), Some(flags)) = (name.get_mut(..2), rest.first_mut()) {
        name.copy_from_slice(b"lo");
        *flags = IFF_UP;
    }
    let socket = sys::inet_socket()?;
    let up = sys::ioctl_bytes(socket, SIOCSIFFLAGS, &mut request);
    sys::close(socket);
    up.map(drop)
}
