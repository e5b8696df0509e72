//! The cases, one file per noun of the plan.

mod bad_input;
mod cli;
mod clock;
mod isolation;
mod label;
mod lifecycle;
mod namespace;
mod privilege;
mod process;
mod rootless;
mod scheduling;
mod sysctl;

use crate::harness::Case;

/// Every case, in the order they are run.
pub fn all() -> Vec<Case> {
    let nouns: &[&[Case]] = &[
        isolation::CASES,
        lifecycle::CASES,
        cli::CASES,
        process::CASES,
        bad_input::CASES,
        clock::CASES,
        label::CASES,
        namespace::CASES,
        privilege::CASES,
        rootless::CASES,
        scheduling::CASES,
        sysctl::CASES,
    ];
    nouns.concat()
}
