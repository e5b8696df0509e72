//! rootless: everything as an unprivileged user, with one id, with ranges of ids, with and without cgroups
//! (contract 2.14).

use crate::bundle::Bundle;
use crate::cases;
use crate::command::Output;
use crate::report::Report;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::json;
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

cases!["rootless":
    one_id, lifecycle, ranges_of_ids, ids_that_are_not_ours, groups_stay_denied, devices_are_the_hosts,
    rootless_flag_decides, needs_a_user_namespace, proc_of_a_shared_pid_namespace, sysfs_of_a_shared_network,
    masked_proc_is_not_revealed, inside_a_user_namespace, root_of_a_user_namespace, state_below_xdg_runtime_dir,
    spec_runs,
];

/// The user of these tests; on a machine that has him, he is not asked.
pub(super) const USER: u32 = 1000;

/// First ids of his ranges in our copies of /etc/subuid and /etc/subgid.
const SUBUID: u32 = 200_000;

const SUBGID: u32 = 300_000;

/// A bundle as `spec --rootless` describes it, all of it the user's.
pub(super) fn bundle(t: &Test) -> Outcome<Bundle> {
    let mut bundle = Bundle::new(&t.folder.join("bundle"), &t.id)?;
    for pointer in ["/linux/cgroupsPath", "/linux/resources"] {
        bundle.remove(pointer);
    }
    bundle.drop_namespace("network");
    bundle.map_ids(USER, 1);
    bundle.drop_mount("/sys");
    bundle.drop_mount("/sys/fs/cgroup");
    bundle.drop_mount("/dev/pts");
    let options = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    bundle.mount("/dev/pts", "devpts", "devpts", &options);
    bundle.mount("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"]);
    own(&t.folder)?;
    Ok(bundle)
}

/// Gives a tree to the user.
pub(super) fn own(path: &Path) -> Outcome {
    chown(path, Some(USER), Some(USER))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            own(&entry.path())?;
        } else {
            std::os::unix::fs::lchown(entry.path(), Some(USER), Some(USER))?;
        }
    }
    Ok(())
}

const AS_USER: [&str; 6] =
    ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "--inh-caps=-all", "--ambient-caps=-all"];

pub(super) fn user(t: &Test, before: &[&str], args: &[&str]) -> Outcome<Output> {
    t.finish(t.command(&[before, &AS_USER].concat(), args))
}

pub(super) fn user_ok(t: &Test, args: &[&str]) -> Outcome<Output> {
    let output = user(t, &[], args)?;
    check!(output.code == 0, "{args:?}: exit {}: {}", output.code, output.stderr.trim());
    Ok(output)
}

pub(super) fn run(t: &Test, before: &[&str], bundle: &Bundle) -> Outcome<Output> {
    user(t, before, &["run", "--bundle", &bundle.saved()?, &t.id])
}

pub(super) fn report(t: &Test, before: &[&str], bundle: &Bundle) -> Outcome<Report> {
    let output = run(t, before, bundle)?;
    check!(output.code == 0, "run: exit {}: {}", output.code, output.stderr.trim());
    Ok(Report::parse(&output.stdout)?)
}

pub(super) fn refused(t: &Test, bundle: &Bundle, text: &str) -> Outcome {
    let output = run(t, &[], bundle)?;
    check!(output.code == 1 && output.stdout.is_empty(), "exit {}, wanted 1 and no output", output.code);
    let said = output.stderr.to_lowercase();
    check!(said.contains(&text.to_lowercase()), "error does not say {text:?}: {}", output.stderr.trim());
    Ok(())
}

fn one_id(t: &Test) -> Outcome {
    let report = report(t, &[], &bundle(t)?)?;
    check_eq!(report.at("/uid_map"), &json!(["0 1000 1"]), "uid_map");
    check_eq!(report.at("/gid_map"), &json!(["0 1000 1"]), "gid_map");
    check_eq!(report.status("Uid"), "0 0 0 0", "uid");
    check_eq!(report.status("Gid"), "0 0 0 0", "gid");
    check_eq!(report.status("NoNewPrivs"), "1", "no_new_privs");
    check_eq!(report.descriptors(), [0, 1, 2], "open descriptors");
    Ok(())
}

fn lifecycle(t: &Test) -> Outcome {
    let bundle = bundle(t)?.probe(&["sleep", "600"]);
    user_ok(t, &["create", "--bundle", &bundle.saved()?, &t.id])?;
    let status = || -> Outcome<String> {
        let state: serde_json::Value = serde_json::from_str(&user_ok(t, &["state", &t.id])?.stdout)?;
        Ok(state["status"].as_str().unwrap_or_default().to_owned())
    };
    check_eq!(status()?, "created", "status after create");
    user_ok(t, &["start", &t.id])?;
    check_eq!(status()?, "running", "status after start");
    user_ok(t, &["kill", &t.id, "KILL"])?;
    t.wait_for("the end", || status().is_ok_and(|status| status == "stopped"))?;
    user_ok(t, &["delete", &t.id])?;
    user_ok(t, &["create", "--bundle", &bundle.path.to_string_lossy(), &t.id])?;
    user_ok(t, &["delete", "--force", &t.id])?;
    Ok(())
}

/// The command in front that gives the user ranges of ids, in a mount namespace of its own.
fn with_ranges(t: &Test) -> Outcome<Vec<String>> {
    let (subuid, subgid, passwd) = (t.folder.join("subuid"), t.folder.join("subgid"), t.folder.join("passwd"));
    fs::write(&subuid, format!("tester:{SUBUID}:65536\n"))?;
    fs::write(&subgid, format!("tester:{SUBGID}:65536\n"))?;
    fs::write(&passwd, format!("root:x:0:0::/root:/bin/sh\ntester:x:{USER}:{USER}::/tmp:/bin/sh\n"))?;
    for name in ["/usr/bin/newuidmap", "/etc/subuid", "/etc/subgid"] {
        if !Path::new(name).exists() {
            return skip(&format!("there is no {name}"));
        }
    }
    let bind = |from: &Path, to: &str| format!("mount --bind '{}' {to} && ", from.display());
    let script = bind(&subuid, "/etc/subuid") + &bind(&subgid, "/etc/subgid") + &bind(&passwd, "/etc/passwd");
    Ok(["unshare", "-m", "sh", "-c", &format!("{script} exec \"$@\""), "sh"].map(str::to_owned).into())
}

/// Runs with ranges: the user himself is root, the rest comes from his ranges.
fn ranged(t: &Test, bundle: &Bundle) -> Outcome<Output> {
    let before = with_ranges(t)?;
    run(t, &before.iter().map(String::as_str).collect::<Vec<_>>(), bundle)
}

fn map_ranges(bundle: &mut Bundle) {
    let map = |first: u32| {
        json!([{ "containerID": 0, "hostID": USER, "size": 1 },
               { "containerID": 1, "hostID": first, "size": 65536 }])
    };
    bundle.set("/linux/uidMappings", map(SUBUID));
    bundle.set("/linux/gidMappings", map(SUBGID));
}

fn ranges_of_ids(t: &Test) -> Outcome {
    let mut bundle = bundle(t)?.with("/process/user", json!({ "uid": 7, "gid": 8, "additionalGids": [5, 9] }));
    map_ranges(&mut bundle);
    let output = ranged(t, &bundle)?;
    check!(output.code == 0, "run: exit {}: {}", output.code, output.stderr.trim());
    let report = Report::parse(&output.stdout)?;
    check_eq!(report.at("/uid_map"), &json!(["0 1000 1", "1 200000 65536"]), "uid_map");
    check_eq!(report.at("/gid_map"), &json!(["0 1000 1", "1 300000 65536"]), "gid_map");
    check_eq!(report.at("/setgroups"), &json!("allow"), "setgroups");
    check_eq!(report.status("Uid"), "7 7 7 7", "uid");
    check_eq!(report.status("Groups"), "5 9", "groups");
    Ok(())
}

fn ids_that_are_not_ours(t: &Test) -> Outcome {
    let mut bundle = bundle(t)?;
    bundle.set("/linux/uidMappings", json!([{ "containerID": 0, "hostID": 400_000, "size": 10 }]));
    let output = ranged(t, &bundle)?;
    check!(output.code == 1 && output.stdout.is_empty(), "exit {}, wanted 1 and no output", output.code);
    check!(output.stderr.contains("newuidmap") && output.stderr.contains("not allowed"), "{}", output.stderr);
    Ok(())
}

fn groups_stay_denied(t: &Test) -> Outcome {
    let mut bundle = bundle(t)?;
    check_eq!(report(t, &[], &bundle)?.at("/setgroups"), &json!("deny"), "setgroups");
    bundle.set("/process/user/additionalGids", json!([0]));
    refused(t, &bundle, "cannot set any additional groups in a rootless container")
}

fn devices_are_the_hosts(t: &Test) -> Outcome {
    let report = report(t, &[], &bundle(t)?)?;
    for (name, minor) in [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)] {
        let device = report.at(&format!("/dev/{name}"));
        check_eq!(device["rdev"], format!("1:{minor}"), "/dev/{name}");
        check_eq!(report.mount(&format!("/dev/{name}"))["point"], format!("/dev/{name}"), "mount of /dev/{name}");
    }
    Ok(())
}

fn rootless_flag_decides(t: &Test) -> Outcome {
    let bundle = bundle(t)?;
    bundle.save()?;
    let run = |flag: &str| user(t, &[], &[flag, "run", "--bundle", &bundle.path.to_string_lossy(), &t.id]);
    for (flag, code) in [("--rootless=true", 0), ("--rootless=auto", 0), ("--rootless=false", 1)] {
        let output = run(flag)?;
        check_eq!(output.code, code, "{flag}: {}", output.stderr.trim());
    }
    check!(run("--rootless=maybe")?.code == 1, "another value");
    Ok(())
}

fn needs_a_user_namespace(t: &Test) -> Outcome {
    let mut bundle = bundle(t)?;
    bundle.drop_namespace("user");
    bundle.remove("/linux/uidMappings");
    bundle.remove("/linux/gidMappings");
    refused(t, &bundle, "rootless container requires user namespaces")
}

/// What cannot be mounted anew because it shows a namespace of the host's is bound.
fn proc_of_a_shared_pid_namespace(t: &Test) -> Outcome {
    let mut bundle = bundle(t)?;
    bundle.drop_namespace("pid");
    let report = report(t, &[], &bundle)?;
    check_eq!(report.mount("/proc")["type"], "proc", "type of /proc");
    check_eq!(report.mounted_with("/proc/sys", "ro"), true, "masks apply to it");
    let own = fs::read_link("/proc/self/ns/pid")?;
    check_eq!(report.at("/namespaces/pid"), &json!(own.to_string_lossy()), "pid namespace");
    Ok(())
}

fn sysfs_of_a_shared_network(t: &Test) -> Outcome {
    let mut bundle = bundle(t)?;
    bundle.drop_mount("/sys");
    bundle.mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]);
    let report = report(t, &[], &bundle)?;
    check_eq!(report.mount("/sys")["type"], "sysfs", "type of /sys");
    for (point, option) in [("/sys", "ro"), ("/sys", "nosuid")] {
        check!(report.mounted_with(point, option), "{point} is not {option}: {}", report.mount(point));
    }
    // Everything below it as well: "ro" means what it says.
    let below = report.at("/mounts").as_array().cloned().unwrap_or_default();
    let writable = below.iter().find(|mount| {
        let point = mount["point"].as_str().unwrap_or_default();
        let options = mount["options"].as_array().cloned().unwrap_or_default();
        point.starts_with("/sys/") && options.contains(&json!("rw"))
    });
    check!(writable.is_none(), "writable: {writable:?}");
    Ok(())
}

/// A container in a container whose /proc is partly masked must not get an unmasked one.
fn masked_proc_is_not_revealed(t: &Test) -> Outcome {
    let mut bundle = bundle(t)?;
    bundle.map_ids(0, 1);
    let mask = "mount --bind /dev/null /proc/keys && exec \"$@\"";
    let inside = [&AS_USER[..], &["unshare", "-Urmpf", "--mount-proc", "sh", "-c", mask, "sh"]].concat();
    let output = t.run_behind(&inside, &bundle)?;
    check!(output.code == 1 && output.stdout.is_empty(), "exit {}, wanted 1 and no output", output.code);
    check!(output.stderr.to_lowercase().contains("operation not permitted"), "{}", output.stderr);
    Ok(())
}

fn nested(t: &Test, bundle: &Bundle, flags: &str) -> Outcome<Report> {
    t.report_behind(&[&AS_USER[..], &["unshare", flags]].concat(), bundle)
}

fn inside_a_user_namespace(t: &Test) -> Outcome {
    let mut bundle = bundle(t)?;
    bundle.map_ids(0, 1);
    for flags in ["-Ur", "-Urm", "-Urmn"] {
        let report = nested(t, &bundle, flags)?;
        check_eq!(report.at("/uid_map"), &json!(["0 0 1"]), "uid_map in {flags}");
        check_eq!(report.at("/setgroups"), &json!("deny"), "setgroups in {flags}");
    }
    Ok(())
}

/// Root of a user namespace needs no second one.
fn root_of_a_user_namespace(t: &Test) -> Outcome {
    let mut bundle = bundle(t)?;
    bundle.drop_namespace("user");
    bundle.remove("/linux/uidMappings");
    bundle.remove("/linux/gidMappings");
    bundle.namespace("network", "");
    for flags in ["-Ur", "-Urm"] {
        let report = nested(t, &bundle, flags)?;
        check_eq!(report.at("/uid_map"), &json!(["0 1000 1"]), "uid_map in {flags}");
        check_eq!(report.mount("/dev/null")["type"].is_string(), true, "/dev/null is bound in {flags}");
    }
    Ok(())
}

fn state_below_xdg_runtime_dir(t: &Test) -> Outcome {
    let bundle = bundle(t)?.probe(&["sleep", "600"]);
    bundle.save()?;
    let runtime_dir = t.folder.join("xdg");
    fs::create_dir(&runtime_dir)?;
    own(&runtime_dir)?;
    let call = |args: &[&str]| {
        let mut command = t.runtime.command(&AS_USER);
        command.args(args).env("XDG_RUNTIME_DIR", &runtime_dir).env(crate::leak::MARKER, &t.id);
        t.finish(command)
    };
    let output = call(&["create", "--bundle", &bundle.path.to_string_lossy(), &t.id])?;
    check!(output.code == 0, "create: {}", output.stderr);
    let root = fs::read_dir(&runtime_dir)?.flatten().next().map(|entry| entry.path());
    let Some(root) = root else { return Err("nothing below XDG_RUNTIME_DIR".into()) };
    use std::os::unix::fs::PermissionsExt;
    check_eq!(fs::metadata(&root)?.permissions().mode() & 0o7777, 0o1700, "mode of {}", root.display());
    check!(root.join(&t.id).is_dir(), "no {} below {}", t.id, root.display());
    check_eq!(call(&["delete", "--force", &t.id])?.code, 0, "delete");
    Ok(())
}

fn spec_runs(t: &Test) -> Outcome {
    let bundle = bundle(t)?;
    t.busybox(&bundle, &["sh"])?;
    own(&t.folder)?;
    let path = bundle.path.to_string_lossy();
    let spec = user_ok(t, &["spec", "--rootless", "--bundle", &path])?;
    check_eq!((spec.stdout.as_str(), spec.stderr.as_str()), ("", ""), "output of spec");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(bundle.path.join("config.json"))?)?;
    check_eq!(config["linux"]["uidMappings"][0]["hostID"], USER, "mapped user");
    check!(config["linux"]["resources"].is_null(), "limits");
    // Only what a terminal would need is changed.
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["sh", "-c", "echo $0 $$", "it runs as"]);
    fs::write(bundle.path.join("config.json"), config.to_string())?;
    let output = user_ok(t, &["run", "--bundle", &path, &t.id])?;
    check_eq!(output.stdout, "it runs as 1\n", "output");
    Ok(())
}
