//! One case with one runtime, once: what came of it, and what it left on the host.

use crate::expect;
use crate::harness::Case;
use crate::leak;
use crate::machine::patient;
use crate::runtime::Runtime;
use crate::test::{Failure, Outcome, Test};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[derive(Debug)]
pub enum Verdict {
    Passed,
    /// A listed difference that is still there.
    Expected(String),
    Skipped(String),
    Failed(String),
}

#[derive(Debug)]
pub struct Attempt {
    pub verdict: Verdict,
    pub remarks: Vec<String>,
    pub transcript: String,
}

impl Attempt {
    /// In a folder of its own below `folder`. `expected`: why it is known to fail, if it is.
    pub fn new(case: &Case, runtime: &Runtime, folder: &Path, all: bool, expected: Option<&String>) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let id = format!("cf{}-{}x", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut test = match Test::new(runtime, id.clone(), folder.join(id), all) {
            Ok(test) => test,
            Err(e) => {
                let verdict = Verdict::Failed(format!("the test itself: {e}"));
                return Self { verdict, remarks: Vec::new(), transcript: String::new() };
            }
        };
        // There is no point in waiting long for what is known to take for ever.
        if expected.is_some_and(|reason| reason.contains("for ever")) {
            test.limit = patient(Duration::from_secs(2));
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| (case.run)(&test)));
        let outcome = outcome.unwrap_or_else(|_| Err(Failure::Fail("the test itself panicked".into())));
        let outcome = clean_up(&test, outcome);
        Self { verdict: judge(outcome, expected), remarks: test.remarks(), transcript: test.transcript() }
    }

    pub fn failed(&self) -> bool {
        matches!(self.verdict, Verdict::Failed(_))
    }
}

/// What is left behind fails every case.
fn clean_up(test: &Test, mut outcome: Outcome) -> Outcome {
    if matches!(outcome, Err(Failure::Fail(_))) {
        // It stopped half way: what the runtime itself cannot take away is a leak, the rest only noise.
        let _ = test.rt(&["delete", "--force", &test.id]);
    }
    let left = leak::left(&test.id, &test.folder, &test.state);
    if !left.is_empty() {
        let left = format!("left behind: {}", left.join("; "));
        outcome = Err(Failure::Fail(match outcome {
            Ok(()) => left,
            Err(Failure::Fail(why)) => format!("{why}\n    {left}"),
            Err(Failure::Skip(why)) => format!("skipped ({why}), yet {left}"),
        }));
        leak::clean(&test.id, &test.folder);
    }
    if leak::mounts_under(&test.folder).is_empty() {
        let _ = std::fs::remove_dir_all(&test.folder);
    }
    outcome
}

fn judge(outcome: Outcome, expected: Option<&String>) -> Verdict {
    match (outcome, expected) {
        (Ok(()), Some(reason)) if !reason.starts_with(expect::SOMETIMES) => {
            Verdict::Failed(format!("passes, but is listed as an expected difference ({reason})"))
        }
        (Ok(()), _) => Verdict::Passed,
        (Err(Failure::Skip(why)), _) => Verdict::Skipped(why),
        (Err(Failure::Fail(_)), Some(reason)) => Verdict::Expected(reason.clone()),
        (Err(Failure::Fail(why)), None) => Verdict::Failed(why),
    }
}

#[cfg(test)]
mod tests {
    use super::{Verdict, judge};
    use crate::test::Failure;

    #[test]
    fn a_listed_difference_must_be_there() {
        let (always, sometimes) = ("why".to_owned(), "sometimes: why".to_owned());
        let failed = || Err(Failure::Fail("x".into()));
        assert!(matches!(judge(Ok(()), None), Verdict::Passed));
        assert!(matches!(judge(Ok(()), Some(&always)), Verdict::Failed(_)));
        assert!(matches!(judge(Ok(()), Some(&sometimes)), Verdict::Passed));
        assert!(matches!(judge(failed(), Some(&always)), Verdict::Expected(_)));
        assert!(matches!(judge(failed(), None), Verdict::Failed(_)));
        assert!(matches!(judge(Err(Failure::Skip("x".into())), Some(&always)), Verdict::Skipped(_)));
    }
}
