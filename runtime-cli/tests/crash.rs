//! A verb is killed at every system call, its own and the stage's: `delete --force` cleans up, and the id is free.
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
            ("create_of_the_default_config", |scratch| killed("create", &mut site::default(scratch))),
            ("create_in_a_user_namespace", |scratch| killed("create", &mut site::user_namespace(scratch))),
            ("create_in_a_joined_pid_namespace", |scratch| killed("create", &mut site::joined(scratch))),
            ("run_of_the_default_config", |scratch| killed("run", &mut site::default(scratch))),
            ("start", |scratch| killed("start", &mut site::sleeping(scratch))),
            ("exec", |scratch| killed("exec", &mut site::sleeping(scratch))),
            ("pause", |scratch| killed("pause", &mut site::sleeping(scratch))),
            ("resume", |scratch| killed("resume", &mut site::sleeping(scratch))),
            ("update", |scratch| killed("update", &mut site::sleeping(scratch))),
            ("kill", |scratch| killed("kill", &mut site::sleeping(scratch))),
            ("delete", |scratch| killed("delete", &mut site::sleeping(scratch))),
            // The last one: there is no way back from it.
            ("create_by_the_in_process_entry", |scratch| killed("create", &mut site::in_process(scratch))),
        ],
        &[],
    )
}

#[cfg(not(target_arch = "x86_64"))]
fn main() -> ExitCode {
    common::main(&[], &[])
}

#[cfg(target_arch = "x86_64")]
fn killed(verb: &str, site: &mut site::Site) {
    use trace::Action;
    let calls = site.count(verb);
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
    let most = if verb == "create" { 60 } else { 30 };
    for (point, action) in site::sample(&points, most) {
        site.prepare(verb);
        let outcome = site.traced(verb, point, action);
        tried += usize::from(outcome.hit.is_some());
        let problem = site.look().or_else(|| site.delete_and_look()).or_else(|| site.use_again());
        if let Some(problem) = problem {
            let call = outcome.hit.map(trace::name);
            failures.push(format!("{point:?} {action:?} {call:?}: {problem}"));
            site.start_over();
        }
    }
    let counts: Vec<usize> = calls.iter().map(Vec::len).collect();
    println!("calls by process: {counts:?}; killed at {tried} of {} points", points.len());
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures[..failures.len().min(20)].join("\n"));
    assert!(tried > 15, "{tried}");
}
