//! `mounts`: options to attributes, binds to clones, the cgroup filesystem to what the host has.

use runtime_stage::fail::Step;
use runtime_stage::sys::ms;
use serde::{Serialize, Serializer};

use super::root::absolute;
use super::{Context, InRoot, Kind, Namespaces, SlotSource, Source};
use crate::cgroup::Mode;
use crate::spec;

/// MOUNT_ATTR_* (mount_setattr(2)).
mod attr {
    pub(super) const RDONLY: u64 = 0x1;
    pub(super) const NOSUID: u64 = 0x2;
    pub(super) const NODEV: u64 = 0x4;
    pub(super) const NOEXEC: u64 = 0x8;
    pub(super) const ATIME: u64 = 0x70;
    pub(super) const NOATIME: u64 = 0x10;
    pub(super) const STRICTATIME: u64 = 0x20;
    pub(super) const NODIRATIME: u64 = 0x80;
    pub(super) const NOSYMFOLLOW: u64 = 0x20_0000;
    /// What a bind with options loses when the options do not name it.
    pub(super) const REPLACED: u64 = RDONLY | NOSUID | NODEV | NOEXEC | NODIRATIME | NOSYMFOLLOW;

    const NAMES: [(u64, &str); 6] = [
        (RDONLY, "rdonly"),
        (NOSUID, "nosuid"),
        (NODEV, "nodev"),
        (NOEXEC, "noexec"),
        (NODIRATIME, "nodiratime"),
        (NOSYMFOLLOW, "nosymfollow"),
    ];

    /// For people: a plan is read by them only.
    pub(super) fn names<S: serde::Serializer>(set: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        let flags = NAMES.iter().filter(|(bit, _)| set & bit != 0).map(|(_, name)| (*name).to_owned());
        let atime = match set & ATIME {
            0 => None,
            ATIME => Some("atime (all bits)".to_owned()),
            NOATIME => Some("noatime".to_owned()),
            STRICTATIME => Some("strictatime".to_owned()),
            other => Some(format!("{other:#x}")),
        };
        let known = NAMES.iter().fold(ATIME, |all, (bit, _)| all | bit);
        let rest = Some(set & !known).filter(|rest| *rest != 0).map(|rest| format!("{rest:#x}"));
        serializer.collect_seq(flags.chain(atime).chain(rest))
    }
}

/// MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE, with MS_REC for the whole tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propagation(pub u64);

impl Serialize for Propagation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = PROPAGATIONS.iter().find(|(_, p)| *p == *self).map_or("", |(name, _)| name);
        serializer.serialize_str(name)
    }
}

const PROPAGATIONS: [(&str, Propagation); 8] = [
    ("shared", Propagation(ms::SHARED)),
    ("slave", Propagation(ms::SLAVE)),
    ("private", Propagation(ms::PRIVATE)),
    ("unbindable", Propagation(ms::UNBINDABLE)),
    ("rshared", Propagation(ms::SHARED | ms::REC)),
    ("rslave", Propagation(ms::SLAVE | ms::REC)),
    ("rprivate", Propagation(ms::PRIVATE | ms::REC)),
    ("runbindable", Propagation(ms::UNBINDABLE | ms::REC)),
];

/// The propagation an option names.
pub(super) fn propagation(name: &str) -> Option<Propagation> {
    PROPAGATIONS.iter().find(|(known, _)| *known == name).map(|(_, propagation)| *propagation)
}

/// What a mount option does.
#[derive(Clone, Copy)]
enum Effect {
    /// Sets or clears attributes of this mount: set, clear.
    Attribute(u64, u64),
    /// The same for the whole tree.
    Recursive(u64, u64),
    /// Sets a flag of the superblock.
    Superblock(&'static str),
    /// A bind; with everything below.
    Bind(bool),
    /// Changes the mount that is there.
    Remount,
    /// Known, and without effect here.
    Nothing,
    /// Known, and not built yet.
    Later,
}

/// The option table of config.md, "Linux mount options". Anything else is the filesystem's own business.
const OPTIONS: &[(&str, Effect)] = {
    use Effect::{Attribute as A, Bind, Later, Nothing, Recursive as R, Remount, Superblock};
    &[
        ("async", Nothing),
        ("atime", A(0, attr::NOATIME)),
        ("bind", Bind(false)),
        ("defaults", Nothing),
        ("dev", A(0, attr::NODEV)),
        ("diratime", A(0, attr::NODIRATIME)),
        ("dirsync", Superblock("dirsync")),
        ("exec", A(0, attr::NOEXEC)),
        ("idmap", Later),
        ("iversion", Nothing),
        ("lazytime", Superblock("lazytime")),
        ("loud", Nothing),
        ("mand", Superblock("mand")),
        ("noatime", A(attr::NOATIME, attr::ATIME)),
        ("nodev", A(attr::NODEV, 0)),
        ("nodiratime", A(attr::NODIRATIME, 0)),
        ("noexec", A(attr::NOEXEC, 0)),
        ("noiversion", Nothing),
        ("nolazytime", Nothing),
        ("nomand", Nothing),
        ("norelatime", Nothing),
        ("nostrictatime", A(0, attr::STRICTATIME)),
        ("nosuid", A(attr::NOSUID, 0)),
        ("nosymfollow", A(attr::NOSYMFOLLOW, 0)),
        ("ratime", R(0, attr::ATIME)),
        ("rbind", Bind(true)),
        ("rdev", R(0, attr::NODEV)),
        ("rdiratime", R(0, attr::NODIRATIME)),
        ("relatime", A(0, attr::ATIME)),
        ("remount", Remount),
        ("rexec", R(0, attr::NOEXEC)),
        ("ridmap", Later),
        ("rnoatime", R(attr::NOATIME, attr::ATIME)),
        ("rnodev", R(attr::NODEV, 0)),
        ("rnodiratime", R(attr::NODIRATIME, 0)),
        ("rnoexec", R(attr::NOEXEC, 0)),
        ("rnorelatime", R(0, attr::ATIME)),
        ("rnostrictatime", R(0, attr::ATIME)),
        ("rnosuid", R(attr::NOSUID, 0)),
        ("rnosymfollow", R(attr::NOSYMFOLLOW, 0)),
        ("ro", A(attr::RDONLY, 0)),
        ("rrelatime", R(0, attr::ATIME)),
        ("rro", R(attr::RDONLY, 0)),
        ("rrw", R(0, attr::RDONLY)),
        ("rstrictatime", R(attr::STRICTATIME, attr::ATIME)),
        ("rsuid", R(0, attr::NOSUID)),
        ("rsymfollow", R(0, attr::NOSYMFOLLOW)),
        ("rw", A(0, attr::RDONLY)),
        ("silent", Nothing),
        ("strictatime", A(attr::STRICTATIME, attr::ATIME)),
        ("suid", A(0, attr::NOSUID)),
        ("symfollow", A(0, attr::NOSYMFOLLOW)),
        ("sync", Superblock("sync")),
        ("tmpcopyup", Later),
    ]
};

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
    Remount,
    /// A symbolic link to this target.
    Link(String),
}

impl MountKind {
    fn filesystem(fstype: &str, source: &str, options: Vec<(String, String)>) -> Self {
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
    /// Made read-only after everything below it exists.
    pub readonly_late: bool,
    /// An existing target directory gives its mode.
    pub keep_mode: bool,
}

/// Options, sorted.
#[derive(Default)]
struct Options {
    set: u64,
    clear: u64,
    all_set: u64,
    all_clear: u64,
    superblock: Vec<&'static str>,
    bind: Option<bool>,
    remount: bool,
    propagation: Vec<Propagation>,
    data: Vec<(String, String)>,
    attributes: bool,
}

pub(super) fn plan(cx: &mut Context<'_>, namespaces: &Namespaces) -> Vec<MountStep> {
    let mut steps = Vec::new();
    for (index, mount) in cx.spec.mounts.iter().flatten().enumerate() {
        let before = steps.len();
        one(cx, namespaces, index, mount, &mut steps);
        let what = format!("mount {} on {}", described(mount), mount.destination.as_deref().unwrap_or_default());
        for step in before..steps.len() {
            cx.origins.note(Step::Mount, step, format!("/mounts/{index}"), what.as_str());
            cx.origins.note(Step::SealMount, step, format!("/mounts/{index}"), what.as_str());
        }
    }
    steps
}

fn described(mount: &spec::Mount) -> String {
    let bind = mount.options.iter().flatten().any(|option| option == "bind" || option == "rbind");
    let source = mount.source.as_deref().unwrap_or_default();
    if bind { source.to_owned() } else { mount.typ.clone().unwrap_or_default() }
}

fn one(cx: &mut Context<'_>, namespaces: &Namespaces, index: usize, mount: &spec::Mount, steps: &mut Vec<MountStep>) {
    let at = format!("/mounts/{index}");
    let Some(target) = target(cx, &at, mount) else { return };
    let options = options(cx, &at, mount);
    if mount.uid_mappings.is_some() || mount.gid_mappings.is_some() {
        cx.problem(format!("{at}/uidMappings"), "not supported by this version of runtime");
    }
    let fstype = mount.typ.as_deref().unwrap_or_default();
    if options.bind.is_none() && !options.remount && fstype == "cgroup" {
        return cgroup(cx, namespaces, mount, target, &options, steps);
    }
    let step = if let Some(recursive) = options.bind {
        bind(cx, &at, mount, target, options, recursive)
    } else if options.remount {
        Some(step(MountKind::Remount, target, &options))
    } else {
        filesystem(cx, namespaces, &at, mount, target, options, fstype)
    };
    steps.extend(step);
}

/// The destination; nothing may go over the root, and little over /proc.
fn target(cx: &mut Context<'_>, at: &str, mount: &spec::Mount) -> Option<InRoot> {
    let destination = mount.destination.as_deref().unwrap_or_default();
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

/// Anything else mounted over /proc would redirect what is written there (CVE-2019-16884).
fn in_proc(cx: &mut Context<'_>, pointer: &str, mount: &spec::Mount, target: &InRoot) {
    let bind = mount.options.iter().flatten().any(|option| option == "bind" || option == "rbind");
    let path = target.0.as_str();
    if path == "proc" {
        let procfs = if bind { mount.source.as_deref() == Some("/proc") } else { mount.typ.as_deref() == Some("proc") };
        if !procfs {
            cx.problem(pointer, "\"/proc\" cannot be mounted because it is not of type proc");
        }
    } else if path.starts_with("proc/") && !COVERABLE.contains(&path) {
        cx.problem(pointer, format!("\"/{path}\" cannot be mounted because it is inside /proc"));
    }
}

fn options(cx: &mut Context<'_>, at: &str, mount: &spec::Mount) -> Options {
    let mut sorted = Options::default();
    for (index, option) in mount.options.iter().flatten().enumerate() {
        let pointer = format!("{at}/options/{index}");
        cx.no_nul(&pointer, option);
        if let Some(propagation) = propagation(option) {
            sorted.propagation.push(propagation);
            continue;
        }
        match OPTIONS.iter().find(|(name, _)| name == option).map(|(_, effect)| *effect) {
            Some(Effect::Attribute(set, clear)) => {
                sorted.set = sorted.set & !clear | set;
                sorted.clear = sorted.clear & !set | clear;
                sorted.attributes = true;
            }
            Some(Effect::Recursive(set, clear)) => {
                sorted.all_set = sorted.all_set & !clear | set;
                sorted.all_clear = sorted.all_clear & !set | clear;
            }
            Some(Effect::Superblock(flag)) => sorted.superblock.push(flag),
            Some(Effect::Bind(recursive)) => sorted.bind = Some(recursive || sorted.bind == Some(true)),
            Some(Effect::Remount) => sorted.remount = true,
            Some(Effect::Nothing) => {}
            Some(Effect::Later) => cx.problem(pointer, format!("{option}: not supported by this version of runtime")),
            None => {
                let (name, value) = option.split_once('=').unwrap_or((option, ""));
                sorted.data.push((name.to_owned(), value.to_owned()));
            }
        }
    }
    sorted
}

fn step(kind: MountKind, target: InRoot, options: &Options) -> MountStep {
    MountStep {
        kind,
        target,
        set: options.set,
        clear: options.clear | if options.set & attr::ATIME != 0 { attr::ATIME } else { 0 },
        relax: 0,
        all_set: options.all_set,
        all_clear: options.all_clear | if options.all_set & attr::ATIME != 0 { attr::ATIME } else { 0 },
        propagation: options.propagation.clone(),
        ordinary_directory: false,
        readonly_late: false,
        keep_mode: false,
    }
}

fn bind(
    cx: &mut Context<'_>,
    at: &str,
    mount: &spec::Mount,
    target: InRoot,
    options: Options,
    recursive: bool,
) -> Option<MountStep> {
    let source = mount.source.as_deref().unwrap_or_default();
    if source.is_empty() {
        cx.problem(format!("{at}/source"), "a bind mount needs a source");
        return None;
    }
    cx.no_nul(&format!("{at}/source"), source);
    if let Some((name, _)) = options.data.first() {
        let message = format!("bind mounts cannot have any filesystem-specific options applied: {name:?}");
        cx.problem(format!("{at}/options"), message);
    }
    let source = absolute(&cx.request.bundle, source);
    let kind = MountKind::Bind { source: cx.host(source, recursive), recursive };
    let mut step = step(kind, target, &options);
    if options.attributes {
        step.relax = attr::REPLACED & !options.set & !options.clear;
    }
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
    options: Options,
    fstype: &str,
) -> Option<MountStep> {
    if fstype.is_empty() || fstype == "bind" {
        let message = "a mount needs a type, or the option bind or rbind";
        cx.problem(format!("{at}/type"), message);
        return None;
    }
    let mut settings: Vec<(String, String)> =
        options.superblock.iter().map(|flag| ((*flag).to_owned(), String::new())).collect();
    if options.set & attr::RDONLY != 0 && !PSEUDO.contains(&fstype) {
        settings.push(("ro".to_owned(), String::new()));
    }
    let has_mode = options.data.iter().any(|(name, _)| name == "mode");
    settings.extend(options.data.iter().cloned());
    let source = mount.source.clone().unwrap_or_default();
    cx.no_nul(&format!("{at}/source"), &source);
    mapped_ids(cx, namespaces, at, &options);
    let or_bind = host_instead(cx, namespaces, fstype);
    let kind = MountKind::Filesystem { fstype: fstype.to_owned(), source, options: settings, or_bind };
    let mut step = step(kind, target, &options);
    step.ordinary_directory = fstype == "proc" || fstype == "sysfs";
    step.keep_mode = fstype == "tmpfs" && !has_mode;
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
        _ => return None,
    };
    (inside(cx, namespaces) && !namespaces.is_private(kind)).then(|| cx.host(path.to_owned(), true))
}

/// `uid=` and `gid=` are ids of the container: the kernel refuses those that are not mapped, without saying which.
fn mapped_ids(cx: &mut Context<'_>, namespaces: &Namespaces, at: &str, options: &Options) {
    let Some(maps) = &namespaces.maps else { return };
    for (name, value) in &options.data {
        let lines = match name.as_str() {
            "uid" => &maps.uid,
            "gid" => &maps.gid,
            _ => continue,
        };
        if value.parse().is_ok_and(|id| !super::ids::covers(lines, id)) {
            let message = format!("cannot specify {name}={value} mount option for rootless container: not mapped");
            cx.problem(format!("{at}/options"), message);
        }
    }
}

/// `type: cgroup`: cgroup2 where that is what the host has, else a tmpfs with one entry per v1 hierarchy.
fn cgroup(
    cx: &mut Context<'_>,
    namespaces: &Namespaces,
    mount: &spec::Mount,
    target: InRoot,
    options: &Options,
    steps: &mut Vec<MountStep>,
) {
    if cx.facts.cgroup.mode == Mode::V2 {
        let kind = MountKind::Filesystem {
            fstype: "cgroup2".to_owned(),
            source: mount.source.clone().unwrap_or_default(),
            options: Vec::new(),
            // In a user namespace the kernel only mounts what a cgroup namespace of that user shows.
            or_bind: (inside(cx, namespaces) && !namespaces.is_private(Kind::Cgroup)).then(|| own_cgroup(cx, 0)),
        };
        steps.push(step(kind, target, options));
        return;
    }
    let settings = vec![("mode".to_owned(), "755".to_owned())];
    let mut base = step(MountKind::filesystem("tmpfs", "tmpfs", settings), target.clone(), options);
    base.set &= !attr::RDONLY;
    base.readonly_late = options.set & attr::RDONLY != 0;
    base.propagation.clear();
    steps.push(base);
    let facts = cx.facts;
    for (index, hierarchy) in facts.cgroup.hierarchies.iter().enumerate().filter(|(_, h)| !h.v2) {
        let below = InRoot(format!("{}/{}", target.0, hierarchy.name));
        let kind = if namespaces.is_private(Kind::Cgroup) {
            let options = hierarchy.controllers.iter().flat_map(|controller| v1_options(controller)).collect();
            MountKind::filesystem("cgroup", "cgroup", options)
        } else {
            MountKind::Bind { source: own_cgroup(cx, index), recursive: false }
        };
        steps.push(step(kind, below, options));
        for controller in hierarchy.controllers.iter().filter(|c| **c != hierarchy.name && !c.starts_with("name=")) {
            let link = InRoot(format!("{}/{controller}", target.0));
            steps.push(step(MountKind::Link(hierarchy.name.clone()), link, &Options::default()));
        }
    }
}

/// True if the container's mounts are made in a user namespace.
fn inside(cx: &Context<'_>, namespaces: &Namespaces) -> bool {
    namespaces.is_private(Kind::User) || cx.facts.user_namespace
}

/// The container's cgroup directory in one hierarchy, as the source of a bind.
fn own_cgroup(cx: &mut Context<'_>, index: usize) -> Source {
    let facts = cx.facts;
    let hierarchy = facts.cgroup.hierarchies.get(index);
    let own = hierarchy.and_then(|h| Some(format!("{}{}", h.mount, h.own.as_deref()?.trim_end_matches('/'))));
    let own = own.unwrap_or_default();
    if facts.owns_mounts {
        return Source::Slot(cx.slot(SlotSource::CgroupClone { hierarchy: index, own }));
    }
    let path = cx.spec.linux.as_ref().and_then(|linux| linux.cgroups_path.as_deref());
    let placed = crate::cgroup::place(&facts.cgroup, path, &cx.request.id).ok();
    let place = placed.and_then(|placement| placement.dirs.get(index).map(crate::cgroup::Place::absolute));
    Source::Cgroup { place: index, path: place.unwrap_or_default(), own }
}

/// "cpu" is a flag; "name=systemd" is a hierarchy without controllers.
fn v1_options(controller: &str) -> Vec<(String, String)> {
    match controller.split_once('=') {
        Some((name, value)) => vec![("none".to_owned(), String::new()), (name.to_owned(), value.to_owned())],
        None => vec![(controller.to_owned(), String::new())],
    }
}
