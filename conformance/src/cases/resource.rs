//! `linux.resources`: limits that hold, on both versions (contract 1.7). Device rules are in `device_rule`, every field
//! and its file in `field` and, for version 2, in `unified`.

use crate::bundle::Bundle;
use crate::cases;
use crate::machine::own_status;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::fs;

cases!["resource":
    limits_are_in_the_files, burst_is_in_its_file, memory_limit_kills, cpu_quota_throttles, cpuset_binds,
    callers_processors_are_not_inherited, bad_limit_leaves_nothing, unified_is_refused_on_v1,
    hugepages_on_the_unified_side, io_limit_throttles, pids_limit_holds,
];

/// A bundle with these resources; skips where the runtime does not see them.
pub(super) fn limited(t: &Test, resources: Value) -> Outcome<Bundle> {
    t.cgroups()?;
    Ok(t.bundle()?.with("/linux/resources", resources))
}

/// As [`limited`], on version 1 only.
pub(super) fn limited_v1(t: &Test, resources: Value) -> Outcome<Bundle> {
    t.cgroups_v1()?;
    limited(t, resources)
}

pub(super) fn shell(t: &Test, bundle: &mut Bundle, script: &str) -> Outcome {
    t.busybox(bundle, &["sh", "head", "tail", "wc", "sleep", "mknod", "cat", "dd", "mkdir", "grep"])?;
    bundle.set("/process/args", json!(["/bin/sh", "-c", script]));
    Ok(())
}

fn file(t: &Test, name: &str) -> Outcome<String> {
    let controller = match name.split('.').next() {
        Some("cpuacct") => "cpuacct",
        Some(controller) => controller,
        None => "",
    };
    t.cgroup_file(controller, name).ok_or_else(|| format!("no {name}").into())
}

fn limits_are_in_the_files(t: &Test) -> Outcome {
    t.cgroups_v1()?;
    let bundle = limited(
        t,
        json!({
            "memory": { "limit": 104_857_600, "swap": 209_715_200, "reservation": 52_428_800, "swappiness": 7 },
            "cpu": { "shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0", "mems": "0" },
            "pids": { "limit": 77 },
            "blockIO": { "throttleReadBpsDevice": [{ "major": 7, "minor": 0, "rate": 1_048_576 }],
                         "throttleWriteIOPSDevice": [{ "major": 7, "minor": 0, "rate": 99 }] },
            "devices": [{ "allow": false, "access": "rwm" }]
        }),
    )?;
    let pid = t.sleeper(bundle)?;
    for (name, wanted) in [
        ("memory.limit_in_bytes", "104857600"),
        ("memory.memsw.limit_in_bytes", "209715200"),
        ("memory.soft_limit_in_bytes", "52428800"),
        ("memory.swappiness", "7"),
        ("cpu.shares", "512"),
        ("cpu.cfs_quota_us", "50000"),
        ("cpu.cfs_period_us", "100000"),
        ("cpuset.cpus", "0"),
        ("cpuset.mems", "0"),
        ("pids.max", "77"),
        ("blkio.throttle.read_bps_device", "7:0 1048576"),
        ("blkio.throttle.write_iops_device", "7:0 99"),
    ] {
        check_eq!(file(t, name)?, wanted, "{name}");
    }
    check_eq!(t.cgroup_file("memory", "cgroup.procs"), Some(pid.to_string()), "cgroup.procs");
    t.delete()?;
    Ok(())
}

fn burst_is_in_its_file(t: &Test) -> Outcome {
    t.cgroups_v1()?;
    t.sleeper(limited(t, json!({ "cpu": { "quota": 50_000, "period": 100_000, "burst": 10_000 } }))?)?;
    let found = file(t, "cpu.cfs_burst_us");
    t.delete()?;
    check_eq!(found?, "10000", "cpu.cfs_burst_us");
    Ok(())
}

fn memory_limit_kills(t: &Test) -> Outcome {
    let mut bundle = limited(t, json!({ "memory": { "limit": 16_777_216, "swap": 16_777_216 } }))?;
    shell(t, &mut bundle, "head -c 200000000 /dev/zero | tail -c 150000000 | wc -c; echo over")?;
    let output = t.run(&bundle)?;
    check!(!output.stdout.contains("150000000"), "150 MB went through 16 MB: {}", output.stdout);
    Ok(())
}

fn cpu_quota_throttles(t: &Test) -> Outcome {
    let mut bundle = limited(t, json!({ "cpu": { "quota": 10_000, "period": 100_000 } }))?;
    shell(t, &mut bundle, "while :; do :; done")?;
    t.start(&bundle)?;
    let throttled = || {
        let stat = t.cgroup_file("cpu", "cpu.stat").unwrap_or_default();
        stat.lines().find_map(|line| line.strip_prefix("nr_throttled ")?.parse().ok()).unwrap_or(0)
    };
    t.wait_for("three throttled periods", || throttled() >= 3)?;
    t.delete()?;
    Ok(())
}

fn cpuset_binds(t: &Test) -> Outcome {
    let bundle = limited(t, json!({ "cpu": { "cpus": "1" } }))?;
    check_eq!(t.report(&bundle)?.status("Cpus_allowed_list"), "1", "processors");
    t.sleeper(bundle)?;
    let inside = t.rt(&["exec", &t.id, "/probe", "report"])?;
    t.delete()?;
    let report = crate::report::Report::parse(&inside.stdout)?;
    check_eq!(report.status("Cpus_allowed_list"), "1", "processors of an exec");
    Ok(())
}

/// What the caller may run on is his affair: on version 1 the move to the CPU set undoes it, on version 2 we do.
fn callers_processors_are_not_inherited(t: &Test) -> Outcome {
    let bundle = limited(t, json!({}))?;
    if !t.runtime.is_ours() {
        return skip("runc since 1.4 does so on version 2, others do not");
    }
    let own = own_status("Cpus_allowed_list")?;
    if own == "0" {
        return skip("one processor is all there is");
    }
    let report = t.report_behind(&["taskset", "-c", "0"], &bundle)?;
    check_eq!(report.status("Cpus_allowed_list"), own, "processors");
    Ok(())
}

fn bad_limit_leaves_nothing(t: &Test) -> Outcome {
    let bundle = limited(t, json!({ "pids": { "limit": 5 }, "cpu": { "cpus": "4000" } }))?;
    t.run_refused(&bundle, "cpuset")?;
    t.fails(&["state", &t.id], "does not exist")?;
    Ok(())
}

fn unified_is_refused_on_v1(t: &Test) -> Outcome {
    let bundle = limited_v1(t, json!({ "unified": { "memory.max": "1000000" } }))?;
    t.run_refused(&bundle, "cannot use unified on cgroup v1")?;
    Ok(())
}

/// On a hybrid host the unified side has what version 1 has not.
fn hugepages_on_the_unified_side(t: &Test) -> Outcome {
    let controllers = fs::read_to_string("/sys/fs/cgroup/unified/cgroup.controllers").unwrap_or_default();
    if !controllers.split_whitespace().any(|name| name == "hugetlb") {
        return skip("no hugetlb controller in the unified hierarchy");
    }
    t.sleeper(limited_v1(t, json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 4_194_304 }] }))?)?;
    check_eq!(t.cgroup_file("unified", "hugetlb.2MB.max").unwrap_or_default(), "4194304", "hugetlb.2MB.max");
    t.delete()?;
    Ok(())
}

/// 4 MiB at 1 MiB a second, from a loop device: not from the cache, so with O_DIRECT.
fn io_limit_throttles(t: &Test) -> Outcome {
    let mut bundle = limited(t, json!({}))?;
    let image = t.folder.join("image");
    fs::File::create(&image)?.set_len(8 << 20)?;
    let made = std::process::Command::new("losetup").args(["--find", "--show", "--direct-io=off"]).arg(&image).output();
    let device = match made {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => return skip("no loop device"),
    };
    let minor: i64 = device.trim_start_matches("/dev/loop").parse().unwrap_or(0);
    bundle.set(
        "/linux/resources",
        json!({ "blockIO": { "throttleReadBpsDevice": [{ "major": 7, "minor": minor, "rate": 1 << 20 }] },
                "devices": [{ "allow": false, "access": "rwm" },
                            { "allow": true, "type": "b", "major": 7, "minor": minor, "access": "r" }] }),
    );
    bundle.set("/linux/devices/-", json!({ "path": "/dev/disk", "type": "b", "major": 7, "minor": minor }));
    let outcome = shell(t, &mut bundle, "dd if=/dev/disk of=/dev/null bs=1M count=4 iflag=direct && echo done")
        .and_then(|()| t.run(&bundle));
    let _ = std::process::Command::new("losetup").arg("-d").arg(&device).status();
    let output = outcome?;
    check!(output.stdout.contains("done"), "dd: {}", output.stderr);
    check!(output.took > std::time::Duration::from_secs(2), "4 MiB at 1 MiB/s took {:?}", output.took);
    Ok(())
}

fn pids_limit_holds(t: &Test) -> Outcome {
    t.cgroups()?;
    let bundle = t.bundle()?.with("/linux/resources/pids", json!({ "limit": 1 })).probe(&["spawn-sleeper"]);
    check_eq!(t.run(&bundle)?.code, 11, "errno of the second process (EAGAIN)");
    Ok(())
}
