//! What a profile means, said as plainly as possible and shared with nothing of the compiler but the
//! system call tables.

use super::*;
use crate::spec::{SyscallArg, SyscallRule};

const MUX: &[(&str, &[(&str, u64)])] = &[
    (
        "socketcall",
        &[
            ("socket", 1),
            ("bind", 2),
            ("connect", 3),
            ("listen", 4),
            ("accept", 5),
            ("getsockname", 6),
            ("getpeername", 7),
            ("socketpair", 8),
            ("send", 9),
            ("recv", 10),
            ("sendto", 11),
            ("recvfrom", 12),
            ("shutdown", 13),
            ("setsockopt", 14),
            ("getsockopt", 15),
            ("sendmsg", 16),
            ("recvmsg", 17),
            ("accept4", 18),
            ("recvmmsg", 19),
            ("sendmmsg", 20),
        ],
    ),
    (
        "ipc",
        &[
            ("semop", 1),
            ("semget", 2),
            ("semctl", 3),
            ("semtimedop", 4),
            ("msgsnd", 11),
            ("msgrcv", 12),
            ("msgget", 13),
            ("msgctl", 14),
            ("shmat", 21),
            ("shmdt", 22),
            ("shmget", 23),
            ("shmctl", 24),
        ],
    ),
];

pub fn action(name: &str, errno: Option<u32>) -> u32 {
    match name {
        "SCMP_ACT_ALLOW" => 0x7fff_0000,
        "SCMP_ACT_LOG" => 0x7ffc_0000,
        "SCMP_ACT_TRACE" => 0x7ff0_0000 | errno.unwrap_or(1),
        "SCMP_ACT_NOTIFY" => 0x7fc0_0000,
        "SCMP_ACT_ERRNO" => 0x0005_0000 | errno.unwrap_or(1),
        "SCMP_ACT_TRAP" => 0x0003_0000,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => 0,
        "SCMP_ACT_KILL_PROCESS" => 0x8000_0000,
        other => panic!("{other}"),
    }
}

fn number(arch: Arch, name: &str) -> Option<u32> {
    table::find(name).and_then(|name| table::number(arch, name))
}

/// The return value of the filter `profile` asks for.
pub fn evaluate(profile: &Seccomp, native: Arch, call: &Call) -> u32 {
    let listed = profile.architectures.iter().flatten().map(|name| Arch::from_name(name).unwrap());
    let mut arches: Vec<Arch> = listed.filter(|arch| arch.audit() == call.arch).collect();
    if native.audit() == call.arch {
        arches.push(native);
    }
    let default = action(profile.default_action.as_deref().unwrap(), profile.default_errno_ret);
    let is_x32 = call.arch == Arch::X32.audit() && call.nr >= 0x4000_0000;
    let arch = match arches.iter().find(|arch| call.arch != Arch::X32.audit() || (**arch == Arch::X32) == is_x32) {
        Some(&arch) => arch,
        None if is_x32 && call.nr == u32::MAX && !arches.is_empty() => return default,
        None => return 0,
    };
    if newer_than(profile, default, arch, call.nr) {
        return 0x0005_0000 | 38;
    }
    let rules = profile.syscalls.as_deref().unwrap_or_default();
    let effective = |rule: &&SyscallRule| action(rule.action.as_deref().unwrap(), rule.errno_ret) != default;
    let rules: Vec<&SyscallRule> = rules.iter().filter(effective).collect();
    decide(&rules, arch, call).unwrap_or(default)
}

fn newer_than(profile: &Seccomp, default: u32, arch: Arch, nr: u32) -> bool {
    if matches!(default >> 16, 0x7fff | 0x7ffc | 0x7ff0) {
        return false;
    }
    let names = profile.syscalls.iter().flatten().flat_map(|rule| rule.names.iter().flatten());
    let base = if arch == Arch::X32 { 0x4000_0000 } else { 0 };
    let through = |name: &str| MUX.iter().find(|(_, calls)| calls.iter().any(|(call, _)| *call == name));
    let numbers = |name: &String| [number(arch, name), through(name).and_then(|(name, _)| number(arch, name))];
    let named: Vec<u32> = names.flat_map(numbers).flatten().collect();
    let largest = named.iter().copied().filter(|nr| nr & !base < 0xf_0000).max().unwrap_or(base);
    let setup = nr == 0 && matches!(arch, Arch::S390 | Arch::S390x);
    largest > base && (setup || (nr > largest && !named.contains(&nr)))
}

fn decide(rules: &[&SyscallRule], arch: Arch, call: &Call) -> Option<u32> {
    let named = |name: &str| -> Vec<&SyscallRule> {
        rules.iter().copied().filter(|rule| rule.names.iter().flatten().any(|given| given == name)).collect()
    };
    let verdict = |rule: &SyscallRule| action(rule.action.as_deref().unwrap(), rule.errno_ret);
    let plain = |rule: &&&SyscallRule| rule.args.as_deref().unwrap_or_default().is_empty();
    // Multiplexed first: which calls does this one stand for?
    for (multiplexer, calls) in MUX {
        if number(arch, multiplexer) != Some(call.nr) {
            continue;
        }
        let own = named(multiplexer);
        if let Some(rule) = own.iter().find(plain) {
            return Some(verdict(rule));
        }
        if let Some(rule) = own.iter().find(|rule| matches(rule, arch, call, None)) {
            return Some(verdict(rule));
        }
        let which = if arch.is_wide() { call.args[0] } else { call.args[0] & 0xffff_ffff };
        let (called, _) = calls.iter().find(|(_, number)| *number == which)?;
        let rules = named(called);
        let first = rules.iter().find(plain).or_else(|| rules.iter().find(|rule| matches(rule, arch, call, Some(0))));
        return first.map(|rule| verdict(rule));
    }
    let mut called: Vec<&str> = rules.iter().flat_map(|rule| rule.names.iter().flatten().map(String::as_str)).collect();
    called.sort_unstable();
    called.dedup();
    // Two names of one number (arm_sync_file_range): the profiles here never use both.
    let name = called.into_iter().find(|name| number(arch, name) == Some(call.nr))?;
    let rules = named(name);
    let first = rules.iter().find(plain).or_else(|| rules.iter().find(|rule| matches(rule, arch, call, None)));
    first.map(|rule| verdict(rule))
}

fn matches(rule: &SyscallRule, arch: Arch, call: &Call, without: Option<u32>) -> bool {
    let args = rule.args.as_deref().unwrap_or_default();
    let mut indices: Vec<u32> = args.iter().map(|arg| arg.index).collect();
    indices.sort_unstable();
    indices.dedup();
    let mut holds = args.iter().map(|arg| without == Some(arg.index) || compare(arg, arch, call));
    if indices.len() == args.len() { holds.all(|holds| holds) } else { holds.any(|holds| holds) }
}

fn compare(arg: &SyscallArg, arch: Arch, call: &Call) -> bool {
    let width = if arch.is_wide() { u64::MAX } else { 0xffff_ffff };
    let given = call.args[arg.index as usize] & width;
    let value = arg.value & width;
    match arg.op.as_deref().unwrap() {
        "SCMP_CMP_NE" => given != value,
        "SCMP_CMP_LT" => given < value,
        "SCMP_CMP_LE" => given <= value,
        "SCMP_CMP_EQ" => given == value,
        "SCMP_CMP_GE" => given >= value,
        "SCMP_CMP_GT" => given > value,
        "SCMP_CMP_MASKED_EQ" => given & value == arg.value_two & value,
        other => panic!("{other}"),
    }
}
