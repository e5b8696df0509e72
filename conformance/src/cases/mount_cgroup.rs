//! Mounts of type `cgroup` and `cgroup2`: the container sees its own, read-only, and the host keeps its flags.

use crate::cases;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::json;
use std::fs;

cases!["mount_cgroup":
    shows_its_own, is_read_only, v1, v1_in_a_namespace, v2, flags_of_the_hierarchy_stay,
];

fn shows_its_own(t: &Test) -> Outcome {
    t.cgroups_v1()?;
    let limits = "/sys/fs/cgroup/pids/pids.max";
    let report = t.report_paths(t.bundle()?, &["/sys/fs/cgroup/memory", limits])?;
    let list = report.path("/sys/fs/cgroup/memory")["list"].as_array().cloned().unwrap_or_default();
    check!(list.contains(&json!("memory.limit_in_bytes")), "no memory controller: {list:?}");
    check!(!list.iter().any(|name| name.as_str().is_some_and(|n| n.starts_with("cf"))), "the host's root: {list:?}");
    check_eq!(report.path(limits)["type"], "file", "what no root has");
    check!(report.mounted_with("/sys/fs/cgroup/pids", "ro"), "{}", report.mount("/sys/fs/cgroup/pids"));
    for line in report.at("/cgroup").as_array().into_iter().flatten().filter_map(|l| l.as_str()) {
        check!(line.contains(&t.id), "not in a cgroup of its own: {line}");
    }
    Ok(())
}

fn is_read_only(t: &Test) -> Outcome {
    let path = if t.runtime.v2_view || crate::runtime::unified() { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/memory" };
    let report = t.report_paths(t.bundle()?, &[path])?;
    check_eq!(report.path(path)["create"], json!(30), "making a file in {path}");
    Ok(())
}

fn v1(t: &Test) -> Outcome {
    t.cgroups_v1()?;
    let report = t.report_paths(t.bundle()?, &["/sys/fs/cgroup"])?;
    let base = report.mount("/sys/fs/cgroup");
    check_eq!(base["type"], "tmpfs", "the base");
    check!(report.mounted_with("/sys/fs/cgroup", "ro"), "{base}");
    for name in ["memory", "pids", "devices", "systemd"] {
        let at = format!("/sys/fs/cgroup/{name}");
        check_eq!(report.mount(&at)["type"], "cgroup", "{name}");
        check!(report.mounted_with(&at, "ro") && report.mounted_with(&at, "nosuid"), "{}", report.mount(&at));
        let root = report.mount(&at)["root"].as_str().unwrap_or_default();
        check!(root.ends_with(&t.id), "{name} shows {root}, not the container's own");
    }
    Ok(())
}

fn v1_in_a_namespace(t: &Test) -> Outcome {
    t.cgroups_v1()?;
    let mut bundle = t.bundle()?;
    bundle.namespace("cgroup", "");
    let report = t.report(&bundle)?;
    for name in ["memory", "pids", "systemd"] {
        let at = format!("/sys/fs/cgroup/{name}");
        check_eq!(report.mount(&at)["type"], "cgroup", "{name}");
        check_eq!(report.mount(&at)["root"], "/", "the root of {name}");
    }
    Ok(())
}

/// Only cgroup2 is to be seen.
const V2: &str = "umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; \"$@\"";

fn v2(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.remove("/linux/resources");
    let there = t.runtime.v2_view || crate::runtime::unified();
    let view = if there { "\"$@\"" } else { V2 };
    let report = t.report_within(view, &bundle)?;
    check_eq!(report.mount("/sys/fs/cgroup")["type"], "cgroup2", "without a namespace");
    check!(report.mounted_with("/sys/fs/cgroup", "ro"), "{}", report.mount("/sys/fs/cgroup"));
    bundle.namespace("cgroup", "");
    let report = t.report_within(view, &bundle)?;
    check_eq!(report.mount("/sys/fs/cgroup")["type"], "cgroup2", "with a namespace");
    check_eq!(report.mount("/sys/fs/cgroup")["root"], "/", "its root");
    // In a user namespace without a cgroup namespace the kernel does not mount it: the container's own is bound.
    bundle.drop_namespace("cgroup");
    bundle.map_root()?;
    let report = t.report_within(view, &bundle)?;
    let mount = report.mount("/sys/fs/cgroup");
    check_eq!(mount["type"], "cgroup2", "in a user namespace");
    check!(mount["root"].as_str().is_some_and(|root| root.ends_with(&t.id)), "shows {mount}");
    check!(report.mounted_with("/sys/fs/cgroup", "ro"), "{mount}");
    Ok(())
}

/// A mount of cgroup2 from the first cgroup namespace sets the flags of the hierarchy, for the whole host.
fn flags_of_the_hierarchy_stay(t: &Test) -> Outcome {
    t.cgroups_v2()?;
    let flags = || -> Outcome<String> {
        let table = fs::read_to_string("/proc/self/mountinfo")?;
        let line = table.lines().find(|line| line.contains(" /sys/fs/cgroup ")).unwrap_or_default();
        Ok(line.rsplit(' ').next().unwrap_or_default().to_owned())
    };
    let before = flags()?;
    if !before.contains("nsdelegate") {
        return skip("the hierarchy has no flags to lose");
    }
    for fstype in ["cgroup", "cgroup2"] {
        let mut bundle = t.bundle()?;
        bundle.drop_mount("/sys/fs/cgroup");
        bundle.mount("/sys/fs/cgroup", fstype, "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]);
        let report = t.report(&bundle)?;
        check_eq!(report.mount("/sys/fs/cgroup")["type"], "cgroup2", "type of /sys/fs/cgroup");
        check!(report.mounted_with("/sys/fs/cgroup", "ro"), "{}", report.mount("/sys/fs/cgroup"));
        fs::remove_dir_all(t.folder.join("bundle"))?;
        let after = flags()?;
        if after != before {
            // The others' cases shall find the machine as it was.
            let _ = std::process::Command::new("mount")
                .args(["-o", "remount,nsdelegate,memory_recursiveprot", "/sys/fs/cgroup"])
                .status();
        }
        check_eq!(after, before, "flags of the hierarchy after a mount of type {fstype}");
    }
    Ok(())
}
