//! isolation: what a runtime is started in. The harness has proved it before the first case; here a child shows it.

use crate::cases;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use std::process::Command;

cases!["isolation": the_host_tree_is_read_only, what_is_writable_is_thrown_away];

/// Names that do not exist: should a mount be writable after all, nothing is lost.
const TRY: &str = "for d in / /etc /usr /var /root /dev /sys; do
  (: >$d/.conformance-x) 2>&1 && rm $d/.conformance-x && echo $d is writable
  unlink $d/.conformance-y 2>&1; rmdir $d/.conformance-z 2>&1; mkdir $d/.conformance-m 2>&1
done";

fn the_host_tree_is_read_only(t: &Test) -> Outcome {
    needed()?;
    let mut command = Command::new("sh");
    command.args(["-c", TRY]);
    let output = t.finish(command)?;
    let lines: Vec<&str> = output.stdout.lines().chain(output.stderr.lines()).collect();
    check_eq!(lines.len(), 28, "answers: {lines:?}");
    for line in lines {
        check!(line.to_lowercase().contains("read-only file system"), "the host can be changed: {line}");
    }
    Ok(crate::isolate::prove(&[])?)
}

/// In a machine of their own the tests need none.
fn needed() -> Outcome {
    if crate::machine::disposable() {
        return skip("the whole machine is thrown away");
    }
    Ok(())
}

fn what_is_writable_is_thrown_away(t: &Test) -> Outcome {
    needed()?;
    check!(t.folder.starts_with("/tmp"), "the tests' folder is {}", t.folder.display());
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    for folder in ["/tmp", "/run"] {
        let last = table.lines().rfind(|line| line.split(' ').nth(4) == Some(folder));
        check!(last.is_some_and(|line| line.contains(" - tmpfs tmpfs ")), "{folder}: {last:?}");
    }
    Ok(())
}
