//! `tmpcopyup`: a new tmpfs gets a copy of the directory it covers.
//!
//! Names are taken below descriptors and never followed; what is copied are directories, files, links, devices and
//! fifos with mode and owner. Sockets mean nothing without their process.

use crate::fail::{Fail, Refusal, Result};
use crate::sys::{self, O_CREAT, O_DIRECTORY, O_EXCL, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_WRONLY, Stat, errno};
use crate::wire::Z;

/// How deep directories may be nested: bounds the stack.
const DEEPEST: u32 = 64;

/// Copies what the directory `from` holds into the directory `to` (any descriptors that name them).
pub fn tree(from: i32, to: i32) -> Result<()> {
    let from = sys::openat(from, Z::new(b".\0"), O_DIRECTORY, 0)?;
    let to = sys::openat(to, Z::new(b".\0"), O_DIRECTORY, 0)?;
    let about = sys::stat(from, Z::EMPTY)?;
    let done = entries(from, to, DEEPEST).and_then(|()| sys::chown(to, about.uid, about.gid));
    sys::close(from);
    sys::close(to);
    done
}

fn entries(from: i32, to: i32, depth: u32) -> Result<()> {
    let mut buffer = [0; 1024];
    loop {
        let length = sys::getdents(from, &mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        let mut rest = buffer.get(..length).unwrap_or_default();
        while let Some((name, after)) = entry(rest) {
            rest = after;
            if !matches!(name.bytes(), b"." | b"..") {
                one(from, to, name, depth)?;
            }
        }
    }
}

/// The first entry of what getdents64(2) wrote: its name, and what follows.
fn entry(bytes: &[u8]) -> Option<(Z<'_>, &[u8])> {
    const NAME: usize = 19;
    let length = usize::from(u16::from_le_bytes(*bytes.get(16..)?.first_chunk()?));
    let name = bytes.get(NAME..length)?;
    let end = name.iter().position(|byte| *byte == 0)?;
    Some((Z::new(name.get(..=end)?), bytes.get(length..)?))
}

fn one(from: i32, to: i32, name: Z<'_>, depth: u32) -> Result<()> {
    let about = sys::stat(from, name)?;
    let mode = about.mode & 0o7777;
    match about.mode & Stat::TYPE {
        Stat::DIRECTORY => directory(from, to, name, depth)?,
        Stat::REGULAR => file(from, to, name)?,
        Stat::LINK => link(from, to, name)?,
        Stat::CHARACTER | Stat::BLOCK | Stat::FIFO => {
            let (major, minor) = about.device;
            sys::mknodat(to, name, about.mode, sys::makedev(major, minor))?;
        }
        _ => return Ok(()),
    }
    let made = sys::openat(to, name, sys::O_PATH | O_NOFOLLOW, 0)?;
    // The owner first: changing it takes set-id bits away.
    let owned = if about.uid | about.gid == 0 { Ok(()) } else { sys::chown(made, about.uid, about.gid) };
    sys::close(made);
    owned?;
    if about.is(Stat::LINK) { Ok(()) } else { sys::chmod(to, name, mode) }
}

fn directory(from: i32, to: i32, name: Z<'_>, depth: u32) -> Result<()> {
    if depth == 0 {
        return Err(Fail::refuse(Refusal::TooDeep));
    }
    sys::mkdirat(to, name, 0o700)?;
    let from = sys::openat(from, name, O_DIRECTORY | O_NOFOLLOW, 0)?;
    let to = sys::openat(to, name, O_DIRECTORY | O_NOFOLLOW, 0)?;
    let done = entries(from, to, depth - 1);
    sys::close(from);
    sys::close(to);
    done
}

fn file(from: i32, to: i32, name: Z<'_>) -> Result<()> {
    let from = sys::openat(from, name, O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0)?;
    let to = sys::openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)?;
    let done = loop {
        match sys::sendfile(to, from, 1 << 20) {
            Ok(0) => break Ok(()),
            Ok(_) => {}
            Err(fail) if fail.is(errno::EINTR) => {}
            Err(fail) => break Err(fail),
        }
    };
    sys::close(from);
    sys::close(to);
    done
}

/// Not inlined: its buffer would be in every frame of the recursion.
#[inline(never)]
fn link(from: i32, to: i32, name: Z<'_>) -> Result<()> {
    let mut said = [0; crate::path::MOST + 1];
    let length = sys::readlinkat(from, name, said.get_mut(..crate::path::MOST).unwrap_or_default())?;
    sys::symlinkat(Z::new(said.get(..=length).unwrap_or_default()), to, name)
}
