//! process.apparmorProfile and process.selinuxLabel: what happens where the host has neither.

use crate::cases;
use crate::check;
use crate::test::{Outcome, Test, skip};
use serde_json::json;
use std::path::Path;

cases!["label": apparmor_without_apparmor_is_refused, selinux_without_selinux_is_refused, empty_labels_are_none];

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
