//! A race that always happens: a process of the container is held at a system call while the test changes what the call is
//! about.

use crate::command::Output;
use crate::leak;
use crate::test::{Outcome, Test, skip};
use std::fs;

/// How long strace(1) holds a call, in microseconds: by then the change is made.
const HELD: u32 = 1_500_000;

/// Runs the runtime with `args`. When one of the container's processes first makes `call`, `change` is carried out.
pub fn held(t: &Test, call: &str, args: &[&str], change: impl FnOnce() -> Outcome) -> Outcome<Output> {
    t.needs_strace()?;
    let Some(number) = number(call) else { return skip("the numbers of calls are known for x86_64 only") };
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:delay_enter={HELD}:when=1"));
    let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    let without = without_newer_calls();
    let wrapper: Vec<&str> = without.iter().map(String::as_str).chain(strace).collect();
    let running = t.spawn(t.command(&wrapper, args), None)?;
    let mut came = false;
    t.wait_for("the call", || {
        came = leak::processes(&t.id).into_iter().any(|pid| is_at(pid, number));
        came || fs::metadata(format!("/proc/{}", running.pid())).is_err()
    })?;
    if came {
        change()?;
    }
    let output = t.wait(running)?;
    if came { Ok(output) } else { Err(format!("it never came to {call}: {}", output.stderr).into()) }
}

/// Whether it is what makes the container, and stands at the call.
fn is_at(pid: i32, number: i64) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    let inside = name.starts_with("runtime:stage") || name.starts_with("runc:[");
    inside && call.split(' ').next() == Some(&number.to_string())
}

/// What to start a program with that shall find no open_tree_attr(2) (Linux 6.15), which strace does not know either.
pub fn without_newer_calls() -> Vec<String> {
    const OPEN_TREE_ATTR: u32 = 467;
    let probe = crate::runtime::beside("probe").unwrap_or_default();
    [probe.to_string_lossy().into_owned(), "without".to_owned(), OPEN_TREE_ATTR.to_string()].into()
}

fn number(call: &str) -> Option<i64> {
    if !cfg!(target_arch = "x86_64") {
        return None;
    }
    Some(match call {
        "mkdirat" => 258,
        "pivot_root" => 155,
        "open_tree" => 428,
        "move_mount" => 429,
        "close_range" => 436,
        _ => return None,
    })
}
