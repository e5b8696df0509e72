//! process.user, capabilities, rlimits, noNewPrivileges, the session keyring: what the program may do.

use super::limits;
use crate::cases;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::fs;

cases!["privilege":
    user_and_groups, no_groups_drop_the_callers, capabilities_are_exact, capabilities_of_a_user, ambient_capabilities,
    ambient_needs_both_others, empty_capabilities_drop_all, absent_capabilities_change_nothing,
    unknown_capabilities_are_warned_about, no_new_privileges, rlimits_are_exact, bad_rlimits_are_refused,
    console_size_too_large_is_refused, session_keyring_is_the_containers, annotation_without_a_name_is_refused,
];

const CHOWN: u64 = 1;
const NET_BIND: u64 = 1 << 10;
const KILL: u64 = 1 << 5;

fn user_and_groups(t: &Test) -> Outcome {
    let user = json!({ "uid": 1000, "gid": 1001, "additionalGids": [7, 5, 1_234_567] });
    let report = t.report(&t.bundle()?.with("/process/user", user))?;
    check_eq!(report.status("Uid"), "1000 1000 1000 1000", "uid");
    check_eq!(report.status("Gid"), "1001 1001 1001 1001", "gid");
    check_eq!(report.status("Groups"), "5 7 1234567", "groups");
    Ok(())
}

fn no_groups_drop_the_callers(t: &Test) -> Outcome {
    let bundle = t.bundle()?;
    bundle.save()?;
    let before = ["setpriv", "--groups", "11,12"];
    let output = t.finish(t.command(&before, &["run", "--bundle", &bundle.path.to_string_lossy(), &t.id]))?;
    check_eq!(output.code, 0, "run: {}", output.stderr);
    check_eq!(crate::report::Report::parse(&output.stdout)?.status("Groups"), "", "groups");
    Ok(())
}

fn sets(bounding: Value, permitted: Value, inheritable: Value, ambient: Value) -> Value {
    json!({ "bounding": bounding, "effective": permitted, "permitted": permitted, "inheritable": inheritable,
            "ambient": ambient })
}

fn capabilities_are_exact(t: &Test) -> Outcome {
    let wanted = json!({ "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
        "permitted": ["CAP_CHOWN", "CAP_KILL"], "effective": ["CAP_CHOWN"], "inheritable": ["CAP_KILL"] });
    let mut bundle = t.bundle()?.with("/process/capabilities", wanted);
    bundle.set("/process/user", json!({ "uid": 0, "gid": 0 }));
    let report = t.report(&bundle)?;
    check_eq!(report.caps("Bnd"), CHOWN | KILL | NET_BIND, "bounding");
    check_eq!(report.caps("Inh"), KILL, "inheritable");
    check_eq!(report.caps("Prm"), CHOWN | KILL, "permitted");
    Ok(())
}

fn capabilities_of_a_user(t: &Test) -> Outcome {
    let all = json!(["CAP_CHOWN", "CAP_KILL"]);
    let bundle = t.bundle()?.with("/process/capabilities", sets(all.clone(), all.clone(), json!([]), json!([])));
    let report = t.report(&bundle.with("/process/user", json!({ "uid": 1000, "gid": 1000 })))?;
    check_eq!(report.caps("Bnd"), CHOWN | KILL, "bounding");
    for set in ["Prm", "Eff", "Inh", "Amb"] {
        check_eq!(report.caps(set), 0, "{set} of a user after execve");
    }
    Ok(())
}

fn ambient_capabilities(t: &Test) -> Outcome {
    let all = json!(["CAP_CHOWN", "CAP_KILL"]);
    let bundle =
        t.bundle()?.with("/process/capabilities", sets(all.clone(), all.clone(), all.clone(), json!(["CAP_KILL"])));
    let report = t.report(&bundle.with("/process/user", json!({ "uid": 1000, "gid": 1000 })))?;
    for set in ["Prm", "Eff", "Amb"] {
        check_eq!(report.caps(set), KILL, "{set}");
    }
    check_eq!(report.caps("Inh"), CHOWN | KILL, "inheritable");
    Ok(())
}

/// The spec: what cannot be granted is a warning.
fn ambient_needs_both_others(t: &Test) -> Outcome {
    let all = json!(["CAP_CHOWN", "CAP_KILL"]);
    let wanted = sets(all.clone(), all, json!(["CAP_CHOWN"]), json!(["CAP_CHOWN", "CAP_KILL"]));
    let bundle = t.bundle()?.with("/process/capabilities", wanted);
    let report = t.report(&bundle.with("/process/user", json!({ "uid": 1000, "gid": 1000 })))?;
    check_eq!(report.caps("Amb"), CHOWN, "ambient");
    Ok(())
}

fn empty_capabilities_drop_all(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?.with("/process/capabilities", json!({})))?;
    for set in ["Bnd", "Prm", "Eff", "Inh", "Amb"] {
        check_eq!(report.caps(set), 0, "{set}");
    }
    Ok(())
}

fn absent_capabilities_change_nothing(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.remove("/process/capabilities");
    let report = t.report(&bundle)?;
    let own = fs::read_to_string("/proc/self/status")?;
    let own = own.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap_or_default().trim().to_owned();
    check_eq!(report.status("CapBnd"), own.as_str(), "bounding");
    Ok(())
}

fn unknown_capabilities_are_warned_about(t: &Test) -> Outcome {
    let list = json!(["CAP_CHOWN", "CAP_FLY", "cap_kill"]);
    let bundle = t.bundle()?.with("/process/capabilities", sets(list.clone(), list, json!([]), json!([])));
    let output = t.run(&bundle)?;
    check_eq!(output.code, 0, "run: {}", output.stderr);
    check!(output.stderr.contains("CAP_FLY"), "warns: {:?}", output.stderr);
    check_eq!(output.stderr.lines().count(), 1, "warnings: {}", output.stderr);
    check_eq!(crate::report::Report::parse(&output.stdout)?.caps("Bnd"), CHOWN, "bounding");
    Ok(())
}

fn no_new_privileges(t: &Test) -> Outcome {
    for (wanted, shown) in [(true, "1"), (false, "0")] {
        let report = t.report(&t.bundle()?.with("/process/noNewPrivileges", json!(wanted)))?;
        check_eq!(report.status("NoNewPrivs"), shown, "NoNewPrivs");
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}

fn rlimits_are_exact(t: &Test) -> Outcome {
    // Not above what this process has: not every root may raise a hard limit.
    let most = |shown: &str| limits::hard(shown).map(|hard| hard.min(1 << 33));
    let mut list = Vec::new();
    for (name, shown) in limits::KINDS {
        let most = most(shown)?;
        list.push(json!({ "type": name, "soft": most / 2, "hard": most }));
    }
    let report = t.report(&t.bundle()?.with("/process/rlimits", json!(list)))?;
    for (name, shown) in limits::KINDS {
        let most = most(shown)?;
        let seen = report.at("/limits").get(shown).cloned().unwrap_or_default();
        check_eq!(seen, json!([(most / 2).to_string(), most.to_string()]), "{name}");
    }
    Ok(())
}

fn bad_rlimits_are_refused(t: &Test) -> Outcome {
    let table = [
        (json!([{ "type": "RLIMIT_NOFILES", "soft": 1, "hard": 1 }]), "RLIMIT_NOFILES"),
        (json!([{ "type": "NOFILE", "soft": 64, "hard": 64 }]), "NOFILE"),
        (json!([{ "soft": 64, "hard": 64 }]), "rlimit"),
        (json!([{ "type": "RLIMIT_CORE", "soft": 2, "hard": 1 }]), ""),
        (json!([{ "type": "RLIMIT_CORE", "soft": -1, "hard": 1 }]), "rlimits"),
        (
            json!([{ "type": "RLIMIT_NOFILE", "soft": 64, "hard": 64 }, { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
                { "type": "RLIMIT_NOFILE", "soft": 65, "hard": 65 }]),
            "duplicate",
        ),
    ];
    for (limits, text) in table {
        let shown = limits.to_string();
        let bundle = t.bundle()?.with("/process/rlimits", limits);
        t.run_refused(&bundle, text).map_err(|e| format!("{shown}: {e:?}"))?;
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}

/// Ignored without a terminal, as the spec has it.
fn console_size_too_large_is_refused(t: &Test) -> Outcome {
    let size = json!({ "height": 70_000, "width": 80 });
    t.run_ok(&t.bundle()?.with("/process/consoleSize", size.clone()))?;
    fs::remove_dir_all(t.folder.join("bundle"))?;
    let bundle = t.bundle()?.with("/process/consoleSize", size).with("/process/terminal", json!(true));
    bundle.save()?;
    let socket = t.folder.join("console.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket)?;
    let (path, socket) = (bundle.path.to_string_lossy(), socket.to_string_lossy());
    let output = t.rt(&["create", "--bundle", &path, "--console-socket", &socket, &t.id])?;
    check!(output.code == 1 && output.stderr.contains("consoleSize"), "exit {}: {}", output.code, output.stderr);
    Ok(())
}

fn session_keyring_is_the_containers(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?)?;
    let described = report.at("/keyring").as_str().unwrap_or_default().to_owned();
    check!(described.ends_with(&format!(";_ses.{}", t.id)), "session keyring: {described}");
    check!(described.contains(";3f1b0000;"), "its permissions: {described}");
    let bundle = t.bundle()?;
    bundle.save()?;
    let output = t.ok(&["run", "--no-new-keyring", "--bundle", &bundle.path.to_string_lossy(), &t.id])?;
    let report = crate::report::Report::parse(&output.stdout)?;
    check!(!report.at("/keyring").to_string().contains(&t.id), "kept keyring: {}", report.at("/keyring"));
    Ok(())
}

fn annotation_without_a_name_is_refused(t: &Test) -> Outcome {
    t.run_refused(&t.bundle()?.with("/annotations", json!({ "": "x" })), "annotation").map(drop)
}
