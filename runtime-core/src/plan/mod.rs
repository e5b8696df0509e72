//! The launch plan: everything the stage will do, worked out beforehand.
//!
//! [`plan`] is a pure function of the config, the host's facts and the request. It finds every problem there
//! is, each with its JSON pointer, and otherwise returns a record that says in order what will happen. Nothing
//! is opened and nothing is changed here; what must be opened is named by [`Slot`] and opened by
//! [`launch::bind`](crate::launch). After it, only the kernel may refuse.

mod affinity;
mod annotation;
mod caps;
mod cgroup;
mod cgroupfs;
mod clock;
pub(crate) mod cpulist;
mod device;
pub(crate) mod hook;
mod idmap;
mod ids;
mod label;
mod mask;
mod memory;
mod mount;
mod namespace;
mod netdev;
pub(crate) mod option;
mod origin;
mod personality;
mod process;
mod rdt;
mod rlimit;
mod root;
mod scheduling;
mod seccomp;
mod session;
mod sysctl;
mod tty;
mod uts;
mod version;
pub(crate) mod wire;

#[cfg(fuzzing)]
pub use wire::check;

pub use affinity::Affinity;
pub use caps::CapabilitySets;
pub(crate) use caps::known as capabilities;
pub use cgroup::{CgroupPlan, UnitPlan};
pub use device::{DeviceNode, DeviceSource, LinkNode};
pub use hook::{Hook, HookKind, Hooks};
pub use idmap::{IdmapBy, IdmapPlan};
pub use ids::{IdMaps, UserIds};
pub(crate) use ids::{KEEP_GROUPS, for_set_up};
pub use label::Labels;
pub use mask::Masks;
pub use memory::MemoryPolicy;
pub(crate) use memory::known_names as memory_policies;
pub use mount::{MountKind, MountStep};
pub use namespace::{Join, Kind, Namespaces};
pub use netdev::NetDevice;
pub use option::Propagation;
pub(crate) use option::known as mount_options;
pub use origin::Origins;
pub use process::Program;
pub use rdt::Rdt;
pub use rlimit::Limit;
pub(crate) use root::OVER_ITSELF;
pub use root::RootPlan;
pub use scheduling::Scheduler;
pub use seccomp::Listener;
pub use session::Keyring;
pub use sysctl::Sysctl;
pub use tty::Terminal;

use serde::Serialize;

use crate::host::HostFacts;
use crate::spec::{Problem, Spec};

/// What the refusal of something that is not built says, wherever it is made.
pub(crate) const NOT_SUPPORTED: &str = "not supported by this version of runtime";

/// A path of the host, opened by the parent before anything of the container runs.
pub type HostPath = String;

/// A path inside the container, relative to its root and without a leading slash; only the stage resolves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InRoot(pub String);

impl InRoot {
    /// From an absolute or relative path, cleaned of ".", ".." and doubled slashes by name alone.
    pub fn new(path: &str) -> Self {
        let mut parts: Vec<&str> = Vec::new();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        Self(parts.join("/"))
    }

    /// True if this is `other` or something below it, going by the names.
    pub fn is_at_or_below(&self, other: &Self) -> bool {
        self.0.strip_prefix(&other.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// For people: a plan is read by them only.
fn octal<S: serde::Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{mode:#o}"))
}

/// An index into the table of descriptors the parent opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Slot(pub u16);

/// What a slot holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum SlotSource {
    /// A detached clone of a host mount, file or directory.
    Clone {
        /// What is cloned.
        path: HostPath,
        /// With everything mounted below it.
        recursive: bool,
        /// Its ids are mapped.
        idmap: Option<IdmapPlan>,
        /// A link at the end of the path is cloned itself.
        itself: bool,
    },
    /// A detached clone of a device node: one of our own, in a tmpfs of our own; where the kernel has no clones of what
    /// is not mounted (before Linux 6.15) or lets us make none, the host's node.
    Node {
        /// The host's.
        path: HostPath,
        /// File type and permission bits.
        #[serde(serialize_with = "octal")]
        mode: u32,
        /// Major and minor number.
        number: (u32, u32),
        /// Owner and group, as the host has them.
        owner: (u32, u32),
    },
    /// A detached clone of the container's cgroup directory in one hierarchy; of the caller's, where the
    /// container has none there for lack of rights.
    CgroupClone {
        /// Index into the placement.
        hierarchy: usize,
        /// The caller's directory.
        own: HostPath,
    },
    /// The container's first process, whose namespaces are joined; the caller of exec holds it.
    Init,
    /// The container's root where it has no mount namespace of its own: the caller has mounted it, and holds it.
    Root,
    /// The root of a procfs of our own, mounted nowhere: what is set by writing to one is written there.
    Proc,
    /// A namespace file.
    Namespace {
        /// Its path.
        path: HostPath,
        /// Its type.
        kind: Kind,
    },
}

/// Where a bind or a device comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// The parent clones it.
    Slot(Slot),
    /// The parent clones it when the stage asks for it, other mounts being made by then: the kernel numbers mounts as they
    /// are made, not as they are attached, and lists them by number (since Linux 6.8).
    Asked(HostPath),
    /// The stage clones it by its host path: the parent lacks the right to.
    Path(HostPath),
    /// The stage clones it out of the container's own tree, as it is when its turn comes: what was mounted there before is
    /// in it.
    Container {
        /// Where.
        path: InRoot,
        /// The parent maps its ids.
        idmap: Option<IdmapPlan>,
    },
    /// The stage clones the container's cgroup directory by its path; where there is none for lack of rights, the
    /// caller's own.
    Cgroup {
        /// Index into the placement.
        place: usize,
        /// The container's directory.
        path: HostPath,
        /// The caller's.
        own: HostPath,
    },
}

/// Who takes the master of a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Receiver {
    /// Nobody: a terminal is an error.
    #[default]
    Nobody,
    /// The caller, should there be one.
    Caller,
    /// A socket, which waits for it: no terminal is an error.
    Socket,
}

/// What the caller adds to the config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Container id.
    pub id: String,
    /// Absolute path of the bundle.
    pub bundle: String,
    /// Use chroot in place of pivot_root.
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// Who takes the terminal's master, if there is one.
    pub console: Receiver,
    /// Terminal size where the config has none: rows, columns.
    pub console_size: Option<(u16, u16)>,
    /// How many descriptors are passed on, as 3, 4, ….
    pub preserve_fds: u32,
    /// How many of them are for sd_listen_fds(3).
    pub listen_fds: u32,
    /// The container gets no cgroup of its own: it stays in the caller's.
    pub no_cgroup: bool,
    /// Lacking rights on cgroups are forgiven; absent: to those who are not root.
    pub rootless: Option<bool>,
    /// Report what the seccomp profile denies.
    pub seccomp_report: bool,
    /// The container an exec goes into; `None`: one is made.
    pub exec: Option<Target>,
}

/// A container that is there, as far as the plan of an exec depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The namespaces it does not share with the caller.
    pub namespaces: Vec<Kind>,
    /// Its root is entered by chroot: the mount namespace is not its own.
    pub shared_mounts: bool,
    /// setgroups(2) is denied in its user namespace.
    pub deny_setgroups: bool,
    /// User and group to set up as there.
    pub set_up: [u32; 2],
}

/// The plan of one launch.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// A program for a container that is there: nothing of a root filesystem is built.
    #[serde(skip_serializing_if = "crate::spec::is_default")]
    pub exec: bool,
    /// What the parent opens before.
    pub slots: Vec<SlotSource>,
    /// Where its processes are accounted and limited; absent: where the caller's are.
    pub cgroup: Option<CgroupPlan>,
    /// Its class of service in resctrl.
    pub rdt: Option<Rdt>,
    /// Namespaces made and joined.
    pub namespaces: Namespaces,
    /// What goes into timens_offsets.
    pub time_offsets: Option<String>,
    /// A procfs to write to; absent where nothing is.
    pub proc: Option<Slot>,
    /// Session keyring.
    pub keyring: Option<Keyring>,
    /// The root filesystem.
    pub root: RootPlan,
    /// Mounts, in order.
    pub mounts: Vec<MountStep>,
    /// Device nodes, in order.
    pub devices: Vec<DeviceNode>,
    /// Links made after the mounts.
    pub links: Vec<LinkNode>,
    /// Terminal.
    pub terminal: Option<Terminal>,
    /// Host name.
    pub hostname: Option<String>,
    /// NIS domain name.
    pub domainname: Option<String>,
    /// Network devices that move in.
    pub net_devices: Vec<NetDevice>,
    /// Kernel parameters.
    pub sysctls: Vec<Sysctl>,
    /// Security labels.
    pub labels: Labels,
    /// Read-only and masked paths.
    pub masks: Masks,
    /// Programs run at points before it.
    pub hooks: Hooks,
    /// The program.
    pub program: Program,
    /// Who it runs as.
    pub user: UserIds,
    /// Capability sets; absent: unchanged.
    pub capabilities: Option<CapabilitySets>,
    /// Set no_new_privs.
    pub no_new_privileges: bool,
    /// Execution domain.
    pub personality: Option<u32>,
    /// NUMA memory policy.
    pub memory_policy: Option<MemoryPolicy>,
    /// CPUs, where they are named.
    #[serde(skip_serializing_if = "crate::spec::is_default")]
    pub affinity: Affinity,
    /// CPU scheduling.
    pub scheduler: Option<Scheduler>,
    /// I/O priority.
    pub io_priority: Option<u32>,
    /// Resource limits.
    pub rlimits: Vec<Limit>,
    /// OOM killer adjustment.
    pub oom_score_adj: Option<i32>,
    /// System call filter.
    pub seccomp: Option<crate::seccomp::Filter>,
    /// The filter as the profile says, where it is loaded with its denials notified to the caller.
    #[serde(skip)]
    pub reported: Option<crate::seccomp::Filter>,
    /// Who gets its listener, if it notifies.
    pub listener: Option<Listener>,
    /// What the config asks for that is not done, as the spec allows.
    pub warnings: Vec<String>,
    /// Where each step comes from, for errors.
    #[serde(skip)]
    pub origins: Origins,
}

/// What the nouns share while they plan.
pub(crate) struct Context<'a> {
    pub spec: &'a Spec,
    pub facts: &'a HostFacts,
    pub request: &'a Request,
    pub problems: Vec<Problem>,
    pub warnings: Vec<String>,
    pub slots: Vec<SlotSource>,
    pub origins: Origins,
    pub reported: Option<crate::seccomp::Filter>,
    /// SELinux context of everything mounted.
    pub mount_label: Option<String>,
}

impl Context<'_> {
    /// Notes a problem.
    pub fn problem(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::new(pointer, message));
    }

    /// A slot for `source`; equal sources share one.
    pub fn slot(&mut self, source: SlotSource) -> Slot {
        let shared = matches!(source, SlotSource::Namespace { .. } | SlotSource::Init);
        let at = self.slots.iter().position(|known| shared && *known == source).unwrap_or_else(|| {
            self.slots.push(source);
            self.slots.len() - 1
        });
        Slot(u16::try_from(at).unwrap_or(u16::MAX))
    }

    /// A host file or directory to be mounted: cloned by the parent where it may, else by the stage.
    pub fn host(&mut self, path: HostPath, recursive: bool) -> Source {
        if self.facts.owns_mounts {
            Source::Slot(self.slot(SlotSource::Clone { path, recursive, idmap: None, itself: false }))
        } else {
            Source::Path(path)
        }
    }

    /// Text for the kernel: a NUL inside would change its meaning. The pointer is only spelled out if there is one.
    pub fn no_nul(&mut self, pointer: impl std::fmt::Display, text: &str) {
        if text.contains('\0') {
            self.problem(pointer.to_string(), "contains a NUL byte");
        }
    }
}

/// Works out the plan, or everything that is wrong with the config.
pub fn plan(spec: &Spec, facts: &HostFacts, request: &Request) -> Result<Plan, Vec<Problem>> {
    let mut context = Context {
        spec,
        facts,
        request,
        problems: Vec::new(),
        warnings: Vec::new(),
        slots: Vec::new(),
        origins: Origins::default(),
        reported: None,
        mount_label: None,
    };
    let cx = &mut context;
    let exec = cx.request.exec.is_some();
    let namespaces = match &request.exec {
        None => namespace::plan(cx),
        Some(target) => namespace::exec(cx, target),
    };
    if !exec {
        version::check(cx);
        cx.mount_label = label::of_mounts(cx);
    }
    let root = match &request.exec {
        None => root::plan(cx, &namespaces),
        Some(target) => RootPlan::joined(cx, target),
    };
    let mounts = if exec { Vec::new() } else { mount::plan(cx, &namespaces, &root) };
    let (devices, links) = if exec { Default::default() } else { device::plan(cx, &namespaces, &mounts) };
    let user = ids::user(cx, &namespaces);
    let time_offsets = clock::plan(cx, &namespaces);
    let sysctls = sysctl::plan(cx, &namespaces);
    let labels = label::plan(cx);
    let net_devices = netdev::plan(cx, &namespaces);
    annotation::check(cx);
    let needs_proc = time_offsets.is_some() || !sysctls.is_empty() || !labels.is_empty();
    let seccomp = seccomp::filter(cx);
    let plan = Plan {
        exec,
        cgroup: if exec { None } else { cgroup::plan(cx, &namespaces) },
        keyring: session::keyring(cx, &namespaces),
        terminal: tty::plan(cx),
        hostname: uts::hostname(cx, &namespaces),
        domainname: uts::domainname(cx, &namespaces),
        masks: mask::plan(cx),
        hooks: hook::plan(cx),
        program: process::plan(cx),
        capabilities: caps::plan(cx, &namespaces),
        no_new_privileges: cx.spec.process.as_ref().is_some_and(|process| process.no_new_privileges),
        personality: personality::plan(cx),
        memory_policy: memory::plan(cx),
        affinity: affinity::plan(cx),
        scheduler: scheduling::scheduler(cx),
        io_priority: scheduling::io_priority(cx),
        rlimits: rlimit::plan(cx),
        oom_score_adj: session::oom_score_adj(cx),
        rdt: rdt::plan(cx),
        proc: needs_proc.then(|| cx.slot(SlotSource::Proc)),
        time_offsets,
        net_devices,
        sysctls,
        labels,
        listener: seccomp::listener(cx, seccomp.as_ref()),
        reported: cx.reported.take(),
        seccomp,
        namespaces,
        root,
        mounts,
        devices,
        links,
        user,
        slots: Vec::new(),
        warnings: Vec::new(),
        origins: Origins::default(),
    };
    let Context { problems, warnings, slots, origins, .. } = context;
    if problems.is_empty() { Ok(Plan { slots, warnings, origins, ..plan }) } else { Err(problems) }
}

/// "unknown …", with the names there are.
fn known<'a>(what: &str, name: &str, names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    format!("unknown {what} {name:?}; known: {}", names.join(", "))
}
