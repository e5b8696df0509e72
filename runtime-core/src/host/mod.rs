//! What planning must know about the host: probed once, then plain data that a bug report can carry.

use crate::Result;
use crate::cgroup::Layout;
use crate::spec::Spec;

pub mod cgroup;
mod label;

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
    /// AppArmor is on. Only known where a config names a profile.
    #[serde(default)]
    pub apparmor: bool,
    /// SELinux is on and has a policy. Only known where a config names a label.
    #[serde(default)]
    pub selinux: bool,
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
            apparmor: false,
            selinux: false,
            cgroup: cgroup::probe(own_cgroup)?,
        })
    }

    /// Looks at the security modules the config names a label for.
    pub fn probe_labels(&mut self, spec: &Spec) {
        let named = |name: Option<&String>| name.is_some_and(|name| !name.is_empty());
        let Some(process) = &spec.process else { return };
        if named(process.apparmor_profile.as_ref()) {
            self.apparmor = label::apparmor();
        }
        if named(process.selinux_label.as_ref()) {
            self.selinux = label::selinux();
        }
    }

    /// True if the caller may clone mounts of the host and make device nodes.
    pub fn privileged(&self) -> bool {
        const CAP_SYS_ADMIN: u32 = 21;
        self.capabilities >> CAP_SYS_ADMIN & 1 == 1
    }
}
