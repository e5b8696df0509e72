//! `cgroupsPath` and `resources`: where, and which files get which values.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Context, InRoot, Kind, Namespaces};
use crate::cgroup::{Devices, Mode, NO_RIGHTS, Placement, Write, devices, place, writes};
use crate::spec::Resources;
use crate::systemd::{self, Property, Unit};

/// The container's cgroup.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CgroupPlan {
    /// Its directories.
    pub placement: Placement,
    /// Limits, in order.
    pub writes: Vec<Write>,
    /// Device rules.
    pub devices: Devices,
    /// Directories the caller has no right to are left out, unless a limit needs them.
    pub forgiving: bool,
    /// The unit of systemd that holds it, where systemd keeps cgroups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitPlan>,
    /// Host uid that owns the container's subtree; absent: the caller.
    pub owner: Option<u32>,
}

/// A unit that is made for the container.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UnitPlan {
    /// Which.
    pub unit: Unit,
    /// What it is made with, in one call.
    pub properties: Vec<Property>,
}

pub(super) fn plan(cx: &mut Context<'_>, namespaces: &Namespaces) -> Option<CgroupPlan> {
    let linux = cx.spec.linux.as_ref();
    let none = Resources::default();
    let resources = linux.and_then(|linux| linux.resources.as_ref()).unwrap_or(&none);
    let path = linux.and_then(|linux| linux.cgroups_path.as_deref()).filter(|path| !path.is_empty());
    let rootless = cx.request.rootless.unwrap_or_else(|| cx.facts.rootless());
    if cx.request.no_cgroup {
        return without(cx, resources, false, true);
    }
    let unit = unit(cx, path)?;
    let forgiving = rootless && path.is_none() && unit.is_none();
    let in_unit = unit.as_ref().map(|(_, path)| path.as_str());
    let path = in_unit.or(path);
    if cx.facts.cgroup.hierarchies.is_empty() {
        return without(cx, resources, path.is_some(), rootless);
    }
    let placement = match place(&cx.facts.cgroup, path, &cx.request.id) {
        Ok(placement) => placement,
        // The caller's own cgroup is none he sees.
        Err(_) if forgiving => return without(cx, resources, false, true),
        Err(problem) => {
            cx.problems.push(problem);
            return None;
        }
    };
    // The kernel refuses device programs, and lists on version 1, to all but root of the host; a user namespace
    // keeps everybody from foreign nodes anyway.
    let user = namespaces.is_private(Kind::User) || cx.facts.user_namespace;
    warn(cx, &placement, resources);
    match (writes(&placement, resources), devices(&placement, resources.devices.as_deref(), user)) {
        (Ok(writes), Ok(devices)) => {
            let unit = match unit {
                Some((unit, _)) => Some(properties(cx, unit, &placement, resources, &devices)?),
                None => None,
            };
            Some(CgroupPlan { placement, writes, devices, forgiving, unit, owner: owner(cx, namespaces) })
        }
        (writes, devices) => {
            cx.problems.extend(writes.err().into_iter().chain(devices.err()).flatten());
            None
        }
    }
}

/// With systemd: the unit, and its path beneath the mount points. `None`: the problem is noted.
#[allow(clippy::option_option, reason = "no systemd is not a problem")]
fn unit(cx: &mut Context<'_>, path: Option<&str>) -> Option<Option<(Unit, String)>> {
    let Some(base) = &cx.facts.manager else { return Some(None) };
    let user = cx.facts.rootless();
    if user && cx.facts.cgroup.mode != Mode::V2 {
        cx.problem("/linux/cgroupsPath", "a user's systemd keeps cgroups on version 2 alone");
        return None;
    }
    match systemd::unit(path, &cx.request.id, user) {
        Ok(unit) => {
            let path = format!("/{base}/{}", unit.path());
            Some(Some((unit, path)))
        }
        Err(problem) => {
            cx.problems.push(problem);
            None
        }
    }
}

fn properties(
    cx: &mut Context<'_>,
    unit: Unit,
    placement: &Placement,
    resources: &Resources,
    devices: &Devices,
) -> Option<UnitPlan> {
    let none = BTreeMap::new();
    let annotations = cx.spec.annotations.as_ref().unwrap_or(&none);
    match systemd::properties(&unit, &cx.request.id, placement.mode, resources, devices, annotations) {
        Ok(properties) => Some(UnitPlan { unit, properties }),
        Err(problems) => {
            cx.problems.extend(problems);
            None
        }
    }
}

/// What runc leaves out too, because the kernel cannot do it any more, or not in version 2.
fn warn(cx: &mut Context<'_>, placement: &Placement, resources: &Resources) {
    let Some(memory) = &resources.memory else { return };
    let v2 = placement.of("memory").and_then(|place| placement.dirs.get(place)).is_some_and(|place| place.v2);
    for (asked, member, why) in [
        (memory.kernel.is_some_and(|limit| limit != 0), "kernel", "the kernel has no such limit any more"),
        (memory.kernel_tcp.is_some_and(|limit| limit != 0), "kernelTCP", "the kernel has no such limit any more"),
        (v2 && memory.swappiness.is_some(), "swappiness", "cgroup v2 has none"),
    ] {
        if asked {
            cx.warnings.push(format!("/linux/resources/memory/{member} is ignored: {why}"));
        }
    }
}

/// Who manages the subtree, where the container has a view of its own that it may write to: version 2, a cgroup
/// namespace, and the file system mounted read-write (config-linux.md, "Cgroup ownership").
fn owner(cx: &Context<'_>, namespaces: &Namespaces) -> Option<u32> {
    if cx.facts.cgroup.mode != Mode::V2 || !namespaces.is_private(Kind::Cgroup) || !cx.facts.changes_owners() {
        return None;
    }
    let writable = |mount: &crate::spec::Mount| {
        let cgroup = matches!(mount.typ.as_deref(), Some("cgroup" | "cgroup2"));
        let here = mount.destination.as_deref().is_some_and(|path| InRoot::new(path).0 == "sys/fs/cgroup");
        cgroup && here && !mount.options.iter().flatten().any(|option| option == "ro" || option == "rro")
    };
    if !cx.spec.mounts.iter().flatten().any(writable) {
        return None;
    }
    let uid = cx.spec.process.as_ref().and_then(|process| process.user.as_ref()?.uid).unwrap_or(0);
    let owner = match &namespaces.maps {
        Some(maps) => super::ids::host_id(&maps.uid, uid)?,
        // Whose ids a joined user namespace has is not known here.
        None if namespaces.is_joined(Kind::User) => return None,
        None => uid,
    };
    (owner != cx.facts.euid).then_some(owner)
}

/// No cgroup at all: nothing may depend on one.
fn without(cx: &mut Context<'_>, resources: &Resources, path: bool, rootless: bool) -> Option<CgroupPlan> {
    let none = Placement::default();
    if path {
        cx.problem("/linux/cgroupsPath", "there is no cgroup file system here");
    }
    let mut problems = writes(&none, resources).err().unwrap_or_default();
    if !rootless && resources.devices.as_ref().is_some_and(|rules| !rules.is_empty()) {
        problems.extend(devices(&none, resources.devices.as_deref(), false).err().into_iter().flatten());
    }
    for problem in &mut problems {
        if rootless {
            problem.message = format!("{NO_RIGHTS}: {}", problem.message);
        }
    }
    cx.problems.extend(problems);
    None
}
