//! rlimits, capabilities, no_new_privs, OOM score: what the process may use and do.

use crate::cases;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::fs;

cases!["limits":
    every_rlimit, an_rlimit_may_be_unlimited, soft_above_hard, raising_needs_a_capability, untouched_without_any,
    five_capability_sets, no_capabilities_object_changes_nothing, empty_capabilities_drop_all,
    unknown_capability_is_a_warning, lacking_capability_is_a_warning, ambient_for_an_ordinary_user,
    ordinary_user_with_capabilities, bounding_is_exact, no_new_privileges_on_and_off, nothing_odd_is_left,
    oom_score_is_set, oom_score_is_left,
];

/// Every limit, and what /proc calls it.
pub(super) const KINDS: [(&str, &str); 16] = [
    ("RLIMIT_AS", "Max address space"),
    ("RLIMIT_CORE", "Max core file size"),
    ("RLIMIT_CPU", "Max cpu time"),
    ("RLIMIT_DATA", "Max data size"),
    ("RLIMIT_FSIZE", "Max file size"),
    ("RLIMIT_LOCKS", "Max file locks"),
    ("RLIMIT_MEMLOCK", "Max locked memory"),
    ("RLIMIT_MSGQUEUE", "Max msgqueue size"),
    ("RLIMIT_NICE", "Max nice priority"),
    ("RLIMIT_NOFILE", "Max open files"),
    ("RLIMIT_NPROC", "Max processes"),
    ("RLIMIT_RSS", "Max resident set"),
    ("RLIMIT_RTPRIO", "Max realtime priority"),
    ("RLIMIT_RTTIME", "Max realtime timeout"),
    ("RLIMIT_SIGPENDING", "Max pending signals"),
    ("RLIMIT_STACK", "Max stack size"),
];

/// Our own hard limit, as /proc prints it.
pub(super) fn hard(name: &str) -> Outcome<u64> {
    let table = fs::read_to_string("/proc/self/limits")?;
    let line = table.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    let word = line.get(26..).unwrap_or_default().split_whitespace().nth(1).unwrap_or_default();
    Ok(word.parse().unwrap_or(u64::MAX))
}

fn every_rlimit(t: &Test) -> Outcome {
    let mut list = Vec::new();
    let mut wanted = Vec::new();
    for (at, (kind, name)) in KINDS.iter().enumerate() {
        // Large enough for the process to live, lower than what it may have, and no two the same.
        let most = hard(name)?.min(1 << 40);
        let (soft, most) = (most.saturating_sub(2 + at as u64), most.saturating_sub(1));
        list.push(json!({ "type": kind, "soft": soft, "hard": most }));
        wanted.push((name, json!([soft.to_string(), most.to_string()])));
    }
    let report = t.report(&t.bundle()?.with("/process/rlimits", json!(list)))?;
    for (name, limits) in wanted {
        check_eq!(report.at("/limits")[name], limits, "{name}");
    }
    Ok(())
}

fn an_rlimit_may_be_unlimited(t: &Test) -> Outcome {
    if hard("Max core file size")? != u64::MAX {
        return skip("the hard limit of core files is not unlimited here");
    }
    let limit = json!([{ "type": "RLIMIT_CORE", "soft": u64::MAX, "hard": u64::MAX }]);
    let report = t.report(&t.bundle()?.with("/process/rlimits", limit))?;
    check_eq!(report.at("/limits/Max core file size"), &json!(["unlimited", "unlimited"]), "core");
    Ok(())
}

fn soft_above_hard(t: &Test) -> Outcome {
    let limit = json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 50 }]);
    t.run_refused(&t.bundle()?.with("/process/rlimits", limit), "").map(drop)
}

fn raising_needs_a_capability(t: &Test) -> Outcome {
    let bits = fs::read_to_string("/proc/self/status")?;
    let bits = bits.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap_or("0");
    if u64::from_str_radix(bits, 16).unwrap_or(0) >> 24 & 1 == 1 {
        return skip("root has CAP_SYS_RESOURCE here");
    }
    let limit = json!([{ "type": "RLIMIT_NOFILE", "soft": 1_u64 << 30, "hard": 1_u64 << 30 }]);
    let said = t.run_refused(&t.bundle()?.with("/process/rlimits", limit), "rlimit")?;
    check!(!t.runtime.is_ours() || said.contains("CAP_SYS_RESOURCE"), "no remedy: {said}");
    Ok(())
}

fn untouched_without_any(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?.with("/process/rlimits", json!([])))?;
    check_eq!(report.at("/limits/Max open files/1"), &json!(hard("Max open files")?.to_string()), "open files");
    Ok(())
}

const CHOWN: u64 = 1;
const KILL: u64 = 1 << 5;
const NET_BIND: u64 = 1 << 10;
const AUDIT_WRITE: u64 = 1 << 29;

/// All five: inheritable, permitted, effective, bounding, ambient.
fn sets(report: &crate::report::Report) -> [u64; 5] {
    ["Inh", "Prm", "Eff", "Bnd", "Amb"].map(|set| report.caps(set))
}

fn five_capability_sets(t: &Test) -> Outcome {
    // An ordinary user: for root, execve(2) would fill permitted from bounding again.
    let caps = json!({
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"], "permitted": ["CAP_CHOWN", "CAP_KILL"],
        "effective": ["CAP_KILL"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]
    });
    let bundle = t.bundle()?.with("/process/capabilities", caps).with("/process/user/uid", json!(1000));
    let report = t.report(&bundle)?;
    check_eq!(sets(&report), [KILL, KILL, KILL, CHOWN | KILL | NET_BIND, KILL], "inh, prm, eff, bnd, amb");
    Ok(())
}

fn no_capabilities_object_changes_nothing(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.remove("/process/capabilities");
    let own = fs::read_to_string("/proc/self/status")?;
    let own = own.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap_or_default().to_owned();
    let report = t.report(&bundle)?;
    check_eq!((report.status("CapBnd"), report.status("CapEff")), (own.as_str(), own.as_str()), "bounding, effective");
    Ok(())
}

fn empty_capabilities_drop_all(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?.with("/process/capabilities", json!({})))?;
    check_eq!(sets(&report), [0; 5], "inh, prm, eff, bnd, amb");
    Ok(())
}

fn with_all(caps: Value) -> Value {
    json!({ "bounding": caps, "effective": caps, "permitted": caps })
}

fn unknown_capability_is_a_warning(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/process/capabilities", with_all(json!(["CAP_KILL", "CAP_OF_THE_FUTURE"])));
    bundle.save()?;
    let log = t.folder.join("log.json");
    let path = bundle.path.to_string_lossy().into_owned();
    let output = t.ok(&["--log", &log.to_string_lossy(), "--log-format", "json", "run", "--bundle", &path, &t.id])?;
    check_eq!(crate::report::Report::parse(&output.stdout)?.caps("Eff"), KILL, "effective");
    let text = fs::read_to_string(&log)?;
    let warned = text.lines().any(|line| line.contains("\"warning\"") && line.contains("CAP_OF_THE_FUTURE"));
    check!(warned, "no warning names it: {text}");
    Ok(())
}

/// The spec: what cannot be granted is a warning. An engine's "privileged" container asks for all of them.
fn lacking_capability_is_a_warning(t: &Test) -> Outcome {
    let own = fs::read_to_string("/proc/self/status")?;
    let own = own.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap_or_default();
    let own = u64::from_str_radix(own, 16).unwrap_or(0);
    let name = match own {
        own if own >> 24 & 1 == 0 => "CAP_SYS_RESOURCE",
        own if own >> 16 & 1 == 0 => "CAP_SYS_MODULE",
        _ => return skip("root has every capability here"),
    };
    let report = t.report(&t.bundle()?.with("/process/capabilities", with_all(json!(["CAP_KILL", name]))))?;
    check_eq!(report.caps("Eff"), KILL, "effective");
    Ok(())
}

fn ambient_for_an_ordinary_user(t: &Test) -> Outcome {
    let list = json!(["CAP_NET_BIND_SERVICE"]);
    let caps = json!({ "bounding": list, "effective": list, "permitted": list, "inheritable": list, "ambient": list });
    let bundle = t.bundle()?.with("/process/capabilities", caps).with("/process/user/uid", json!(1000));
    let report = t.report(&bundle)?;
    check_eq!((report.caps("Eff"), report.caps("Amb")), (NET_BIND, NET_BIND), "effective, ambient after execve");
    Ok(())
}

/// Without ambient ones execve(2) takes them away.
fn ordinary_user_with_capabilities(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?.with("/process/user/uid", json!(1000)))?;
    check_eq!(sets(&report), [0, 0, 0, KILL | NET_BIND | AUDIT_WRITE, 0], "inh, prm, eff, bnd, amb");
    Ok(())
}

fn bounding_is_exact(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?)?;
    let all = KILL | NET_BIND | AUDIT_WRITE;
    check_eq!(sets(&report), [0, all, all, all, 0], "inh, prm, eff, bnd, amb");
    Ok(())
}

fn no_new_privileges_on_and_off(t: &Test) -> Outcome {
    check_eq!(t.report(&t.bundle()?)?.status("NoNewPrivs"), "1", "with true");
    check_eq!(
        t.report(&t.bundle()?.with("/process/noNewPrivileges", json!(false)))?.status("NoNewPrivs"),
        "0",
        "false"
    );
    let mut bundle = t.bundle()?;
    bundle.remove("/process/noNewPrivileges");
    check_eq!(t.report(&bundle)?.status("NoNewPrivs"), "0", "without");
    Ok(())
}

fn nothing_odd_is_left(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?)?;
    check_eq!(report.at("/keepcaps"), &json!(0), "PR_SET_KEEPCAPS");
    check_eq!(report.at("/securebits"), &json!(0), "securebits");
    check_eq!(report.at("/dumpable"), &json!(1), "dumpable");
    check_eq!(report.status("Seccomp"), "0", "seccomp mode");
    check_eq!(report.status("TracerPid"), "0", "tracer");
    check_eq!(report.at("/scheduling/nice"), &json!(0), "nice value");
    Ok(())
}

fn oom_score_is_set(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?.with("/process/oomScoreAdj", json!(321)))?;
    check_eq!(report.at("/oom_score_adj"), &json!("321"), "oom_score_adj");
    Ok(())
}

fn oom_score_is_left(t: &Test) -> Outcome {
    let bundle = t.bundle()?;
    bundle.save()?;
    let before = ["choom", "-n", "123", "--"];
    let output = t.finish(t.command(&before, &["run", "--bundle", &bundle.path.to_string_lossy(), &t.id]))?;
    check_eq!(output.code, 0, "run: {}", output.stderr);
    check_eq!(crate::report::Report::parse(&output.stdout)?.at("/oom_score_adj"), &json!("123"), "oom_score_adj");
    Ok(())
}
