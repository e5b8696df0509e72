//! Resource sections → version 1 files.

use super::v2;
use super::write::{Rule, Writes};
use crate::spec::{BlockIo, Cpu, HugepageLimit, Memory, ThrottleDevice};

/// Smallest and largest `cpu.shares`; the kernel clamps without a word.
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;

pub(super) fn memory(out: &mut Writes, memory: &Memory) {
    let limit = out.limit(memory.limit, "memory/limit");
    let swap = out.limit(memory.swap, "memory/swap");
    if let Some(limit) = limit {
        out.push("memory.limit_in_bytes", limit, "memory/limit", Rule::Again);
    }
    match swap {
        // memory+swap may not be less than memory, so no limit on one means none on the other.
        None if limit == Some(-1) => out.push("memory.memsw.limit_in_bytes", -1, "memory/limit", Rule::IfPresent),
        None => {}
        Some(-1) => out.push("memory.memsw.limit_in_bytes", -1, "memory/swap", Rule::IfPresent),
        Some(swap) => match v2::swap_beside(limit, swap) {
            Ok(_) => out.push("memory.memsw.limit_in_bytes", swap, "memory/swap", Rule::Again),
            Err(message) => out.refuse("memory/swap", message),
        },
    }
    if let Some(reservation) = out.limit(memory.reservation, "memory/reservation") {
        out.must("memory.soft_limit_in_bytes", reservation, "memory/reservation");
    }
    match memory.swappiness {
        Some(value @ 0..=100) => out.must("memory.swappiness", value, "memory/swappiness"),
        Some(value) => {
            out.refuse("memory/swappiness", format!("invalid memory swappiness value: {value} (valid range is 0-100)"));
        }
        None => {}
    }
    if memory.disable_oom_killer == Some(true) {
        out.must("memory.oom_control", 1, "memory/disableOOMKiller");
    }
}

pub(super) fn cpu(out: &mut Writes, cpu: &Cpu) {
    realtime(out, cpu);
    if let Some(idle) = v2::idle(out, cpu) {
        out.must("cpu.idle", idle, "cpu/idle");
    }
    match cpu.shares {
        // An idle group has a fixed weight: the kernel refuses another.
        None | Some(0) => {}
        Some(_) if cpu.idle == Some(1) => {}
        Some(shares) if SHARES.contains(&shares) => out.must("cpu.shares", shares, "cpu/shares"),
        Some(shares) if shares < *SHARES.start() => {
            out.refuse("cpu/shares", format!("the minimum allowed cpu-shares is {}", SHARES.start()));
        }
        Some(_) => out.refuse("cpu/shares", format!("the maximum allowed cpu-shares is {}", SHARES.end())),
    }
    if let Some(period) = cpu.period.filter(|period| *period != 0) {
        out.push("cpu.cfs_period_us", period, "cpu/period", Rule::Again);
    }
    if let Some(quota) = cpu.quota.filter(|quota| *quota != 0) {
        out.push("cpu.cfs_quota_us", quota.max(-1), "cpu/quota", Rule::Again);
    }
    if let Some(burst) = cpu.burst {
        out.push("cpu.cfs_burst_us", burst, "cpu/burst", Rule::Again);
    }
}

fn realtime(out: &mut Writes, cpu: &Cpu) {
    if let Some(period) = cpu.realtime_period.filter(|period| *period != 0) {
        out.push("cpu.rt_period_us", period, "cpu/realtimePeriod", Rule::Again);
    }
    if let Some(runtime) = cpu.realtime_runtime.filter(|runtime| *runtime != 0) {
        out.push("cpu.rt_runtime_us", runtime, "cpu/realtimeRuntime", Rule::Again);
    }
}

pub(super) fn block_io(out: &mut Writes, io: &BlockIo) {
    // With the BFQ scheduler the files carry its name.
    let either = |out: &mut Writes, file: &str, value: String, member: &str| {
        let rule = Rule::OrElse { file: format!("blkio.bfq.{file}"), value: value.clone() };
        out.push(format!("blkio.{file}"), value, member, rule);
    };
    if let Some(weight) = v2::weight(out, io.weight, "blockIO/weight") {
        either(out, "weight", weight.to_string(), "blockIO/weight");
    }
    if let Some(weight) = v2::weight(out, io.leaf_weight, "blockIO/leafWeight") {
        out.must("blkio.leaf_weight", weight, "blockIO/leafWeight");
    }
    for (at, device) in io.weight_device.iter().flatten().enumerate() {
        let (major, minor) = (device.major, device.minor);
        let member = format!("blockIO/weightDevice/{at}/weight");
        if let Some(weight) = v2::weight(out, device.weight, &member) {
            either(out, "weight_device", format!("{major}:{minor} {weight}"), &member);
        }
        let member = format!("blockIO/weightDevice/{at}/leafWeight");
        if let Some(weight) = v2::weight(out, device.leaf_weight, &member) {
            out.must("blkio.leaf_weight_device", format!("{major}:{minor} {weight}"), &member);
        }
    }
    throttle(out, "blkio.throttle.read_bps_device", "throttleReadBpsDevice", &io.throttle_read_bps_device);
    throttle(out, "blkio.throttle.write_bps_device", "throttleWriteBpsDevice", &io.throttle_write_bps_device);
    throttle(out, "blkio.throttle.read_iops_device", "throttleReadIOPSDevice", &io.throttle_read_iops_device);
    throttle(out, "blkio.throttle.write_iops_device", "throttleWriteIOPSDevice", &io.throttle_write_iops_device);
}

fn throttle(out: &mut Writes, file: &str, member: &str, devices: &Option<Vec<ThrottleDevice>>) {
    for (at, device) in devices.iter().flatten().enumerate() {
        let value = format!("{}:{} {}", device.major, device.minor, device.rate);
        out.must(file, value, &format!("blockIO/{member}/{at}"));
    }
}

pub(super) fn hugetlb(out: &mut Writes, limits: &[HugepageLimit]) {
    v2::each_page_size(out, limits, |out, size, limit, member| {
        out.must(format!("hugetlb.{size}.limit_in_bytes"), limit, member);
        // Reservations (MAP_NORESERVE apart) are accounted since Linux 5.7.
        out.push(format!("hugetlb.{size}.rsvd.limit_in_bytes"), limit, member, Rule::IfPresent);
    });
}
