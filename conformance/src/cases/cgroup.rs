//! cgroups: limits arrive, the process is in, and all of it goes with the container.

use crate::cases;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::json;
use std::fs;

cases!["cgroup":
    limits_are_written, pids_limit_holds, path_is_used, path_with_dots_stays_inside, no_path_means_the_id, a_used_one_is_refused,
    gone_after_delete, kill_reaches_children, covered_hierarchies_do_not_count,
];

fn limits_are_written(t: &Test) -> Outcome {
    t.cgroups_v1()?;
    let bundle = t
        .bundle()?
        .with("/linux/resources/memory", json!({ "limit": 64 << 20, "reservation": 32 << 20 }))
        .with("/linux/resources/pids", json!({ "limit": 40 }))
        .with("/linux/resources/cpu", json!({ "shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0" }));
    let pid = t.sleeper(bundle)?;
    let files = [
        ("memory", "memory.limit_in_bytes", "67108864"),
        ("memory", "memory.soft_limit_in_bytes", "33554432"),
        ("pids", "pids.max", "40"),
        ("cpu", "cpu.shares", "512"),
        ("cpu", "cpu.cfs_quota_us", "50000"),
        ("cpu", "cpu.cfs_period_us", "100000"),
        ("cpuset", "cpuset.cpus", "0"),
    ];
    let found = files.map(|(controller, file, _)| t.cgroup_file(controller, file));
    let members = t.cgroup_file("memory", "cgroup.procs");
    t.delete()?;
    for ((_, file, wanted), found) in files.iter().zip(found) {
        check_eq!(found.as_deref(), Some(*wanted), "{file}");
    }
    check_eq!(members, Some(pid.to_string()), "cgroup.procs");
    Ok(())
}

fn pids_limit_holds(t: &Test) -> Outcome {
    t.cgroups()?;
    let bundle = t.bundle()?.with("/linux/resources/pids", json!({ "limit": 1 })).probe(&["spawn-sleeper"]);
    check_eq!(t.run(&bundle)?.code, 11, "errno of the second process (EAGAIN)");
    Ok(())
}

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
    let created = {
        bundle.save()?;
        t.rt(&["create", "--bundle", &bundle.path.to_string_lossy(), &t.id])?
    };
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

/// Two containers in one cgroup: kill and delete of one would be the end of both.
fn a_used_one_is_refused(t: &Test) -> Outcome {
    t.cgroups()?;
    t.sleeper(t.bundle()?)?;
    let second = t.bundle_named("second")?.with("/linux/cgroupsPath", json!(format!("/{}", t.id)));
    second.save()?;
    let name = format!("{}second", t.id);
    let output = t.rt(&["create", "--bundle", &second.path.to_string_lossy(), &name]);
    if output.as_ref().is_ok_and(|output| output.code == 0) {
        let _ = t.rt(&["delete", "--force", &name]);
    }
    let alive = t.state()?["status"] == "running";
    t.delete()?;
    let output = output?;
    check!(output.code == 1 && output.stderr.contains("not empty"), "exit {}: {}", output.code, output.stderr);
    check!(alive, "the first container died of it");
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
    t.create_ok(&t.bundle()?.probe(&["spawn-sleeper", "stay"]))?;
    t.ok(&["start", &t.id])?;
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
    bundle.save()?;
    let path = bundle.path.to_string_lossy();
    for cover in [
        "mount -t tmpfs none /sys/fs/cgroup",
        "mount -t tmpfs none /sys/fs/cgroup/unified",
        "umount /sys/fs/cgroup/unified",
        "mount -t tmpfs none /sys/fs/cgroup && mkdir /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified && umount /sys/fs/cgroup/unified",
    ] {
        let script = format!("{cover} && exec \"$@\"");
        let before = ["unshare", "-m", "sh", "-c", &script, "sh"];
        let output = t.finish(t.command(&before, &["run", "--bundle", &path, &t.id]))?;
        check_eq!(output.code, 7, "exit status after {cover}: {}", output.stderr);
    }
    Ok(())
}
