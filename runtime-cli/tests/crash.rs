//! `create` is killed at every system call, its own and the stage's: `delete --force` cleans up, and the id is free.
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
            ("create_of_the_default_config", |scratch| killed(&mut site::default(scratch))),
            ("create_in_a_user_namespace", |scratch| killed(&mut site::user_namespace(scratch))),
            ("create_in_a_joined_pid_namespace", |scratch| killed(&mut site::joined(scratch))),
            // The last one: there is no way back from it.
            ("create_by_the_in_process_entry", |scratch| killed(&mut site::in_process(scratch))),
        ],
        &[],
    )
}

#[cfg(not(target_arch = "x86_64"))]
fn main() -> ExitCode {
    common::main(&[], &[])
}

#[cfg(target_arch = "x86_64")]
fn killed(site: &mut site::Site) {
    use trace::Action;
    let calls = site.count("create");
    // The command at its own calls, at once and when the rest waits for it; then whatever it started, and again the
    // command, at the calls of those.
    let mut points = Vec::new();
    for (process, calls) in calls.iter().enumerate() {
        let actions = match process {
            0 => [Action::Kill(0), Action::KillLate],
            _ => [Action::Kill(process), Action::Kill(0)],
        };
        for action in actions {
            points.extend((0..calls.len()).map(|call| (trace::Point { process, call }, action)));
        }
    }
    let mut failures = Vec::new();
    let mut tried = 0;
    for (point, action) in site::sample(&points, 60) {
        let outcome = site.traced("create", point, action);
        tried += usize::from(outcome.hit.is_some());
        let problem = site.delete_and_look().or_else(|| site.use_again());
        if let Some(problem) = problem {
            let call = outcome.hit.map(trace::name);
            failures.push(format!("{point:?} {action:?} {call:?}: {problem}"));
            site.start_over();
        }
    }
    let counts: Vec<usize> = calls.iter().map(Vec::len).collect();
    println!("calls by process: {counts:?}; killed at {tried} of {} points", points.len());
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures[..failures.len().min(20)].join("\n"));
    assert!(tried > 20, "{tried}");
}
