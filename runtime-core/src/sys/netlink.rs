//! rtnetlink(7): one request at a time, one answer.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

/// Message types and flags (linux/rtnetlink.h, linux/netlink.h).
pub(crate) const NEWLINK: u16 = 16;
pub(crate) const GETLINK: u16 = 18;
pub(crate) const NEWADDR: u16 = 20;
pub(crate) const GETADDR: u16 = 22;
pub(crate) const CREATE: u16 = 0x400;
pub(crate) const EXCLUSIVE: u16 = 0x200;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const HEADER: usize = 16;

/// A socket of one network namespace. It stays there, and the namespace with it.
pub(crate) struct Socket(OwnedFd);

impl Socket {
    /// In the calling thread's namespace.
    pub(crate) fn here() -> io::Result<Self> {
        let protocol = SockProtocol::NetlinkRoute;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        tell_reasons(socket.as_fd());
        Ok(Self(socket))
    }

    /// In `namespace`. A socket belongs to the namespace of the thread that makes it, so a thread of its own goes
    /// there and ends; the caller's stays where it is.
    pub(crate) fn within(namespace: BorrowedFd<'_>) -> io::Result<Self> {
        std::thread::scope(|scope| {
            let made = std::thread::Builder::new().name("netns".to_owned()).spawn_scoped(scope, || {
                // The host's signal handlers have no business in the container's namespace.
                pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?;
                enter(namespace)?;
                Self::here()
            })?;
            made.join().unwrap_or_else(|_| Err(io::Error::other("a helper thread died")))
        })
    }

    /// Sends a request and waits until the kernel has done it.
    pub(crate) fn request(&self, kind: u16, flags: u16, body: &Body) -> io::Result<()> {
        self.talk(kind, flags | ACK, body).map(drop)
    }

    /// Sends a request that is answered by one message; its body.
    pub(crate) fn get(&self, kind: u16, body: &Body) -> io::Result<Vec<u8>> {
        let answers = self.talk(kind, ACK, body)?;
        answers.into_iter().next().ok_or_else(|| io::Error::from_raw_os_error(libc::EPROTO))
    }

    /// Sends a request that is answered by a list; their bodies.
    pub(crate) fn list(&self, kind: u16, body: &Body) -> io::Result<Vec<Vec<u8>>> {
        self.talk(kind, DUMP, body)
    }

    fn talk(&self, kind: u16, flags: u16, body: &Body) -> io::Result<Vec<Vec<u8>>> {
        let mut message = Vec::with_capacity(HEADER + body.0.len());
        message.extend((HEADER as u32 + body.0.len() as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((flags | REQUEST).to_ne_bytes());
        message.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        message.extend(&body.0);
        send(self.0.as_raw_fd(), &message, MsgFlags::empty())?;
        let mut answers = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::MSG_TRUNC) {
                Err(nix::Error::EINTR) => continue,
                length => length?,
            };
            let Some(packet) = buffer.get(..length) else { return Err(io::Error::from_raw_os_error(libc::EMSGSIZE)) };
            if collect(packet, &mut answers)? {
                return Ok(answers);
            }
        }
    }
}

/// Takes the messages of one packet; true after the last.
fn collect(mut packet: &[u8], answers: &mut Vec<Vec<u8>>) -> io::Result<bool> {
    while let Some(length) = number(packet, 0) {
        let length = length as usize;
        let Some(message) = packet.get(..length).filter(|_| length >= HEADER) else { break };
        let kind = message.get(4..6).map_or(0, |bytes| u16::from_ne_bytes([bytes[0], bytes[1]]));
        match kind {
            DONE => return Ok(true),
            ERROR => {
                return match number(message, HEADER).unwrap_or(0) as i32 {
                    0 => Ok(true),
                    errno => Err(failure(errno, message)),
                };
            }
            _ => answers.push(message[HEADER..].to_vec()),
        }
        packet = packet.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// An errno with the kernel's own words, where it has some (NLMSGERR_ATTR_MSG).
fn failure(errno: i32, message: &[u8]) -> io::Error {
    const TEXT: u16 = 1;
    // The error is followed by the header of the request, and by the whole request unless the answer is capped.
    let flags = message.get(6..8).map_or(0, |bytes| u16::from_ne_bytes([bytes[0], bytes[1]]));
    const CAPPED: u16 = 0x100;
    let request = number(message, HEADER + 4).unwrap_or(0) as usize;
    let skip = HEADER + 4 + if flags & CAPPED != 0 { HEADER } else { request.next_multiple_of(4) };
    let text = attributes(message.get(skip..).unwrap_or_default()).find(|(kind, _)| *kind == TEXT);
    let error = io::Error::from_raw_os_error(-errno);
    match text.map(|(_, text)| String::from_utf8_lossy(text).trim_end_matches('\0').to_owned()) {
        Some(text) if !text.is_empty() => io::Error::new(error.kind(), Said { error, text }),
        _ => error,
    }
}

/// What the kernel said to an errno.
#[derive(Debug)]
pub(crate) struct Said {
    error: io::Error,
    text: String,
}

impl std::error::Error for Said {}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.error, self.text)
    }
}

/// The errno of an error of this module, and the kernel's own words.
pub(crate) fn parts(error: &io::Error) -> (i32, Option<&str>) {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Said>()) {
        Some(said) => (said.error.raw_os_error().unwrap_or(libc::EIO), Some(&said.text)),
        None => (error.raw_os_error().unwrap_or(libc::EIO), None),
    }
}

/// The native number at an offset.
pub(crate) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Attributes: kind and value.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        // The two highest bits say how the value is to be read.
        Some((kind & 0x3fff, value))
    })
}

/// The part of a request behind its header.
pub(crate) struct Body(Vec<u8>);

impl Body {
    /// struct ifinfomsg: flags are set as far as `change` names them.
    pub(crate) fn link(index: u32, flags: u32, change: u32) -> Self {
        let mut bytes = vec![0; 4];
        for number in [index, flags, change] {
            bytes.extend(number.to_ne_bytes());
        }
        Self(bytes)
    }

    /// struct ifaddrmsg.
    pub(crate) fn address(family: u8, prefix: u8, scope: u8, index: u32) -> Self {
        let mut bytes = vec![family, prefix, 0, scope];
        bytes.extend(index.to_ne_bytes());
        Self(bytes)
    }

    /// With an attribute.
    pub(crate) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend((4 + value.len() as u16).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }
}

fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: setns(2) with a descriptor that outlives the call; only the calling thread moves.
    let result = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// NETLINK_EXT_ACK and NETLINK_CAP_ACK: errors come with words. Without them (before 4.12) there is the errno.
fn tell_reasons(socket: BorrowedFd<'_>) {
    for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK] {
        let on: libc::c_int = 1;
        let size = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: pointer and size are those of `on`, which outlives the call.
        let _ =
            unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_NETLINK, option, (&raw const on).cast(), size) };
    }
}
