//! The listener of a filter that notifies, handed to the agent behind `listenerPath`.
//!
//! runtime-spec config-linux.md, "The Container Process State": connect to the socket, send one message with the
//! state as JSON and the descriptor, close. The descriptor is taken out of the stage by pidfd_getfd(2), so that the
//! stage needs no call for it that its own filter might stop.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use serde::Serialize;

use super::peer::Peer;
use super::spawn::Spawned;
use crate::plan::Listener;
use crate::spec::Map;
use crate::state::OCI_VERSION;
use crate::sys::pidfd;
use crate::{Error, Result};

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
        let agent = Peer::reach(Path::new(&to.path)).map_err(|e| {
            let error = failed("failed to connect with seccomp agent", &format!("connect({:?})", to.path), e);
            error.with_hint("an agent must listen there before the container is made")
        })?;
        agent
            .send(&json, fd.as_fd())
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
