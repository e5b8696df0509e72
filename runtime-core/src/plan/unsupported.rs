//! What this version cannot do yet. A config that asks for it is refused: it is never started without.

use super::Context;

/// Refuses every property that no other noun plans.
pub(super) fn check(cx: &mut Context<'_>) {
    let spec = cx.spec;
    let mut refuse = |asked: bool, pointer: &str| {
        if asked {
            cx.problem(pointer, "not supported by this version of runtime");
        }
    };
    if let Some(process) = &spec.process {
        refuse(process.apparmor_profile.as_ref().is_some_and(|p| !p.is_empty()), "/process/apparmorProfile");
        refuse(process.selinux_label.as_ref().is_some_and(|l| !l.is_empty()), "/process/selinuxLabel");
        refuse(process.scheduler.is_some(), "/process/scheduler");
        refuse(process.io_priority.is_some(), "/process/ioPriority");
        refuse(process.exec_cpu_affinity.is_some(), "/process/execCPUAffinity");
    }
    if let Some(linux) = &spec.linux {
        refuse(linux.sysctl.as_ref().is_some_and(|map| !map.is_empty()), "/linux/sysctl");
        refuse(linux.net_devices.as_ref().is_some_and(|map| !map.is_empty()), "/linux/netDevices");
        refuse(linux.time_offsets.as_ref().is_some_and(|map| !map.is_empty()), "/linux/timeOffsets");
        refuse(linux.mount_label.as_ref().is_some_and(|label| !label.is_empty()), "/linux/mountLabel");
        refuse(linux.intel_rdt.is_some(), "/linux/intelRdt");
        refuse(linux.memory_policy.is_some(), "/linux/memoryPolicy");
        refuse(linux.personality.is_some(), "/linux/personality");
    }
}
