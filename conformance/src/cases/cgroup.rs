//! `linux.cgroupsPath`, and cgroups themselves: which the container is in, who else may be, and all of it goes with the
//! container.

use super::resource::{limited, limited_v1, shell};
use crate::cases;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

cases!["cgroup":
    path_is_used, path_with_dots_stays_inside, no_path_means_the_id, gone_after_delete, kill_reaches_children,
    covered_hierarchies_do_not_count, every_hierarchy_is_entered, occupied_is_refused, frozen_is_refused,
    cgroups_made_inside_are_removed, frozen_container_is_deleted, orphans_are_killed,
];

fn path_is_used(t: &Test) -> Outcome {
    t.cgroups()?;
    let pid = t.sleeper(t.bundle()?.with("/linux/cgroupsPath", json!(format!("/{}/deep/er", t.id))))?;
    let lines = fs::read_to_string(format!("/proc/{pid}/cgroup"));
    t.delete()?;
    for line in lines?.lines() {
        check!(line.ends_with(&format!(":/{}/deep/er", t.id)), "another cgroup: {line}");
    }
    // What was made on the way to it is the caller's to remove.
    for cgroup in crate::leak::cgroups(&t.id) {
        let _ = fs::remove_dir(cgroup);
    }
    Ok(())
}

/// F3: never above the root of the hierarchy, and the same at delete as at create.
fn path_with_dots_stays_inside(t: &Test) -> Outcome {
    t.cgroups()?;
    let bundle = t.bundle()?.with("/linux/cgroupsPath", json!(format!("/../../../{}", t.id))).probe(&["sleep", "600"]);
    let created = t.rt(&["create", "--bundle", &bundle.saved()?, &t.id])?;
    if created.code != 0 {
        return Ok(());
    }
    let there = t.cgroup("memory").is_dir();
    t.delete()?;
    check!(there, "the cgroup is not below the hierarchy's root");
    Ok(())
}

fn no_path_means_the_id(t: &Test) -> Outcome {
    t.cgroups()?;
    let mut bundle = t.bundle()?;
    bundle.remove("/linux/cgroupsPath");
    let pid = t.sleeper(bundle)?;
    let lines = fs::read_to_string(format!("/proc/{pid}/cgroup"));
    t.delete()?;
    check!(lines?.lines().any(|line| line.contains(&t.id)), "no cgroup has the id in its name");
    Ok(())
}

fn gone_after_delete(t: &Test) -> Outcome {
    t.sleeper(t.bundle()?)?;
    check!(!crate::leak::cgroups(&t.id).is_empty(), "no cgroup while it runs");
    t.delete()?;
    check!(crate::leak::cgroups(&t.id).is_empty(), "left: {:?}", crate::leak::cgroups(&t.id));
    Ok(())
}

fn kill_reaches_children(t: &Test) -> Outcome {
    t.start(&t.bundle()?.probe(&["spawn-sleeper", "stay"]))?;
    t.wait_for("two processes", || crate::leak::processes(&t.id).len() >= 2)?;
    t.ok(&["kill", &t.id, "KILL"])?;
    t.wait_for("the end of all", || crate::leak::processes(&t.id).is_empty())?;
    t.delete().map(drop)
}

/// As engines in containers leave it: the names of the hierarchies are there no more, or lead elsewhere.
fn covered_hierarchies_do_not_count(t: &Test) -> Outcome {
    t.cgroups_v1()?;
    if !t.runtime.is_ours() {
        return skip("others refuse such a host, or take the table at its word");
    }
    let mut bundle = t.bundle()?;
    bundle.remove("/linux/resources");
    bundle.remove("/linux/cgroupsPath");
    let bundle = bundle.probe(&["exit", "7"]);
    for cover in [
        "mount -t tmpfs none /sys/fs/cgroup",
        "mount -t tmpfs none /sys/fs/cgroup/unified",
        "umount /sys/fs/cgroup/unified",
        "mount -t tmpfs none /sys/fs/cgroup && mkdir /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified && umount /sys/fs/cgroup/unified",
    ] {
        let script = format!("{cover} && exec \"$@\"");
        let before = ["unshare", "-m", "sh", "-c", &script, "sh"];
        let output = t.run_behind(&before, &bundle)?;
        check_eq!(output.code, 7, "exit status after {cover}: {}", output.stderr);
    }
    Ok(())
}

/// Freezes a cgroup of the freezer's hierarchy, or of the only one.
fn freeze(cgroup: &Path) -> Outcome {
    if crate::runtime::unified() {
        return Ok(fs::write(cgroup.join("cgroup.freeze"), "1")?);
    }
    Ok(fs::write(cgroup.join("freezer.state"), "FROZEN")?)
}

fn every_hierarchy_is_entered(t: &Test) -> Outcome {
    let report = t.report(&limited(t, json!({}))?)?;
    let lines: Vec<&str> = report.at("/cgroup").as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for line in lines {
        // runc before 1.2 leaves the unified side of a hybrid host alone where nothing needs it.
        let there = line.ends_with(&format!(":/{}", t.id));
        check!(there || (line.starts_with("0::") && t.runtime.name != "runtime"), "not in its cgroup: {line}");
    }
    Ok(())
}

/// A cgroup of the test's own in one hierarchy, removed at the end.
struct Own(PathBuf);

impl Own {
    fn new(t: &Test, hierarchy: &str) -> Outcome<Self> {
        let path = t.cgroup(hierarchy);
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

fn occupied_is_refused(t: &Test) -> Outcome {
    let bundle = limited(t, json!({}))?;
    let own = Own::new(t, "pids")?;
    let mut child = std::process::Command::new("sleep").arg("600").spawn()?;
    fs::write(own.0.join("cgroup.procs"), child.id().to_string())?;
    let refused = t.run_refused(&bundle, "container's cgroup is not empty: 1 process(es) found");
    let alive = child.try_wait()?.is_none();
    child.kill()?;
    child.wait()?;
    refused?;
    check!(alive, "the process that was there is gone");
    check!(own.0.is_dir(), "the cgroup that was there is gone");
    Ok(())
}

fn frozen_is_refused(t: &Test) -> Outcome {
    let bundle = limited(t, json!({}))?;
    let own = Own::new(t, "freezer")?;
    freeze(&own.0)?;
    t.run_refused(&bundle, "container's cgroup unexpectedly frozen")?;
    Ok(())
}

fn cgroups_made_inside_are_removed(t: &Test) -> Outcome {
    let mut bundle = limited_v1(t, json!({}))?;
    shell(t, &mut bundle, "mkdir -p /sys/fs/cgroup/pids/a/b /sys/fs/cgroup/freezer/c && echo made")?;
    bundle.drop_mount("/sys/fs/cgroup");
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "rw"]);
    // What is left is looked for after every case.
    check_eq!(t.run_ok(&bundle)?, "made\n", "output");
    Ok(())
}

fn frozen_container_is_deleted(t: &Test) -> Outcome {
    t.sleeper(limited(t, json!({}))?)?;
    freeze(&t.cgroup("freezer"))?;
    check_eq!(t.state()?["status"], "paused", "status");
    t.delete()?;
    Ok(())
}

/// A process that outlives the first one, without a pid namespace that would end it, frozen below for good measure.
fn orphans_are_killed(t: &Test) -> Outcome {
    let mut bundle = limited(t, json!({}))?.probe(&["spawn-sleeper"]);
    bundle.drop_namespace("pid");
    t.start(&bundle)?;
    t.wait_status("stopped")?;
    let freezer = t.cgroup("freezer");
    let left = fs::read_to_string(freezer.join("cgroup.procs"))?;
    check_eq!(left.lines().count(), 1, "processes left");
    fs::create_dir(freezer.join("below"))?;
    fs::write(freezer.join("below/cgroup.procs"), left.trim())?;
    freeze(&freezer.join("below"))?;
    t.delete()?;
    Ok(())
}
