//! The cases, one file per noun of the plan.

mod bad_input;
mod cli;
mod hook;
mod lifecycle;
mod process;

use crate::harness::Case;

/// Every case, in the order they are run.
pub fn all() -> Vec<Case> {
    [lifecycle::CASES, cli::CASES, process::CASES, hook::CASES, bad_input::CASES].concat()
}
