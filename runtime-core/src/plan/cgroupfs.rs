//! The cgroup filesystem: what the host has, as far as the container may see it.

use super::mount::label;
use super::option::{Options, attr};
use super::{Context, InRoot, Kind, MountKind, MountStep, Namespaces, RootPlan, Slot, SlotSource, Source};
use crate::cgroup::{Hierarchy, Mode};
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
        let mut settings: Vec<_> = options.data.iter().map(|(name, value, _)| (name.clone(), value.clone())).collect();
        label(cx, "cgroup2", &mut settings);
        let kind = MountKind::Filesystem {
            fstype: "cgroup2".to_owned(),
            source: mount.source.clone().unwrap_or_default(),
            options: settings,
            or_bind: instead(cx, namespaces),
        };
        let mut step = MountStep::new(kind, target, options);
        step.clear = 0;
        steps.push(step);
        return;
    }
    for (name, _, index) in &options.data {
        let message = format!("{name:?}: a control group mount of version 1 has no options of its own");
        cx.problem(format!("{at}/options/{index}"), message);
    }
    let mut settings = vec![("mode".to_owned(), "755".to_owned())];
    label(cx, "tmpfs", &mut settings);
    let kind = MountKind::Filesystem {
        fstype: "tmpfs".to_owned(),
        source: "tmpfs".to_owned(),
        options: settings,
        or_bind: None,
    };
    let mut base = MountStep::new(kind, target.clone(), options);
    base.clear = 0;
    base.set &= !attr::RDONLY;
    base.readonly_late = options.set & attr::RDONLY != 0;
    steps.push(base);
    for (index, hierarchy) in cx.facts.cgroup.hierarchies.iter().enumerate().filter(|(_, h)| !h.v2) {
        let below = InRoot(format!("{}/{}", target.0, hierarchy.name));
        if namespaces.is_private(Kind::Cgroup) {
            let kind = MountKind::Filesystem {
                fstype: "cgroup".to_owned(),
                source: "cgroup".to_owned(),
                options: hierarchy.controllers.iter().flat_map(|controller| v1_options(controller)).collect(),
                or_bind: None,
            };
            steps.push(MountStep { clear: 0, ..MountStep::new(kind, below, options) });
        } else {
            let source = own(cx.facts.privileged(), &mut cx.slots, index, hierarchy);
            let mut step = MountStep::new(MountKind::Bind { source, recursive: false }, below, options);
            step.cut_loose(false, root.binds);
            steps.push(step);
        }
        for controller in hierarchy.controllers.iter().filter(|c| **c != hierarchy.name && !c.starts_with("name=")) {
            let link = InRoot(format!("{}/{controller}", target.0));
            steps.push(MountStep::new(MountKind::Link(hierarchy.name.clone()), link, &Options::default()));
        }
    }
}

/// The container's own cgroup, for where the kernel will not mount cgroup2: the cgroup namespace is not one of the
/// container's user namespace. (Elsewhere no descriptor is opened for it.)
pub(super) fn instead(cx: &mut Context<'_>, namespaces: &Namespaces) -> Option<Source> {
    let ours = cx.facts.privileged() && !namespaces.is_private(Kind::User);
    if ours || namespaces.is_private(Kind::Cgroup) {
        return None;
    }
    let (index, hierarchy) = cx.facts.cgroup.hierarchies.iter().enumerate().find(|(_, hierarchy)| hierarchy.v2)?;
    Some(own(cx.facts.privileged(), &mut cx.slots, index, hierarchy))
}

/// The container's directory of a hierarchy; without the right to make one, the caller's own.
fn own(privileged: bool, slots: &mut Vec<SlotSource>, index: usize, hierarchy: &Hierarchy) -> Source {
    if !privileged {
        return Source::Path(format!("{}{}", hierarchy.mount, hierarchy.own.as_deref().unwrap_or_default()));
    }
    slots.push(SlotSource::CgroupClone { hierarchy: index });
    Source::Slot(Slot(u16::try_from(slots.len() - 1).unwrap_or(u16::MAX)))
}

/// "cpu" is a flag; "name=systemd" is a hierarchy without controllers.
fn v1_options(controller: &str) -> Vec<(String, String)> {
    match controller.split_once('=') {
        Some((name, value)) => vec![("none".to_owned(), String::new()), (name.to_owned(), value.to_owned())],
        None => vec![(controller.to_owned(), String::new())],
    }
}
