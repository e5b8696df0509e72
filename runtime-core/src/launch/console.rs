//! Where descriptors of the process go: the terminal's master to a socket (`--console-socket`) or back to the caller,
//! a pidfd to a socket (`--pidfd-socket`).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sys::termios::{OutputFlags, SetArg, tcgetattr, tcsetattr};

use super::peer::Peer;
use crate::{Error, Result};

/// The receiver of the master.
pub(crate) enum Master<'a> {
    /// A connected socket and its path.
    Socket(Peer, &'a Path),
    /// The caller; what he gets.
    Keep(Option<OwnedFd>),
}

/// Line feeds stay line feeds: the caller's own terminal adds what it needs, and a file or a pipe needs nothing.
fn plain_line_ends(master: &OwnedFd) -> nix::Result<()> {
    let mut mode = tcgetattr(master)?;
    mode.output_flags -= OutputFlags::ONLCR;
    tcsetattr(master, SetArg::TCSANOW, &mode)
}

impl<'a> Master<'a> {
    /// Connects, before anything is made.
    pub(crate) fn socket(path: &'a Path) -> Result<Self> {
        let peer = Peer::reach(path)
            .map_err(|e| Error::io("cannot reach the console socket", format!("connect({path:?})"), e))?;
        Ok(Self::Socket(peer, path))
    }

    /// Passes the master on: one message with the name of the terminal, and the descriptor.
    pub(super) fn take(&mut self, master: OwnedFd, number: u64) -> Result<()> {
        match self {
            Self::Keep(kept) => {
                // Before the program begins: a shell keeps the mode it finds.
                plain_line_ends(&master).map_err(|e| Error::io("cannot set up the terminal", "ioctl(TCSETS)", e))?;
                *kept = Some(master);
            }
            Self::Socket(peer, path) => {
                peer.send(format!("/dev/pts/{number}").as_bytes(), master.as_fd())
                    .map_err(|e| Error::io("cannot send the terminal", format!("sendmsg({path:?})"), e))?;
            }
        }
        Ok(())
    }

    /// What the caller gets.
    pub(super) fn kept(self) -> Option<OwnedFd> {
        match self {
            Self::Keep(kept) => kept,
            Self::Socket(..) => None,
        }
    }
}

/// The socket that is sent a pidfd.
pub(crate) struct PidReceiver<'a>(Peer, &'a Path);

impl<'a> PidReceiver<'a> {
    /// Connects, before anything is made.
    pub(crate) fn connect(path: &'a Path) -> Result<Self> {
        let peer = Peer::reach(path)
            .map_err(|e| Error::io("cannot reach the pidfd socket", format!("connect({path:?})"), e))?;
        Ok(Self(peer, path))
    }

    pub(super) fn take(&self, pidfd: BorrowedFd<'_>, name: &str) -> Result<()> {
        let explain = |e| Error::io("cannot send the pidfd", format!("sendmsg({:?})", self.1), e);
        self.0.send(name.as_bytes(), pidfd).map_err(explain)
    }
}
