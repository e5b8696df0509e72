//! The cases, one file per noun of the plan.

mod attack;
mod bad_input;
mod cgroup;
mod cli;
mod clock;
mod device;
mod filesystem;
mod hook;
mod ids;
mod isolation;
mod label;
mod lifecycle;
mod limits;
mod mount;
mod namespace;
mod paths;
mod privilege;
mod process;
mod root;
mod rootless;
mod scheduling;
mod sharing;
mod shell;
mod stdio;
mod sysctl;
mod terminal;
mod trace;

use crate::harness::Case;

/// Every case, in the order they are run.
pub fn all() -> Vec<Case> {
    let nouns: &[&[Case]] = &[
        isolation::CASES,
        lifecycle::CASES,
        cli::CASES,
        process::CASES,
        stdio::CASES,
        ids::CASES,
        limits::CASES,
        privilege::CASES,
        scheduling::CASES,
        clock::CASES,
        namespace::CASES,
        rootless::CASES,
        sharing::CASES,
        mount::CASES,
        filesystem::CASES,
        root::CASES,
        paths::CASES,
        device::CASES,
        label::CASES,
        sysctl::CASES,
        hook::CASES,
        terminal::CASES,
        shell::CASES,
        cgroup::CASES,
        bad_input::CASES,
        attack::CASES,
        trace::CASES,
    ];
    nouns.concat()
}
