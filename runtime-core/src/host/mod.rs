//! What planning must know about the host: probed once, then plain data that a bug report can carry.

use crate::Result;
use crate::cgroup::Layout;
use crate::spec::Spec;

pub mod cgroup;
mod label;
pub mod mounts;
mod user;

/// The host, as far as a plan depends on it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct HostFacts {
    /// The caller's effective user id.
    pub euid: u32,
    /// The caller's effective group id. Only known where he may not map any ids he likes.
    #[serde(default)]
    pub egid: Option<u32>,
    /// The caller's permitted capabilities, as a bit set.
    pub capabilities: u64,
    /// The caller is in a user namespace that is not the first.
    pub user_namespace: bool,
    /// The caller may clone the mounts he sees: CAP_SYS_ADMIN, and over them.
    pub owns_mounts: bool,
    /// setgroups(2) is denied where the caller is.
    pub groups_are_fixed: bool,
    /// `/proc/kcore` exists.
    pub kcore: bool,
    /// AppArmor is on. Only known where a config names a profile.
    #[serde(default)]
    pub apparmor: bool,
    /// SELinux is on and has a policy. Only known where a config names a label.
    #[serde(default)]
    pub selinux: bool,
    /// Where the units of the systemd that keeps cgroups lie, beneath the mount points; absent: nobody keeps them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<String>,
    /// Where cgroups are.
    pub cgroup: Layout,
    /// [`mounts::whole_kernel_filesystems`]; looked for only where pivot_root is not to be used.
    #[serde(default)]
    pub kernel_filesystems: Vec<String>,
}

impl HostFacts {
    /// Looks at the host. `own_cgroup`: also find the caller's own cgroups ([`cgroup::probe`]).
    pub fn probe(own_cgroup: bool) -> Result<Self> {
        let capabilities = crate::sys::caps::permitted();
        let user_namespace = user::is_nested();
        let admin = has(capabilities, SYS_ADMIN);
        Ok(Self {
            euid: nix::unistd::geteuid().as_raw(),
            egid: group(capabilities),
            user_namespace,
            owns_mounts: admin && (!user_namespace || user::owns_mounts()),
            groups_are_fixed: user_namespace && user::groups_are_fixed(),
            capabilities,
            kcore: nix::unistd::access("/proc/kcore", nix::unistd::AccessFlags::F_OK).is_ok(),
            apparmor: false,
            selinux: false,
            manager: None,
            cgroup: cgroup::probe(own_cgroup)?,
            kernel_filesystems: Vec::new(),
        })
    }

    /// The caller alone: what the plan of an exec depends on.
    pub(crate) fn of_caller() -> Self {
        let user_namespace = user::is_nested();
        let capabilities = crate::sys::caps::permitted();
        Self {
            euid: nix::unistd::geteuid().as_raw(),
            egid: group(capabilities),
            user_namespace,
            owns_mounts: false,
            groups_are_fixed: user_namespace && user::groups_are_fixed(),
            capabilities,
            kcore: false,
            apparmor: false,
            selinux: false,
            cgroup: Layout::default(),
            kernel_filesystems: Vec::new(),
            manager: None,
        }
    }

    /// Looks at the security modules the config names a label for.
    pub fn probe_labels(&mut self, spec: &Spec) {
        let named = |name: Option<&String>| name.is_some_and(|name| !name.is_empty());
        let process = spec.process.as_ref();
        if named(process.and_then(|process| process.apparmor_profile.as_ref())) {
            self.apparmor = label::apparmor();
        }
        let of_mounts = spec.linux.as_ref().and_then(|linux| linux.mount_label.as_ref());
        if named(process.and_then(|process| process.selinux_label.as_ref())) || named(of_mounts) {
            self.selinux = label::selinux();
        }
    }

    /// True if the caller may make namespaces without a user namespace.
    pub fn privileged(&self) -> bool {
        has(self.capabilities, SYS_ADMIN)
    }

    /// True if the caller may make device nodes: mknod(2) asks the first user namespace.
    pub fn makes_devices(&self) -> bool {
        const MKNOD: u32 = 27;
        has(self.capabilities, MKNOD) && !self.user_namespace
    }

    /// True if the caller may give files away.
    pub fn changes_owners(&self) -> bool {
        const CHOWN: u32 = 0;
        has(self.capabilities, CHOWN)
    }

    /// True if the caller may map any ids of his user namespace.
    pub fn maps_ids(&self) -> bool {
        map_ids(self.capabilities)
    }

    /// True if the caller is not root of the host: then lacking rights on cgroups is no surprise.
    pub fn rootless(&self) -> bool {
        self.euid != 0 || self.user_namespace
    }
}

const SYS_ADMIN: u32 = 21;

/// The right to map any ids of the own user namespace.
fn map_ids(capabilities: u64) -> bool {
    const SETGID: u32 = 6;
    const SETUID: u32 = 7;
    has(capabilities, SETGID) && has(capabilities, SETUID)
}

/// The caller's group, where that matters.
fn group(capabilities: u64) -> Option<u32> {
    (!map_ids(capabilities)).then(|| nix::unistd::getegid().as_raw())
}

fn has(capabilities: u64, bit: u32) -> bool {
    capabilities >> bit & 1 == 1
}
