//! `linux.resources.unified` as properties of the unit: what systemd knows it writes itself, again at every reload.

use super::Property;
use super::unit::{mask, property, quota};
use super::wire::Value;
use crate::spec::Map;

/// Puts what the files say over the properties there are.
pub(super) fn over(all: &mut Vec<Property>, files: &Map<String>) {
    let mut said = Vec::new();
    let idle = files.get("cpu.idle").is_some_and(|value| value.trim() == "1");
    for (file, value) in files {
        file_to_property(&mut said, file, value.trim(), idle);
    }
    all.retain(|(name, _)| !said.iter().any(|(other, _)| other == name));
    all.append(&mut said);
}

fn file_to_property(all: &mut Vec<Property>, file: &str, value: &str, idle: bool) {
    match file {
        // systemd's word for an idle group, which has a fixed weight.
        "cpu.idle" if idle => number(all, "CPUWeight", "0"),
        "cpu.weight" if !idle => number(all, "CPUWeight", value),
        "cpu.max" => cpu_max(all, value),
        "cpuset.cpus" => cpus(all, "AllowedCPUs", value),
        "cpuset.mems" => cpus(all, "AllowedMemoryNodes", value),
        "memory.high" => number(all, "MemoryHigh", value),
        "memory.low" => number(all, "MemoryLow", value),
        "memory.min" => number(all, "MemoryMin", value),
        "memory.max" => number(all, "MemoryMax", value),
        "memory.swap.max" => number(all, "MemorySwapMax", value),
        "pids.max" => number(all, "TasksMax", value),
        // No property: ours alone to write.
        _ => {}
    }
}

fn number(all: &mut Vec<Property>, name: &str, value: &str) {
    let number = if value == "max" { Some(u64::MAX) } else { value.parse().ok() };
    all.extend(number.map(|number| property(name, Value::U64(number))));
}

/// `QUOTA [PERIOD]`.
fn cpu_max(all: &mut Vec<Property>, value: &str) {
    let mut words = value.split_whitespace();
    let quota_us = match words.next() {
        Some("max") => Some(-1),
        Some(word) => word.parse().ok(),
        None => None,
    };
    let period = words.next().map_or(Some(100_000), |word| word.parse().ok());
    if let (Some(quota_us), Some(period)) = (quota_us, period) {
        quota(all, quota_us, period);
    }
}

fn cpus(all: &mut Vec<Property>, name: &str, list: &str) {
    if let Some(mask) = mask(list).filter(|mask| !mask.is_empty()) {
        all.push(property(name, Value::Array("y".into(), mask.into_iter().map(Value::Byte).collect())));
    }
}
