//! unit: `--systemd-cgroup` with the systemd of a machine made for the tests (contract 2.13). [`super::systemd`] has the
//! calls against a stand-in; here is what comes of them.

use crate::bundle::Bundle;
use crate::cases;
use crate::command::{Output, Running};
use crate::machine;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

cases!["unit":
    lifecycle, slice_is_made, limits_are_properties_and_files, update_changes_both, update_that_is_checked,
    failed_unit_left_over, taken_name_is_refused, reload_keeps_device_rules, reload_keeps_limits,
    out_of_memory_leaves_no_unit, failed_create_leaves_no_unit, exited_container_is_deleted, fifty_at_once,
];

/// A bundle whose container is to be a scope; skips where systemd is not there to be used.
pub(super) fn bundle(t: &Test) -> Outcome<Bundle> {
    if !machine::disposable() || !Path::new("/run/systemd/system").is_dir() {
        return skip("systemd's units are for a machine that is thrown away");
    }
    t.cgroups()?;
    Ok(t.bundle()?.with("/linux/cgroupsPath", json!(format!("system.slice:rt:{}", t.id))))
}

pub(super) fn unit(t: &Test) -> String {
    format!("rt-{}.scope", t.id)
}

fn folder(t: &Test) -> PathBuf {
    Path::new("/sys/fs/cgroup/system.slice").join(unit(t))
}

fn file(t: &Test, name: &str) -> String {
    fs::read_to_string(folder(t).join(name)).map_or_else(|e| e.to_string(), |text| text.trim().to_owned())
}

fn call(t: &Test, args: &[&str]) -> Outcome<Output> {
    t.finish(t.command(&[], &[&["--systemd-cgroup"], args].concat()))
}

fn call_ok(t: &Test, args: &[&str]) -> Outcome<Output> {
    let output = call(t, args)?;
    check!(output.code == 0, "{args:?}: exit {}: {}", output.code, output.stderr.trim());
    Ok(output)
}

fn run(t: &Test, bundle: &Bundle) -> Outcome<Output> {
    call(t, &["run", "--bundle", &bundle.saved()?, &t.id])
}

fn sleeper(t: &Test, bundle: Bundle) -> Outcome {
    let bundle = bundle.probe(&["sleep", "600"]);
    call_ok(t, &["create", "--bundle", &bundle.saved()?, &t.id])?;
    call_ok(t, &["start", &t.id])?;
    t.wait_status("running").map(drop)
}

fn systemctl(args: &[&str]) -> Outcome<String> {
    let output = Command::new("systemctl").args(args).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn property(t: &Test, name: &str) -> Outcome<String> {
    systemctl(&["show", "--value", "--property", name, &unit(t)])
}

/// systemd hears of an empty cgroup a moment later.
fn gone(t: &Test) -> Outcome {
    let listed = || systemctl(&["list-units", "--all", "--plain", "--no-legend", &format!("*{}*", t.id)]);
    t.wait_for("the end of the unit", || listed().is_ok_and(|list| list.is_empty()))?;
    check!(!folder(t).exists(), "the cgroup of the unit is left");
    Ok(())
}

fn lifecycle(t: &Test) -> Outcome {
    sleeper(t, bundle(t)?)?;
    let pid = t.state()?["pid"].to_string();
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    check!(cgroup.trim().starts_with(&format!("0::/system.slice/{}", unit(t))), "in {cgroup}");
    check_eq!(property(t, "ActiveState")?, "active", "state of the unit");
    check_eq!(property(t, "Delegate")?, "yes", "Delegate");
    let inside = call_ok(t, &["exec", &t.id, "/probe", "exit", "0"])?;
    check_eq!(inside.stderr, "", "what exec says");
    call_ok(t, &["pause", &t.id])?;
    check_eq!(t.state()?["status"], "paused", "status");
    call_ok(t, &["resume", &t.id])?;
    call_ok(t, &["kill", &t.id, "KILL"])?;
    t.wait_status("stopped")?;
    call_ok(t, &["delete", &t.id])?;
    gone(t)
}

fn slice_is_made(t: &Test) -> Outcome {
    let name = t.id.replace('-', "_");
    let bundle = bundle(t)?.with("/linux/cgroupsPath", json!(format!("rt-{name}.slice:rt:{}", t.id)));
    sleeper(t, bundle)?;
    let pid = t.state()?["pid"].to_string();
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    call_ok(t, &["delete", "--force", &t.id])?;
    let wanted = format!("0::/rt.slice/rt-{name}.slice/{}", unit(t));
    check!(cgroup.trim().starts_with(&wanted), "in {cgroup}");
    gone(t)?;
    systemctl(&["stop", &format!("rt-{name}.slice"), "rt.slice"])?;
    Ok(())
}

fn limits() -> serde_json::Value {
    json!({ "memory": { "limit": 67_108_864, "swap": 100_663_296, "reservation": 33_554_432 },
            "cpu": { "shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0", "mems": "0" },
            "pids": { "limit": 44 }, "blockIO": { "weight": 500 },
            "devices": [{ "allow": false, "access": "rwm" }] })
}

const PROPERTIES: [(&str, &str); 9] = [
    ("MemoryMax", "67108864"),
    ("MemorySwapMax", "33554432"),
    ("MemoryLow", "33554432"),
    ("CPUWeight", "59"),
    ("CPUQuotaPerSecUSec", "500ms"),
    ("AllowedCPUs", "0"),
    ("AllowedMemoryNodes", "0"),
    ("TasksMax", "44"),
    ("DevicePolicy", "strict"),
];

const FILES: [(&str, &str); 7] = [
    ("memory.max", "67108864"),
    ("memory.swap.max", "33554432"),
    ("memory.low", "33554432"),
    ("cpu.weight", "59"),
    ("cpu.max", "50000 100000"),
    ("cpuset.cpus", "0"),
    ("pids.max", "44"),
];

fn differences(t: &Test, properties: &[(&str, &str)], files: &[(&str, &str)]) -> Outcome<Vec<String>> {
    let mut found = Vec::new();
    for (name, wanted) in properties {
        let value = property(t, name)?;
        if value != *wanted {
            found.push(format!("{name}: is {value:?}, wanted {wanted:?}"));
        }
    }
    for (name, wanted) in files {
        let value = file(t, name);
        if value != *wanted {
            found.push(format!("{name}: is {value:?}, wanted {wanted:?}"));
        }
    }
    Ok(found)
}

fn ours_knows_more(t: &Test) -> Outcome {
    if t.runtime.is_ours() { Ok(()) } else { skip("others set other properties") }
}

fn limits_are_properties_and_files(t: &Test) -> Outcome {
    ours_knows_more(t)?;
    sleeper(t, bundle(t)?.with("/linux/resources", limits()))?;
    let wrong = differences(t, &PROPERTIES, &FILES)?;
    call_ok(t, &["delete", "--force", &t.id])?;
    check!(wrong.is_empty(), "{}", wrong.join("\n    "));
    gone(t)
}

fn update_changes_both(t: &Test) -> Outcome {
    ours_knows_more(t)?;
    sleeper(t, bundle(t)?.with("/linux/resources", limits()))?;
    call_ok(
        t,
        &["update", "--memory", "48m", "--memory-swap", "48m", "--pids-limit", "33", "--cpu-share", "1024", &t.id],
    )?;
    let files = [
        ("memory.max", "50331648"),
        ("memory.swap.max", "0"),
        ("pids.max", "33"),
        ("cpu.weight", "100"),
        ("cpu.max", "50000 100000"),
    ];
    let properties =
        [("MemoryMax", "50331648"), ("TasksMax", "33"), ("CPUWeight", "100"), ("CPUQuotaPerSecUSec", "500ms")];
    let mut wrong = differences(t, &properties, &files)?;
    // What systemd does not know of, it takes back.
    systemctl(&["daemon-reload"])?;
    wrong.extend(differences(t, &properties, &files)?.into_iter().map(|line| format!("after daemon-reload: {line}")));
    call_ok(t, &["delete", "--force", &t.id])?;
    check!(wrong.is_empty(), "{}", wrong.join("\n    "));
    gone(t)
}

/// `checkBeforeUpdate`: systemd would put the limit in force, and the kernel then kill the container.
fn update_that_is_checked(t: &Test) -> Outcome {
    ours_knows_more(t)?;
    sleeper(t, bundle(t)?)?;
    let before = property(t, "MemoryMax")?;
    let request = t.folder.join("request.json");
    fs::write(&request, r#"{"memory": {"limit": 1024, "checkBeforeUpdate": true}}"#)?;
    let output = call(t, &["update", "--resources", &request.to_string_lossy(), &t.id])?;
    check!(output.code == 1 && output.stderr.contains("rejecting memory limit"), "{}: {}", output.code, output.stderr);
    check_eq!(property(t, "MemoryMax")?, before, "MemoryMax");
    t.wait_status("running")?;
    call_ok(t, &["delete", "--force", &t.id])?;
    gone(t)
}

fn failed_unit_left_over(t: &Test) -> Outcome {
    let bundle = bundle(t)?;
    let name = format!("--unit={}", unit(t));
    let words =
        ["--scope", "--quiet", &name, "--property=RuntimeMaxSec=1", "--property=CollectMode=inactive", "sleep", "600"];
    let _ = Command::new("systemd-run").args(words).output()?;
    t.wait_for("a failed unit", || property(t, "ActiveState").is_ok_and(|state| state == "failed"))?;
    let output = run(t, &bundle)?;
    let _ = systemctl(&["reset-failed", &unit(t)]);
    check!(output.code == 0, "run: exit {}: {}", output.code, output.stderr.trim());
    gone(t)
}

fn taken_name_is_refused(t: &Test) -> Outcome {
    let bundle = bundle(t)?;
    let name = format!("--unit={}", unit(t));
    let mut other = Command::new("systemd-run").args(["--scope", "--quiet", &name, "sleep", "600"]).spawn()?;
    t.wait_for("the other unit", || property(t, "ActiveState").is_ok_and(|state| state == "active"))?;
    let output = run(t, &bundle);
    let alive = other.try_wait()?.is_none();
    other.kill()?;
    other.wait()?;
    let output = output?;
    check!(output.code == 1, "exit {}: {}", output.code, output.stderr);
    check!(output.stderr.contains("container's cgroup is not empty"), "{}", output.stderr);
    check!(alive, "the other unit's process is gone");
    t.fails(&["state", &t.id], "does not exist")?;
    gone(t)
}

/// Which of two devices of the same kind can be opened for reading.
fn opened(t: &Test) -> Outcome<String> {
    let script = "(: </tmp/allowed) 2>/dev/null && echo allowed; (: </tmp/denied) 2>/dev/null && echo denied; (: </dev/null) && echo null";
    Ok(call(t, &["exec", &t.id, "/bin/sh", "-c", script])?.stdout)
}

/// systemd replaces the device program of every unit then, unless the rules are the unit's own.
fn reload_keeps_device_rules(t: &Test) -> Outcome {
    let mut bundle = bundle(t)?.with(
        "/linux/resources/devices",
        json!([{ "allow": false, "access": "rwm" },
               { "allow": true, "type": "c", "major": 10, "minor": 237, "access": "r" }]),
    );
    t.busybox(&bundle, &["sh", "mknod"])?;
    for set in ["bounding", "effective", "permitted"] {
        bundle.set(&format!("/process/capabilities/{set}/-"), json!("CAP_MKNOD"));
    }
    bundle.mount("/tmp", "tmpfs", "tmpfs", &["mode=1777"]);
    sleeper(t, bundle)?;
    call_ok(t, &["exec", &t.id, "/bin/sh", "-c", "mknod /tmp/allowed c 10 237; mknod /tmp/denied c 10 229"])?;
    let before = opened(t)?;
    systemctl(&["daemon-reload"])?;
    let after = opened(t)?;
    systemctl(&["set-property", "--runtime", &unit(t), "TasksMax=77"])?;
    let then = opened(t)?;
    call_ok(t, &["delete", "--force", &t.id])?;
    check_eq!([before, after, then], ["allowed\nnull\n"; 3].map(String::from), "before, after and after a change");
    gone(t)
}

fn reload_keeps_limits(t: &Test) -> Outcome {
    ours_knows_more(t)?;
    sleeper(t, bundle(t)?.with("/linux/resources", limits()))?;
    systemctl(&["daemon-reload"])?;
    let wrong = differences(t, &PROPERTIES, &FILES)?;
    call_ok(t, &["delete", "--force", &t.id])?;
    check!(wrong.is_empty(), "{}", wrong.join("\n    "));
    gone(t)
}

fn out_of_memory_leaves_no_unit(t: &Test) -> Outcome {
    let mut bundle = bundle(t)?.with("/linux/resources/memory", json!({ "limit": 16 << 20, "swap": 16 << 20 }));
    t.busybox(&bundle, &["tail"])?;
    bundle.set("/process/args", json!(["/bin/tail", "-c", "150000000", "/dev/zero"]));
    let output = run(t, &bundle)?;
    check_eq!(output.code, 137, "exit status of what wants 150 MB: {}", output.stderr);
    gone(t)?;
    // And the name can be used again.
    let output = run(t, &bundle.probe(&["exit", "0"]))?;
    check!(output.code == 0, "again: exit {}: {}", output.code, output.stderr);
    gone(t)
}

fn failed_create_leaves_no_unit(t: &Test) -> Outcome {
    let output = run(t, &bundle(t)?.with("/process/args", json!(["/no/such/program"])))?;
    check!(output.code != 0, "it ran");
    gone(t)
}

/// The scope ends with its last process; the container is still there to be deleted.
fn exited_container_is_deleted(t: &Test) -> Outcome {
    let bundle = bundle(t)?.probe(&["exit", "3"]);
    call_ok(t, &["create", "--bundle", &bundle.saved()?, &t.id])?;
    call_ok(t, &["start", &t.id])?;
    t.wait_status("stopped")?;
    gone(t)?;
    call_ok(t, &["delete", &t.id])?;
    gone(t)
}

fn fifty_at_once(t: &Test) -> Outcome {
    ours_knows_more(t)?;
    bundle(t)?;
    let mut running: Vec<Running> = Vec::new();
    for number in 0..50 {
        let name = format!("{}-{number}", t.id);
        let bundle = Bundle::new(&t.folder.join(format!("b{number}")), &name)?.probe(&["exit", "0"]);
        let bundle = bundle.with("/linux/cgroupsPath", json!(format!("system.slice:rt:{name}")));
        let words = ["--systemd-cgroup", "run", "--bundle", &bundle.saved()?, &name];
        running.push(t.spawn(t.command(&[], &words), None)?);
    }
    let mut failed = Vec::new();
    for one in running {
        let output = one.wait(t.limit * 4)?;
        if output.code != 0 {
            failed.push(format!("exit {}: {}", output.code, output.stderr.trim()));
        }
    }
    check!(failed.is_empty(), "{} of 50 failed, the first: {}", failed.len(), failed[0]);
    gone(t)
}
