//! `linux.resources`: limits, as cgroup v1 named them.
use super::{Map, object};

object! {
    /// config-linux.md, "Control groups". Also the body of `update -r`.
    pub struct Resources {
        /// Device access rules, in order.
        pub devices: Option<Vec<DeviceRule>>,
        /// Memory.
        pub memory: Option<Memory>,
        /// CPU.
        pub cpu: Option<Cpu>,
        /// Number of tasks.
        pub pids: Option<Pids>,
        /// Block I/O.
        pub block_io = "blockIO": Option<BlockIo>,
        /// Huge pages.
        pub hugepage_limits: Option<Vec<HugepageLimit>>,
        /// Network classification.
        pub network: Option<Network>,
        /// RDMA, by device name.
        pub rdma with unique_map: Option<Map<Rdma>>,
        /// cgroup v2 files, verbatim.
        pub unified with unique_map: Option<Map<String>>,
    }
}

object! {
    /// One device rule.
    pub struct DeviceRule {
        /// Allow or deny.
        pub allow: bool,
        /// `a`, `b` or `c`.
        pub typ = "type": Option<String>,
        /// Major number; absent or -1: any.
        pub major: Option<i64>,
        /// Minor number; absent or -1: any.
        pub minor: Option<i64>,
        /// Letters of `rwm`.
        pub access: Option<String>,
    }
}

object! {
    /// Memory limits in bytes; -1 is unlimited.
    pub struct Memory {
        /// Hard limit.
        pub limit: Option<i64>,
        /// Soft limit.
        pub reservation: Option<i64>,
        /// Limit of memory plus swap.
        pub swap: Option<i64>,
        /// Deprecated.
        pub kernel: Option<i64>,
        /// Deprecated.
        pub kernel_tcp = "kernelTCP": Option<i64>,
        /// 0 to 100.
        pub swappiness: Option<u64>,
        /// Do not kill on exhaustion.
        pub disable_oom_killer = "disableOOMKiller": Option<bool>,
        /// cgroup v1 hierarchy accounting.
        pub use_hierarchy: Option<bool>,
        /// Refuse a limit below current usage.
        pub check_before_update: Option<bool>,
    }
}

object! {
    /// CPU time and placement.
    pub struct Cpu {
        /// Relative weight, v1 scale (1024 is normal).
        pub shares: Option<u64>,
        /// Microseconds per period; -1 is unlimited.
        pub quota: Option<i64>,
        /// Microseconds that may be saved up.
        pub burst: Option<u64>,
        /// Length of a period, microseconds.
        pub period: Option<u64>,
        /// Real-time microseconds per period.
        pub realtime_runtime: Option<i64>,
        /// Real-time period, microseconds.
        pub realtime_period: Option<u64>,
        /// CPU list.
        pub cpus: Option<String>,
        /// Memory node list.
        pub mems: Option<String>,
        /// 1: SCHED_IDLE for the group.
        pub idle: Option<i64>,
    }
}

object! {
    /// Number of tasks.
    pub struct Pids {
        /// Limit; -1 is unlimited.
        pub limit: Option<i64>,
    }
}

object! {
    /// Block I/O weights and throttles.
    pub struct BlockIo {
        /// 10 to 1000.
        pub weight: Option<u16>,
        /// 10 to 1000, against own tasks; v1 only.
        pub leaf_weight: Option<u16>,
        /// Weights by device.
        pub weight_device: Option<Vec<WeightDevice>>,
        /// Bytes per second read.
        pub throttle_read_bps_device: Option<Vec<ThrottleDevice>>,
        /// Bytes per second written.
        pub throttle_write_bps_device: Option<Vec<ThrottleDevice>>,
        /// Reads per second.
        pub throttle_read_iops_device = "throttleReadIOPSDevice": Option<Vec<ThrottleDevice>>,
        /// Writes per second.
        pub throttle_write_iops_device = "throttleWriteIOPSDevice": Option<Vec<ThrottleDevice>>,
    }
}

object! {
    /// Weight of one block device.
    pub struct WeightDevice {
        /// Major number.
        pub major: i64,
        /// Minor number.
        pub minor: i64,
        /// 10 to 1000.
        pub weight: Option<u16>,
        /// 10 to 1000.
        pub leaf_weight: Option<u16>,
    }
}

object! {
    /// Throttle of one block device.
    pub struct ThrottleDevice {
        /// Major number.
        pub major: i64,
        /// Minor number.
        pub minor: i64,
        /// Bytes or operations per second.
        pub rate: u64,
    }
}

object! {
    /// Limit of one huge page size.
    pub struct HugepageLimit {
        /// `2MB`, `1GB`, ….
        pub page_size: Option<String>,
        /// Bytes.
        pub limit: u64,
    }
}

object! {
    /// Network classification; v1 only.
    pub struct Network {
        /// net_cls class id.
        pub class_id = "classID": Option<u32>,
        /// net_prio priorities by interface.
        pub priorities: Option<Vec<InterfacePriority>>,
    }
}

object! {
    /// Priority of one interface.
    pub struct InterfacePriority {
        /// Interface name.
        pub name: Option<String>,
        /// Priority.
        pub priority: u32,
    }
}

object! {
    /// RDMA limits of one device.
    pub struct Rdma {
        /// HCA handles.
        pub hca_handles: Option<u32>,
        /// HCA objects.
        pub hca_objects: Option<u32>,
    }
}
