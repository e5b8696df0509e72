//! `mounts`: the default ones, their order, file systems that are mounted anew. Binds are in `mount_bind`, what options
//! do in `mount_option`, where a mount may stand in `mount_point`.

use crate::cases;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::json;
use std::fs;

cases!["mount":
    defaults_have_their_options, default_sizes_and_modes, nothing_else_is_mounted, nothing_reaches_the_host,
    kernel_file_systems_are_not_the_hosts, order, no_type, unknown_file_system, remount, overlay, many,
];

fn defaults_have_their_options(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?)?;
    for (point, kind, options) in [
        ("/proc", "proc", &["rw"][..]),
        ("/dev", "tmpfs", &["rw", "nosuid"]),
        ("/dev/pts", "devpts", &["rw", "nosuid", "noexec", "gid=5", "mode=620", "ptmxmode=666"]),
        ("/dev/shm", "tmpfs", &["rw", "nosuid", "nodev", "noexec", "size=65536k"]),
        ("/dev/mqueue", "mqueue", &["rw", "nosuid", "nodev", "noexec"]),
        ("/sys", "sysfs", &["ro", "nosuid", "nodev", "noexec"]),
    ] {
        let mount = report.mount(point);
        check_eq!(mount["type"], json!(kind), "type of {point}");
        for option in options {
            check!(report.mounted_with(point, option), "{point} lacks {option}: {mount}");
        }
    }
    Ok(())
}

fn default_sizes_and_modes(t: &Test) -> Outcome {
    let report = t.report_paths(t.bundle()?, &["/dev", "/dev/shm", "/dev/mqueue", "/proc", "/sys"])?;
    for (path, mode) in
        [("/dev", "755"), ("/dev/shm", "1777"), ("/dev/mqueue", "1777"), ("/proc", "555"), ("/sys", "555")]
    {
        check_eq!(report.path(path)["mode"], json!(mode), "mode of {path}");
    }
    check!(report.mounted_with("/dev", "size=65536k"), "size of /dev: {}", report.mount("/dev"));
    check_eq!(report.path("/dev/shm")["create"], json!(0), "making a file in /dev/shm");
    Ok(())
}

/// Everything in the table is a mount of the config or a mask.
fn nothing_else_is_mounted(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?)?;
    let known = ["/", "/proc", "/dev", "/sys"];
    for mount in report.at("/mounts").as_array().into_iter().flatten() {
        let point = mount["point"].as_str().unwrap_or("");
        let below = |top: &&str| point == *top || (*top != "/" && point.starts_with(&format!("{top}/")));
        check!(known.iter().any(below), "{point} is mounted: {mount}");
    }
    Ok(())
}

/// A container that runs is not to be seen in the host's mounts.
fn nothing_reaches_the_host(t: &Test) -> Outcome {
    t.sleeper(t.bundle()?)?;
    let seen = crate::leak::mounts_under(&t.folder);
    t.delete()?;
    check!(seen.is_empty(), "mounts on the host: {seen:?}");
    Ok(())
}

fn kernel_file_systems_are_not_the_hosts(t: &Test) -> Outcome {
    let report = t.report_paths(t.bundle()?, &["/proc", "/sys/class/net"])?;
    let list = report.path("/proc")["list"].as_array().cloned().unwrap_or_default();
    let pids: Vec<&str> =
        list.iter().filter_map(|n| n.as_str()).filter(|n| n.bytes().all(|b| b.is_ascii_digit())).collect();
    check_eq!(pids, ["1"], "processes to be seen");
    check_eq!(report.path("/sys/class/net")["list"], json!(["lo"]), "interfaces in /sys");
    Ok(())
}

fn order(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.mount("/a", "tmpfs", "first", &[]);
    bundle.mount("/a/b", "tmpfs", "hidden", &[]);
    bundle.mount("/a", "tmpfs", "second", &[]);
    bundle.mount("/a/c", "tmpfs", "seen", &[]);
    let report = t.report_paths(bundle, &["/a"])?;
    check_eq!(report.mount("/a")["source"], "second", "the mount on top");
    check_eq!(report.path("/a")["list"], json!(["c"]), "what is below");
    Ok(())
}

fn no_type(t: &Test) -> Outcome {
    for kind in ["", "none", "bind", "nonexistent"] {
        let mut bundle = t.bundle()?;
        bundle.mount("/x", kind, "/tmp", &["ro"]);
        let said = t.run_refused(&bundle, "")?;
        check!(t.runtime.name != "runtime" || said.contains("/mounts/7"), "no JSON pointer: {said}");
    }
    Ok(())
}

fn unknown_file_system(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.mount("/tmp", "no-such-fs", "none", &[]);
    t.run_refused(&bundle, "/tmp").map(drop)
}

fn remount(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    let mut bundle = t.bundle()?;
    bundle.mount("/bound", "bind", &source, &["bind", "nosuid"]);
    bundle.mount("/bound", "bind", &source, &["bind", "remount", "ro", "nodev"]);
    bundle.mount("/t", "tmpfs", "x", &["size=1m"]);
    bundle.mount("/t", "tmpfs", "x", &["remount", "size=2m", "noexec"]);
    let report = t.report(&bundle)?;
    let found = report.options("/bound");
    check!(found.contains(&"ro") && found.contains(&"nodev"), "{found:?}");
    let count = report.at("/mounts").as_array().map(|l| l.iter().filter(|m| m["point"] == "/bound").count());
    check_eq!(count, Some(1), "mounts at /bound");
    check!(report.mounted_with("/t", "size=2048k") && report.mounted_with("/t", "noexec"), "{}", report.mount("/t"));
    // What is no mount cannot be remounted.
    let mut bundle = t.bundle()?;
    bundle.mount("/etc", "bind", "", &["bind", "remount", "ro"]);
    t.run_refused(&bundle, "invalid argument")?;
    Ok(())
}

fn overlay(t: &Test) -> Outcome {
    let mut lower = Vec::new();
    for index in 0..12 {
        let path = t.subfolder(&format!("lower-with-a-long-name-{index}"))?;
        fs::write(format!("{path}/{index}"), "x")?;
        lower.push(path);
    }
    let (upper, work) = (t.subfolder("upper")?, t.subfolder("work")?);
    let option = format!("lowerdir={}", lower.join(":"));
    check!(option.len() > 256, "the test itself: short option");
    let mut bundle = t.bundle()?;
    bundle.mount("/o", "overlay", "overlay", &[&option, &format!("upperdir={upper}"), &format!("workdir={work}")]);
    let report = t.report_paths(bundle, &["/o"])?;
    check_eq!(report.path("/o")["list"].as_array().map(Vec::len), Some(12), "entries");
    check_eq!(report.path("/o")["create"], 0, "writing");
    Ok(())
}

/// Kubernetes mounts some dozens, tests of engines hundreds.
fn many(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    let mut bundle = t.bundle()?;
    for index in 0..400 {
        bundle.mount(&format!("/many/{index}"), "bind", &source, &["rbind", "rprivate", "ro"]);
    }
    let report = t.report(&bundle)?;
    for index in 0..400 {
        let at = format!("/many/{index}");
        check!(report.mounted_with(&at, "ro"), "{at}: {}", report.mount(&at));
    }
    Ok(())
}
