//! The user namespace, `linux.uidMappings` and `linux.gidMappings`.

use super::namespace::{inside, link};
use crate::cases;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::fs;

cases!["user_namespace":
    maps_ids, ids_in_many_ranges, owns_the_others, with_the_network_of_the_host, joined,
    mappings_of_a_joined_one_are_compared, the_runtimes_own_is_refused, without_mappings_is_refused,
    bad_mappings_are_refused,
];

fn maps_ids(t: &Test) -> Outcome {
    let report = t.report(&t.mapped_bundle()?)?;
    check!(inside(&report, "user") != link("self", "user")?, "the user namespace is the runtime's");
    check_eq!(report.at("/uid_map"), &json!(["0 100000 65536"]), "uid map");
    check_eq!(report.at("/gid_map"), &json!(["0 100000 65536"]), "gid map");
    check_eq!(report.status("Uid"), "0 0 0 0", "uids");
    check_eq!(report.at("/root/uid"), &json!(0), "owner of /");
    check_eq!(report.at("/dev/null/rdev"), &json!("1:3"), "/dev/null, bound from the host");
    for mount in ["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys"] {
        check!(!report.mount(mount).is_null(), "{mount} is not mounted");
    }
    check!(report.at("/lo_up").as_bool() == Some(true), "loopback");
    Ok(())
}

fn ids_in_many_ranges(t: &Test) -> Outcome {
    // Six and more lines are kept in another form by the kernel.
    let ranges: Vec<Value> =
        (0..40).map(|n| json!({ "containerID": n * 10, "hostID": 200_000 + n * 100, "size": 10 })).collect();
    let mut bundle = t.bundle()?;
    bundle.namespace("user", "");
    bundle.set("/linux/uidMappings", json!(ranges));
    bundle.set("/linux/gidMappings", json!(ranges[..2]));
    bundle.set("/process/user", json!({ "uid": 399, "gid": 19, "additionalGids": [5, 11] }));
    bundle.give_root(200_000)?;
    let report = t.report(&bundle)?;
    let lines = report.at("/uid_map").as_array().cloned().unwrap_or_default();
    check_eq!(lines.len(), 40, "lines of uid_map");
    check_eq!((&lines[0], &lines[39]), (&json!("0 200000 10"), &json!("390 203900 10")), "first and last of uid_map");
    check_eq!(report.at("/gid_map"), &json!(["0 200000 10", "10 200100 10"]), "gid_map");
    check_eq!(report.status("Uid"), "399 399 399 399", "uid");
    check_eq!(report.status("Gid"), "19 19 19 19", "gid");
    check_eq!(report.status("Groups"), "5 11", "groups");
    Ok(())
}

/// Its root may do in them what root may: set the host name, here through the runtime.
fn owns_the_others(t: &Test) -> Outcome {
    let caps = json!(["CAP_SYS_ADMIN", "CAP_NET_ADMIN"]);
    let bundle = t
        .mapped_bundle()?
        .with("/hostname", json!("mapped"))
        .with("/process/capabilities", json!({ "bounding": caps, "effective": caps, "permitted": caps }));
    let report = t.report(&bundle)?;
    check_eq!(report.at("/uts/hostname"), &json!("mapped"), "host name");
    check_eq!(report.caps("Eff"), 1 << 21 | 1 << 12, "effective capabilities");
    Ok(())
}

/// Rootless engines' `--network=host`: no sysfs of the namespace may be mounted then, a bind of the host's serves.
fn with_the_network_of_the_host(t: &Test) -> Outcome {
    let mut bundle = t.mapped_bundle()?;
    bundle.drop_namespace("network");
    bundle.drop_mount("/sys/fs/cgroup");
    bundle.drop_mount("/sys");
    bundle.mount("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"]);
    let report = t.report(&bundle)?;
    check_eq!(inside(&report, "net"), link("self", "net")?, "network namespace");
    check!(!report.mount("/sys").is_null(), "/sys is not mounted");
    Ok(())
}

fn joined(t: &Test) -> Outcome {
    let pid = t.sleeper(t.mapped_bundle()?)?.to_string();
    let mut bundle = t.bundle_named("second")?;
    bundle.namespace("user", &format!("/proc/{pid}/ns/user"));
    bundle.give_root(100_000)?;
    let report = t.report_beside(&bundle)?;
    check_eq!(inside(&report, "user"), link(&pid, "user")?, "user");
    check_eq!(report.at("/uid_map"), &json!(["0 100000 65536"]), "uid_map");
    check_eq!(report.status("Uid"), "0 0 0 0", "uids");
    t.delete().map(drop)
}

/// The same are welcome, others an error.
fn mappings_of_a_joined_one_are_compared(t: &Test) -> Outcome {
    let pid = t.sleeper(t.mapped_bundle()?)?;
    for (size, welcome) in [(65536, true), (65535, false)] {
        let mut bundle = t.bundle_named("second")?;
        bundle.map_ids(100_000, size);
        bundle.namespace("user", &format!("/proc/{pid}/ns/user"));
        bundle.give_root(100_000)?;
        bundle.save()?;
        let id = format!("{}second", t.id);
        let output = t.rt(&["run", "--bundle", &bundle.path.to_string_lossy(), &id])?;
        check_eq!(output.code == 0, welcome, "mapping of {size} ids: {}", output.stderr.trim());
    }
    t.delete().map(drop)
}

fn the_runtimes_own_is_refused(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.namespace("user", "/proc/self/ns/user");
    t.run_refused(&bundle, "user namespace").map(drop)
}

fn without_mappings_is_refused(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.namespace("user", "");
    t.run_refused(&bundle, "mapping").map(drop)
}

fn bad_mappings_are_refused(t: &Test) -> Outcome {
    let line = |inside: u64, outside: u64, size: u64| json!({ "containerID": inside, "hostID": outside, "size": size });
    let many: Vec<Value> = (0..341).map(|n| line(n, 100_000 + n, 1)).collect();
    let table = [
        json!([]),
        json!([line(0, 100_000, 10), line(5, 200_000, 10)]),
        json!([line(0, 100_000, 10), line(10, 100_005, 10)]),
        json!([line(0, 100_000, 0)]),
        json!([line(0, 100_000, u64::from(u32::MAX) + 1)]),
        json!([line(0, u64::from(u32::MAX), 1)]),
        json!(many),
    ];
    for lines in table {
        let shown: String = lines.to_string().chars().take(120).collect();
        let mut bundle = t.mapped_bundle()?;
        bundle.set("/linux/uidMappings", lines);
        t.run_refused(&bundle, "").map_err(|e| format!("{shown}: {e:?}"))?;
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}
