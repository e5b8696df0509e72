//! The cases, one file per noun of the plan.

mod attack;
mod bad_input;
mod cgroup;
mod cli;
mod device;
mod ids;
mod isolation;
mod lifecycle;
mod limits;
mod mount;
mod namespace;
mod paths;
mod process;
mod shell;
mod stdio;
mod terminal;
mod trace;

use crate::harness::Case;

/// Every case, in the order they are run.
pub fn all() -> Vec<Case> {
    [
        isolation::CASES,
        lifecycle::CASES,
        cli::CASES,
        process::CASES,
        stdio::CASES,
        ids::CASES,
        limits::CASES,
        namespace::CASES,
        mount::CASES,
        paths::CASES,
        device::CASES,
        terminal::CASES,
        shell::CASES,
        cgroup::CASES,
        bad_input::CASES,
        attack::CASES,
        trace::CASES,
    ]
    .concat()
}
