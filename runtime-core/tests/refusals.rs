//! Values that are out of range, malformed or contradict another property: refused before any process exists, at the
//! place where they stand, and all of a document at once. (Wrong types: examples.rs.)

use std::fs;
use std::path::Path;

use runtime_core::host::HostFacts;
use runtime_core::plan::{Request, plan};
use runtime_core::spec::{self, Problem};
use serde_json::Value;

/// Where, in the default config, and what.
const BAD: &[(&str, &str)] = &[
    ("/process/cwd", r#""""#),
    ("/process/cwd", r#""x""#),
    ("/process/args", r#"[]"#),
    ("/process/env", r#"["=x"]"#),
    ("/process/env", r#"["A"]"#),
    ("/process/user/umask", r#"1023"#),
    ("/process/user/uid", r#"-1"#),
    ("/process/user/additionalGids", r#"[-1]"#),
    ("/process/rlimits", r#"[{"type": "RLIMIT_NOFILE", "soft": 2, "hard": 1}]"#),
    ("/process/rlimits", r#"[{"type": "NOFILE", "soft": 1, "hard": 1}]"#),
    ("/process/rlimits", r#"[{"type": "RLIMIT_CPU", "soft": 1}]"#),
    ("/process/rlimits", r#"[{"soft": 1, "hard": 1}]"#),
    ("/process/oomScoreAdj", r#"1001"#),
    ("/process/oomScoreAdj", r#"-1001"#),
    ("/process/scheduler", r#"{}"#),
    ("/process/scheduler", r#"{"policy": "SCHED_X"}"#),
    ("/process/scheduler", r#"{"policy": "SCHED_OTHER", "nice": 20}"#),
    ("/process/scheduler", r#"{"policy": "SCHED_OTHER", "priority": 1}"#),
    ("/process/scheduler", r#"{"policy": "SCHED_FIFO", "priority": 100}"#),
    ("/process/scheduler", r#"{"policy": "SCHED_FIFO", "runtime": 1}"#),
    ("/process/scheduler", r#"{"policy": "SCHED_OTHER", "flags": ["X"]}"#),
    ("/process/ioPriority", r#"{"class": "X", "priority": 1}"#),
    ("/process/ioPriority", r#"{"class": "IOPRIO_CLASS_BE", "priority": 8}"#),
    ("/process/ioPriority", r#"{"priority": 1}"#),
    ("/process/execCPUAffinity", r#"{"initial": "a"}"#),
    ("/process/execCPUAffinity", r#"{"final": "3-1"}"#),
    ("/process/consoleSize", r#"{"height": -1, "width": 1}"#),
    ("/hostname", r#""aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa""#),
    ("/domainname", r#""aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa""#),
    ("/hostname", r#""a\u0000b""#),
    ("/root/path", r#""""#),
    ("/mounts/7", r#"{"destination": "/", "type": "tmpfs", "source": "x"}"#),
    (
        "/mounts/7",
        r#"{"destination": "/x", "type": "bind", "source": "/etc", "options": ["bind"], "uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]}"#,
    ),
    ("/mounts/7", r#"{"destination": "/x", "type": "tmpfs", "source": "x", "options": ["idmap"]}"#),
    ("/mounts/7", r#"{"destination": "/x", "type": "bind", "source": "/etc", "options": ["bind", "idmap"]}"#),
    ("/mounts/7", r#"{"destination": "/proc/sys", "type": "tmpfs", "source": "x"}"#),
    ("/mounts/7", r#"{"destination": "/x", "type": "bind", "source": "/etc", "options": ["bind", "tmpcopyup"]}"#),
    ("/linux/namespaces/5", r#"{"type": "pid"}"#),
    ("/linux/namespaces/5", r#"{"type": "x"}"#),
    ("/linux/namespaces/5", r#"{"path": "/x"}"#),
    ("/linux/uidMappings", r#"[{"containerID": 0, "hostID": 0, "size": 1}]"#),
    ("/linux/timeOffsets", r#"{"monotonic": {"secs": 1}}"#),
    ("/linux/timeOffsets", r#"{"sometime": {"secs": 1}}"#),
    ("/linux/timeOffsets", r#"{"monotonic": {"secs": 1, "nanosecs": 1000000000}}"#),
    ("/linux/devices", r#"[{"path": "/dev/x", "type": "q", "major": 1, "minor": 1}]"#),
    ("/linux/devices", r#"[{"path": "/dev/x", "type": "c"}]"#),
    ("/linux/devices", r#"[{"type": "c", "major": 1, "minor": 3}]"#),
    ("/linux/devices", r#"[{"path": "dev/x", "type": "c", "major": 1, "minor": 3}]"#),
    ("/linux/devices", r#"[{"path": "/dev/x", "type": "c", "major": -1, "minor": 3}]"#),
    ("/linux/devices", r#"[{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "uid": -1}]"#),
    ("/linux/netDevices", r#"{"": {}}"#),
    ("/linux/netDevices", r#"{"a/b": {}}"#),
    ("/linux/netDevices", r#"{"eth9": {"name": "aaaaaaaaaaaaaaaaa"}}"#),
    ("/linux/resources/devices", r#"[{"allow": true, "type": "x", "access": "rwm"}]"#),
    ("/linux/resources/devices", r#"[{"allow": true, "access": ""}]"#),
    ("/linux/resources/devices", r#"[{"allow": true, "access": "z"}]"#),
    ("/linux/resources/memory", r#"{"swap": 5}"#),
    ("/linux/resources/memory", r#"{"limit": 5, "swap": 4}"#),
    ("/linux/resources/memory", r#"{"swappiness": 101}"#),
    ("/linux/resources/hugepageLimits", r#"[{"limit": 1}]"#),
    ("/linux/resources/unified", r#"{"a/b": "1"}"#),
    ("/linux/resources/unified", r#"{"memory.max": "1"}"#),
    ("/linux/resources/blockIO", r#"{"weight": 5}"#),
    ("/linux/resources/blockIO", r#"{"weight": 2000}"#),
    ("/linux/resources/network", r#"{"priorities": [{"name": "", "priority": 1}]}"#),
    ("/linux/resources/pids", r#"{"limit": 1.5}"#),
    ("/linux/resources/rdma", r#"{"a b": {"hcaHandles": 1}}"#),
    ("/linux/rootfsPropagation", r#""x""#),
    ("/linux/maskedPaths", r#"["x"]"#),
    ("/linux/maskedPaths", r#"[""]"#),
    ("/linux/readonlyPaths", r#"["x"]"#),
    ("/linux/mountLabel", r#""x""#),
    ("/linux/personality", r#"{"domain": "X"}"#),
    ("/linux/personality", r#"{}"#),
    ("/linux/personality", r#"{"domain": "LINUX", "flags": ["X"]}"#),
    ("/linux/memoryPolicy", r#"{"nodes": "0"}"#),
    ("/linux/memoryPolicy", r#"{"mode": "X"}"#),
    ("/linux/memoryPolicy", r#"{"mode": "MPOL_BIND"}"#),
    ("/linux/memoryPolicy", r#"{"mode": "MPOL_LOCAL", "nodes": "0"}"#),
    ("/linux/memoryPolicy", r#"{"mode": "MPOL_BIND", "nodes": "x"}"#),
    ("/linux/memoryPolicy", r#"{"mode": "MPOL_BIND", "nodes": "0", "flags": ["X"]}"#),
    ("/linux/intelRdt", r#"{"closID": ".."}"#),
    ("/linux/intelRdt", r#"{"closID": "a/b"}"#),
    ("/linux/intelRdt", r#"{"closID": "a\nb"}"#),
    ("/linux/sysctl", r#"{"kernel.hostname": "x"}"#),
    ("/linux/sysctl", r#"{"kernel.shmmax": ""}"#),
    ("/linux/sysctl", r#"{"vm.swappiness": "1"}"#),
    ("/linux/seccomp", r#"{}"#),
    ("/hooks", r#"{"prestart": [{}]}"#),
    ("/hooks", r#"{"prestart": [{"path": "x"}]}"#),
    ("/hooks", r#"{"poststop": [{"path": "/x", "timeout": 0}]}"#),
    ("/hooks", r#"{"poststop": [{"path": "/x", "timeout": -1}]}"#),
    ("/hooks", r#"{"poststop": [{"path": "/x", "env": ["A"]}]}"#),
    ("/annotations", r#"{"": "x"}"#),
];

fn golden(of: &str, name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{of}/{name}.json"));
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn problems(config: &Value) -> Vec<Problem> {
    let facts: HostFacts = serde_json::from_str(&golden("hosts", "hybrid")).expect("facts");
    let request = Request { id: "demo".into(), bundle: "/bundle".into(), ..Request::default() };
    let planned = spec::parse(config.to_string().as_bytes()).and_then(|spec| plan(&spec, &facts, &request).map(drop));
    planned.err().unwrap_or_default()
}

fn default() -> Value {
    let mut config: Value = serde_json::from_str(&golden("configs", "default")).expect("config");
    config["process"]["terminal"] = false.into();
    config
}

/// Sets a value, making objects on the way; an index behind the end of an array appends.
fn set(config: &mut Value, pointer: &str, value: Value) {
    let mut at = config;
    for word in pointer.split('/').skip(1) {
        at = match at {
            Value::Array(list) => {
                let index = word.parse().unwrap_or(list.len()).min(list.len());
                if index == list.len() {
                    list.push(Value::Null);
                }
                &mut list[index]
            }
            other => &mut other[word],
        };
    }
    *at = value;
}

#[test]
fn the_default_is_good() {
    assert_eq!(problems(&default()), []);
}

#[test]
fn bad_values_are_refused_where_they_stand() {
    let mut wrong = Vec::new();
    for (pointer, value) in BAD {
        let mut config = default();
        set(&mut config, pointer, serde_json::from_str(value).expect(value));
        let found = problems(&config);
        // An index behind the end has become the last one.
        let place = pointer.trim_end_matches(|c: char| c.is_ascii_digit());
        if !found.iter().any(|problem| problem.pointer.starts_with(place)) {
            wrong.push(format!("{pointer} {value}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_are_told_at_once() {
    let mut config = default();
    let some = ["/hostname", "/process/cwd", "/process/oomScoreAdj", "/linux/rootfsPropagation", "/linux/personality"];
    for place in some {
        let (_, value) = BAD.iter().find(|(pointer, _)| *pointer == place).expect(place);
        set(&mut config, place, serde_json::from_str(value).expect(value));
    }
    let found = problems(&config);
    for place in some {
        assert!(found.iter().any(|problem| problem.pointer.starts_with(place)), "{place}: {found:?}");
    }
}
