//! linux.timeOffsets and the time namespace.

use crate::cases;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::fs;

cases!["clock":
    new_namespace_without_offsets, offsets_are_set, joined_namespace_is_shared, first_process_is_pid_1,
    with_a_user_namespace, offsets_without_namespace_are_refused, offsets_and_a_path_are_refused,
    bad_offsets_are_refused,
];

fn own_namespace(name: &str) -> Outcome<Value> {
    Ok(json!(fs::read_link(format!("/proc/self/ns/{name}"))?.to_string_lossy()))
}

/// Whole seconds of /proc/uptime.
fn uptime(text: &str) -> i64 {
    text.split('.').next().and_then(|word| word.parse().ok()).unwrap_or(-1)
}

fn new_namespace_without_offsets(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.namespace("time", "");
    let report = t.report(&bundle)?;
    check!(report.at("/namespaces/time") != &own_namespace("time")?, "the time namespace is the host's");
    check_eq!(report.at("/timens_offsets"), &json!(["monotonic 0 0", "boottime 0 0"]), "offsets");
    Ok(())
}

fn offsets_are_set(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.namespace("time", "");
    bundle.set(
        "/linux/timeOffsets",
        json!({ "monotonic": { "secs": 7881, "nanosecs": 27 }, "boottime": { "secs": 1_337_000, "nanosecs": 999_999_999 } }),
    );
    let report = t.report_paths(bundle, &["/proc/uptime"])?;
    check_eq!(report.at("/timens_offsets"), &json!(["monotonic 7881 27", "boottime 1337000 999999999"]), "offsets");
    // In it, not only in the parent of its children: its clock reads what was set.
    let host = uptime(&fs::read_to_string("/proc/uptime")?);
    let inside = uptime(report.path("/proc/uptime")["read"].as_str().unwrap_or_default());
    check!((inside - host - 1_337_000).abs() < 60, "uptime inside {inside}, outside {host}");
    Ok(())
}

fn joined_namespace_is_shared(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.namespace("time", "");
    bundle.set("/linux/timeOffsets", json!({ "boottime": { "secs": 500_000 } }));
    let pid = t.sleeper(bundle)?;
    let path = format!("/proc/{pid}/ns/time");
    let mut second = t.bundle_named("two")?;
    second.namespace("time", &path);
    let wanted = json!(fs::read_link(&path)?.to_string_lossy());
    second = second.looking_at(&["/proc/uptime"]);
    let report = t.report_beside(&second)?;
    check_eq!(report.at("/namespaces/time"), &wanted, "time namespace");
    let inside = uptime(report.path("/proc/uptime")["read"].as_str().unwrap_or_default());
    check!(inside > 500_000, "uptime inside {inside}");
    t.delete().map(drop)
}

fn first_process_is_pid_1(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.namespace("time", "");
    let report = t.report(&bundle)?;
    check_eq!(report.at("/ids/pid"), &json!(1), "pid");
    check_eq!(report.at("/ids/ppid"), &json!(0), "parent");
    check_eq!(report.at("/ids/sid"), &json!(1), "session");
    Ok(())
}

fn with_a_user_namespace(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.namespace("time", "");
    bundle.map_root()?;
    bundle.set("/linux/timeOffsets", json!({ "monotonic": { "secs": 42 } }));
    let report = t.report(&bundle)?;
    check_eq!(report.at("/timens_offsets/0"), &json!("monotonic 42 0"), "offset");
    check_eq!(report.at("/ids/pid"), &json!(1), "pid");
    Ok(())
}

fn offsets_without_namespace_are_refused(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/linux/timeOffsets", json!({ "monotonic": { "secs": 1 } }));
    t.run_refused(&bundle, "time namespace isn't enabled").map(drop)
}

fn offsets_and_a_path_are_refused(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?.with("/linux/timeOffsets", json!({ "monotonic": { "secs": 1 } }));
    bundle.namespace("time", "/proc/self/ns/time");
    t.run_refused(&bundle, "you may only provide one").map(drop)
}

fn bad_offsets_are_refused(t: &Test) -> Outcome {
    let table = [
        (json!({ "realtime": { "secs": 1 } }), "realtime"),
        (json!({ "monotonic": { "nanosecs": 1_000_000_000 } }), "nanosecs"),
        (json!({ "monotonic": { "secs": -999_999_999 } }), "timens_offsets"),
        (json!({ "boottime": { "secs": i64::MAX } }), "timens_offsets"),
    ];
    for (offsets, text) in table {
        let mut bundle = t.bundle()?.with("/linux/timeOffsets", offsets);
        bundle.namespace("time", "");
        t.run_refused(&bundle, text)?;
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}
