//! The cases, one file per noun of the plan.

mod bad_input;
mod cli;
mod clock;
mod isolation;
mod label;
mod lifecycle;
mod namespace;
mod net_device;
mod privilege;
mod process;
mod scheduling;
mod sysctl;

use crate::harness::Case;

/// Every case, in the order they are run.
pub fn all() -> Vec<Case> {
    [
        isolation::CASES,
        lifecycle::CASES,
        cli::CASES,
        process::CASES,
        bad_input::CASES,
        sysctl::CASES,
        scheduling::CASES,
        clock::CASES,
        label::CASES,
        namespace::CASES,
        net_device::CASES,
        privilege::CASES,
    ]
    .concat()
}
