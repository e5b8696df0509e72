//! Random profiles: the program and the naive evaluator must agree on random calls.

use super::machine::Random;
use super::*;
use crate::spec::{SyscallArg, SyscallRule};

pub const VALUES: &[u64] = &[
    0,
    1,
    2,
    5,
    7,
    40,
    0xff,
    0x7e02_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0005,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_0000_0000,
    u64::MAX,
];
pub const NAMES: &[&str] = &[
    "read",
    "write",
    "open",
    "close",
    "socket",
    "accept",
    "bind",
    "semop",
    "shmat",
    "msgget",
    "socketcall",
    "ipc",
    "clone",
    "clone3",
    "personality",
    "openat2",
    "file_setattr",
    "mmap",
    "mmap2",
    "rt_sigaction",
    "futex_waitv",
    "arch_prctl",
    "exit_group",
    "set_tls",
    "no_such_call",
    "close_range",
    "execve",
    "kexec_load",
    "ptrace",
];

pub fn profile(random: &mut Random, native: Arch) -> Seccomp {
    let default = action(random, true);
    let same_order = |arch: &&Arch| arch.is_big_endian() == native.is_big_endian();
    let possible: Vec<Arch> = Arch::ALL.iter().filter(same_order).copied().collect();
    let architectures = (0..random.below(4)).map(|_| random.pick(&possible).name().to_owned()).collect();
    let most = if random.chance(10) { 60 } else { 8 };
    Seccomp {
        default_action: Some(default.0),
        default_errno_ret: default.1,
        architectures: random.chance(70).then_some(architectures),
        listener_path: Some("/run/agent".to_owned()),
        syscalls: Some((0..random.below(most)).map(|_| rule(random)).collect()),
        ..Seccomp::default()
    }
}

fn action(random: &mut Random, default: bool) -> (String, Option<u32>) {
    let name = loop {
        let name = *random.pick(ACTIONS);
        if name != "SCMP_ACT_NOTIFY" || !default {
            break name;
        }
    };
    let errno = matches!(name, "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE") && random.chance(50);
    (name.to_owned(), errno.then(|| random.below(50) as u32))
}

fn rule(random: &mut Random) -> SyscallRule {
    let (action, errno_ret) = action(random, false);
    let name = |random: &mut Random| loop {
        let name = *random.pick(NAMES);
        if action != "SCMP_ACT_NOTIFY" || name != "write" {
            return name.to_owned();
        }
    };
    let names = (0..1 + random.below(4)).map(|_| name(random)).collect();
    let args = random.chance(60).then(|| (0..random.below(4)).map(|_| condition(random)).collect());
    SyscallRule { names: Some(names), action: Some(action), errno_ret, args }
}

fn condition(random: &mut Random) -> SyscallArg {
    let most = if random.chance(70) { 2 } else { 6 };
    SyscallArg {
        index: random.below(most) as u32,
        value: value(random),
        value_two: value(random),
        op: Some((*random.pick(OPERATORS)).to_owned()),
    }
}

fn value(random: &mut Random) -> u64 {
    match random.below(10) {
        0 => random.next(),
        1 => random.next() >> 32,
        _ => *random.pick(VALUES),
    }
}

/// A call that is likely to be near something the profile says.
pub fn call(random: &mut Random, profile: &Seccomp, native: Arch) -> Call {
    let mut arch = native;
    let listed: Vec<&String> = profile.architectures.iter().flatten().collect();
    if !listed.is_empty() && random.chance(50) {
        arch = Arch::from_name(listed[random.below(listed.len())]).unwrap();
    } else if random.chance(10) {
        arch = *random.pick(Arch::ALL);
    }
    let nr = match random.below(10) {
        0 => random.below(600) as u32,
        1 => {
            *random.pick(&[u32::MAX, 0x4000_0000, 0x4000_0001, 0x8000_0000, 0x3fff_ffff, 472, 0, 0xf_0005, 0xffff_fffe])
        }
        2 => 0x4000_0000 | random.below(600) as u32,
        _ => table::find(random.pick::<&str>(NAMES)).and_then(|name| table::number(arch, name)).unwrap_or(3),
    };
    let near = |random: &mut Random| {
        let conditions: Vec<&SyscallArg> =
            profile.syscalls.iter().flatten().flat_map(|rule| rule.args.iter().flatten()).collect();
        match random.below(4) {
            0 if !conditions.is_empty() => {
                random.pick(&conditions).value.wrapping_add(random.below(3) as u64).wrapping_sub(1)
            }
            1 if !conditions.is_empty() => random.pick(&conditions).value_two,
            2 => random.below(25) as u64,
            _ => value(random),
        }
    };
    Call { nr, arch: arch.audit(), args: std::array::from_fn(|_| near(random)) }
}

#[test]
fn agrees_with_the_evaluator() {
    // More rounds: SECCOMP_ROUNDS=100000 cargo test.
    let rounds = std::env::var("SECCOMP_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3000);
    let seed = std::env::var("SECCOMP_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(0x5ecc_0411);
    let mut random = Random(seed);
    let mut verdicts = std::collections::BTreeMap::<u32, u32>::new();
    for round in 0..rounds {
        let native = if random.chance(60) { Arch::X86_64 } else { *random.pick(Arch::ALL) };
        let profile = profile(&mut random, native);
        let filter = compile(&profile, native).unwrap_or_else(|problems| panic!("{round}: {problems:?}\n{profile:?}"));
        assert_eq!(filter, compile(&profile, native).unwrap(), "not deterministic");
        let machine = Machine::new(&filter.bytes(), native.is_big_endian());
        for _ in 0..200 {
            let call = call(&mut random, &profile, native);
            let expected = oracle::evaluate(&profile, native, &call);
            let found = machine.run(&call);
            assert_eq!(
                found,
                expected,
                "round {round}: {found:#x} is not {expected:#x} for {call:x?}, native {native:?}\n{}",
                serde_json::to_string(&profile).unwrap()
            );
            *verdicts.entry(found >> 16).or_default() += 1;
        }
    }
    // Every action was seen, so the test can fail.
    assert!(verdicts.len() >= 8, "{verdicts:x?}");
}
