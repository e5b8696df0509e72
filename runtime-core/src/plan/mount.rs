//! `mounts`: what each entry becomes, and where it may go.

use runtime_stage::fail::Step;
use serde::Serialize;

use super::option::{self, Options, Propagation, attr};
use super::root::absolute;
use super::{Context, IdmapPlan, InRoot, Kind, Namespaces, RootPlan, SlotSource, Source, cgroupfs, idmap};
use crate::spec;

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum MountKind {
    /// A new filesystem.
    Filesystem {
        /// Its type.
        fstype: String,
        /// Source as mountinfo shows it.
        source: String,
        /// Options: name and value, an empty value for a flag.
        options: Vec<(String, String)>,
        /// Bind this host directory where the kernel refuses the filesystem.
        or_bind: Option<Source>,
    },
    /// A bind of a host file or directory.
    Bind {
        /// Where from.
        source: Source,
        /// With everything below.
        recursive: bool,
    },
    /// A change to the mount that is there.
    Remount {
        /// Options of its filesystem to change.
        options: Vec<(String, String)>,
    },
    /// A symbolic link to this target.
    Link(String),
}

impl MountKind {
    pub(super) fn filesystem(fstype: &str, source: &str, options: Vec<(String, String)>) -> Self {
        Self::Filesystem { fstype: fstype.to_owned(), source: source.to_owned(), options, or_bind: None }
    }
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MountStep {
    /// What.
    pub kind: MountKind,
    /// Where.
    pub target: InRoot,
    /// MOUNT_ATTR_* set.
    #[serde(serialize_with = "attr::names")]
    pub set: u64,
    /// MOUNT_ATTR_* cleared.
    #[serde(serialize_with = "attr::names")]
    pub clear: u64,
    /// MOUNT_ATTR_* cleared too where the kernel lets us.
    #[serde(serialize_with = "attr::names")]
    pub relax: u64,
    /// MOUNT_ATTR_* set on the whole tree.
    #[serde(serialize_with = "attr::names")]
    pub all_set: u64,
    /// MOUNT_ATTR_* cleared on the whole tree.
    #[serde(serialize_with = "attr::names")]
    pub all_clear: u64,
    /// Propagation, applied in order.
    pub propagation: Vec<Propagation>,
    /// The target must be an ordinary directory (procfs and sysfs).
    pub ordinary_directory: bool,
    /// The source must be the root of a procfs.
    pub procfs_root: bool,
    /// A source that is a link is mounted itself.
    pub source_itself: bool,
    /// A target that is a link is covered itself.
    pub target_itself: bool,
    /// A source that is a link is not mounted but made anew at the target.
    pub copy_link: bool,
    /// Made read-only after everything below it exists.
    pub readonly_late: bool,
    /// An existing target directory gives its mode.
    pub keep_mode: bool,
    /// What the target directory holds is copied.
    pub copy_up: bool,
    /// SELinux context to write on the mounted root.
    pub label: Option<String>,
}

impl MountStep {
    pub(super) fn new(kind: MountKind, target: InRoot, options: &Options) -> Self {
        Self {
            kind,
            target,
            set: options.set,
            clear: options.clear,
            relax: 0,
            all_set: options.all_set,
            all_clear: options.all_clear,
            propagation: options.propagation.clone(),
            ordinary_directory: false,
            procfs_root: false,
            source_itself: false,
            target_itself: false,
            copy_link: false,
            readonly_late: false,
            keep_mode: false,
            copy_up: false,
            label: None,
        }
    }

    /// Cuts a clone of a host mount loose from the host, unless its own options do it first: it would be a peer of
    /// the original, and what is mounted on one shows on the other.
    pub(super) fn cut_loose(&mut self, recursive: bool, by: Option<Propagation>) {
        let Some(by) = by else { return };
        let first = self.propagation.first();
        if !first.is_some_and(|first| first.sends_nothing() && (first.is_recursive() || !recursive)) {
            self.propagation.insert(0, by);
        }
    }
}

pub(super) fn plan(cx: &mut Context<'_>, namespaces: &Namespaces, root: &RootPlan) -> Vec<MountStep> {
    let mut steps = Vec::new();
    for (index, mount) in cx.spec.mounts.iter().flatten().enumerate() {
        let before = steps.len();
        one(cx, namespaces, root, index, mount, &mut steps);
        // Callers of runc match the first words.
        let destination = mount.destination.as_deref().unwrap_or_default();
        let what = format!("error mounting {:?} to rootfs at {destination:?}", described(mount));
        cx.origins.note_all(Step::Mount, before..steps.len(), format!("/mounts/{index}"), what);
    }
    seal_now_what_is_covered(&mut steps);
    steps
}

/// A mount is sealed by its path; where a later one stands over it, that would be the wrong one. And a remount says
/// anew what the mount is.
fn seal_now_what_is_covered(steps: &mut [MountStep]) {
    for index in 0..steps.len() {
        let (until, after) = steps.split_at_mut(index + 1);
        let step = &mut until[index];
        if !step.readonly_late {
            continue;
        }
        let remount = |later: &&MountStep| matches!(later.kind, MountKind::Remount { .. });
        if after.iter().filter(|later| !remount(later)).any(|later| step.target.is_at_or_below(&later.target)) {
            step.readonly_late = false;
            step.set |= attr::RDONLY;
        } else if let Some(last) = after.iter().filter(remount).rfind(|later| later.target == step.target) {
            step.readonly_late = last.set & attr::RDONLY != 0;
        }
    }
}

fn is_bind(mount: &spec::Mount) -> bool {
    mount.options.iter().flatten().any(|option| option == "bind" || option == "rbind")
}

fn described(mount: &spec::Mount) -> String {
    let text = if is_bind(mount) { &mount.source } else { &mount.typ };
    text.clone().unwrap_or_default()
}

fn one(
    cx: &mut Context<'_>,
    namespaces: &Namespaces,
    root: &RootPlan,
    index: usize,
    mount: &spec::Mount,
    steps: &mut Vec<MountStep>,
) {
    let at = format!("/mounts/{index}");
    let Some(target) = target(cx, root, &at, mount) else { return };
    for (index, option) in mount.options.iter().flatten().enumerate() {
        cx.no_nul(format_args!("{at}/options/{index}"), option);
    }
    let options = option::parse(mount.options.iter().flatten().map(String::as_str));
    let fstype = mount.typ.as_deref().unwrap_or_default();
    cx.no_nul(format_args!("{at}/type"), fstype);
    cx.no_nul(format_args!("{at}/source"), mount.source.as_deref().unwrap_or_default());
    if options.copy_up && (fstype != "tmpfs" || options.bind.is_some() || options.remount) {
        cx.problem(format!("{at}/options"), "tmpcopyup is for a new tmpfs only");
    }
    if (options.copy_link || options.source_itself || options.target_itself) && options.bind.is_none() {
        let message = "copy-symlink, src-nofollow and dest-nofollow are for bind mounts only";
        cx.problem(format!("{at}/options"), message);
    }
    let idmap = idmap::plan(cx, namespaces, &at, mount, &options);
    if options.remount {
        // With or without "bind", as for mount(8): no source is looked at.
        steps.push(remount(target, &options));
    } else if let Some(recursive) = options.bind {
        let after_others = steps.iter().any(|step| matches!(step.kind, MountKind::Filesystem { .. }));
        steps.extend(bind(cx, root, &at, mount, target, &options, recursive, idmap, after_others));
    } else if fstype == "cgroup" {
        cgroupfs::plan(cx, namespaces, root, &at, mount, target, &options, steps);
    } else if fstype == "cgroup2"
        && let Some(step) = cgroupfs::the_hosts(cx, namespaces, root, &target, &options)
    {
        steps.push(step);
    } else {
        steps.extend(filesystem(cx, namespaces, &at, mount, target, &options));
    }
}

/// The destination; nothing may go over the root, and little over /proc.
fn target(cx: &mut Context<'_>, root: &RootPlan, at: &str, mount: &spec::Mount) -> Option<InRoot> {
    let destination = mount.destination.as_deref().unwrap_or_default();
    // Some say where it is on the host, and mean what is inside: so does runc.
    let destination = root.inside(destination).unwrap_or(destination);
    let pointer = format!("{at}/destination");
    cx.no_nul(&pointer, destination);
    if destination.is_empty() {
        cx.problem(pointer, "a mount needs a destination");
        return None;
    }
    if !destination.starts_with('/') {
        cx.warnings.push(format!("{pointer}: relative mount destination {destination:?} is taken from /"));
    }
    let target = InRoot::new(destination);
    if target.0.is_empty() {
        cx.problem(pointer, "nothing may be mounted over the root filesystem itself");
        return None;
    }
    in_proc(cx, &pointer, mount, &target);
    Some(target)
}

/// Files below /proc that may be covered: lxcfs does.
const COVERABLE: [&str; 10] = [
    "proc/cpuinfo",
    "proc/diskstats",
    "proc/meminfo",
    "proc/stat",
    "proc/swaps",
    "proc/uptime",
    "proc/loadavg",
    "proc/slabinfo",
    "proc/sys/kernel/ns_last_pid",
    "proc/sys/crypto/fips_enabled",
];

/// Anything else mounted over /proc would redirect what is written there (CVE-2019-16884). Links that lead there are
/// the stage's to refuse, and so is a bind whose source is no procfs.
fn in_proc(cx: &mut Context<'_>, pointer: &str, mount: &spec::Mount, target: &InRoot) {
    let path = target.0.as_str();
    let remount = mount.options.iter().flatten().any(|option| option == "remount");
    if remount {
        return;
    }
    if path == "proc" {
        if !is_bind(mount) && mount.typ.as_deref() != Some("proc") {
            cx.problem(pointer, "\"/proc\" cannot be mounted because it is not of type proc");
        }
    } else if path.starts_with("proc/") && !COVERABLE.contains(&path) {
        cx.problem(pointer, format!("\"/{path}\" cannot be mounted because it is inside /proc"));
    }
}

fn remount(target: InRoot, options: &Options) -> MountStep {
    let settings = settings(options, true);
    let mut step = MountStep::new(MountKind::Remount { options: settings }, target, options);
    step.relax = attr::REPLACED & !step.set & !step.clear;
    step
}

/// The filesystem's options, for fsconfig(2).
fn settings(options: &Options, change: bool) -> Vec<(String, String)> {
    // On a new filesystem these are how it is anyway.
    let off = |flag: &str| matches!(flag, "async" | "nolazytime" | "nomand");
    let flags = options.superblock.iter().filter(|flag| change || !off(flag));
    let flags = flags.map(|flag| ((*flag).to_owned(), String::new()));
    flags.chain(options.data.iter().map(|(name, value, _)| (name.clone(), value.clone()))).collect()
}

/// What an option list written for binds and tmpfs alike says of the tmpfs. The kernel, crun, and runc before 1.2 let it
/// go by on a bind; any other option is a mistake or a wish that is not granted.
const OF_A_TMPFS: [&str; 2] = ["mode", "size"];

#[allow(clippy::too_many_arguments, reason = "one call site; a struct for it would only rename them")]
fn bind(
    cx: &mut Context<'_>,
    root: &RootPlan,
    at: &str,
    mount: &spec::Mount,
    target: InRoot,
    options: &Options,
    recursive: bool,
    idmap: Option<IdmapPlan>,
    after_others: bool,
) -> Option<MountStep> {
    let source = mount.source.as_deref().unwrap_or_default();
    if source.is_empty() {
        cx.problem(format!("{at}/source"), "a bind mount needs a source");
        return None;
    }
    for (name, _, index) in &options.data {
        if OF_A_TMPFS.contains(&name.as_str()) {
            cx.warnings.push(format!("{at}/options/{index}: {name:?} is for a new file system; a bind is none"));
            continue;
        }
        let mut message = format!("bind mounts cannot have any filesystem-specific options applied: {name:?}");
        if let Some(near) = option::nearest(name) {
            message.push_str(&format!("; did you mean {near:?}?"));
        }
        cx.problem(format!("{at}/options/{index}"), message);
    }
    if let Some(flag) = options.superblock.iter().find(|flag| !matches!(**flag, "async" | "nolazytime" | "nomand")) {
        cx.warnings.push(format!("{at}/options: {flag:?} is a property of the filesystem; a bind does not change it"));
    }
    let path = absolute(&cx.request.bundle, source);
    let itself = options.source_itself || options.copy_link;
    let owns = cx.facts.owns_mounts;
    let source = match (root.inside(&path), idmap) {
        (Some(inside), idmap) => Source::Container { path: InRoot::new(inside), idmap },
        (None, None) if after_others && owns && !root.shared && !itself => Source::Asked(path),
        (None, None) if !(itself && owns) => cx.host(path, recursive),
        (None, idmap) => Source::Slot(cx.slot(SlotSource::Clone { path, recursive, idmap, itself })),
    };
    let mut step = MountStep::new(MountKind::Bind { source, recursive }, target, options);
    if options.attributes {
        step.relax = attr::REPLACED & !options.set & !options.clear;
    }
    step.procfs_root = step.target.0 == "proc";
    step.source_itself = itself;
    step.copy_link = options.copy_link;
    step.target_itself = options.target_itself;
    step.cut_loose(recursive, root.binds);
    Some(step)
}

/// Filesystems that live in memory: "ro" is then a property of the mount, never of a shared superblock.
const PSEUDO: [&str; 9] = ["proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "ramfs", "devtmpfs"];

fn filesystem(
    cx: &mut Context<'_>,
    namespaces: &Namespaces,
    at: &str,
    mount: &spec::Mount,
    target: InRoot,
    options: &Options,
) -> Option<MountStep> {
    let fstype = mount.typ.clone().unwrap_or_default();
    if fstype.is_empty() || fstype == "bind" || fstype == "none" {
        let message = format!("{fstype:?} is no filesystem: name one, or add the option \"bind\" or \"rbind\"");
        cx.problem(format!("{at}/type"), message);
        return None;
    }
    let mut settings = settings(options, false);
    if options.set & attr::RDONLY != 0 && !PSEUDO.contains(&fstype.as_str()) {
        settings.insert(0, ("ro".to_owned(), String::new()));
    }
    if fstype == "devpts" {
        // Every devpts is one since Linux 4.7, which takes the option and ignores it.
        settings.retain(|(name, _)| name != "newinstance");
    }
    let has_mode = options.data.iter().any(|(name, ..)| name == "mode");
    let label = label(cx, &fstype, &mut settings);
    mapped_ids(cx, namespaces, at, options);
    let or_bind = host_instead(cx, namespaces, &fstype);
    let kind = MountKind::Filesystem {
        fstype: fstype.clone(),
        source: mount.source.clone().unwrap_or_default(),
        options: settings,
        or_bind,
    };
    let mut step = MountStep::new(kind, target, options);
    step.ordinary_directory = fstype == "proc" || fstype == "sysfs";
    step.keep_mode = fstype == "tmpfs" && !has_mode;
    step.copy_up = options.copy_up;
    step.label = label;
    if (fstype == "tmpfs" || step.target.0 == "dev") && step.set & attr::RDONLY != 0 {
        step.set &= !attr::RDONLY;
        step.readonly_late = true;
    }
    Some(step)
}

/// In a user namespace, procfs and sysfs can only be mounted by who owns the pid or network namespace they show.
/// Where that is the caller's, what he sees already shows the same. Never for a namespace of the container's own:
/// it would get the view of another.
fn host_instead(cx: &mut Context<'_>, namespaces: &Namespaces, fstype: &str) -> Option<Source> {
    let (kind, path) = match fstype {
        "proc" => (Kind::Pid, "/proc"),
        "sysfs" => (Kind::Network, "/sys"),
        "cgroup2" => return cgroupfs::instead(cx, namespaces),
        _ => return None,
    };
    (cgroupfs::inside(cx, namespaces) && !namespaces.is_private(kind)).then(|| cx.host(path.to_owned(), true))
}

/// `uid=` and `gid=` are ids of the container: the kernel refuses those that are not mapped, without saying which.
fn mapped_ids(cx: &mut Context<'_>, namespaces: &Namespaces, at: &str, options: &Options) {
    let Some(maps) = &namespaces.maps else { return };
    for (name, value, index) in &options.data {
        let lines = match name.as_str() {
            "uid" => &maps.uid,
            "gid" => &maps.gid,
            _ => continue,
        };
        if value.parse().is_ok_and(|id| !super::ids::covers(lines, id)) {
            let message = format!("cannot specify {name}={value} mount option for rootless container: not mapped");
            cx.problem(format!("{at}/options/{index}"), message);
        }
    }
}

/// `linux.mountLabel`: an option of the filesystems that take it, an attribute of the root for mqueue, nothing for
/// procfs and sysfs, whose files have labels of their own.
pub(super) fn label(cx: &Context<'_>, fstype: &str, settings: &mut Vec<(String, String)>) -> Option<String> {
    let label = cx.mount_label.clone()?;
    match fstype {
        "proc" | "sysfs" => None,
        "mqueue" => Some(label),
        _ => {
            if !settings.iter().any(|(name, _)| name == "context") {
                settings.push(("context".to_owned(), label));
            }
            None
        }
    }
}
