//! Whoever listens on a socket whose path the caller has given: sent one message with one descriptor. He may be slow, or
//! never answer; nobody waits for him without end.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, sendmsg, socket,
};

/// How long he may take to accept, and again to take the message.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries to get into a full queue of connections.
const PAUSE: Duration = Duration::from_millis(5);

/// A connected socket.
pub(crate) struct Peer(OwnedFd);

impl Peer {
    /// Connects.
    pub(super) fn reach(path: &Path) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let stream = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        let address = UnixAddr::new(path)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match connect(stream.as_raw_fd(), &address) {
                Ok(()) => return Ok(Self(stream)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) if Instant::now() < deadline => std::thread::sleep(PAUSE),
                Err(Errno::EAGAIN) => return Err(too_slow()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Sends everything; the descriptor goes with the first bytes.
    pub(super) fn send(&self, mut bytes: &[u8], fd: BorrowedFd<'_>) -> io::Result<()> {
        let fds = [fd.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&fds)];
        let mut control: &[ControlMessage<'_>] = &rights;
        let deadline = Instant::now() + PATIENCE;
        while !bytes.is_empty() {
            match sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(bytes)], control, MsgFlags::MSG_NOSIGNAL, None) {
                Ok(sent) => {
                    bytes = bytes.get(sent..).unwrap_or_default();
                    control = &[];
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => self.wait(deadline)?,
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Until there is room again.
    fn wait(&self, deadline: Instant) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLOUT)], timeout) {
            Ok(0) => Err(too_slow()),
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

fn too_slow() -> io::Error {
    io::Error::from_raw_os_error(libc::ETIMEDOUT)
}
