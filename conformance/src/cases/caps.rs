//! `process.capabilities`.

use crate::cases;
use crate::machine::own_status;
use crate::report::Report;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::fs;

cases!["caps":
    five_sets, of_root, of_a_user, ambient_needs_both_others, empty_ones_drop_all, absent_ones_change_nothing,
    unknown_one_is_a_warning, lacking_one_is_a_warning,
];

const CHOWN: u64 = 1;
const KILL: u64 = 1 << 5;
const NET_BIND: u64 = 1 << 10;
const AUDIT_WRITE: u64 = 1 << 29;

/// All five: inheritable, permitted, effective, bounding, ambient.
fn sets(report: &Report) -> [u64; 5] {
    ["Inh", "Prm", "Eff", "Bnd", "Amb"].map(|set| report.caps(set))
}

fn with_all(caps: Value) -> Value {
    json!({ "bounding": caps, "effective": caps, "permitted": caps })
}

/// Of an ordinary user: for root, execve(2) would fill permitted from bounding again.
fn five_sets(t: &Test) -> Outcome {
    let caps = json!({
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"], "permitted": ["CAP_CHOWN", "CAP_KILL"],
        "effective": ["CAP_KILL"], "inheritable": ["CAP_CHOWN", "CAP_KILL"], "ambient": ["CAP_KILL"]
    });
    let bundle = t.bundle()?.with("/process/capabilities", caps).with("/process/user/uid", json!(1000));
    let report = t.report(&bundle)?;
    check_eq!(sets(&report), [CHOWN | KILL, KILL, KILL, CHOWN | KILL | NET_BIND, KILL], "inh, prm, eff, bnd, amb");
    Ok(())
}

/// noNewPrivileges keeps execve(2) from filling permitted from bounding.
fn of_root(t: &Test) -> Outcome {
    let wanted = json!({ "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
        "permitted": ["CAP_CHOWN", "CAP_KILL"], "effective": ["CAP_CHOWN"], "inheritable": ["CAP_KILL"] });
    let report = t.report(&t.bundle()?.with("/process/capabilities", wanted))?;
    let both = CHOWN | KILL;
    check_eq!(sets(&report), [KILL, both, both, both | NET_BIND, 0], "inh, prm, eff, bnd, amb");
    Ok(())
}

/// Without ambient ones execve(2) takes them away.
fn of_a_user(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?.with("/process/user/uid", json!(1000)))?;
    check_eq!(sets(&report), [0, 0, 0, KILL | NET_BIND | AUDIT_WRITE, 0], "inh, prm, eff, bnd, amb");
    Ok(())
}

/// The spec: what cannot be granted is a warning.
fn ambient_needs_both_others(t: &Test) -> Outcome {
    let mut wanted = with_all(json!(["CAP_CHOWN", "CAP_KILL"]));
    wanted["inheritable"] = json!(["CAP_CHOWN"]);
    wanted["ambient"] = json!(["CAP_CHOWN", "CAP_KILL"]);
    let bundle = t.bundle()?.with("/process/capabilities", wanted).with("/process/user/uid", json!(1000));
    let report = t.report(&bundle)?;
    check_eq!(report.caps("Amb"), CHOWN, "ambient");
    Ok(())
}

fn empty_ones_drop_all(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?.with("/process/capabilities", json!({})))?;
    check_eq!(sets(&report), [0; 5], "inh, prm, eff, bnd, amb");
    Ok(())
}

fn absent_ones_change_nothing(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.remove("/process/capabilities");
    let own = own_status("CapBnd")?;
    let report = t.report(&bundle)?;
    check_eq!((report.status("CapBnd"), report.status("CapEff")), (own.as_str(), own.as_str()), "bounding, effective");
    Ok(())
}

/// Names are spelled as in the kernel's headers, nothing else is one.
fn unknown_one_is_a_warning(t: &Test) -> Outcome {
    let bundle =
        t.bundle()?.with("/process/capabilities", with_all(json!(["CAP_KILL", "CAP_OF_THE_FUTURE", "cap_chown"])));
    let output = t.run(&bundle)?;
    check_eq!(output.code, 0, "run: {}", output.stderr);
    check!(output.stderr.contains("CAP_OF_THE_FUTURE"), "no warning names it: {:?}", output.stderr);
    check_eq!(output.stderr.lines().count(), 1, "warnings: {}", output.stderr);
    let report = Report::parse(&output.stdout)?;
    check_eq!((report.caps("Eff"), report.caps("Bnd")), (KILL, KILL), "effective, bounding");
    let log = t.folder.join("log.json");
    let path = bundle.path.to_string_lossy().into_owned();
    t.ok(&["--log", &log.to_string_lossy(), "--log-format", "json", "run", "--bundle", &path, &t.id])?;
    let text = fs::read_to_string(&log)?;
    let warned = text.lines().any(|line| line.contains("\"warning\"") && line.contains("CAP_OF_THE_FUTURE"));
    check!(warned, "no warning in the log names it: {text}");
    Ok(())
}

/// The spec: what cannot be granted is a warning. An engine's "privileged" container asks for all of them.
fn lacking_one_is_a_warning(t: &Test) -> Outcome {
    let own = u64::from_str_radix(&own_status("CapBnd")?, 16).unwrap_or(0);
    let name = match own {
        own if own >> 24 & 1 == 0 => "CAP_SYS_RESOURCE",
        own if own >> 16 & 1 == 0 => "CAP_SYS_MODULE",
        _ => return skip("root has every capability here"),
    };
    let report = t.report(&t.bundle()?.with("/process/capabilities", with_all(json!(["CAP_KILL", name]))))?;
    check_eq!(report.caps("Eff"), KILL, "effective");
    Ok(())
}
