//! What is known about a container between verbs: a directory per container, one record in it, and how the
//! status follows from the record and the kernel.

mod brief;
mod clock;
mod dir;
mod identity;
mod json;
mod lock;
mod owner;
mod root;
mod status;

pub(crate) use brief::Brief;
pub(crate) use clock::now;
pub(crate) use dir::{Dir, FIFO, GATE, NOTIFY, STATUS};
pub(crate) use identity::Init;
pub use json::{Record, VERSION};
pub(crate) use owner::Owners;
pub(crate) use root::{GLANCE, Root};
pub use status::Status;
pub(crate) use status::is_held;

use crate::spec::Map;
use crate::{Error, ErrorKind};

/// Version of the runtime-spec that state documents follow.
pub const OCI_VERSION: &str = "1.3.0";

/// The state document: the spec's members, then runc's.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Spec version the document follows.
    pub oci_version: &'static str,
    /// Container id.
    pub id: String,
    /// Host pid, 0 when stopped.
    #[serde(serialize_with = "pid_or_zero")]
    pub pid: Option<i32>,
    /// Status.
    pub status: Status,
    /// Absolute path of the bundle.
    pub bundle: String,
    /// Absolute path of the root filesystem.
    pub rootfs: String,
    /// When it was created, RFC 3339 with nanoseconds, UTC.
    pub created: String,
    /// The config's annotations.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub annotations: Map<String>,
    /// Owner of the container, a user name or `#uid`; empty except in `list`.
    pub owner: String,
}

fn pid_or_zero<S: serde::Serializer>(pid: &Option<i32>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i32(pid.unwrap_or(0))
}

/// The error every verb gives for an id without a container; engines match the text.
pub(crate) fn not_found() -> Error {
    Error::new(ErrorKind::NotFound, "container does not exist")
}

/// The error of create for an id that is taken; engines match the text.
pub(crate) fn exists() -> Error {
    Error::new(ErrorKind::Exists, "container with given ID already exists")
}

#[cfg(test)]
pub(crate) mod tests;
