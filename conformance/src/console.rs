//! The console socket's receiving end: one message with one descriptor, the pty's master.

use crate::test::{Failure, Outcome};
use nix::cmsg_space;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use std::fs::File;
use std::io::{IoSliceMut, Read};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub struct Console {
    listener: UnixListener,
}

impl Console {
    pub fn listen(path: &Path) -> Outcome<Self> {
        Ok(Self { listener: UnixListener::bind(path)? })
    }

    /// The payload and the master; fails after five seconds.
    pub fn receive(&self) -> Outcome<(String, File)> {
        readable(&self.listener, 5000)?;
        let (stream, _) = self.listener.accept()?;
        readable(&stream, 5000)?;
        let (text, mut owned) = message(&stream)?;
        if owned.len() != 1 {
            return Err(Failure::Fail(format!("the console message has {} descriptors, wanted 1", owned.len())));
        }
        Ok((text, File::from(owned.remove(0))))
    }
}

/// The next message of a socket, and the descriptors that come with it.
pub fn message(socket: &impl AsRawFd) -> Outcome<(String, Vec<OwnedFd>)> {
    let (mut bytes, mut space) = ([0_u8; 4096], cmsg_space!([std::os::fd::RawFd; 4]));
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags)
        .map_err(|errno| format!("no message comes: {errno}"))?;
    let mut descriptors = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(list) = control {
            // SAFETY: the kernel just made these descriptors for us, and nothing else knows them.
            descriptors.extend(list.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    let length = message.bytes;
    Ok((String::from_utf8_lossy(&bytes[..length]).into_owned(), descriptors))
}

fn readable(fd: &impl AsFd, milliseconds: u16) -> Outcome {
    let mut wait = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    match poll(&mut wait, PollTimeout::from(milliseconds))? {
        0 => Err(Failure::Fail(format!("nothing on the console socket for {milliseconds} ms"))),
        _ => Ok(()),
    }
}

/// Reads the terminal until the container's end closes (EIO) or `limit` is over.
pub fn read_all(master: &mut File, limit: Duration) -> String {
    let mut text = Vec::new();
    let (start, limit) = (Instant::now(), crate::machine::patient(limit));
    let mut buffer = [0u8; 4096];
    while start.elapsed() < limit && readable(master, 200).map_or(start.elapsed() < limit, |()| true) {
        let mut wait = [PollFd::new(master.as_fd(), PollFlags::POLLIN)];
        if !matches!(poll(&mut wait, PollTimeout::ZERO), Ok(n) if n > 0) {
            continue;
        }
        match master.read(&mut buffer) {
            Ok(n) if n > 0 => text.extend(&buffer[..n]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}
