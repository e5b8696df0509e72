//! field: every member of `linux.resources` as the kernel's files have it (contract 1.7.1), beyond what `resource` and
//! `unified` read back: version 1 on this kind of host, version 2 in the guest.

use crate::bundle::Bundle;
use crate::cases;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

cases!["field":
    weight_and_throttles_v1, realtime_v1, idle_v1, oom_killer_v1, unlimited_v1, weight_of_a_device_v1,
    what_v1_lacks_is_refused, weight_of_a_device_v2, rdma_v2, swap_v2, check_before_update_v2, page_size_v2,
    no_tasks_means_one, ignored_members_change_nothing,
];

fn with(t: &Test, resources: Value) -> Outcome<Bundle> {
    Ok(t.bundle()?.with("/linux/resources", resources))
}

/// Starts with these resources; what the files say that should say something else.
fn differences(t: &Test, resources: Value, wanted: &[(&str, &str)]) -> Outcome<Vec<String>> {
    t.sleeper(with(t, resources)?)?;
    let differs = |(name, wanted): &(&str, &str)| {
        let controller = name.split('.').next().unwrap_or_default();
        let found = t.cgroup_file(controller, name);
        (found.as_deref() != Some(*wanted)).then(|| format!("{name}: is {found:?}, wanted {wanted:?}"))
    };
    let found = wanted.iter().filter_map(differs).collect();
    t.delete()?;
    fs::remove_dir_all(t.folder.join("bundle"))?;
    Ok(found)
}

fn files(t: &Test, resources: Value, wanted: &[(&str, &str)]) -> Outcome {
    let found = differences(t, resources, wanted)?;
    check!(found.is_empty(), "{}", found.join("\n    "));
    Ok(())
}

fn refused(t: &Test, resources: Value, text: &str) -> Outcome {
    t.run_refused(&with(t, resources)?, text)?;
    Ok(fs::remove_dir_all(t.folder.join("bundle"))?)
}

fn disk(minor: u32, rate: u64) -> Value {
    json!([{ "major": 7, "minor": minor, "rate": rate }])
}

fn weight_and_throttles_v1(t: &Test) -> Outcome {
    t.cgroups_v1()?;
    if !Path::new("/dev/loop1").exists() {
        return skip("no loop devices");
    }
    let throttles = json!({
        "throttleReadBpsDevice": disk(0, 1_048_576), "throttleWriteBpsDevice": disk(0, 2_097_152),
        "throttleReadIOPSDevice": disk(1, 300), "throttleWriteIOPSDevice": disk(1, 400)
    });
    let wanted = [
        ("blkio.throttle.read_bps_device", "7:0 1048576"),
        ("blkio.throttle.write_bps_device", "7:0 2097152"),
        ("blkio.throttle.read_iops_device", "7:1 300"),
        ("blkio.throttle.write_iops_device", "7:1 400"),
    ];
    files(t, json!({ "blockIO": throttles }), &wanted)?;
    let file =
        ["blkio.weight", "blkio.bfq.weight"].into_iter().find(|f| Path::new("/sys/fs/cgroup/blkio").join(f).exists());
    // runc before 1.2 does not know the scheduler's own file.
    match file {
        Some(file) if t.runtime.is_ours() => files(t, json!({ "blockIO": { "weight": 500 } }), &[(file, "500")]),
        _ => Ok(()),
    }
}

fn realtime_v1(t: &Test) -> Outcome {
    t.cgroups_v1()?;
    if !Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists() {
        return skip("this kernel has no real-time groups");
    }
    let resources = json!({ "cpu": { "realtimePeriod": 500_000, "realtimeRuntime": 5_000 } });
    files(t, resources, &[("cpu.rt_period_us", "500000"), ("cpu.rt_runtime_us", "5000")])
}

fn idle_v1(t: &Test) -> Outcome {
    t.cgroups_v1()?;
    files(t, json!({ "cpu": { "idle": 1 } }), &[("cpu.idle", "1")])
}

fn oom_killer_v1(t: &Test) -> Outcome {
    t.cgroups_v1()?;
    let resources = json!({ "memory": { "limit": 104_857_600, "disableOOMKiller": true } });
    t.sleeper(with(t, resources)?)?;
    let control = t.cgroup_file("memory", "memory.oom_control").unwrap_or_default();
    t.delete()?;
    check!(control.lines().any(|line| line == "oom_kill_disable 1"), "memory.oom_control: {control}");
    Ok(())
}

fn unlimited_v1(t: &Test) -> Outcome {
    t.cgroups_v1()?;
    let resources = json!({ "memory": { "limit": -1, "swap": -1, "reservation": -1 },
                            "cpu": { "quota": -1, "period": 50_000 }, "pids": { "limit": -1 } });
    let most = "9223372036854771712";
    let wanted = [
        ("memory.limit_in_bytes", most),
        ("memory.memsw.limit_in_bytes", most),
        ("memory.soft_limit_in_bytes", most),
        ("cpu.cfs_quota_us", "-1"),
        ("cpu.cfs_period_us", "50000"),
        ("pids.max", "max"),
    ];
    files(t, resources, &wanted)
}

/// A loop device with the BFQ scheduler, the only one that knows weights of devices.
struct Disk {
    device: String,
    minor: u32,
}

impl Disk {
    fn new(t: &Test) -> Outcome<Self> {
        let _ = Command::new("modprobe").arg("bfq").output();
        let image = t.folder.join("image");
        fs::File::create(&image)?.set_len(1 << 20)?;
        let made = Command::new("losetup").args(["--find", "--show"]).arg(&image).output();
        let device = match made {
            Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            _ => return skip("no loop device"),
        };
        let minor = device.trim_start_matches("/dev/loop").parse().unwrap_or(0);
        let disk = Self { device, minor };
        if disk.schedule("bfq")? { Ok(disk) } else { skip("no BFQ scheduler") }
    }

    /// In a mount namespace of its own: here it is read-only.
    fn schedule(&self, name: &str) -> Outcome<bool> {
        let script =
            format!("mount -o remount,bind,rw /sys && echo {name} >/sys/block/loop{}/queue/scheduler", self.minor);
        Ok(Command::new("unshare").args(["-m", "sh", "-c", &script]).output()?.status.success())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.schedule("none");
        let _ = Command::new("losetup").arg("-d").arg(&self.device).status();
    }
}

fn weight_of_a_device(t: &Test, file: &str) -> Outcome {
    if !t.runtime.is_ours() {
        return skip("older ones do not know the scheduler's own file");
    }
    if super::kernel::release()? < (5, 15) {
        return skip("5.10 has weights for no loop device (EOPNOTSUPP)");
    }
    let disk = Disk::new(t)?;
    let device = json!([{ "major": 7, "minor": disk.minor, "weight": 300 }]);
    t.sleeper(with(t, json!({ "blockIO": { "weight": 500, "weightDevice": device } }))?)?;
    let found = t.cgroup_file("blkio", file).unwrap_or_default();
    t.delete()?;
    let wanted = format!("7:{} 300", disk.minor);
    check!(found.lines().any(|line| line == wanted), "{file}: is {found:?}, wanted {wanted:?} in it");
    Ok(())
}

fn weight_of_a_device_v1(t: &Test) -> Outcome {
    t.cgroups_v1()?;
    weight_of_a_device(t, "blkio.bfq.weight_device")
}

fn weight_of_a_device_v2(t: &Test) -> Outcome {
    t.cgroups_v2()?;
    weight_of_a_device(t, "io.bfq.weight")
}

/// Fails closed: a limit that the host has no controller or no file for is not dropped.
fn what_v1_lacks_is_refused(t: &Test) -> Outcome {
    t.cgroups_v1()?;
    if !t.runtime.is_ours() {
        return skip("others ignore what they cannot set");
    }
    let missing = |controller: &str| !Path::new("/sys/fs/cgroup").join(controller).exists();
    if missing("net_cls") {
        refused(t, json!({ "network": { "classID": 7 } }), "/linux/resources/network/classID")?;
    }
    if missing("net_prio") {
        let priorities = json!({ "network": { "priorities": [{ "name": "lo", "priority": 1 }] } });
        refused(t, priorities, "/linux/resources/network/priorities")?;
    }
    if missing("rdma") {
        refused(t, json!({ "rdma": { "nothing0": { "hcaHandles": 1 } } }), "/linux/resources/rdma")?;
    }
    if missing("blkio/blkio.leaf_weight") {
        refused(t, json!({ "blockIO": { "leafWeight": 100 } }), "/linux/resources/blockIO/leafWeight")?;
    }
    refused(t, json!({ "hugepageLimits": [{ "pageSize": "3MB", "limit": 1 }] }), "/linux/resources/hugepageLimits/0")
}

/// A software RDMA device over a dummy network device. It stays, like the machine: 5.10 stumbles over taking it away (a
/// kernel BUG in rdmacg_unregister_device).
struct Rdma(String);

impl Rdma {
    fn new(t: &Test) -> Outcome<Self> {
        if !crate::machine::disposable() {
            return skip("an RDMA device is for a machine that is thrown away");
        }
        let name = format!("rxe{}", t.id.replace(|c: char| !c.is_ascii_alphanumeric(), ""));
        let done = |program: &str, args: &[&str]| {
            Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
        };
        done("modprobe", &["-a", "dummy", "rdma_rxe"]);
        done("ip", &["link", "add", "rdma-dummy", "type", "dummy"]);
        done("ip", &["link", "set", "rdma-dummy", "up"]);
        match done("rdma", &["link", "add", &name, "type", "rxe", "netdev", "rdma-dummy"]) {
            true => Ok(Self(name)),
            false => skip("no RDMA device can be made"),
        }
    }
}

fn rdma_v2(t: &Test) -> Outcome {
    t.cgroups_v2()?;
    let device = Rdma::new(t)?;
    let mut limits = serde_json::Map::new();
    limits.insert(device.0.clone(), json!({ "hcaHandles": 3, "hcaObjects": 10_000 }));
    files(t, json!({ "rdma": limits }), &[("rdma.max", &format!("{} hca_handle=3 hca_object=10000", device.0))])
}

/// Swap alone, from memory and swap together.
fn swap_v2(t: &Test) -> Outcome {
    t.cgroups_v2()?;
    let memory = |limit: i64, swap: i64| json!({ "memory": { "limit": limit, "swap": swap } });
    for (resources, max, swap) in [
        (memory(104_857_600, 104_857_600), "104857600", "0"),
        (memory(104_857_600, -1), "104857600", "max"),
        (memory(-1, 52_428_800), "max", "52428800"),
        (memory(-1, 0), "max", "max"),
    ] {
        let text = resources.to_string();
        let found = differences(t, resources, &[("memory.max", max), ("memory.swap.max", swap)])?;
        check!(found.is_empty(), "{text}: {}", found.join("\n    "));
    }
    refused(t, json!({ "memory": { "swap": 52_428_800 } }), "unable to set swap limit without memory limit")?;
    refused(t, memory(104_857_600, 52_428_800), "memory+swap limit should be >= memory limit")
}

fn check_before_update_v2(t: &Test) -> Outcome {
    t.cgroups_v2()?;
    t.sleeper(with(t, json!({ "memory": { "limit": 104_857_600 } }))?)?;
    let update = |limit: u64, check: bool| -> Outcome<_> {
        let file = t.folder.join("resources.json");
        let swap = limit * 2;
        fs::write(
            &file,
            json!({ "memory": { "limit": limit, "swap": swap, "checkBeforeUpdate": check } }).to_string(),
        )?;
        t.rt(&["update", "--resources", &file.to_string_lossy(), &t.id])
    };
    let low = update(4096, true)?;
    let kept = t.cgroup_file("memory", "memory.max");
    let high = update(83_886_080, true)?;
    let changed = t.cgroup_file("memory", "memory.max");
    t.delete()?;
    check!(
        low.code == 1 && low.stderr.contains("rejecting memory+swap limit 8192 <= usage"),
        "{}: {}",
        low.code,
        low.stderr
    );
    check_eq!(kept.as_deref(), Some("104857600"), "memory.max after the refusal");
    check_eq!((high.code, changed.as_deref()), (0, Some("83886080")), "a limit above the usage: {}", high.stderr);
    Ok(())
}

fn page_size_v2(t: &Test) -> Outcome {
    t.cgroups_v2()?;
    for size in ["3MB", "2mb"] {
        let limits = json!({ "hugepageLimits": [{ "pageSize": size, "limit": 2_097_152 }] });
        t.run_refused(&with(t, limits)?, "")?;
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}

/// pids.max of 0 would keep even the container's first process out.
fn no_tasks_means_one(t: &Test) -> Outcome {
    t.cgroups()?;
    if !t.runtime.is_ours() {
        return skip("runc before 1.4 and crun take it for unset");
    }
    files(t, json!({ "pids": { "limit": 0 } }), &[("pids.max", "1")])
}

/// What the kernel dropped, and what engines send all the same.
fn ignored_members_change_nothing(t: &Test) -> Outcome {
    t.cgroups()?;
    if !t.runtime.is_ours() {
        return skip("others set some of them");
    }
    let memory = json!({ "kernel": 4096, "kernelTCP": 4096, "useHierarchy": false, "disableOOMKiller": false });
    let wanted: &[(&str, &str)] = match crate::runtime::unified() {
        true => &[("memory.max", "max")],
        false => &[("memory.limit_in_bytes", "9223372036854771712"), ("memory.use_hierarchy", "1")],
    };
    files(t, json!({ "memory": memory }), wanted)
}
