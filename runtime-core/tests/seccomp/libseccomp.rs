//! The compiler against libseccomp, which runc and crun use: same profile, same decisions.
//!
//! libseccomp is asked through a C program; where it cannot be built the tests say so and pass. What runc does around
//! it (rules equal to the default skipped, repeated arguments split, the ENOSYS stub) is repeated here.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

#[path = "../../src/seccomp/tests/machine.rs"]
mod machine;
#[path = "../../src/seccomp/tests/oracle.rs"]
mod oracle;
#[path = "scmp.rs"]
mod scmp;

/// The oracle's view of the crate, from outside: libseccomp's numbers in place of ours.
mod spec {
    pub use runtime_core::spec::{SyscallArg, SyscallRule};
}
mod table {
    use runtime_core::seccomp::Arch;

    pub fn find(name: &str) -> Option<&str> {
        Some(name)
    }

    pub fn number(arch: Arch, name: &str) -> Option<u32> {
        super::SCMP.get()?.as_ref()?.number(arch, name)
    }
}

static SCMP: OnceLock<Option<Scmp>> = OnceLock::new();

use std::io::Write as _;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use machine::{Call, Machine, Random};
use runtime_core::seccomp::{Arch, compile};
use runtime_core::spec::{Seccomp, SyscallArg, SyscallRule};
use scmp::Scmp;

const DOCKER: &str = include_str!("../data/seccomp-docker.json");
/// Numbers from here on are younger than the oldest libseccomp this is run with.
const YOUNG: u32 = 450;
const ERRNO_NOSYS: u32 = 0x0005_0026;
const X32: u32 = 0x4000_0000;

/// libseccomp, or the news that there is none: on the real standard error, which the harness does not swallow.
fn libseccomp(test: &str) -> Option<&'static Scmp> {
    let found = SCMP.get_or_init(Scmp::load).as_ref();
    if found.is_none() {
        skipped(test, "no cc or no libseccomp-dev");
    }
    found
}

/// Says that nothing was tested; an error where the caller wants everything tested.
fn skipped(test: &str, why: &str) {
    assert!(std::env::var_os("RUNTIME_TEST_ALL").is_none(), "{test}: {why}");
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}

/// Both programs, and what runc puts before libseccomp's.
struct Pair {
    ours: Machine,
    theirs: Machine,
    /// By architecture of the profile: the largest number it names, where the default refuses.
    largest: Vec<(Arch, u32)>,
}

/// Both programs, or why libseccomp has none.
fn pair(scmp: &Scmp, profile: &Seccomp, native: Arch) -> Result<Pair, i32> {
    let theirs = scmp.compile(profile, native)?;
    let filter = compile(profile, native).unwrap_or_else(|problems| panic!("{problems:?}\n{profile:?}"));
    let big = native.is_big_endian();
    let default = scmp::action(profile.default_action.as_deref().unwrap(), profile.default_errno_ret);
    let mut largest = Vec::new();
    if !matches!(default >> 16, 0x7fff | 0x7ffc | 0x7ff0) {
        for arch in arches(profile, native) {
            let names = || profile.syscalls.iter().flatten().flat_map(|rule| rule.names.iter().flatten());
            scmp.learn(arch, names().map(String::as_str));
            let base = if arch == Arch::X32 { X32 } else { 0 };
            // Where we are stricter than runc: ARM's private numbers do not make every number known.
            let number = |name: &String| scmp.number(arch, name).filter(|nr| nr & !base < 0x000f_0000);
            largest.extend(names().filter_map(number).max().filter(|&nr| nr > base).map(|nr| (arch, nr)));
        }
    }
    Ok(Pair { ours: Machine::new(&filter.bytes(), big), theirs: Machine::new(&theirs, big), largest })
}

impl Pair {
    /// What libseccomp's program says, with runc's ENOSYS stub before it.
    fn expected(&self, call: &Call) -> u32 {
        let x32 = call.arch == Arch::X32.audit() && call.nr & X32 != 0;
        let same =
            |arch: Arch| arch.audit() == call.arch && (arch.audit() != Arch::X32.audit() || (arch == Arch::X32) == x32);
        if let Some(&(arch, largest)) = self.largest.iter().find(|(arch, _)| same(*arch)) {
            let private = arch == Arch::Arm && call.nr >> 16 == 0xf;
            let setup = call.nr == 0 && matches!(arch, Arch::S390 | Arch::S390x);
            if call.nr > largest && !private || setup {
                return ERRNO_NOSYS;
            }
        }
        self.theirs.run(call)
    }
}

fn arches(profile: &Seccomp, native: Arch) -> Vec<Arch> {
    let listed = profile.architectures.iter().flatten().map(|name| Arch::from_name(name).unwrap());
    std::iter::once(native).chain(listed).collect()
}

fn same(pair: &Pair, profile: &Seccomp, native: Arch, call: &Call) {
    let expected = pair.expected(call);
    let found = pair.ours.run(call);
    assert_eq!(
        found,
        expected,
        "{found:#x} is not libseccomp's {expected:#x}: {call:x?}, native {native:?}\n{}",
        serde_json::to_string(profile).unwrap()
    );
}

/// Docker's profile without what libseccomp is too old to know.
fn docker(scmp: &Scmp) -> Seccomp {
    known(scmp, serde_json::from_str(DOCKER).unwrap())
}

/// A profile without the calls that libseccomp is too old to know.
fn known(scmp: &Scmp, mut profile: Seccomp) -> Seccomp {
    for rule in profile.syscalls.iter_mut().flatten() {
        rule.names.as_mut().unwrap().retain(|name| scmp.knows(name));
    }
    profile.syscalls.as_mut().unwrap().retain(|rule| !rule.names.as_ref().unwrap().is_empty());
    profile
}

const PATTERNS: &[[u64; 6]] = &[
    [0; 6],
    [1; 6],
    [8; 6],
    [16; 6],
    [40; 6],
    [0x20000; 6],
    [0x20008; 6],
    [0xffff_ffff; 6],
    [u64::MAX; 6],
    [0x0100_0011; 6],
    [0x1000_0000; 6],
    [0x1_0000_0028; 6],
    [0x1_0000_0000; 6],
    [5; 6],
    [17; 6],
];

#[test]
fn docker_default_profile() {
    let Some(scmp) = libseccomp("docker") else { return };
    let profile = docker(scmp);
    let pair = pair(scmp, &profile, Arch::X86_64).unwrap();
    let mut compared = 0;
    for arch in [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64] {
        let base = if arch == Arch::X32 { 0x4000_0000 } else { 0 };
        for nr in (0..YOUNG).chain([600, 1000, 0x3fff_ffff]) {
            for args in PATTERNS {
                same(&pair, &profile, Arch::X86_64, &Call { nr: base + nr, arch: arch.audit(), args: *args });
                compared += 1;
            }
        }
    }
    println!(
        "{compared} decisions on Docker's profile are libseccomp's; {} instructions, libseccomp {}",
        pair.ours.len(),
        pair.theirs.len()
    );
}

/// Docker's profile alone on each architecture libseccomp knows, every number, and its own syscall table.
#[test]
fn docker_on_every_architecture() {
    let Some(scmp) = libseccomp("everywhere") else { return };
    let mut report = Vec::new();
    for &arch in Arch::ALL {
        let profile = Seccomp { architectures: None, ..docker(scmp) };
        let Ok(pair) = pair(scmp, &profile, arch) else {
            report.push(format!("{arch:?} unknown to libseccomp"));
            continue;
        };
        let base = match arch {
            Arch::X32 => 0x4000_0000,
            Arch::Mips | Arch::Mipsel => 4000,
            Arch::Mips64 | Arch::Mipsel64 => 5000,
            Arch::Mips64n32 | Arch::Mipsel64n32 => 6000,
            _ => 0,
        };
        let mut differing = Vec::new();
        for nr in 0..YOUNG {
            for args in PATTERNS {
                let call = Call { nr: base + nr, arch: arch.audit(), args: *args };
                if pair.ours.run(&call) != pair.expected(&call) {
                    differing.push(nr);
                    break;
                }
            }
        }
        report.push(format!("{arch:?} {} (libseccomp {})", pair.ours.len(), pair.theirs.len()));
        let known = scmp::KNOWN_DIFFERENCES.iter().find(|(of, _)| *of == arch).map_or(&[][..], |(_, numbers)| numbers);
        assert_eq!(differing, known, "{arch:?}");
    }
    println!("instructions: {}", report.join(", "));
}

/// The profiles of Docker, Podman and containerd as their engines resolve them: every number of every
/// architecture of each, with all argument patterns.
#[test]
fn default_profiles_of_the_engines() {
    let Some(scmp) = libseccomp("engines") else { return };
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/seccomp-profiles");
    let Ok(files) = std::fs::read_dir(&directory) else {
        return skipped("engines", "no target/seccomp-profiles: run scripts/seccomp-profiles.py");
    };
    let mut compared = 0;
    let mut report = Vec::new();
    for file in files.map(|file| file.unwrap().path()) {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let profile = known(scmp, serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap());
        let native = if name.contains("arm64") { Arch::Aarch64 } else { Arch::X86_64 };
        let pair = pair(scmp, &profile, native).unwrap_or_else(|errno| panic!("{name}: errno {errno}"));
        for arch in Arch::ALL.iter().copied().filter(|arch| arch.is_big_endian() == native.is_big_endian()) {
            let base = if arch == Arch::X32 { 0x4000_0000 } else { 0 };
            for nr in (0..YOUNG).chain([600, 1000, 0x3fff_ffff]) {
                for args in PATTERNS {
                    same(&pair, &profile, native, &Call { nr: base + nr, arch: arch.audit(), args: *args });
                    compared += 1;
                }
            }
        }
        report.push(format!("{name} {} (libseccomp {})", pair.ours.len(), pair.theirs.len()));
    }
    report.sort();
    let _ = writeln!(std::io::stderr(), "{compared} decisions are libseccomp's; instructions: {}", report.join(", "));
}

const NAMES: &[&str] = &[
    "read",
    "write",
    "open",
    "close",
    "socket",
    "accept",
    "bind",
    "sendmmsg",
    "semop",
    "shmat",
    "msgget",
    "clone",
    "clone3",
    "personality",
    "openat2",
    "mmap",
    "mmap2",
    "rt_sigaction",
    "arch_prctl",
    "exit_group",
    "close_range",
    "execve",
    "kexec_load",
    "ptrace",
    "no_such_call",
    "getdents64",
    "_llseek",
    "renameat2",
];
const VALUES: &[u64] = &[
    0,
    1,
    2,
    5,
    7,
    40,
    0xff,
    0x7e02_0000,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0005,
    0x7_0000_0007,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_0000_0000,
    u64::MAX,
];

/// Profiles whose meaning does not depend on libseccomp's internal order: several rules of one call share
/// one action, or are told apart by different values of one argument.
fn random_profile(random: &mut Random, native: Arch) -> Seccomp {
    let default = *random.pick(&["ERRNO", "KILL", "KILL_PROCESS", "TRAP", "ALLOW", "LOG", "TRACE"]);
    let others: &[Arch] = match native {
        Arch::X86_64 => &[Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm],
        Arch::S390x => &[Arch::S390],
        Arch::Aarch64 => &[Arch::Arm],
        _ => &[],
    };
    let listed = others.iter().filter(|_| random.chance(50)).map(|arch| arch.name().to_owned()).collect();
    // The largest number on every architecture: runc's stub does not see calls behind a multiplexer.
    let mut rules = vec![random_rule(random, "futex_waitv", default, Vec::new())];
    for &name in NAMES {
        match random.below(4) {
            0 => {}
            1 => rules.push(random_rule(random, name, default, Vec::new())),
            2 => {
                let args = random_args(random);
                let rule = random_rule(random, name, default, args);
                for _ in 0..random.below(3) {
                    rules.push(SyscallRule { args: Some(random_args(random)), ..rule.clone() });
                }
                rules.push(rule);
            }
            _ => {
                let index = random.below(3) as u32;
                for value in [3, 0x5_0000_0004, 9] {
                    let arg = SyscallArg { index, value, value_two: 0, op: Some("SCMP_CMP_EQ".into()) };
                    rules.push(random_rule(random, name, default, vec![arg]));
                }
            }
        }
    }
    Seccomp {
        default_action: Some(format!("SCMP_ACT_{default}")),
        architectures: Some(listed),
        syscalls: Some(rules),
        listener_path: Some("/run/agent".into()),
        ..Seccomp::default()
    }
}

fn random_rule(random: &mut Random, name: &str, default: &str, args: Vec<SyscallArg>) -> SyscallRule {
    let action = loop {
        let action = *random.pick(&["ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "TRAP", "LOG", "TRACE"]);
        if action != default {
            break action;
        }
    };
    let errno = matches!(action, "ERRNO" | "TRACE").then(|| random.below(40) as u32);
    SyscallRule {
        names: Some(vec![name.to_owned()]),
        action: Some(format!("SCMP_ACT_{action}")),
        errno_ret: errno,
        args: Some(args),
    }
}

fn random_args(random: &mut Random) -> Vec<SyscallArg> {
    let op = |random: &mut Random| *random.pick(&["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]);
    let arg = |random: &mut Random| SyscallArg {
        index: random.below(4) as u32,
        value: *random.pick(VALUES),
        value_two: *random.pick(VALUES),
        op: Some(format!("SCMP_CMP_{}", op(random))),
    };
    (0..1 + random.below(3)).map(|_| arg(random)).collect()
}

/// libseccomp does not go back from a test that failed: of several rules on one call that compare one
/// argument by order or mask, it may miss a later one that matches (docs/seccomp.md). Nothing else excuses
/// a difference, and then the plain reading of the profile must be ours.
fn explain(scmp: &Scmp, pair: &Pair, profile: &Seccomp, native: Arch, call: &Call) {
    let (ours, plain) = (pair.ours.run(call), oracle::evaluate(profile, native, call));
    let say = || format!("{call:x?}, native {native:?}\n{}", serde_json::to_string(profile).unwrap());
    assert_eq!(ours, plain, "not what the profile says; libseccomp: {:#x}; {}", pair.expected(call), say());
    let arch = arch_of(call);
    let is = |name: &String| scmp.number(arch, name).is_none_or(|nr| nr == call.nr);
    let named = |rule: &&SyscallRule| rule.names.iter().flatten().any(is);
    let args = profile.syscalls.iter().flatten().filter(named).flat_map(|rule| rule.args.iter().flatten());
    let vague = args.filter(|arg| arg.op.as_deref() != Some("SCMP_CMP_EQ")).count();
    assert!(vague >= 1, "no reason for libseccomp to differ ({:#x} not {ours:#x}): {}", pair.expected(call), say());
}

fn arch_of(call: &Call) -> Arch {
    let x32 = call.arch == Arch::X32.audit() && call.nr & X32 != 0;
    if x32 {
        return Arch::X32;
    }
    *Arch::ALL.iter().find(|arch| arch.audit() == call.arch && **arch != Arch::X32).unwrap()
}

#[test]
fn random_profiles() {
    let Some(scmp) = libseccomp("random") else { return };
    let rounds: usize = std::env::var("SECCOMP_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    let mut random = Random(0x1ee7_c0de);
    let (mut compared, mut differ, mut refused) = (0, 0, 0);
    for _ in 0..rounds {
        let native = *random.pick(&[
            Arch::X86_64,
            Arch::X86_64,
            Arch::X86_64,
            Arch::Aarch64,
            Arch::Riscv64,
            Arch::S390x,
            Arch::Ppc64le,
        ]);
        let profile = random_profile(&mut random, native);
        let Ok(pair) = pair(scmp, &profile, native) else {
            refused += 1;
            continue;
        };
        let conditions: Vec<SyscallArg> =
            profile.syscalls.iter().flatten().flat_map(|rule| rule.args.clone().unwrap_or_default()).collect();
        for _ in 0..400 {
            let arch = *random.pick(&arches(&profile, native));
            let nr = match random.below(8) {
                0 => random.below(YOUNG as usize) as u32,
                1 => 0x4000_0000 + random.below(YOUNG as usize) as u32,
                2 if native == Arch::X86_64 => u32::MAX,
                _ => scmp.number(arch, random.pick::<&str>(NAMES)).unwrap_or(102),
            };
            let value = |random: &mut Random| match random.below(3) {
                0 if !conditions.is_empty() => {
                    random.pick(&conditions).value.wrapping_add(random.below(3) as u64).wrapping_sub(1)
                }
                1 => random.below(25) as u64,
                _ => *random.pick(VALUES),
            };
            let call = Call { nr, arch: arch.audit(), args: std::array::from_fn(|_| value(&mut random)) };
            compared += 1;
            if pair.ours.run(&call) != pair.expected(&call) {
                differ += 1;
                explain(scmp, &pair, &profile, native, &call);
            }
        }
    }
    let _ = writeln!(
        std::io::stderr(),
        "{compared} decisions on random profiles: {differ} are libseccomp's errors, the rest is the same; it refused {refused} of {rounds} profiles"
    );
    assert!(refused < rounds * 3 / 4 && differ * 100 < compared);
}

/// Times for docs/seccomp.md: `cargo test --release --test seccomp_libseccomp -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn speed() {
    let profile: Seccomp = serde_json::from_str(DOCKER).unwrap();
    let mut times: Vec<Duration> = (0..300)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(compile(&profile, Arch::X86_64).unwrap());
            start.elapsed()
        })
        .collect();
    let first = times[0];
    println!("compile: first {first:?}, median {:?}", median(&mut times));
    let ours = compile(&profile, Arch::X86_64).unwrap().bytes();
    let Some(scmp) = libseccomp("speed") else { return };
    let docker = docker(scmp);
    let mut times: Vec<Duration> = (0..20)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(scmp.compile(&docker, Arch::X86_64).unwrap());
            start.elapsed()
        })
        .collect();
    println!("libseccomp, with a process of its own: median {:?}", median(&mut times));
    let theirs = scmp.compile(&docker, Arch::X86_64).unwrap();
    for round in 0..4 {
        // Taking turns: neither is always the first.
        for (name, program) in [("ours", &ours), ("libseccomp", &theirs)] {
            let mut times: Vec<Duration> = (0..60).map(|_| load(program)).collect();
            println!("round {round}: load of {name}, {} instructions: {:?}", program.len() / 8, median(&mut times));
        }
    }
    for (name, program) in [("ours", &ours), ("libseccomp", &theirs)] {
        let machine = Machine::new(program, false);
        for arch in [Arch::X86_64, Arch::X86, Arch::X32] {
            let base = if arch == Arch::X32 { X32 } else { 0 };
            let call = |nr: u32| Call { nr: base + nr, arch: arch.audit(), args: [0; 6] };
            let steps: Vec<usize> = (0..YOUNG).map(|nr| machine.trace(&call(nr)).1).collect();
            let sum: usize = steps.iter().sum();
            println!(
                "{name} {arch:?}: steps {} on average, {} at most",
                sum / steps.len(),
                steps.iter().max().unwrap()
            );
        }
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// What seccomp(2) takes to load the program, in a thread of its own.
fn load(bytes: &[u8]) -> Duration {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let program = libc::sock_fprog { len: (bytes.len() / 8) as u16, filter: bytes.as_ptr().cast_mut().cast() };
            // SAFETY: only this thread is changed; the program outlives the call.
            unsafe {
                assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
                let start = Instant::now();
                assert_eq!(libc::syscall(libc::SYS_seccomp, 1_u64, 0_u64, &raw const program), 0);
                start.elapsed()
            }
        });
        thread.join().unwrap()
    })
}
