//! kill and wait.

use std::borrow::Cow;
use std::os::fd::AsFd;
use std::time::Duration;

use crate::cgroup::Cgroup;
use crate::state::{Init, Record};
use crate::sys::pidfd;
use crate::{Container, Error, ErrorKind, ExitStatus, Result, Signal};

/// The number of a signal given as a number or by name, in any case, with or without `SIG`: `15`, `TERM`,
/// `sigterm`, `RTMIN+3`. A number is taken as it is; the kernel judges it.
pub fn parse_signal(text: &str) -> Option<Signal> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return real_time(libc::SIGRTMIN(), rest);
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return real_time(libc::SIGRTMAX(), rest);
    }
    match name {
        "CLD" => Some(libc::SIGCHLD),
        "IOT" => Some(libc::SIGIOT),
        "POLL" => Some(libc::SIGPOLL),
        _ => format!("SIG{name}").parse::<nix::sys::signal::Signal>().ok().map(|signal| signal as Signal),
    }
}

/// `RTMIN`, `RTMIN+n`, `RTMAX`, `RTMAX-n`, with n in decimal.
fn real_time(base: Signal, rest: &str) -> Option<Signal> {
    let sign = if base == libc::SIGRTMIN() { '+' } else { '-' };
    let distance: Signal = match rest.strip_prefix(sign) {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
        None if rest.is_empty() => 0,
        _ => return None,
    };
    let signal = if sign == '+' { base.checked_add(distance)? } else { base.checked_sub(distance)? };
    (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&signal).then_some(signal)
}

/// How long SIGKILL to a whole cgroup waits for its end, so that who looks next finds nobody. Zombies nobody collects
/// are not worth more.
const DEATH: Duration = Duration::from_millis(100);

/// The error for a container without a living first process; engines match the text.
fn not_running() -> Error {
    Error::new(ErrorKind::WrongState, "container not running")
}

/// Sends `signal` to the first process.
///
/// SIGKILL takes everyone: the kernel kills a pid namespace with its first process, and where the container
/// has none of its own, its cgroup is killed, also when the first process is already gone.
pub(crate) fn kill(container: &Container, signal: Signal) -> Result<()> {
    let mut record = Cow::Borrowed(&container.record);
    if record.init_process_pid == 0 {
        // The handle is from before the process: create may have gone on.
        record = Cow::Owned(container.root.read(&container.record.id)?);
    }
    let boot_id = container.root.boot_id()?;
    let init = record.init(&container.root)?;
    let mut reached = false;
    if signal == libc::SIGKILL && !record.own_pid_namespace {
        reached = kill_cgroup(&record, boot_id, DEATH)?;
    }
    match init {
        Init::Alive(pidfd) => reached |= send(pidfd.as_fd(), signal)?,
        Init::Zombie(_) | Init::Gone => {}
    }
    if !reached {
        return Err(not_running());
    }
    if signal == libc::SIGKILL {
        thaw(&record);
    }
    Ok(())
}

/// False: the process has just gone.
pub(super) fn send(pidfd: std::os::fd::BorrowedFd<'_>, signal: Signal) -> Result<bool> {
    match pidfd::send_signal(pidfd, signal) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
        Err(error) => {
            let call = format!("pidfd_send_signal({signal})");
            Err(Error::io("signal the container's first process", call, error))
        }
    }
}

/// Kills every process in the container's cgroup, and waits a little for them to be gone. False: there was none.
pub(super) fn kill_cgroup(record: &Record, boot_id: &str, patience: Duration) -> Result<bool> {
    let Some(placement) = record.own_cgroup(boot_id) else { return Ok(false) };
    let cgroup = Cgroup::open(placement)?;
    if cgroup.pids()?.is_empty() {
        return Ok(false);
    }
    cgroup.kill_all()?;
    cgroup.wait_empty(patience)?;
    Ok(true)
}

/// Lets a frozen cgroup run: on cgroup v1 its processes only die then. One that cannot be thawed shows in the
/// wait that follows, or in the next state.
pub(super) fn thaw(record: &Record) {
    if let Some(placement) = &record.cgroup
        && let Ok(cgroup) = Cgroup::open(placement)
        && cgroup.is_frozen().unwrap_or(false)
    {
        let _ = cgroup.thaw(Duration::from_secs(1));
    }
}

/// As [`thaw`], for a first process that is frozen in a cgroup of somebody else's.
pub(super) fn take_back(record: &Record) {
    if let Some(placement) = &record.cgroup
        && let Ok(cgroup) = Cgroup::open(placement)
    {
        cgroup.take_back(record.init_process_pid);
    }
}

/// Waits for the first process, a child of the caller, and reaps it.
pub(crate) fn wait(container: &Container) -> Result<ExitStatus> {
    let pidfd = container.pidfd().ok_or_else(not_running)?;
    let reaped = pidfd::reap(pidfd).inspect(|_| container.has_ended());
    reaped.map_err(|error| {
        let error = Error::io("wait for the container", "waitid(P_PIDFD)", error);
        if error.errno() == Some(libc::ECHILD) {
            return error.with_hint("only the process that created the container can wait for it, once");
        }
        error
    })
}

#[cfg(test)]
mod tests {
    use super::parse_signal;

    #[test]
    fn signals_by_number_and_name() {
        for text in ["TERM", "SIGTERM", "sigterm", "Term", "15"] {
            assert_eq!(parse_signal(text), Some(15), "{text}");
        }
        assert_eq!(parse_signal("0"), Some(0));
        assert_eq!(parse_signal("CLD"), parse_signal("SIGCHLD"));
        assert_eq!(parse_signal("winch"), Some(libc::SIGWINCH));
        assert_eq!(parse_signal("RTMIN"), Some(libc::SIGRTMIN()));
        assert_eq!(parse_signal("SIGRTMIN+3"), Some(libc::SIGRTMIN() + 3));
        assert_eq!(parse_signal("rtmax-1"), Some(libc::SIGRTMAX() - 1));
        for text in ["", "SIG", "SIGSIGTERM", "FOO", "RTMIN-1", "RTMIN+99", "RTMIN++1", "RTMAX+1", "1x", "TERM "] {
            assert_eq!(parse_signal(text), None, "{text}");
        }
    }
}
