//! `run` in the foreground: start, pass signals and the terminal on, wait, clean up.
//!
//! Without a terminal the program has our own standard streams. runc puts pipes in between; as we stay until the
//! program ends, inheriting shows the program and the caller the same, without copying.

use runtime_core::Runtime;

use crate::attend::{attend, block_signals, failed};
use crate::launch::Launch;
use crate::log::{Level, Logger};
use crate::terminal;

/// What to do besides waiting.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Do not delete the container.
    pub keep: bool,
    /// Adopt and reap what the container orphans.
    pub subreaper: bool,
}

/// Runs a container and returns its exit status, 128 plus the signal if one killed it.
pub fn foreground(runtime: &Runtime, launch: &Launch, manner: Manner, log: &Logger) -> Result<i32, String> {
    if launch.has_console_socket() {
        return Err("cannot use console socket if runc will not detach or allocate tty".to_owned());
    }
    if manner.subreaper {
        nix::sys::prctl::set_child_subreaper(true).map_err(|errno| failed("prctl(PR_SET_CHILD_SUBREAPER)", errno))?;
    }
    // Blocked before there is a container, so that no signal can kill us and leave it behind; the launch gives the
    // program an empty mask.
    let signals = block_signals().map_err(|errno| failed("signalfd4", errno))?;
    let mut request = launch.attached();
    request.console_size = terminal::size();
    let container = runtime.run(&request).map_err(|error| error.to_string())?;
    let status = attend(&container, &signals);
    if !manner.keep
        && let Err(error) = container.delete(status.is_err())
    {
        log.log(Level::Warning, &format!("{error}; what is left goes with delete --force {}", request.id));
    }
    status
}
