//! `Create`: what a caller asks for.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

use crate::seccomp::Reporter;
use crate::spec::Spec;

/// Where the config comes from.
#[derive(Clone, Copy, Default)]
pub enum Config<'a> {
    /// `config.json` in the bundle.
    #[default]
    Bundle,
    /// Another file.
    File(&'a Path),
    /// A document the caller holds.
    Spec(&'a Spec),
}

/// What the container's descriptors 0, 1 and 2 are when `process.terminal` is not set.
#[derive(Clone, Copy, Default)]
pub enum Stdio<'a> {
    /// The caller's own 0, 1 and 2.
    #[default]
    Inherit,
    /// These three.
    Fds([BorrowedFd<'a>; 3]),
}

/// What becomes of the master side when `process.terminal` is set.
#[derive(Clone, Copy, Default)]
pub enum Console<'a> {
    /// No terminal expected; `process.terminal` is then an error.
    #[default]
    None,
    /// Sent to this AF_UNIX stream socket (runc's `--console-socket`).
    Socket(&'a Path),
    /// Kept for the caller: [`Container::take_console`](crate::Container::take_console). It does not turn line feeds
    /// into CR LF, as in runc: the caller's own terminal does.
    Keep,
}

/// A request to create a container.
#[derive(Clone, Default)]
pub struct Create<'a> {
    /// The container's id.
    pub id: &'a str,
    /// The bundle directory; relative paths of the config start here.
    pub bundle: Option<&'a Path>,
    /// The config.
    pub config: Config<'a>,
    /// Standard streams.
    pub stdio: Stdio<'a>,
    /// Terminal.
    pub console: Console<'a>,
    /// Size of the terminal where the config names none; asked only then.
    pub console_size: Option<AskSize<'a>>,
    /// Descriptors the program gets as 3, 4, …, in this order.
    pub preserve_fds: Vec<BorrowedFd<'a>>,
    /// How many of them are socket-activation descriptors (sd_listen_fds(3)): sets LISTEN_FDS and LISTEN_PID=1.
    pub listen_fds: u32,
    /// Written with the host pid once the container is ready.
    pub pid_file: Option<&'a Path>,
    /// AF_UNIX stream socket that is sent a pidfd of the first process.
    pub pidfd_socket: Option<&'a Path>,
    /// Takes the times of the launch.
    pub timeline: Option<&'a crate::Timeline>,
    /// Change root by moving the root mount instead of pivot_root(2): for a root on initramfs.
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// Show the program a socket on which it says that it is ready (sd_notify(3)); the caller hears it through
    /// [`Container::notify_socket`](crate::Container::notify_socket).
    pub notify: bool,
    /// Report what the seccomp profile denies.
    pub seccomp_report: Option<ReportTo>,
}

/// Tells rows and columns of a terminal, if there is one.
pub type AskSize<'a> = &'a (dyn Fn() -> Option<(u16, u16)> + Sync);

/// Gets the [`Reporter`] while the container is being made. It must have it serve on another thread, and return at
/// once: until somebody serves, every call that is denied waits.
pub type ReportTo = Arc<dyn Fn(Reporter) + Send + Sync>;
