//! Statistics: what the container's cgroups have counted, the same for both versions.
//!
//! A section is absent where no controller counts it, so that "not counted" and "nothing used" differ. Times are
//! in nanoseconds, sizes in bytes, whatever the kernel's file says them in. A limit that is absent is none; version
//! 1 has no word for that and shows its largest number (9223372036854771712), which is left as it is.

mod parse;
mod v1;
mod v2;

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use nix::errno::Errno;
use serde::Serialize;

use super::dir::{self, Dir};
use super::{Cgroup, Place, Placement, file};
use crate::Result;

/// Everything that is counted, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Processor time.
    pub cpu: Option<CpuStats>,
    /// Processors and memory nodes the container may use.
    pub cpuset: Option<CpusetStats>,
    /// Memory.
    pub memory: Option<MemoryStats>,
    /// Tasks.
    pub pids: Option<PidsStats>,
    /// Block I/O.
    pub io: Option<IoStats>,
    /// Huge pages, by page size (`2MB`).
    pub hugetlb: BTreeMap<String, MemoryUsage>,
    /// RDMA, by device.
    pub rdma: BTreeMap<String, RdmaStats>,
}

/// Processor time, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CpuStats {
    /// All of it.
    pub total: u64,
    /// In user mode.
    pub user: u64,
    /// In the kernel.
    pub kernel: u64,
    /// All of it, by processor; version 1 only.
    pub per_cpu: Vec<u64>,
    /// In user mode, by processor; version 1 only.
    pub per_cpu_user: Vec<u64>,
    /// In the kernel, by processor; version 1 only.
    pub per_cpu_kernel: Vec<u64>,
    /// Periods of the quota that have passed.
    pub periods: u64,
    /// Periods in which the quota was used up.
    pub throttled_periods: u64,
    /// How long tasks were held back.
    pub throttled_time: u64,
    /// Bursts taken.
    pub bursts: u64,
    /// Time used beyond the quota in them.
    pub burst_time: u64,
    /// Waiting for a processor.
    pub pressure: Option<Pressure>,
}

/// What is in force; version 1 has the flags too.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CpusetStats {
    /// Processors, in order.
    pub cpus: Vec<u16>,
    /// Memory nodes, in order.
    pub mems: Vec<u16>,
    /// Other numbers, by the name of the file without `cpuset.`; version 1 only.
    pub flags: BTreeMap<String, i64>,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryStats {
    /// Page cache.
    pub cache: u64,
    /// Memory (version 1: without swap).
    pub usage: MemoryUsage,
    /// Memory and swap together; absent where swap is not accounted.
    pub with_swap: Option<MemoryUsage>,
    /// Swap alone; absent where it is not accounted.
    pub swap: Option<MemoryUsage>,
    /// Kernel memory; version 1 only.
    pub kernel: Option<MemoryUsage>,
    /// Network buffers; version 1 only.
    pub kernel_tcp: Option<MemoryUsage>,
    /// `memory.stat`, as it is.
    pub raw: BTreeMap<String, u64>,
    /// What the OOM killer did.
    pub oom: OomStats,
    /// Waiting for memory.
    pub pressure: Option<Pressure>,
}

/// One kind of memory, in bytes; of huge pages what is reserved, where the kernel accounts it (Linux 5.7).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryUsage {
    /// In use now.
    pub usage: u64,
    /// The most that was in use; on version 2 absent before Linux 5.19, and for huge pages.
    pub peak: Option<u64>,
    /// Absent: none.
    pub limit: Option<u64>,
    /// How often the limit was hit.
    pub failures: u64,
}

/// Counts of `memory.events`, or of `memory.oom_control` on version 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OomStats {
    /// How often memory ran out; version 2 only.
    pub events: u64,
    /// Processes killed for it.
    pub kills: u64,
    /// How often the whole cgroup was killed for it; version 2 only.
    pub group_kills: u64,
    /// Memory has run out and nobody is killed: the OOM killer is off; version 1 only.
    pub under_oom: bool,
}

/// Tasks: processes and threads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PidsStats {
    /// How many there are.
    pub current: u64,
    /// Absent: no limit.
    pub limit: Option<u64>,
    /// How often a new one was refused.
    pub refused: u64,
}

/// Block I/O: one list for each file of version 1; version 2 fills bytes and operations.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IoStats {
    /// Bytes moved.
    pub service_bytes: Vec<IoEntry>,
    /// Operations.
    pub serviced: Vec<IoEntry>,
    /// Requests waiting.
    pub queued: Vec<IoEntry>,
    /// Time in the device, nanoseconds.
    pub service_time: Vec<IoEntry>,
    /// Time in queues, nanoseconds.
    pub wait_time: Vec<IoEntry>,
    /// Requests merged.
    pub merged: Vec<IoEntry>,
    /// Time the device was busy for us, milliseconds.
    pub time: Vec<IoEntry>,
    /// Sectors moved.
    pub sectors: Vec<IoEntry>,
    /// Waiting for I/O.
    pub pressure: Option<Pressure>,
}

/// One number of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IoEntry {
    /// Major number.
    pub major: u64,
    /// Minor number.
    pub minor: u64,
    /// `Read`, `Write`, `Discard`, `Sync`, `Async`, `Total`, or nothing where the file has no such word.
    pub op: String,
    /// The number.
    pub value: u64,
}

/// RDMA resources of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RdmaStats {
    /// Handles in use.
    pub handles: u64,
    /// Objects in use.
    pub objects: u64,
    /// Absent: no limit.
    pub handle_limit: Option<u64>,
    /// Absent: no limit.
    pub object_limit: Option<u64>,
}

/// Pressure stall information (Documentation/accounting/psi.rst).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Pressure {
    /// At least one task waited.
    pub some: Stall,
    /// All tasks waited at once.
    pub full: Stall,
}

/// Share of time, in percent, and the sum.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stall {
    /// Of the last 10 seconds.
    pub avg10: f64,
    /// Of the last minute.
    pub avg60: f64,
    /// Of the last five minutes.
    pub avg300: f64,
    /// Microseconds, ever.
    pub total: u64,
}

/// Reads the files of one directory. What is not there is no error: controllers come and go, and kernels differ.
struct Reader<'a> {
    dir: &'a Dir,
}

impl Reader<'_> {
    /// The text of a file; `None` if there is none, or the device or feature behind it is off.
    fn text(&self, name: &str) -> Result<Option<String>> {
        match file::read(&self.dir.fd, name) {
            Ok(text) => Ok(Some(text)),
            Err(Errno::ENOENT | Errno::EOPNOTSUPP | Errno::ENODEV | Errno::EINVAL) => Ok(None),
            Err(errno) => Err(dir::failed(&self.dir.place, "read the statistics of", "read", name, errno)),
        }
    }

    /// A file with one number. `max` and what is missing are `None`.
    fn number(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.text(name)?.and_then(|text| text.trim().parse().ok()))
    }

    /// A file of lines of a word and a number.
    fn table(&self, name: &str) -> Result<Option<BTreeMap<String, u64>>> {
        Ok(self.text(name)?.map(|text| parse::table(&text)))
    }

    fn pressure(&self, name: &str) -> Result<Option<Pressure>> {
        Ok(self.text(name)?.and_then(|text| parse::pressure(&text)))
    }

    /// Page sizes of huge pages, from the names of the files.
    fn page_sizes(&self, suffix: &str) -> Result<Vec<String>> {
        let names = file::names(self.dir.fd.as_fd())
            .map_err(|errno| dir::failed(&self.dir.place, "read the statistics of", "getdents64", "", errno))?;
        let mut sizes: Vec<String> = names
            .iter()
            .filter_map(|name| name.strip_prefix("hugetlb.")?.strip_suffix(suffix))
            .filter(|size| !size.contains('.'))
            .map(str::to_owned)
            .collect();
        sizes.sort();
        Ok(sizes)
    }
}

impl Cgroup {
    /// What the cgroups have counted.
    pub fn stats(&self) -> Result<Stats> {
        let mut stats = Stats::default();
        // Version 2 first: on a hybrid host version 1 has the controllers and the last word.
        for dir in self.dirs().filter(|dir| dir.place.v2) {
            v2::read(&Reader { dir }, &mut stats)?;
        }
        for dir in self.dirs().filter(|dir| !dir.place.v2) {
            v1::read(&Reader { dir }, &dir.place, &mut stats)?;
        }
        Ok(stats)
    }

    /// The path of a file that tells of an OOM kill when it changes: `memory.events` (version 2, by inotify or
    /// poll) or `memory.oom_control` (version 1, by eventfd).
    pub fn oom_file(placement: &Placement) -> Option<(String, bool)> {
        let place: &Place = placement.dirs.get(placement.of("memory")?)?;
        let name = if place.v2 { "memory.events" } else { "memory.oom_control" };
        Some((format!("{}/{name}", place.absolute()), place.v2))
    }
}
