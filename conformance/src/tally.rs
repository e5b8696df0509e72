//! What came of all cases: printed one by one as it comes, and added up.

use crate::attempt::Verdict;
use crate::harness::Case;
use crate::runtime::Runtime;
use std::time::Duration;

#[derive(Debug, Default)]
pub struct Tally {
    passed: usize,
    failed: Vec<String>,
    skipped: usize,
    expected: usize,
}

impl Tally {
    /// What is wrong with the run itself.
    pub fn fail(&mut self, why: String) {
        self.failed.push(why);
    }

    /// A runtime that is not there, with so many cases.
    pub fn missing(&mut self, name: &str, why: &str, cases: usize) {
        println!("skipped  {name}: {cases} cases: {why}");
        self.skipped += cases;
    }

    pub fn tell(&mut self, case: &Case, runtime: &Runtime, verdict: &Verdict, took: Duration) {
        let name = format!("{:<10} {:<56} {:>6} ms", runtime.name, case.name, took.as_millis());
        match verdict {
            Verdict::Passed => {
                self.passed += 1;
                println!("passed   {name}");
            }
            Verdict::Expected(reason) => {
                self.expected += 1;
                println!("differs  {name}  {reason}");
            }
            Verdict::Skipped(why) => {
                self.skipped += 1;
                println!("skipped  {name}  {why}");
            }
            Verdict::Failed(why) => {
                self.failed.push(format!("{} {}: {why}", runtime.name, case.name));
                println!("FAILED   {name}\n    {why}");
            }
        }
    }

    /// The last lines, of which other programs read the very last; the exit status.
    pub fn end(&self) -> i32 {
        if !self.failed.is_empty() {
            println!("\nfailures:");
            self.failed.iter().for_each(|f| println!("  {f}"));
        }
        if self.expected > 0 {
            println!("\n{} expected differences (conformance/expect/)", self.expected);
        }
        println!("\n{} passed, {} failed, {} skipped", self.passed, self.failed.len(), self.skipped);
        i32::from(!self.failed.is_empty())
    }
}
