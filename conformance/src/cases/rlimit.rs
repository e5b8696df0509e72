//! `process.rlimits`.

use crate::cases;
use crate::machine::own_status;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::json;
use std::fs;

cases!["rlimit":
    every_one, unlimited, soft_above_hard, raising_needs_a_capability, untouched_without_any, bad_ones_are_refused,
];

/// Every limit, and what /proc calls it.
const KINDS: [(&str, &str); 16] = [
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
fn hard(name: &str) -> Outcome<u64> {
    let table = fs::read_to_string("/proc/self/limits")?;
    let line = table.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    let word = line.get(26..).unwrap_or_default().split_whitespace().nth(1).unwrap_or_default();
    Ok(word.parse().unwrap_or(u64::MAX))
}

fn every_one(t: &Test) -> Outcome {
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

fn unlimited(t: &Test) -> Outcome {
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
    if u64::from_str_radix(&own_status("CapEff")?, 16).unwrap_or(0) >> 24 & 1 == 1 {
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

fn bad_ones_are_refused(t: &Test) -> Outcome {
    let table = [
        (json!([{ "type": "RLIMIT_NOFILES", "soft": 1, "hard": 1 }]), "RLIMIT_NOFILES"),
        (json!([{ "type": "NOFILE", "soft": 64, "hard": 64 }]), "NOFILE"),
        (json!([{ "soft": 64, "hard": 64 }]), "rlimit"),
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
