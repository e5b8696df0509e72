//! Cgroups of an unprivileged user: none, and those that were delegated to him (contract 2.14).

use super::rootless::{bundle, own, refused, report, run, user, user_ok};
use crate::cases;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

cases!["rootless_cgroup":
    limits_without_rights_are_refused, path_without_rights_is_refused, without_rights_and_limits_it_runs,
    delegated_v1, delegated_v2, kill_reaches_everyone_by_cgroup,
];

fn limits_without_rights_are_refused(t: &Test) -> Outcome {
    let wanted = "no permission is granted for cgroups";
    let bundle = bundle(t)?.with("/linux/resources", json!({ "pids": { "limit": 10 } }));
    let output = run(t, &[], &bundle)?;
    check!(output.code == 1 && output.stdout.is_empty(), "exit {}, wanted 1 and no output", output.code);
    let said = [wanted, "cannot set pids limit: container could not join or create cgroup"];
    check!(said.iter().any(|text| output.stderr.contains(text)), "{}", output.stderr);
    Ok(())
}

fn path_without_rights_is_refused(t: &Test) -> Outcome {
    let bundle = bundle(t)?.with("/linux/cgroupsPath", json!(format!("/{}", t.id)));
    refused(t, &bundle, "permission denied")
}

fn without_rights_and_limits_it_runs(t: &Test) -> Outcome {
    // Device rules are no limits: a user namespace keeps everybody from foreign nodes.
    let rules = json!({ "devices": [{ "allow": false, "access": "rwm" }] });
    let report = report(t, &[], &bundle(t)?.with("/linux/resources", rules))?;
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let own: Vec<&str> = own.lines().collect();
    check_eq!(report.at("/cgroup"), &json!(own), "the cgroups of the caller");
    Ok(())
}

/// A cgroup the user may write in, and a command in front that enters it.
struct Delegated {
    path: PathBuf,
}

impl Delegated {
    fn new(hierarchy: &str, name: &str) -> Outcome<Self> {
        let path = Path::new("/sys/fs/cgroup").join(hierarchy).join(name);
        fs::create_dir(&path)?;
        own(&path)?;
        Ok(Self { path })
    }

    fn enter(&self) -> String {
        format!("echo $$ >'{}/cgroup.procs' && ", self.path.display())
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        for _ in 0..100 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

fn delegated_v1(t: &Test) -> Outcome {
    t.cgroups_v1()?;
    let name = format!("{}-deleg", t.id);
    let (pids, freezer) = (Delegated::new("pids", &name)?, Delegated::new("freezer", &name)?);
    let script = format!("{}{}exec \"$@\"", pids.enter(), freezer.enter());
    let bundle = bundle(t)?.with("/linux/resources", json!({ "pids": { "limit": 50 } }));
    let report = report(t, &["sh", "-c", &script, "sh"], &bundle)?;
    let cgroups = report.at("/cgroup").to_string();
    for controller in ["pids", "freezer"] {
        check!(cgroups.contains(&format!(":{controller}:/{name}/{}", t.id)), "{cgroups}");
    }
    // One that was not delegated is no obstacle, unless a limit needs it.
    let bundle = bundle.with("/linux/resources/memory", json!({ "limit": 1 << 28 }));
    let output = run(t, &["sh", "-c", &script, "sh"], &bundle)?;
    check!(output.code == 1 && output.stderr.contains("cannot set memory limit"), "{}", output.stderr);
    Ok(())
}

/// The kernel's rule (cgroup-v2.rst, "Delegation"): the subtree is the user's, and he is in it.
fn delegated_v2(t: &Test) -> Outcome {
    let root = Path::new("/sys/fs/cgroup/unified");
    if !root.is_dir() {
        return skip("no cgroup v2 beside v1");
    }
    let top = Delegated::new("unified", &format!("{}-deleg", t.id))?;
    let name = format!("unified/{}-deleg/init", t.id);
    let init = Delegated::new("", &name)?;
    let view = if t.runtime.v2_view {
        String::new()
    } else {
        "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && ".to_owned()
    };
    let script = format!("{}{view}exec \"$@\"", init.enter());
    let script = if t.runtime.v2_view { script.replace("/unified/", "/") } else { script };
    let mut bundle = bundle(t)?;
    bundle.namespace("cgroup", "");
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]);
    let bundle = bundle.looking_at(&["/sys/fs/cgroup/cgroup.freeze"]);
    let report = report(t, &["unshare", "-m", "sh", "-c", &script, "sh"], &bundle)?;
    let cgroups = report.at("/cgroup").to_string();
    check!(cgroups.contains("\"0::/\""), "the root of a cgroup namespace: {cgroups}");
    check_eq!(report.mount("/sys/fs/cgroup")["type"], "cgroup2", "type of /sys/fs/cgroup");
    check!(!report.path("/sys/fs/cgroup/cgroup.freeze").is_null(), "not the root cgroup, which cannot be frozen");
    drop((init, top));
    Ok(())
}

/// Without a pid namespace of its own a container dies by its cgroup.
fn kill_reaches_everyone_by_cgroup(t: &Test) -> Outcome {
    t.cgroups_v1()?;
    let delegated = Delegated::new("freezer", &format!("{}-deleg", t.id))?;
    let script = format!("{}exec \"$@\"", delegated.enter());
    let mut bundle = bundle(t)?.probe(&["spawn-sleeper"]);
    bundle.drop_namespace("pid");
    bundle.save()?;
    let before = ["sh", "-c", &script, "sh"];
    let path = bundle.path.to_string_lossy();
    let output = user(t, &before, &["create", "--bundle", &path, &t.id])?;
    check!(output.code == 0, "create: {}", output.stderr);
    user_ok(t, &["start", &t.id])?;
    user_ok(t, &["delete", "--force", &t.id])?;
    Ok(())
}
