//! Random plans survive; random bytes harm nobody. Every run has a new seed, which a failure shows.

use super::check::{compare, reads, survives_with};
use super::*;
use crate::plan::{
    Affinity, CapabilitySets, DeviceNode, Hooks, IdMaps, InRoot, Join, Keyring, Labels, Limit, LinkNode, Masks,
    MemoryPolicy, Namespaces, NetDevice, Origins, Program, Propagation, RootPlan, Scheduler, Slot, Sysctl, Terminal,
    UserIds,
};

/// xorshift64*: enough to vary tests.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn coin(&mut self) -> bool {
        self.next() >> 63 == 1
    }

    /// Small, or anything at all.
    fn number(&mut self) -> u64 {
        if self.coin() { self.below(16) } else { self.next() }
    }

    fn small(&mut self) -> u32 {
        self.number() as u32
    }

    fn text(&mut self) -> String {
        const LETTERS: [char; 12] = ['a', 'Z', '/', '.', ' ', '=', '\n', '"', 'é', '€', '🦀', '\u{1}'];
        let length = if self.below(50) == 0 { self.below(5000) } else { self.below(12) };
        (0..length).map(|_| LETTERS[self.below(12) as usize]).collect()
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let length = if self.below(50) == 0 { self.below(300) } else { self.below(4) };
        (0..length).map(|_| item(self)).collect()
    }

    fn maybe<T>(&mut self, item: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.coin().then(|| item(self))
    }

    fn slot(&mut self) -> Slot {
        Slot(self.number() as u16)
    }

    fn source(&mut self) -> Source {
        match self.below(4) {
            0 => Source::Slot(self.slot()),
            1 => Source::Path(self.text()),
            2 => Source::Container { path: InRoot(self.text()), idmap: None },
            _ => Source::Cgroup { place: self.below(4) as usize, path: self.text(), own: self.text() },
        }
    }

    /// What a cgroup is no source for.
    fn host(&mut self) -> Source {
        if self.coin() { Source::Slot(self.slot()) } else { Source::Path(self.text()) }
    }

    fn hook(&mut self) -> Hook {
        Hook {
            path: self.text(),
            args: self.list(Self::text),
            env: self.list(Self::text),
            timeout: self.maybe(Self::small),
        }
    }

    fn scheduler(&mut self) -> Scheduler {
        Scheduler {
            policy: self.small(),
            flags: self.number(),
            nice: self.small() as i32,
            priority: self.small(),
            runtime: self.number(),
            deadline: self.number(),
            period: self.number(),
        }
    }

    fn kind(&mut self) -> Kind {
        Kind::ALL[self.below(8) as usize].0
    }

    fn propagation(&mut self) -> Propagation {
        Propagation(1 << (17 + self.below(4)) | if self.coin() { 1 << 14 } else { 0 })
    }

    fn mount(&mut self) -> MountStep {
        let kind = match self.below(4) {
            0 => MountKind::Filesystem {
                fstype: self.text(),
                source: self.text(),
                options: self.list(|r| (r.text(), r.text())),
                or_bind: self.maybe(Self::source),
            },
            1 => MountKind::Bind { source: self.source(), recursive: self.coin() },
            2 => MountKind::Remount { options: self.list(|r| (r.text(), r.text())) },
            _ => MountKind::Link(self.text()),
        };
        MountStep {
            kind,
            target: InRoot(self.text()),
            set: self.number(),
            clear: self.number(),
            relax: self.number(),
            all_set: self.number(),
            all_clear: self.number(),
            propagation: self.list(Self::propagation),
            ordinary_directory: self.coin(),
            readonly_late: self.coin(),
            keep_mode: self.coin(),
            procfs_root: self.coin(),
            source_itself: self.coin(),
            target_itself: self.coin(),
            copy_link: self.coin(),
            copy_up: self.coin(),
            label: self.maybe(Self::text),
        }
    }

    fn device(&mut self) -> DeviceNode {
        DeviceNode {
            path: InRoot(self.text()),
            source: if self.coin() { DeviceSource::Node } else { DeviceSource::Bind(self.host()) },
            mode: self.small(),
            major: self.small(),
            minor: self.small(),
            uid: self.small(),
            gid: self.small(),
        }
    }

    fn filter(&mut self) -> crate::seccomp::Filter {
        let names = &["read", "write", "execve", "clone3"][..1 + self.below(4) as usize];
        let profile = serde_json::json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" }],
        });
        let profile = serde_json::from_value(profile).expect("a profile");
        crate::seccomp::compile(&profile, crate::seccomp::Arch::native()).expect("a filter")
    }

    fn plan(&mut self) -> Plan {
        Plan {
            exec: self.below(2) == 0,
            slots: Vec::new(),
            cgroup: None,
            rdt: None,
            namespaces: Namespaces {
                clone: self.list(Self::kind),
                join: self.list(|r| Join { kind: r.kind(), slot: r.slot() }),
                unshare: self.list(Self::kind),
                fork: self.coin(),
                maps: self.maybe(|_| IdMaps::default()),
                joined_maps: None,
                loopback: self.coin(),
            },
            time_offsets: self.maybe(Self::text),
            proc: self.maybe(Self::slot),
            keyring: self.maybe(|r| Keyring { name: format!("_{}", r.text()), permissions: r.small() }),
            root: RootPlan {
                path: self.text(),
                source: self.host(),
                while_preparing: self.propagation(),
                tree: self.list(Self::propagation),
                binds: self.maybe(Self::propagation),
                hidden: self.list(Self::text),
                propagation: self.maybe(Self::propagation),
                readonly: self.coin(),
                no_pivot: self.coin(),
                shared: self.coin(),
            },
            mounts: self.list(Self::mount),
            devices: self.list(Self::device),
            links: self.list(|r| LinkNode { path: InRoot(r.text()), target: r.text(), replace: r.coin() }),
            terminal: self.maybe(|r| Terminal { rows: r.number() as u16, columns: r.number() as u16 }),
            hostname: self.maybe(Self::text),
            domainname: self.maybe(Self::text),
            sysctls: self.list(|r| Sysctl { name: r.text(), path: r.text(), value: r.text(), kind: r.kind() }),
            net_devices: self.list(|r| NetDevice { host: r.text(), name: r.text() }),
            labels: Labels { apparmor: self.maybe(Self::text), selinux: self.maybe(Self::text) },
            masks: Masks {
                readonly: self.list(|r| InRoot(r.text())),
                masked: self.list(|r| InRoot(r.text())),
                null: self.maybe(Self::host),
                label: self.maybe(Self::text),
            },
            hooks: Hooks {
                host: self.list(|r| (HookKind::ALL[r.below(2) as usize], 0, r.hook())),
                create_container: self.list(Self::hook),
                start_container: self.list(Self::hook),
                bundle: self.text(),
                id: self.text(),
                annotations: self.list(|r| (r.text(), r.text())).into_iter().collect(),
            },
            program: Program {
                args: self.list(Self::text),
                env: self.list(Self::text),
                home: self.coin(),
                cwd: self.text(),
                umask: self.small(),
                candidates: self.list(Self::text),
                from_path: self.coin(),
                preserve_fds: self.small(),
            },
            user: UserIds {
                uid: self.small(),
                gid: self.small(),
                groups: self.list(Self::small),
                keep_groups: self.coin(),
                set_up: [self.small(), self.small()],
            },
            capabilities: self.maybe(|r| CapabilitySets {
                bounding: r.number(),
                effective: r.number(),
                permitted: r.number(),
                inheritable: r.number(),
                ambient: r.number(),
            }),
            no_new_privileges: self.coin(),
            personality: self.maybe(Self::small),
            memory_policy: self.maybe(|r| MemoryPolicy { mode: r.small(), nodes: r.list(Self::number) }),
            affinity: Affinity { initial: self.list(Self::number), last: self.list(Self::number) },
            scheduler: self.maybe(Self::scheduler),
            io_priority: self.maybe(Self::small),
            rlimits: self.list(|r| Limit { resource: r.small(), soft: r.number(), hard: r.number() }),
            oom_score_adj: None,
            seccomp: self.maybe(Self::filter),
            listener: None,
            reported: None,
            warnings: Vec::new(),
            origins: Origins::default(),
        }
    }

    fn extra(&mut self) -> Extra {
        Extra {
            stdio: [(); 3].map(|()| self.maybe(Self::small)),
            preserved: self.list(Self::small),
            tasks: self.list(Self::small),
            gate: self.maybe(Self::small),
            status: self.maybe(Self::small),
            cgroups: self.list(Self::coin),
            root_is_slave: false,
        }
    }
}

fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_nanos() as u64;
    (0..count).map(move |n| (now ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1)
}

fn with_seed(seed: u64, body: impl FnOnce(Random) + std::panic::UnwindSafe) {
    std::panic::catch_unwind(|| body(Random(seed))).unwrap_or_else(|_| panic!("seed {seed:#x}"));
}

#[test]
fn random_plans_survive() {
    for seed in seeds(500) {
        with_seed(seed, |mut random| survives_with(&random.plan(), &random.extra()));
    }
}

#[test]
fn random_bytes_are_read_or_refused() {
    let mut good = 0;
    for seed in seeds(300) {
        with_seed(seed, |mut random| {
            let bytes: Vec<u8> = (0..random.below(4000)).map(|_| random.next() as u8).collect();
            reads(&bytes);
            let magic = wire::MAGIC.to_le_bytes();
            reads(&[magic.as_slice(), &bytes].concat());
        });
    }
    // Nearly right is where the mistakes are: a real plan with a few bytes or its end changed.
    for seed in seeds(300) {
        let mut random = Random(seed);
        let bytes = encode(&random.plan(), &random.extra()).bytes;
        for _ in 0..20 {
            let mut broken = bytes.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(broken.len() as u64) as usize;
                broken[at] = if random.coin() { random.next() as u8 } else { 0xff };
            }
            broken.truncate(broken.len() - if random.coin() { random.below(64) as usize } else { 0 });
            good += u32::from(reads(&broken));
        }
    }
    assert!(good > 0, "changes that do not matter are among them");
}

/// The comparison can fail: one difference in each section is seen.
#[test]
fn a_difference_is_seen() {
    let mut random = Random(7);
    let (mut plan, extra) = (random.plan(), random.extra());
    plan.mounts.push(random.mount());
    let bytes = encode(&plan, &extra).bytes;
    compare(&plan, &extra, &bytes);
    let changes: [fn(&mut Plan); 8] = [
        |plan| plan.user.uid ^= 1,
        |plan| plan.namespaces.loopback ^= true,
        |plan| plan.mounts[0].all_clear ^= 1 << 63,
        |plan| plan.program.env.insert(0, "A=1".into()),
        |plan| plan.masks.masked.push(InRoot("x".into())),
        |plan| plan.personality = Some(plan.personality.map_or(1, |domain| domain ^ 1)),
        |plan| plan.labels.selinux = Some("another".into()),
        |plan| plan.root.source = Source::Path("elsewhere".into()),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut other = plan.clone();
        change(&mut other);
        let same = std::panic::catch_unwind(|| compare(&other, &extra, &bytes));
        assert!(same.is_err(), "change {index}");
    }
    assert!(!reads(&bytes[..Header::SIZE - 1]));
    assert!(!reads(&[]));
}

fn golden(name: &str) -> Vec<Vec<u8>> {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    let read = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read(entry.expect("entry").path()).expect("file");
    std::fs::read_dir(path).expect(name).map(read).collect()
}

/// Plans `config` on every golden host; how often that was possible.
fn plan_everywhere(config: &[u8]) -> usize {
    let Ok(spec) = crate::spec::parse(config) else { return 0 };
    let request = crate::plan::Request { id: "demo".into(), bundle: "/b".into(), ..Default::default() };
    let plan = |facts: Vec<u8>| {
        let facts = serde_json::from_slice(&facts).expect("facts");
        crate::plan::plan(&spec, &facts, &request).inspect(super::check::survives).is_ok()
    };
    golden("hosts").into_iter().filter(|facts| plan(facts.clone())).count()
}

/// The plans of real configs: no NUL inside a text either, which the kernel would end there.
#[test]
fn golden_plans_survive() {
    let plans: usize = golden("configs").iter().map(|config| plan_everywhere(config)).sum();
    assert!(plans >= 36, "{plans}");
}

/// A small fuzzer for those who have none: real configs with one value exchanged, anywhere. The result is a plan that
/// survives, or a refusal; never a panic.
#[test]
fn changed_configs_are_planned_or_refused() {
    let configs: Vec<serde_json::Value> =
        golden("configs").iter().filter_map(|config| serde_json::from_slice(config).ok()).collect();
    let mut planned = 0;
    for seed in seeds(150) {
        let mut random = Random(seed);
        let mut config = configs[random.below(configs.len() as u64) as usize].clone();
        for _ in 0..=random.below(3) {
            let count = count(&config);
            let at = random.below(count as u64) as usize;
            let value = random.json();
            exchange(&mut config, &mut { at }, value);
        }
        let text = serde_json::to_vec(&config).expect("JSON");
        let result = std::panic::catch_unwind(|| plan_everywhere(&text));
        planned += result.unwrap_or_else(|_| panic!("seed {seed:#x}: {}", String::from_utf8_lossy(&text)));
    }
    assert!(planned > 0);
}

impl Random {
    fn json(&mut self) -> serde_json::Value {
        use serde_json::json;
        const WORDS: [&str; 14] = [
            "",
            "/",
            "..",
            "/proc",
            "ro",
            "a=b",
            "\0",
            "/x\0y",
            "bind",
            "tmpfs",
            "c",
            "SCMP_ACT_ALLOW",
            "user",
            "/a/../../b",
        ];
        match self.below(9) {
            0 => json!(null),
            1 => json!(self.coin()),
            2 => json!(self.number()),
            3 => json!(-(self.below(1 << 40) as i64)),
            4 => json!([]),
            5 => json!({}),
            6 => json!([WORDS[self.below(14) as usize]]),
            7 => json!(self.text()),
            _ => json!(WORDS[self.below(14) as usize]),
        }
    }
}

fn count(value: &serde_json::Value) -> usize {
    1 + match value {
        serde_json::Value::Array(items) => items.iter().map(count).sum(),
        serde_json::Value::Object(members) => members.values().map(count).sum::<usize>(),
        _ => 0,
    }
}

/// Puts `new` in place of the value that comes `at`th, in the order of the document.
fn exchange(value: &mut serde_json::Value, at: &mut usize, new: serde_json::Value) -> bool {
    if *at == 0 {
        *value = new;
        return true;
    }
    *at -= 1;
    match value {
        serde_json::Value::Array(items) => items.iter_mut().any(|item| exchange(item, at, new.clone())),
        serde_json::Value::Object(members) => members.values_mut().any(|member| exchange(member, at, new.clone())),
        _ => false,
    }
}
