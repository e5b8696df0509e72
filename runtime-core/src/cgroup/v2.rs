//! Resource sections → version 2 files, with the conversions from version 1 values that runc uses.

use super::write::{Rule, Writes, is_word};
use crate::spec::{BlockIo, Cpu, HugepageLimit, Map, Memory, Pids, Rdma, ThrottleDevice};

/// Default of `cpu.cfs_period_us` and `cpu.max`, microseconds.
const PERIOD: u64 = 100_000;

/// -1 as version 2 writes it.
fn or_max(value: i64) -> String {
    if value < 0 { "max".into() } else { value.to_string() }
}

pub(super) fn pids(out: &mut Writes, pids: &Pids) {
    match pids.limit {
        None => {}
        // The kernel takes 0, but then not even the container's first process would fit; runc writes 1.
        Some(0) => out.must("pids.max", 1, "pids/limit"),
        Some(limit) => out.must("pids.max", or_max(limit), "pids/limit"),
    }
}

pub(super) fn memory(out: &mut Writes, memory: &Memory) {
    let limit = out.limit(memory.limit, "memory/limit");
    let swap = out.limit(memory.swap, "memory/swap");
    if memory.check_before_update == Some(true) {
        above_usage(out, limit, swap);
    }
    match swap {
        None if limit == Some(-1) => out.push("memory.swap.max", "max", "memory/limit", Rule::IfPresent),
        None => {}
        Some(-1) => out.push("memory.swap.max", "max", "memory/swap", Rule::IfPresent),
        Some(swap) => match swap_beside(limit, swap) {
            Ok(0) => out.push("memory.swap.max", 0, "memory/swap", Rule::IfPresent),
            Ok(swap) => out.must("memory.swap.max", swap, "memory/swap"),
            Err(message) => out.refuse("memory/swap", message),
        },
    }
    if let Some(limit) = limit {
        out.must("memory.max", or_max(limit), "memory/limit");
    }
    if let Some(reservation) = out.limit(memory.reservation, "memory/reservation") {
        out.must("memory.low", or_max(reservation), "memory/reservation");
    }
    if memory.disable_oom_killer == Some(true) {
        out.refuse("memory/disableOOMKiller", "cgroup v2 cannot disable the OOM killer");
    }
}

/// Both together first, as runc says it.
fn above_usage(out: &mut Writes, limit: Option<i64>, swap: Option<i64>) {
    if let Some(swap) = swap.filter(|swap| *swap > 0) {
        let rule = Rule::Above { plus: Some("memory.swap.current".into()) };
        out.push("memory.current", swap, "memory/swap", rule);
    }
    if let Some(limit) = limit.filter(|limit| *limit > 0) {
        out.push("memory.current", limit, "memory/limit", Rule::Above { plus: None });
    }
}

/// The swap alone, where `swap` (more than 0) is memory and swap together, as version 1 has it.
pub(super) fn swap_beside(limit: Option<i64>, swap: i64) -> Result<i64, &'static str> {
    match limit {
        Some(-1) => Ok(swap),
        None => Err("unable to set swap limit without memory limit"),
        Some(limit) if swap < limit => Err("memory+swap limit should be >= memory limit"),
        Some(limit) => Ok(swap - limit),
    }
}

pub(super) fn cpu(out: &mut Writes, cpu: &Cpu) {
    for (given, member) in [
        (cpu.realtime_period.is_some_and(|v| v != 0), "cpu/realtimePeriod"),
        (cpu.realtime_runtime.is_some_and(|v| v != 0), "cpu/realtimeRuntime"),
    ] {
        if given {
            out.refuse(member, "cgroup v2 has no real-time limits");
        }
    }
    if let Some(idle) = idle(out, cpu) {
        out.must("cpu.idle", idle, "cpu/idle");
    }
    // An idle group has a fixed weight: the kernel refuses another.
    if let Some(shares) = cpu.shares.filter(|shares| *shares != 0 && cpu.idle != Some(1)) {
        out.must("cpu.weight", cpu_weight(shares), "cpu/shares");
    }
    let (quota, period) = (cpu.quota.unwrap_or(0), cpu.period.unwrap_or(0));
    if quota != 0 || period != 0 {
        let quota_text = if quota > 0 { quota.to_string() } else { "max".into() };
        let period = if period == 0 { PERIOD } else { period };
        let member = if quota != 0 { "cpu/quota" } else { "cpu/period" };
        out.push("cpu.max", format!("{quota_text} {period}"), member, Rule::Again);
    }
    if let Some(burst) = cpu.burst {
        out.push("cpu.max.burst", burst, "cpu/burst", Rule::Again);
    }
}

/// `cpu.idle`, which is 0 or 1.
pub(super) fn idle(out: &mut Writes, cpu: &Cpu) -> Option<i64> {
    match cpu.idle {
        Some(idle @ 0..=1) => Some(idle),
        Some(idle) => {
            out.refuse("cpu/idle", format!("{idle} is neither 0 nor 1"));
            None
        }
        None => None,
    }
}

/// `cpu.shares` (2 to 262144, 1024 is normal) → `cpu.weight` (1 to 10000, 100 is normal): runc's curve through
/// both ends and the middle, a quadratic in the logarithm. Other runtimes and systemd use the same since 2025.
pub fn cpu_weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

pub(super) fn cpuset(out: &mut Writes, cpu: &Cpu) {
    for (list, file, member) in [(&cpu.cpus, "cpuset.cpus", "cpu/cpus"), (&cpu.mems, "cpuset.mems", "cpu/mems")] {
        if let Some(list) = list.as_deref().filter(|list| !list.is_empty()) {
            out.must(file, list, member);
        }
    }
}

pub(super) fn block_io(out: &mut Writes, io: &BlockIo) {
    if let Some(weight) = weight(out, io.weight, "blockIO/weight") {
        let rule = Rule::OrElse { file: "io.weight".into(), value: io_weight(weight).to_string() };
        out.push("io.bfq.weight", weight, "blockIO/weight", rule);
    }
    for (at, device) in io.weight_device.iter().flatten().enumerate() {
        let (major, minor) = (device.major, device.minor);
        let member = format!("blockIO/weightDevice/{at}/weight");
        if let Some(weight) = weight(out, device.weight, &member) {
            let value = format!("{major}:{minor} {}", io_weight(weight));
            let rule = Rule::OrElse { file: "io.weight".into(), value };
            out.push("io.bfq.weight", format!("{major}:{minor} {weight}"), &member, rule);
        }
        if device.leaf_weight.is_some_and(|weight| weight != 0) {
            out.refuse(&format!("blockIO/weightDevice/{at}/leafWeight"), "cgroup v2 has no leaf weight");
        }
    }
    if io.leaf_weight.is_some_and(|weight| weight != 0) {
        out.refuse("blockIO/leafWeight", "cgroup v2 has no leaf weight");
    }
    throttle(out, "rbps", "throttleReadBpsDevice", &io.throttle_read_bps_device);
    throttle(out, "wbps", "throttleWriteBpsDevice", &io.throttle_write_bps_device);
    throttle(out, "riops", "throttleReadIOPSDevice", &io.throttle_read_iops_device);
    throttle(out, "wiops", "throttleWriteIOPSDevice", &io.throttle_write_iops_device);
}

fn throttle(out: &mut Writes, key: &str, member: &str, devices: &Option<Vec<ThrottleDevice>>) {
    for (at, device) in devices.iter().flatten().enumerate() {
        // In version 1, and so in the spec, 0 takes a limit away.
        let rate = if device.rate == 0 { "max".into() } else { device.rate.to_string() };
        let value = format!("{}:{} {key}={rate}", device.major, device.minor);
        out.must("io.max", value, &format!("blockIO/{member}/{at}"));
    }
}

/// A block I/O weight: 10 to 1000; 0 is not set.
pub(super) fn weight(out: &mut Writes, weight: Option<u16>, member: &str) -> Option<u16> {
    match weight {
        None | Some(0) => None,
        Some(10..=1000) => weight,
        Some(other) => {
            out.refuse(member, format!("block I/O weight {other} is not between 10 and 1000"));
            None
        }
    }
}

/// `blkio.weight` (10 to 1000) → `io.weight` (1 to 10000).
pub fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight).saturating_sub(10)) * 9999 / 990
}

pub(super) fn hugetlb(out: &mut Writes, limits: &[HugepageLimit]) {
    each_page_size(out, limits, |out, size, limit, member| {
        out.must(format!("hugetlb.{size}.max"), limit, member);
        // Reservations are accounted since Linux 5.7.
        out.push(format!("hugetlb.{size}.rsvd.max"), limit, member, Rule::IfPresent);
    });
}

/// Calls `each` for every limit whose page size is well-formed.
pub(super) fn each_page_size(out: &mut Writes, limits: &[HugepageLimit], each: impl Fn(&mut Writes, &str, u64, &str)) {
    for (at, limit) in limits.iter().enumerate() {
        let size = limit.page_size.as_deref().unwrap_or_default();
        if is_page_size(size) {
            each(out, size, limit.limit, &format!("hugepageLimits/{at}"));
        } else {
            let message = format!("{size:?} is not a page size like 64KB, 2MB or 1GB");
            out.refuse(&format!("hugepageLimits/{at}/pageSize"), message);
        }
    }
}

/// `^[1-9][0-9]*[KMG]B$` (config-linux.md).
fn is_page_size(size: &str) -> bool {
    let digits = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
    digits.is_some_and(|d| !d.is_empty() && !d.starts_with('0') && d.bytes().all(|b| b.is_ascii_digit()))
}

pub(super) fn rdma(out: &mut Writes, devices: &Map<Rdma>) {
    for (device, limit) in devices {
        // '~' and '/' have escapes in a JSON pointer.
        let member = format!("rdma/{}", device.replace('~', "~0").replace('/', "~1"));
        if !is_word(device) {
            out.refuse(&member, "not a device name");
            continue;
        }
        let handles = limit.hca_handles.map(|n| format!(" hca_handle={n}")).unwrap_or_default();
        let objects = limit.hca_objects.map(|n| format!(" hca_object={n}")).unwrap_or_default();
        if !handles.is_empty() || !objects.is_empty() {
            out.must("rdma.max", format!("{device}{handles}{objects}"), &member);
        }
    }
}

pub(super) fn unified(out: &mut Writes, files: &Map<String>) {
    let idle = files.get("cpu.idle").is_some_and(|value| value.trim() == "1");
    for (file, value) in files {
        // An idle group has a fixed weight: the kernel refuses another.
        if idle && file == "cpu.weight" {
            continue;
        }
        let member = format!("unified/{}", file.replace('~', "~0").replace('/', "~1"));
        if file.contains('/') {
            out.refuse(&member, format!("unified resource {file:?} must be a file name (no slashes)"));
        } else if matches!(file.as_str(), "" | "." | "..") || file.contains('\0') {
            out.refuse(&member, format!("unified resource {file:?} must be a file name"));
        } else {
            for line in value.split('\n').map(str::trim).filter(|line| !line.is_empty()) {
                out.must(file, line, &member);
            }
        }
    }
}
