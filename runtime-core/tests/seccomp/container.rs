//! Filters in containers: every action, from 64-bit and 32-bit programs, with and without no_new_privs.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "bed.rs"]
mod bed;
#[path = "notify.rs"]
mod notify;

use std::path::Path;
use std::time::{Duration, Instant};

use bed::{Bed, Case, Outcome, except, probe, skipped, under};
use runtime_core::ExitStatus;
use serde_json::{Value, json};

const DOCKER: &str = include_str!("../data/seccomp-docker.json");
const KILLED: ExitStatus = ExitStatus::Signal(libc::SIGSYS);
const FINE: ExitStatus = ExitStatus::Code(0);

fn case<'a>(id: &'a str, program: &'a Path, args: &'a [&'a str], no_new_privileges: bool, seccomp: Value) -> Case<'a> {
    Case { id, program, args, no_new_privileges, seccomp, report: None }
}

/// What the kernel makes of every action on getppid(2), number `nr` of the probe's ABI.
fn actions(bed: &Bed, program: &Path, nr: u32, arch: i64, no_new_privileges: bool) {
    let rule = |action: &str| json!({"names": ["getppid"], "action": format!("SCMP_ACT_{action}")});
    let errno = |action: &str, errno: u32| json!({"names": ["getppid"], "action": format!("SCMP_ACT_{action}"), "errnoRet": errno});
    let (call, thread, trap, trace) =
        (format!("call:{nr}"), format!("thread:{nr}"), format!("trap:{nr}"), format!("trace:{nr}"));
    let table: &[(Value, &str, ExitStatus, String)] = &[
        (errno("ERRNO", 7), &call, FINE, "call -7 0\n".into()),
        (rule("ERRNO"), &call, FINE, "call -1 0\n".into()),
        (rule("LOG"), &call, FINE, "call 0 0\n".into()),
        (rule("KILL"), &thread, FINE, "alive 1 0\n".into()),
        (rule("KILL_THREAD"), &thread, FINE, "alive 1 0\n".into()),
        (rule("KILL_THREAD"), &call, KILLED, String::new()),
        (rule("KILL_PROCESS"), &thread, KILLED, String::new()),
        (rule("TRAP"), &trap, FINE, format!("trapped {} {nr}\narch 0 {arch}\n", libc::SIGSYS)),
        (rule("TRAP"), &call, KILLED, String::new()),
        (errno("TRACE", 77), &trace, FINE, "event 7 77\nchild 0 0\n".into()),
        (errno("TRACE", 77), &call, FINE, "call -38 0\n".into()),
    ];
    for (rule, argument, status, output) in table {
        let args = [*argument];
        let outcome = bed.run(&case("c", program, &args, no_new_privileges, except(rule))).unwrap();
        let expected = Outcome { status: *status, output: output.clone() };
        assert_eq!(outcome, expected, "{rule} {argument}, no_new_privs {no_new_privileges}");
    }
}

#[test]
fn every_action_64_bit() {
    let Some(bed) = Bed::new("actions64") else { return };
    for no_new_privileges in [false, true] {
        actions(&bed, &probe("-m64").unwrap(), 110, 0xc000_003e, no_new_privileges);
    }
}

#[test]
fn every_action_32_bit() {
    let Some(bed) = Bed::new("actions32") else { return };
    let Some(program) = probe("-m32") else { return skipped("actions32", "the C compiler makes no 32-bit programs") };
    for no_new_privileges in [false, true] {
        actions(&bed, &program, 64, 0x4000_0003, no_new_privileges);
    }
}

#[test]
fn every_action_x32() {
    let Some(bed) = Bed::new("actionsx32") else { return };
    let Some(program) = probe("-mx32") else { return skipped("actionsx32", "the C compiler makes no x32 programs") };
    if std::process::Command::new(&program).output().is_err() {
        return skipped("actionsx32", "the kernel runs no x32 programs");
    }
    actions(&bed, &program, 0x4000_0000 + 110, 0xc000_003e, true);
}

/// Also where the kernel has no x32, the filter sees the numbers, before the kernel says that there is no such call.
#[test]
fn x32_numbers_have_their_own_rules() {
    let Some(bed) = Bed::new("x32") else { return };
    let program = probe("-m64").unwrap();
    let rule = json!({"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7});
    let args = ["call:110", "call:0x4000006e"];
    let outcome = bed.run(&case("c", &program, &args, true, except(&rule))).unwrap();
    assert_eq!(outcome.output, "call -7 0\ncall -7 0\n");
    // Without x32 in the profile the second one is a call of a foreign architecture.
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    let outcome = bed.run(&case("c", &program, &args, true, profile)).unwrap();
    assert_eq!(outcome, Outcome { status: KILLED, output: "call -7 0\n".into() });
}

#[test]
fn a_32_bit_program_is_killed_where_the_profile_does_not_list_it() {
    let Some(bed) = Bed::new("foreign") else { return };
    let Some(program) = probe("-m32") else { return skipped("foreign", "the C compiler makes no 32-bit programs") };
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW"});
    let outcome = bed.run(&case("c", &program, &["status"], true, profile)).unwrap();
    assert_eq!(outcome, Outcome { status: KILLED, output: String::new() });
}

/// Docker's profile as it is, with calls of all fates from programs of both widths.
#[test]
fn docker_profile() {
    let Some(bed) = Bed::new("docker") else { return };
    let profile: Value = serde_json::from_str(DOCKER).unwrap();
    // mount, clone3, clone(NEWUSER), socket(VSOCK), personality(4), personality(-1), of the future
    let calls64 = ["call:165", "call:435", "call:56:0x10000011", "call:41:40:1", "call:135:4", "call:900", "status"];
    let output64 = "call -1 0\ncall -38 0\ncall -1 0\ncall -1 0\ncall -1 0\ncall -38 0\n";
    let calls32 = ["call:21", "call:435", "call:120:0x10000011", "call:359:40:1", "call:136:4", "call:900", "status"];
    for no_new_privileges in [false, true] {
        let status = format!("status 2 {}\n", i32::from(no_new_privileges));
        let expected = Outcome { status: FINE, output: format!("{output64}{status}") };
        let program = probe("-m64").unwrap();
        let outcome = bed.run(&case("c", &program, &calls64, no_new_privileges, profile.clone())).unwrap();
        assert_eq!(outcome, expected);
        if let Some(program) = probe("-m32") {
            let outcome = bed.run(&case("c", &program, &calls32, no_new_privileges, profile.clone())).unwrap();
            assert_eq!(outcome, expected);
        }
    }
}

/// The same run with its denials reported: the program sees what it would have seen.
#[test]
fn a_report_of_what_docker_s_profile_denies() {
    let Some(bed) = Bed::new("report") else { return };
    let profile: Value = serde_json::from_str(DOCKER).unwrap();
    // mount three times, clone3, personality(4), of the future; the last two are allowed.
    let calls = ["call:165", "call:165", "call:165", "call:435", "call:135:4", "call:900", "call:135:0", "call:110"];
    let program = probe("-m64").unwrap();
    for no_new_privileges in [false, true] {
        let (sender, made) = std::sync::mpsc::channel();
        let report: runtime_core::ReportTo = std::sync::Arc::new(move |reporter| {
            let sender = sender.clone();
            std::thread::spawn(move || sender.send(reporter.serve().unwrap()).unwrap());
        });
        let plain = case("c", &program, &calls, no_new_privileges, profile.clone());
        let outcome = bed.run(&Case { report: Some(report), ..plain.clone() }).unwrap();
        assert_eq!(outcome, bed.run(&plain).unwrap());
        let denied: Vec<_> =
            made.recv().unwrap().iter().map(|d| (d.syscall, d.number, d.architecture, d.errno, d.count)).collect();
        let native = Some("SCMP_ARCH_X86_64");
        assert_eq!(
            denied,
            [
                (Some("mount"), 165, native, 1, 3),
                (Some("personality"), 135, native, 1, 1),
                (Some("clone3"), 435, native, 38, 1),
                (None, 900, native, 38, 1),
            ]
        );
    }
}

/// Without no_new_privs the filter is there before the ids and capabilities change, with it only after.
#[test]
fn load_point() {
    let Some(bed) = Bed::new("load") else { return };
    let program = probe("-m64").unwrap();
    for (name, step) in [("setresuid", "setresuid(1000)"), ("capset", "capset("), ("prctl", "prctl(")] {
        let rule = json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 7});
        let outcome = bed.run(&case("c", &program, &[], true, except(&rule))).unwrap();
        assert_eq!(outcome.status, FINE, "{name}");
        let error = bed.run(&case("c", &program, &[], false, except(&rule))).unwrap_err().to_string();
        assert!(error.contains(step) && error.contains("E2BIG"), "{error}");
    }
    // Killed in the set-up: the error says so, and there is no container.
    let rule = json!({"names": ["capset"], "action": "SCMP_ACT_KILL_PROCESS"});
    let error = bed.run(&case("c", &program, &[], false, except(&rule))).unwrap_err().to_string();
    assert!(error.contains("signal 31") && error.contains("the seccomp profile kills"), "{error}");
}

/// What a profile has to allow for our sake if it is loaded last: read, write and execve.
#[test]
fn a_profile_that_allows_next_to_nothing() {
    let Some(bed) = Bed::new("strict") else { return };
    let program = probe("-m64").unwrap();
    let names = ["read", "write", "execve", "exit_group"];
    let mut libc = vec!["arch_prctl", "set_tid_address", "set_robust_list", "rseq", "mprotect", "prlimit64", "brk"];
    libc.extend(["readlink", "readlinkat", "getrandom", "newfstatat", "fstat", "uname"]);
    let all: Vec<&str> = names.into_iter().chain(libc).collect();
    let profile =
        json!({"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": [{"names": all, "action": "SCMP_ACT_ALLOW"}]});
    for by_run in [true, false] {
        let outcome = bed.run_by(&case("c", &program, &["call:1:1:0:0"], true, profile.clone()), by_run).unwrap();
        assert_eq!(outcome.status, FINE, "by run: {by_run}");
    }
}

#[test]
fn flags() {
    let Some(bed) = Bed::new("flags") else { return };
    let program = probe("-m64").unwrap();
    let rule = json!({"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7});
    let with = |flags: Value| {
        let mut profile = except(&rule);
        profile["flags"] = flags;
        profile
    };
    for flags in [
        json!([]),
        json!(["TSYNC"]),
        json!(["LOG"]),
        json!(["SPEC_ALLOW"]),
        json!(["TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"]),
    ] {
        let names: Vec<String> =
            flags.as_array().unwrap().iter().map(|f| format!("SECCOMP_FILTER_FLAG_{}", f.as_str().unwrap())).collect();
        let outcome = bed.run(&case("c", &program, &["call:110"], true, with(json!(names)))).unwrap();
        assert_eq!(outcome.output, "call -7 0\n", "{flags}");
    }
    // A kernel that does not know SECCOMP_FILTER_FLAG_LOG.
    let old = json!({"names": ["seccomp"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EINVAL,
                     "args": [{"index": 1, "value": 2, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]});
    let profile = with(json!(["SECCOMP_FILTER_FLAG_LOG"]));
    let error = under(except(&old), || bed.run(&case("c", &program, &[], true, profile)).unwrap_err().to_string());
    assert!(error.contains("/linux/seccomp") && error.contains("seccomp(") && error.contains("EINVAL"), "{error}");
    assert!(error.contains("/linux/seccomp/flags"), "{error}");
    // And one that has no seccomp at all.
    let none = json!({"names": ["seccomp"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::ENOSYS});
    let error =
        under(except(&none), || bed.run(&case("c", &program, &[], true, except(&rule))).unwrap_err().to_string());
    assert!(error.contains("ENOSYS"), "{error}");
}

#[test]
fn logged_denials_are_in_the_kernel_log() {
    use std::io::{Read, Seek, SeekFrom};
    use std::os::unix::fs::OpenOptionsExt;
    let Some(bed) = Bed::new("log") else { return };
    let kmsg = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg");
    let Ok(mut kmsg) = kmsg else { return skipped("log", "no /dev/kmsg") };
    kmsg.seek(SeekFrom::End(0)).unwrap();
    let program = probe("-m64").unwrap();
    // A call of its own: other tests raise records too.
    let mut profile = except(&json!({"names": ["getpgrp"], "action": "SCMP_ACT_ERRNO"}));
    profile["flags"] = json!(["SECCOMP_FILTER_FLAG_LOG"]);
    // The kernel's audit thread writes them some time later, and not all of them when there are many.
    let end = Instant::now() + Duration::from_secs(8);
    let mut next = Instant::now();
    let mut record = [0; 8192];
    while Instant::now() < end {
        if Instant::now() >= next {
            bed.run(&case("c", &program, &["call:111"], true, profile.clone())).unwrap();
            next += Duration::from_secs(1);
        }
        match kmsg.read(&mut record) {
            Ok(length) => {
                let text = String::from_utf8_lossy(&record[..length]).into_owned();
                if text.contains("type=1326") && text.contains("syscall=111") && text.contains("comm=\"probe\"") {
                    return;
                }
            }
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    skipped("log", "this kernel's audit does not write to its log");
}
