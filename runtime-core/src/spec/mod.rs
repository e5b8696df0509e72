//! `config.json` as plain data: the shapes of OCI runtime-spec 1.3 (Linux).
//!
//! Shapes only. What a value *means*, and whether it is allowed, is decided by the noun of the same
//! name in [`crate::plan`]. Absent, `null` and empty are kept apart with `Option` wherever the spec
//! gives them different meanings; enumerations stay strings so that the checker can name the nearest
//! known one and point at it.

mod device;
mod hook;
mod linux;
mod locate;
mod mount;
mod namespace;
mod netdev;
mod object;
mod parse;
mod process;
mod rdt;
mod resources;
mod root;
mod seccomp;

pub use device::*;
pub use hook::*;
pub use linux::*;
pub use mount::*;
pub use namespace::*;
pub use netdev::*;
use object::object;
pub(crate) use parse::escape;
pub use parse::{Problem, parse, parse_as};
pub use process::*;
pub use rdt::*;
pub use resources::*;
pub use root::*;
pub use seccomp::*;

/// True for a value that need not be written back to JSON.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A JSON object whose member names are data (annotations, sysctl, …). Duplicate names are an error.
pub type Map<T> = std::collections::BTreeMap<String, T>;

object! {
    /// The whole of `config.json` (config.md).
    pub struct Spec {
        /// SemVer of the spec the bundle was written for.
        pub oci_version: Option<String>,
        /// The container's root filesystem.
        pub root: Option<Root>,
        /// Filesystems mounted over the root, in order.
        pub mounts: Option<Vec<Mount>>,
        /// The program to run.
        pub process: Option<Process>,
        /// Host name in the container's UTS namespace.
        pub hostname: Option<String>,
        /// NIS domain name in the container's UTS namespace.
        pub domainname: Option<String>,
        /// Programs run at points of the lifecycle.
        pub hooks: Option<Hooks>,
        /// Free-form metadata, shown in the state.
        pub annotations with unique_map: Option<Map<String>>,
        /// Everything specific to Linux.
        pub linux: Option<Linux>,
    }
}
