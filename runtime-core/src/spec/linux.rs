//! `linux`: what is left of it once namespaces, devices, resources, seccomp and RDT have their files.
use super::{Device, IdMapping, IntelRdt, Map, Namespace, NetDevice, Resources, Seccomp, TimeOffset, object};

object! {
    /// config-linux.md.
    pub struct Linux {
        /// User id mappings of a new user namespace.
        pub uid_mappings: Option<Vec<IdMapping>>,
        /// Group id mappings of a new user namespace.
        pub gid_mappings: Option<Vec<IdMapping>>,
        /// Kernel parameters, `net.ipv4.ip_forward` style.
        pub sysctl with unique_map: Option<Map<String>>,
        /// Limits.
        pub resources: Option<Resources>,
        /// Where the cgroup is.
        pub cgroups_path: Option<String>,
        /// Namespaces, new or joined.
        pub namespaces: Option<Vec<Namespace>>,
        /// Device nodes.
        pub devices: Option<Vec<Device>>,
        /// Network devices to move in, by host name.
        pub net_devices with unique_map: Option<Map<NetDevice>>,
        /// System call filter.
        pub seccomp: Option<Seccomp>,
        /// `shared`, `slave`, `private` or `unbindable`.
        pub rootfs_propagation: Option<String>,
        /// Paths made unreadable.
        pub masked_paths: Option<Vec<String>>,
        /// Paths made read-only.
        pub readonly_paths: Option<Vec<String>>,
        /// SELinux context of the mounts.
        pub mount_label: Option<String>,
        /// Cache and bandwidth allocation.
        pub intel_rdt: Option<IntelRdt>,
        /// NUMA memory policy.
        pub memory_policy: Option<MemoryPolicy>,
        /// Execution domain.
        pub personality: Option<Personality>,
        /// Clock offsets of a new time namespace: `monotonic`, `boottime`.
        pub time_offsets with unique_map: Option<Map<TimeOffset>>,
    }
}

object! {
    /// personality(2).
    pub struct Personality {
        /// `LINUX` or `LINUX32`.
        pub domain: Option<String>,
        /// None is defined.
        pub flags: Option<Vec<String>>,
    }
}

object! {
    /// set_mempolicy(2).
    pub struct MemoryPolicy {
        /// Mode, like `MPOL_BIND`.
        pub mode: Option<String>,
        /// Node list, `0-3,7`.
        pub nodes: Option<String>,
        /// Flags, like `MPOL_F_STATIC_NODES`.
        pub flags: Option<Vec<String>>,
    }
}
