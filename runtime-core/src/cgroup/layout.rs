//! The host's control group layout as plain data. Filled by [`crate::host::cgroup`], used by [`super::place`].

use serde::{Deserialize, Serialize};

/// Which versions of control groups the host has mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Version 1 hierarchies only.
    V1,
    /// Version 1 hierarchies, and one of version 2 beside them.
    Hybrid,
    /// One hierarchy of version 2 (the unified one).
    V2,
    /// Nothing is mounted.
    #[default]
    None,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchy {
    /// Name of its directory: `cpu,cpuacct`, `systemd`, `unified`; empty where it is `/sys/fs/cgroup` itself.
    pub name: String,
    /// Version 1 controllers as `/proc/self/cgroup` has them (`cpu`, `name=systemd`); empty for version 2.
    pub controllers: Vec<String>,
    /// Absolute path of the mount point.
    pub mount: String,
    /// The caller's own cgroup beneath the mount point, starting with `/`; `None` where it was not asked for
    /// or lies outside what is mounted.
    pub own: Option<String>,
    /// True for version 2.
    pub v2: bool,
}

/// The host's hierarchies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Which versions are mounted.
    pub mode: Mode,
    /// Every mounted hierarchy, each once.
    pub hierarchies: Vec<Hierarchy>,
}
