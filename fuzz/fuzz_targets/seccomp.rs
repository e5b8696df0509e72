//! Any profile compiles or has problems, never a panic; what compiles is a program the kernel takes, and it
//! decides as the profile reads (`explain`).
//!
//! Bytes that start with `{` are a profile as JSON, others the choices of one that is made from them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runtime_core::seccomp::{ACTIONS, Arch, OPERATORS, Outcome, compile, explain};
use runtime_core::spec::{Seccomp, SyscallArg, SyscallRule};

#[allow(dead_code)]
#[path = "../../runtime-core/src/seccomp/tests/machine.rs"]
mod machine;
use machine::{Call, Machine};

const NAMES: &[&str] = &[
    "read", "write", "socket", "accept", "bind", "semop", "shmat", "socketcall", "ipc", "clone", "clone3", "personality",
    "openat2", "mmap", "mmap2", "futex_waitv", "arch_prctl", "set_tls", "no_such_call", "kexec_load", "file_setattr", "",
];
const VALUES: &[u64] =
    &[0, 1, 2, 5, 40, 0x7e02_0000, 0x8000_0000, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0005, 1 << 63, u64::MAX];

/// Choices out of bytes; zeroes once they are used up.
struct Choices<'a>(std::slice::Iter<'a, u8>);

impl Choices<'_> {
    fn below(&mut self, end: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % end
    }

    fn pick<'b, T>(&mut self, of: &'b [T]) -> &'b T {
        &of[self.below(of.len())]
    }

    fn value(&mut self) -> u64 {
        if self.below(4) > 0 { *self.pick(VALUES) } else { self.below(256) as u64 }
    }

    fn errno(&mut self) -> Option<u32> {
        (self.below(3) == 1).then(|| self.below(256) as u32 * 20)
    }

    fn arg(&mut self) -> SyscallArg {
        SyscallArg {
            index: self.below(7) as u32,
            value: self.value(),
            value_two: self.value(),
            op: Some((*self.pick(OPERATORS)).to_owned()),
        }
    }

    fn rule(&mut self) -> SyscallRule {
        SyscallRule {
            names: Some((0..1 + self.below(3)).map(|_| (*self.pick(NAMES)).to_owned()).collect()),
            action: Some((*self.pick(ACTIONS)).to_owned()),
            errno_ret: self.errno(),
            args: Some((0..self.below(4)).map(|_| self.arg()).collect()),
        }
    }

    fn profile(&mut self) -> Seccomp {
        Seccomp {
            default_action: Some((*self.pick(ACTIONS)).to_owned()),
            default_errno_ret: self.errno(),
            architectures: Some((0..self.below(4)).map(|_| self.pick(Arch::ALL).name().to_owned()).collect()),
            listener_path: Some("/agent".to_owned()),
            syscalls: Some((0..self.below(12)).map(|_| self.rule()).collect()),
            ..Seccomp::default()
        }
    }
}

/// The return value behind an outcome.
fn value(outcome: &Outcome) -> u32 {
    let data = outcome.errno.unwrap_or(0);
    match outcome.action {
        "SCMP_ACT_KILL_PROCESS" => 0x8000_0000,
        "SCMP_ACT_TRAP" => 0x0003_0000,
        "SCMP_ACT_ERRNO" => 0x0005_0000 | data,
        "SCMP_ACT_NOTIFY" => 0x7fc0_0000,
        "SCMP_ACT_TRACE" => 0x7ff0_0000 | data,
        "SCMP_ACT_LOG" => 0x7ffc_0000,
        "SCMP_ACT_ALLOW" => 0x7fff_0000,
        _ => 0,
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices(bytes.iter());
    let profile = match bytes.first() {
        Some(b'{') => match serde_json::from_slice(bytes) {
            Ok(profile) => profile,
            Err(_) => return,
        },
        _ => choices.profile(),
    };
    let native = *choices.pick(Arch::ALL);
    let filter = match compile(&profile, native) {
        Ok(filter) => filter,
        Err(problems) => return assert!(!problems.is_empty(), "an error names a problem"),
    };
    let machine = Machine::new(&filter.bytes(), native.is_big_endian());
    let mut args = [0; 6];
    args.fill_with(|| choices.value());
    for name in NAMES {
        for explained in explain(&profile, native, name, &args).into_iter().flatten() {
            let Some(nr) = explained.number else { continue };
            let arch = Arch::from_name(explained.architecture).expect("a name of ours").audit();
            let [outcome] = explained.outcomes.as_slice() else { panic!("all arguments are known: {explained}") };
            assert_eq!(machine.run(&Call { nr, arch, args }), value(outcome), "{explained}: {args:x?}");
        }
    }
});
