//! Files of a procfs that nobody else sees.
//!
//! The container's own `/proc` may be anything by now: a fake, or a mount that leads the write to another file
//! (CVE-2019-16884, CVE-2025-52881). The parent's descriptor leads to the root of a procfs that is mounted nowhere,
//! and nothing below it may be a mount or a magic link.

use crate::fail::{Fail, Refusal, Result};
use crate::io::Io;
use crate::sys::{self, O_WRONLY, RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_XDEV};
use crate::wire::{Plan, Z};

/// Writes `bytes` in one write(2), and makes sure that the kernel took them all.
pub fn write(plan: &Plan<'_>, io: &Io, path: Z<'_>, bytes: &[u8]) -> Result<()> {
    let resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
    let file = sys::openat2(io.slot(plan.header.proc)?, path, O_WRONLY, 0, resolve)?;
    let written = sys::write(file, bytes);
    sys::close(file);
    if written? == bytes.len() { Ok(()) } else { Err(Fail::refuse(Refusal::TakenInPart)) }
}
