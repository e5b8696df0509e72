//! namespaces: new ones, the runtime's own, joined ones, and the user namespace with its maps.

use crate::bundle::Bundle;
use crate::cases;
use crate::report::Report;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

cases!["sharing":
    the_five_are_new, left_out_is_the_runtimes, no_pid_namespace_of_its_own, cgroup_is_new_and_starts_at_the_containers,
    time_is_new, joins_another_containers, joins_by_path, joined_pid_namespace, user_namespace_maps_ids,
    user_namespace_of_several_ranges, user_namespace_owns_the_others, user_namespace_joined, user_without_mappings,
    user_with_network_of_the_host,
];

/// The namespaces of a process, by the names of /proc/PID/ns.
fn of(pid: &str, name: &str) -> Outcome<String> {
    Ok(fs::read_link(format!("/proc/{pid}/ns/{name}"))?.to_string_lossy().into_owned())
}

fn is(report: &Report, name: &str) -> String {
    report.at(&format!("/namespaces/{name}")).as_str().unwrap_or("").to_owned()
}

fn the_five_are_new(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?)?;
    for name in ["pid", "net", "ipc", "uts", "mnt"] {
        check!(is(&report, name) != of("self", name)?, "{name} is the runtime's");
    }
    for name in ["user", "cgroup", "time"] {
        check_eq!(is(&report, name), of("self", name)?, "{name}");
    }
    Ok(())
}

fn left_out_is_the_runtimes(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.remove("/hostname");
    for (kind, name) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
        bundle.drop_namespace(kind);
        check_eq!(is(&t.report(&bundle)?, name), of("self", name)?, "{kind}");
    }
    Ok(())
}

fn no_pid_namespace_of_its_own(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.drop_namespace("pid");
    let report = t.report(&bundle)?;
    check_eq!(is(&report, "pid"), of("self", "pid")?, "pid namespace");
    check!(report.at("/ids/pid").as_i64() > Some(1), "pid {}", report.at("/ids/pid"));
    check_eq!(report.at("/ids/sid"), report.at("/ids/pid"), "a session of its own");
    Ok(())
}

fn cgroup_is_new_and_starts_at_the_containers(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.namespace("cgroup", "");
    let report = t.report(&bundle)?;
    check!(is(&report, "cgroup") != of("self", "cgroup")?, "the cgroup namespace is the runtime's");
    if t.runtime.v2_view {
        return Ok(());
    }
    let lines = report.at("/cgroup").as_array().cloned().unwrap_or_default();
    check!(!lines.is_empty(), "no cgroups");
    for line in lines {
        check!(line.as_str().is_some_and(|l| l.ends_with(":/")), "not the root of the namespace: {line}");
    }
    Ok(())
}

fn time_is_new(t: &Test) -> Outcome {
    if !Path::new("/proc/self/ns/time").exists() {
        return skip("the kernel has no time namespaces");
    }
    let mut bundle = t.bundle()?;
    bundle.namespace("time", "");
    let output = t.run(&bundle)?;
    if output.stderr.contains("not supported by this version of runtime") {
        return skip("not built yet");
    }
    check_eq!(output.code, 0, "run: {}", output.stderr);
    check!(is(&Report::parse(&output.stdout)?, "time") != of("self", "time")?, "the time namespace is the runtime's");
    Ok(())
}

/// As the containers of a pod do.
fn joins_another_containers(t: &Test) -> Outcome {
    let pid = t.sleeper(t.bundle()?)?.to_string();
    let mut bundle = t.bundle_named("second")?;
    for (kind, name) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")] {
        bundle.namespace(kind, &format!("/proc/{pid}/ns/{name}"));
    }
    if t.runtime.v2_view {
        bundle.remove("/linux/resources");
    }
    bundle.save()?;
    let output = t.rt(&["run", "--bundle", &bundle.path.to_string_lossy(), &format!("{}second", t.id)]);
    let wanted = ["net", "ipc", "uts", "pid"].map(|name| of(&pid, name));
    t.delete()?;
    let output = output?;
    check_eq!(output.code, 0, "run: {}", output.stderr);
    let report = Report::parse(&output.stdout)?;
    for (name, wanted) in ["net", "ipc", "uts", "pid"].iter().zip(wanted) {
        check_eq!(is(&report, name), wanted?, "{name}");
    }
    check!(report.at("/ids/pid").as_i64() > Some(1), "the second is not pid 1: {}", report.at("/ids/pid"));
    Ok(())
}

/// A process in new namespaces, killed with this value.
struct Holder(Child);

impl Holder {
    fn new(t: &Test, flags: &[&str]) -> Outcome<Self> {
        let mut command = Command::new("unshare");
        command.args(flags).args(["sleep", "600"]).env(crate::leak::MARKER, &t.id).stdin(Stdio::null());
        let holder = Self(command.spawn()?);
        t.wait_for("the namespaces", || {
            fs::read(format!("/proc/{}/cmdline", holder.0.id())).is_ok_and(|line| line.starts_with(b"sleep"))
        })?;
        Ok(holder)
    }

    fn path(&self, name: &str) -> String {
        format!("/proc/{}/ns/{name}", self.0.id())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn joins_by_path(t: &Test) -> Outcome {
    let holder = Holder::new(t, &["--net", "--ipc", "--uts", "--cgroup"])?;
    let mut bundle = t.bundle()?;
    let pairs = [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup")];
    for (kind, name) in pairs {
        bundle.namespace(kind, &holder.path(name));
    }
    let report = t.report(&bundle)?;
    for (kind, name) in pairs {
        check_eq!(is(&report, name), fs::read_link(holder.path(name))?.to_string_lossy(), "{kind}");
    }
    Ok(())
}

/// The namespace's first process is another container's, and a state, a kill and a delete of the second mean the second.
fn joined_pid_namespace(t: &Test) -> Outcome {
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
    if t.runtime.v2_view {
        bundle.remove("/linux/resources");
    }
    bundle.save()?;
    t.ok(&["create", "--bundle", &bundle.path.to_string_lossy(), second])?;
    t.ok(&["start", second])?;
    let state: serde_json::Value = serde_json::from_str(&t.ok(&["state", second])?.stdout)?;
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

/// Gives the whole root filesystem to an id.
fn own(path: &Path, uid: u32, gid: u32) -> Outcome {
    std::os::unix::fs::lchown(path, Some(uid), Some(gid))?;
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            own(&entry?.path(), uid, gid)?;
        }
    }
    Ok(())
}

/// A bundle in a user namespace: ids 0… are 100000….
fn mapped(t: &Test) -> Outcome<Bundle> {
    let mut bundle = t.bundle()?;
    bundle.map_ids(100_000, 65536);
    own(&bundle.rootfs(), 100_000, 100_000)?;
    Ok(bundle)
}

fn user_namespace_maps_ids(t: &Test) -> Outcome {
    let report = t.report(&mapped(t)?)?;
    check!(is(&report, "user") != of("self", "user")?, "the user namespace is the runtime's");
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

fn user_namespace_of_several_ranges(t: &Test) -> Outcome {
    let mut bundle = mapped(t)?;
    bundle.set(
        "/linux/uidMappings",
        json!([{ "containerID": 0, "hostID": 100_000, "size": 10 }, { "containerID": 10, "hostID": 300_000, "size": 5 }]),
    );
    bundle.set("/linux/gidMappings", json!([{ "containerID": 0, "hostID": 100_000, "size": 100 }]));
    let bundle = bundle.with("/process/user/uid", json!(12)).with("/process/user/gid", json!(7));
    let report = t.report(&bundle)?;
    check_eq!(report.at("/uid_map"), &json!(["0 100000 10", "10 300000 5"]), "uid map");
    check_eq!(report.at("/gid_map"), &json!(["0 100000 100"]), "gid map");
    check_eq!((report.status("Uid"), report.status("Gid")), ("12 12 12 12", "7 7 7 7"), "ids");
    Ok(())
}

/// Its root may do in them what root may: set the host name, here through the runtime.
fn user_namespace_owns_the_others(t: &Test) -> Outcome {
    let caps = json!(["CAP_SYS_ADMIN", "CAP_NET_ADMIN"]);
    let bundle = mapped(t)?
        .with("/hostname", json!("mapped"))
        .with("/process/capabilities", json!({ "bounding": caps, "effective": caps, "permitted": caps }));
    let report = t.report(&bundle)?;
    check_eq!(report.at("/uts/hostname"), &json!("mapped"), "host name");
    check_eq!(report.caps("Eff"), 1 << 21 | 1 << 12, "effective capabilities");
    Ok(())
}

fn user_namespace_joined(t: &Test) -> Outcome {
    let holder = Holder::new(t, &["--user"])?;
    for file in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{}/{file}", holder.0.id()), "0 100000 65536")?;
    }
    let mut bundle = t.bundle()?;
    own(&bundle.rootfs(), 100_000, 100_000)?;
    bundle.namespace("user", &holder.path("user"));
    let report = t.report(&bundle)?;
    check_eq!(is(&report, "user"), fs::read_link(holder.path("user"))?.to_string_lossy(), "user namespace");
    check_eq!(report.status("Uid"), "0 0 0 0", "uids");
    check_eq!(report.at("/uid_map"), &json!(["0 100000 65536"]), "uid map");
    Ok(())
}

/// As crun has it: the caller's own id, and what needs another one is refused.
fn user_without_mappings(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.namespace("user", "");
    t.run_refused(&bundle, "gid=5")?;
    bundle.drop_mount("/dev/pts");
    let report = t.report(&bundle)?;
    check_eq!(report.at("/uid_map"), &json!(["0 0 1"]), "uid map");
    check_eq!(report.at("/gid_map"), &json!(["0 0 1"]), "gid map");
    bundle.set("/linux/gidMappings", json!([{ "containerID": 0, "hostID": 0, "size": 1 }]));
    t.run_refused(&bundle, "mapping")?;
    bundle.remove("/linux/gidMappings");
    t.run_refused(&bundle.with("/process/user/uid", json!(1)), "1").map(drop)
}

/// Rootless engines' `--network=host`: no sysfs of the namespace may be mounted then, a bind of the host's serves.
fn user_with_network_of_the_host(t: &Test) -> Outcome {
    let mut bundle = mapped(t)?;
    bundle.drop_namespace("network");
    bundle.drop_mount("/sys/fs/cgroup");
    bundle.drop_mount("/sys");
    bundle.mount("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"]);
    let report = t.report(&bundle)?;
    check_eq!(is(&report, "net"), of("self", "net")?, "network namespace");
    check!(!report.mount("/sys").is_null(), "/sys is not mounted");
    Ok(())
}
