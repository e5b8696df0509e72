//! Messages from and to the stage: packets of 16 bytes, at most one descriptor with each.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};
use runtime_stage::io::message;

/// One packet.
pub(crate) struct Message {
    pub(crate) kind: u32,
    pub(crate) payload: u64,
    pub(crate) fd: Option<OwnedFd>,
}

/// Our end of the socket.
pub(crate) struct Channel(OwnedFd);

impl Channel {
    /// A pair: our end, and the stage's.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self(ours), theirs))
    }

    /// The number of our end.
    pub(crate) fn number(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Waits for a packet. `None`: the stage is gone, or has become the program.
    pub(crate) fn receive(&self) -> io::Result<Option<Message>> {
        let mut bytes = [0; message::LENGTH];
        let mut control = nix::cmsg_space!(RawFd);
        let (length, fd) = loop {
            let mut vector = [IoSliceMut::new(&mut bytes)];
            match recvmsg::<()>(self.0.as_raw_fd(), &mut vector, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC) {
                Ok(received) => break (received.bytes, received.cmsgs()?.find_map(descriptor)),
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::ECONNRESET) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
        };
        if length == 0 {
            return Ok(None);
        }
        if length != message::LENGTH {
            return Err(io::Error::from_raw_os_error(libc::EPROTO));
        }
        let [a, b, c, d, _, _, _, _, payload @ ..] = bytes;
        Ok(Some(Message { kind: u32::from_le_bytes([a, b, c, d]), payload: u64::from_le_bytes(payload), fd }))
    }

    /// Lets the stage go on, with a descriptor if it asked for one.
    pub(crate) fn go(&self, fd: Option<RawFd>) -> io::Result<()> {
        let mut bytes = [0; message::LENGTH];
        bytes[..4].copy_from_slice(&message::GO.to_le_bytes());
        let fds: Vec<RawFd> = fd.into_iter().collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        let control: &[ControlMessage<'_>] = if fds.is_empty() { &[] } else { &rights };
        sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(&bytes)], control, MsgFlags::MSG_NOSIGNAL, None)?;
        Ok(())
    }
}

fn descriptor(control: ControlMessageOwned) -> Option<OwnedFd> {
    match control {
        ControlMessageOwned::ScmRights(fds) => fds.first().map(|fd| crate::sys::fd::received(*fd)),
        _ => None,
    }
}
