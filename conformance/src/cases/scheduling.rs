//! process.scheduler, process.ioPriority, process.execCPUAffinity, linux.memoryPolicy, linux.personality: what the
//! kernel is told to prefer.

use crate::cases;
use crate::machine::own_nice;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::fs;

cases!["scheduling":
    absent_changes_nothing, every_policy_without_rights_on_time, real_time, deadline, flags,
    bad_schedulers_are_refused, io_priority, bad_io_priorities_are_refused, personality_linux32,
    bad_personalities_are_refused, memory_policy, bad_memory_policies_are_refused, oom_score_adj,
    bad_oom_score_adj_is_refused,
];

fn scheduling(t: &Test, pointer: &str, value: Value) -> Outcome<Value> {
    let report = t.report(&t.bundle()?.with(pointer, value))?;
    fs::remove_dir_all(t.folder.join("bundle"))?;
    Ok(report.at("/scheduling").clone())
}

fn refused(t: &Test, pointer: &str, value: Value, text: &str) -> Outcome {
    let shown = value.to_string();
    t.run_refused(&t.bundle()?.with(pointer, value), text).map_err(|e| format!("{pointer} = {shown}: {e:?}"))?;
    fs::remove_dir_all(t.folder.join("bundle"))?;
    Ok(())
}

fn absent_changes_nothing(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?)?;
    check_eq!(report.at("/scheduling/policy"), &json!(0), "policy");
    check_eq!(report.at("/personality"), &json!("00000000"), "personality");
    Ok(())
}

fn every_policy_without_rights_on_time(t: &Test) -> Outcome {
    // The kernel leaves the nice value of SCHED_IDLE as it is.
    for (policy, nice, number) in [("SCHED_OTHER", -5, 0), ("SCHED_BATCH", 7, 3), ("SCHED_IDLE", own_nice()?, 5)] {
        let seen = scheduling(t, "/process/scheduler", json!({ "policy": policy, "nice": nice }))?;
        check_eq!(seen["policy"], json!(number), "policy of {policy}");
        check_eq!(seen["nice"], json!(nice), "nice of {policy}");
    }
    Ok(())
}

/// The cpu controller of cgroup v1 gives a new group no real-time.
fn with_real_time(mut bundle: crate::bundle::Bundle) -> crate::bundle::Bundle {
    if crate::runtime::hybrid() {
        bundle.set("/linux/resources/cpu", json!({ "realtimeRuntime": 50_000, "realtimePeriod": 1_000_000 }));
    }
    bundle
}

fn real_time(t: &Test) -> Outcome {
    for (policy, number) in [("SCHED_FIFO", 1), ("SCHED_RR", 2)] {
        let wanted = json!({ "policy": policy, "priority": 3 });
        let report = t.report(&with_real_time(t.bundle()?.with("/process/scheduler", wanted)))?;
        check_eq!(report.at("/scheduling/policy"), &json!(number), "policy of {policy}");
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}

fn deadline(t: &Test) -> Outcome {
    let wanted =
        json!({ "policy": "SCHED_DEADLINE", "runtime": 5_000_000, "deadline": 50_000_000, "period": 100_000_000 });
    check_eq!(scheduling(t, "/process/scheduler", wanted)?["policy"], json!(6), "policy");
    Ok(())
}

/// SCHED_RESET_ON_FORK shows in what sched_getscheduler returns.
fn flags(t: &Test) -> Outcome {
    const RESET_ON_FORK: i64 = 0x4000_0000;
    let wanted = json!({ "policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_RESET_ON_FORK"] });
    check_eq!(scheduling(t, "/process/scheduler", wanted)?["policy"], json!(3 | RESET_ON_FORK), "policy and flag");
    let wanted = json!({ "policy": "SCHED_DEADLINE", "runtime": 5_000_000, "deadline": 50_000_000, "period": 50_000_000,
                         "flags": ["SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN"] });
    check_eq!(scheduling(t, "/process/scheduler", wanted)?["policy"], json!(6), "policy");
    Ok(())
}

fn bad_schedulers_are_refused(t: &Test) -> Outcome {
    let at = "/process/scheduler";
    refused(t, at, json!({}), "policy")?;
    refused(t, at, json!({ "policy": "SCHED_FAST" }), "SCHED_FAST")?;
    refused(t, at, json!({ "policy": "SCHED_OTHER", "nice": 20 }), "nice")?;
    refused(t, at, json!({ "policy": "SCHED_BATCH", "nice": -21 }), "nice")?;
    refused(t, at, json!({ "policy": "SCHED_OTHER", "priority": 1 }), "priority")?;
    refused(t, at, json!({ "policy": "SCHED_FIFO", "priority": 100 }), "")?;
    refused(t, at, json!({ "policy": "SCHED_RR" }), "")?;
    refused(t, at, json!({ "policy": "SCHED_OTHER", "runtime": 5_000_000 }), "runtime")?;
    let deadline = |runtime: u64, deadline: u64, period: u64| json!({ "policy": "SCHED_DEADLINE", "runtime": runtime, "deadline": deadline, "period": period });
    refused(t, at, json!({ "policy": "SCHED_DEADLINE", "deadline": 5_000_000 }), "requires `runtime`")?;
    refused(t, at, json!({ "policy": "SCHED_DEADLINE", "runtime": 5_000_000 }), "requires `deadline`")?;
    refused(t, at, deadline(0, 5_000_000, 5_000_000), "runtime must be greater than 0")?;
    refused(t, at, deadline(9_000_000, 5_000_000, 9_000_000), "runtime 9000000 must be <= deadline 5000000")?;
    refused(t, at, deadline(1_000_000, 5_000_000, 2_000_000), "deadline 5000000 must be <= period 2000000")?;
    refused(t, at, deadline(1023, 5_000_000, 0), "runtime 1023 must be between")?;
    refused(t, at, deadline((1 << 63) + 1, (1 << 63) + 2, 0), "runtime 9223372036854775809 must be between")?;
    refused(t, at, json!({ "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_FAST"] }), "SCHED_FLAG_FAST")?;
    // Known, but in no kernel.
    refused(t, at, json!({ "policy": "SCHED_ISO" }), "")
}

fn io_priority(t: &Test) -> Outcome {
    for (class, number) in [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)] {
        for priority in [0, 7] {
            let seen = scheduling(t, "/process/ioPriority", json!({ "class": class, "priority": priority }))?;
            check_eq!(seen["ioprio"], json!(number << 13 | priority), "{class} {priority}");
        }
    }
    Ok(())
}

fn bad_io_priorities_are_refused(t: &Test) -> Outcome {
    let at = "/process/ioPriority";
    refused(t, at, json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 }), "ioPriority.Priority: 8")?;
    refused(t, at, json!({ "class": "IOPRIO_CLASS_BE", "priority": -1 }), "ioPriority.Priority: -1")?;
    refused(t, at, json!({ "class": "IOPRIO_CLASS_NONE", "priority": 1 }), "IOPRIO_CLASS_NONE")?;
    refused(t, at, json!({ "priority": 1 }), "class")
}

fn personality_linux32(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?.with("/linux/personality", json!({ "domain": "LINUX32" })))?;
    check_eq!(report.at("/personality"), &json!("00000008"), "personality");
    check!(report.at("/uts/machine") != "x86_64", "machine is {}", report.at("/uts/machine"));
    fs::remove_dir_all(t.folder.join("bundle"))?;
    let report = t.report(&t.bundle()?.with("/linux/personality", json!({ "domain": "LINUX" })))?;
    check_eq!(report.at("/personality"), &json!("00000000"), "personality");
    Ok(())
}

fn bad_personalities_are_refused(t: &Test) -> Outcome {
    let at = "/linux/personality";
    refused(t, at, json!({ "domain": "LINUX64" }), "LINUX64")?;
    refused(t, at, json!({}), "domain")?;
    refused(t, at, json!({ "domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"] }), "ADDR_NO_RANDOMIZE")
}

/// The first mapping of numa_maps tells the policy of the process.
fn memory_policy(t: &Test) -> Outcome {
    let table = [
        (json!({ "mode": "MPOL_DEFAULT" }), "default"),
        (json!({ "mode": "MPOL_LOCAL" }), "local"),
        (json!({ "mode": "MPOL_BIND", "nodes": "0" }), "bind:0"),
        (json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0" }), "interleave:0"),
        (json!({ "mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0" }), "weighted interleave:0"),
        (json!({ "mode": "MPOL_PREFERRED", "nodes": "0" }), "prefer:0"),
        (json!({ "mode": "MPOL_PREFERRED", "nodes": "" }), "local"),
        (json!({ "mode": "MPOL_PREFERRED_MANY", "nodes": "0" }), "prefer (many):0"),
        (json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"] }), "bind=static:0"),
        (json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"] }), "bind=relative:0"),
        (json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"] }), "bind=balancing:0"),
    ];
    for (policy, wanted) in table {
        let shown = policy.to_string();
        let report = t.report_paths(t.bundle()?.with("/linux/memoryPolicy", policy), &["/proc/self/numa_maps"])?;
        let maps = report.path("/proc/self/numa_maps")["read"].as_str().unwrap_or_default();
        let first = maps.lines().next().and_then(|line| line.split_once(' ')).map_or("", |line| line.1);
        check!(first.starts_with(wanted), "{shown}: numa_maps says {first:?}, wanted {wanted:?}");
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}

fn bad_memory_policies_are_refused(t: &Test) -> Outcome {
    let at = "/linux/memoryPolicy";
    refused(t, at, json!({ "mode": "MPOL_BEST", "nodes": "0" }), "MPOL_BEST")?;
    refused(t, at, json!({ "nodes": "0" }), "mode")?;
    refused(t, at, json!({ "mode": "MPOL_DEFAULT", "nodes": "0" }), "nodes")?;
    refused(t, at, json!({ "mode": "MPOL_LOCAL", "nodes": "0" }), "nodes")?;
    refused(t, at, json!({ "mode": "MPOL_BIND" }), "node")?;
    refused(t, at, json!({ "mode": "MPOL_BIND", "nodes": "0-x" }), "0-x")?;
    refused(t, at, json!({ "mode": "MPOL_BIND", "nodes": "700" }), "set_mempolicy")?;
    refused(t, at, json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_X"] }), "MPOL_F_X")?;
    let both = json!(["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]);
    refused(t, at, json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": both }), "set_mempolicy")
}

/// Set, it is written; not set, the caller's is inherited.
fn oom_score_adj(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?.with("/process/oomScoreAdj", json!(731)))?;
    check_eq!(report.at("/oom_score_adj"), &json!("731"), "oom_score_adj");
    let before = ["sh", "-c", "echo 412 > /proc/self/oom_score_adj && exec \"$@\"", "sh"];
    let report = t.report_behind(&before, &t.bundle()?)?;
    check_eq!(report.at("/oom_score_adj"), &json!("412"), "unset: the caller's");
    Ok(())
}

fn bad_oom_score_adj_is_refused(t: &Test) -> Outcome {
    refused(t, "/process/oomScoreAdj", json!(1001), "")?;
    refused(t, "/process/oomScoreAdj", json!(-1001), "")
}
