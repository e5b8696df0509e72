//! update: limits of a running container, one by one and from a file, on both versions of cgroups (contract 2.6).

use super::kernel::release;
use super::unified::{compare, limited};
use crate::cases;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::json;
use std::fs;

cases!["update":
    changes_limits, every_limit, from_stdin, refused_changes_nothing, of_stopped, sizes_have_units,
    kernel_memory_is_ignored, rdt_without_one, rates_of_real_time, v2_writes_the_files, v2_from_stdin,
    v2_refused_changes_nothing,
];

fn changes_limits(t: &Test) -> Outcome {
    t.needs("update")?;
    t.cgroups_v1()?;
    t.sleeper(t.bundle()?)?;
    t.ok(&["update", "--memory", "64m", "--pids-limit", "33", "--cpu-share", "512", "--cpu-quota", "20000", &t.id])?;
    let found = [
        t.cgroup_file("memory", "memory.limit_in_bytes"),
        t.cgroup_file("pids", "pids.max"),
        t.cgroup_file("cpu", "cpu.shares"),
        t.cgroup_file("cpu", "cpu.cfs_quota_us"),
    ];
    t.ok(&["update", "--memory", "32m", &t.id])?;
    let then = t.cgroup_file("cpu", "cpu.shares");
    t.delete()?;
    let wanted = ["67108864", "33", "512", "20000"].map(|value| Some(value.to_owned()));
    check_eq!(found, wanted, "limits");
    check_eq!(then.as_deref(), Some("512"), "a limit the second update does not name");
    Ok(())
}

fn every_limit(t: &Test) -> Outcome {
    t.cgroups_v1()?;
    let flags = [
        ("--cpu-period", "50000", "cpu", "cpu.cfs_period_us", "50000"),
        ("--cpu-quota", "25000", "cpu", "cpu.cfs_quota_us", "25000"),
        ("--cpu-burst", "5000", "cpu", "cpu.cfs_burst_us", "5000"),
        ("--cpu-share", "300", "cpu", "cpu.shares", "300"),
        ("--cpuset-cpus", "0", "cpuset", "cpuset.cpus", "0"),
        ("--cpuset-mems", "0", "cpuset", "cpuset.mems", "0"),
        ("--memory", "64m", "memory", "memory.limit_in_bytes", "67108864"),
        ("--memory-swap", "96m", "memory", "memory.memsw.limit_in_bytes", "100663296"),
        ("--memory-reservation", "32m", "memory", "memory.soft_limit_in_bytes", "33554432"),
        ("--pids-limit", "77", "pids", "pids.max", "77"),
    ];
    t.sleeper(t.bundle()?)?;
    let mut words = vec!["update"];
    words.extend(flags.iter().flat_map(|(flag, value, ..)| [*flag, *value]));
    words.push(&t.id);
    let output = t.rt(&words)?;
    let found = flags.map(|(.., controller, file, _)| t.cgroup_file(controller, file));
    let idle = t.rt(&["update", "--cpu-idle", "1", &t.id])?;
    let idles = t.cgroup_file("cpu", "cpu.idle");
    let weight = t.rt(&["update", "--blkio-weight", "100", &t.id])?;
    let weights = ["blkio.bfq.weight", "blkio.weight"].map(|file| t.cgroup_file("blkio", file));
    t.delete()?;
    check_eq!(output.code, 0, "exit status: {}", output.stderr);
    for ((flag, .., wanted), found) in flags.iter().zip(found) {
        check_eq!(found.as_deref(), Some(*wanted), "{flag}");
    }
    check_eq!((idle.code, idles.as_deref()), (0, Some("1")), "--cpu-idle: {}", idle.stderr);
    // Kernels without a weight of block I/O refuse it.
    match weights.iter().flatten().next() {
        Some(weight) => check!(weight.ends_with("100"), "--blkio-weight: {weight}"),
        None => check_eq!(weight.code, 1, "--blkio-weight without such a file"),
    }
    Ok(())
}

fn from_stdin(t: &Test) -> Outcome {
    t.needs("update")?;
    t.cgroups_v1()?;
    t.sleeper(t.bundle()?)?;
    let file = t.folder.join("resources.json");
    fs::write(&file, json!({ "memory": { "limit": 50_331_648 }, "pids": { "limit": 44 } }).to_string())?;
    let running = t.spawn(t.command(&[], &["update", "--resources", "-", &t.id]), Some(fs::File::open(&file)?))?;
    let output = t.wait(running)?;
    let (memory, pids) = (t.cgroup_file("memory", "memory.limit_in_bytes"), t.cgroup_file("pids", "pids.max"));
    let by_file = t.rt(&["update", "-r", &file.to_string_lossy(), &t.id])?;
    t.delete()?;
    check_eq!(output.code, 0, "exit status: {}", output.stderr);
    check_eq!((memory.as_deref(), pids.as_deref()), (Some("50331648"), Some("44")), "limits");
    check_eq!(by_file.code, 0, "from a file: {}", by_file.stderr);
    Ok(())
}

fn refused_changes_nothing(t: &Test) -> Outcome {
    t.needs("update")?;
    t.cgroups()?;
    t.sleeper(t.bundle()?.with("/linux/resources/pids", json!({ "limit": 40 })))?;
    let output = t.rt(&["update", "--pids-limit", "50", "--cpuset-cpus", "4000-4001", &t.id])?;
    let pids = t.cgroup_file("pids", "pids.max");
    t.delete()?;
    check_eq!(output.code, 1, "exit status");
    check_eq!(pids.as_deref(), Some("40"), "pids.max afterwards");
    Ok(())
}

fn of_stopped(t: &Test) -> Outcome {
    t.needs("update")?;
    t.start(&t.bundle()?.probe(&["exit", "0"]))?;
    t.wait_status("stopped")?;
    let output = t.rt(&["update", "--memory", "64m", &t.id])?;
    t.delete()?;
    check_eq!(output.code, 1, "exit status");
    check!(output.stderr.contains("container not running"), "{}", output.stderr);
    Ok(())
}

fn sizes_have_units(t: &Test) -> Outcome {
    t.needs("update")?;
    t.sleeper(t.bundle()?)?;
    let good = t.rt(&["update", "--memory", "0.5GiB", &t.id])?;
    let bad = t.rt(&["update", "--memory", "12x", &t.id])?;
    t.delete()?;
    check_eq!(good.code, 0, "0.5GiB: {}", good.stderr);
    check_eq!(bad.code, 1, "12x");
    check!(bad.stderr.contains("invalid value for memory"), "{}", bad.stderr);
    Ok(())
}

/// Deprecated, and still sent.
fn kernel_memory_is_ignored(t: &Test) -> Outcome {
    t.sleeper(t.bundle()?)?;
    let output =
        t.rt(&["update", "--kernel-memory", "64m", "--kernel-memory-tcp", "64m", "--pids-limit", "50", &t.id])?;
    let pids = t.cgroup_file("pids", "pids.max");
    t.delete()?;
    check_eq!(output.code, 0, "exit status: {}", output.stderr);
    if t.cgroups_v1().is_ok() {
        check_eq!(pids.as_deref(), Some("50"), "pids.max");
    }
    Ok(())
}

fn rdt_without_one(t: &Test) -> Outcome {
    t.sleeper(t.bundle()?)?;
    let outputs = ["--l3-cache-schema", "--mem-bw-schema"].map(|flag| t.rt(&["update", flag, "L3:0=f", &t.id]));
    t.delete()?;
    for output in outputs {
        let output = output?;
        check_eq!(output.code, 1, "exit status");
        check!(output.stderr.contains("RDT"), "{}", output.stderr);
    }
    Ok(())
}

/// The runtime writes them; most kernels have nothing to hand out.
fn rates_of_real_time(t: &Test) -> Outcome {
    t.cgroups_v1()?;
    t.sleeper(t.bundle()?)?;
    let period = t.rt(&["update", "--cpu-rt-period", "500000", &t.id])?;
    let found = t.cgroup_file("cpu", "cpu.rt_period_us");
    let runtime = t.rt(&["update", "--cpu-rt-runtime", "1000", &t.id])?;
    let then = t.cgroup_file("cpu", "cpu.rt_runtime_us");
    t.delete()?;
    match found {
        None => check_eq!((period.code, runtime.code), (1, 1), "without such files"),
        Some(found) => {
            check_eq!((period.code, found.as_str()), (0, "500000"), "--cpu-rt-period: {}", period.stderr);
            // The parent has no share to give: the kernel says EINVAL, and so does the runtime.
            match then.as_deref() {
                Some("1000") => check_eq!(runtime.code, 0, "--cpu-rt-runtime: {}", runtime.stderr),
                _ => check_eq!(runtime.code, 1, "--cpu-rt-runtime that changes nothing"),
            }
        }
    }
    Ok(())
}

fn v2_writes_the_files(t: &Test) -> Outcome {
    let mut cpu = json!({ "quota": 90_000 });
    let burst = release()? >= (5, 14);
    if burst {
        cpu["burst"] = json!(1000);
    }
    t.sleeper(limited(t, json!({ "pids": { "limit": 40 }, "cpu": cpu }))?)?;
    let words =
        ["update", "--memory", "64m", "--memory-swap", "96m", "--memory-reservation", "16m", "--pids-limit", "33"];
    let more = ["--cpu-share", "512", "--cpu-quota", "20000", "--cpuset-cpus", "1", "--blkio-weight", "300", &t.id];
    t.ok(&[&words[..], &more].concat())?;
    let first = compare(
        t,
        &[
            ("memory.max", "67108864"),
            ("memory.swap.max", "33554432"),
            ("memory.low", "16777216"),
            ("pids.max", "33"),
            ("cpu.weight", "59"),
            ("cpu.max", "20000 100000"),
            ("cpuset.cpus", "1"),
        ],
    );
    let kept = if burst { compare(t, &[("cpu.max.burst", "1000")]) } else { Vec::new() };
    t.ok(&["update", "--memory", "32m", "--memory-swap", "64m", &t.id])?;
    let second = compare(t, &[("memory.max", "33554432"), ("cpu.weight", "59"), ("pids.max", "33")]);
    t.ok(&["update", "--memory", "-1", "--memory-swap", "-1", "--pids-limit", "-1", &t.id])?;
    let third = compare(t, &[("memory.max", "max"), ("memory.swap.max", "max"), ("pids.max", "max")]);
    t.delete()?;
    let all = [first, kept, second, third].concat();
    check!(all.is_empty(), "{}", all.join("\n    "));
    Ok(())
}

fn v2_from_stdin(t: &Test) -> Outcome {
    t.sleeper(limited(t, json!({}))?)?;
    let file = t.folder.join("resources.json");
    let resources =
        json!({ "memory": { "limit": 50_331_648 }, "pids": { "limit": 44 }, "unified": { "memory.high": "40960000" } });
    fs::write(&file, resources.to_string())?;
    let running = t.spawn(t.command(&[], &["update", "--resources", "-", &t.id]), Some(fs::File::open(&file)?))?;
    let output = t.wait(running)?;
    let differences = compare(t, &[("memory.max", "50331648"), ("pids.max", "44"), ("memory.high", "40960000")]);
    t.delete()?;
    check_eq!(output.code, 0, "exit status: {}", output.stderr);
    check!(differences.is_empty(), "{}", differences.join("\n    "));
    Ok(())
}

/// The kernel takes the first values and refuses the last one.
fn v2_refused_changes_nothing(t: &Test) -> Outcome {
    if !t.runtime.is_ours() {
        return skip("others leave what was written before the refusal");
    }
    t.sleeper(limited(t, json!({ "pids": { "limit": 40 } }))?)?;
    let words = ["update", "--pids-limit", "50", "--memory", "64m", "--cpuset-cpus", "4000-4001", &t.id];
    let output = t.rt(&words)?;
    let differences = compare(t, &[("pids.max", "40"), ("memory.max", "max")]);
    t.delete()?;
    check_eq!(output.code, 1, "exit status");
    check!(differences.is_empty(), "{}", differences.join("\n    "));
    Ok(())
}
