//! kernel: docs/kernel.md is what the kernel at hand says, and what stands there about kernels without a feature is what
//! happens without it (strace(1) takes it away). The guests of scripts/guest-lane.sh run these on other kernels.

use crate::bundle::Bundle;
use crate::cases;
use crate::report::Report;
use crate::stepper::without_newer_calls;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

cases!["kernel":
    features_are_as_old_as_the_table_says, without_memfd_flags, without_anonymous_programs, without_cgroup_kill,
    without_mount_attributes, below_the_floor_is_told, without_mount_setattr, without_attributes_of_clones,
];

const TABLE: &str = include_str!("../../../docs/kernel.md");

/// The release of the running kernel: 6, 12.
pub(super) fn release() -> Outcome<(u32, u32)> {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    version(&text).ok_or_else(|| format!("no release in {text:?}").into())
}

fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Since when the table says that a feature is there.
fn since(feature: &str) -> Option<(u32, u32)> {
    let rows = TABLE.lines().filter_map(|line| line.strip_prefix("| "));
    let mut cells = rows.map(|row| row.split(" | ")).filter_map(|mut cells| Some((cells.next()?, cells.next()?)));
    cells.find(|(name, _)| name.contains(feature)).and_then(|(_, since)| version(since.rsplit('–').next()?))
}

fn features_are_as_old_as_the_table_says(t: &Test) -> Outcome {
    let Some(probe) = crate::runtime::beside("probe") else { return skip("the probe is not built") };
    let output = Command::new(probe).arg("kernel").output()?;
    let found: Value = serde_json::from_slice(&output.stdout)?;
    let release = release()?;
    let mut wrong = Vec::new();
    let (mut have, mut lacks) = (0, Vec::new());
    for (name, there) in found.as_object().into_iter().flatten() {
        let Some(since) = since(name) else { return Err(format!("no row for {name} in docs/kernel.md").into()) };
        match there.as_bool() {
            Some(true) => have += 1,
            _ => lacks.push(name.as_str()),
        }
        if *there != json!(release >= since) {
            wrong.push(format!("{name}: {there} on {release:?}, since {since:?} by the table"));
        }
    }
    check!(have > 10, "the probe found {have} features: {}", String::from_utf8_lossy(&output.stdout));
    check!(wrong.is_empty(), "{}", wrong.join("\n    "));
    t.remark(&format!("{}.{} has {have} of the features, without {lacks:?}", release.0, release.1));
    Ok(())
}

/// `run` under strace(1), which makes these calls fail; and whether any was.
fn without(t: &Test, bundle: &Bundle, faults: &[&str]) -> Outcome<crate::command::Output> {
    if !t.runtime.is_ours() {
        return skip("how others do without is their affair");
    }
    t.needs_strace()?;
    let log = t.folder.join("strace.log").to_string_lossy().into_owned();
    let without = without_newer_calls();
    let without: Vec<&str> = without.iter().map(String::as_str).collect();
    let before = [&without[..], &["strace", "-f", "-qq", "-o", &log], faults].concat();
    let output = t.run_behind(&before, bundle)?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    check!(text.contains("(INJECTED)"), "nothing was taken away by {faults:?}");
    Ok(output)
}

fn works_without(t: &Test, faults: &[&str]) -> Outcome {
    let output = without(t, &t.bundle()?.probe(&["exit", "7"]), faults)?;
    check_eq!(output.code, 7, "exit status without {faults:?}: {}", output.stderr);
    Ok(())
}

/// Before 6.3. The second file is the stage.
fn without_memfd_flags(t: &Test) -> Outcome {
    if t.runtime.name == crate::runtime::IN_PROCESS {
        return skip("it makes no program");
    }
    works_without(t, &["-e", "trace=memfd_create", "-e", "inject=memfd_create:error=EINVAL:when=2"])
}

/// Policy (EACCES), or a security module that looks for /dev/fd/N in a /dev without it (TOMOYO of 5.10): a forked copy
/// does the same work.
fn without_anonymous_programs(t: &Test) -> Outcome {
    if t.runtime.name == crate::runtime::IN_PROCESS {
        return skip("it makes none");
    }
    for errno in ["EACCES", "ENOENT"] {
        works_without(t, &["-e", "trace=execveat", "-e", &format!("inject=execveat:error={errno}")])?;
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}

/// Before 5.14: every process is signalled.
fn without_cgroup_kill(t: &Test) -> Outcome {
    t.cgroups_v2()?;
    let mut bundle = t.bundle()?;
    bundle.drop_namespace("pid");
    t.start(&bundle.probe(&["spawn-sleeper", "stay"]))?;
    t.wait_for("two processes", || crate::leak::processes(&t.id).len() >= 2)?;
    if !t.runtime.is_ours() || crate::runtime::in_path("strace").is_none() {
        t.delete()?;
        return skip("needs strace, and ours");
    }
    let log = t.folder.join("strace.log").to_string_lossy().into_owned();
    let before = [
        "strace",
        "-f",
        "-qq",
        "-o",
        &log,
        "-P",
        "cgroup.kill",
        "-e",
        "trace=openat,openat2",
        "-e",
        "inject=openat,openat2:error=ENOENT",
    ];
    let output = t.finish(t.command(&before, &["delete", "--force", &t.id]))?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    check!(text.contains("(INJECTED)"), "cgroup.kill was not looked for: {text}");
    check_eq!(output.code, 0, "delete: {}", output.stderr);
    check!(crate::leak::processes(&t.id).is_empty(), "processes are left");
    Ok(())
}

/// Before 5.12; what it is used for is in [`without_mount_setattr`].
fn without_mount_attributes(t: &Test) -> Outcome {
    works_without(t, &["-e", "trace=mount_setattr", "-e", "inject=mount_setattr:error=ENOSYS"])
}

/// Before 6.15: a read-only path is cloned, mounted, and then made read-only.
fn without_attributes_of_clones(t: &Test) -> Outcome {
    if !t.runtime.is_ours() {
        return skip("how others do without is their affair");
    }
    let bundle = t.bundle()?.with("/linux/readonlyPaths", json!(["/proc/sys"])).probe(&["report"]);
    bundle.save()?;
    let before = without_newer_calls();
    let before: Vec<&str> = before.iter().map(String::as_str).collect();
    let output = t.finish(t.command(&before, &["run", "--bundle", &bundle.path.to_string_lossy(), &t.id]))?;
    check_eq!(output.code, 0, "exit status: {}", output.stderr);
    let report = Report::parse(&output.stdout)?;
    check!(report.mounted_with("/proc/sys", "ro"), "it is not read-only");
    Ok(())
}

/// What every supported kernel has: without it nothing is started, and the message names the call.
fn below_the_floor_is_told(t: &Test) -> Outcome {
    for call in ["clone3", "openat2", "open_tree", "fsopen", "move_mount"] {
        let (trace, inject) = (format!("trace={call}"), format!("inject={call}:error=ENOSYS"));
        let output = without(t, &t.bundle()?.probe(&["exit", "7"]), &["-e", &trace, "-e", &inject])?;
        check_eq!(output.code, 1, "exit status without {call}: {}", output.stderr);
        check!(output.stderr.contains(call), "the message does not name {call}: {}", output.stderr);
        t.fails(&["state", &t.id], "does not exist")?;
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}

/// A kernel before 5.12 has no mount_setattr(2).
fn without_mount_setattr(t: &Test) -> Outcome {
    t.needs_strace()?;
    let old = "strace -f -o strace.log -e trace=mount_setattr -e inject=mount_setattr:error=ENOSYS \"$@\"";
    let source = t.subfolder("source")?;
    let mut bundle = t.bundle()?;
    bundle.mount("/plain", "bind", &source, &["rbind"]);
    bundle.mount("/private", "bind", &source, &["rbind", "rprivate", "ro", "nosuid"]);
    bundle.mount("/late", "tmpfs", "x", &["ro", "nodev", "noatime"]);
    bundle.mount("/late/below", "tmpfs", "x", &["rshared"]);
    fs::create_dir(bundle.rootfs().join("masked"))?;
    fs::write(bundle.rootfs().join("masked/file"), "secret")?;
    bundle.set("/linux/maskedPaths", json!(["/masked/file"]));
    bundle.set("/linux/readonlyPaths", json!(["/proc/sys"]));
    bundle.set("/linux/rootfsPropagation", json!("shared"));
    bundle = bundle.looking_at(&["/proc/sys/kernel/hostname", "/masked/file", "/"]);
    let script = format!(
        "mount --bind . .; cd \"$PWD\"; mount -t tmpfs -o noexec x source; mount --make-rshared .; mount --make-shared source; {old}; grep -q ENOSYS strace.log"
    );
    let report = t.report_within(&script, &bundle)?;
    check_eq!(report.options("/plain"), ["rw", "noexec", "relatime"], "a bind without options");
    check_eq!(report.options("/private"), ["ro", "nosuid", "relatime"], "a bind with options");
    check_eq!(report.mount("/private")["optional"], json!([]), "propagation of a private bind");
    check_eq!(report.options("/late"), ["ro", "nodev", "noatime"], "a tmpfs that is made read-only late");
    check!(report.mount("/late/below")["optional"].to_string().contains("shared:"), "{}", report.mount("/late/below"));
    check!(report.mount("/")["optional"].to_string().contains("shared:"), "{}", report.mount("/"));
    check!(report.mounted_with("/", "ro") && report.mounted_with("/proc/sys", "ro"), "not read-only");
    check_eq!(report.path("/proc/sys/kernel/hostname")["write"], libc::EROFS, "writing below /proc/sys");
    check_eq!(report.path("/masked/file")["read"], "", "a masked file");
    // What only the new call can do is an error.
    let mut bundle = t.bundle()?;
    bundle.mount("/x", "bind", &source, &["rbind", "rro"]);
    let output = t.run_within(old, &bundle)?;
    check!(output.code != 0 && output.stdout.is_empty(), "rro was ignored: {}", output.stdout);
    Ok(())
}
