//! resource: limits that hold, device rules, what is left behind (contract 1.7). On both versions; the files of version
//! 2 are in `unified`.

use crate::bundle::Bundle;
use crate::cases;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

cases!["resource":
    limits_are_in_the_files, memory_limit_kills, pids_limit_stops_forks, cpu_quota_throttles, cpuset_binds,
    callers_processors_are_not_inherited,
    denied_device_is_denied, allowed_device_is_allowed, default_devices_survive_deny_all, every_hierarchy_is_entered,
    occupied_is_refused, frozen_is_refused, cgroups_made_inside_are_removed, frozen_container_is_deleted,
    orphans_are_killed, bad_limit_leaves_nothing, unified_is_refused_on_v1, hugepages_on_the_unified_side,
    cgroup_mount_shows_own, io_limit_throttles,
];

/// A bundle with these resources; skips where the runtime does not see them.
fn limited(t: &Test, resources: Value) -> Outcome<Bundle> {
    t.cgroups()?;
    Ok(t.bundle()?.with("/linux/resources", resources))
}

/// As [`limited`], on version 1 only.
fn limited_v1(t: &Test, resources: Value) -> Outcome<Bundle> {
    t.cgroups_v1()?;
    limited(t, resources)
}

/// Freezes a cgroup of the freezer's hierarchy, or of the only one.
fn freeze(cgroup: &Path) -> Outcome {
    if crate::runtime::unified() {
        return Ok(fs::write(cgroup.join("cgroup.freeze"), "1")?);
    }
    Ok(fs::write(cgroup.join("freezer.state"), "FROZEN")?)
}

fn shell(bundle: &mut Bundle, script: &str) -> Outcome {
    if !bundle.busybox(&["sh", "head", "tail", "wc", "sleep", "mknod", "cat", "dd", "mkdir", "grep"])? {
        return skip("no static busybox");
    }
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
    let bundle = limited_v1(
        t,
        json!({
            "memory": { "limit": 104_857_600, "swap": 209_715_200, "reservation": 52_428_800, "swappiness": 7 },
            "cpu": { "shares": 512, "quota": 50_000, "period": 100_000, "burst": 10_000, "cpus": "0", "mems": "0" },
            "pids": { "limit": 77 },
            "blockIO": { "throttleReadBpsDevice": [{ "major": 7, "minor": 0, "rate": 1_048_576 }],
                         "throttleWriteIOPSDevice": [{ "major": 7, "minor": 0, "rate": 99 }] },
            "devices": [{ "allow": false, "access": "rwm" }]
        }),
    )?;
    t.sleeper(bundle)?;
    for (name, wanted) in [
        ("memory.limit_in_bytes", "104857600"),
        ("memory.memsw.limit_in_bytes", "209715200"),
        ("memory.soft_limit_in_bytes", "52428800"),
        ("memory.swappiness", "7"),
        ("cpu.shares", "512"),
        ("cpu.cfs_quota_us", "50000"),
        ("cpu.cfs_period_us", "100000"),
        ("cpu.cfs_burst_us", "10000"),
        ("cpuset.cpus", "0"),
        ("cpuset.mems", "0"),
        ("pids.max", "77"),
        ("blkio.throttle.read_bps_device", "7:0 1048576"),
        ("blkio.throttle.write_iops_device", "7:0 99"),
    ] {
        check_eq!(file(t, name)?, wanted, "{name}");
    }
    t.delete()?;
    Ok(())
}

fn memory_limit_kills(t: &Test) -> Outcome {
    let mut bundle = limited(t, json!({ "memory": { "limit": 16_777_216, "swap": 16_777_216 } }))?;
    shell(&mut bundle, "head -c 200000000 /dev/zero | tail -c 150000000 | wc -c; echo over")?;
    let output = t.run(&bundle)?;
    check!(!output.stdout.contains("150000000"), "150 MB went through 16 MB: {}", output.stdout);
    Ok(())
}

fn pids_limit_stops_forks(t: &Test) -> Outcome {
    let mut bundle = limited(t, json!({ "pids": { "limit": 5 } }))?;
    shell(&mut bundle, "for i in 1 2 3 4 5 6 7 8 9; do sleep 600 & done; echo all")?;
    let output = t.run(&bundle)?;
    check!(!output.stdout.contains("all"), "nine children with a limit of five tasks");
    Ok(())
}

fn cpu_quota_throttles(t: &Test) -> Outcome {
    let mut bundle = limited(t, json!({ "cpu": { "quota": 10_000, "period": 100_000 } }))?;
    shell(&mut bundle, "while :; do :; done")?;
    t.create_ok(&bundle)?;
    t.ok(&["start", &t.id])?;
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
    let own = fs::read_to_string("/proc/self/status")?;
    let own = own.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:\t")).unwrap_or_default().to_owned();
    if own == "0" {
        return skip("one processor is all there is");
    }
    bundle.save()?;
    let words = ["run", "--bundle", &bundle.path.to_string_lossy(), &t.id];
    let output = t.finish(t.command(&["taskset", "-c", "0"], &words))?;
    check_eq!(output.code, 0, "run: {}", output.stderr);
    check_eq!(crate::report::Report::parse(&output.stdout)?.status("Cpus_allowed_list"), own, "processors");
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
    shell(&mut bundle, OPEN)?;
    // A filesystem of its own: the one of the host may forbid device nodes.
    bundle.mount("/tmp", "tmpfs", "tmpfs", &["mode=1777"]);
    t.run_ok(&bundle)
}

fn denied_device_is_denied(t: &Test) -> Outcome {
    check_eq!(opened(t, json!([{ "allow": false, "access": "rwm" }]))?, "defaults\n", "what could be opened");
    Ok(())
}

fn allowed_device_is_allowed(t: &Test) -> Outcome {
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

fn every_hierarchy_is_entered(t: &Test) -> Outcome {
    let report = t.report(&limited(t, json!({}))?)?;
    let lines: Vec<&str> = report.at("/cgroup").as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for line in lines {
        // runc before 1.2 leaves the unified side of a hybrid host alone where nothing needs it.
        let there = line.ends_with(&format!(":/{}", t.id));
        check!(there || (line.starts_with("0::") && t.runtime.name != "runtime"), "not in its cgroup: {line}");
    }
    Ok(())
}

/// A cgroup of the test's own in one hierarchy, removed at the end.
struct Own(PathBuf);

impl Own {
    fn new(t: &Test, hierarchy: &str) -> Outcome<Self> {
        let path = t.cgroup(hierarchy);
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

fn occupied_is_refused(t: &Test) -> Outcome {
    let bundle = limited(t, json!({}))?;
    let own = Own::new(t, "pids")?;
    let mut child = std::process::Command::new("sleep").arg("600").spawn()?;
    fs::write(own.0.join("cgroup.procs"), child.id().to_string())?;
    let refused = t.run_refused(&bundle, "container's cgroup is not empty: 1 process(es) found");
    let alive = child.try_wait()?.is_none();
    child.kill()?;
    child.wait()?;
    refused?;
    check!(alive, "the process that was there is gone");
    check!(own.0.is_dir(), "the cgroup that was there is gone");
    Ok(())
}

fn frozen_is_refused(t: &Test) -> Outcome {
    let bundle = limited(t, json!({}))?;
    let own = Own::new(t, "freezer")?;
    freeze(&own.0)?;
    t.run_refused(&bundle, "container's cgroup unexpectedly frozen")?;
    Ok(())
}

fn cgroups_made_inside_are_removed(t: &Test) -> Outcome {
    let mut bundle = limited_v1(t, json!({}))?;
    shell(&mut bundle, "mkdir -p /sys/fs/cgroup/pids/a/b /sys/fs/cgroup/freezer/c && echo made")?;
    bundle.drop_mount("/sys/fs/cgroup");
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "rw"]);
    // What is left is looked for after every case.
    check_eq!(t.run_ok(&bundle)?, "made\n", "output");
    Ok(())
}

fn frozen_container_is_deleted(t: &Test) -> Outcome {
    t.sleeper(limited(t, json!({}))?)?;
    freeze(&t.cgroup("freezer"))?;
    check_eq!(t.state()?["status"], "paused", "status");
    t.delete()?;
    Ok(())
}

/// A process that outlives the first one, without a pid namespace that would end it, frozen below for good measure.
fn orphans_are_killed(t: &Test) -> Outcome {
    let mut bundle = limited(t, json!({}))?.probe(&["spawn-sleeper"]);
    bundle.drop_namespace("pid");
    t.create_ok(&bundle)?;
    t.ok(&["start", &t.id])?;
    t.wait_status("stopped")?;
    let freezer = t.cgroup("freezer");
    let left = fs::read_to_string(freezer.join("cgroup.procs"))?;
    check_eq!(left.lines().count(), 1, "processes left");
    fs::create_dir(freezer.join("below"))?;
    fs::write(freezer.join("below/cgroup.procs"), left.trim())?;
    freeze(&freezer.join("below"))?;
    t.delete()?;
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

fn cgroup_mount_shows_own(t: &Test) -> Outcome {
    let bundle = limited_v1(t, json!({ "pids": { "limit": 33 } }))?;
    let report = t.report_paths(bundle, &["/sys/fs/cgroup/pids/pids.max"])?;
    check!(!report.path("/sys/fs/cgroup/pids/pids.max").is_null(), "no pids.max in the container");
    check!(report.mounted_with("/sys/fs/cgroup/pids", "ro"), "{}", report.mount("/sys/fs/cgroup/pids"));
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
    let outcome = shell(&mut bundle, "dd if=/dev/disk of=/dev/null bs=1M count=4 iflag=direct && echo done")
        .and_then(|()| t.run(&bundle));
    let _ = std::process::Command::new("losetup").arg("-d").arg(&device).status();
    let output = outcome?;
    check!(output.stdout.contains("done"), "dd: {}", output.stderr);
    check!(output.took > std::time::Duration::from_secs(2), "4 MiB at 1 MiB/s took {:?}", output.took);
    Ok(())
}
