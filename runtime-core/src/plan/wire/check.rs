//! What an encoded plan means to the stage is what the plan says: for tests and fuzzing.

use runtime_stage::sys::MOUNT_ATTR_RDONLY;
use runtime_stage::wire::{self, List, NO_SLOT, Text, UNSET, Wire, Z, flag, mount_flag, mount_kind};

use super::{Extra, encode};
use crate::plan::{DeviceSource, Hook, HookKind, Kind, MountKind, MountStep, Plan, Source};

/// Encodes the plan, decodes it as the stage does and compares everything. Panics where they differ.
pub fn survives(plan: &Plan) {
    survives_with(plan, &Extra::default());
}

/// Reads everything a plan of these bytes refers to, as the stage does. Whatever they are, it ends and does not
/// panic. True if nothing in it was refused.
pub fn reads(bytes: &[u8]) -> bool {
    let Ok(plan) = wire::Plan::new(bytes) else { return false };
    let header = plan.header;
    let names = [header.keyring, header.root_path, header.hostname, header.domainname, header.mask_context, header.cwd];
    let written = [header.time_offsets, header.apparmor, header.selinux, header.root_at];
    names.into_iter().chain(written).all(|text| plan.text(text).is_ok())
        && [header.hidden, header.readonly_paths, header.masked_paths, header.args, header.env, header.candidates]
            .into_iter()
            .all(|list| each(&plan, list, |text| plan.text(text).is_ok()))
        && [header.preserved, header.tasks].into_iter().all(|list| each(&plan, list, |_| true))
        && each(&plan, header.joins, |_| true)
        && each(&plan, header.tree_propagation, |_| true)
        && each(&plan, header.rlimits, |_| true)
        && each(&plan, header.scheduler, |_| true)
        && each(&plan, header.sysctls, |sysctl| plan.text(sysctl.path).is_ok() && plan.text(sysctl.value).is_ok())
        && [header.memory_nodes, header.cpus_initial, header.cpus_final]
            .into_iter()
            .all(|list| plan.raw(list, 8).is_ok())
        && each(&plan, header.links, |link| plan.text(link.path).is_ok() && plan.text(link.target).is_ok())
        && each(&plan, header.devices, |node| plan.text(node.path).is_ok() && plan.text(node.host).is_ok())
        && each(&plan, header.mounts, |mount| reads_mount(&plan, &mount))
        && [header.hook_creating, header.hook_created, header.hook_rest].into_iter().all(|text| plan.text(text).is_ok())
        && [header.create_container, header.start_container]
            .into_iter()
            .all(|list| each(&plan, list, |hook| reads_hook(&plan, &hook)))
        && each(&plan, header.hidden, |text| plan.text(text).is_ok())
        && each(&plan, header.tree_propagation, |_| true)
        && plan.raw(header.groups, 4).is_ok()
        && plan.raw(header.seccomp, 8).is_ok()
}

fn reads_hook(plan: &wire::Plan<'_>, hook: &wire::Hook) -> bool {
    plan.text(hook.path).is_ok()
        && [hook.args, hook.env].into_iter().all(|list| each(plan, list, |text| plan.text(text).is_ok()))
}

fn reads_mount(plan: &wire::Plan<'_>, mount: &wire::Mount) -> bool {
    [mount.target, mount.fstype, mount.source, mount.label, mount.data].into_iter().all(|text| plan.text(text).is_ok())
        && each(plan, mount.propagation, |_| true)
        && each(plan, mount.options, |option| plan.text(option.key).is_ok() && plan.text(option.value).is_ok())
}

/// Stops at the first refusal, as the stage does.
fn each<T: Wire>(plan: &wire::Plan<'_>, list: List<T>, good: impl Fn(T) -> bool) -> bool {
    plan.items(list).all(|(_, item)| item.is_ok_and(&good))
}

/// A plan, and which cgroup directories there are.
struct Decoded<'a>(wire::Plan<'a>, &'a [bool]);

impl Decoded<'_> {
    fn list<T: Wire>(&self, list: List<T>) -> Vec<T> {
        self.0.items(list).map(|(_, item)| item.expect("an item")).collect()
    }

    /// No NUL stands inside: to the kernel the text would end there.
    fn text(&self, text: Text) -> String {
        let text: Z<'_> = self.0.text(text).expect("a text");
        assert!(!text.bytes().contains(&0), "{:?}", text.bytes());
        assert_eq!(text.with_nul().last(), Some(&0));
        String::from_utf8(text.bytes().to_vec()).expect("UTF-8")
    }

    fn texts(&self, list: List<Text>) -> Vec<String> {
        self.list(list).into_iter().map(|text| self.text(text)).collect()
    }

    fn source(&self, slot: u32, path: Text, source: Option<&Source>) {
        match source {
            Some(Source::Slot(wanted)) => assert_eq!(slot, u32::from(wanted.0)),
            Some(Source::Path(wanted)) => assert_eq!((slot, &self.text(path)), (NO_SLOT, wanted)),
            Some(Source::Container { path: wanted, .. }) => {
                assert_eq!((slot, &self.text(path)), (NO_SLOT, &wanted.0));
            }
            Some(Source::Cgroup { place, path: there, own }) => {
                let there = if self.1.get(*place) == Some(&true) { there } else { own };
                assert_eq!((slot, &self.text(path)), (NO_SLOT, there));
            }
            Some(Source::Asked(_)) | None => assert_eq!(slot, NO_SLOT),
        }
    }

    /// What a mount from this source gets beside the plan's attributes.
    fn borrowed(&self, source: Option<&Source>) -> u64 {
        match source {
            Some(Source::Cgroup { place, .. }) if self.1.get(*place) != Some(&true) => MOUNT_ATTR_RDONLY,
            _ => 0,
        }
    }
}

pub(crate) fn survives_with(plan: &Plan, extra: &Extra) {
    let encoded = encode(plan, extra);
    compare(plan, extra, &encoded.bytes);
    let header = wire::Plan::new(&encoded.bytes).expect("a plan").header;
    let hooks = || plan.hooks.create_container.iter().chain(&plan.hooks.start_container);
    // Room for the program's vectors, and for any hook's, which may take the program's environment.
    for args in hooks().map(|hook| hook.args.len()).chain([header.args.count as usize]) {
        for env in hooks().map(|hook| hook.env.len()).chain([header.env.count as usize]) {
            assert!(encoded.pointers >= args + env + 2);
        }
    }
    assert_eq!(encoded.hooks, hooks().next().is_some());
}

pub(super) fn compare(plan: &Plan, extra: &Extra, bytes: &[u8]) {
    assert!(reads(bytes));
    let decoded = Decoded(wire::Plan::new(bytes).expect("a plan"), &extra.cgroups);
    let header = decoded.0.header;
    let slot = |slot: Option<u32>| slot.unwrap_or(NO_SLOT);
    assert_eq!([header.stdin, header.stdout, header.stderr], extra.stdio.map(slot));
    assert_eq!([header.gate, header.status], [slot(extra.gate), slot(extra.status)]);
    assert_eq!(
        (decoded.list(header.preserved), decoded.list(header.tasks)),
        (extra.preserved.clone(), extra.tasks.clone())
    );
    flags(plan, header.flags);
    namespaces(plan, &decoded);
    filesystem(plan, &decoded);
    program(plan, &decoded);
    privileges(plan, &decoded);
    preferences(plan, &decoded);
    hooks(plan, &decoded);
}

fn flags(plan: &Plan, flags: u32) {
    let wanted = [
        (flag::MAP_IDS, plan.namespaces.maps.is_some()),
        (flag::FORK, plan.namespaces.fork),
        (flag::NOT_DUMPABLE, !plan.namespaces.join.is_empty()),
        (flag::LOOPBACK, plan.namespaces.loopback),
        (flag::NO_PIVOT, plan.root.no_pivot),
        (flag::HOST_HOOKS, !plan.hooks.host.is_empty()),
        (flag::TERMINAL, plan.terminal.is_some()),
        (flag::READONLY_ROOT, plan.root.readonly),
        (flag::HOME, plan.program.home),
        (flag::NO_NEW_PRIVS, plan.no_new_privileges),
        (flag::CAPABILITIES, plan.capabilities.is_some()),
        (flag::KEEP_GROUPS, plan.user.keep_groups),
        (flag::SEARCH_PATH, plan.program.from_path),
        (flag::EXEC, plan.exec),
        (flag::CALLERS_MOUNTS, plan.root.shared),
        (flag::NET_DEVICES, !plan.net_devices.is_empty()),
        (flag::BECOME_ROOT, plan.namespaces.is_private(Kind::User)),
    ];
    for (bit, set) in wanted {
        assert_eq!(flags & bit != 0, set, "flag {bit:#x}");
    }
}

fn namespaces(plan: &Plan, decoded: &Decoded<'_>) {
    let header = decoded.0.header;
    assert_eq!(header.unshare, plan.namespaces.unshare.iter().fold(0, |bits, kind| bits | kind.flag()));
    let joins: Vec<_> = decoded.list(header.joins).iter().map(|join| (join.slot, join.kind)).collect();
    // Neighbours of one descriptor are joined at once.
    let wanted = plan
        .namespaces
        .join
        .chunk_by(|a, b| a.slot == b.slot)
        .map(|joins| (u32::from(joins[0].slot.0), joins.iter().fold(0, |kinds, join| kinds | join.kind.flag())));
    assert_eq!(joins, wanted.collect::<Vec<_>>());
    let keyring = plan.keyring.as_ref().map(|keyring| (keyring.name.clone(), keyring.permissions));
    assert_eq!((decoded.text(header.keyring), header.keyring_permissions), keyring.unwrap_or_default());
    assert_eq!(header.proc, plan.proc.map_or(NO_SLOT, |slot| slot.0.into()));
    assert_eq!(decoded.text(header.time_offsets), plan.time_offsets.clone().unwrap_or_default());
}

fn filesystem(plan: &Plan, decoded: &Decoded<'_>) {
    let header = decoded.0.header;
    decoded.source(header.root_slot, header.root_path, Some(&plan.root.source));
    let propagations = [Some(plan.root.while_preparing), plan.root.propagation].map(|p| p.map_or(0, |p| p.0 as u32));
    assert_eq!([header.root_propagation, header.final_propagation], propagations);
    let tree = plan.root.tree.iter().map(|propagation| propagation.0 as u32);
    assert_eq!(decoded.list(header.tree_propagation), tree.collect::<Vec<_>>());
    assert_eq!(decoded.texts(header.hidden), plan.root.hidden);
    // Only hooks look for the root where it is.
    let hooks = !plan.hooks.host.is_empty() || !plan.hooks.create_container.is_empty();
    assert_eq!(decoded.text(header.root_at), if hooks { plan.root.path.as_str() } else { "" });
    let mounts = decoded.list(header.mounts);
    assert_eq!(mounts.len(), plan.mounts.len());
    mounts.iter().zip(&plan.mounts).for_each(|(mount, step)| self::mount(decoded, mount, step));
    let devices = decoded.list(header.devices);
    assert_eq!(devices.len(), plan.devices.len());
    for (device, node) in devices.iter().zip(&plan.devices) {
        assert_eq!(decoded.text(device.path), node.path.0);
        assert_eq!(
            (device.mode, device.major, device.minor, device.uid, device.gid),
            (node.mode, node.major, node.minor, node.uid, node.gid)
        );
        match &node.source {
            DeviceSource::Node => assert_eq!((device.slot, decoded.text(device.host).as_str()), (NO_SLOT, "")),
            DeviceSource::Bind(source) => decoded.source(device.slot, device.host, Some(source)),
        }
    }
    let links: Vec<_> = decoded
        .list(header.links)
        .iter()
        .map(|link| (decoded.text(link.path), decoded.text(link.target), link.replace != 0))
        .collect();
    let wanted: Vec<_> =
        plan.links.iter().map(|link| (link.path.0.clone(), link.target.clone(), link.replace)).collect();
    assert_eq!(links, wanted);
    assert_eq!(decoded.text(header.mask_context), plan.masks.label.clone().unwrap_or_default());
    let paths = |list: &[crate::plan::InRoot]| list.iter().map(|path| path.0.clone()).collect::<Vec<_>>();
    assert_eq!(decoded.texts(header.readonly_paths), paths(&plan.masks.readonly));
    assert_eq!(decoded.texts(header.masked_paths), paths(&plan.masks.masked));
    if let Some(Source::Slot(slot)) = &plan.masks.null {
        assert_eq!(header.null_slot, u32::from(slot.0));
    }
    assert_eq!(decoded.text(header.hostname), plan.hostname.clone().unwrap_or_default());
    assert_eq!(decoded.text(header.domainname), plan.domainname.clone().unwrap_or_default());
    let sysctls = decoded.list(header.sysctls).into_iter().map(|s| (decoded.text(s.path), decoded.text(s.value)));
    let wanted = plan.sysctls.iter().map(|sysctl| (sysctl.path.clone(), sysctl.value.clone()));
    assert_eq!(sysctls.collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
    let size = plan.terminal.as_ref().map(|terminal| (terminal.rows.into(), terminal.columns.into()));
    assert_eq!((header.rows, header.columns), size.unwrap_or_default());
}

fn mount(decoded: &Decoded<'_>, mount: &wire::Mount, step: &MountStep) {
    assert_eq!(decoded.text(mount.target), step.target.0);
    let from = match &step.kind {
        MountKind::Filesystem { or_bind, .. } => or_bind.as_ref(),
        MountKind::Bind { source, .. } => Some(source),
        _ => None,
    };
    assert_eq!(
        (mount.attr_set, mount.attr_clear, mount.attr_relax, mount.all_set, mount.all_clear),
        (step.set | decoded.borrowed(from), step.clear, step.relax, step.all_set, step.all_clear)
    );
    assert_eq!(decoded.list(mount.propagation), step.propagation.iter().map(|p| p.0 as u32).collect::<Vec<_>>());
    let has = |bit: u32| mount.flags & bit != 0;
    assert_eq!(
        (has(mount_flag::ORDINARY_DIRECTORY), has(mount_flag::READONLY_LATE), has(mount_flag::KEEP_MODE)),
        (step.ordinary_directory, step.readonly_late, step.keep_mode)
    );
    assert_eq!(
        (has(mount_flag::COPY_UP), has(mount_flag::PROCFS_ROOT), decoded.text(mount.label)),
        (step.copy_up, step.procfs_root, step.label.clone().unwrap_or_default())
    );
    assert_eq!(
        (has(mount_flag::SOURCE_ITSELF), has(mount_flag::TARGET_ITSELF), has(mount_flag::COPY_LINK)),
        (step.source_itself, step.target_itself, step.copy_link)
    );
    assert_eq!(has(mount_flag::ASK), matches!(from, Some(Source::Asked(_))));
    let options = |list: &[(String, String)]| {
        let found: Vec<_> =
            decoded.list(mount.options).iter().map(|o| (decoded.text(o.key), decoded.text(o.value))).collect();
        assert_eq!(found, list);
    };
    let kind = match &step.kind {
        MountKind::Filesystem { fstype, source, options: list, or_bind } => {
            assert_eq!(&decoded.text(mount.fstype), fstype);
            options(list);
            let long = list.iter().any(|(key, value)| key.len().max(value.len()) > 255);
            assert_eq!((has(mount_flag::BY_MOUNT), mount.data.len > 0), (long, long));
            assert_eq!(has(mount_flag::BIND_ON_EPERM), or_bind.is_some());
            match or_bind {
                None => assert_eq!(&decoded.text(mount.source), source),
                Some(from) => decoded.source(mount.slot, mount.source, Some(from)),
            }
            mount_kind::FILESYSTEM
        }
        MountKind::Bind { source, recursive } => {
            decoded.source(mount.slot, mount.fstype, Some(source));
            assert_eq!(has(mount_flag::RECURSIVE), *recursive);
            assert_eq!(has(mount_flag::INNER), matches!(source, Source::Container { .. }));
            assert_eq!(has(mount_flag::MAP_IDS), matches!(source, Source::Container { idmap: Some(_), .. }));
            mount_kind::BIND
        }
        MountKind::Remount { options: list } => {
            options(list);
            mount_kind::REMOUNT
        }
        MountKind::Link(target) => {
            assert_eq!(&decoded.text(mount.source), target);
            mount_kind::LINK
        }
    };
    assert_eq!(mount.kind, kind);
}

fn program(plan: &Plan, decoded: &Decoded<'_>) {
    let (header, program) = (decoded.0.header, &plan.program);
    assert_eq!((header.umask, decoded.text(header.cwd)), (program.umask, program.cwd.clone()));
    assert_eq!(decoded.texts(header.args), program.args);
    let mut env = decoded.texts(header.env);
    if program.home {
        assert!(env.pop().is_some_and(|last| last.starts_with("HOME=")));
    }
    assert_eq!(env, program.env);
    assert_eq!(decoded.texts(header.candidates), program.candidates);
}

fn privileges(plan: &Plan, decoded: &Decoded<'_>) {
    let header = decoded.0.header;
    assert_eq!(
        (header.uid, header.gid, decoded.list(header.groups)),
        (plan.user.uid, plan.user.gid, plan.user.groups.clone())
    );
    assert_eq!([header.set_up_uid, header.set_up_gid], plan.user.set_up);
    let sets = plan.capabilities.clone().unwrap_or_default();
    assert_eq!(
        [header.bounding, header.effective, header.permitted, header.inheritable, header.ambient],
        [sets.bounding, sets.effective, sets.permitted, sets.inheritable, sets.ambient]
    );
    let limits: Vec<_> = decoded.list(header.rlimits).iter().map(|l| (l.resource, l.soft, l.hard)).collect();
    assert_eq!(limits, plan.rlimits.iter().map(|l| (l.resource, l.soft, l.hard)).collect::<Vec<_>>());
    let wanted = plan.seccomp.as_ref().map(|filter| (filter.bytes(), filter.flags)).unwrap_or_default();
    let found = decoded.0.raw(header.seccomp, 8).expect("a filter");
    assert_eq!((found, header.seccomp_flags), (wanted.0.as_slice(), wanted.1));
    // The kernel reads the instructions where they stand.
    assert!(header.seccomp.at.is_multiple_of(8));
}

fn preferences(plan: &Plan, decoded: &Decoded<'_>) {
    let header = decoded.0.header;
    let apparmor = plan.labels.apparmor.as_ref().map(|profile| format!("exec {profile}"));
    assert_eq!(decoded.text(header.apparmor), apparmor.unwrap_or_default());
    assert_eq!(decoded.text(header.selinux), plan.labels.selinux.clone().unwrap_or_default());
    assert_eq!(header.personality, plan.personality.unwrap_or(UNSET));
    assert_eq!(header.io_priority, plan.io_priority.unwrap_or(UNSET));
    let policy = plan.memory_policy.as_ref().map(|policy| (policy.mode, policy.nodes.clone()));
    assert_eq!((header.memory_policy, decoded.list(header.memory_nodes)), policy.unwrap_or((UNSET, Vec::new())));
    let cpus = (decoded.list(header.cpus_initial), decoded.list(header.cpus_final));
    assert_eq!(cpus, (plan.affinity.initial.clone(), plan.affinity.last.clone()));
    let scheduler = decoded.list(header.scheduler);
    assert_eq!(scheduler.len(), usize::from(plan.scheduler.is_some()));
    if let (Some(found), Some(wanted)) = (scheduler.first(), &plan.scheduler) {
        assert_eq!(
            (found.policy, found.flags, found.nice, found.priority),
            (wanted.policy, wanted.flags, wanted.nice, wanted.priority)
        );
        assert_eq!((found.runtime, found.deadline, found.period), (wanted.runtime, wanted.deadline, wanted.period));
    }
}

fn hooks(plan: &Plan, decoded: &Decoded<'_>) {
    let (header, hooks) = (decoded.0.header, &plan.hooks);
    for (list, wanted) in
        [(header.create_container, &hooks.create_container), (header.start_container, &hooks.start_container)]
    {
        let hook = |hook: wire::Hook| Hook {
            path: decoded.text(hook.path),
            args: decoded.texts(hook.args),
            env: decoded.texts(hook.env),
            timeout: Some(hook.timeout),
        };
        let found: Vec<_> = decoded.list(list).into_iter().map(hook).collect();
        let wanted = wanted.iter().map(|hook| Hook { timeout: Some(hook.timeout.unwrap_or(0)), ..hook.clone() });
        assert_eq!(found, wanted.collect::<Vec<_>>());
    }
    if header.create_container.count + header.start_container.count == 0 {
        return;
    }
    for (text, kind) in
        [(header.hook_creating, HookKind::CreateContainer), (header.hook_created, HookKind::StartContainer)]
    {
        let found = (decoded.text(text), decoded.text(header.hook_rest));
        assert_eq!(found, hooks.state_around_pid(kind));
        // With a pid between them, they are a document.
        serde_json::from_str::<serde_json::Value>(&format!("{}1{}", found.0, found.1)).expect("a state");
    }
}
