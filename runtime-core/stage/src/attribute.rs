//! Attributes and propagation of mounts that are attached, by descriptor.
//!
//! Before kernel 5.12 there is no mount_setattr(2); mount(2) does the same for one mount, but only for an attached
//! one. That is why everything here comes after attaching.

use crate::fail::Result;
use crate::io::{Io, message};
use crate::sys::{self, AT_RECURSIVE, errno, ms};
use crate::wire::{List, Plan, Z};

/// Changes the attributes of a mount; what is not named stays. Before 5.12 of this one mount only.
pub fn set(io: &Io, fd: i32, recursive: u32, set: u64, clear: u64) -> Result<()> {
    change(io, fd, recursive, (set, clear), 0)
}

/// The same, together with the propagation (one of MS_SHARED and so on; 0: it stays).
pub fn change(io: &Io, fd: i32, recursive: u32, (set, clear): (u64, u64), propagation: u64) -> Result<()> {
    match sys::mount_setattr(fd, recursive, set, clear, propagation) {
        Err(fail) if fail.is(errno::ENOSYS) => {
            if propagation != 0 {
                by_mount(io, fd, propagation)?;
            }
            let (_, now) = sys::filesystem(fd)?;
            by_mount(io, fd, ms::REMOUNT | ms::BIND | changed(now, set, clear))
        }
        result => result,
    }
}

/// Changes propagation, in order.
pub fn propagate(plan: &Plan<'_>, io: &Io, fd: i32, list: List<u32>) -> Result<()> {
    for (_, propagation) in plan.items(list) {
        one_propagation(io, fd, u64::from(propagation?))?;
    }
    Ok(())
}

/// MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE, with MS_REC for the whole tree.
pub fn one_propagation(io: &Io, fd: i32, propagation: u64) -> Result<()> {
    let recursive = if propagation & ms::REC != 0 { AT_RECURSIVE } else { 0 };
    match sys::mount_setattr(fd, recursive, 0, 0, propagation & !ms::REC) {
        Err(fail) if fail.is(errno::ENOSYS) => by_mount(io, fd, propagation),
        result => result,
    }
}

/// A clone of a single host mount, nothing of which may be seen on the host.
pub fn cut_loose(io: &Io, fd: i32) -> Result<()> {
    one_propagation(io, fd, ms::PRIVATE)
}

fn by_mount(io: &Io, fd: i32, flags: u64) -> Result<()> {
    by_name(io, fd, |name| sys::mount_flags(name, flags))
}

/// mount(2) of a new filesystem on a descriptor.
pub fn mount_on(io: &Io, fd: i32, source: Z<'_>, fstype: Z<'_>, set: u64, data: Z<'_>) -> Result<()> {
    by_name(io, fd, |name| sys::mount(source, name, fstype, changed(0, set, 0x70), data))
}

/// mount(2) wants a name: the descriptor's own, below the host's /proc, which the parent hands us.
fn by_name(io: &Io, fd: i32, act: impl FnOnce(Z<'_>) -> Result<()>) -> Result<()> {
    let proc = io.ask(message::PROC)?;
    let mut name = Name::new(*b"self/fd/");
    name.push(fd as u32);
    let done = sys::fchdir(proc).and_then(|()| act(name.z()));
    sys::close(proc);
    // The working directory must not keep the host's /proc.
    done.and_then(|()| sys::chdir(Z::new(b"/\0")))
}

/// "self/fd/N".
struct Name {
    bytes: [u8; 20],
    length: usize,
}

impl Name {
    fn new(prefix: [u8; 8]) -> Self {
        let mut bytes = [0; 20];
        bytes.iter_mut().zip(prefix).for_each(|(room, byte)| *room = byte);
        Self { bytes, length: prefix.len() }
    }

    fn push(&mut self, number: u32) {
        let mut digits = [b'0'; 10];
        let mut rest = number;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let zeros = digits.iter().take(9).take_while(|digit| **digit == b'0').count();
        for digit in digits.into_iter().skip(zeros) {
            if let Some(room) = self.bytes.get_mut(self.length) {
                *room = digit;
                self.length += 1;
            }
        }
    }

    fn z(&self) -> Z<'_> {
        Z::new(self.bytes.get(..=self.length).unwrap_or(b"\0"))
    }
}

/// Flags of statfs(2) with MOUNT_ATTR_* set and cleared, as flags of mount(2).
fn changed(now: u64, set: u64, clear: u64) -> u64 {
    // MOUNT_ATTR_*, ST_*, MS_*.
    const BITS: [(u64, u64, u64); 6] = [
        (sys::MOUNT_ATTR_RDONLY, 1, ms::RDONLY),
        (0x2, 2, ms::NOSUID),
        (0x4, 4, ms::NODEV),
        (0x8, 8, ms::NOEXEC),
        (0x80, 2048, ms::NODIRATIME),
        (0x20_0000, 0x2000, ms::NOSYMFOLLOW),
    ];
    const ATIME: u64 = 0x70;
    let flags = BITS.iter().fold(0, |flags, (attribute, status, flag)| {
        let on = if set & attribute != 0 { true } else { clear & attribute == 0 && now & status != 0 };
        if on { flags | flag } else { flags }
    });
    let time = match (set & ATIME, clear & ATIME != 0) {
        (0x10, _) => ms::NOATIME,
        (0x20, _) => ms::STRICTATIME,
        (_, true) => ms::RELATIME,
        _ if now & 1024 != 0 => ms::NOATIME,
        _ if now & 4096 != 0 => ms::RELATIME,
        _ => ms::STRICTATIME,
    };
    flags | time
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_stays() {
        const ST_NOSUID: u64 = 2;
        const ST_RELATIME: u64 = 4096;
        assert_eq!(changed(ST_NOSUID | ST_RELATIME, 1, 0), ms::RDONLY | ms::NOSUID | ms::RELATIME);
        assert_eq!(changed(ST_NOSUID | 1, 8, 1 | 0x70), ms::NOSUID | ms::NOEXEC | ms::RELATIME);
        assert_eq!(changed(1024, 0, 2), ms::NOATIME);
        assert_eq!(changed(1024, 0x20, 0x70), ms::STRICTATIME);
        assert_eq!(changed(0, 0, 0), ms::STRICTATIME);
    }

    #[test]
    fn names_of_descriptors() {
        for (number, text) in
            [(0, "self/fd/0"), (7, "self/fd/7"), (1020, "self/fd/1020"), (u32::MAX, "self/fd/4294967295")]
        {
            let mut name = Name::new(*b"self/fd/");
            name.push(number);
            assert_eq!(name.z().bytes(), text.as_bytes());
        }
    }
}
