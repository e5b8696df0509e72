//! What is explained is what the program does.

use super::machine::Random;
use super::*;

fn docker() -> Seccomp {
    profile(include_str!("../../../tests/data/seccomp-docker.json"))
}

fn lines(name: &str, args: &[u64]) -> Vec<String> {
    explain(&docker(), Arch::X86_64, name, args).unwrap().iter().map(Explanation::to_string).collect()
}

#[test]
fn words() {
    let plain = lines("mount", &[]);
    assert_eq!(
        plain[0],
        "mount (x86_64 165): SCMP_ACT_ERRNO (EPERM): no rule that differs from the default names it \
         (/linux/seccomp/defaultAction)"
    );
    assert_eq!(plain.len(), 3);
    assert!(lines("read", &[])[0].starts_with("read (x86_64 0): SCMP_ACT_ALLOW: named without conditions (/linux/"));
    let open = lines("socket", &[]);
    assert!(open[0].contains("\n    SCMP_ACT_ALLOW if arg0 ") && open[0].contains("otherwise"), "{}", open[0]);
    assert!(lines("socket", &[1])[0].contains("SCMP_ACT_ALLOW: conditions hold (/linux/seccomp/syscalls/"));
    assert!(lines("socket", &[40])[0].contains("SCMP_ACT_ERRNO (EPERM): no rule's conditions hold"));
    assert!(lines("clone3", &[])[0].contains("SCMP_ACT_ERRNO (ENOSYS): named without conditions"));
    assert!(lines("file_setattr", &[])[0].contains("newer than the profile, whose largest number is "));
    assert!(lines("s390_guarded_storage", &[])[0].ends_with(": this architecture has no such call"));
    assert_eq!(
        explain(&docker(), Arch::X86_64, "clone4", &[]).unwrap_err()[0].message,
        "no architecture has a system call \"clone4\""
    );
    let old =
        profile(r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["socket"],"action":"SCMP_ACT_ALLOW"}]}"#);
    let text = explain(&old, Arch::Sh, "socketpair", &[]).unwrap()[0].to_string();
    assert!(text.contains("SCMP_ACT_ERRNO"), "{text}");
}

/// On random profiles, with all arguments known, the one outcome is what the program returns; with none
/// known, what it returns is among the outcomes.
#[test]
fn agrees_with_the_program() {
    let mut random = Random(0xe8_9a17);
    let mut compared = 0;
    for _ in 0..400 {
        let native = *random.pick(&[Arch::X86_64, Arch::X86, Arch::Aarch64, Arch::S390x, Arch::Ppc64le, Arch::Mips]);
        let profile = random::profile(&mut random, native);
        let Ok(filter) = compile(&profile, native) else { continue };
        let machine = Machine::new(&filter.bytes(), native.is_big_endian());
        for name in random::NAMES.iter().filter(|name| table::find(name).is_some()) {
            let args: [u64; 6] = std::array::from_fn(|_| *random.pick(random::VALUES));
            let known = explain(&profile, native, name, &args).unwrap();
            let open = explain(&profile, native, name, &[]).unwrap();
            for (known, open) in known.iter().zip(&open) {
                let Some(nr) = known.number else { continue };
                let arch = Arch::from_name(known.architecture).unwrap();
                let returned = machine.run(&Call { nr, arch: arch.audit(), args });
                let value = |outcome: &Outcome| oracle::action(outcome.action, outcome.errno);
                assert_eq!(known.outcomes.len(), 1, "{known}");
                assert_eq!(value(&known.outcomes[0]), returned, "{known}: {args:x?}");
                assert!(open.outcomes.iter().any(|outcome| value(outcome) == returned), "{open}");
                compared += 1;
            }
        }
    }
    assert!(compared > 10_000, "{compared}");
}
