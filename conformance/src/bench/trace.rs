//! Counting system calls with strace(1).

use std::path::Path;
use std::process::{Command, Stdio};

/// System calls of `command` and of all its children; `None` without strace, or when the command fails.
pub fn count(command: &[&str], log: &Path) -> Option<usize> {
    crate::guard::check(command, command.first().unwrap_or(&"")).ok()?;
    let status = Command::new("strace")
        .args(["-f", "-qq", "-o"])
        .arg(log)
        .args(command)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .ok()?;
    let text = std::fs::read(log).ok()?;
    status.success().then(|| String::from_utf8_lossy(&text).lines().filter(|line| is_call(line)).count())
}

/// A call that another process interrupts takes two lines; signals and exits are no calls.
fn is_call(line: &str) -> bool {
    let line = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
    !line.starts_with("<...") && !line.starts_with("---") && !line.starts_with("+++")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_calls() {
        assert!(is_call("12  close(3) = 0"));
        assert!(is_call("12  read(3,  <unfinished ...>"));
        assert!(!is_call("12  <... read resumed>\"\", 1) = 0"));
        assert!(!is_call("12  +++ exited with 0 +++"));
        assert!(!is_call("12  --- SIGCHLD {si_signo=SIGCHLD} ---"));
    }
}
