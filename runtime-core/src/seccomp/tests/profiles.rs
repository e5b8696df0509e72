//! Known profiles, decision by decision.

use super::*;

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;

fn docker() -> Seccomp {
    profile(include_str!("../../../tests/data/seccomp-docker.json"))
}

#[test]
fn docker_default() {
    let machine = machine(&docker(), Arch::X86_64);
    let mut longest = 0;
    for (arch, wide) in [(Arch::X86_64, true), (Arch::X86, false), (Arch::X32, false)] {
        let mut run = |name: &str, args: &[u64]| {
            let (verdict, steps) = machine.trace(&super::call(arch, name, args));
            longest = longest.max(steps);
            verdict
        };
        assert_eq!(run("read", &[]), ALLOW);
        assert_eq!(run("execve", &[]), ALLOW);
        assert_eq!(run("kexec_load", &[]), EPERM);
        assert_eq!(run("mount", &[]), EPERM);
        assert_eq!(run("clone3", &[]), ENOSYS);
        assert_eq!(run("clone", &[0x0100_0011]), ALLOW);
        assert_eq!(run("clone", &[0x1000_0011]), EPERM, "CLONE_NEWUSER");
        assert_eq!(run("clone", &[0x1_0000_0011]), ALLOW, "only the masked bits count");
        for (value, verdict) in
            [(0, ALLOW), (8, ALLOW), (0x20000, ALLOW), (0x20008, ALLOW), (0xffff_ffff, ALLOW), (4, EPERM)]
        {
            assert_eq!(run("personality", &[value]), verdict);
        }
        assert_eq!(run("personality", &[u64::MAX]), if wide { EPERM } else { ALLOW });
        assert_eq!(run("socket", &[2]), ALLOW);
        assert_eq!(run("socket", &[40]), EPERM, "AF_VSOCK");
        let nr = if arch == Arch::X32 { 0x4000_0000 + 900 } else { 900 };
        assert_eq!(machine.run(&Call { nr, arch: arch.audit(), args: [0; 6] }), ENOSYS, "from the future");
    }
    assert_eq!(machine.run(&super::call(Arch::Aarch64, "read", &[])), 0, "no such architecture in the profile");
    // Size and speed must not rot: measured 2026-11, see docs/seccomp.md.
    assert!(machine.len() <= SIZE, "{} instructions", machine.len());
    assert!(longest <= STEPS, "{longest} steps");
}

const SIZE: usize = 320;
const STEPS: usize = 24;

#[test]
fn x32_only_where_listed() {
    let json = |arches: &str| {
        profile(&format!(
            r#"{{"defaultAction":"SCMP_ACT_ERRNO","architectures":[{arches}],"syscalls":[{{"names":["read","write"],"action":"SCMP_ACT_ALLOW"}}]}}"#
        ))
    };
    let x32 = super::call(Arch::X32, "read", &[]);
    let skipped = Call { nr: u32::MAX, ..x32 };
    let without = machine(&json(""), Arch::X86_64);
    assert_eq!((without.run(&x32), without.run(&skipped)), (0, EPERM));
    let with = machine(&json(r#""SCMP_ARCH_X32""#), Arch::X86_64);
    assert_eq!((with.run(&x32), with.run(&skipped)), (ALLOW, ENOSYS));
}

#[test]
fn enosys_depends_on_the_default() {
    for (default, expected) in [
        ("ERRNO", ENOSYS),
        ("KILL", ENOSYS),
        ("KILL_PROCESS", ENOSYS),
        ("TRAP", ENOSYS),
        ("ALLOW", ALLOW),
        ("LOG", 0x7ffc_0000),
        ("TRACE", 0x7ff0_0001),
    ] {
        let json = format!(
            r#"{{"defaultAction":"SCMP_ACT_{default}","syscalls":[{{"names":["openat2"],"action":"SCMP_ACT_ERRNO"}}]}}"#
        );
        let machine = machine(&profile(&json), Arch::X86_64);
        assert_eq!(machine.run(&super::call(Arch::X86_64, "openat2", &[])), EPERM);
        assert_eq!(machine.run(&super::call(Arch::X86_64, "pidfd_getfd", &[])), expected, "{default}");
    }
    // A rule that equals the default is skipped, but the profile knows the call.
    let known = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["faccessat2"],"action":"SCMP_ACT_ERRNO","errnoRet":1}]}"#;
    let machine = machine(&profile(known), Arch::X86_64);
    assert_eq!(machine.run(&super::call(Arch::X86_64, "pidfd_getfd", &[])), EPERM);
    assert_eq!(machine.run(&super::call(Arch::X86_64, "mseal", &[])), ENOSYS);
}

#[test]
fn rules_without_conditions_win_and_then_the_first() {
    let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
        {"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":2,"args":[{"index":0,"value":7,"op":"SCMP_CMP_EQ"}]},
        {"names":["read"],"action":"SCMP_ACT_ALLOW"},{"names":["read"],"action":"SCMP_ACT_KILL"},
        {"names":["open"],"action":"SCMP_ACT_ERRNO","errnoRet":3,"args":[{"index":0,"value":5,"op":"SCMP_CMP_GT"}]},
        {"names":["open"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":7,"op":"SCMP_CMP_EQ"}]},
        {"names":["open"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":4,"op":"SCMP_CMP_EQ"}]}]}"#;
    let machine = machine(&profile(json), Arch::X86_64);
    assert_eq!(machine.run(&super::call(Arch::X86_64, "read", &[7])), ALLOW);
    assert_eq!(machine.run(&super::call(Arch::X86_64, "open", &[7])), 0x0005_0003);
    assert_eq!(machine.run(&super::call(Arch::X86_64, "open", &[4])), ALLOW);
    assert_eq!(machine.run(&super::call(Arch::X86_64, "open", &[5])), EPERM);
}

/// Docker's profile on every architecture, alone: it compiles, and allows and denies the same.
#[test]
fn docker_everywhere() {
    for &arch in Arch::ALL {
        let profile = Seccomp { architectures: None, ..docker() };
        let machine = machine(&profile, arch);
        assert_eq!(machine.run(&super::call(arch, "read", &[])), ALLOW, "{arch:?}");
        assert_eq!(machine.run(&super::call(arch, "reboot", &[])), EPERM, "{arch:?}");
        assert_eq!(machine.run(&super::call(arch, "personality", &[0xffff_ffff])), ALLOW, "{arch:?}");
        assert_eq!(machine.run(&super::call(arch, "personality", &[2])), EPERM, "{arch:?}");
    }
}
