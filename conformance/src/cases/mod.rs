//! The cases, one file per noun of the plan.

mod attack;
mod bad_input;
mod cgroup;
mod chroot;
mod cli;
mod clock;
mod device;
mod exec;
mod features;
mod field;
mod hook;
mod hostile;
mod ids;
mod inspect;
mod intruder;
mod isolation;
mod kernel;
mod label;
mod lifecycle;
mod limits;
mod live;
mod mask;
mod mount;
mod mounting;
mod namespace;
mod net_device;
mod node;
mod notify;
mod option;
mod paths;
mod privilege;
mod process;
mod proof;
mod race;
mod rdt;
mod resource;
mod root;
mod rootless;
mod scheduling;
mod seccomp;
mod sharing;
mod shell;
mod signal;
mod stdio;
mod sysctl;
mod systemd;
mod terminal;
mod trace;
mod unified;
mod unit;

use crate::harness::Case;

/// Every case, in the order they are run.
pub fn all() -> Vec<Case> {
    let nouns: &[&[Case]] = &[
        isolation::CASES,
        lifecycle::CASES,
        cli::CASES,
        process::CASES,
        bad_input::CASES,
        attack::CASES,
        race::CASES,
        hostile::CASES,
        intruder::CASES,
        cgroup::CASES,
        chroot::CASES,
        clock::CASES,
        device::CASES,
        exec::CASES,
        features::CASES,
        field::CASES,
        hook::CASES,
        ids::CASES,
        inspect::CASES,
        kernel::CASES,
        label::CASES,
        limits::CASES,
        live::CASES,
        mask::CASES,
        mount::CASES,
        mounting::CASES,
        namespace::CASES,
        net_device::CASES,
        node::CASES,
        notify::CASES,
        option::CASES,
        paths::CASES,
        privilege::CASES,
        rdt::CASES,
        resource::CASES,
        root::CASES,
        rootless::CASES,
        scheduling::CASES,
        seccomp::CASES,
        sharing::CASES,
        shell::CASES,
        signal::CASES,
        stdio::CASES,
        sysctl::CASES,
        systemd::CASES,
        terminal::CASES,
        trace::CASES,
        proof::CASES,
        unified::CASES,
        unit::CASES,
    ];
    nouns.concat()
}
