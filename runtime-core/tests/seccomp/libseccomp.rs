//! The compiler against libseccomp, which runc and crun use: same profile, same decisions.
//!
//! libseccomp is asked through a C program; where it cannot be built the tests say so and pass. What runc does around
//! it (rules equal to the default skipped, repeated arguments split, the ENOSYS stub) is repeated here.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

#[path = "../../src/seccomp/tests/machine.rs"]
mod machine;
#[path = "scmp.rs"]
mod scmp;

use machine::{Call, Machine, Random};
use runtime_core::seccomp::{Arch, compile};
use runtime_core::spec::{Seccomp, SyscallArg, SyscallRule};
use scmp::Scmp;

const DOCKER: &str = include_str!("../data/seccomp-docker.json");
/// Numbers from here on are younger than the oldest libseccomp this is run with.
const YOUNG: u32 = 450;
const ERRNO_NOSYS: u32 = 0x0005_0026;

fn libseccomp(test: &str) -> Option<Scmp> {
    let found = Scmp::load(test);
    if found.is_none() {
        eprintln!("SKIPPED: no cc or no libseccomp-dev, nothing was compared");
    }
    found
}

/// What runc answers before libseccomp's program is asked.
fn stub(scmp: &Scmp, profile: &Seccomp, arches: &[Arch], call: &Call) -> Option<u32> {
    let default = scmp::action(profile.default_action.as_deref().unwrap(), profile.default_errno_ret);
    if matches!(default >> 16, 0x7fff | 0x7ffc | 0x7ff0) {
        return None;
    }
    let x32 = call.arch == Arch::X32.audit() && call.nr & 0x4000_0000 != 0;
    let same = |arch: &&Arch| arch.audit() == call.arch && (arch.audit() != Arch::X32.audit() || (**arch == Arch::X32) == x32);
    let arch = arches.iter().find(same)?;
    let names = profile.syscalls.iter().flatten().flat_map(|rule| rule.names.iter().flatten());
    let base = if x32 { 0x4000_0000 } else { 0 };
    let largest = names.filter_map(|name| scmp.number(*arch, name)).max()?;
    let setup = call.nr == 0 && matches!(arch, Arch::S390 | Arch::S390x);
    (largest > base && (call.nr > largest || setup)).then_some(ERRNO_NOSYS)
}

struct Pair {
    ours: Machine,
    theirs: Machine,
}

/// Both programs, or why libseccomp has none.
fn pair(scmp: &Scmp, profile: &Seccomp, native: Arch) -> Result<Pair, i32> {
    let theirs = scmp.compile(profile, native)?;
    let filter = compile(profile, native).unwrap_or_else(|problems| panic!("{problems:?}\n{profile:?}"));
    let big = native.is_big_endian();
    Ok(Pair { ours: Machine::new(&filter.bytes(), big), theirs: Machine::new(&theirs, big) })
}

fn arches(profile: &Seccomp, native: Arch) -> Vec<Arch> {
    let listed = profile.architectures.iter().flatten().map(|name| Arch::from_name(name).unwrap());
    std::iter::once(native).chain(listed).collect()
}

fn same(scmp: &Scmp, pair: &Pair, profile: &Seccomp, native: Arch, call: &Call) {
    let expected = stub(scmp, profile, &arches(profile, native), call).unwrap_or_else(|| pair.theirs.run(call));
    let found = pair.ours.run(call);
    assert_eq!(
        found, expected,
        "{found:#x} is not libseccomp's {expected:#x}: {call:x?}, native {native:?}\n{}",
        serde_json::to_string(profile).unwrap()
    );
}

/// Docker's profile without what libseccomp is too old to know.
fn docker(scmp: &Scmp) -> Seccomp {
    let mut profile: Seccomp = serde_json::from_str(DOCKER).unwrap();
    for rule in profile.syscalls.iter_mut().flatten() {
        rule.names.as_mut().unwrap().retain(|name| scmp.knows(name));
    }
    profile.syscalls.as_mut().unwrap().retain(|rule| !rule.names.as_ref().unwrap().is_empty());
    profile
}

const PATTERNS: &[[u64; 6]] = &[
    [0; 6], [1; 6], [8; 6], [16; 6], [40; 6], [0x20000; 6], [0x20008; 6], [0xffff_ffff; 6], [u64::MAX; 6],
    [0x0100_0011; 6], [0x1000_0000; 6], [0x1_0000_0028; 6], [0x1_0000_0000; 6], [5; 6], [17; 6],
];

#[test]
fn docker_default_profile() {
    let Some(scmp) = libseccomp("docker") else { return };
    let profile = docker(&scmp);
    let pair = pair(&scmp, &profile, Arch::X86_64).unwrap();
    let mut compared = 0;
    for arch in [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64] {
        let base = if arch == Arch::X32 { 0x4000_0000 } else { 0 };
        for nr in (0..YOUNG).chain([600, 1000, 0x3fff_ffff]) {
            for args in PATTERNS {
                same(&scmp, &pair, &profile, Arch::X86_64, &Call { nr: base + nr, arch: arch.audit(), args: *args });
                compared += 1;
            }
        }
    }
    eprintln!(
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
        let profile = Seccomp { architectures: None, ..docker(&scmp) };
        let Ok(pair) = pair(&scmp, &profile, arch) else {
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
                let expected = stub(&scmp, &profile, &[arch], &call).unwrap_or_else(|| pair.theirs.run(&call));
                if pair.ours.run(&call) != expected {
                    differing.push(nr);
                    break;
                }
            }
        }
        report.push(format!("{arch:?} {} (libseccomp {})", pair.ours.len(), pair.theirs.len()));
        let known = scmp::KNOWN_DIFFERENCES.iter().find(|(of, _)| *of == arch).map_or(&[][..], |(_, numbers)| numbers);
        assert_eq!(differing, known, "{arch:?}");
    }
    eprintln!("instructions: {}", report.join(", "));
}

const NAMES: &[&str] = &[
    "read", "write", "open", "close", "socket", "accept", "bind", "sendmmsg", "semop", "shmat", "msgget", "clone",
    "clone3", "personality", "openat2", "mmap", "mmap2", "rt_sigaction", "arch_prctl", "exit_group",
    "close_range", "execve", "kexec_load", "ptrace", "no_such_call", "getdents64", "_llseek", "renameat2",
];
const VALUES: &[u64] = &[
    0, 1, 2, 5, 7, 40, 0xff, 0x7e02_0000, 0x8000_0000, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0005, 0x7_0000_0007,
    0x7fff_ffff_ffff_ffff, 0xffff_ffff_0000_0000, u64::MAX,
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
                let rule = random_rule(random, name, default, random_args(random));
                for _ in 0..random.below(3) {
                    rules.push(SyscallRule { args: Some(random_args(random)), ..rule.clone() });
                }
                rules.push(rule);
            }
            _ => {
                let index = random.below(3) as u32;
                for value in [3, 0x5_0000_0003, 9] {
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

#[test]
fn random_profiles() {
    let Some(scmp) = libseccomp("random") else { return };
    let rounds: usize = std::env::var("SECCOMP_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let mut random = Random(0x1ee7_c0de);
    let (mut compared, mut refused) = (0, 0);
    for _ in 0..rounds {
        let native = *random.pick(&[Arch::X86_64, Arch::X86_64, Arch::X86_64, Arch::Aarch64, Arch::Riscv64, Arch::S390x, Arch::Ppc64le]);
        let profile = random_profile(&mut random, native);
        let Ok(pair) = pair(&scmp, &profile, native) else {
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
                0 if !conditions.is_empty() => random.pick(&conditions).value.wrapping_add(random.below(3) as u64).wrapping_sub(1),
                1 => random.below(25) as u64,
                _ => *random.pick(VALUES),
            };
            let call = Call { nr, arch: arch.audit(), args: std::array::from_fn(|_| value(&mut random)) };
            same(&scmp, &pair, &profile, native, &call);
            compared += 1;
        }
    }
    eprintln!("{compared} decisions on random profiles are libseccomp's; {refused} of {rounds} profiles it refused");
    assert!(refused < rounds / 2);
}

/// Times for docs/seccomp.md: `cargo test --release --test seccomp_libseccomp -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn speed() {
    let profile: Seccomp = serde_json::from_str(DOCKER).unwrap();
    let best = |times: usize, run: &mut dyn FnMut()| {
        let mut all: Vec<_> = (0..times)
            .map(|_| {
                let start = std::time::Instant::now();
                run();
                start.elapsed()
            })
            .collect();
        let first = all[0];
        all.sort();
        (first, all[times / 2])
    };
    let (cold, warm) = best(200, &mut || {
        std::hint::black_box(compile(&profile, Arch::X86_64).unwrap());
    });
    eprintln!("compile: first {cold:?}, median {warm:?}");
    if let Some(scmp) = libseccomp("speed") {
        let docker = docker(&scmp);
        let (cold, warm) = best(20, &mut || {
            std::hint::black_box(scmp.compile(&docker, Arch::X86_64).unwrap());
        });
        eprintln!("libseccomp: first {cold:?}, median {warm:?}");
    }
    let machine = Machine::new(&compile(&profile, Arch::X86_64).unwrap().bytes(), false);
    for arch in [Arch::X86_64, Arch::X86, Arch::X32] {
        let base = if arch == Arch::X32 { 0x4000_0000 } else { 0 };
        let steps: Vec<usize> =
            (0..YOUNG).map(|nr| machine.trace(&Call { nr: base + nr, arch: arch.audit(), args: [0; 6] }).1).collect();
        let sum: usize = steps.iter().sum();
        eprintln!("{arch:?}: steps {} on average, {} at most", sum / steps.len(), steps.iter().max().unwrap());
    }
}
