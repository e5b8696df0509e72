//! The caller's own terminal: its size, and raw mode for as long as a container's terminal is relayed to it.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::termios::{OutputFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use crate::sys;

/// Rows and columns of the terminal behind the standard streams, if there is one.
pub fn size() -> Option<(u16, u16)> {
    let size = (0..=2).find_map(|number| sys::window_size(sys::stream(number)).ok())?;
    (size.ws_row != 0 && size.ws_col != 0).then_some((size.ws_row, size.ws_col))
}

/// A terminal in raw mode; dropping it restores what was before.
pub struct Terminal {
    place: Place,
    before: Termios,
}

enum Place {
    Stream(u8),
    Opened(File),
}

impl Place {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Stream(number) => sys::stream(*number),
            Self::Opened(file) => file.as_fd(),
        }
    }
}

impl Terminal {
    /// Puts the terminal into raw mode: that of a standard stream, or the controlling one if all are redirected.
    /// `None` if there is no terminal at all; the relay does without.
    pub fn raw() -> Option<Self> {
        let standard = [0, 1, 2].map(Place::Stream).into_iter();
        let controlling = std::iter::once_with(|| File::open("/dev/tty").ok().map(Place::Opened)).flatten();
        let (place, before) = standard.chain(controlling).find_map(|place| {
            let mode = tcgetattr(place.fd()).ok()?;
            Some((place, mode))
        })?;
        let mut mode = before.clone();
        cfmakeraw(&mut mode);
        // Line ends are made here, not in the container (see `Relay::new`), as in runc: output that goes to a file
        // or a pipe then has none of the terminal's.
        mode.output_flags |= OutputFlags::OPOST;
        tcsetattr(place.fd(), SetArg::TCSANOW, &mode).ok()?;
        Some(Self { place, before })
    }

    /// The size now.
    pub fn window_size(&self) -> Option<libc::winsize> {
        sys::window_size(self.place.fd()).ok()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // TCSADRAIN could wait for ever for a terminal that is held by flow control.
        let _ = tcsetattr(self.place.fd(), SetArg::TCSANOW, &self.before);
    }
}
