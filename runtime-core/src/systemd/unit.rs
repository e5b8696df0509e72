//! `cgroupsPath` and `resources` as systemd has them: a unit, its slice, its properties. Pure.
//!
//! systemd rewrites the files of a unit from its properties when it reloads, so what it knows is said to it; what it
//! has no property for only the files have.

use serde::{Deserialize, Serialize};

use super::text;
use super::wire::Value;
use crate::cgroup::{Devices, Mode, cpu_weight, io_weight};
use crate::spec::{DeviceRule, Map, Memory, Problem, Resources};

const POINTER: &str = "/linux/cgroupsPath";
/// runc's prefix for containers without a cgroupsPath; engines look for it.
const PREFIX: &str = "runc";

/// What an annotation begins with that sets a property of the unit.
pub(crate) const ANNOTATION: &str = "org.systemd.property.";

/// A unit of systemd that holds a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Unit {
    /// `prefix-name.scope`, or a slice.
    pub name: String,
    /// The slice it is in.
    pub slice: String,
    /// It belongs to a user's systemd.
    pub user: bool,
}

/// One property.
pub type Property = (String, Value);

/// The unit of a container: `slice:prefix:name`; nothing means `:runc:<id>`.
pub fn unit(cgroups_path: Option<&str>, id: &str, user: bool) -> Result<Unit, Problem> {
    let whole = cgroups_path.filter(|path| !path.is_empty());
    let default = format!(":{PREFIX}:{id}");
    let whole = whole.unwrap_or(&default);
    let parts: Vec<&str> = whole.split(':').collect();
    let [slice, prefix, name] = parts.as_slice() else {
        let message = format!(
            "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {whole:?} instead"
        );
        return Err(Problem::new(POINTER, message));
    };
    let slice = match (*slice, user) {
        ("", true) => "user.slice",
        ("", false) => "system.slice",
        (slice, _) => slice,
    };
    expand(slice)?;
    let name = if name.ends_with(".slice") {
        expand(name)?;
        (*name).to_owned()
    } else if prefix.is_empty() {
        format!("{name}.scope")
    } else {
        format!("{prefix}-{name}.scope")
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if name.len() > 255 || name.starts_with('.') || !name.chars().all(plain) {
        return Err(Problem::new(POINTER, format!("{name:?} is no name of a unit")));
    }
    Ok(Unit { name, slice: slice.to_owned(), user })
}

impl Unit {
    /// True for a slice, which holds no process itself.
    pub fn is_slice(&self) -> bool {
        self.name.ends_with(".slice")
    }

    /// Path of its cgroup beneath that of its systemd, without a leading slash.
    pub fn path(&self) -> String {
        let slice = if self.is_slice() { expand(&self.name) } else { expand(&self.slice) }.unwrap_or_default();
        match (self.is_slice(), slice.is_empty()) {
            (true, _) => slice,
            (false, true) => self.name.clone(),
            (false, false) => format!("{slice}/{}", self.name),
        }
    }
}

/// `a-b.slice` → `a.slice/a-b.slice`: slices nest by their names (systemd.slice(5)). `-.slice` is the root.
fn expand(slice: &str) -> Result<String, Problem> {
    let invalid = || Problem::new(POINTER, format!("invalid slice name: {slice}"));
    let name = slice.strip_suffix(".slice").ok_or_else(invalid)?;
    if name == "-" {
        return Ok(String::new());
    }
    if name.is_empty() || slice.contains('/') || name.split('-').any(|part| part.is_empty() || part == "..") {
        return Err(invalid());
    }
    let mut above = String::new();
    let mut path = Vec::new();
    for part in name.split('-') {
        above = if above.is_empty() { part.to_owned() } else { format!("{above}-{part}") };
        path.push(format!("{above}.slice"));
    }
    Ok(path.join("/"))
}

pub(super) fn property(name: &str, value: Value) -> Property {
    (name.to_owned(), value)
}

/// What the unit is made with, all of it in one call: itself, the limits, and what annotations add.
pub fn properties(
    unit: &Unit,
    id: &str,
    mode: Mode,
    resources: &Resources,
    devices: &Devices,
    annotations: &Map<String>,
) -> Result<Vec<Property>, Vec<Problem>> {
    let parent = if unit.is_slice() { "Wants" } else { "Slice" };
    let mut all = vec![property("Description", Value::text(format!("libcontainer container {id}")))];
    if unit.is_slice() {
        // A slice is where its name says; it wants to be there while its parent is.
        all.push(property(parent, Value::Array("s".into(), vec![Value::text(unit.slice.as_str())])));
    } else {
        all.push(property(parent, Value::text(unit.slice.as_str())));
        all.push(property("Delegate", Value::Bool(true)));
    }
    let io = if mode == Mode::V2 { "IOAccounting" } else { "BlockIOAccounting" };
    for name in ["MemoryAccounting", "CPUAccounting", io, "TasksAccounting"] {
        all.push(property(name, Value::Bool(true)));
    }
    all.push(property("DefaultDependencies", Value::Bool(false)));
    all.extend(limits(mode, resources));
    all.extend(device_properties(devices, resources.devices.as_deref().unwrap_or_default()));
    if mode == Mode::V2
        && let Some(group) = resources.unified.as_ref().and_then(|unified| unified.get("memory.oom.group"))
    {
        let policy = if group.trim() == "1" { "kill" } else { "continue" };
        all.push(property("OOMPolicy", Value::text(policy)));
    }
    let mut problems = Vec::new();
    for (key, value) in annotations {
        let Some(name) = key.strip_prefix(ANNOTATION) else { continue };
        match annotated(name, value) {
            Ok(property) => all.push(property),
            Err(message) => problems.push(Problem::new(format!("/annotations/{key}"), message)),
        }
    }
    if problems.is_empty() { Ok(all) } else { Err(problems) }
}

/// The limits systemd has properties for; also what `update` sets.
pub fn limits(mode: Mode, resources: &Resources) -> Vec<Property> {
    let mut all = Vec::new();
    let v2 = mode == Mode::V2;
    if let Some(memory) = &resources.memory {
        memory_limits(&mut all, memory, v2);
    }
    if let Some(cpu) = &resources.cpu {
        match (cpu.idle, cpu.shares.filter(|shares| *shares != 0)) {
            (Some(1), _) if v2 => all.push(property("CPUWeight", Value::U64(0))),
            (_, Some(shares)) if v2 => all.push(property("CPUWeight", Value::U64(cpu_weight(shares)))),
            (_, Some(shares)) => all.push(property("CPUShares", Value::U64(shares))),
            _ => {}
        }
        quota(&mut all, cpu.quota.unwrap_or(0), cpu.period.unwrap_or(0));
        for (name, list) in [("AllowedCPUs", &cpu.cpus), ("AllowedMemoryNodes", &cpu.mems)] {
            if let Some(mask) = list.as_deref().filter(|list| v2 && !list.is_empty()).and_then(mask) {
                all.push(property(name, Value::Array("y".into(), mask.into_iter().map(Value::Byte).collect())));
            }
        }
    }
    if let Some(limit) = resources.pids.as_ref().and_then(|pids| pids.limit) {
        let limit = u64::try_from(limit).map_or(u64::MAX, |limit| limit.max(1));
        all.push(property("TasksMax", Value::U64(limit)));
    }
    if let Some(weight) = resources.block_io.as_ref().and_then(|io| io.weight).filter(|weight| *weight != 0) {
        all.push(match v2 {
            true => property("IOWeight", Value::U64(io_weight(weight))),
            false => property("BlockIOWeight", Value::U64(weight.into())),
        });
    }
    if let Some(files) = resources.unified.as_ref().filter(|_| v2) {
        super::unified::over(&mut all, files);
    }
    all
}

fn memory_limits(all: &mut Vec<Property>, memory: &Memory, v2: bool) {
    let bytes = |value: i64| Value::U64(u64::try_from(value).unwrap_or(u64::MAX));
    if let Some(limit) = memory.limit.filter(|limit| *limit != 0) {
        all.push(property(if v2 { "MemoryMax" } else { "MemoryLimit" }, bytes(limit)));
    }
    if !v2 {
        return;
    }
    if let Some(low) = memory.reservation.filter(|low| *low != 0) {
        all.push(property("MemoryLow", bytes(low)));
    }
    let swap = match (memory.limit, memory.swap) {
        (Some(-1), None | Some(0)) => Some(-1),
        (_, None | Some(0)) => None,
        (_, Some(-1)) => Some(-1),
        (Some(limit), Some(swap)) if limit > 0 && swap >= limit => Some(swap - limit),
        (Some(-1), Some(swap)) => Some(swap),
        _ => None,
    };
    if let Some(swap) = swap {
        all.push(property("MemorySwapMax", bytes(swap)));
    }
}

/// systemd counts per second, and in steps of 10 ms: rounded up, so that it never gives less than asked for.
pub(super) fn quota(all: &mut Vec<Property>, quota: i64, period: u64) {
    const STEP: u64 = 10_000;
    if period != 0 {
        all.push(property("CPUQuotaPeriodUSec", Value::U64(period)));
    }
    if quota == 0 && period == 0 {
        return;
    }
    let per_second = match u64::try_from(quota) {
        Ok(quota) if quota > 0 => {
            let period = if period == 0 { 100_000 } else { period };
            (quota.saturating_mul(1_000_000) / period).div_ceil(STEP).saturating_mul(STEP)
        }
        _ => u64::MAX,
    };
    all.push(property("CPUQuotaPerSecUSec", Value::U64(per_second)));
}

/// `0-2,5` as a bit mask, lowest byte first.
pub(super) fn mask(list: &str) -> Option<Vec<u8>> {
    let mut mask: Vec<u8> = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        for bit in first..=last {
            let byte = usize::from(bit / 8);
            if mask.len() <= byte {
                mask.resize(byte + 1, 0);
            }
            *mask.get_mut(byte)? |= 1 << (bit % 8);
        }
    }
    Some(mask)
}

/// Rules in the unit, as far as it can say them: what systemd allows, ours may still deny; nothing that is allowed may
/// be missing. A reload then takes nothing away.
fn device_properties(devices: &Devices, rules: &[DeviceRule]) -> Vec<Property> {
    if *devices == Devices::None {
        return vec![property("DevicePolicy", Value::text("auto"))];
    }
    let all = |rule: &DeviceRule| matches!(rule.typ.as_deref(), None | Some("a" | "")) && rule.allow;
    if rules.iter().any(all) {
        // systemd has no word for "all but": the rules are ours alone.
        return vec![property("DevicePolicy", Value::text("auto"))];
    }
    let mut allowed = Vec::new();
    let mut allow = |device: String, access: &str| {
        let entry = Value::Struct(vec![Value::text(device), Value::text(access)]);
        if !allowed.contains(&entry) {
            allowed.push(entry);
        }
    };
    allow("char-*".to_owned(), "m");
    allow("block-*".to_owned(), "m");
    for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (10, 200)] {
        allow(format!("/dev/char/{major}:{minor}"), "rwm");
    }
    allow("char-pts".to_owned(), "rwm");
    for rule in rules.iter().filter(|rule| rule.allow) {
        let (path, group) = if rule.typ.as_deref() == Some("b") { ("block", "block") } else { ("char", "char") };
        let access = rule.access.as_deref().unwrap_or_default();
        match (rule.major.filter(|n| *n >= 0), rule.minor.filter(|n| *n >= 0)) {
            (Some(major), Some(minor)) => allow(format!("/dev/{path}/{major}:{minor}"), access),
            // systemd takes the number of a group as well as its name (systemd.resource-control(5)).
            (Some(major), None) => allow(format!("{group}-{major}"), access),
            (None, _) => allow(format!("{group}-*"), access),
        }
    }
    vec![
        property("DevicePolicy", Value::text("strict")),
        // An empty list first: it forgets what was there.
        property("DeviceAllow", Value::Array("(ss)".into(), Vec::new())),
        property("DeviceAllow", Value::Array("(ss)".into(), allowed)),
    ]
}

/// `org.systemd.property.X`: GVariant text. `…Sec` is in seconds, and the property it means in microseconds.
fn annotated(name: &str, value: &str) -> Result<Property, String> {
    if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err("the name of a property has at least three letters, and only letters".to_owned());
    }
    let value = text::parse(value).ok_or_else(|| format!("{value:?} is no value in GVariant text format"))?;
    let Some(base) = name.strip_suffix("Sec").filter(|base| !base.ends_with('U')) else {
        return Ok(property(name, value));
    };
    let seconds = match value {
        Value::I16(v) => u64::try_from(v).ok(),
        Value::U16(v) => Some(v.into()),
        Value::I32(v) => u64::try_from(v).ok(),
        Value::U32(v) => Some(v.into()),
        Value::I64(v) => u64::try_from(v).ok(),
        Value::U64(v) => Some(v),
        Value::Double(v) if v >= 0.0 => {
            return Ok(property(&format!("{base}USec"), Value::U64((v * 1_000_000.0) as u64)));
        }
        _ => None,
    };
    let microseconds = seconds.and_then(|seconds| seconds.checked_mul(1_000_000));
    microseconds
        .map(|v| property(&format!("{base}USec"), Value::U64(v)))
        .ok_or_else(|| "not a number of seconds".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_places() {
        for (path, user, name, place) in [
            (None, false, "runc-id.scope", "system.slice/runc-id.scope"),
            (None, true, "runc-id.scope", "user.slice/runc-id.scope"),
            (Some("a-b.slice:docker:x"), false, "docker-x.scope", "a.slice/a-b.slice/docker-x.scope"),
            (Some("-.slice::x"), false, "x.scope", "x.scope"),
            (Some("kube.slice:cri:kube-pod1.slice"), false, "kube-pod1.slice", "kube.slice/kube-pod1.slice"),
        ] {
            let unit = unit(path, "id", user).expect("unit");
            assert_eq!((unit.name.as_str(), unit.path().as_str()), (name, place), "{path:?}");
        }
        for path in
            ["/a/b", "a:b", "a:b:c:d", "x:p:n", "a/b.slice:p:n", "a--b.slice:p:n", ".slice:p:n", ":p:../x", ":p:a b"]
        {
            assert!(unit(Some(path), "id", false).is_err(), "{path}");
        }
    }

    fn shown(mode: Mode, json: &str) -> String {
        let resources: Resources = serde_json::from_str(json).expect(json);
        let show = |(name, value): &Property| match value {
            Value::U64(u64::MAX) => format!("{name}=max"),
            Value::U64(number) => format!("{name}={number}"),
            Value::Array(_, items) => format!(
                "{name}={}",
                items
                    .iter()
                    .map(|i| match i {
                        Value::Byte(byte) => format!("{byte:02x}"),
                        other => format!("{other:?}"),
                    })
                    .collect::<String>()
            ),
            other => format!("{name}={other:?}"),
        };
        limits(mode, &resources).iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn limits_as_properties() {
        for (json, v2, v1) in [
            (r#"{}"#, "", ""),
            (
                r#"{"memory":{"limit":100,"swap":300,"reservation":50}}"#,
                "MemoryMax=100 MemoryLow=50 MemorySwapMax=200",
                "MemoryLimit=100",
            ),
            (r#"{"memory":{"limit":-1}}"#, "MemoryMax=max MemorySwapMax=max", "MemoryLimit=max"),
            (r#"{"cpu":{"shares":1024}}"#, "CPUWeight=100", "CPUShares=1024"),
            (r#"{"cpu":{"shares":1024,"idle":1}}"#, "CPUWeight=0", "CPUShares=1024"),
            (r#"{"cpu":{"quota":50000}}"#, "CPUQuotaPerSecUSec=500000", "CPUQuotaPerSecUSec=500000"),
            (
                r#"{"cpu":{"quota":3333,"period":10000}}"#,
                "CPUQuotaPeriodUSec=10000 CPUQuotaPerSecUSec=340000",
                "CPUQuotaPeriodUSec=10000 CPUQuotaPerSecUSec=340000",
            ),
            (r#"{"cpu":{"quota":-1}}"#, "CPUQuotaPerSecUSec=max", "CPUQuotaPerSecUSec=max"),
            (r#"{"cpu":{"cpus":"0-1,9","mems":"0"}}"#, "AllowedCPUs=0302 AllowedMemoryNodes=01", ""),
            (r#"{"pids":{"limit":0}}"#, "TasksMax=1", "TasksMax=1"),
            (r#"{"pids":{"limit":-1}}"#, "TasksMax=max", "TasksMax=max"),
            (r#"{"blockIO":{"weight":500}}"#, "IOWeight=4950", "BlockIOWeight=500"),
            (
                r#"{"pids":{"limit":7},"unified":{"pids.max":"9","cpu.max":"max 50000","memory.high":"max","io.max":"x"}}"#,
                "CPUQuotaPeriodUSec=50000 CPUQuotaPerSecUSec=max MemoryHigh=max TasksMax=9",
                "TasksMax=7",
            ),
            (r#"{"unified":{"cpu.idle":"1","cpu.weight":"8","cpuset.cpus":"1"}}"#, "CPUWeight=0 AllowedCPUs=02", ""),
            (r#"{"cpu":{"shares":1024},"unified":{"cpu.weight":"8"}}"#, "CPUWeight=8", "CPUShares=1024"),
        ] {
            assert_eq!(shown(Mode::V2, json), v2, "{json}");
            assert_eq!(shown(Mode::Hybrid, json), v1, "{json}");
        }
    }

    #[test]
    fn annotations_become_properties() {
        let ok = |name: &str, value: &str| annotated(name, value).expect(name);
        assert_eq!(ok("TimeoutStopUSec", "uint64 7"), property("TimeoutStopUSec", Value::U64(7)));
        assert_eq!(ok("TimeoutStopSec", "7"), property("TimeoutStopUSec", Value::U64(7_000_000)));
        assert_eq!(
            ok("CollectMode", "'inactive-or-failed'"),
            property("CollectMode", Value::text("inactive-or-failed"))
        );
        assert_eq!(
            ok("After", "['a.service']"),
            property("After", Value::Array("s".into(), vec![Value::text("a.service")]))
        );
        for (name, value) in
            [("X1", "1"), ("Ab", "1"), ("Abc", ""), ("Abc", "'x"), ("StopSec", "'x'"), ("StopSec", "-1")]
        {
            assert!(annotated(name, value).is_err(), "{name} {value}");
        }
    }

    #[test]
    fn device_rules_in_the_unit() {
        let rules: Vec<DeviceRule> = serde_json::from_str(
            r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":229,"access":"rw"},
                {"allow":true,"type":"b","major":8,"access":"r"},{"allow":true,"type":"c","access":"m"}]"#,
        )
        .expect("rules");
        let made = device_properties(&Devices::Writes(vec![]), &rules);
        let text = format!("{made:?}");
        for part in ["strict", "/dev/char/10:229", "block-8", "/dev/char/1:3", "char-pts"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(format!("{:?}", device_properties(&Devices::None, &rules)).contains("auto"));
    }
}
