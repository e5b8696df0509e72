//! The examples of runtime-spec's own JSON schema, and every property that the schema knows with values of the wrong type.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use runtime_core::host::HostFacts;
use runtime_core::plan::{Request, plan};
use runtime_core::spec::{self, Problem};
use serde_json::{Value, json};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/runtime-spec")
}

/// Problems of a document as a whole, each as `pointer: words`.
fn problems(text: &[u8], host: &str) -> Vec<String> {
    let facts = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/hosts/{host}.json"));
    let facts: HostFacts = serde_json::from_str(&fs::read_to_string(facts).expect(host)).expect(host);
    let request = Request { id: "demo".into(), bundle: "/bundle".into(), ..Request::default() };
    let found = spec::parse(text).and_then(|spec| plan(&spec, &facts, &request).map(drop));
    found.err().unwrap_or_default().iter().map(Problem::to_string).collect()
}

/// Name of the example, and how each of its problems begins, as it is planned on a host with cgroup v2.
const GOOD: &[(&str, &[&str])] = &[
    ("minimal", &[PROCESS]),
    ("minimal-for-start", &[]),
    ("linux-netdevice", &["/linux/netDevices: unable to move network devices without", PROCESS]),
    ("linux-rdma", &[PROCESS]),
    // It has labels of two LSMs, and limits that only cgroup v1 can express.
    (
        "spec-example",
        &[
            "/linux/mountLabel: selinux label is specified in config, but selinux is disabled",
            "/process/apparmorProfile: apparmor: config provided but apparmor not supported",
            "/process/selinuxLabel: selinux label is specified in config, but selinux is disabled",
            "/linux/resources/blockIO/weightDevice/0/leafWeight: cgroup v2 has no leaf weight",
            "/linux/resources/blockIO/leafWeight: cgroup v2 has no leaf weight",
            "/linux/resources/cpu/realtimePeriod: cgroup v2 has no real-time limits",
            "/linux/resources/cpu/realtimeRuntime: cgroup v2 has no real-time limits",
            "/linux/resources/network/classID: this host has no cgroup controller",
            "/linux/resources/network/priorities: this host has no cgroup controller",
            "/process/terminal: cannot allocate tty",
        ],
    ),
];
/// The spec demands one at start; runc and we at create.
const PROCESS: &str = "/process: process property must not be empty";

const BAD: &[(&str, &str)] = &[
    ("invalid-json", "invalid JSON: "),
    ("linux-hugepage", "/linux/resources/hugepageLimits/0/pageSize: "),
    ("linux-netdevice", "/linux/netDevices/eth0/name: "),
    ("linux-rdma", "/linux/resources/rdma/mlx5_1/hcaHandles: "),
];

fn names(of: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(data().join("config").join(of)).expect(of);
    entries.map(|e| e.expect("entry").path().file_stem().expect("name").to_string_lossy().into_owned()).collect()
}

fn example(of: &str, name: &str) -> Vec<u8> {
    fs::read(data().join("config").join(of).join(format!("{name}.json"))).expect(name)
}

#[test]
fn good_examples_parse_and_are_refused_for_a_listed_reason_only() {
    assert_eq!(names("good"), GOOD.iter().map(|(name, _)| (*name).to_owned()).collect());
    let mut wrong = Vec::new();
    for (name, reasons) in GOOD {
        assert!(spec::parse(&example("good", name)).is_ok(), "{name}: {:?}", spec::parse(&example("good", name)));
        let found = problems(&example("good", name), "v2");
        let as_listed =
            found.len() == reasons.len() && found.iter().zip(*reasons).all(|(is, want)| is.starts_with(want));
        if !as_listed {
            wrong.push(format!("{name}: {found:#?}, wanted {reasons:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn bad_examples_are_refused_where_they_are_bad() {
    assert_eq!(names("bad"), BAD.iter().map(|(name, _)| (*name).to_owned()).collect());
    for (name, reason) in BAD {
        let found = problems(&example("bad", name), "v2");
        assert!(found.iter().any(|problem| problem.starts_with(reason)), "{name}: {found:#?}, wanted {reason}");
    }
}

/// A document with `value` at a path of the schema, and the pointer to it.
fn document(path: &str, value: &Value) -> (String, Value) {
    let (mut pointer, mut document) = (String::new(), value.clone());
    for word in path.split('/').skip(1) {
        pointer.push('/');
        pointer.push_str(match word {
            "-" => "0",
            "*" => "any",
            name => name,
        });
    }
    for word in path.split('/').skip(1).collect::<Vec<_>>().into_iter().rev() {
        document = match word {
            "-" => json!([document]),
            "*" => json!({ "any": document }),
            name => json!({ name: document }),
        };
    }
    (pointer, document)
}

/// An ordinary property takes one of these kinds of values at most, and says of the others where they stand.
#[test]
fn every_property_of_the_schema_refuses_wrong_types() {
    let kinds = [json!(true), json!("text"), json!(1.5), json!([[]]), json!({ "": [] })];
    let list = fs::read_to_string(data().join("properties.txt")).expect("properties.txt");
    let mut wrong = Vec::new();
    for path in list.lines() {
        let mut refused = 0;
        for kind in &kinds {
            let (pointer, document) = document(path, kind);
            let found = spec::parse(document.to_string().as_bytes()).err().unwrap_or_default();
            refused += usize::from(!found.is_empty());
            if found.iter().any(|problem| !problem.to_string().starts_with(&pointer)) {
                wrong.push(format!("{path} with {kind}: {found:?}"));
            }
        }
        if refused + 1 < kinds.len() {
            wrong.push(format!("{path}: takes {} kinds of values", kinds.len() - refused));
        }
    }
    assert!(list.lines().count() > 200, "properties.txt is short");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
