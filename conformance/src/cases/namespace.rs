//! `linux.namespaces`: new, inherited and joined, all eight kinds. What is special about one kind: `user_namespace`, `uts`,
//! `clock`.

use crate::cases;
use crate::report::Report;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::process::{Child, Command, Stdio};

cases!["namespace":
    the_five_are_new, new_ones_are_new, missing_ones_are_inherited, pid_namespace_of_the_runtime,
    cgroup_namespace_begins_at_the_container, each_kind_is_joined, time_is_joined,
    those_of_another_container_are_joined, all_but_mount_are_joined_at_once, joined_pid_namespace_sees_both,
    second_in_a_pid_namespace_is_itself, the_runtimes_own_mount_namespace_is_refused, relative_path_is_refused,
    file_that_is_no_namespace_is_refused, loopback_is_up, loopback_of_a_shared_network_is_left,
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

/// Which namespace a process is in.
pub(super) fn link(pid: &str, file: &str) -> Outcome<String> {
    Ok(fs::read_link(format!("/proc/{pid}/ns/{file}"))?.to_string_lossy().into_owned())
}

/// Which the probe was in.
pub(super) fn inside<'a>(report: &'a Report, file: &str) -> &'a str {
    report.at(&format!("/namespaces/{file}")).as_str().unwrap_or_default()
}

fn the_five_are_new(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?)?;
    for name in ["pid", "net", "ipc", "uts", "mnt"] {
        check!(inside(&report, name) != link("self", name)?, "{name} is the runtime's");
    }
    for name in ["user", "cgroup", "time"] {
        check_eq!(inside(&report, name), link("self", name)?, "{name}");
    }
    Ok(())
}

fn new_ones_are_new(t: &Test) -> Outcome {
    let mut bundle = t.mapped_bundle()?;
    for (kind, _) in KINDS {
        bundle.namespace(kind, "");
    }
    let report = t.report(&bundle)?;
    for (_, file) in KINDS {
        let inside = inside(&report, file);
        check!(!inside.is_empty() && inside != link("self", file)?, "{file} inside is {inside}");
    }
    Ok(())
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
        check_eq!(inside(&report, file), link("self", file)?, "{file}");
    }
    Ok(())
}

fn pid_namespace_of_the_runtime(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.drop_namespace("pid");
    let report = t.report(&bundle)?;
    check_eq!(inside(&report, "pid"), link("self", "pid")?, "pid namespace");
    check!(report.at("/ids/pid").as_i64() > Some(1), "pid {}", report.at("/ids/pid"));
    check_eq!(report.at("/ids/sid"), report.at("/ids/pid"), "a session of its own");
    Ok(())
}

fn cgroup_namespace_begins_at_the_container(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.namespace("cgroup", "");
    let report = t.report(&bundle)?;
    check!(inside(&report, "cgroup") != link("self", "cgroup")?, "the cgroup namespace is the runtime's");
    let lines = report.at("/cgroup").as_array().cloned().unwrap_or_default();
    check!(!lines.is_empty(), "no cgroups");
    for line in lines {
        check!(line.as_str().is_some_and(|l| l.ends_with(":/")), "not the root of the namespace: {line}");
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
    let table: [(&str, &str, &[&str]); 5] = [
        ("network", "net", &["--net"]),
        ("mount", "mnt", &["--mount", "--propagation", "private"]),
        ("ipc", "ipc", &["--ipc"]),
        ("uts", "uts", &["--uts"]),
        ("cgroup", "cgroup", &["--cgroup"]),
    ];
    table.into_iter().try_for_each(|(kind, file, options)| is_joined(t, kind, file, options))
}

fn time_is_joined(t: &Test) -> Outcome {
    is_joined(t, "time", "time", &["--time"])
}

fn is_joined(t: &Test, kind: &str, file: &str, options: &[&str]) -> Outcome {
    let holder = Holder::new(options)?;
    let mut bundle = t.bundle()?;
    bundle.namespace(kind, &holder.path(file));
    let wanted = fs::read_link(holder.path(file))?;
    let report = t.report(&bundle).map_err(|e| format!("{kind}: {e:?}"))?;
    check_eq!(inside(&report, file), wanted.to_string_lossy(), "{kind}");
    Ok(())
}

/// As the containers of a pod do.
fn those_of_another_container_are_joined(t: &Test) -> Outcome {
    let pid = t.sleeper(t.bundle()?)?.to_string();
    let shared = [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")];
    let mut bundle = t.bundle_named("second")?;
    for (kind, file) in shared {
        bundle.namespace(kind, &format!("/proc/{pid}/ns/{file}"));
    }
    let report = t.report_beside(&bundle);
    let wanted = shared.map(|(_, file)| link(&pid, file));
    t.delete()?;
    let report = report?;
    for ((kind, file), wanted) in shared.into_iter().zip(wanted) {
        check_eq!(inside(&report, file), wanted?, "{kind}");
    }
    check!(report.at("/ids/pid").as_i64() > Some(1), "the second is not pid 1: {}", report.at("/ids/pid"));
    Ok(())
}

/// A pod: the second container shares everything with the first but the root.
fn all_but_mount_are_joined_at_once(t: &Test) -> Outcome {
    let mut first = t.mapped_bundle()?;
    for (kind, _) in KINDS {
        first.namespace(kind, "");
    }
    let pid = t.sleeper(first)?.to_string();
    let mut bundle = t.bundle_named("second")?;
    bundle.remove("/hostname");
    bundle.give_root(100_000)?;
    for (kind, file) in KINDS.iter().filter(|kind| kind.0 != "mount") {
        bundle.namespace(kind, &format!("/proc/{pid}/ns/{file}"));
    }
    let report = t.report_beside(&bundle)?;
    for (kind, file) in KINDS.iter().filter(|kind| kind.0 != "mount") {
        check_eq!(inside(&report, file), link(&pid, file)?, "{kind}");
    }
    check!(inside(&report, "mnt") != link(&pid, "mnt")?, "the mount namespace is the first's");
    t.delete().map(drop)
}

fn joined_pid_namespace_sees_both(t: &Test) -> Outcome {
    let pid = t.sleeper(t.bundle()?)?;
    let mut bundle = t.bundle_named("second")?.looking_at(&["/proc"]);
    bundle.namespace("pid", &format!("/proc/{pid}/ns/pid"));
    let report = t.report_beside(&bundle)?;
    check!(report.at("/ids/pid") != &json!(1), "pid is {}", report.at("/ids/pid"));
    let list = report.path("/proc")["list"].to_string();
    check!(list.contains("\"1\""), "the first container's init is not in /proc: {list}");
    t.delete().map(drop)
}

/// The namespace's first process is another container's, and a state, a kill and a delete of the second mean the second.
fn second_in_a_pid_namespace_is_itself(t: &Test) -> Outcome {
    let first = t.sleeper(t.bundle()?)?;
    let second = format!("{}second", t.id);
    let outcome = second_in_the_pid_namespace(t, first, &second);
    let _ = t.rt(&["delete", "--force", &second]);
    t.delete()?;
    outcome
}

fn second_in_the_pid_namespace(t: &Test, first: i32, second: &str) -> Outcome {
    let mut bundle = t.bundle_named("second")?.probe(&["sleep", "600"]);
    bundle.namespace("pid", &format!("/proc/{first}/ns/pid"));
    t.ok(&["create", "--bundle", &bundle.saved()?, second])?;
    t.ok(&["start", second])?;
    let state: Value = serde_json::from_str(&t.ok(&["state", second])?.stdout)?;
    check_eq!(state["status"], "running", "status of the second");
    check!(state["pid"] != json!(first), "the second's pid is the first's");
    t.ok(&["kill", second, "KILL"])?;
    t.wait_for("the second's end", || {
        t.rt(&["state", second]).is_ok_and(|output| output.stdout.contains("\"stopped\""))
    })?;
    check_eq!(t.state()?["status"], "running", "status of the first after the second was killed");
    t.ok(&["delete", second])?;
    Ok(())
}

/// In a mount namespace of the test's own, so that a runtime that goes on harms nobody.
fn the_runtimes_own_mount_namespace_is_refused(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.namespace("mount", "/proc/self/ns/mnt");
    let output = t.run_behind(&["unshare", "--mount", "--propagation", "private"], &bundle)?;
    check_eq!(output.code, 1, "exit status: {}", output.stderr);
    check!(output.stderr.contains("mount namespace"), "says why: {}", output.stderr);
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

fn loopback_is_up(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?)?;
    check_eq!(report.at("/lo_up"), &json!(true), "lo carries a datagram");
    Ok(())
}

fn loopback_of_a_shared_network_is_left(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.drop_namespace("network");
    check_eq!(t.report_behind(&["unshare", "--net"], &bundle)?.at("/lo_up"), &json!(false), "loopback");
    Ok(())
}
