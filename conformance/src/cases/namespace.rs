//! linux.namespaces, uidMappings, gidMappings: new, inherited and joined, all eight kinds.

use crate::bundle::Bundle;
use crate::cases;
use crate::report::Report;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::process::{Child, Command, Stdio};

cases!["namespace":
    new_ones_are_new, missing_ones_are_inherited, each_kind_is_joined, all_but_mount_are_joined_at_once,
    joined_pid_namespace_sees_both, joined_user_namespace, mappings_of_a_joined_namespace_are_compared,
    the_runtimes_own_mount_namespace_is_refused, the_runtimes_own_user_namespace_is_refused, loopback_is_up,
    cgroup_namespace_begins_at_the_container, ids_in_many_ranges, bad_mappings_are_refused, relative_path_is_refused,
    file_that_is_no_namespace_is_refused, hostname_and_domainname, bad_names_are_refused,
];

/// The spec's name, and that below /proc/PID/ns.
const KINDS: [(&str, &str); 8] = [
    ("pid", "pid"),
    ("network", "net"),
    ("mount", "mnt"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("user", "user"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

fn link(pid: &str, file: &str) -> Outcome<Value> {
    Ok(json!(fs::read_link(format!("/proc/{pid}/ns/{file}"))?.to_string_lossy()))
}

/// The report of a second container beside the test's own.
fn second(t: &Test, bundle: &Bundle) -> Outcome<Report> {
    bundle.save()?;
    let output = t.ok(&["run", "--bundle", &bundle.path.to_string_lossy(), &format!("{}two", t.id)])?;
    Ok(Report::parse(&output.stdout)?)
}

fn new_ones_are_new(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    for (kind, _) in KINDS {
        bundle.namespace(kind, "");
    }
    map(&mut bundle)?;
    let report = t.report(&bundle)?;
    for (_, file) in KINDS {
        let inside = report.at(&format!("/namespaces/{file}"));
        check!(inside.is_string() && inside != &link("self", file)?, "{file} inside is {inside}");
    }
    Ok(())
}

fn map(bundle: &mut Bundle) -> Outcome {
    bundle.map_ids(100_000, 65536);
    Ok(std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000))?)
}

fn missing_ones_are_inherited(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    for (kind, _) in KINDS.iter().filter(|kind| kind.0 != "mount") {
        bundle.drop_namespace(kind);
    }
    bundle.remove("/hostname");
    bundle.drop_mount("/sys");
    bundle.drop_mount("/sys/fs/cgroup");
    let report = t.report(&bundle)?;
    for (_, file) in KINDS.iter().filter(|kind| kind.1 != "mnt") {
        check_eq!(report.at(&format!("/namespaces/{file}")), &link("self", file)?, "{file}");
    }
    Ok(())
}

/// A process in namespaces of its own, which ends with this value.
struct Holder(Child);

impl Holder {
    fn new(options: &[&str]) -> Outcome<Self> {
        let child = Command::new("unshare")
            .args(options)
            .args(["sh", "-c", "echo here; exec sleep 60"])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut holder = Self(child);
        let mut word = [0; 5];
        std::io::Read::read_exact(&mut holder.0.stdout.take().ok_or("no pipe")?, &mut word)?;
        Ok(holder)
    }

    /// Namespaces of a child, where the holder only has the door to them.
    fn path(&self, file: &str) -> String {
        let file = match file {
            "pid" => "pid_for_children",
            "time" => "time_for_children",
            file => file,
        };
        format!("/proc/{}/ns/{file}", self.0.id())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn each_kind_is_joined(t: &Test) -> Outcome {
    let table: [(&str, &str, &[&str]); 6] = [
        ("network", "net", &["--net"]),
        ("mount", "mnt", &["--mount", "--propagation", "private"]),
        ("ipc", "ipc", &["--ipc"]),
        ("uts", "uts", &["--uts"]),
        ("cgroup", "cgroup", &["--cgroup"]),
        ("time", "time", &["--time"]),
    ];
    for (kind, file, options) in table {
        let holder = Holder::new(options)?;
        let mut bundle = t.bundle()?;
        bundle.namespace(kind, &holder.path(file));
        let wanted = json!(fs::read_link(holder.path(file))?.to_string_lossy());
        let report = t.report(&bundle).map_err(|e| format!("{kind}: {e:?}"))?;
        check_eq!(report.at(&format!("/namespaces/{file}")), &wanted, "{kind}");
        drop(holder);
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}

/// A pod: the second container shares everything with the first but the root.
fn all_but_mount_are_joined_at_once(t: &Test) -> Outcome {
    let mut first = t.bundle()?;
    for (kind, _) in KINDS {
        first.namespace(kind, "");
    }
    map(&mut first)?;
    let pid = t.sleeper(first)?;
    let mut bundle = t.bundle_named("two")?;
    bundle.remove("/hostname");
    std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000))?;
    for (kind, file) in KINDS.iter().filter(|kind| kind.0 != "mount") {
        bundle.namespace(kind, &format!("/proc/{pid}/ns/{file}"));
    }
    let report = second(t, &bundle)?;
    for (kind, file) in KINDS.iter().filter(|kind| kind.0 != "mount") {
        check_eq!(report.at(&format!("/namespaces/{file}")), &link(&pid.to_string(), file)?, "{kind}");
    }
    check!(report.at("/namespaces/mnt") != &link(&pid.to_string(), "mnt")?, "the mount namespace is the first's");
    t.delete().map(drop)
}

fn joined_pid_namespace_sees_both(t: &Test) -> Outcome {
    let pid = t.sleeper(t.bundle()?)?;
    let mut bundle = t.bundle_named("two")?.probe(&["report", "--path", "/proc"]);
    bundle.namespace("pid", &format!("/proc/{pid}/ns/pid"));
    let report = second(t, &bundle)?;
    check!(report.at("/ids/pid") != &json!(1), "pid is {}", report.at("/ids/pid"));
    let list = report.path("/proc")["list"].to_string();
    check!(list.contains("\"1\""), "the first container's init is not in /proc: {list}");
    t.delete().map(drop)
}

fn joined_user_namespace(t: &Test) -> Outcome {
    let (mut first, pid) = (t.bundle()?, 0);
    map(&mut first)?;
    let pid = pid + t.sleeper(first)?;
    let mut bundle = t.bundle_named("two")?;
    bundle.namespace("user", &format!("/proc/{pid}/ns/user"));
    std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000))?;
    let report = second(t, &bundle)?;
    check_eq!(report.at("/namespaces/user"), &link(&pid.to_string(), "user")?, "user");
    check_eq!(report.at("/uid_map"), &json!(["0 100000 65536"]), "uid_map");
    t.delete().map(drop)
}

/// The same are welcome, others an error.
fn mappings_of_a_joined_namespace_are_compared(t: &Test) -> Outcome {
    let mut first = t.bundle()?;
    map(&mut first)?;
    let pid = t.sleeper(first)?;
    for (size, welcome) in [(65536, true), (65535, false)] {
        let mut bundle = t.bundle_named("two")?;
        bundle.map_ids(100_000, size);
        bundle.namespace("user", &format!("/proc/{pid}/ns/user"));
        std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000))?;
        bundle.save()?;
        let id = format!("{}two", t.id);
        let output = t.rt(&["run", "--bundle", &bundle.path.to_string_lossy(), &id])?;
        check_eq!(output.code == 0, welcome, "mapping of {size} ids: {}", output.stderr.trim());
    }
    t.delete().map(drop)
}

/// In a mount namespace of the test's own, so that a runtime that goes on harms nobody.
fn the_runtimes_own_mount_namespace_is_refused(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.namespace("mount", "/proc/self/ns/mnt");
    bundle.save()?;
    let args = ["run", "--bundle", &bundle.path.to_string_lossy(), &t.id];
    let output = t.finish(t.command(&["unshare", "--mount", "--propagation", "private"], &args))?;
    check_eq!(output.code, 1, "exit status: {}", output.stderr);
    check!(output.stderr.contains("mount namespace"), "says why: {}", output.stderr);
    Ok(())
}

fn the_runtimes_own_user_namespace_is_refused(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.namespace("user", "/proc/self/ns/user");
    t.run_refused(&bundle, "user namespace").map(drop)
}

fn loopback_is_up(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?)?;
    check_eq!(report.at("/lo_up"), &json!(true), "lo carries a datagram");
    Ok(())
}

fn cgroup_namespace_begins_at_the_container(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.namespace("cgroup", "");
    let report = t.report(&bundle)?;
    let lines = report.at("/cgroup").as_array().cloned().unwrap_or_default();
    check!(!lines.is_empty(), "no cgroups");
    for line in lines {
        let line = line.as_str().unwrap_or_default().to_owned();
        check!(line.ends_with(":/") || line.contains(":hugetlb:"), "cgroup {line}");
    }
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
    std::os::unix::fs::chown(bundle.rootfs(), Some(200_000), Some(200_000))?;
    let report = t.report(&bundle)?;
    check_eq!(report.at("/uid_map").as_array().map(Vec::len), Some(40), "lines of uid_map");
    check_eq!(report.at("/gid_map"), &json!(["0 200000 10", "10 200100 10"]), "gid_map");
    check_eq!(report.status("Uid"), "399 399 399 399", "uid");
    check_eq!(report.status("Groups"), "5 11", "groups");
    Ok(())
}

fn bad_mappings_are_refused(t: &Test) -> Outcome {
    let line = |inside: u64, outside: u64, size: u64| json!({ "containerID": inside, "hostID": outside, "size": size });
    let many: Vec<Value> = (0..341).map(|n| line(n, 100_000 + n, 1)).collect();
    let table = [
        (json!([]), ""),
        (json!([line(0, 100_000, 10), line(5, 200_000, 10)]), ""),
        (json!([line(0, 100_000, 10), line(10, 100_005, 10)]), ""),
        (json!([line(0, 100_000, 0)]), ""),
        (json!([line(0, 100_000, u64::from(u32::MAX) + 1)]), ""),
        (json!([line(0, u64::from(u32::MAX), 1)]), ""),
        (json!(many), ""),
    ];
    for (lines, text) in table {
        let shown: String = lines.to_string().chars().take(120).collect();
        let mut bundle = t.bundle()?;
        map(&mut bundle)?;
        bundle.set("/linux/uidMappings", lines);
        t.run_refused(&bundle, text).map_err(|e| format!("{shown}: {e:?}"))?;
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}

fn relative_path_is_refused(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.namespace("network", "proc/self/ns/net");
    t.run_refused(&bundle, "").map(drop)
}

fn file_that_is_no_namespace_is_refused(t: &Test) -> Outcome {
    for path in ["/dev/null", "/proc/self/status", "/proc/self/ns"] {
        let mut bundle = t.bundle()?;
        bundle.namespace("network", path);
        t.run_refused(&bundle, "").map_err(|e| format!("{path}: {e:?}"))?;
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}

fn hostname_and_domainname(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/hostname", json!("inner")).with("/domainname", json!("example.org"));
    let report = t.report(&bundle)?;
    check_eq!(report.at("/uts/hostname"), &json!("inner"), "hostname");
    check_eq!(report.at("/uts/domainname"), &json!("example.org"), "domainname");
    Ok(())
}

fn bad_names_are_refused(t: &Test) -> Outcome {
    for property in ["/hostname", "/domainname"] {
        t.run_refused(&t.bundle()?.with(property, json!("x".repeat(65))), &property[1..])?;
        fs::remove_dir_all(t.folder.join("bundle"))?;
        let mut bundle = t.bundle()?;
        bundle.remove("/hostname");
        bundle.set(property, json!("x"));
        bundle.drop_namespace("uts");
        t.run_refused(&bundle, "private uts namespace")?;
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}
