//! Version 2 files (Documentation/admin-guide/cgroup-v2.rst).

use std::collections::BTreeMap;

use super::{
    CpuStats, CpusetStats, IoStats, MemoryStats, MemoryUsage, OomStats, PidsStats, RdmaStats, Reader, Stats, parse,
};
use crate::Result;

pub(super) fn read(files: &Reader<'_>, stats: &mut Stats) -> Result<()> {
    stats.cpu = cpu(files)?;
    stats.cpuset = cpuset(files)?;
    stats.memory = memory(files)?;
    stats.pids = pids(files)?;
    stats.io = io(files)?;
    stats.hugetlb = hugetlb(files)?;
    stats.rdma = rdma(files)?;
    Ok(())
}

fn of(table: &BTreeMap<String, u64>, key: &str) -> u64 {
    table.get(key).copied().unwrap_or(0)
}

/// cpu.stat is there without the controller too: use is counted always.
fn cpu(files: &Reader<'_>) -> Result<Option<CpuStats>> {
    let Some(table) = files.table("cpu.stat")? else { return Ok(None) };
    let nanoseconds = |key: &str| of(&table, key).saturating_mul(1000);
    Ok(Some(CpuStats {
        total: nanoseconds("usage_usec"),
        user: nanoseconds("user_usec"),
        kernel: nanoseconds("system_usec"),
        periods: of(&table, "nr_periods"),
        throttled_periods: of(&table, "nr_throttled"),
        throttled_time: nanoseconds("throttled_usec"),
        bursts: of(&table, "nr_bursts"),
        burst_time: nanoseconds("burst_usec"),
        pressure: files.pressure("cpu.pressure")?,
        ..CpuStats::default()
    }))
}

fn cpuset(files: &Reader<'_>) -> Result<Option<CpusetStats>> {
    let Some(cpus) = files.text("cpuset.cpus.effective")? else { return Ok(None) };
    let mems = files.text("cpuset.mems.effective")?.unwrap_or_default();
    Ok(Some(CpusetStats { cpus: parse::list(&cpus), mems: parse::list(&mems), flags: BTreeMap::new() }))
}

/// Without the controller, as on a host with both versions, there is still the pressure.
fn memory(files: &Reader<'_>) -> Result<Option<MemoryStats>> {
    let pressure = files.pressure("memory.pressure")?;
    let Some(raw) = files.table("memory.stat")? else {
        return Ok(pressure.map(|pressure| MemoryStats { pressure: Some(pressure), ..MemoryStats::default() }));
    };
    let events = files.table("memory.events")?.unwrap_or_default();
    let usage = MemoryUsage {
        usage: files.number("memory.current")?.unwrap_or(0),
        peak: files.number("memory.peak")?,
        limit: files.number("memory.max")?,
        failures: of(&events, "max"),
    };
    let swap = swap(files)?;
    // As version 1 shows it, and as the spec's `swap` means it.
    let with_swap = swap.as_ref().map(|swap| MemoryUsage {
        usage: usage.usage.saturating_add(swap.usage),
        peak: None,
        limit: usage.limit.and_then(|limit| Some(limit.saturating_add(swap.limit?))),
        failures: swap.failures,
    });
    Ok(Some(MemoryStats {
        cache: of(&raw, "file"),
        usage,
        with_swap,
        swap,
        oom: OomStats {
            events: of(&events, "oom"),
            kills: of(&events, "oom_kill"),
            group_kills: of(&events, "oom_group_kill"),
            under_oom: false,
        },
        pressure,
        raw,
        ..MemoryStats::default()
    }))
}

fn swap(files: &Reader<'_>) -> Result<Option<MemoryUsage>> {
    let Some(usage) = files.number("memory.swap.current")? else { return Ok(None) };
    Ok(Some(MemoryUsage {
        usage,
        peak: files.number("memory.swap.peak")?,
        limit: files.number("memory.swap.max")?,
        failures: files.table("memory.swap.events")?.map_or(0, |events| of(&events, "max")),
    }))
}

fn pids(files: &Reader<'_>) -> Result<Option<PidsStats>> {
    let Some(current) = files.number("pids.current")? else {
        // Nobody counts the tasks without the controller; as in runc, the processes stand for them.
        let count = |processes: String| PidsStats { current: processes.lines().count() as u64, ..PidsStats::default() };
        return Ok(files.text("cgroup.procs")?.map(count));
    };
    let refused = files.table("pids.events")?.map_or(0, |events| of(&events, "max"));
    Ok(Some(PidsStats { current, limit: files.number("pids.max")?, refused }))
}

fn io(files: &Reader<'_>) -> Result<Option<IoStats>> {
    let (text, pressure) = (files.text("io.stat")?, files.pressure("io.pressure")?);
    if text.is_none() && pressure.is_none() {
        return Ok(None);
    }
    let (service_bytes, serviced) = parse::io_stat(&text.unwrap_or_default());
    Ok(Some(IoStats { service_bytes, serviced, pressure, ..IoStats::default() }))
}

fn hugetlb(files: &Reader<'_>) -> Result<BTreeMap<String, MemoryUsage>> {
    let mut out = BTreeMap::new();
    for size in files.page_sizes(".current")? {
        let reserved = files.number(&format!("hugetlb.{size}.rsvd.current"))?;
        let (prefix, usage) = match reserved {
            Some(usage) => (format!("hugetlb.{size}.rsvd"), usage),
            None => (format!("hugetlb.{size}"), files.number(&format!("hugetlb.{size}.current"))?.unwrap_or_default()),
        };
        let failures = files.table(&format!("hugetlb.{size}.events"))?.map_or(0, |events| of(&events, "max"));
        let limit = files.number(&format!("{prefix}.max"))?;
        out.insert(size, MemoryUsage { usage, peak: None, limit, failures });
    }
    Ok(out)
}

pub(super) fn rdma(files: &Reader<'_>) -> Result<BTreeMap<String, RdmaStats>> {
    let (Some(current), Some(limits)) = (files.text("rdma.current")?, files.text("rdma.max")?) else {
        return Ok(BTreeMap::new());
    };
    let limits = parse::rdma(&limits);
    let device = |(device, (handles, objects)): (String, (Option<u64>, Option<u64>))| {
        let (handle_limit, object_limit) = limits.get(&device).copied().unwrap_or_default();
        let (handles, objects) = (handles.unwrap_or(0), objects.unwrap_or(0));
        (device, RdmaStats { handles, objects, handle_limit, object_limit })
    };
    Ok(parse::rdma(&current).into_iter().map(device).collect())
}
