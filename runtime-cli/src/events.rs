//! `events`: statistics at intervals and notices of exhausted memory, one JSON object per line, in runc's shape.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::ArgMatches;
use runtime_core::Container;
use runtime_core::cgroup::Stats;
use runtime_core::cgroup::stats::{IoEntry, IoStats, MemoryStats, MemoryUsage, Pressure};
use runtime_core::state::Status;
use runtime_core::verb::events::Event;
use serde_json::{Map, Value, json};

use crate::{flag, print};

/// Prints statistics once with `--stats`, else everything until the container ends.
pub fn events(container: &Container, matches: &ArgMatches) -> Result<(), String> {
    let interval = matches.try_get_one("interval").ok().flatten().copied().unwrap_or(Duration::ZERO);
    if interval.is_zero() {
        return Err("duration interval must be greater than 0".to_owned());
    }
    let state = container.state().map_err(|error| error.to_string())?;
    if state.status == Status::Stopped {
        return Err(format!("container with id {} is not running", state.id));
    }
    if flag(matches, "stats") {
        return stats(container);
    }
    let mut watch = container.watch().map_err(|error| error.to_string())?;
    let mut due = Instant::now() + interval;
    loop {
        let left = due.saturating_duration_since(Instant::now());
        match watch.next(left).map_err(|error| error.to_string())? {
            Event::Ended => return Ok(()),
            Event::OutOfMemory => print::result(&format!("{{\"type\":\"oom\",\"id\":{}}}\n", json!(container.id())))?,
            Event::Nothing => {
                due += interval;
                match stats(container) {
                    // It has just ended, which the next round tells.
                    Err(_) if container.pid().is_none() => {}
                    result => result?,
                }
            }
        }
    }
}

fn stats(container: &Container) -> Result<(), String> {
    let stats = container.stats().map_err(|error| error.to_string())?;
    let data = document(&stats);
    print::result(&format!("{{\"type\":\"stats\",\"id\":{},\"data\":{data}}}\n", json!(container.id())))
}

/// `data` of a stats event. What is zero is left out, except what go-runc always reads.
fn document(stats: &Stats) -> Value {
    let cpu = stats.cpu.clone().unwrap_or_default();
    let memory = stats.memory.clone().unwrap_or_default();
    let pids = stats.pids.clone().unwrap_or_default();
    let mut usage = filled([
        ("total", json!(cpu.total)),
        ("percpu", json!(cpu.per_cpu)),
        ("percpu_kernel", json!(cpu.per_cpu_kernel)),
        ("percpu_user", json!(cpu.per_cpu_user)),
    ]);
    usage.insert("kernel".into(), json!(cpu.kernel));
    usage.insert("user".into(), json!(cpu.user));
    let throttling = filled([
        ("periods", json!(cpu.periods)),
        ("throttledPeriods", json!(cpu.throttled_periods)),
        ("throttledTime", json!(cpu.throttled_time)),
    ]);
    let mut cpu_document = Map::from_iter([("usage".into(), usage.into()), ("throttling".into(), throttling.into())]);
    cpu_document.extend(pressure(cpu.pressure.as_ref()));
    json!({
        "cpu": cpu_document,
        "cpuset": cpuset(stats),
        "memory": memory_document(&memory),
        "pids": filled([("current", json!(pids.current)), ("limit", json!(pids.limit.unwrap_or(0)))]),
        "blkio": io(&stats.io.clone().unwrap_or_default()),
        "hugetlb": stats.hugetlb.iter().map(|(size, pages)| (size.clone(), counted(pages))).collect::<BTreeMap<_, _>>(),
        "intel_rdt": {},
        "network_interfaces": null,
    })
}

fn cpuset(stats: &Stats) -> Map<String, Value> {
    let set = stats.cpuset.clone().unwrap_or_default();
    let mut document = filled([("cpus", json!(set.cpus)), ("mems", json!(set.mems))]);
    // Other files than these are not runc's.
    for name in [
        "cpu_exclusive",
        "mem_hardwall",
        "mem_exclusive",
        "memory_migrate",
        "memory_spread_page",
        "memory_spread_slab",
        "memory_pressure",
        "sched_load_balance",
        "sched_relax_domain_level",
    ] {
        let value = set.flags.get(name).copied().unwrap_or(0);
        // Always there in runc, for these are plain numbers of it.
        document.insert(name.into(), json!(value));
    }
    document
}

fn memory_document(memory: &MemoryStats) -> Value {
    let mut document = filled([("cache", json!(memory.cache))]);
    document.insert("usage".into(), entry(Some(&memory.usage)));
    document.insert("swap".into(), entry(memory.with_swap.as_ref()));
    document.insert("kernel".into(), entry(memory.kernel.as_ref()));
    document.insert("kernelTCP".into(), entry(memory.kernel_tcp.as_ref()));
    document.extend(filled([("raw", json!(memory.raw))]));
    document.extend(pressure(memory.pressure.as_ref()));
    document.into()
}

fn entry(usage: Option<&MemoryUsage>) -> Value {
    let Some(usage) = usage else { return json!({ "limit": 0, "failcnt": 0 }) };
    let mut document = counted(usage);
    document.insert("limit".into(), json!(usage.limit.unwrap_or(u64::MAX)));
    document.into()
}

/// Without the limit, which runc does not show for huge pages.
fn counted(usage: &MemoryUsage) -> Map<String, Value> {
    let mut document = filled([("usage", json!(usage.usage)), ("max", json!(usage.peak.unwrap_or(0)))]);
    document.insert("failcnt".into(), json!(usage.failures));
    document
}

fn io(io: &IoStats) -> Value {
    let list = |entries: &[IoEntry]| -> Value {
        let one = |entry: &IoEntry| {
            filled([
                ("major", json!(entry.major)),
                ("minor", json!(entry.minor)),
                ("op", json!(entry.op)),
                ("value", json!(entry.value)),
            ])
        };
        entries.iter().map(one).collect()
    };
    let mut document = filled([
        ("ioServiceBytesRecursive", list(&io.service_bytes)),
        ("ioServicedRecursive", list(&io.serviced)),
        ("ioQueueRecursive", list(&io.queued)),
        ("ioServiceTimeRecursive", list(&io.service_time)),
        ("ioWaitTimeRecursive", list(&io.wait_time)),
        ("ioMergedRecursive", list(&io.merged)),
        ("ioTimeRecursive", list(&io.time)),
        ("sectorsRecursive", list(&io.sectors)),
    ]);
    document.extend(pressure(io.pressure.as_ref()));
    document.into()
}

fn pressure(pressure: Option<&Pressure>) -> Map<String, Value> {
    let stall = |stall: &runtime_core::cgroup::stats::Stall| json!({ "avg10": stall.avg10, "avg60": stall.avg60, "avg300": stall.avg300, "total": stall.total });
    let document = |p: &Pressure| ("psi".to_owned(), json!({ "some": stall(&p.some), "full": stall(&p.full) }));
    pressure.map(document).into_iter().collect()
}

/// The members that are neither zero nor empty.
fn filled<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    let empty = |value: &Value| match value {
        Value::Number(number) => number.as_u64() == Some(0),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Null => true,
        Value::Bool(_) => false,
    };
    members.into_iter().filter(|(_, value)| !empty(value)).map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_counted_is_runcs_empty_document() {
        let document = document(&Stats::default());
        assert_eq!(document["cpu"], json!({ "usage": { "kernel": 0, "user": 0 }, "throttling": {} }));
        assert_eq!(document["memory"]["usage"], json!({ "limit": u64::MAX, "failcnt": 0 }));
        assert_eq!(document["network_interfaces"], Value::Null);
        assert_eq!(document["blkio"], json!({}));
    }
}
