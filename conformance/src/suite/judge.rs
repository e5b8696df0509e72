//! Who is at fault when a program does not pass, and whether that is known.

use super::{Row, View};
use crate::expect;
use crate::runtime::Runtime;
use std::collections::BTreeMap;

pub type Reasons = BTreeMap<String, String>;

/// What every reason begins with: whose fault it is. There is none for a fault of ours, and no reason counts where runc
/// passes, but that chance decides: then runc only was the slower one.
const FAULTS: [&str; 4] = ["suite: ", "machine: ", "spec: ", expect::SOMETIMES];

/// `expect/runtime-tools.toml`; a name may begin with `v1 ` or `v2 ` if it is about that view only.
pub fn reasons() -> Result<Reasons, String> {
    let all = expect::parse(include_str!("../../expect/runtime-tools.toml"))?;
    match all.iter().find(|(_, why)| !FAULTS.iter().any(|fault| why.starts_with(fault))) {
        Some((name, _)) => Err(format!("expect/runtime-tools.toml: {name}: begins with none of {FAULTS:?}")),
        None => Ok(all),
    }
}

/// The reason for a program in a view.
pub fn reason<'a>(reasons: &'a Reasons, program: &str, view: View) -> Option<&'a str> {
    reasons.get(&format!("{} {program}", view.title())).or_else(|| reasons.get(program)).map(String::as_str)
}

/// What is wrong with a row, if anything. The first verdict is ours.
fn wrong(row: &Row, runtimes: &[Runtime], reasons: &Reasons) -> Option<String> {
    let ours = row.verdicts.first()?;
    let why = reason(reasons, &row.program, row.view);
    if ours.is_pass() {
        return None;
    }
    match why {
        None => return Some(format!("no reason is known: {}", ours.complaint())),
        Some(why) if why.starts_with(expect::SOMETIMES) => return None,
        Some(_) => {}
    }
    let better = row
        .verdicts
        .iter()
        .zip(runtimes)
        .skip(1)
        .find(|(verdict, runtime)| runtime.name == "runc" && verdict.is_pass());
    better.map(|(_, runtime)| format!("passes with {}: {}", runtime.name, ours.complaint()))
}

/// Says all, and gives the exit status. `complete`: no program was left out.
pub fn tell(rows: &[Row], runtimes: &[Runtime], reasons: &Reasons, complete: bool) -> i32 {
    let (mut passed, mut explained, mut failed) = (0, 0, Vec::new());
    for row in rows {
        let Some(ours) = row.verdicts.first() else { continue };
        let name = format!("{:?} {}", row.view, row.program);
        let others: Vec<String> =
            row.verdicts.iter().zip(runtimes).skip(1).map(|(v, r)| format!("{}: {}", r.name, v.word())).collect();
        let others = others.join(", ");
        if let Some(wrong) = wrong(row, runtimes, reasons) {
            println!("FAILED   {name:<44} {:<18} ({others})\n    {wrong}", ours.word());
            failed.push(format!("{name}: {wrong}"));
        } else if ours.is_pass() {
            passed += 1;
        } else {
            explained += 1;
            let why = reason(reasons, &row.program, row.view).unwrap_or_default();
            println!("skipped  {name:<44} {:<18} ({others})  {why}", ours.word());
        }
    }
    if complete {
        failed.extend(stale(rows, reasons));
    }
    for (index, runtime) in runtimes.iter().enumerate() {
        for view in View::ALL {
            let mine: Vec<&Row> = rows.iter().filter(|row| row.view == view).collect();
            let good =
                mine.iter().filter(|row| row.verdicts.get(index).is_some_and(super::tap::Verdict::is_pass)).count();
            println!("{:?}: {} passes {good} of {}", view, runtime.name, mine.len());
        }
    }
    if !failed.is_empty() {
        println!("\nfailures:");
        failed.iter().for_each(|line| println!("  {line}"));
    }
    println!("\n{passed} passed, {} failed, {explained} skipped", failed.len());
    i32::from(!failed.is_empty())
}

/// Reasons for what passes in every view, or for what does not exist.
fn stale(rows: &[Row], reasons: &Reasons) -> Vec<String> {
    let mut found = Vec::new();
    for (name, why) in reasons.iter().filter(|(_, why)| !why.starts_with(expect::SOMETIMES)) {
        let (view, program) = match View::ALL.into_iter().find_map(|v| Some((v, name.strip_prefix(v.title())?))) {
            Some((view, rest)) if rest.starts_with(' ') => (Some(view), rest.trim_start()),
            _ => (None, name.as_str()),
        };
        let about = |row: &&Row| row.program == program && view.is_none_or(|view| view == row.view);
        let mut about = rows.iter().filter(about).peekable();
        let known = about.peek().is_some() || (view.is_some() && rows.iter().all(|row| row.view == View::Host));
        if !known {
            found.push(format!("expect/runtime-tools.toml names {name}, which does not exist"));
        } else if about.all(|row| row.verdicts.first().is_some_and(super::tap::Verdict::is_pass)) && view.is_none() {
            found.push(format!("{name} passes, but expect/runtime-tools.toml explains why not ({why})"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::tap::Verdict;
    use super::*;
    use std::path::Path;

    fn row(program: &str, ours: &str, runc: &str) -> Row {
        let verdicts = [ours, runc].iter().map(|text| Verdict::read(text, "", 0)).collect();
        Row { program: program.into(), view: View::Host, verdicts }
    }

    #[test]
    fn runc_decides() {
        let runtimes = [Runtime::new(Path::new("/x/runtime")), Runtime::new(Path::new("/x/runc"))];
        let reasons: Reasons = [("known", "suite: x"), ("race", "sometimes: x")]
            .iter()
            .map(|(name, why)| ((*name).to_owned(), (*why).to_owned()))
            .collect();
        let wrong = |row: Row| wrong(&row, &runtimes, &reasons).is_some();
        assert!(!wrong(row("any", "ok 1 - a", "not ok 1 - a")));
        assert!(wrong(row("any", "not ok 1 - a", "not ok 1 - a")), "no reason");
        assert!(!wrong(row("known", "not ok 1 - a", "not ok 1 - a")));
        assert!(wrong(row("known", "not ok 1 - a", "ok 1 - a")), "runc passes it");
        assert!(!wrong(row("race", "not ok 1 - a", "not ok 1 - a")));
        assert!(!wrong(row("race", "not ok 1 - a", "ok 1 - a")), "a race that runc wins");
    }

    #[test]
    fn reasons_that_are_not_needed_are_wrong() {
        let reasons: Reasons =
            [("a".to_owned(), "suite: x".to_owned()), ("b".to_owned(), "suite: x".to_owned())].into();
        assert_eq!(stale(&[row("a", "ok 1 - a", "")], &reasons).len(), 2);
        assert!(super::reasons().is_ok());
    }
}
