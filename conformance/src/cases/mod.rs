//! The cases, one file per noun of the plan.

mod bad_input;
mod cli;
mod clock;
mod features;
mod hook;
mod isolation;
mod label;
mod lifecycle;
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
        hook::CASES,
        features::CASES,
        bad_input::CASES,
        sysctl::CASES,
        scheduling::CASES,
        clock::CASES,
        label::CASES,
        rootless::CASES,
    ];
    nouns.concat()
}
