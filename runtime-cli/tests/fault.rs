//! Every system call of a verb fails once, the command's and the stage's: an error, nothing left behind.
//!
//! A sample of the points; all of them with `POINTS=all`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../../runtime-core/tests/common/mod.rs"]
mod common;
#[cfg(target_arch = "x86_64")]
mod site;
#[cfg(target_arch = "x86_64")]
mod trace;

use std::process::ExitCode;

#[cfg(target_arch = "x86_64")]
fn main() -> ExitCode {
    common::main(
        &[
            ("create_of_the_default_config", |scratch| failing("create", &mut site::default(scratch))),
            ("run_of_the_default_config", |scratch| failing("run", &mut site::default(scratch))),
            ("create_in_a_user_namespace", |scratch| failing("create", &mut site::user_namespace(scratch))),
            ("create_in_a_joined_pid_namespace", |scratch| failing("create", &mut site::joined(scratch))),
            ("start", |scratch| failing("start", &mut site::sleeping(scratch))),
            ("exec", |scratch| failing("exec", &mut site::sleeping(scratch))),
            ("pause", |scratch| failing("pause", &mut site::sleeping(scratch))),
            ("resume", |scratch| failing("resume", &mut site::sleeping(scratch))),
            ("update", |scratch| failing("update", &mut site::sleeping(scratch))),
            ("kill", |scratch| failing("kill", &mut site::sleeping(scratch))),
            ("delete", |scratch| failing("delete", &mut site::sleeping(scratch))),
            // The last one: there is no way back from it.
            ("create_by_the_in_process_entry", |scratch| failing("create", &mut site::in_process(scratch))),
        ],
        &[],
    )
}

#[cfg(not(target_arch = "x86_64"))]
fn main() -> ExitCode {
    common::main(&[], &[])
}

/// What a call may say on a bad day; each point gets the next one.
#[cfg(target_arch = "x86_64")]
const ERRNOS: [i32; 6] = {
    use nix::libc::*;
    [ENOMEM, EPERM, EIO, ENOSPC, EMFILE, EINTR]
};

/// What the command cannot help: an allocation that fails ends a Rust program with SIGABRT, by design of the language,
/// and the C library gives up at once when it cannot set up threads. (The stage has neither.)
#[cfg(target_arch = "x86_64")]
fn is_beyond_us(call: u64) -> bool {
    use nix::libc::*;
    [SYS_brk, SYS_mmap, SYS_munmap, SYS_mprotect, SYS_mremap, SYS_arch_prctl].contains(&(call as i64))
}

#[cfg(target_arch = "x86_64")]
fn failing(verb: &str, site: &mut site::Site) {
    use trace::{Action, Point};
    let calls = site.count(verb);
    let mut points = Vec::new();
    for (process, calls) in calls.iter().enumerate() {
        for (call, number) in calls.iter().enumerate().filter(|(_, number)| process > 0 || !is_beyond_us(**number)) {
            let errno = ERRNOS[(call + *number as usize) % ERRNOS.len()];
            points.push((Point { process, call }, Action::Fail(errno)));
        }
    }
    let mut failures = Vec::new();
    let (mut tried, mut survived, mut forced) = (0, 0, Vec::new());
    let mut harmless = std::collections::BTreeMap::new();
    let makes = verb == "create" || verb == "run";
    for (point, action) in site::sample(&points, if makes { 80 } else { 30 }) {
        site.prepare(verb);
        let outcome = site.traced(verb, point, action);
        let Some(hit) = outcome.hit else {
            // It took another way this time, and came to its end.
            assert_eq!(site.delete_and_look(), None);
            continue;
        };
        tried += 1;
        if outcome.code == 0 {
            survived += 1;
            *harmless.entry((point.process, trace::name(hit))).or_insert(0) += 1;
            if std::env::var_os("FAULT_VERBOSE").is_some() {
                println!("survived: {point:?} {} {action:?}", trace::name(hit));
            }
        }
        let left = match outcome.code {
            0 if verb == "create" => None,
            _ if makes || (verb, outcome.code) == ("delete", 0) => site.left(),
            _ => None,
        };
        let what = format!("{point:?} {} {action:?}", trace::name(hit));
        if left.is_some() {
            forced.push(format!("{what}: {} after {:?}", left.as_deref().unwrap_or_default(), outcome.stderr.trim()));
        }
        let problem = given_up(&outcome, hit, action)
            .or_else(|| judge(&outcome))
            .or_else(|| site.look())
            .or_else(|| site.delete_and_look())
            .or_else(|| site.use_again());
        if let Some(problem) = problem {
            failures.push(format!("{what}: {problem}"));
            site.start_over();
        }
    }
    let counts: Vec<usize> = calls.iter().map(Vec::len).collect();
    println!(
        "calls by process: {counts:?}; failed at {tried} of {} points, {survived} of them without harm",
        points.len()
    );
    println!("without harm, by process and call: {harmless:?}");
    forced.iter().for_each(|what| println!("needs delete --force: {what}"));
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures[..failures.len().min(20)].join("\n"));
    assert!(tried > 15, "{tried}");
}

/// What is wrong with how the command ended.
#[cfg(target_arch = "x86_64")]
fn judge(outcome: &trace::Outcome) -> Option<String> {
    let said = outcome.stderr.trim();
    match outcome.code {
        _ if outcome.hung => Some(format!("hangs: {said:?}")),
        0 => None,
        // 255: what exec ends with when it is its own failure.
        code @ (1 | 255) if said.is_empty() => Some(format!("exit {code} without a word")),
        1 | 255 => None,
        code => Some(format!("exit {code}: {said:?}")),
    }
}

/// A protection that was given up without a word, because something ran short.
#[cfg(target_arch = "x86_64")]
fn given_up(outcome: &trace::Outcome, hit: u64, action: trace::Action) -> Option<String> {
    use nix::libc::{EPERM, SYS_memfd_create};
    let sealing = hit == SYS_memfd_create as u64;
    (outcome.code == 0 && sealing && action != trace::Action::Fail(EPERM)).then(|| "ran without a seal".to_owned())
}
