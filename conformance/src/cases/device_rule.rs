//! `linux.resources.devices`: which devices may be opened.

use super::resource::{limited, shell};
use crate::cases;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::path::Path;

cases!["device_rule":
    device_of_the_config_is_denied, denied_one_is_denied, allowed_one_is_allowed, default_devices_survive_deny_all,
    update_keeps_them,
];

/// The default rules: what is not on the list may be made, and not opened.
fn device_of_the_config_is_denied(t: &Test) -> Outcome {
    if t.runtime.v2_view {
        return skip("without device rules here (RLIMIT_MEMLOCK)");
    }
    let device = json!([{ "type": "c", "path": "/dev/kmsg", "major": 1, "minor": 11 }]);
    let report = t.report_paths(t.bundle()?.with("/linux/devices", device), &["/dev/kmsg", "/dev/zero"])?;
    check_eq!(report.path("/dev/kmsg")["read"], json!({ "errno": 1 }), "reading /dev/kmsg");
    check!(report.path("/dev/zero")["read"]["zeros"].is_number(), "reading /dev/zero");
    Ok(())
}

/// Tries /dev/loop-control (10:237), which needs no capability, and two that every container has.
const OPEN: &str = "mknod /tmp/k c 10 237; (: </tmp/k) 2>/dev/null && echo read; (: >>/tmp/k) 2>/dev/null && echo write; \
                    (: </dev/full) && (: >/dev/null) && echo defaults";

fn opened(t: &Test, rules: Value) -> Outcome<String> {
    if !Path::new("/dev/loop-control").exists() {
        return skip("no loop devices");
    }
    let mut bundle = limited(t, json!({ "devices": rules }))?.with("/root/readonly", json!(false));
    for set in ["bounding", "effective", "permitted"] {
        bundle.set(&format!("/process/capabilities/{set}/-"), json!("CAP_MKNOD"));
    }
    shell(t, &mut bundle, OPEN)?;
    // A filesystem of its own: the one of the host may forbid device nodes.
    bundle.mount("/tmp", "tmpfs", "tmpfs", &["mode=1777"]);
    t.run_ok(&bundle)
}

fn denied_one_is_denied(t: &Test) -> Outcome {
    check_eq!(opened(t, json!([{ "allow": false, "access": "rwm" }]))?, "defaults\n", "what could be opened");
    Ok(())
}

fn allowed_one_is_allowed(t: &Test) -> Outcome {
    let rules = json!([{ "allow": false, "access": "rwm" },
                       { "allow": true, "type": "c", "major": 10, "minor": 237, "access": "r" }]);
    check_eq!(opened(t, rules)?, "read\ndefaults\n", "what could be opened");
    Ok(())
}

fn default_devices_survive_deny_all(t: &Test) -> Outcome {
    let rules = json!([{ "allow": true, "type": "c", "major": 10, "minor": 237, "access": "rwm" },
                       { "allow": false, "access": "rwm" }]);
    check_eq!(opened(t, rules)?, "defaults\n", "what could be opened");
    Ok(())
}

fn update_keeps_them(t: &Test) -> Outcome {
    let mut bundle = limited(t, json!({ "devices": [{ "allow": false, "access": "rwm" }] }))?;
    t.busybox(&bundle, &["sh", "mknod", "sleep"])?;
    for set in ["bounding", "effective", "permitted"] {
        bundle.set(&format!("/process/capabilities/{set}/-"), json!("CAP_MKNOD"));
    }
    bundle.mount("/tmp", "tmpfs", "tmpfs", &["mode=1777"]);
    t.sleeper(bundle)?;
    let open = |name: &str| {
        let script = format!(
            "mknod /tmp/{name} c 10 237; (: </tmp/{name}) 2>/dev/null && echo opened; (: </dev/null) && echo null"
        );
        t.rt(&["exec", &t.id, "/bin/sh", "-c", &script])
    };
    let before = open("a")?;
    t.ok(&["update", "--pids-limit", "50", &t.id])?;
    let after = open("b")?;
    t.delete()?;
    check_eq!(before.stdout, "null\n", "before: {}", before.stderr);
    check_eq!(after.stdout, "null\n", "after: {}", after.stderr);
    Ok(())
}
