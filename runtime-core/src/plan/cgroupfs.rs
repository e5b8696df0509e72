//! The cgroup filesystem: what the host has, as far as the container may see it.

use super::mount::label;
use super::option::{Options, attr};
use super::{Context, InRoot, Kind, MountKind, MountStep, Namespaces, RootPlan, SlotSource, Source};
use crate::cgroup::{self, Mode};
use crate::spec;

/// `type: cgroup`: cgroup2 where that is what the host has, else a tmpfs with one entry per v1 hierarchy.
#[allow(clippy::too_many_arguments, reason = "one call site; a struct for it would only rename them")]
pub(super) fn plan(
    cx: &mut Context<'_>,
    namespaces: &Namespaces,
    root: &RootPlan,
    at: &str,
    mount: &spec::Mount,
    target: InRoot,
    options: &Options,
    steps: &mut Vec<MountStep>,
) {
    if matches!(cx.facts.cgroup.mode, Mode::V2 | Mode::None) {
        if let Some(step) = the_hosts(cx, namespaces, root, &target, options) {
            steps.push(step);
            return;
        }
        let mut settings: Vec<_> = options.data.iter().map(|(name, value, _)| (name.clone(), value.clone())).collect();
        label(cx, "cgroup2", &mut settings);
        let kind = MountKind::Filesystem {
            fstype: "cgroup2".to_owned(),
            source: mount.source.clone().unwrap_or_default(),
            options: settings,
            or_bind: instead(cx, namespaces),
        };
        steps.push(MountStep::new(kind, target, options));
        return;
    }
    for (name, _, index) in &options.data {
        let message = format!("{name:?}: a control group mount of version 1 has no options of its own");
        cx.problem(format!("{at}/options/{index}"), message);
    }
    let mut settings = vec![("mode".to_owned(), "755".to_owned())];
    label(cx, "tmpfs", &mut settings);
    let mut base = MountStep::new(MountKind::filesystem("tmpfs", "tmpfs", settings), target.clone(), options);
    base.set &= !attr::RDONLY;
    base.readonly_late = options.set & attr::RDONLY != 0;
    steps.push(base);
    let facts = cx.facts;
    for (index, hierarchy) in facts.cgroup.hierarchies.iter().enumerate().filter(|(_, h)| !h.v2) {
        let below = InRoot(format!("{}/{}", target.0, hierarchy.name));
        if namespaces.is_private(Kind::Cgroup) {
            let settings = hierarchy.controllers.iter().flat_map(|controller| v1_options(controller)).collect();
            steps.push(MountStep::new(MountKind::filesystem("cgroup", "cgroup", settings), below, options));
        } else {
            let kind = MountKind::Bind { source: own(cx, index), recursive: false };
            let mut step = MountStep::new(kind, below, options);
            step.cut_loose(false, root.binds);
            steps.push(step);
        }
        for controller in hierarchy.controllers.iter().filter(|c| **c != hierarchy.name && !c.starts_with("name=")) {
            let link = InRoot(format!("{}/{controller}", target.0));
            steps.push(MountStep::new(MountKind::Link(hierarchy.name.clone()), link, &Options::default()));
        }
    }
}

/// True if the container's mounts are made in a user namespace.
pub(super) fn inside(cx: &Context<'_>, namespaces: &Namespaces) -> bool {
    namespaces.is_private(Kind::User) || cx.facts.user_namespace
}

/// The container's own cgroup, for where the kernel will not mount cgroup2: in a user namespace it only mounts what a
/// cgroup namespace of that user shows. (Elsewhere no descriptor is opened for it.)
pub(super) fn instead(cx: &mut Context<'_>, namespaces: &Namespaces) -> Option<Source> {
    if !inside(cx, namespaces) || namespaces.is_private(Kind::Cgroup) {
        return None;
    }
    let index = cx.facts.cgroup.hierarchies.iter().position(|hierarchy| hierarchy.v2)?;
    Some(own(cx, index))
}

/// The host's own cgroup2 mount, where the container has no cgroup namespace to itself. A new mount shows the same,
/// but made from the first cgroup namespace it sets the flags of the only superblock there is: without `nsdelegate` and
/// `memory_recursiveprot` among its options it would take them from the whole host (docs/kernel.md; the same fault in
/// runc: opencontainers/runc#5258). Who names options gets what he asks for.
pub(super) fn the_hosts(
    cx: &mut Context<'_>,
    namespaces: &Namespaces,
    root: &RootPlan,
    target: &InRoot,
    options: &Options,
) -> Option<MountStep> {
    if inside(cx, namespaces) || namespaces.is_private(Kind::Cgroup) || !options.data.is_empty() {
        return None;
    }
    let facts = cx.facts;
    let hierarchy = facts.cgroup.hierarchies.iter().find(|hierarchy| hierarchy.v2)?;
    let kind = MountKind::Bind { source: cx.host(hierarchy.mount.clone(), false), recursive: false };
    let mut step = MountStep::new(kind, target.clone(), options);
    step.relax = attr::REPLACED & !options.set & !options.clear;
    step.cut_loose(false, root.binds);
    Some(step)
}

/// The container's cgroup directory in one hierarchy, as the source of a bind.
fn own(cx: &mut Context<'_>, index: usize) -> Source {
    let facts = cx.facts;
    let hierarchy = facts.cgroup.hierarchies.get(index);
    let own = hierarchy.and_then(|h| Some(format!("{}{}", h.mount, h.own.as_deref()?.trim_end_matches('/'))));
    let own = own.unwrap_or_default();
    if facts.owns_mounts {
        return Source::Slot(cx.slot(SlotSource::CgroupClone { hierarchy: index, own }));
    }
    let path = cx.spec.linux.as_ref().and_then(|linux| linux.cgroups_path.as_deref());
    let placed = cgroup::place(&facts.cgroup, path, &cx.request.id).ok();
    let place = placed.and_then(|placement| placement.dirs.get(index).map(cgroup::Place::absolute));
    Source::Cgroup { place: index, path: place.unwrap_or_default(), own }
}

/// "cpu" is a flag; "name=systemd" is a hierarchy without controllers.
fn v1_options(controller: &str) -> Vec<(String, String)> {
    match controller.split_once('=') {
        Some((name, value)) => vec![("none".to_owned(), String::new()), (name.to_owned(), value.to_owned())],
        None => vec![(controller.to_owned(), String::new())],
    }
}
