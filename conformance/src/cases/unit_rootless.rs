//! `--systemd-cgroup` for a user who is logged in: his own systemd, in the machine made for the tests (contract 2.13,
//! 2.14).

use super::rootless::{USER, own};
use super::unit::{bundle, unit};
use crate::bundle::Bundle;
use crate::cases;
use crate::command::Output;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Command;

cases!["unit_rootless": in_the_users_session, limits_are_delegated];

/// A call as a user who is logged in: by his own systemd, in a unit of his own.
fn user(t: &Test, args: &[&str]) -> Outcome<Output> {
    let before = [
        "setpriv",
        "--reuid=1000",
        "--regid=1000",
        "--clear-groups",
        "--inh-caps=-all",
        "env",
        "XDG_RUNTIME_DIR=/run/user/1000",
        "DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus",
        "systemd-run",
        "--user",
        "--scope",
        "--quiet",
        "--collect",
    ];
    t.finish(t.command(&before, &[&["--systemd-cgroup"], args].concat()))
}

/// A rootless bundle in a scope of the user's, all of it his.
fn users_bundle(t: &Test) -> Outcome<Bundle> {
    let mut bundle = bundle(t)?.with("/linux/cgroupsPath", json!(format!("user.slice:rt:{}", t.id)));
    if !Path::new("/run/user/1000/bus").exists() {
        return skip("the user has no session");
    }
    bundle.remove("/linux/resources");
    bundle.drop_namespace("network");
    bundle.map_ids(USER, 1);
    bundle.drop_mount("/sys");
    bundle.drop_mount("/dev/pts");
    bundle.namespace("cgroup", "");
    bundle.mount("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]);
    let cgroup = bundle.config["mounts"].as_array().and_then(|all| all.iter().find(|m| m["type"] == "cgroup").cloned());
    bundle.drop_mount("/sys/fs/cgroup");
    bundle.mount("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"]);
    if let Some(cgroup) = cgroup {
        bundle.set("/mounts/-", cgroup);
    }
    Ok(bundle)
}

/// The pid of his container, once it has this status.
fn pid(t: &Test, wanted: &str) -> Outcome<String> {
    let as_user = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "--inh-caps=-all"];
    let mut pid = String::new();
    t.wait_for(wanted, || {
        let Ok(output) = t.finish(t.command(&as_user, &["state", &t.id])) else { return false };
        let state: serde_json::Value = serde_json::from_str(&output.stdout).unwrap_or_default();
        pid = state["pid"].to_string();
        state["status"] == wanted
    })?;
    Ok(pid)
}

fn users_units(t: &Test) -> Outcome<String> {
    let output = Command::new("systemctl")
        .args([
            "--machine=user@.host",
            "--user",
            "list-units",
            "--all",
            "--plain",
            "--no-legend",
            &format!("*{}*", t.id),
        ])
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn in_the_users_session(t: &Test) -> Outcome {
    let bundle = users_bundle(t)?.probe(&["sleep", "600"]);
    bundle.save()?;
    own(&t.folder)?;
    let created = user(t, &["create", "--bundle", &bundle.path.to_string_lossy(), &t.id])?;
    check!(created.code == 0, "create: {}", created.stderr);
    check_eq!(user(t, &["start", &t.id])?.code, 0, "start");
    let init = pid(t, "running")?;
    let cgroup = fs::read_to_string(format!("/proc/{init}/cgroup"))?;
    let inside = user(t, &["exec", &t.id, "/probe", "exit", "5"])?;
    let paused = user(t, &["pause", &t.id])?;
    let resumed = user(t, &["resume", &t.id])?;
    let killed = user(t, &["kill", &t.id, "KILL"])?;
    pid(t, "stopped")?;
    let deleted = user(t, &["delete", &t.id])?;
    check!(cgroup.contains("/user@1000.service/") && cgroup.contains(&unit(t)), "in {cgroup}");
    check_eq!(inside.code, 5, "exec: {}", inside.stderr);
    for (name, output) in [("pause", paused), ("resume", resumed), ("kill", killed), ("delete", deleted)] {
        check!(output.code == 0, "{name}: {}", output.stderr);
    }
    t.wait_for("the end of the user's unit", || users_units(t).is_ok_and(|list| list.is_empty()))
}

fn limits_are_delegated(t: &Test) -> Outcome {
    let resources = json!({ "memory": { "limit": 67_108_864 }, "pids": { "limit": 44 } });
    let bundle = users_bundle(t)?.with("/linux/resources", resources).probe(&["sleep", "600"]);
    bundle.save()?;
    own(&t.folder)?;
    let created = user(t, &["create", "--bundle", &bundle.path.to_string_lossy(), &t.id])?;
    check!(created.code == 0, "create: {}", created.stderr);
    let init = pid(t, "created")?;
    let cgroup = fs::read_to_string(format!("/proc/{init}/cgroup"))?;
    let folder = Path::new("/sys/fs/cgroup").join(cgroup.trim().trim_start_matches("0::/"));
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default().trim().to_owned();
    let found = (read("memory.max"), read("pids.max"));
    let updated = user(t, &["update", "--pids-limit", "33", &t.id])?;
    let pids = read("pids.max");
    let deleted = user(t, &["delete", "--force", &t.id])?;
    check_eq!(found, ("67108864".to_owned(), "44".to_owned()), "memory.max, pids.max of {}", folder.display());
    check_eq!((updated.code, pids.as_str()), (0, "33"), "update: {}", updated.stderr);
    check!(deleted.code == 0, "delete: {}", deleted.stderr);
    t.wait_for("the end of the user's unit", || users_units(t).is_ok_and(|list| list.is_empty()))
}
