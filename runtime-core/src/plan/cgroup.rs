//! `cgroupsPath` and `resources`: where, and which files get which values.

use serde::Serialize;

use super::{Context, Kind, Namespaces};
use crate::cgroup::{Devices, Placement, Write, devices, place, writes};
use crate::spec::Resources;

/// The container's cgroup.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CgroupPlan {
    /// Its directories.
    pub placement: Placement,
    /// Limits, in order.
    pub writes: Vec<Write>,
    /// Device rules.
    pub devices: Devices,
}

pub(super) fn plan(cx: &mut Context<'_>, namespaces: &Namespaces) -> Option<CgroupPlan> {
    let linux = cx.spec.linux.as_ref();
    let none = Resources::default();
    let resources = linux.and_then(|linux| linux.resources.as_ref()).unwrap_or(&none);
    let path = linux.and_then(|linux| linux.cgroups_path.as_deref()).filter(|path| !path.is_empty());
    if cx.facts.cgroup.hierarchies.is_empty() || !cx.facts.privileged() {
        if path.is_some() || resources.memory.is_some() || resources.cpu.is_some() || resources.pids.is_some() {
            let message = "rootless needs no limits + no cgrouppath when no permission is granted for cgroups";
            cx.problem("/linux/resources", message);
        }
        return None;
    }
    let placement = match place(&cx.facts.cgroup, path, &cx.request.id) {
        Ok(placement) => placement,
        Err(problem) => {
            cx.problems.push(problem);
            return None;
        }
    };
    let user = namespaces.is_private(Kind::User);
    match (writes(&placement, resources), devices(&placement, resources.devices.as_deref(), user)) {
        (Ok(writes), Ok(devices)) => Some(CgroupPlan { placement, writes, devices }),
        (writes, devices) => {
            cx.problems.extend(writes.err().into_iter().chain(devices.err()).flatten());
            None
        }
    }
}
