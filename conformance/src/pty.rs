//! A pseudo terminal and a program on it, seen from the other side.

use crate::test::{Failure, Outcome};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::Winsize;
use nix::sys::termios::{LocalFlags, tcgetattr};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

nix::ioctl_write_ptr_bad!(set_size, nix::libc::TIOCSWINSZ, Winsize);

/// Tells the terminal its size; the kernel tells its foreground processes.
pub fn resize(master: &File, rows: u16, columns: u16) -> Outcome {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is open and the structure lives across the call.
    unsafe { set_size(master.as_raw_fd(), &raw const size) }?;
    Ok(())
}

/// The person's side of a terminal.
pub struct Pty {
    pub master: File,
    pub slave: OwnedFd,
    seen: String,
}

impl Pty {
    pub fn new(rows: u16, columns: u16) -> Outcome<Self> {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = nix::pty::openpty(&size, None)?;
        for fd in [&pair.master, &pair.slave] {
            nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
        }
        Ok(Self { master: File::from(pair.master), slave: pair.slave, seen: String::new() })
    }

    pub fn stream(&self) -> Outcome<std::process::Stdio> {
        Ok(self.slave.try_clone()?.into())
    }

    /// Types.
    pub fn send(&mut self, text: &str) -> Outcome {
        Ok(self.master.write_all(text.as_bytes())?)
    }

    /// Reads until `what` has been printed since the last call; what was printed up to and with it.
    pub fn expect(&mut self, what: &str) -> Outcome<String> {
        let start = Instant::now();
        let mut buffer = [0; 4096];
        loop {
            if let Some(at) = self.seen.find(what) {
                let rest = self.seen.split_off(at + what.len());
                return Ok(std::mem::replace(&mut self.seen, rest));
            }
            if start.elapsed() > crate::machine::patient(Duration::from_secs(10)) {
                return Err(Failure::Fail(format!("{what:?} was not printed for 10 s, but {:?}", self.seen)));
            }
            let mut wait = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            if poll(&mut wait, PollTimeout::from(100_u8))? == 0 {
                continue;
            }
            match self.master.read(&mut buffer) {
                Ok(count @ 1..) => self.seen.push_str(&String::from_utf8_lossy(&buffer[..count])),
                _ => return Err(Failure::Fail(format!("closed before {what:?} was printed, but {:?}", self.seen))),
            }
        }
    }

    /// Whether the terminal works in lines and echoes, as a shell leaves it.
    pub fn is_cooked(&self) -> Outcome<bool> {
        Ok(tcgetattr(&self.slave)?.local_flags.contains(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG))
    }
}
