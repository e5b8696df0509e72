//! Version 1 files (Documentation/admin-guide/cgroup-v1).

use std::collections::BTreeMap;

use super::{
    CpuStats, CpusetStats, IoEntry, IoStats, MemoryStats, MemoryUsage, OomStats, PidsStats, Reader, Stats, parse, v2,
};
use crate::Result;
use crate::cgroup::Place;

/// Nanoseconds in a tick of cpuacct.stat: USER_HZ is 100 on every architecture there is.
const TICK: u64 = 10_000_000;

pub(super) fn read(files: &Reader<'_>, place: &Place, stats: &mut Stats) -> Result<()> {
    for controller in &place.controllers {
        match controller.as_str() {
            // Both are often one hierarchy, and always one section. What version 2 counted goes, but not its
            // pressure, which version 1 has not.
            "cpu" => cpu(files, cpu_of(stats))?,
            "cpuacct" => cpuacct(files, cpu_of(stats))?,
            "cpuset" => stats.cpuset = cpuset(files)?,
            "memory" => {
                let pressure = stats.memory.take().and_then(|memory| memory.pressure);
                stats.memory = memory(files)?.map(|memory| MemoryStats { pressure, ..memory });
            }
            "pids" => stats.pids = pids(files)?,
            "blkio" => {
                let pressure = stats.io.take().and_then(|io| io.pressure);
                stats.io = Some(IoStats { pressure, ..blkio(files)? });
            }
            "hugetlb" => stats.hugetlb = hugetlb(files)?,
            "rdma" => stats.rdma = v2::rdma(files)?,
            _ => {}
        }
    }
    Ok(())
}

fn cpu_of(stats: &mut Stats) -> &mut CpuStats {
    stats.cpu.get_or_insert_default()
}

fn cpu(files: &Reader<'_>, cpu: &mut CpuStats) -> Result<()> {
    let table = files.table("cpu.stat")?.unwrap_or_default();
    let of = |key: &str| table.get(key).copied().unwrap_or(0);
    cpu.periods = of("nr_periods");
    cpu.throttled_periods = of("nr_throttled");
    cpu.throttled_time = of("throttled_time");
    cpu.bursts = of("nr_bursts");
    cpu.burst_time = of("burst_time");
    Ok(())
}

fn cpuacct(files: &Reader<'_>, cpu: &mut CpuStats) -> Result<()> {
    let ticks = files.table("cpuacct.stat")?.unwrap_or_default();
    let of = |key: &str| ticks.get(key).copied().unwrap_or(0).saturating_mul(TICK);
    cpu.total = files.number("cpuacct.usage")?.unwrap_or(0);
    cpu.user = of("user");
    cpu.kernel = of("system");
    // One line a processor: number, user, system; below a heading.
    for line in files.text("cpuacct.usage_all")?.unwrap_or_default().lines().skip(1) {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        if let [_, user, kernel] = numbers.as_slice() {
            cpu.per_cpu_user.push(*user);
            cpu.per_cpu_kernel.push(*kernel);
        }
    }
    let each = files.text("cpuacct.usage_percpu")?.unwrap_or_default();
    cpu.per_cpu = each.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    Ok(())
}

const CPUSET_FLAGS: [&str; 9] = [
    "cpu_exclusive",
    "mem_exclusive",
    "mem_hardwall",
    "memory_migrate",
    "memory_pressure",
    "memory_spread_page",
    "memory_spread_slab",
    "sched_load_balance",
    "sched_relax_domain_level",
];

fn cpuset(files: &Reader<'_>) -> Result<Option<CpusetStats>> {
    let Some(cpus) = files.text("cpuset.cpus")? else { return Ok(None) };
    let mems = files.text("cpuset.mems")?.unwrap_or_default();
    let mut flags = BTreeMap::new();
    for name in CPUSET_FLAGS {
        if let Some(value) = files.text(&format!("cpuset.{name}"))?.and_then(|text| text.trim().parse().ok()) {
            flags.insert(name.to_owned(), value);
        }
    }
    Ok(Some(CpusetStats { cpus: parse::list(&cpus), mems: parse::list(&mems), flags }))
}

fn usage(files: &Reader<'_>, prefix: &str) -> Result<Option<MemoryUsage>> {
    let number = |name: &str| files.number(&format!("{prefix}.{name}"));
    let Some(usage) = number("usage_in_bytes")? else { return Ok(None) };
    Ok(Some(MemoryUsage {
        usage,
        peak: number("max_usage_in_bytes")?,
        limit: number("limit_in_bytes")?,
        failures: number("failcnt")?.unwrap_or(0),
    }))
}

fn memory(files: &Reader<'_>) -> Result<Option<MemoryStats>> {
    let Some(raw) = files.table("memory.stat")? else { return Ok(None) };
    let with_swap = usage(files, "memory.memsw")?;
    let usage_alone = usage(files, "memory")?.unwrap_or_default();
    let swap = with_swap.as_ref().map(|both| MemoryUsage {
        usage: both.usage.saturating_sub(usage_alone.usage),
        peak: None,
        limit: both.limit.and_then(|limit| Some(limit.saturating_sub(usage_alone.limit?))),
        failures: both.failures,
    });
    let oom = files.table("memory.oom_control")?.unwrap_or_default();
    Ok(Some(MemoryStats {
        cache: raw.get("cache").copied().unwrap_or(0),
        usage: usage_alone,
        with_swap,
        swap,
        kernel: usage(files, "memory.kmem")?,
        kernel_tcp: usage(files, "memory.kmem.tcp")?,
        oom: OomStats {
            kills: oom.get("oom_kill").copied().unwrap_or(0),
            under_oom: oom.get("under_oom") == Some(&1),
            ..OomStats::default()
        },
        raw,
        pressure: None,
    }))
}

fn pids(files: &Reader<'_>) -> Result<Option<PidsStats>> {
    let Some(current) = files.number("pids.current")? else { return Ok(None) };
    let refused = files.table("pids.events")?.and_then(|events| events.get("max").copied()).unwrap_or(0);
    Ok(Some(PidsStats { current, limit: files.number("pids.max")?, refused }))
}

/// Which files there are depends on the scheduler: BFQ's, those of CFQ (before Linux 5.0), or only what throttling
/// counts. As in runc, the first set that has any numbers is shown.
fn blkio(files: &Reader<'_>) -> Result<IoStats> {
    let list = |name: String| -> Result<Vec<IoEntry>> {
        Ok(files.text(&name)?.map(|text| parse::blkio(&text)).unwrap_or_default())
    };
    for (prefix, suffix) in [("blkio.bfq", "_recursive"), ("blkio", "_recursive"), ("blkio.throttle", "_recursive")] {
        let service_bytes = list(format!("{prefix}.io_service_bytes{suffix}"))?;
        let serviced = list(format!("{prefix}.io_serviced{suffix}"))?;
        if service_bytes.is_empty() && serviced.is_empty() {
            continue;
        }
        return Ok(IoStats {
            service_bytes,
            serviced,
            queued: list(format!("{prefix}.io_queued{suffix}"))?,
            service_time: list(format!("{prefix}.io_service_time{suffix}"))?,
            wait_time: list(format!("{prefix}.io_wait_time{suffix}"))?,
            merged: list(format!("{prefix}.io_merged{suffix}"))?,
            time: list(format!("{prefix}.time{suffix}"))?,
            sectors: list(format!("{prefix}.sectors{suffix}"))?,
            pressure: None,
        });
    }
    Ok(IoStats::default())
}

fn hugetlb(files: &Reader<'_>) -> Result<BTreeMap<String, MemoryUsage>> {
    let mut out = BTreeMap::new();
    for size in files.page_sizes(".usage_in_bytes")? {
        let reserved = usage(files, &format!("hugetlb.{size}.rsvd"))?;
        let usage = match reserved {
            Some(usage) => usage,
            None => usage(files, &format!("hugetlb.{size}"))?.unwrap_or_default(),
        };
        out.insert(size, usage);
    }
    Ok(out)
}
