//! The cases, one file per noun of the plan.

mod bad_input;
mod cli;
mod isolation;
mod lifecycle;
mod process;

use crate::harness::Case;

/// Every case, in the order they are run.
pub fn all() -> Vec<Case> {
    [isolation::CASES, lifecycle::CASES, cli::CASES, process::CASES, bad_input::CASES].concat()
}
