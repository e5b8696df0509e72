//! `linux.resources` → the files to write, in order. Pure.
//!
//! The order is runc's (pids, memory, io, cpu, cpuset, hugetlb, rdma, unified). What a version cannot express
//! is an error, as the spec wants, except what engines send whether or not it was asked for:
//!
//! | member | treated as |
//! |---|---|
//! | `memory.kernel`, `memory.kernelTCP` | ignored: the kernel dropped both |
//! | `memory.useHierarchy` | ignored: always on since Linux 5.11 |
//! | `memory.swappiness` on version 2 | ignored, as runc does |
//! | `memory.disableOOMKiller` = false | the default |
//! | 0 in `limit`, `swap`, `reservation`, `shares`, `quota`, `period`, `weight`, `classID`, … | not set |

use serde::{Deserialize, Serialize};

use super::{Mode, Placement, v1, v2};
use crate::spec::{Problem, Resources};

/// How a refusal by the kernel is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Rule {
    /// Every refusal is an error.
    #[default]
    Must,
    /// No such file: nothing to do, since the value is what its absence means (swap without accounting).
    IfPresent,
    /// EINVAL or EBUSY: tried again after the other writes, since old and new values limit each other.
    Again,
    /// No such file: this one instead.
    OrElse {
        /// File name.
        file: String,
        /// What to write.
        value: String,
    },
    /// Nothing is written: the values of `file` (and of `plus`) must be less than `value`, else all is refused.
    Above {
        /// Second file whose value is added.
        plus: Option<String>,
    },
}

/// One value for one file of a container's cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// Index into [`Placement::dirs`].
    pub place: usize,
    /// File name, without a slash.
    pub file: String,
    /// What is written in one write(2).
    pub value: String,
    /// JSON pointer of the member this comes from.
    pub pointer: String,
    /// How a refusal is taken.
    pub rule: Rule,
}

/// Collects writes and problems while the sections are translated.
#[derive(Default)]
pub(super) struct Writes {
    place: usize,
    pub(super) writes: Vec<Write>,
    pub(super) problems: Vec<Problem>,
}

impl Writes {
    /// A write every refusal of which is an error.
    pub(super) fn must(&mut self, file: impl Into<String>, value: impl ToString, member: &str) {
        self.push(file, value, member, Rule::Must);
    }

    /// A write with its own rule. `member` is the pointer beneath `/linux/resources`.
    pub(super) fn push(&mut self, file: impl Into<String>, value: impl ToString, member: &str, rule: Rule) {
        let (file, value) = (file.into(), value.to_string());
        self.writes.push(Write { place: self.place, file, value, pointer: pointer(member), rule });
    }

    /// A member that cannot be applied.
    pub(super) fn refuse(&mut self, member: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(pointer(member), message));
    }

    /// A byte, count or time limit: `None` and 0 are not set, -1 is unlimited, less is an error.
    pub(super) fn limit(&mut self, value: Option<i64>, member: &str) -> Option<i64> {
        match value {
            None | Some(0) => None,
            Some(value) if value < -1 => {
                self.refuse(member, format!("{value} is neither a limit nor -1"));
                None
            }
            some => some,
        }
    }
}

fn pointer(member: &str) -> String {
    format!("/linux/resources/{member}")
}

/// Translates one section of the resources to the files of one version.
type Translate<T> = fn(&mut Writes, &T);

/// Translates one section, where it is given, with the function of the version its controller lives in.
fn section<T: ?Sized>(
    out: &mut Writes,
    placement: &Placement,
    (controller, member): (&str, &str),
    part: Option<&T>,
    (first, second): (Translate<T>, Translate<T>),
) {
    let Some(part) = part else { return };
    let Some(place) = placement.of(controller) else {
        // Translate all the same: a section that asks for nothing needs no controller.
        let before = out.writes.len();
        first(out, part);
        if out.writes.len() > before {
            out.writes.truncate(before);
            out.refuse(member, format!("this host has no cgroup controller {controller:?}"));
        }
        return;
    };
    out.place = place;
    if placement.dirs[place].v2 { second(out, part) } else { first(out, part) }
}

/// Everything `resources` asks for but the device rules (see [`super::device`]).
pub fn writes(placement: &Placement, resources: &Resources) -> Result<Vec<Write>, Vec<Problem>> {
    let mut out = Writes::default();
    let (r, o) = (resources, &mut out);
    section(o, placement, ("pids", "pids"), r.pids.as_ref(), (v2::pids, v2::pids));
    section(o, placement, ("memory", "memory"), r.memory.as_ref(), (v1::memory, v2::memory));
    section(o, placement, ("blkio", "blockIO"), r.block_io.as_ref(), (v1::block_io, v2::block_io));
    section(o, placement, ("cpu", "cpu"), r.cpu.as_ref(), (v1::cpu, v2::cpu));
    section(o, placement, ("cpuset", "cpu"), r.cpu.as_ref(), (v2::cpuset, v2::cpuset));
    section(o, placement, ("hugetlb", "hugepageLimits"), r.hugepage_limits.as_deref(), (v1::hugetlb, v2::hugetlb));
    section(o, placement, ("rdma", "rdma"), r.rdma.as_ref(), (v2::rdma, v2::rdma));
    // net_cls and net_prio exist in version 1 only, so neither may fall back to the unified hierarchy.
    network(o, placement, r);
    if let Some(unified) = &r.unified {
        match placement.unified().filter(|_| placement.mode == Mode::V2) {
            Some(place) => {
                o.place = place;
                v2::unified(o, unified);
            }
            None if unified.is_empty() => {}
            None => o.refuse("unified", "invalid configuration: cannot use unified on cgroup v1"),
        }
    }
    if out.problems.is_empty() { Ok(out.writes) } else { Err(out.problems) }
}

fn network(out: &mut Writes, placement: &Placement, resources: &Resources) {
    let Some(network) = &resources.network else { return };
    let v1 = |controller: &str| placement.of(controller).filter(|place| !placement.dirs[*place].v2);
    if let Some(id) = network.class_id.filter(|id| *id != 0) {
        match v1("net_cls") {
            Some(place) => {
                out.place = place;
                out.must("net_cls.classid", id, "network/classID");
            }
            None => out.refuse("network/classID", "this host has no cgroup controller \"net_cls\""),
        }
    }
    let priorities = network.priorities.as_deref().unwrap_or_default();
    if priorities.is_empty() {
        return;
    }
    let Some(place) = v1("net_prio") else {
        return out.refuse("network/priorities", "this host has no cgroup controller \"net_prio\"");
    };
    out.place = place;
    for (at, priority) in priorities.iter().enumerate() {
        let member = format!("network/priorities/{at}");
        match priority.name.as_deref().filter(|name| is_word(name)) {
            Some(name) => out.must("net_prio.ifpriomap", format!("{name} {}", priority.priority), &member),
            None => out.refuse(&format!("{member}/name"), "an interface name is required"),
        }
    }
}

/// True for text that stays one word in a cgroup file.
pub(super) fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '\0')
}

/// The controllers version 2 files need, each once: `memory` for `memory.max`.
pub(super) fn controllers(writes: &[Write], place: usize) -> Vec<&str> {
    let mut needed: Vec<&str> = Vec::new();
    for write in writes.iter().filter(|write| write.place == place) {
        let Some((controller, _)) = write.file.split_once('.') else { continue };
        if controller != "cgroup" && !needed.contains(&controller) {
            needed.push(controller);
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::*;

    fn placement(mode: Mode) -> Placement {
        let place = |controllers: &[&str]| Place {
            controllers: controllers.iter().map(|&c| c.to_owned()).collect(),
            v2: controllers.is_empty(),
            ..Place::default()
        };
        let v1 = ["pids", "memory", "blkio", "cpu", "cpuset", "hugetlb", "rdma", "net_cls", "net_prio", "devices"];
        let mut dirs: Vec<Place> = v1.iter().map(|&c| place(&[c])).collect();
        match mode {
            Mode::V2 => dirs = vec![place(&[])],
            Mode::Hybrid => {
                dirs.retain(|p| p.controllers[0] != "hugetlb");
                dirs.push(place(&[]));
            }
            _ => {}
        }
        Placement { mode, dirs }
    }

    /// `file=value` for each write; problems as `!member: message`.
    fn lines(mode: Mode, json: &str) -> String {
        let placement = placement(mode);
        let resources: Resources = serde_json::from_str(json).expect(json);
        let lines: Vec<String> = match writes(&placement, &resources) {
            Ok(writes) => {
                for write in &writes {
                    let controller = write.file.split('.').next().expect("controller");
                    let place = &placement.dirs[write.place];
                    assert!(place.v2 || place.controllers[0] == controller, "{write:?}");
                }
                writes.iter().map(|w| format!("{}={}", w.file, w.value)).collect()
            }
            Err(problems) => problems
                .iter()
                .map(|p| format!("!{}: {}", p.pointer.trim_start_matches("/linux/resources/"), p.message))
                .collect(),
        };
        lines.join("; ")
    }

    /// Resources, what version 1 gets, what version 2 gets.
    const TABLE: &[(&str, &str, &str)] = &[
        (r#"{}"#, "", ""),
        (r#"{"pids":{}}"#, "", ""),
        (r#"{"pids":{"limit":5}}"#, "pids.max=5", "pids.max=5"),
        (r#"{"pids":{"limit":0}}"#, "pids.max=1", "pids.max=1"),
        (r#"{"pids":{"limit":-1}}"#, "pids.max=max", "pids.max=max"),
        (r#"{"memory":{"limit":0,"swap":0,"reservation":0}}"#, "", ""),
        (
            r#"{"memory":{"limit":100,"swap":300,"reservation":50}}"#,
            "memory.limit_in_bytes=100; memory.memsw.limit_in_bytes=300; memory.soft_limit_in_bytes=50",
            "memory.swap.max=200; memory.max=100; memory.low=50",
        ),
        (
            r#"{"memory":{"limit":100,"swap":100}}"#,
            "memory.limit_in_bytes=100; memory.memsw.limit_in_bytes=100",
            "memory.swap.max=0; memory.max=100",
        ),
        (
            r#"{"memory":{"limit":100,"swap":-1}}"#,
            "memory.limit_in_bytes=100; memory.memsw.limit_in_bytes=-1",
            "memory.swap.max=max; memory.max=100",
        ),
        (
            r#"{"memory":{"limit":-1}}"#,
            "memory.limit_in_bytes=-1; memory.memsw.limit_in_bytes=-1",
            "memory.swap.max=max; memory.max=max",
        ),
        (
            r#"{"memory":{"limit":-1,"swap":500,"reservation":-1}}"#,
            "memory.limit_in_bytes=-1; memory.memsw.limit_in_bytes=500; memory.soft_limit_in_bytes=-1",
            "memory.swap.max=500; memory.max=max; memory.low=max",
        ),
        (
            r#"{"memory":{"swap":5}}"#,
            "!memory/swap: unable to set swap limit without memory limit",
            "!memory/swap: unable to set swap limit without memory limit",
        ),
        (
            r#"{"memory":{"limit":6,"swap":5}}"#,
            "!memory/swap: memory+swap limit should be >= memory limit",
            "!memory/swap: memory+swap limit should be >= memory limit",
        ),
        (
            r#"{"memory":{"limit":-2}}"#,
            "!memory/limit: -2 is neither a limit nor -1",
            "!memory/limit: -2 is neither a limit nor -1",
        ),
        (
            r#"{"memory":{"kernel":5,"kernelTCP":5,"useHierarchy":true,"disableOOMKiller":false,"swappiness":60}}"#,
            "memory.swappiness=60",
            "",
        ),
        (
            r#"{"memory":{"disableOOMKiller":true}}"#,
            "memory.oom_control=1",
            "!memory/disableOOMKiller: cgroup v2 cannot disable the OOM killer",
        ),
        (
            r#"{"memory":{"swappiness":101}}"#,
            "!memory/swappiness: invalid memory swappiness value: 101 (valid range is 0-100)",
            "",
        ),
        (
            r#"{"memory":{"limit":9,"swap":10,"checkBeforeUpdate":true}}"#,
            "memory.limit_in_bytes=9; memory.memsw.limit_in_bytes=10",
            "memory.current=10; memory.current=9; memory.swap.max=1; memory.max=9",
        ),
        (r#"{"cpu":{"shares":0,"quota":0,"period":0,"cpus":"","mems":""}}"#, "", ""),
        (r#"{"cpu":{"shares":1024}}"#, "cpu.shares=1024", "cpu.weight=100"),
        (r#"{"cpu":{"shares":1}}"#, "!cpu/shares: the minimum allowed cpu-shares is 2", "cpu.weight=1"),
        (r#"{"cpu":{"shares":262145}}"#, "!cpu/shares: the maximum allowed cpu-shares is 262144", "cpu.weight=10000"),
        (
            r#"{"cpu":{"quota":5000,"period":10000,"burst":0}}"#,
            "cpu.cfs_period_us=10000; cpu.cfs_quota_us=5000; cpu.cfs_burst_us=0",
            "cpu.max=5000 10000; cpu.max.burst=0",
        ),
        (r#"{"cpu":{"quota":5000}}"#, "cpu.cfs_quota_us=5000", "cpu.max=5000 100000"),
        (r#"{"cpu":{"quota":-1}}"#, "cpu.cfs_quota_us=-1", "cpu.max=max 100000"),
        (r#"{"cpu":{"period":10000}}"#, "cpu.cfs_period_us=10000", "cpu.max=max 10000"),
        (r#"{"cpu":{"idle":1,"shares":1024}}"#, "cpu.idle=1", "cpu.idle=1"),
        (r#"{"cpu":{"idle":0,"shares":2}}"#, "cpu.idle=0; cpu.shares=2", "cpu.idle=0; cpu.weight=1"),
        (r#"{"cpu":{"idle":2}}"#, "!cpu/idle: 2 is neither 0 nor 1", "!cpu/idle: 2 is neither 0 nor 1"),
        (r#"{"cpu":{"realtimePeriod":0,"realtimeRuntime":0}}"#, "", ""),
        (
            r#"{"cpu":{"realtimePeriod":9,"realtimeRuntime":3}}"#,
            "cpu.rt_period_us=9; cpu.rt_runtime_us=3",
            "!cpu/realtimePeriod: cgroup v2 has no real-time limits; !cpu/realtimeRuntime: cgroup v2 has no real-time limits",
        ),
        (r#"{"cpu":{"cpus":"0-1","mems":"0"}}"#, "cpuset.cpus=0-1; cpuset.mems=0", "cpuset.cpus=0-1; cpuset.mems=0"),
        (r#"{"blockIO":{"weight":0,"leafWeight":0}}"#, "", ""),
        (r#"{"blockIO":{"weight":500}}"#, "blkio.weight=500", "io.bfq.weight=500"),
        (
            r#"{"blockIO":{"weight":9}}"#,
            "!blockIO/weight: block I/O weight 9 is not between 10 and 1000",
            "!blockIO/weight: block I/O weight 9 is not between 10 and 1000",
        ),
        (
            r#"{"blockIO":{"leafWeight":10}}"#,
            "blkio.leaf_weight=10",
            "!blockIO/leafWeight: cgroup v2 has no leaf weight",
        ),
        (
            r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":100}]}}"#,
            "blkio.weight_device=8:0 100",
            "io.bfq.weight=8:0 100",
        ),
        (
            r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":7}],
                "throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":0}],
                "throttleReadIOPSDevice":[{"major":8,"minor":1,"rate":8}],
                "throttleWriteIOPSDevice":[{"major":8,"minor":2,"rate":9}]}}"#,
            "blkio.throttle.read_bps_device=8:0 7; blkio.throttle.write_bps_device=8:0 0; \
             blkio.throttle.read_iops_device=8:1 8; blkio.throttle.write_iops_device=8:2 9",
            "io.max=8:0 rbps=7; io.max=8:0 wbps=max; io.max=8:1 riops=8; io.max=8:2 wiops=9",
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":7}]}"#,
            "hugetlb.2MB.limit_in_bytes=7; hugetlb.2MB.rsvd.limit_in_bytes=7",
            "hugetlb.2MB.max=7; hugetlb.2MB.rsvd.max=7",
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"02MB","limit":7}]}"#,
            "!hugepageLimits/0/pageSize: \"02MB\" is not a page size like 64KB, 2MB or 1GB",
            "!hugepageLimits/0/pageSize: \"02MB\" is not a page size like 64KB, 2MB or 1GB",
        ),
        (
            r#"{"rdma":{"mlx5_0":{"hcaHandles":1,"hcaObjects":2},"none":{}}}"#,
            "rdma.max=mlx5_0 hca_handle=1 hca_object=2",
            "rdma.max=mlx5_0 hca_handle=1 hca_object=2",
        ),
        (r#"{"rdma":{"a b":{"hcaHandles":1}}}"#, "!rdma/a b: not a device name", "!rdma/a b: not a device name"),
        (r#"{"network":{"classID":0,"priorities":[]}}"#, "", ""),
        (
            r#"{"network":{"classID":7,"priorities":[{"name":"lo","priority":3}]}}"#,
            "net_cls.classid=7; net_prio.ifpriomap=lo 3",
            "!network/classID: this host has no cgroup controller \"net_cls\"; \
             !network/priorities: this host has no cgroup controller \"net_prio\"",
        ),
        (
            r#"{"unified":{"memory.high":"5","io.max":"8:0 rbps=1\n8:1 rbps=2\n"}}"#,
            "!unified: invalid configuration: cannot use unified on cgroup v1",
            "io.max=8:0 rbps=1; io.max=8:1 rbps=2; memory.high=5",
        ),
        (
            r#"{"unified":{"../x":"5","..":"1"}}"#,
            "!unified: invalid configuration: cannot use unified on cgroup v1",
            "!unified/..: unified resource \"..\" must be a file name; \
             !unified/..~1x: unified resource \"../x\" must be a file name (no slashes)",
        ),
    ];

    #[test]
    fn every_member_on_both_versions() {
        for (json, v1, v2) in TABLE {
            assert_eq!(lines(Mode::V1, json), *v1, "version 1: {json}");
            assert_eq!(lines(Mode::V2, json), *v2, "version 2: {json}");
        }
    }

    #[test]
    fn hybrid_takes_what_version_1_lacks_from_version_2() {
        let json = r#"{"memory":{"limit":5},"hugepageLimits":[{"pageSize":"2MB","limit":7}]}"#;
        assert_eq!(lines(Mode::Hybrid, json), "memory.limit_in_bytes=5; hugetlb.2MB.max=7; hugetlb.2MB.rsvd.max=7");
        assert!(lines(Mode::Hybrid, r#"{"unified":{"memory.max":"1"}}"#).starts_with("!unified"));
    }

    #[test]
    fn a_missing_controller_is_an_error_only_if_asked_for() {
        let placement = Placement::default();
        let asked: Resources = serde_json::from_str(r#"{"memory":{"limit":5}}"#).expect("json");
        let problems = writes(&placement, &asked).expect_err("no memory controller");
        assert_eq!(problems[0].pointer, "/linux/resources/memory");
        let not: Resources = serde_json::from_str(r#"{"memory":{"limit":0,"disableOOMKiller":false}}"#).expect("json");
        assert_eq!(writes(&placement, &not), Ok(vec![]));
    }

    #[test]
    fn weights_as_runc_converts_them() {
        for (shares, weight) in [
            (2, 1),
            (10, 4),
            (100, 17),
            (128, 21),
            (256, 35),
            (512, 59),
            (1000, 99),
            (1024, 100),
            (2048, 174),
            (4096, 303),
            (10240, 639),
            (262_144, 10_000),
        ] {
            assert_eq!(v2::cpu_weight(shares), weight, "{shares}");
        }
        assert_eq!([10, 100, 1000].map(v2::io_weight), [1, 910, 10_000]);
    }

    #[test]
    fn controllers_of_version_2_files() {
        let json = r#"{"pids":{"limit":5},"unified":{"memory.high":"5","memory.low":"1","cgroup.max.depth":"1"}}"#;
        let resources: Resources = serde_json::from_str(json).expect("json");
        let writes = writes(&placement(Mode::V2), &resources).expect("writes");
        assert_eq!(controllers(&writes, 0), ["pids", "memory"]);
        assert!(controllers(&writes, 1).is_empty());
    }
}
