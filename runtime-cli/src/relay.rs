//! Carries bytes between our standard streams and the master side of a container's terminal, one poll at a time.
//!
//! Nothing here may block: a signal for the container must get through whichever side stands still.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::tcgetattr;
use nix::unistd::{read, write};

use crate::sys;
use crate::terminal::Terminal;

/// Bytes carried at once. A pipe that polls writable takes at least this much without blocking (PIPE_BUF).
const CHUNK: usize = 4096;

/// How long a terminal must stay silent, once the container's first process is gone, for its output to count as
/// complete, in milliseconds. Only waited for when something else still holds the terminal open.
const SILENCE: u16 = 100;

/// Why [`Relay::step`] returned.
#[derive(Clone, Copy, Debug, Default)]
pub struct Woken {
    /// There is a signal to read.
    pub signal: bool,
    /// The container's first process has ended.
    pub ended: bool,
    /// Bytes were carried, or could be.
    pub moved: bool,
}

/// The relay; without a console it only waits.
pub struct Relay {
    console: Option<OwnedFd>,
    input_open: bool,
    input_is_terminal: bool,
    output_open: bool,
    to_container: Vec<u8>,
    to_caller: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq)]
enum Source {
    Signal,
    End,
    Input,
    Console,
    Output,
}

impl Relay {
    /// A relay for the master side of a terminal.
    pub fn new(console: Option<OwnedFd>) -> Result<Self, Errno> {
        if let Some(console) = &console {
            let flags = OFlag::from_bits_retain(fcntl(console, FcntlArg::F_GETFL)?);
            fcntl(console, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        }
        let open = console.is_some();
        Ok(Self {
            console,
            input_open: open,
            input_is_terminal: open && tcgetattr(sys::stream(0)).is_ok(),
            output_open: true,
            to_container: Vec::new(),
            to_caller: Vec::new(),
        })
    }

    /// Whether there is a terminal to relay.
    pub fn has_console(&self) -> bool {
        self.console.is_some()
    }

    /// Gives the container's terminal the size of the caller's.
    pub fn resize(&self, terminal: &Terminal) {
        if let (Some(console), Some(size)) = (&self.console, terminal.window_size()) {
            let _ = sys::set_window_size(console.as_fd(), &size);
        }
    }

    /// Waits for something to happen, and carries what there is to carry.
    pub fn step(
        &mut self,
        signals: BorrowedFd<'_>,
        end: Option<BorrowedFd<'_>>,
        timeout: PollTimeout,
    ) -> Result<Woken, Errno> {
        let (sources, ready) = match self.wait(signals, end, timeout) {
            Err(Errno::EINTR) => return Ok(Woken::default()),
            answer => answer?,
        };
        let ready = |source| sources.iter().zip(&ready).any(|(known, ready)| *known == source && !ready.is_empty());
        let moves = [Source::Input, Source::Console, Source::Output].map(ready);
        let woken = Woken { signal: ready(Source::Signal), ended: ready(Source::End), moved: moves.contains(&true) };
        let [input, console, output] = moves;
        if input {
            self.read_input();
        }
        if console {
            self.write_console();
            self.read_console();
        }
        if output {
            self.write_output();
        }
        Ok(woken)
    }

    fn wait(
        &self,
        signals: BorrowedFd<'_>,
        end: Option<BorrowedFd<'_>>,
        timeout: PollTimeout,
    ) -> Result<(Vec<Source>, Vec<PollFlags>), Errno> {
        let mut sources = vec![Source::Signal];
        let mut fds = vec![PollFd::new(signals, PollFlags::POLLIN)];
        let mut watch = |source, fd, flags| {
            sources.push(source);
            fds.push(PollFd::new(fd, flags));
        };
        if let Some(end) = end {
            watch(Source::End, end, PollFlags::POLLIN);
        }
        if self.input_open && self.to_container.is_empty() {
            watch(Source::Input, sys::stream(0), PollFlags::POLLIN);
        }
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::POLLIN, self.to_caller.is_empty());
        flags.set(PollFlags::POLLOUT, !self.to_container.is_empty());
        // Not polled for nothing: a hang-up is always reported, and would turn the wait into a busy loop.
        if let Some(console) = self.console.as_ref().filter(|_| !flags.is_empty()) {
            watch(Source::Console, console.as_fd(), flags);
        }
        if !self.to_caller.is_empty() {
            watch(Source::Output, sys::stream(1), PollFlags::POLLOUT);
        }
        poll(&mut fds, timeout)?;
        let ready = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::POLLERR)).collect();
        Ok((sources, ready))
    }

    fn read_input(&mut self) {
        let mut buffer = [0; CHUNK];
        match read(sys::stream(0), &mut buffer) {
            Ok(count) if count > 0 => self.to_container.extend(buffer.iter().take(count)),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // A raw terminal ends only when it is gone: then so is the container's.
            Ok(_) | Err(_) if self.input_is_terminal => {
                self.console = None;
                self.finish();
            }
            Ok(_) | Err(_) => self.input_open = false,
        }
    }

    fn write_console(&mut self) {
        let Some(console) = self.console.as_ref().filter(|_| !self.to_container.is_empty()) else { return };
        match write(console, &self.to_container) {
            Ok(count) => drop(self.to_container.drain(..count.min(self.to_container.len()))),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // The other side is closed. What it wrote before is still to be read, and reading finds the end.
            Err(_) => self.finish(),
        }
    }

    fn read_console(&mut self) {
        let Some(console) = self.console.as_ref().filter(|_| self.to_caller.is_empty()) else { return };
        let mut buffer = [0; CHUNK];
        match read(console, &mut buffer) {
            // A caller that does not listen any more must not hold up the container.
            Ok(count) if count > 0 && !self.output_open => {}
            Ok(count) if count > 0 => self.to_caller.extend(buffer.iter().take(count)),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // EIO: nobody has the other side open.
            Ok(_) | Err(_) => {
                self.console = None;
                self.finish();
            }
        }
    }

    fn write_output(&mut self) {
        match write(sys::stream(1), &self.to_caller) {
            Ok(count) => drop(self.to_caller.drain(..count.min(self.to_caller.len()))),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => {
                self.output_open = false;
                self.to_caller.clear();
            }
        }
    }

    /// Takes no more input: the container's first process has ended.
    pub fn finish(&mut self) {
        self.input_open = false;
        self.to_container.clear();
    }

    /// After [`finish`](Self::finish): how long to wait for more output; `None` if there can be none.
    pub fn patience(&self) -> Option<PollTimeout> {
        match (&self.console, self.to_caller.is_empty()) {
            (_, false) => Some(PollTimeout::NONE),
            (Some(_), true) => Some(PollTimeout::from(SILENCE)),
            (None, true) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::SigSet;
    use nix::sys::signalfd::{SfdFlags, SignalFd};
    use std::io::Write;
    use std::process::{Command, Stdio};

    /// Relays a shell on a terminal to the standard streams; only useful when `carries_both_ways` starts it.
    #[test]
    #[ignore = "the other half of carries_both_ways, which runs it in a process with streams of its own"]
    fn relay_of_a_shell() {
        let pair = nix::pty::openpty(None, None).unwrap();
        let side = || Stdio::from(pair.slave.try_clone().unwrap());
        let script = "read line; echo \"<got $line>\"; seq -f '<%g>' 20000";
        let spawn = |mut shell: Command| shell.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        // Consumed, for `Command` holds the terminal open as long as it lives.
        let mut shell = spawn(command);
        drop(pair.slave);
        let signals = SignalFd::with_flags(&SigSet::empty(), SfdFlags::SFD_CLOEXEC).unwrap();
        // As the library hands it out.
        let mut mode = tcgetattr(&pair.master).unwrap();
        mode.output_flags -= nix::sys::termios::OutputFlags::ONLCR;
        nix::sys::termios::tcsetattr(&pair.master, nix::sys::termios::SetArg::TCSANOW, &mode).unwrap();
        let mut relay = Relay::new(Some(pair.master)).unwrap();
        // Only the shell holds the terminal: its end ends the loop.
        while relay.patience().is_some() {
            relay.step(signals.as_fd(), None, PollTimeout::from(5000_u16)).unwrap();
        }
        assert!(shell.wait().unwrap().success());
    }

    fn relayed(consume: impl FnOnce(std::process::Child) -> Vec<u8>) -> Vec<u8> {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let test = "relay::tests::relay_of_a_shell";
        let child = child.args([test, "--exact", "--ignored", "--nocapture"]).stdin(Stdio::piped());
        let mut child = child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
        consume(child)
    }

    #[test]
    fn carries_both_ways_and_all_of_it() {
        let output = relayed(|child| child.wait_with_output().unwrap().stdout);
        let output = String::from_utf8(output).unwrap();
        assert!(output.contains("<got hello>\n"), "no answer in {output:.200}");
        assert!(!output.contains("\r\n"), "the terminal's line ends are still on");
        let numbers = output.lines().filter(|line| line.starts_with('<') && *line != "<got hello>");
        assert!(numbers.eq((1..=20000).map(|number| format!("<{number}>"))), "lines are missing or out of order");
    }

    #[test]
    fn a_reader_that_leaves_does_not_hold_it_up() {
        relayed(|mut child| {
            drop(child.stdout.take());
            // libtest itself fails to print its summary; what counts is that the process ends.
            child.wait().unwrap();
            Vec::new()
        });
    }
}
