//! `linux.namespaces`: which are made by clone3, which are joined, which are unshared, and who forks.

use runtime_stage::fail::Step;
use serde::Serialize;

use super::{Context, IdMaps, Slot, SlotSource, Target, ids};

/// A kind of namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Process ids.
    Pid,
    /// Network stack.
    Network,
    /// Mounts.
    Mount,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Host and domain name.
    Uts,
    /// Users and capabilities.
    User,
    /// View of the cgroup tree.
    Cgroup,
    /// Clocks.
    Time,
}

impl Kind {
    /// Every kind, with the spec's name.
    pub const ALL: [(Self, &'static str); 8] = [
        (Self::Pid, "pid"),
        (Self::Network, "network"),
        (Self::Mount, "mount"),
        (Self::Ipc, "ipc"),
        (Self::Uts, "uts"),
        (Self::User, "user"),
        (Self::Cgroup, "cgroup"),
        (Self::Time, "time"),
    ];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }

    /// The spec's name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// Its file below /proc/PID/ns.
    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Network => "net",
            Self::Mount => "mnt",
            kind => kind.name(),
        }
    }

    /// CLONE_NEW*.
    pub fn flag(self) -> u32 {
        use runtime_stage::sys::clone;
        let flag = match self {
            Self::Pid => clone::NEWPID,
            Self::Network => clone::NEWNET,
            Self::Mount => clone::NEWNS,
            Self::Ipc => clone::NEWIPC,
            Self::Uts => clone::NEWUTS,
            Self::User => clone::NEWUSER,
            Self::Cgroup => clone::NEWCGROUP,
            Self::Time => clone::NEWTIME,
        };
        flag as u32
    }
}

/// A namespace to join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Join {
    /// Its kind.
    pub kind: Kind,
    /// Its file.
    pub slot: Slot,
}

/// What happens to each kind of namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Namespaces {
    /// Made together with the process.
    pub clone: Vec<Kind>,
    /// Joined, in this order.
    pub join: Vec<Join>,
    /// Made by the process itself, after it entered its cgroup and what it joins.
    pub unshare: Vec<Kind>,
    /// A child carries on: the pid or time namespace begins there.
    pub fork: bool,
    /// Id maps of the new user namespace.
    pub maps: Option<IdMaps>,
    /// What the maps of the joined user namespace must be, where the config says it.
    pub joined_maps: Option<IdMaps>,
    /// Bring the loopback device up.
    pub loopback: bool,
}

impl Namespaces {
    /// True if this kind is new.
    pub fn is_new(&self, kind: Kind) -> bool {
        self.clone.contains(&kind) || self.unshare.contains(&kind)
    }

    /// True if this kind is joined.
    pub fn is_joined(&self, kind: Kind) -> bool {
        self.join.iter().any(|join| join.kind == kind)
    }

    /// True if this kind is not the caller's.
    pub fn is_private(&self, kind: Kind) -> bool {
        self.is_new(kind) || self.is_joined(kind)
    }
}

/// Sorts the config's list into what is cloned, joined and unshared.
pub(super) fn plan(cx: &mut Context<'_>) -> Namespaces {
    let (new, joined) = requested(cx);
    let (new_user, joined_user) = (new.contains(&Kind::User), joined.iter().any(|join| join.0 == Kind::User));
    let maps = ids::maps(cx, new_user, joined_user);
    let (maps, joined_maps) = if new_user { (maps, None) } else { (None, maps) };
    let mut plan = Namespaces { maps, joined_maps, ..Namespaces::default() };
    join(cx, &mut plan, joined);
    // In a joined user or pid namespace the new ones must be made by whoever has joined.
    let joins_first = plan.is_joined(Kind::User) || plan.is_joined(Kind::Pid);
    let forks = new.contains(&Kind::Time);
    for kind in new {
        match kind {
            // Its root is the cgroup of whoever makes it, so it comes after the cgroup.
            Kind::Cgroup => plan.unshare.push(kind),
            // Its clocks are set while it is still empty; the next child is the first in it.
            Kind::Time => plan.unshare.push(kind),
            Kind::Pid if forks => plan.unshare.push(kind),
            _ if joins_first => plan.unshare.push(kind),
            _ => plan.clone.push(kind),
        }
    }
    plan.fork = forks || plan.is_joined(Kind::Pid) || plan.unshare.contains(&Kind::Pid);
    plan.loopback = plan.is_new(Kind::Network);
    plan
}

/// All namespaces of a container that is there, joined at once through its first process.
pub(super) fn exec(cx: &mut Context<'_>, target: &Target) -> Namespaces {
    let slot = cx.slot(SlotSource::Init);
    cx.origins.note(Step::JoinNamespace, 0, "", "join the container's namespaces");
    Namespaces {
        join: target.namespaces.iter().map(|kind| Join { kind: *kind, slot }).collect(),
        fork: target.namespaces.contains(&Kind::Pid),
        ..Namespaces::default()
    }
}

/// New kinds, and joined ones with path and index.
fn requested(cx: &mut Context<'_>) -> (Vec<Kind>, Vec<(Kind, String, usize)>) {
    let (mut new, mut joined, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    let list = cx.spec.linux.as_ref().and_then(|linux| linux.namespaces.as_deref()).unwrap_or_default();
    for (index, namespace) in list.iter().enumerate() {
        let at = format!("/linux/namespaces/{index}");
        let name = namespace.typ.as_deref().unwrap_or_default();
        let Some(kind) = Kind::parse(name) else {
            let known: Vec<&str> = Kind::ALL.iter().map(|(_, name)| *name).collect();
            cx.problem(format!("{at}/type"), format!("unknown namespace {name:?}; known: {}", known.join(", ")));
            continue;
        };
        if seen.contains(&kind) {
            cx.problem(at.as_str(), format!("duplicate namespace {name:?}"));
        }
        seen.push(kind);
        match namespace.path.as_deref() {
            None | Some("") => new.push(kind),
            Some(path) if !path.starts_with('/') => {
                cx.problem(format!("{at}/path"), format!("namespace path {path:?} is not absolute"));
            }
            Some(path) => {
                cx.no_nul(format_args!("{at}/path"), path);
                joined.push((kind, path.to_owned(), index));
            }
        }
    }
    (new, joined)
}

/// Everything else first, with the rights we came with; the user namespace after; runc's order.
fn join(cx: &mut Context<'_>, plan: &mut Namespaces, mut joined: Vec<(Kind, String, usize)>) {
    joined.sort_by_key(|(kind, _, _)| *kind == Kind::User);
    for (kind, path, index) in joined {
        let pointer = format!("/linux/namespaces/{index}/path");
        let what = format!("join the {} namespace {path}", kind.name());
        cx.origins.note(Step::JoinNamespace, plan.join.len(), pointer, what);
        let slot = cx.slot(SlotSource::Namespace { path, kind });
        plan.join.push(Join { kind, slot });
    }
}
