//! One connection to a message bus: authentication, calls with a deadline, and the one signal that ends a job.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::wire::{CALL, ERROR, Message, RETURN, SIGNAL, Value};
use crate::{Error, ErrorKind, Result};

/// How long the bus has for an answer, and a job to end (as in runc).
const PATIENCE: Duration = Duration::from_secs(30);

/// An open connection.
#[derive(Debug)]
pub struct Bus {
    stream: UnixStream,
    serial: u32,
    /// Signals that came between calls.
    signals: Vec<Message>,
    deadline: Instant,
}

/// The answer to a call: its arguments, or the name and text of an error.
pub type Answer = std::result::Result<Vec<Value>, (String, String)>;

fn failed(what: &str, call: &str, error: &std::io::Error) -> Error {
    let error = Error::system(what, call, error.raw_os_error().unwrap_or(libc::ETIMEDOUT));
    error.with_hint("is systemd running, and its bus reachable? without --systemd-cgroup it is not needed")
}

fn garbled() -> Error {
    Error::new(ErrorKind::System, "the message bus sent something that is no message")
}

impl Bus {
    /// Connects to the first address of a list (dbus-specification, "Server Addresses") that answers.
    pub fn connect(addresses: &str) -> Result<Self> {
        let mut last = None;
        for address in addresses.split(';').filter(|address| !address.is_empty()) {
            match Self::open(address) {
                Ok(bus) => return Ok(bus),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::new(ErrorKind::Unsupported, "no address of a message bus")))
    }

    fn open(address: &str) -> Result<Self> {
        let call = format!("connect({address:?})");
        let fail = |error: &std::io::Error| failed("cannot reach the message bus", &call, error);
        let socket = parse(address).ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, format!("{address:?} is not the address of a local message bus"))
        })?;
        let stream = reach(&socket, PATIENCE).map_err(|e| fail(&e))?;
        let mut bus = Self { stream, serial: 0, signals: Vec::new(), deadline: Instant::now() + PATIENCE };
        bus.authenticate().map_err(|e| fail(&e))?;
        bus.call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello", vec![])?
            .map_err(|(name, text)| Error::new(ErrorKind::System, format!("the message bus says {name}: {text}")))?;
        Ok(bus)
    }

    /// EXTERNAL without a name: the bus asks the kernel who we are, which is right also in a user namespace, where our
    /// own idea of our uid is another.
    fn authenticate(&mut self) -> std::io::Result<()> {
        self.limit()?;
        self.stream.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        let mut line = Vec::new();
        let mut byte = [0];
        loop {
            if self.stream.read(&mut byte)? == 0 || line.len() > 4096 {
                return Err(std::io::Error::from_raw_os_error(libc::ECONNRESET));
            }
            if byte[0] != b'\n' {
                line.push(byte[0]);
                continue;
            }
            if line.starts_with(b"OK ") {
                return Ok(());
            }
            if !line.starts_with(b"DATA") {
                return Err(std::io::Error::from_raw_os_error(libc::EACCES));
            }
            line.clear();
        }
    }

    /// Gives the next steps their time.
    pub fn begin(&mut self) {
        self.deadline = Instant::now() + PATIENCE;
    }

    fn limit(&mut self) -> std::io::Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(std::io::Error::from_raw_os_error(libc::ETIMEDOUT));
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.set_write_timeout(Some(left))
    }

    /// Calls a method and waits for the answer.
    pub fn call(
        &mut self,
        destination: &str,
        path: &str,
        interface: &str,
        member: &str,
        body: Vec<Value>,
    ) -> Result<Answer> {
        self.serial = self.serial.wrapping_add(1).max(1);
        let message = Message {
            kind: CALL,
            serial: self.serial,
            path: path.into(),
            interface: interface.into(),
            member: member.into(),
            destination: destination.into(),
            body,
            ..Message::default()
        };
        let what = format!("cannot call {interface}.{member}");
        self.limit()
            .and_then(|()| self.stream.write_all(&message.encode()))
            .map_err(|e| failed(&what, "send(bus)", &e))?;
        loop {
            let message = self.receive(&what)?;
            match message.kind {
                RETURN if message.reply_to == self.serial => return Ok(Ok(message.body)),
                ERROR if message.reply_to == self.serial => {
                    let text = message.body.first().and_then(Value::as_text).unwrap_or_default().to_owned();
                    return Ok(Err((message.error, text)));
                }
                SIGNAL => self.signals.push(message),
                _ => {}
            }
        }
    }

    /// The next signal called `member` for which `wanted` has an answer.
    pub fn signal<T>(&mut self, member: &str, wanted: impl Fn(&Message) -> Option<T>) -> Result<T> {
        let found = |message: &Message| if message.member == member { wanted(message) } else { None };
        if let Some(answer) = self.signals.iter().find_map(found) {
            return Ok(answer);
        }
        self.signals.clear();
        loop {
            let message = self.receive(&format!("cannot wait for {member}"))?;
            if message.kind == SIGNAL
                && let Some(answer) = found(&message)
            {
                return Ok(answer);
            }
        }
    }

    fn receive(&mut self, what: &str) -> Result<Message> {
        let mut head = [0; 16];
        self.fill(&mut head, what)?;
        let length = Message::length(&head).ok_or_else(garbled)?;
        let mut bytes = vec![0; length];
        let (first, rest) = bytes.split_at_mut_checked(head.len()).ok_or_else(garbled)?;
        first.copy_from_slice(&head);
        self.fill(rest, what)?;
        Message::decode(&bytes).ok_or_else(garbled)
    }

    fn fill(&mut self, mut buffer: &mut [u8], what: &str) -> Result<()> {
        while !buffer.is_empty() {
            match self.limit().and_then(|()| self.stream.read(buffer)) {
                Ok(0) => {
                    let error = std::io::Error::from_raw_os_error(libc::ECONNRESET);
                    return Err(failed(what, "recv(bus)", &error));
                }
                Ok(count) => buffer = buffer.get_mut(count..).unwrap_or_default(),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    let error = std::io::Error::from_raw_os_error(libc::ETIMEDOUT);
                    return Err(failed(what, "recv(bus)", &error));
                }
                Err(error) => return Err(failed(what, "recv(bus)", &error)),
            }
        }
        Ok(())
    }
}

/// `unix:path=…` or `unix:abstract=…`, with what else an address says left aside.
fn parse(address: &str) -> Option<UnixAddr> {
    let settings = address.strip_prefix("unix:")?;
    settings.split(',').find_map(|setting| match setting.split_once('=')? {
        ("path", path) => UnixAddr::new(std::ffi::OsStr::from_bytes(&unescape(path)?)).ok(),
        ("abstract", name) => UnixAddr::new_abstract(&unescape(name)?).ok(),
        _ => None,
    })
}

/// Connects. A bus that takes no more connections, because it is stopped or drowns, is not waited for
/// without end.
fn reach(address: &UnixAddr, patience: Duration) -> std::io::Result<UnixStream> {
    let stream = socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&stream, sockopt::SendTimeout, &TimeVal::milliseconds(patience.as_millis() as i64))?;
    match socket::connect(stream.as_raw_fd(), address) {
        // connect(2) on a full queue that stays full.
        Err(nix::Error::EAGAIN) => Err(std::io::Error::from_raw_os_error(libc::ETIMEDOUT)),
        result => Ok(result.map(|()| stream.into())?),
    }
}

/// `%20` and the like.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digits = [bytes.next()?, bytes.next()?];
        out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bus_that_takes_nobody_is_given_up() {
        let name = format!("runtime-bus-{}", std::process::id());
        let address = UnixAddr::new_abstract(name.as_bytes()).expect("a name");
        let deaf = socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("socket");
        socket::bind(deaf.as_raw_fd(), &address).expect("bind");
        socket::listen(&deaf, socket::Backlog::new(1).expect("backlog")).expect("listen");
        let waiting: Vec<_> = (0..8).map(|_| reach(&address, Duration::from_millis(20))).collect();
        let error = waiting.iter().find_map(|reached| reached.as_ref().err()).expect("the queue is full");
        assert_eq!(error.raw_os_error(), Some(libc::ETIMEDOUT));
    }

    #[test]
    fn addresses() {
        let path = |address: &str| parse(address).and_then(|s| s.path().map(|p| p.display().to_string()));
        assert_eq!(path("unix:path=/run/a%20b,guid=7").as_deref(), Some("/run/a b"));
        assert_eq!(path("unix:guid=7,path=/x").as_deref(), Some("/x"));
        assert!(parse("unix:abstract=/tmp/x").is_some_and(|s| s.as_abstract() == Some(b"/tmp/x")));
        for address in ["tcp:host=x", "unix:dir=/x", "unix:path=%zz", ""] {
            assert!(parse(address).is_none(), "{address}");
        }
        assert!(Bus::connect("unix:path=/no/such/bus").is_err());
    }
}
