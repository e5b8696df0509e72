//! Seccomp, as far as it meets the rest of the launch. (The filters themselves: runtime-core/tests/seccomp.)

use crate::cases;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::{Value, json};

cases!["seccomp":
    is_loaded, older_than_the_calls_we_make, older_with_hooks, forbids_to_ask_where_we_are, forbidden_call_fails,
    bad_ones_are_refused,
];

/// Docker's profile, without some of the calls it allows.
fn profile(without: &[&str]) -> Outcome<Value> {
    let mut profile: Value = serde_json::from_str(include_str!("../../data/seccomp-docker.json"))?;
    for rule in profile["syscalls"].as_array_mut().into_iter().flatten() {
        if let Some(names) = rule["names"].as_array_mut() {
            names.retain(|name| !without.iter().any(|gone| name == gone));
        }
    }
    // A rule needs a name.
    if let Some(rules) = profile["syscalls"].as_array_mut() {
        rules.retain(|rule| rule["names"].as_array().is_some_and(|names| !names.is_empty()));
    }
    Ok(profile)
}

/// What profiles of 2019 do not know.
const NEW: [&str; 5] = ["faccessat2", "close_range", "openat2", "clone3", "epoll_pwait2"];

fn is_loaded(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?.with("/linux/seccomp", profile(&[])?))?;
    check_eq!(report.status("Seccomp"), "2", "mode of the filter");
    Ok(())
}

/// Without noNewPrivileges it is loaded before the program is looked up and our descriptors are closed.
fn older_than_the_calls_we_make(t: &Test) -> Outcome {
    for user in [0, 1000] {
        let bundle = t.bundle()?.with("/linux/seccomp", profile(&NEW)?).with("/process/noNewPrivileges", json!(false));
        let bundle = bundle.with("/process/user", json!({ "uid": user, "gid": user }));
        let by_name =
            bundle.with("/process/args", json!(["probe", "report"])).with("/process/env/0", json!("PATH=/bin:/"));
        let report = t.report(&by_name)?;
        check_eq!(report.status("Seccomp"), "2", "mode of the filter");
        check_eq!(report.descriptors(), [0, 1, 2], "open descriptors");
        t.delete()?;
    }
    Ok(())
}

fn older_with_hooks(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?.with("/linux/seccomp", profile(&NEW)?).with("/process/noNewPrivileges", json!(false));
    bundle.set("/root/readonly", json!(false));
    let hook = json!([{ "path": "/probe", "args": ["probe", "write-fds", "/tmp/fds"] }]);
    t.run_ok(&bundle.with("/hooks/startContainer", hook).probe(&["exit", "0"]))?;
    let seen = std::fs::read_to_string(t.folder.join("bundle/rootfs/tmp/fds"))?;
    let seen: Value = serde_json::from_str(&seen)?;
    let numbers: Vec<&String> = seen.as_object().map(|all| all.keys().collect()).unwrap_or_default();
    check_eq!(numbers, ["0", "1", "2"], "descriptors of the hook");
    Ok(())
}

/// The proof that the working directory is inside the root must not depend on what the program may do.
fn forbids_to_ask_where_we_are(t: &Test) -> Outcome {
    let filter = json!({ "defaultAction": "SCMP_ACT_ALLOW",
                         "syscalls": [{ "names": ["getcwd"], "action": "SCMP_ACT_ERRNO" }] });
    let bundle = t.bundle()?.with("/linux/seccomp", filter).with("/process/noNewPrivileges", json!(false));
    t.run_ok(&bundle.with("/process/cwd", json!("/tmp")).probe(&["exit", "0"]))?;
    Ok(())
}

fn forbidden_call_fails(t: &Test) -> Outcome {
    for privileges in [true, false] {
        let rule = json!({ "names": ["openat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13,
                           "args": [{ "index": 2, "value": 1, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ" }] });
        let filter = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
        let bundle = t.bundle()?.with("/linux/seccomp", filter).with("/process/noNewPrivileges", json!(privileges));
        // O_WRONLY is 1: reading is allowed, writing is EACCES.
        let output = t.run(&bundle.probe(&["open-write", "/dev/null"]))?;
        check_eq!(output.code, 13, "errno of a forbidden openat ({})", output.stderr.trim());
    }
    Ok(())
}

fn bad_ones_are_refused(t: &Test) -> Outcome {
    let rule = |rule: Value| json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
    let argument = |argument: Value| rule(json!({ "names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [argument] }));
    let all = [
        ("/defaultAction", json!({ "syscalls": [] })),
        ("/defaultAction", json!({ "defaultAction": "SCMP_ACT_NOTHING" })),
        ("/defaultErrnoRet", json!({ "defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1 })),
        ("/architectures/0", json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_ABACUS"] })),
        ("/flags/0", json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_MAYBE"] })),
        ("/listenerMetadata", json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x" })),
        ("/syscalls/0/names", rule(json!({ "names": [], "action": "SCMP_ACT_ERRNO" }))),
        ("/syscalls/0/action", rule(json!({ "names": ["read"], "action": "SCMP_ACT_NOTHING" }))),
        ("/syscalls/0/errnoRet", rule(json!({ "names": ["read"], "action": "SCMP_ACT_KILL", "errnoRet": 1 }))),
        ("/syscalls/0/args/0/op", argument(json!({ "index": 0, "value": 1, "op": "SCMP_CMP_MAYBE" }))),
        ("/syscalls/0/args/0/index", argument(json!({ "index": 6, "value": 1, "op": "SCMP_CMP_EQ" }))),
    ];
    for (pointer, filter) in all {
        let said = t.run_refused(&t.bundle()?.with("/linux/seccomp", filter), "")?;
        if t.runtime.is_ours() {
            check!(said.contains(&format!("/linux/seccomp{pointer}")), "{pointer} is not named: {}", said.trim());
        }
    }
    Ok(())
}
