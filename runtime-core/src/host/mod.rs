//! What planning must know about the host: probed once, then plain data that a bug report can carry.

use crate::Result;
use crate::cgroup::Layout;

pub mod cgroup;

/// The host, as far as a plan depends on it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct HostFacts {
    /// The caller's effective user id.
    pub euid: u32,
    /// The caller's effective group id.
    pub egid: u32,
    /// The caller's permitted capabilities, as a bit set.
    pub capabilities: u64,
    /// `/proc/kcore` exists.
    pub kcore: bool,
    /// Where cgroups are.
    pub cgroup: Layout,
}

impl HostFacts {
    /// Looks at the host. `own_cgroup`: also find the caller's own cgroups ([`cgroup::probe`]).
    pub fn probe(own_cgroup: bool) -> Result<Self> {
        Ok(Self {
            euid: nix::unistd::geteuid().as_raw(),
            egid: nix::unistd::getegid().as_raw(),
            capabilities: crate::sys::caps::permitted(),
            kcore: nix::unistd::access("/proc/kcore", nix::unistd::AccessFlags::F_OK).is_ok(),
            cgroup: cgroup::probe(own_cgroup)?,
        })
    }

    /// The caller alone: what the plan of an exec depends on. Nothing of the host is looked at.
    pub(crate) fn of_caller() -> Self {
        Self {
            euid: nix::unistd::geteuid().as_raw(),
            egid: nix::unistd::getegid().as_raw(),
            capabilities: crate::sys::caps::permitted(),
            kcore: false,
            cgroup: Layout::default(),
        }
    }

    /// True if the caller may clone mounts of the host and make device nodes.
    pub fn privileged(&self) -> bool {
        const CAP_SYS_ADMIN: u32 = 21;
        self.capabilities >> CAP_SYS_ADMIN & 1 == 1
    }
}
