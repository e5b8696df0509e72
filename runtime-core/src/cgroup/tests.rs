//! Against the real kernel: cgroups of our own beneath the machine's hierarchies, and a private version 2 view.
//! They need root, and pass without doing anything elsewhere.

use std::fs::{self, File};
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::spec::Resources;

const SOON: Duration = Duration::from_secs(10);

/// A cgroup path of our own that is removed at the end, whatever happens.
struct Own {
    placement: Placement,
    children: Vec<Child>,
}

impl Own {
    fn new(layout: &Layout) -> Own {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = format!("/rt-test-{}-{next}/box", std::process::id());
        Own { placement: place(layout, Some(&path), "x").expect("placement"), children: Vec::new() }
    }

    fn create(&self, json: &str) -> Result<Cgroup> {
        let resources: Resources = serde_json::from_str(json).expect(json);
        let writes = writes(&self.placement, &resources).expect("writes");
        let devices = devices(&self.placement, resources.devices.as_deref(), false).expect("devices");
        Cgroup::create(&self.placement, &writes, &devices)
    }

    /// Starts a shell in the cgroup: it waits for a line, enters are done by then.
    fn run(&mut self, script: &str) -> i32 {
        let mut command = Command::new("sh");
        let script = format!("read go; {script}");
        command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("sh");
        for place in &self.placement.dirs {
            fs::write(format!("{}/cgroup.procs", place.absolute()), child.id().to_string()).expect("enter");
        }
        child.stdin.take().expect("stdin").write_all(b"go\n").expect("go");
        let pid = child.id().cast_signed();
        self.children.push(child);
        pid
    }

    fn text(&self, file: &str) -> String {
        let controller = file.split('.').next().expect("controller");
        let place = &self.placement.dirs[self.placement.of(controller).expect(file)];
        fs::read_to_string(format!("{}/{file}", place.absolute())).expect(file).trim().to_owned()
    }

    fn reap(&mut self) {
        for child in &mut self.children {
            child.wait().expect("wait");
        }
        self.children.clear();
    }

    /// True if no directory of ours is left in any hierarchy, the ones above included.
    fn traces(&self) -> Vec<String> {
        let above = self.placement.dirs.iter().map(|p| format!("{}/{}", p.mount, p.split().0));
        above.filter(|path| fs::metadata(path).is_ok()).collect()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Ok(cgroup) = Cgroup::open(&self.placement) {
            let _ = cgroup.kill_all();
            for child in &mut self.children {
                let _ = child.kill();
                let _ = child.wait();
            }
            let _ = cgroup.remove(SOON);
        }
        for place in &self.placement.dirs {
            let _ = fs::remove_dir(format!("{}/{}", place.mount, place.split().0));
        }
    }
}

fn layout() -> Option<Layout> {
    let layout = crate::host::cgroup::probe(true).expect("probe");
    // Elsewhere there is nothing to test against.
    (nix::unistd::geteuid().is_root() && layout.mode != Mode::None).then_some(layout)
}

/// True if the controller can be used where the tests put their cgroups.
fn has(layout: &Layout, controller: &str) -> bool {
    layout.hierarchies.iter().any(|h| h.controllers.iter().any(|c| c == controller)) || {
        let v2 = layout.hierarchies.iter().find(|h| h.v2);
        v2.is_some_and(|h| {
            let list = fs::read_to_string(format!("{}/cgroup.controllers", h.mount)).unwrap_or_default();
            list.split_whitespace().any(|c| c == controller)
        })
    }
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn limits_are_what_the_kernel_reads_back() {
    let Some(layout) = layout() else { return };
    if layout.mode == Mode::V2 || !["memory", "pids", "cpu", "cpuset"].iter().all(|c| has(&layout, c)) {
        return;
    }
    let own = Own::new(&layout);
    let json = r#"{"memory":{"limit":104857600,"swap":209715200,"reservation":52428800},
        "pids":{"limit":77},"cpu":{"shares":512,"quota":50000,"period":100000,"cpus":"0"}}"#;
    let cgroup = own.create(json).expect("create");
    assert_eq!(own.text("memory.limit_in_bytes"), "104857600");
    assert_eq!(own.text("memory.memsw.limit_in_bytes"), "209715200");
    assert_eq!(own.text("memory.soft_limit_in_bytes"), "52428800");
    assert_eq!(own.text("pids.max"), "77");
    assert_eq!(own.text("cpu.shares"), "512");
    assert_eq!(own.text("cpu.cfs_quota_us"), "50000");
    assert_eq!(own.text("cpuset.cpus"), "0");
    assert_ne!(own.text("cpuset.mems"), "", "taken from the parent");
    assert!(own.text("devices.list").lines().any(|line| line == "c 1:3 rwm"));
    assert!(!own.text("devices.list").contains("a *:*"));

    // Old and new values limit each other, whichever way they move.
    for (limit, swap, quota, period, burst) in
        [(419_430_400_i64, 838_860_800_i64, 900_000, 1_000_000, 1000), (20_971_520, 20_971_520, 2000, 5000, 0)]
    {
        let json = format!(
            r#"{{"memory":{{"limit":{limit},"swap":{swap}}},"cpu":{{"quota":{quota},"period":{period},"burst":{burst}}}}}"#
        );
        let resources: Resources = serde_json::from_str(&json).expect("json");
        cgroup.change(&writes(&own.placement, &resources).expect("writes")).expect("update");
        assert_eq!(own.text("memory.limit_in_bytes"), limit.to_string());
        assert_eq!(own.text("memory.memsw.limit_in_bytes"), swap.to_string());
        assert_eq!(own.text("cpu.cfs_quota_us"), quota.to_string());
        assert_eq!(own.text("cpu.cfs_period_us"), period.to_string());
    }
    a_refused_change_is_taken_back(&own, &cgroup);
    cgroup.undo(&own.placement);
    assert_eq!(own.traces(), [""; 0]);
}

fn a_refused_change_is_taken_back(own: &Own, cgroup: &Cgroup) {
    let files = ["pids.max", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "cpu.shares", "cpuset.cpus"];
    let before = files.map(|file| own.text(file));
    // The last of them does not exist.
    let json =
        r#"{"pids":{"limit":5},"memory":{"limit":419430400,"swap":838860800},"cpu":{"shares":99,"cpus":"0-999"}}"#;
    let resources: Resources = serde_json::from_str(json).expect("json");
    let error = cgroup.change(&writes(&own.placement, &resources).expect("writes")).expect_err("no such processor");
    assert_eq!(error.pointer(), Some("/linux/resources/cpu/cpus"), "{error}");
    assert_eq!(error.hint(), None, "{error}");
    assert_eq!(files.map(|file| own.text(file)), before);
}

#[test]
fn a_failed_create_leaves_nothing() {
    let Some(layout) = layout() else { return };
    let own = Own::new(&layout);
    let mut bad = vec![Write { file: "no.such".into(), value: "1".into(), pointer: "/p".into(), ..Write::default() }];
    let error = Cgroup::create(&own.placement, &bad, &Devices::None).expect_err("no such file");
    assert_eq!((error.errno(), error.pointer()), (Some(libc::ENOENT), Some("/p")));
    assert_eq!(own.traces(), [""; 0]);
    bad[0].rule = Rule::IfPresent;
    let cgroup = Cgroup::create(&own.placement, &bad, &Devices::None).expect("ignored");
    cgroup.remove(SOON).expect("remove");
}

#[test]
fn processes_are_found_frozen_killed_and_removed() {
    let Some(layout) = layout() else { return };
    life(&mut Own::new(&layout));
    if let Some(v1) = version_1(layout) {
        life(&mut Own::new(&v1));
    }
}

/// The same host without version 2, where killing goes pid by pid.
fn version_1(mut layout: Layout) -> Option<Layout> {
    layout.hierarchies.retain(|hierarchy| !hierarchy.v2);
    layout.mode = Mode::V1;
    (!layout.hierarchies.is_empty()).then_some(layout)
}

fn life(own: &mut Own) {
    let mut cgroup = own.create("{}").expect("create");
    let entry = cgroup.entry().expect("entry");
    let v2 = own.placement.dirs.iter().filter(|place| place.v2).count();
    assert_eq!(usize::from(entry.v2.is_some()), v2);
    assert_eq!(entry.v1_tasks.len(), own.placement.dirs.len() - v2);
    assert_eq!(cgroup.unified_procs().expect("procs").is_some(), v2 == 1);
    assert!(cgroup.pids().expect("pids").is_empty());

    let pid = own.run("while :; do :; done");
    assert_eq!(cgroup.pids().expect("pids"), [pid]);
    let error = own.create("{}").expect_err("occupied");
    assert!(error.to_string().contains("container's cgroup is not empty: 1 process(es) found"), "{error}");
    assert!(!own.traces().is_empty(), "the refusal must not remove what it found");

    assert!(!cgroup.is_frozen().expect("state"));
    cgroup.freeze(SOON).expect("freeze");
    assert!(cgroup.is_frozen().expect("state"));
    cgroup.thaw(SOON).expect("thaw");
    assert!(!cgroup.is_frozen().expect("state"));

    let error = cgroup.remove(Duration::from_millis(20)).expect_err("alive");
    assert!(error.to_string().contains(&pid.to_string()), "{error}");
    assert_eq!(cgroup.pids().expect("pids"), [pid], "a refused removal kills nobody");

    // Frozen processes, also in a cgroup below that is frozen on its own, die as well.
    let nested = nested_frozen(own);
    cgroup.freeze(SOON).expect("freeze");
    assert_eq!(cgroup.pids().expect("pids").len(), 2);
    cgroup.kill_all().expect("kill");
    own.reap();
    cgroup.remove(SOON).expect("remove");
    assert!(fs::metadata(nested).is_err());
    cgroup.remove(SOON).expect("remove again");
    cgroup.kill_all().expect("kill again");
    assert!(!cgroup.is_frozen().expect("gone"));
    let again = Cgroup::open(&own.placement).expect("open");
    assert!(again.is_gone());
    again.remove(SOON).expect("nothing to remove");
}

/// A second process in a frozen cgroup below; returns its path.
fn nested_frozen(own: &mut Own) -> String {
    let pid = own.run("exec sleep 1000");
    let freezer = own.placement.dirs.iter().find(|p| p.controllers.iter().any(|c| c == "freezer"));
    let freezer = freezer.or_else(|| own.placement.dirs.iter().find(|p| p.v2)).expect("freezer");
    let below = format!("{}/below", freezer.absolute());
    fs::create_dir(&below).expect("mkdir");
    fs::write(format!("{below}/cgroup.procs"), pid.to_string()).expect("enter");
    let (file, value) = if freezer.v2 { ("cgroup.freeze", "1") } else { ("freezer.state", "FROZEN") };
    fs::write(format!("{below}/{file}"), value).expect("freeze");
    below
}

#[test]
fn statistics_count_what_happens() {
    let Some(layout) = layout() else { return };
    count(&mut Own::new(&layout));
    if let Some(v1) = version_1(layout) {
        count(&mut Own::new(&v1));
    }
}

/// Two tasks, one of them busy, one that took memory; a refused fork.
fn count(own: &mut Own) {
    let limited = own.placement.mode != Mode::V2;
    let json = if limited { r#"{"pids":{"limit":3},"memory":{"limit":67108864}}"# } else { "{}" };
    let cgroup = own.create(json).expect("create");
    let before = cgroup.stats().expect("stats");
    assert_eq!(before.cpu.map(|cpu| cpu.total), Some(0));
    own.run("while :; do :; done");
    own.run("x=$(head -c 4000000 /dev/zero | tr '\\0' x); (sleep 1000 & sleep 1000 & sleep 1000); sleep 1000");
    let cpu = || cgroup.stats().expect("stats").cpu.expect("cpu");
    wait_until("time is counted", || cpu().total > 20_000_000 && cpu().user > 0);
    assert!(cpu().total >= before.cpuset.map_or(0, |_| 1));
    if limited {
        let pids = || cgroup.stats().expect("stats").pids.expect("pids");
        wait_until("a fork is refused", || pids().refused > 0);
        assert_eq!(pids().limit, Some(3));
        assert!((1..=3).contains(&pids().current), "{:?}", pids());
        let memory = cgroup.stats().expect("stats").memory.expect("memory");
        assert_eq!(memory.usage.limit, Some(67_108_864));
        assert!(memory.usage.usage > 0 && memory.usage.peak.expect("peak") >= memory.usage.usage, "{memory:?}");
        assert!(memory.raw.contains_key("pgfault"), "{memory:?}");
        assert_eq!(memory.oom, stats::OomStats::default());
    }
    let all = cgroup.stats().expect("stats");
    assert!(serde_json::to_value(&all).expect("json")["cpu"]["total"].as_u64() > Some(0));
    cgroup.kill_all().expect("kill");
    own.reap();
    cgroup.remove(SOON).expect("remove");
}

#[test]
fn oom_kills_are_counted() {
    let Some(layout) = layout() else { return };
    if !has(&layout, "memory") {
        return;
    }
    let mut own = Own::new(&layout);
    let cgroup = own.create(r#"{"memory":{"limit":16777216,"swap":16777216}}"#).expect("create");
    own.run("head -c 100000000 /dev/zero | tail -c 90000000 | wc -c; exec sleep 1000");
    wait_until("the limit kills", || cgroup.stats().expect("stats").memory.expect("memory").oom.kills > 0);
    let memory = cgroup.stats().expect("stats").memory.expect("memory");
    assert!(memory.usage.peak.is_some_and(|peak| peak >= 16_000_000), "{memory:?}");
    cgroup.kill_all().expect("kill");
    own.reap();
    cgroup.remove(SOON).expect("remove");
}

#[test]
fn a_frozen_cgroup_is_refused() {
    let Some(layout) = layout() else { return };
    let own = Own::new(&layout);
    let cgroup = own.create("{}").expect("create");
    cgroup.freeze(SOON).expect("freeze an empty one");
    let error = own.create("{}").expect_err("frozen");
    assert!(error.to_string().contains("container's cgroup unexpectedly frozen"), "{error}");
    cgroup.thaw(SOON).expect("thaw");
    own.create("{}").expect("thawed").remove(SOON).expect("remove");
}

#[test]
fn a_fork_bomb_dies() {
    let Some(layout) = layout() else { return };
    if !has(&layout, "pids") {
        return;
    }
    for layout in [Some(layout.clone()), version_1(layout)].into_iter().flatten() {
        let mut own = Own::new(&layout);
        let cgroup = own.create(r#"{"pids":{"limit":200}}"#).expect("create");
        // At the limit a shell that cannot fork gives up; the sleepers do not.
        own.run("i=0; while [ $i -lt 60 ]; do sleep 1000 & i=$((i+1)); done; f() { while :; do f & done; }; f");
        wait_until("the bomb grows", || cgroup.pids().is_ok_and(|pids| pids.len() > 50));
        cgroup.kill_all().expect("kill");
        own.reap();
        cgroup.remove(SOON).expect("remove");
    }
}

#[test]
fn ways_into_a_cgroup_below() {
    let Some(layout) = layout() else { return };
    let own = Own::new(&layout);
    let cgroup = own.create("{}").expect("create");
    for place in &own.placement.dirs {
        fs::create_dir(format!("{}/sub", place.absolute())).expect("mkdir");
        fs::create_dir(format!("{}-suffix", place.absolute())).expect("mkdir");
    }
    let all = own.placement.dirs.len();
    for path in ["", "/", "sub", "/sub/", "sub/.."] {
        let below = cgroup.below(&[("", path)]).expect(path);
        let entry = below.entry();
        assert_eq!(entry.v1_tasks.len() + usize::from(entry.v2.is_some()), all, "{path}");
    }
    for path in ["..", "../box", "../box-suffix", "sub/../..", "/../box-suffix", "nosuch"] {
        assert!(cgroup.below(&[("", path)]).is_err(), "{path}");
    }
    assert!(cgroup.below(&[("nosuch", "sub")]).is_err());
    if let Some(controller) = own.placement.dirs.iter().find_map(|p| p.controllers.first()) {
        let below = cgroup.below(&[(controller, "sub")]).expect("one controller");
        let mut file = below.entry().v1_tasks[0].try_clone_to_owned().map(File::from).expect("fd");
        let mut child = Command::new("sleep").arg("1000").spawn().expect("sleep");
        file.write_all(child.id().to_string().as_bytes()).expect("enter");
        let entered = fs::read_to_string(format!("/proc/{}/cgroup", child.id())).expect("cgroup");
        child.kill().expect("kill");
        child.wait().expect("wait");
        assert_eq!(entered.lines().filter(|line| line.ends_with("/box/sub")).count(), 1, "{entered}");
    }
    for place in &own.placement.dirs {
        fs::remove_dir(format!("{}-suffix", place.absolute())).expect("rmdir");
    }
    cgroup.remove(SOON).expect("remove");
}

#[test]
fn a_recorded_path_cannot_climb() {
    let dirs = vec![Place { mount: "/sys/fs/cgroup".into(), path: "a/../../x".into(), ..Place::default() }];
    let placement = Placement { mode: Mode::V2, dirs };
    assert_eq!(Cgroup::open(&placement).expect_err("unsound").kind(), ErrorKind::BadState);
    let dirs = vec![Place { mount: "/tmp".into(), path: "x".into(), v2: true, ..Place::default() }];
    let placement = Placement { mode: Mode::V2, dirs };
    assert!(Cgroup::create(&placement, &[], &Devices::None).is_err(), "not a cgroup file system");
    assert!(fs::metadata("/tmp/x/cgroup.procs").is_err());
}

#[test]
fn version_1_devices_are_denied() {
    let Some(layout) = layout() else { return };
    if layout.mode != Mode::V2 && has(&layout, "devices") {
        device_rules(&mut Own::new(&layout));
    }
}

/// /dev/full is allowed by default, /dev/kmsg (1:11) is not; a rule for it allows reading only.
fn device_rules(own: &mut Own) {
    for (json, wanted) in
        [("{}", "no no"), (r#"{"devices":[{"allow":true,"type":"c","major":1,"minor":11,"access":"r"}]}"#, "yes no")]
    {
        let cgroup = own.create(json).expect("create");
        let out = std::env::temp_dir().join(format!("rt-test-devices-{}", std::process::id()));
        let script = format!(
            "r=no; w=no; (: </dev/kmsg) && r=yes; (: >>/dev/kmsg) && w=yes; (: </dev/full) || r=broken; echo $r $w >{}",
            out.display()
        );
        own.run(&script);
        own.reap();
        assert_eq!(fs::read_to_string(&out).expect("result").trim(), wanted, "{json}");
        fs::remove_file(out).expect("remove");
        cgroup.remove(SOON).expect("remove");
    }
}

/// Runs the tests named `inner_…` in a mount namespace where /sys/fs/cgroup is version 2 alone.
#[test]
fn version_2_in_a_private_view() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let view = "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec \"$0\" \"$@\"";
    let own = std::env::current_exe().expect("exe");
    let inner = Command::new("unshare")
        .args(["-m", "sh", "-c", view])
        .arg(own)
        .args(["--ignored", "--exact", "cgroup::tests::inner_version_2"])
        .output()
        .expect("unshare");
    let out = String::from_utf8_lossy(&inner.stdout);
    assert!(inner.status.success() && out.contains("1 passed"), "{out}");
}

#[test]
#[ignore = "runs inside version_2_in_a_private_view"]
fn inner_version_2() {
    let layout = crate::host::cgroup::probe(true).expect("probe");
    assert_eq!(layout.mode, Mode::V2);
    assert_eq!(crate::host::cgroup::probe(false).expect("probe").hierarchies[0].own, None);
    life(&mut Own::new(&layout));
    count(&mut Own::new(&layout));
    delegation(&Own::new(&layout));
    device_rules(&mut Own::new(&layout));
    if has(&layout, "hugetlb") {
        let own = Own::new(&layout);
        let json =
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}],"unified":{"hugetlb.1GB.max":"1073741824"}}"#;
        let cgroup = own.create(json).expect("create");
        assert_eq!(own.text("hugetlb.2MB.max"), "4194304");
        assert_eq!(own.text("hugetlb.2MB.rsvd.max"), "4194304");
        assert_eq!(own.text("hugetlb.1GB.max"), "1073741824");
        cgroup.undo(&own.placement);
        assert_eq!(own.traces(), [""; 0]);
        let error = own.create(r#"{"hugepageLimits":[{"pageSize":"3MB","limit":1}]}"#).expect_err("no such size");
        assert!(error.hint().is_some_and(|hint| hint.contains("page size")), "{error}");
    }
    let own = Own::new(&layout);
    let error = own.create(r#"{"unified":{"nosuch.max":"1"}}"#).expect_err("no such controller");
    assert!(error.to_string().contains("can't be set: controller \"nosuch\" not available"), "{error}");
    assert_eq!(own.traces(), [""; 0]);
    threaded_parent(&layout);
}

/// The directory and what the kernel lists change hands; limits do not.
fn delegation(own: &Own) {
    use std::os::unix::fs::MetadataExt;
    let cgroup = own.create("{}").expect("create");
    cgroup.delegate(4711).expect("delegate");
    let owner = |file: &str| fs::metadata(format!("{}/{file}", own.placement.dirs[0].absolute())).expect("file").uid();
    for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
        assert_eq!(owner(file), 4711, "{file}");
    }
    for file in ["cgroup.max.depth", "cgroup.freeze", "cgroup.type"] {
        assert_eq!(owner(file), 0, "{file}");
    }
    cgroup.undo(&own.placement);
}

/// Below a cgroup that a sibling made threaded, a container fits only without controllers of whole processes.
fn threaded_parent(layout: &Layout) {
    let own = Own::new(layout);
    let above = format!("{}/{}", own.placement.dirs[0].mount, own.placement.dirs[0].split().0);
    fs::create_dir_all(format!("{above}/sibling")).expect("mkdir");
    fs::write(format!("{above}/sibling/cgroup.type"), "threaded").expect("threaded");
    let cgroup = own.create("{}").expect("create");
    assert_eq!(own.text("cgroup.type"), "threaded");
    cgroup.remove(SOON).expect("remove");
    let json = r#"{"unified":{"hugetlb.2MB.max":"0"}}"#;
    let error = own.create(json).expect_err("a domain controller").to_string();
    assert!(error.contains("with domain controllers -- it is in"), "{error}");
    fs::remove_dir(format!("{above}/sibling")).expect("rmdir");
}
