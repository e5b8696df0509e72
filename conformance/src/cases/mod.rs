//! The cases, one file per noun of the plan.

mod bad_input;
mod cli;
mod lifecycle;
mod mount;
mod process;
mod root;

use crate::harness::Case;

/// Every case, in the order they are run.
pub fn all() -> Vec<Case> {
    [lifecycle::CASES, cli::CASES, process::CASES, mount::CASES, root::CASES, bad_input::CASES].concat()
}
