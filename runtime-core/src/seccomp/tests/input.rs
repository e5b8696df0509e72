//! Bad input: an error with a pointer for each, and never a filter.

use super::*;

fn problems(json: &str) -> Vec<String> {
    let problems = compile(&profile(json), Arch::X86_64).unwrap_err();
    problems.into_iter().map(|p| p.pointer.strip_prefix("/linux/seccomp").unwrap().to_owned()).collect()
}

fn rule(rule: &str) -> Vec<String> {
    problems(&format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{rule}]}}"#))
}

#[test]
fn every_problem_at_once() {
    let json = r#"{"defaultAction":"SCMP_ACT_PERMIT","architectures":["SCMP_ARCH_X86","SCMP_ARCH_VAX"],
        "flags":["SECCOMP_FILTER_FLAG_LOG","SECCOMP_FILTER_FLAG_FAST"],"listenerMetadata":"x",
        "syscalls":[{"names":["read",""],"action":"SCMP_ACT_ERRNO","errnoRet":4096,
            "args":[{"index":6,"op":"SCMP_CMP_EQ"},{"index":0,"op":"SCMP_CMP_EQUAL"},{"index":1}]},
            {"names":[],"action":"ALLOW"},{"action":"SCMP_ACT_ALLOW"},{"names":["read"]}]}"#;
    let mut found = problems(json);
    found.sort();
    let mut expected = [
        "/defaultAction",
        "/architectures/1",
        "/flags/1",
        "/listenerMetadata",
        "/syscalls/0/names/1",
        "/syscalls/0/errnoRet",
        "/syscalls/0/args/0/index",
        "/syscalls/0/args/1/op",
        "/syscalls/0/args/2/op",
        "/syscalls/1/names",
        "/syscalls/1/action",
        "/syscalls/2/names",
        "/syscalls/3/action",
    ];
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn default_action() {
    assert_eq!(problems("{}"), ["/defaultAction"]);
    assert_eq!(problems(r#"{"defaultAction":"SCMP_ACT_NOTIFY","listenerPath":"/x"}"#), ["/defaultAction"]);
    assert_eq!(problems(r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":1}"#), ["/defaultErrnoRet"]);
    assert_eq!(problems(r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":4096}"#), ["/defaultErrnoRet"]);
    assert_eq!(problems(r#"{"defaultAction":"SCMP_ACT_TRACE","defaultErrnoRet":65536}"#), ["/defaultErrnoRet"]);
}

#[test]
fn errno_needs_an_action_that_has_one() {
    for action in ["ALLOW", "LOG", "KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP"] {
        let found = rule(&format!(r#"{{"names":["read"],"action":"SCMP_ACT_{action}","errnoRet":0}}"#));
        assert_eq!(found, ["/syscalls/0/errnoRet"], "{action}");
    }
    let ok = profile(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":4095},
            {"names":["open"],"action":"SCMP_ACT_TRACE","errnoRet":65535}]}"#,
    );
    let machine = machine(&ok, Arch::X86_64);
    assert_eq!(machine.run(&call(Arch::X86_64, "read", &[])), 0x0005_0fff);
    assert_eq!(machine.run(&call(Arch::X86_64, "open", &[])), 0x7ff0_ffff);
}

#[test]
fn byte_orders_do_not_mix() {
    let found = problems(r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_S390X"]}"#);
    assert_eq!(found, ["/architectures/0"]);
}

#[test]
fn notify() {
    let notify = |names: &str, rest: &str| {
        profile(&format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":[{names}],"action":"SCMP_ACT_NOTIFY"}}]{rest}}}"#
        ))
    };
    let refused = |profile: &Seccomp| compile(profile, Arch::X86_64).unwrap_err()[0].to_string();
    let path = r#","listenerPath":"/run/agent""#;
    assert!(refused(&notify(r#""mkdir""#, "")).contains("seccomp listenerPath is not set"));
    assert!(refused(&notify(r#""mkdir""#, r#","listenerPath":"""#)).contains("seccomp listenerPath is not set"));
    assert!(refused(&notify(r#""write""#, path)).contains("SCMP_ACT_NOTIFY cannot be used for the write syscall"));
    let killable = r#","flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]"#;
    let filter = compile(&notify(r#""mkdir""#, &format!("{path}{killable}")), Arch::X86_64).unwrap();
    assert!(filter.notify);
    assert_eq!(filter.flags, 0x28);
    // Nothing is notified: no listener to wait for.
    let filter = compile(&notify(r#""mkdirr""#, &format!("{path}{killable}")), Arch::X86_64).unwrap();
    assert_eq!((filter.notify, filter.flags, filter.unknown), (false, 0, vec!["mkdirr".to_owned()]));
}

#[test]
fn flags() {
    let flags = |given: &str| {
        compile(&profile(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW"{given}}}"#)), Arch::X86_64).unwrap().flags
    };
    assert_eq!(flags(""), 4);
    assert_eq!(flags(r#","flags":null"#), 4);
    assert_eq!(flags(r#","flags":[]"#), 0);
    assert_eq!(flags(r#","flags":["SECCOMP_FILTER_FLAG_LOG","SECCOMP_FILTER_FLAG_TSYNC"]"#), 2);
    assert_eq!(flags(r#","flags":["SECCOMP_FILTER_FLAG_SPEC_ALLOW","SECCOMP_FILTER_FLAG_LOG"]"#), 6);
}

/// Runs on a test thread, whose stack is 2 MiB: the limit on conditions must keep the recursion in it.
#[test]
fn the_largest_and_too_large() {
    let with = |count: usize, op: &str| {
        let arg =
            |at: usize| format!(r#"{{"index":{},"value":{},"op":"SCMP_CMP_{op}"}}"#, at % 3, at as u64 * 0x1_0000_0007);
        let args: Vec<String> = (0..count).map(arg).collect();
        profile(&format!(
            r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{{"names":["ioctl"],"action":"SCMP_ACT_ALLOW","args":[{}]}}]}}"#,
            args.join(",")
        ))
    };
    for op in ["EQ", "NE", "GT", "LE", "MASKED_EQ"] {
        assert!(compile(&with(512, op), Arch::X86_64).is_ok(), "{op}");
    }
    let problems = compile(&with(513, "EQ"), Arch::X86_64).unwrap_err();
    assert_eq!(problems[0].pointer, "/linux/seccomp/syscalls/0/args");

    let rule = |at: usize, name: &str| {
        format!(
            r#"{{"names":["{name}"],"action":"SCMP_ACT_ERRNO","errnoRet":{},"args":[{{"index":0,"value":{at},"op":"SCMP_CMP_EQ"}}]}}"#,
            at % 4000 + 2
        )
    };
    let rules = |each: usize| {
        let names = ["read", "open", "close", "stat", "mmap", "brk", "ioctl", "pipe", "dup", "kill", "link", "creat"];
        let of = |at: usize| (0..each).map(move |value| rule(value * 7 + at * 10_000, names[at]));
        let rules: Vec<String> = (0..names.len()).flat_map(of).collect();
        profile(&format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{}]}}"#, rules.join(",")))
    };
    assert!(compile(&rules(100), Arch::X86_64).is_ok());
    let problems = compile(&rules(500), Arch::X86_64).unwrap_err();
    assert!(problems[0].message.contains("instructions, the kernel takes 4096"), "{problems:?}");
    assert_eq!(problems[0].pointer, "/linux/seccomp/syscalls");
    let problems = compile(&rules(513), Arch::X86_64).unwrap_err();
    assert!(problems[0].message.contains("conditions on one system call"), "{problems:?}");
}
