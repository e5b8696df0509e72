//! What `create` and `run` have in common: the request to the library, made from flags and the environment.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use clap::ArgMatches;
use runtime_core::{Config, Console, Create};

use crate::notify::{self, Manager};
use crate::timeline::Record;
use crate::{flag, os, path, print, sys, text};

/// Descriptors from here on are passed to the program (sd_listen_fds(3), runc's `--preserve-fds`).
const FIRST_FD: u32 = 3;

/// A request, with everything it borrows.
pub struct Launch {
    id: String,
    bundle: PathBuf,
    config: Option<PathBuf>,
    console_socket: Option<PathBuf>,
    pidfd_socket: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    timeline: Record,
    no_pivot: bool,
    no_new_keyring: bool,
    listen_fds: u32,
    preserve_fds: Vec<BorrowedFd<'static>>,
    manager: Option<Manager>,
}

impl Launch {
    /// Reads the flags of `create` or `run`.
    pub fn new(matches: &ArgMatches) -> Result<Self, String> {
        let listen_fds = listen_fds()?;
        let folder = bundle(matches)?;
        let preserve = *matches.try_get_one::<u32>("preserve-fds").ok().flatten().unwrap_or(&0);
        Ok(Self {
            id: text(matches, "container-id"),
            config: os(matches, "config").filter(|path| !path.is_empty()).map(|file| folder.join(file)),
            bundle: folder,
            console_socket: path(matches, "console-socket")?,
            pidfd_socket: path(matches, "pidfd-socket")?,
            pid_file: path(matches, "pid-file")?,
            timeline: Record::new(matches)?,
            no_pivot: flag(matches, "no-pivot"),
            no_new_keyring: flag(matches, "no-new-keyring"),
            listen_fds,
            preserve_fds: descriptors(listen_fds, preserve)?,
            manager: notify::manager(),
        })
    }

    /// Who wants to hear that the program is ready.
    pub fn manager(&self) -> Option<&Manager> {
        self.manager.as_ref()
    }

    /// Whether the terminal is to be sent elsewhere.
    pub fn has_console_socket(&self) -> bool {
        self.console_socket.is_some()
    }

    /// The request of a caller that will not stay: a terminal needs a socket to be sent to.
    pub fn detached(&self) -> Create<'_> {
        let console = self.console_socket.as_deref().map_or(Console::None, Console::Socket);
        self.request(console)
    }

    /// The request of a caller that relays the terminal.
    pub fn attached(&self) -> Create<'_> {
        self.request(Console::Keep)
    }

    fn request<'a>(&'a self, console: Console<'a>) -> Create<'a> {
        Create {
            id: &self.id,
            bundle: Some(&self.bundle),
            config: self.config.as_deref().map_or(Config::Bundle, Config::File),
            console,
            preserve_fds: self.preserve_fds.clone(),
            listen_fds: self.listen_fds,
            pid_file: self.pid_file.as_deref(),
            pidfd_socket: self.pidfd_socket.as_deref(),
            timeline: self.timeline.timeline(),
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            notify: self.manager.is_some(),
            ..Create::default()
        }
    }
}

/// The bundle as an absolute path; without `..`, as it is stored and shown.
pub fn bundle(matches: &ArgMatches) -> Result<PathBuf, String> {
    let bundle = match path(matches, "bundle")? {
        Some(given) => given,
        None => std::env::current_dir().map_err(|error| format!("current directory: {}", print::cause(&error)))?,
    };
    if bundle.components().any(|part| part == std::path::Component::ParentDir) {
        return bundle.canonicalize().map_err(|error| {
            let cause = print::cause(&error);
            format!("bundle {}: {cause}", bundle.display())
        });
    }
    Ok(bundle)
}

/// How many descriptors systemd passes to this very process: LISTEN_PID names it. Anything but plain digits is an
/// error, as in sd_listen_fds(3): a guess would hand the program descriptors that were not meant for it.
fn listen_fds() -> Result<u32, String> {
    let Some(pid) = number("LISTEN_PID")? else { return Ok(0) };
    if pid != std::process::id() {
        return Ok(0);
    }
    Ok(number("LISTEN_FDS")?.unwrap_or(0))
}

fn number(name: &str) -> Result<Option<u32>, String> {
    let Some(value) = std::env::var_os(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    let digits = value.to_str().filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse().ok());
    number.map(Some).ok_or_else(|| format!("environment variable {name}={value:?} is not a number"))
}

/// The descriptors to pass on: those of socket activation, then those of `--preserve-fds`, without a gap.
pub fn descriptors(listen: u32, preserve: u32) -> Result<Vec<BorrowedFd<'static>>, String> {
    let mut out = Vec::new();
    for (what, first, count) in [("listen", FIRST_FD, listen), ("preserved", FIRST_FD.saturating_add(listen), preserve)]
    {
        for at in 0..count {
            let number = first.saturating_add(at);
            let fd = i32::try_from(number).map_err(|_| nix::errno::Errno::EBADF).and_then(sys::inherited);
            let fd = fd.map_err(|errno| {
                let cause = runtime_core::describe(errno as i32);
                format!("unable to stat {what}-fd {at} (of {count}): fcntl({number}, F_GETFD): {cause}")
            })?;
            out.push(fd);
        }
    }
    Ok(out)
}
