//! The listener of a filter that notifies, handed to the agent behind `listenerPath`.
//!
//! runtime-spec config-linux.md, "The Container Process State": connect to the socket, send one message with the
//! state as JSON and the descriptor, close. The descriptor is taken out of the stage by pidfd_getfd(2), so that the
//! stage needs no call for it that its own filter might stop.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, sendmsg, socket,
};
use serde::Serialize;

use super::spawn::Spawned;
use crate::plan::Listener;
use crate::spec::Map;
use crate::state::OCI_VERSION;
use crate::sys::pidfd;
use crate::{Error, Result};

/// How long the agent may take to accept and to take the message.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries to get into a full queue of connections.
const PAUSE: Duration = Duration::from_millis(5);

/// What the agent is told of the container: `state` of the spec.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Announced<'a> {
    oci_version: &'static str,
    id: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    bundle: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    annotations: Map<String>,
}

/// `ContainerProcessState` of the spec.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'a> {
    oci_version: &'static str,
    fds: [&'static str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    state: &'a Announced<'a>,
}

impl<'a> Announced<'a> {
    /// For the first process: the container is being made, and its pid is the process's own.
    pub(crate) fn creating(id: &'a str, bundle: String, annotations: Map<String>) -> Self {
        Self { oci_version: OCI_VERSION, id, status: "creating", pid: None, bundle, annotations }
    }

    /// For a further process of the running container with first process `init`.
    pub(crate) fn running(id: &'a str, init: i32, bundle: String, annotations: Map<String>) -> Self {
        Self { oci_version: OCI_VERSION, id, status: "running", pid: Some(init), bundle, annotations }
    }

    /// Takes descriptor `number` out of the process and sends it to the agent. On an error the process must not
    /// live on: some of its calls would wait for ever.
    pub(super) fn hand_over(&self, to: &Listener, process: &Spawned, number: u64) -> Result<()> {
        let fd = fetch(process, number)?;
        let state = Announced {
            pid: self.pid.or(Some(process.pid)),
            bundle: self.bundle.clone(),
            annotations: self.annotations.clone(),
            ..*self
        };
        let message = ProcessState {
            oci_version: OCI_VERSION,
            fds: ["seccompFd"],
            pid: process.pid,
            metadata: &to.metadata,
            state: &state,
        };
        let json = serde_json::to_vec(&message)
            .map_err(|e| failed("cannot describe the process", "serialize", io::Error::other(e)))?;
        let deadline = Instant::now() + PATIENCE;
        let agent = reach(&to.path, deadline).map_err(|e| {
            let error = failed("failed to connect with seccomp agent", &format!("connect({:?})", to.path), e);
            error.with_hint("an agent must listen there before the container is made")
        })?;
        send(&agent, &json, &fd, deadline)
            .map_err(|e| failed("cannot send the listener to the seccomp agent", &format!("sendmsg({:?})", to.path), e))
    }
}

/// The listener, which is descriptor `number` of the process.
pub(super) fn fetch(process: &Spawned, number: u64) -> Result<OwnedFd> {
    i32::try_from(number)
        .map_err(|_| io::Error::from_raw_os_error(libc::EBADF))
        .and_then(|number| pidfd::get_fd(process.pidfd.as_fd(), number))
        .map_err(|e| {
            let error = failed("cannot fetch the listener of the seccomp filter", "pidfd_getfd()", e);
            error.with_hint("the runtime must be allowed to trace the container (kernel.yama.ptrace_scope below 3)")
        })
}

fn failed(what: &str, call: &str, error: io::Error) -> Error {
    Error::io(what, call, error).at("/linux/seccomp/listenerPath")
}

fn too_slow() -> io::Error {
    io::Error::from_raw_os_error(libc::ETIMEDOUT)
}

/// Connects without waiting for an agent whose queue is full any longer than until `deadline`.
fn reach(path: &str, deadline: Instant) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let stream = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let address = UnixAddr::new(path)?;
    loop {
        match connect(stream.as_raw_fd(), &address) {
            Ok(()) => return Ok(stream),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            Err(Errno::EAGAIN) => return Err(too_slow()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Sends everything; the descriptor goes with the first bytes.
fn send(agent: &OwnedFd, mut json: &[u8], fd: &OwnedFd, deadline: Instant) -> io::Result<()> {
    let fds = [fd.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    let mut control: &[ControlMessage<'_>] = &rights;
    while !json.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(agent.as_fd(), PollFlags::POLLOUT)], timeout) {
            Ok(0) => return Err(too_slow()),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        match sendmsg::<()>(agent.as_raw_fd(), &[IoSlice::new(json)], control, MsgFlags::MSG_NOSIGNAL, None) {
            Ok(sent) => {
                json = json.get(sent..).unwrap_or_default();
                control = &[];
            }
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
