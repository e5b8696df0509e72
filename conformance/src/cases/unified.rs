//! unified: cgroup version 2 with all its controllers (contract 1.7.1): every field in the kernel's file, `update`, and
//! what only version 2 does. For the guest; elsewhere skipped.

use crate::bundle::Bundle;
use crate::cases;
use crate::test::{Outcome, Test, skip};
use crate::trace;
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

cases!["unified":
    every_field_is_in_its_file, idle_is_in_its_file, burst_is_in_its_file, unlimited_is_max, files_by_name,
    what_it_lacks_is_refused, controllers_are_handed_down, run_and_exec_write_no_procs, inner_tree_takes_exec,
    inner_tree_is_removed, starts_in_half_a_mebibyte, too_little_to_start_is_told, killed_by_the_kernels_own_switch,
    systemd_inside_takes_exec,
];

pub(super) fn limited(t: &Test, resources: Value) -> Outcome<Bundle> {
    t.cgroups_v2()?;
    Ok(t.bundle()?.with("/linux/resources", resources))
}

/// What the files say, against what they should: all differences at once.
pub(super) fn compare(t: &Test, wanted: &[(&str, &str)]) -> Vec<String> {
    let differs = |(name, wanted): &(&str, &str)| {
        let found = t.cgroup_file("", name);
        (found.as_deref() != Some(*wanted)).then(|| format!("{name}: is {found:?}, wanted {wanted:?}"))
    };
    wanted.iter().filter_map(differs).collect()
}

fn files(t: &Test, resources: Value, wanted: &[(&str, &str)]) -> Outcome {
    t.sleeper(limited(t, resources)?)?;
    let differences = compare(t, wanted);
    t.delete()?;
    check!(differences.is_empty(), "{}", differences.join("\n    "));
    Ok(())
}

fn every_field_is_in_its_file(t: &Test) -> Outcome {
    t.cgroups_v2()?;
    if !Path::new("/dev/loop1").exists() {
        return skip("no loop devices");
    }
    let disk = |minor: u32, rate: u64| json!([{ "major": 7, "minor": minor, "rate": rate }]);
    let resources = json!({
        "memory": { "limit": 104_857_600, "swap": 209_715_200, "reservation": 52_428_800, "swappiness": 7,
                    "kernel": 5, "kernelTCP": 5, "useHierarchy": true, "disableOOMKiller": false },
        "cpu": { "shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0", "mems": "0" },
        "pids": { "limit": 77 },
        "blockIO": { "weight": 500,
                     "throttleReadBpsDevice": disk(0, 1_048_576), "throttleWriteBpsDevice": disk(0, 2_097_152),
                     "throttleReadIOPSDevice": disk(0, 300), "throttleWriteIOPSDevice": disk(1, 400) },
        "hugepageLimits": [{ "pageSize": "2MB", "limit": 4_194_304 }],
        "unified": { "memory.high": "90112000" }
    });
    t.sleeper(limited(t, resources)?)?;
    let mut differences = compare(
        t,
        &[
            ("memory.max", "104857600"),
            ("memory.swap.max", "104857600"),
            ("memory.low", "52428800"),
            ("memory.high", "90112000"),
            ("cpu.weight", "59"),
            ("cpu.max", "50000 100000"),
            ("cpuset.cpus", "0"),
            ("cpuset.mems", "0"),
            ("cpuset.cpus.effective", "0"),
            ("pids.max", "77"),
            ("hugetlb.2MB.max", "4194304"),
            ("hugetlb.2MB.rsvd.max", "4194304"),
        ],
    );
    let disks = t.cgroup_file("", "io.max").unwrap_or_default();
    let mut lines: Vec<&str> = disks.lines().collect();
    lines.sort_unstable();
    let wanted = ["7:0 rbps=1048576 wbps=2097152 riops=300 wiops=max", "7:1 rbps=max wbps=max riops=max wiops=400"];
    if lines != wanted {
        differences.push(format!("io.max: is {lines:?}, wanted {wanted:?}"));
    }
    // 500 of 10 to 1000 for BFQ, or its place between 1 and 10000.
    let weights = [t.cgroup_file("", "io.bfq.weight"), t.cgroup_file("", "io.weight")].map(Option::unwrap_or_default);
    if weights[0] != "default 500" && weights[1] != "default 4950" {
        differences.push(format!("io.bfq.weight, io.weight: {weights:?}"));
    }
    t.delete()?;
    check!(differences.is_empty(), "{}", differences.join("\n    "));
    Ok(())
}

/// A limit that the kernel has no file for is refused.
fn newer(t: &Test, since: (u32, u32), resources: Value, file: (&str, &str)) -> Outcome {
    t.cgroups_v2()?;
    if super::kernel::release()? >= since {
        return files(t, resources, &[file]);
    }
    if !t.runtime.is_ours() {
        return skip("how others do without is their affair");
    }
    t.run_refused(&limited(t, resources)?, file.0).map(drop)
}

fn idle_is_in_its_file(t: &Test) -> Outcome {
    newer(t, (5, 15), json!({ "cpu": { "idle": 1 } }), ("cpu.idle", "1"))
}

fn burst_is_in_its_file(t: &Test) -> Outcome {
    let cpu = json!({ "quota": 50_000, "period": 100_000, "burst": 10_000 });
    newer(t, (5, 14), json!({ "cpu": cpu }), ("cpu.max.burst", "10000"))
}

fn unlimited_is_max(t: &Test) -> Outcome {
    let resources = json!({
        "memory": { "limit": -1, "swap": -1, "reservation": -1 }, "cpu": { "quota": -1, "period": 50_000 },
        "pids": { "limit": -1 }
    });
    let wanted = [
        ("memory.max", "max"),
        ("memory.swap.max", "max"),
        ("memory.low", "max"),
        ("cpu.max", "max 50000"),
        ("pids.max", "max"),
    ];
    files(t, resources, &wanted)
}

fn files_by_name(t: &Test) -> Outcome {
    let resources = json!({ "unified": { "memory.min": "4194304", "cgroup.max.depth": "3", "pids.max": "99",
                                         "io.max": "7:0 rbps=5000000\n7:1 wiops=10\n", "memory.oom.group": "1" } });
    let wanted = [("memory.min", "4194304"), ("cgroup.max.depth", "3"), ("pids.max", "99"), ("memory.oom.group", "1")];
    files(t, resources, &wanted)?;
    fs::remove_dir_all(t.folder.join("bundle"))?;
    t.run_refused(&limited(t, json!({ "unified": { "memory.nothing": "1" } }))?, "memory.nothing").map(drop)
}

fn what_it_lacks_is_refused(t: &Test) -> Outcome {
    if !t.runtime.is_ours() {
        return skip("others ignore what they cannot set");
    }
    for (resources, member) in [
        (json!({ "memory": { "disableOOMKiller": true } }), "/linux/resources/memory/disableOOMKiller"),
        (json!({ "cpu": { "realtimePeriod": 100_000 } }), "/linux/resources/cpu/realtimePeriod"),
        (json!({ "blockIO": { "leafWeight": 100 } }), "/linux/resources/blockIO/leafWeight"),
        (json!({ "network": { "classID": 7 } }), "/linux/resources/network/classID"),
        (json!({ "rdma": { "nothing0": { "hcaHandles": 1 } } }), "/linux/resources/rdma/nothing0"),
    ] {
        t.run_refused(&limited(t, resources)?, member)?;
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}

/// What runs inside may want to hand them on.
fn controllers_are_handed_down(t: &Test) -> Outcome {
    let bundle = limited(t, json!({}))?.with("/linux/cgroupsPath", json!(format!("/{}/deep/er", t.id)));
    t.sleeper(bundle)?;
    let at = t.cgroup("").join("deep/er");
    let available = fs::read_to_string(at.join("cgroup.controllers"));
    t.delete()?;
    for left in crate::leak::cgroups(&t.id) {
        let _ = fs::remove_dir(left);
    }
    let available = available?;
    for name in ["cpuset", "cpu", "io", "memory", "pids"] {
        check!(available.split_whitespace().any(|have| have == name), "no {name}, only {available}");
    }
    Ok(())
}

/// Writing there takes a lock of all cgroups: a process is born where it belongs.
fn run_and_exec_write_no_procs(t: &Test) -> Outcome {
    if !t.runtime.is_ours() {
        return skip("others do");
    }
    t.needs_strace()?;
    let traced = |name: &str, args: &[&str]| -> Outcome {
        let prefix = t.folder.join(format!("trace-{name}"));
        let strace = trace::strace(&prefix);
        let before: Vec<&str> = strace.iter().map(String::as_str).collect();
        let output = t.finish(t.command(&before, args))?;
        check_eq!(output.code, 0, "{name}: {}", output.stderr);
        let threads = trace::read(&prefix)?;
        let calls = || threads.iter().flat_map(|thread| &thread.calls);
        let born = calls().any(|call| call.name == "clone3" && call.rest.contains("CLONE_INTO_CGROUP"));
        check!(born, "{name}: nothing is born in a cgroup");
        let writes = |call: &&trace::Call| {
            let opened = call.name.starts_with("open") && call.rest.contains("cgroup.procs");
            opened && (call.rest.contains("O_WRONLY") || call.rest.contains("O_RDWR"))
        };
        let written = calls().find(writes);
        check!(written.is_none(), "{name}: {written:?}");
        Ok(())
    };
    let bundle = limited(t, json!({ "pids": { "limit": 50 } }))?.probe(&["exit", "0"]);
    traced("run", &["run", "--bundle", &bundle.saved()?, &t.id])?;
    t.sleeper(bundle)?;
    let outcome = traced("exec", &["exec", &t.id, "/probe", "exit", "0"]);
    t.delete()?;
    outcome
}

/// As an init system or another runtime in the container does: itself to a leaf, the rest divided.
const INNER: &str = "cd /sys/fs/cgroup && mkdir init work && echo 1 >init/cgroup.procs && \
                     echo '+memory +pids' >cgroup.subtree_control; exec sleep 600";

/// A container that has divided its own cgroup.
fn inner(t: &Test) -> Outcome {
    let mut bundle = limited(t, json!({}))?;
    t.busybox(&bundle, &["sh", "mkdir", "sleep", "cat"])?;
    bundle.namespace("cgroup", "");
    bundle.drop_mount("/sys/fs/cgroup");
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "rw"]);
    bundle.set("/process/args", json!(["/bin/sh", "-c", INNER]));
    t.start(&bundle)?;
    t.wait_for("a divided cgroup", || t.cgroup_file("", "work/memory.max").is_some())
}

/// The container's own cgroup has processes no more, and takes none (EBUSY).
fn inner_tree_takes_exec(t: &Test) -> Outcome {
    inner(t)?;
    let output = t.rt(&["exec", &t.id, "/bin/sh", "-c", "cat /proc/self/cgroup"])?;
    let frozen = t.rt(&["pause", &t.id])?;
    let status = t.state()?["status"].clone();
    t.ok(&["resume", &t.id])?;
    t.delete()?;
    check_eq!((output.code, output.stdout.as_str()), (0, "0::/init\n"), "exec: {}", output.stderr);
    check_eq!((frozen.code, &status), (0, &json!("paused")), "pause: {}", frozen.stderr);
    Ok(())
}

fn inner_tree_is_removed(t: &Test) -> Outcome {
    inner(t)?;
    t.ok(&["kill", &t.id, "KILL"])?;
    t.wait_status("stopped")?;
    t.ok(&["delete", &t.id])?;
    check!(!t.cgroup("").exists(), "the cgroup is left");
    Ok(())
}

fn starts_in_half_a_mebibyte(t: &Test) -> Outcome {
    if !t.runtime.is_ours() {
        return skip("others need more");
    }
    let mut bundle = limited(t, json!({ "memory": { "limit": 524_288, "swap": 524_288 } }))?;
    t.busybox(&bundle, &["echo"])?;
    bundle.set("/process/args", json!(["/bin/echo", "there"]));
    check_eq!(t.run_ok(&bundle)?, "there\n", "output");
    Ok(())
}

fn too_little_to_start_is_told(t: &Test) -> Outcome {
    if !t.runtime.is_ours() {
        return skip("others say it in other words");
    }
    for limit in [4096, 65_536] {
        let said =
            t.run_refused(&limited(t, json!({ "memory": { "limit": limit, "swap": limit } }))?, "memory limit")?;
        // Kernels before 5.19 keep no peak.
        let peak = if super::kernel::release()? >= (5, 19) { ", peak " } else { "" };
        check!(said.contains(&format!("limit {limit} bytes{peak}")), "no limit or no peak: {said}");
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}

/// One write for all, forks included.
fn killed_by_the_kernels_own_switch(t: &Test) -> Outcome {
    let mut bundle = limited(t, json!({}))?;
    bundle.drop_namespace("pid");
    t.start(&bundle.probe(&["spawn-sleeper", "stay"]))?;
    t.wait_for("two processes", || crate::leak::processes(&t.id).len() >= 2)?;
    t.delete()?;
    check!(crate::leak::processes(&t.id).is_empty(), "processes are left");
    Ok(())
}

/// The machine's own root filesystem as a container's, with what is written kept apart.
struct Overlay<'a>(&'a Path);

impl<'a> Overlay<'a> {
    fn over(root: &'a Path, folder: &Path) -> Outcome<Self> {
        let [upper, work] = ["upper", "work"].map(|name| folder.join("overlay").join(name));
        fs::create_dir_all(&upper)?;
        fs::create_dir_all(&work)?;
        let options = format!("lowerdir=/,upperdir={},workdir={}", upper.display(), work.display());
        nix::mount::mount(
            Some("overlay"),
            root,
            Some("overlay"),
            nix::mount::MsFlags::empty(),
            Some(options.as_str()),
        )?;
        Ok(Self(root))
    }
}

impl Drop for Overlay<'_> {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

const CAPABILITIES: &str = "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_KILL CAP_MKNOD CAP_NET_ADMIN CAP_SETGID \
                            CAP_SETUID CAP_SETPCAP CAP_SYS_ADMIN CAP_SYS_CHROOT CAP_AUDIT_WRITE CAP_SETFCAP CAP_NET_BIND_SERVICE";

/// systemd as the first process, with a cgroup of its own to divide.
fn with_systemd(t: &Test) -> Outcome<Bundle> {
    let mut bundle = limited(t, json!({ "memory": { "limit": 536_870_912 }, "pids": { "limit": 200 } }))?;
    bundle.namespace("cgroup", "");
    bundle.drop_mount("/sys/fs/cgroup");
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "rw"]);
    for at in ["/run", "/tmp"] {
        bundle.mount(at, "tmpfs", "tmpfs", &["nosuid", "nodev", "mode=755"]);
    }
    bundle.remove("/linux/maskedPaths");
    bundle.remove("/linux/readonlyPaths");
    let all: Vec<&str> = CAPABILITIES.split(' ').collect();
    let caps = json!({ "bounding": all, "effective": all, "permitted": all });
    Ok(bundle
        .with("/root/readonly", json!(false))
        .with("/process/noNewPrivileges", json!(false))
        .with("/process/capabilities", caps)
        .with("/process/env", json!(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "container=oci"]))
        // Not the units that a machine for tests starts on its own.
        .with("/process/args", json!(["/lib/systemd/systemd", "--unit=sysinit.target"])))
}

/// systemd moves to init.scope and divides the rest.
fn systemd_inside_takes_exec(t: &Test) -> Outcome {
    t.cgroups_v2()?;
    if !crate::machine::disposable() || !Path::new("/lib/systemd/systemd").exists() {
        return skip("the container's systemd is that of a machine made for the tests");
    }
    let bundle = with_systemd(t)?;
    let root = bundle.rootfs();
    let overlay = Overlay::over(&root, &t.folder)?;
    t.start(&bundle)?;
    // Looked at from outside: a process of ours in the cgroup itself would keep systemd from dividing it.
    let divided = || t.cgroup_file("", "cgroup.subtree_control").is_some_and(|list| list.contains("memory"));
    let settled = (0..3).map(|_| t.wait_for("systemd to divide its cgroup", divided)).find(Result::is_ok);
    let inside = t.rt(&["exec", &t.id, "/bin/cat", "/proc/self/cgroup"]);
    let ask = || t.rt(&["exec", &t.id, "/bin/systemctl", "show", "--property=Version"]);
    let asked = t.wait_for("systemd to answer", || ask().is_ok_and(|output| output.stdout.starts_with("Version=")));
    let own = t.cgroup_file("", "cgroup.procs");
    t.delete()?;
    drop(overlay);
    check!(settled.is_some(), "systemd has not divided its cgroup");
    let inside = inside?;
    check_eq!((inside.code, inside.stdout.as_str()), (0, "0::/init.scope\n"), "exec: {}", inside.stderr);
    asked?;
    check_eq!(own.as_deref(), Some(""), "processes in the divided cgroup itself");
    check!(!t.cgroup("").exists(), "the cgroup is left");
    Ok(())
}
