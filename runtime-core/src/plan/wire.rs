//! The plan in the stage's own form: encoder for the schema of `runtime_stage::wire`.

use runtime_stage::sys::MOUNT_ATTR_RDONLY;
use runtime_stage::wire::{self, FsOption, Header, List, NO_SLOT, Text, UNSET, Wire, flag, mount_flag, mount_kind};

#[cfg(any(test, fuzzing))]
pub mod check;
#[cfg(test)]
mod tests;

use super::{DeviceSource, Hook, HookKind, Kind, MountKind, MountStep, Plan, Source};

/// Slots beyond the plan's own, opened for every launch; `None` where there is none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extra {
    pub stdio: [Option<u32>; 3],
    pub preserved: Vec<u32>,
    pub tasks: Vec<u32>,
    pub gate: Option<u32>,
    pub status: Option<u32>,
    /// Which directories of the placement the container has.
    pub cgroups: Vec<bool>,
    /// The mounts of the root's tree are slaves already.
    pub root_is_slave: bool,
}

/// An encoded plan, and how many pointers execve will need.
pub(crate) struct Encoded {
    pub bytes: Vec<u8>,
    pub pointers: usize,
    /// The stage runs hooks.
    pub hooks: bool,
}

/// Texts and lists behind the header.
struct Arena {
    bytes: Vec<u8>,
}

impl Arena {
    fn text(&mut self, text: &str) -> Text {
        if text.is_empty() {
            return Text::default();
        }
        let at = self.at();
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        Text { at, len: number(text.len()) }
    }

    fn list<T: Wire>(&mut self, items: &[T]) -> List<T> {
        let at = self.at();
        for item in items {
            item.put(&mut |bytes| self.bytes.extend_from_slice(bytes));
        }
        List::new(at, number(items.len()))
    }

    fn texts<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) -> List<Text> {
        let texts: Vec<Text> = texts.into_iter().map(|text| self.text(text)).collect();
        self.list(&texts)
    }

    fn at(&self) -> u32 {
        number(self.bytes.len())
    }
}

fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Encodes the plan.
pub(crate) fn encode(plan: &Plan, extra: &Extra) -> Encoded {
    let mut arena = Arena { bytes: vec![0; Header::SIZE] };
    let mut header = Header { magic: wire::MAGIC, flags: flags(plan), ..Header::default() };
    descriptors(&mut header, &mut arena, extra);
    namespaces(&mut header, &mut arena, plan);
    filesystem(&mut header, &mut arena, plan, extra);
    process(&mut header, &mut arena, plan);
    privileges(&mut header, &mut arena, plan);
    hooks(&mut header, &mut arena, plan);
    let mut at = 0;
    header.put(&mut |bytes| {
        arena.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    });
    let hooks = plan.hooks.create_container.iter().chain(&plan.hooks.start_container);
    // A hook may be given the program's environment.
    let args = hooks.map(|hook| hook.args.len()).max().unwrap_or(0).max(header.args.count as usize);
    let env = plan.hooks.create_container.iter().chain(&plan.hooks.start_container).map(|hook| hook.env.len());
    let pointers = args + env.max().unwrap_or(0).max(header.env.count as usize) + 2;
    Encoded { bytes: arena.bytes, pointers, hooks: header.create_container.count + header.start_container.count > 0 }
}

fn flags(plan: &Plan) -> u32 {
    let joins = !plan.namespaces.join.is_empty();
    let user = plan.namespaces.is_private(Kind::User);
    let bits = [
        (plan.namespaces.maps.is_some(), flag::MAP_IDS),
        (user, flag::BECOME_ROOT),
        (plan.namespaces.fork, flag::FORK),
        (joins, flag::NOT_DUMPABLE),
        (plan.namespaces.loopback, flag::LOOPBACK),
        (!plan.net_devices.is_empty(), flag::NET_DEVICES),
        (plan.root.no_pivot, flag::NO_PIVOT),
        (!plan.hooks.host.is_empty(), flag::HOST_HOOKS),
        (plan.terminal.is_some(), flag::TERMINAL),
        (plan.root.readonly, flag::READONLY_ROOT),
        (plan.program.home, flag::HOME),
        (plan.no_new_privileges, flag::NO_NEW_PRIVS),
        (plan.capabilities.is_some(), flag::CAPABILITIES),
        (plan.user.keep_groups, flag::KEEP_GROUPS),
        (plan.program.from_path, flag::SEARCH_PATH),
        (plan.exec, flag::EXEC),
        (!plan.affinity.initial.is_empty(), flag::KEEP_CPUS),
        (plan.root.shared, flag::CALLERS_MOUNTS),
    ];
    bits.iter().filter(|(set, _)| *set).fold(0, |flags, (_, bit)| flags | bit)
}

fn descriptors(header: &mut Header, arena: &mut Arena, extra: &Extra) {
    let [stdin, stdout, stderr] = extra.stdio.map(|slot| slot.unwrap_or(NO_SLOT));
    (header.stdin, header.stdout, header.stderr) = (stdin, stdout, stderr);
    header.preserved = arena.list(&extra.preserved);
    header.tasks = arena.list(&extra.tasks);
    header.gate = extra.gate.unwrap_or(NO_SLOT);
    header.status = extra.status.unwrap_or(NO_SLOT);
}

fn namespaces(header: &mut Header, arena: &mut Arena, plan: &Plan) {
    header.unshare = plan.namespaces.unshare.iter().fold(0, |flags, kind| flags | kind.flag());
    let mut joins: Vec<wire::Join> = Vec::new();
    for join in &plan.namespaces.join {
        let slot = u32::from(join.slot.0);
        match joins.last_mut() {
            // One descriptor of a process stands for all its namespaces, in one call.
            Some(last) if last.slot == slot => last.kind |= join.kind.flag(),
            _ => joins.push(wire::Join { slot, kind: join.kind.flag() }),
        }
    }
    header.joins = arena.list(&joins);
    header.proc = plan.proc.map_or(NO_SLOT, |slot| slot.0.into());
    header.time_offsets = arena.text(plan.time_offsets.as_deref().unwrap_or_default());
    if let Some(keyring) = &plan.keyring {
        header.keyring = arena.text(&keyring.name);
        header.keyring_permissions = keyring.permissions;
    }
}

/// The caller's cgroup in place of one of the container's own is not the container's to change.
fn borrowed(source: Option<&Source>, cgroups: &[bool]) -> u64 {
    match source {
        Some(Source::Cgroup { place, .. }) if cgroups.get(*place) != Some(&true) => MOUNT_ATTR_RDONLY,
        _ => 0,
    }
}

fn source(arena: &mut Arena, source: Option<&Source>, cgroups: &[bool]) -> (u32, Text) {
    match source {
        Some(Source::Cgroup { place, path, own }) => {
            (NO_SLOT, arena.text(if cgroups.get(*place) == Some(&true) { path } else { own }))
        }
        Some(Source::Container { path, .. }) => (NO_SLOT, arena.text(&path.0)),
        Some(Source::Slot(slot)) => (slot.0.into(), Text::default()),
        Some(Source::Path(path)) => (NO_SLOT, arena.text(path)),
        Some(Source::Asked(_)) | None => (NO_SLOT, Text::default()),
    }
}

fn filesystem(header: &mut Header, arena: &mut Arena, plan: &Plan, extra: &Extra) {
    (header.root_slot, header.root_path) = source(arena, Some(&plan.root.source), &[]);
    if !plan.hooks.host.is_empty() || !plan.hooks.create_container.is_empty() {
        header.root_at = arena.text(&plan.root.path);
    }
    header.root_propagation = plan.root.while_preparing.0 as u32;
    let tree = &plan.root.tree;
    let rest = tree.strip_prefix(&[super::Propagation::RSLAVE]).filter(|_| extra.root_is_slave);
    header.tree_propagation = propagations(arena, rest.unwrap_or(tree));
    header.final_propagation = plan.root.propagation.map_or(0, |propagation| propagation.0 as u32);
    header.hidden = arena.texts(plan.root.hidden.iter().map(String::as_str));
    let mounts: Vec<wire::Mount> = plan.mounts.iter().map(|step| mount(arena, step, &extra.cgroups)).collect();
    header.mounts = arena.list(&mounts);
    let devices: Vec<wire::Device> = plan.devices.iter().map(|node| device(arena, node)).collect();
    header.devices = arena.list(&devices);
    let links: Vec<wire::Link> = plan
        .links
        .iter()
        .map(|link| wire::Link {
            path: arena.text(&link.path.0),
            target: arena.text(&link.target),
            replace: link.replace.into(),
        })
        .collect();
    header.links = arena.list(&links);
    header.readonly_paths = arena.texts(plan.masks.readonly.iter().map(|path| path.0.as_str()));
    header.masked_paths = arena.texts(plan.masks.masked.iter().map(|path| path.0.as_str()));
    header.null_slot = source(arena, plan.masks.null.as_ref(), &[]).0;
    header.mask_context = arena.text(plan.masks.label.as_deref().unwrap_or_default());
    header.hostname = arena.text(plan.hostname.as_deref().unwrap_or_default());
    header.domainname = arena.text(plan.domainname.as_deref().unwrap_or_default());
    let sysctls: Vec<wire::Sysctl> = plan
        .sysctls
        .iter()
        .map(|sysctl| wire::Sysctl { path: arena.text(&sysctl.path), value: arena.text(&sysctl.value) })
        .collect();
    header.sysctls = arena.list(&sysctls);
    if let Some(terminal) = &plan.terminal {
        (header.rows, header.columns) = (terminal.rows.into(), terminal.columns.into());
    }
}

fn propagations(arena: &mut Arena, list: &[super::Propagation]) -> List<u32> {
    let list: Vec<u32> = list.iter().map(|propagation| propagation.0 as u32).collect();
    arena.list(&list)
}

fn fs_options(arena: &mut Arena, options: &[(String, String)]) -> List<FsOption> {
    let options: Vec<FsOption> =
        options.iter().map(|(key, value)| FsOption { key: arena.text(key), value: arena.text(value) }).collect();
    arena.list(&options)
}

fn device(arena: &mut Arena, node: &super::DeviceNode) -> wire::Device {
    let bind = match &node.source {
        DeviceSource::Node => None,
        DeviceSource::Bind(source) => Some(source),
    };
    let (slot, host) = source(arena, bind, &[]);
    wire::Device {
        path: arena.text(&node.path.0),
        mode: node.mode,
        major: node.major,
        minor: node.minor,
        uid: node.uid,
        gid: node.gid,
        slot,
        host,
    }
}

/// fsconfig(2) takes no longer text.
const LONGEST_OPTION: usize = 255;

/// The options as one text for mount(2).
fn mount_data(options: &[(String, String)]) -> String {
    let texts = options.iter().map(|(key, value)| match (key.as_str(), value.as_str()) {
        (key, "") => key.to_owned(),
        (key, value) if key.ends_with("context") => format!("{key}=\"{value}\""),
        (key, value) => format!("{key}={value}"),
    });
    texts.collect::<Vec<_>>().join(",")
}

fn mount(arena: &mut Arena, step: &MountStep, cgroups: &[bool]) -> wire::Mount {
    let inner = match &step.kind {
        MountKind::Bind { source, .. } => Some(source),
        _ => None,
    };
    let bits = [
        (step.ordinary_directory, mount_flag::ORDINARY_DIRECTORY),
        (step.readonly_late, mount_flag::READONLY_LATE),
        (step.keep_mode, mount_flag::KEEP_MODE),
        (step.copy_up, mount_flag::COPY_UP),
        (step.procfs_root, mount_flag::PROCFS_ROOT),
        (matches!(inner, Some(Source::Container { .. })), mount_flag::INNER),
        (matches!(inner, Some(Source::Container { idmap: Some(_), .. })), mount_flag::MAP_IDS),
        (step.source_itself, mount_flag::SOURCE_ITSELF),
        (step.target_itself, mount_flag::TARGET_ITSELF),
        (step.copy_link, mount_flag::COPY_LINK),
    ];
    let mut record = wire::Mount {
        flags: bits.iter().filter(|(set, _)| *set).fold(0, |flags, (_, bit)| flags | bit),
        target: arena.text(&step.target.0),
        slot: NO_SLOT,
        attr_set: step.set,
        attr_clear: step.clear,
        attr_relax: step.relax,
        all_set: step.all_set,
        all_clear: step.all_clear,
        propagation: propagations(arena, &step.propagation),
        label: arena.text(step.label.as_deref().unwrap_or_default()),
        ..wire::Mount::default()
    };
    match &step.kind {
        MountKind::Filesystem { fstype, source: shown, options, or_bind } => {
            record.kind = mount_kind::FILESYSTEM;
            record.fstype = arena.text(fstype);
            record.options = fs_options(arena, options);
            record.source = arena.text(shown);
            if options.iter().any(|(key, value)| key.len().max(value.len()) > LONGEST_OPTION) {
                record.flags |= mount_flag::BY_MOUNT;
                record.data = arena.text(&mount_data(options));
            }
            if or_bind.is_some() {
                record.flags |= mount_flag::BIND_ON_EPERM;
                (record.slot, record.source) = source(arena, or_bind.as_ref(), cgroups);
                record.attr_set |= borrowed(or_bind.as_ref(), cgroups);
            }
        }
        MountKind::Bind { source: from, recursive } => {
            record.kind = mount_kind::BIND;
            (record.slot, record.fstype) = source(arena, Some(from), cgroups);
            record.attr_set |= borrowed(Some(from), cgroups);
            record.flags |= if *recursive { mount_flag::RECURSIVE } else { 0 };
            record.flags |= if matches!(from, Source::Asked(_)) { mount_flag::ASK } else { 0 };
        }
        MountKind::Remount { options } => {
            record.kind = mount_kind::REMOUNT;
            record.options = fs_options(arena, options);
        }
        MountKind::Link(target) => {
            record.kind = mount_kind::LINK;
            record.source = arena.text(target);
        }
    }
    record
}

fn process(header: &mut Header, arena: &mut Arena, plan: &Plan) {
    let program = &plan.program;
    header.umask = program.umask;
    header.cwd = arena.text(&program.cwd);
    header.args = arena.texts(program.args.iter().map(String::as_str));
    // The stage replaces this last entry.
    let home = program.home.then_some("HOME=/");
    header.env = arena.texts(program.env.iter().map(String::as_str).chain(home));
    header.candidates = arena.texts(program.candidates.iter().map(String::as_str));
}

fn hooks(header: &mut Header, arena: &mut Arena, plan: &Plan) {
    let hooks = &plan.hooks;
    if hooks.create_container.is_empty() && hooks.start_container.is_empty() {
        return;
    }
    let (creating, rest) = hooks.state_around_pid(HookKind::CreateContainer);
    header.hook_creating = arena.text(&creating);
    header.hook_created = arena.text(&hooks.state_around_pid(HookKind::StartContainer).0);
    header.hook_rest = arena.text(&rest);
    header.create_container = hook_list(arena, &hooks.create_container);
    header.start_container = hook_list(arena, &hooks.start_container);
}

fn hook_list(arena: &mut Arena, hooks: &[Hook]) -> List<wire::Hook> {
    let records: Vec<wire::Hook> = hooks
        .iter()
        .map(|hook| wire::Hook {
            path: arena.text(&hook.path),
            args: arena.texts(hook.args.iter().map(String::as_str)),
            env: arena.texts(hook.env.iter().map(String::as_str)),
            timeout: hook.timeout.unwrap_or(0),
        })
        .collect();
    arena.list(&records)
}

fn privileges(header: &mut Header, arena: &mut Arena, plan: &Plan) {
    (header.uid, header.gid) = (plan.user.uid, plan.user.gid);
    [header.set_up_uid, header.set_up_gid] = plan.user.set_up;
    header.groups = arena.list(&plan.user.groups);
    if let Some(sets) = &plan.capabilities {
        header.bounding = sets.bounding;
        header.effective = sets.effective;
        header.permitted = sets.permitted;
        header.inheritable = sets.inheritable;
        header.ambient = sets.ambient;
    }
    if let Some(profile) = &plan.labels.apparmor {
        header.apparmor = arena.text(&format!("exec {profile}"));
    }
    header.selinux = arena.text(plan.labels.selinux.as_deref().unwrap_or_default());
    preferences(header, arena, plan);
    let limits: Vec<wire::Rlimit> = plan
        .rlimits
        .iter()
        .map(|limit| wire::Rlimit { resource: limit.resource, soft: limit.soft, hard: limit.hard })
        .collect();
    header.rlimits = arena.list(&limits);
    if let Some(filter) = &plan.seccomp {
        // The kernel reads instructions of eight bytes where they stand: aligned.
        arena.bytes.resize(arena.bytes.len().next_multiple_of(8), 0);
        let at = arena.at();
        let program = filter.bytes();
        header.seccomp = List::new(at, number(program.len() / 8));
        header.seccomp_flags = filter.flags;
        arena.bytes.extend_from_slice(&program);
    }
}

fn preferences(header: &mut Header, arena: &mut Arena, plan: &Plan) {
    header.personality = plan.personality.unwrap_or(UNSET);
    header.io_priority = plan.io_priority.unwrap_or(UNSET);
    header.memory_policy = UNSET;
    if let Some(policy) = &plan.memory_policy {
        header.memory_policy = policy.mode;
        header.memory_nodes = arena.list(&policy.nodes);
    }
    header.cpus_initial = arena.list(&plan.affinity.initial);
    header.cpus_final = arena.list(&plan.affinity.last);
    let scheduler = plan.scheduler.as_ref().map(|scheduler| wire::Scheduler {
        policy: scheduler.policy,
        priority: scheduler.priority,
        flags: scheduler.flags,
        nice: scheduler.nice,
        runtime: scheduler.runtime,
        deadline: scheduler.deadline,
        period: scheduler.period,
    });
    header.scheduler = arena.list(scheduler.as_slice());
}
