//! The program's word that it is ready, passed on to the service manager (sd_notify(3), systemd's Type=notify).
//!
//! `NOTIFY_SOCKET` names the manager's socket. The program gets one of its own, and of what it says there, only that it
//! is ready is passed on, as runc does: a container is not trusted with the manager's other ears. Then the manager is
//! told which process to watch, and is waited for: it must know us while it works on the messages.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::unistd::pipe2;
use runtime_core::Container;

use crate::log::{Level, Logger};

/// How long the manager may take, in milliseconds; runc's.
const PATIENCE: u16 = 30_000;
/// Bytes read of one message.
const MOST: usize = 4096;

/// The service manager's socket, as `NOTIFY_SOCKET` has it: a path, or `@` and an abstract name.
pub struct Manager(String);

/// The one our environment names.
pub fn manager() -> Option<Manager> {
    std::env::var("NOTIFY_SOCKET").ok().filter(|name| !name.is_empty()).map(Manager)
}

/// Waits until the program is ready or has ended; the manager is then told to watch it.
pub fn wait(container: &Container, socket: Option<UnixDatagram>, manager: &Manager, log: &Logger) {
    let (Some(socket), Some(end), Some(pid)) = (socket, container.pidfd(), container.pid()) else { return };
    complain(pass_on(&socket, end, manager, pid.unsigned_abs()), log);
}

/// Does the same beside a `run` that stays: the manager is to watch this process, which ends as the container does.
pub fn spawn(container: &Container, manager: &Manager) -> Option<JoinHandle<io::Result<()>>> {
    let socket = container.notify_socket().ok().flatten()?;
    let end = container.pidfd()?.try_clone_to_owned().ok()?;
    let manager = Manager(manager.0.clone());
    Some(std::thread::spawn(move || pass_on(&socket, end, &manager, std::process::id())))
}

/// Waits for the end of [`spawn`], which comes at the latest with that of the program.
pub fn join(teller: JoinHandle<io::Result<()>>, log: &Logger) {
    complain(teller.join().unwrap_or(Ok(())), log);
}

/// The container runs, with or without a manager that knows.
fn complain(told: io::Result<()>, log: &Logger) {
    if let Err(error) = told {
        log.log(Level::Warning, &format!("the service manager (NOTIFY_SOCKET) was not told: {error}"));
    }
}

fn pass_on(socket: &UnixDatagram, end: impl AsFd, manager: &Manager, pid: u32) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let mut ended = false;
    loop {
        let mut buffer = [0; MOST];
        match socket.recv(&mut buffer) {
            Ok(length) => {
                if let Some(line) = ready(buffer.get(..length).unwrap_or_default()) {
                    return tell(manager, line, pid);
                }
            }
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            // What it said before it ended has been read.
            Err(_) if ended => return Ok(()),
            Err(_) => {
                let mut both = [socket.as_fd(), end.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
                match poll(&mut both, PollTimeout::NONE) {
                    Err(Errno::EINTR) | Ok(_) => {}
                    Err(errno) => return Err(errno.into()),
                }
                ended = both.iter().skip(1).any(|end| end.any().unwrap_or(true));
            }
        }
    }
}

/// The line of a message that says so.
fn ready(message: &[u8]) -> Option<&[u8]> {
    message.split(|byte| *byte == b'\n').find(|line| line.starts_with(b"READY="))
}

fn tell(manager: &Manager, ready: &[u8], pid: u32) -> io::Result<()> {
    let to = match manager.0.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&manager.0)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&to)?;
    let mut line = ready.to_vec();
    line.push(b'\n');
    socket.send(&line)?;
    socket.send(format!("MAINPID={pid}\n").as_bytes())?;
    barrier(&socket)
}

/// sd_notify_barrier(3): the manager closes the descriptor when it has come to this message.
fn barrier(socket: &UnixDatagram) -> io::Result<()> {
    let (read, write): (OwnedFd, OwnedFd) = pipe2(OFlag::O_CLOEXEC)?;
    let (text, fds) = ([IoSlice::new(b"BARRIER=1")], [write.as_raw_fd()]);
    sendmsg::<()>(socket.as_raw_fd(), &text, &[ControlMessage::ScmRights(&fds)], MsgFlags::empty(), None)?;
    drop(write);
    loop {
        return match poll(&mut [PollFd::new(read.as_fd(), PollFlags::empty())], PollTimeout::from(PATIENCE)) {
            Err(Errno::EINTR) => continue,
            Err(errno) => Err(errno.into()),
            Ok(0) => Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => Ok(()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::ready;

    #[test]
    fn only_the_line_that_says_so() {
        assert_eq!(ready(b"READY=1"), Some(&b"READY=1"[..]));
        assert_eq!(ready(b"STATUS=x\nREADY=1\nMAINPID=1"), Some(&b"READY=1"[..]));
        for other in [&b""[..], b"STATUS=READY=1", b"MAINPID=1\n", b"\n\n"] {
            assert_eq!(ready(other), None);
        }
    }
}
