//! docs/runtime-tools.md, which a run writes.

use super::build::INSIDE;
use super::judge::{Reasons, reason};
use super::{Row, View};
use crate::runtime::Runtime;
use std::fmt::Write;
use std::process::Command;

/// The whole file.
pub fn markdown(rows: &[Row], runtimes: &[Runtime], views: &[View], reasons: &Reasons, version: &str) -> String {
    let names: Vec<String> = runtimes.iter().map(name).collect();
    let mut text = format!(
        "# The OCI runtime-tools' validation suite\n\n\
         Written by `conformance runtime-tools --write docs/runtime-tools.md` (a phase of scripts/test.sh runs the same and \
         fails where a program that runc passes fails for ours: no reason excuses that). The suite is {} {version}, \
         pinned in conformance/runtime-tools/go.mod; the reasons are in conformance/expect/runtime-tools.toml. *pass*: at \
         least one point and none lost. *no verdict*: it ends well and says nothing. *v1*: only cgroup v1 is to be seen. \
         *v2*: only cgroup v2, with no controller but hugetlb on the machine of this run.\n\n\
         The programs are built as they are. What they find is put right, for every runtime, where it is not about the \
         runtime: {INSIDE}, which looks around inside, is built without the file of Go's library that raises its \
         limit of open files before it can look at it (process_rlimits); it is in the root filesystem also for the one \
         program that runs it without copying it there (misc_props); where root lacks a capability, the program that \
         wants them all (process_capabilities) runs in a user namespace with the same ids, where root has them. Programs \
         that win a race only now and then (*sometimes*) get four tries, and decide nothing.\n\n\
         Without that, on 2026-11-26 with cgroup v1 alone, ours passed 30 (prestart hooks were not yet told `created`, which \
         one more program wants), crun 1.28 33 and runc 1.1.5 25; with it crun passed 36. It passes three that ours does not \
         and should not: it leaves out an AppArmor profile and a mount label that it cannot apply, and runs a shell where the \
         config has no process.\n\n",
        "`github.com/opencontainers/runtime-tools`"
    );
    let _ = writeln!(text, "| | {} |", names.join(" | "));
    let _ = writeln!(text, "| --- |{}", " --- |".repeat(names.len()));
    for view in views {
        let _ = write!(text, "| {} |", view.title());
        for index in 0..runtimes.len() {
            let mine: Vec<&Row> = rows.iter().filter(|row| row.view == *view).collect();
            let good = mine.iter().filter(|row| row.verdicts.get(index).is_some_and(super::tap::Verdict::is_pass));
            let _ = write!(text, " {} of {} pass |", good.count(), mine.len());
        }
        text.push('\n');
    }
    text.push('\n');
    let columns = views.iter().flat_map(|view| names.iter().map(move |name| format!("{name}, {}", view.title())));
    let columns: Vec<String> = columns.collect();
    let _ = writeln!(text, "| program | {} | why |", columns.join(" | "));
    let _ = writeln!(text, "| --- |{} --- |", " --- |".repeat(columns.len()));
    for first in rows.iter().filter(|row| row.view == View::Host) {
        let all: Vec<&Row> = rows.iter().filter(|row| row.program == first.program).collect();
        let cells: Vec<String> =
            all.iter().flat_map(|row| row.verdicts.iter().map(super::tap::Verdict::word)).collect();
        let _ = writeln!(text, "| {} | {} | {} |", first.program, cells.join(" | "), why(&all, reasons));
    }
    text
}

/// Why ours does not pass, by view where the views differ.
fn why(rows: &[&Row], reasons: &Reasons) -> String {
    let mut all: Vec<String> = Vec::new();
    for row in rows.iter().filter(|row| !row.verdicts.first().is_some_and(super::tap::Verdict::is_pass)) {
        let text = reason(reasons, &row.program, row.view).unwrap_or("not known").replace('|', "\\|");
        let known = all.iter().any(|said| said.ends_with(&text));
        match row.view {
            _ if known => {}
            View::Host => all.push(text),
            view => all.push(format!("{}: {text}", view.title())),
        }
    }
    match (all.is_empty(), rows.iter().all(|row| row.verdicts.iter().all(super::tap::Verdict::is_pass))) {
        (true, true) => "all pass".into(),
        (true, false) => "ours passes, as it should".into(),
        (false, _) => all.join("; "),
    }
}

/// `runc 1.1.5`, by what it says of itself; ours answers with the version of runc that engines look for.
fn name(runtime: &Runtime) -> String {
    if runtime.is_ours() {
        return "ours".into();
    }
    let output = Command::new(&runtime.path).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let version = text.lines().next().and_then(|line| line.split(' ').nth(2)).unwrap_or("").split('+').next();
    format!("{} {}", runtime.name, version.unwrap_or("")).trim().to_owned()
}
