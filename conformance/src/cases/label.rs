//! process.apparmorProfile and process.selinuxLabel: where the host has neither, and under AppArmor in the guest.

use crate::bundle::Bundle;
use crate::cases;
use crate::check;
use crate::test::{Outcome, Test, skip};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Command;

cases!["label":
    apparmor_without_apparmor_is_refused, selinux_without_selinux_is_refused, empty_labels_are_none,
    apparmor_confines, apparmor_confines_exec, unknown_apparmor_profile_is_refused,
    mount_label_without_selinux_is_refused,
];

/// Lets everything but one file. Loaded in the guest only: a profile is the whole machine's.
const PROFILE: &str = "profile cf-conformance flags=(attach_disconnected) { file, capability, signal, ptrace, mount, umount, \
                       network, unix, deny /denied rwklx, }";

/// A bundle under that profile, and a file it must not read.
fn confined(t: &Test) -> Outcome<Bundle> {
    if !crate::machine::disposable() || !Path::new("/sys/module/apparmor").exists() {
        return skip("no AppArmor whose profiles are ours to load");
    }
    let file = t.folder.join("profile");
    fs::write(&file, PROFILE)?;
    let loaded = Command::new("apparmor_parser").args(["-K", "-r"]).arg(&file).output();
    match loaded {
        Ok(output) if output.status.success() => {}
        Ok(output) => return Err(format!("apparmor_parser: {}", String::from_utf8_lossy(&output.stderr)).into()),
        Err(e) => return skip(&format!("apparmor_parser: {e}")),
    }
    let mut bundle = t.bundle()?.with("/process/apparmorProfile", json!("cf-conformance"));
    t.busybox(&bundle, &["sh", "cat"])?;
    fs::write(bundle.rootfs().join("denied"), "secret")?;
    bundle.set("/process/args", json!(["/bin/sh", "-c", SHOW]));
    Ok(bundle)
}

const SHOW: &str = "cat /proc/self/attr/current; cat /denied 2>&1; true";

fn is_confined(said: &str) -> Outcome {
    // Debian has a profile for crun itself, which is then part of the answer.
    check!(said.starts_with("cf-conformance"), "profile: {said}");
    check!(said.contains("Permission denied") && !said.contains("secret"), "not confined: {said}");
    Ok(())
}

fn apparmor_confines(t: &Test) -> Outcome {
    let bundle = confined(t)?;
    is_confined(&t.run_ok(&bundle)?)
}

fn apparmor_confines_exec(t: &Test) -> Outcome {
    t.sleeper(confined(t)?)?;
    let output = t.rt(&["exec", &t.id, "/bin/sh", "-c", SHOW])?;
    let free = t.rt(&["exec", "--apparmor", "unconfined", &t.id, "/bin/sh", "-c", SHOW])?;
    t.delete()?;
    is_confined(&output.stdout)?;
    check!(free.stdout.contains("secret"), "unconfined: {}{}", free.stdout, free.stderr);
    Ok(())
}

fn unknown_apparmor_profile_is_refused(t: &Test) -> Outcome {
    let bundle = confined(t)?.with("/process/apparmorProfile", json!("cf-no-such-profile"));
    t.run_refused(&bundle, "apparmor").map(drop)
}

fn apparmor_without_apparmor_is_refused(t: &Test) -> Outcome {
    if Path::new("/sys/module/apparmor").exists() {
        return skip("this host has AppArmor");
    }
    let bundle = t.bundle()?.with("/process/apparmorProfile", json!("docker-default"));
    let said = t.run_refused(&bundle, "apparmor: config provided but apparmor not supported")?;
    check!(t.runtime.name != "runtime" || said.contains("/process/apparmorProfile"), "names the property: {said}");
    Ok(())
}

fn selinux_without_selinux_is_refused(t: &Test) -> Outcome {
    if Path::new("/sys/fs/selinux/enforce").exists() {
        return skip("this host has SELinux");
    }
    let label = "system_u:system_r:container_t:s0:c1,c2";
    t.run_refused(&t.bundle()?.with("/process/selinuxLabel", json!(label)), "selinux").map(drop)
}

fn empty_labels_are_none(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/process/apparmorProfile", json!("")).with("/process/selinuxLabel", json!(""));
    t.run_ok(&bundle).map(drop)
}

fn mount_label_without_selinux_is_refused(t: &Test) -> Outcome {
    if fs::exists("/sys/fs/selinux/enforce")? {
        return crate::test::skip("this host has SELinux");
    }
    let bundle = t.bundle()?.with("/linux/mountLabel", json!("system_u:object_r:container_file_t:s0:c1,c2"));
    let said = t.run_refused(&bundle, "")?;
    check!(!t.runtime.is_ours() || said.contains("/linux/mountLabel"), "no JSON pointer: {said}");
    Ok(())
}
