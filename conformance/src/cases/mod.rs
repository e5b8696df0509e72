//! The cases, one file per noun: what stands for a property of the spec is in docs/spec.md, for a flag in docs/cli.md.

mod affinity;
mod annotation;
mod attack;
mod attack_dev;
mod attack_mount;
mod attack_process;
mod bad_input;
mod caps;
mod cgroup;
mod chroot;
mod cli;
mod clock;
mod dev;
mod device;
mod device_rule;
mod events;
mod exec;
mod features;
mod field;
mod hook;
mod hook_failure;
mod hostile;
mod idmap;
mod ids;
mod inspect;
mod intruder;
mod isolation;
mod kernel;
mod label;
mod lifecycle;
mod mask;
mod mount;
mod mount_bind;
mod mount_cgroup;
mod mount_option;
mod mount_point;
mod mount_tmpfs;
mod namespace;
mod net_device;
mod notify;
mod option;
mod pause;
mod process;
mod proof;
mod ps;
mod race;
mod rdt;
mod readonly_path;
mod resource;
mod rlimit;
mod root;
mod rootless;
mod rootless_cgroup;
mod scheduling;
mod seccomp;
mod shell;
mod signal;
mod stdio;
mod sysctl;
mod systemd;
mod terminal;
mod trace;
mod unified;
mod unit;
mod unit_rootless;
mod update;
mod user_namespace;
mod uts;

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
        attack_mount::CASES,
        attack_dev::CASES,
        attack_process::CASES,
        race::CASES,
        hostile::CASES,
        intruder::CASES,
        cgroup::CASES,
        chroot::CASES,
        clock::CASES,
        device::CASES,
        device_rule::CASES,
        exec::CASES,
        features::CASES,
        field::CASES,
        hook::CASES,
        hook_failure::CASES,
        ids::CASES,
        inspect::CASES,
        kernel::CASES,
        label::CASES,
        caps::CASES,
        rlimit::CASES,
        events::CASES,
        pause::CASES,
        ps::CASES,
        mask::CASES,
        mount::CASES,
        mount_bind::CASES,
        mount_option::CASES,
        mount_tmpfs::CASES,
        mount_point::CASES,
        mount_cgroup::CASES,
        idmap::CASES,
        namespace::CASES,
        user_namespace::CASES,
        uts::CASES,
        net_device::CASES,
        dev::CASES,
        notify::CASES,
        option::CASES,
        update::CASES,
        readonly_path::CASES,
        annotation::CASES,
        affinity::CASES,
        rdt::CASES,
        resource::CASES,
        root::CASES,
        rootless::CASES,
        rootless_cgroup::CASES,
        scheduling::CASES,
        seccomp::CASES,
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
        unit_rootless::CASES,
    ];
    nouns.concat()
}
