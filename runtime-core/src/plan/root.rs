//! `root`: where the filesystem comes from and how it becomes "/".
//!
//! Without a mount namespace of the container's own everything is mounted in the caller's: on a private mount of the root
//! filesystem over itself, so that one detach at delete takes all of it, and what is above it is never touched.

use runtime_stage::fail::Step;
use runtime_stage::sys::ms;
use serde::Serialize;

use super::option::{Propagation, propagation};
use super::{Context, InRoot, Kind, Namespaces, SlotSource, Source, Target};

/// The root filesystem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RootPlan {
    /// Absolute host path, for the state.
    pub path: String,
    /// Where it is cloned from.
    pub source: Source,
    /// Propagation of the host's tree while preparing; none where that is the caller's own.
    pub while_preparing: Propagation,
    /// Propagation of the root filesystem's own tree, applied in order before anything is mounted on it.
    pub tree: Vec<Propagation>,
    /// Propagation of a clone of a host mount that says nothing about it; absent: it stays the original's peer.
    pub binds: Option<Propagation>,
    /// Propagation of the new "/"; absent: what it inherits.
    pub propagation: Option<Propagation>,
    /// Remount it read-only at the end.
    pub readonly: bool,
    /// Use chroot in place of pivot_root.
    pub no_pivot: bool,
    /// The mount namespace is the caller's: the root filesystem is mounted where it is, and entered by chroot.
    #[serde(skip_serializing_if = "crate::spec::is_default")]
    pub shared: bool,
    /// Mount points of the host to take away, which chroot would leave behind.
    pub hidden: Vec<String>,
}

impl RootPlan {
    /// That of a container which is joined: there already.
    pub(super) fn joined(cx: &mut Context<'_>, target: &Target) -> Self {
        Self {
            path: String::new(),
            source: match target.shared_mounts {
                true => Source::Slot(cx.slot(SlotSource::Root)),
                false => Source::Path(String::new()),
            },
            shared: target.shared_mounts,
            while_preparing: Propagation(0),
            tree: Vec::new(),
            binds: None,
            hidden: Vec::new(),
            propagation: None,
            readonly: false,
            no_pivot: false,
        }
    }
}

impl RootPlan {
    /// What a path of the host that leads into the root filesystem, going by the names, is inside.
    pub(super) fn inside<'a>(&self, path: &'a str) -> Option<&'a str> {
        let root = self.path.trim_end_matches('/');
        path.strip_prefix(root).filter(|rest| !root.is_empty() && rest.len() > 1 && rest.starts_with('/'))
    }
}

pub(super) fn plan(cx: &mut Context<'_>, namespaces: &Namespaces) -> RootPlan {
    let root = cx.spec.root.clone().unwrap_or_default();
    let path = match root.path.as_deref() {
        None | Some("") => {
            cx.problem("/root/path", "root must be specified");
            String::new()
        }
        Some(path) => absolute(&cx.request.bundle, path),
    };
    cx.no_nul("/root/path", &path);
    let wanted = cx.spec.linux.as_ref().and_then(|linux| linux.rootfs_propagation.as_deref()).filter(|p| !p.is_empty());
    let requested = wanted.and_then(|name| {
        let found = propagation(name);
        if found.is_none() {
            cx.problem(
                "/linux/rootfsPropagation",
                format!("unknown propagation {name:?}; known: shared, slave, private, unbindable"),
            );
        }
        found
    });
    if requested.is_some_and(|p| p.0 & ms::PRIVATE != 0) && cx.request.no_pivot {
        cx.problem("/linux/rootfsPropagation", "private propagation does not work with --no-pivot");
    }
    let shared = !namespaces.is_private(Kind::Mount);
    if shared {
        in_callers_namespace(cx, namespaces, &path);
    }
    let asks = |kind: u64| requested.is_some_and(|propagation| propagation.0 & kind != 0);
    // The host must never see our mounts, whatever the container's own root becomes later. That holds for its mount
    // table as we inherit it and for every clone the parent makes: a clone of a shared mount is its peer.
    let usual = if asks(ms::PRIVATE) || shared { Propagation::RPRIVATE } else { Propagation::RSLAVE };
    let mut tree = vec![usual];
    if !asks(ms::SLAVE) && usual == Propagation::RSLAVE {
        // What the host mounts on the root filesystem later is not seen either, unless it was asked for.
        tree.push(Propagation::PRIVATE);
    }
    for (step, what) in
        [(Step::PrepareRoot, "prepare the root filesystem"), (Step::EnterRoot, "enter the root filesystem")]
    {
        cx.origins.note(step, 0, "/root/path", format!("{what} {path}"));
    }
    cx.origins.note(Step::SealRoot, 0, "/root/readonly", "make the root filesystem read-only");
    RootPlan {
        source: if shared { Source::Slot(cx.slot(SlotSource::Root)) } else { cx.host(path.clone(), true) },
        path,
        shared,
        while_preparing: if shared { Propagation(0) } else { usual },
        tree,
        binds: (!asks(ms::SHARED)).then_some(usual),
        propagation: requested,
        readonly: root.readonly,
        no_pivot: cx.request.no_pivot,
        hidden: if shared { Vec::new() } else { cx.facts.kernel_filesystems.clone() },
    }
}

/// What cannot be had, or not kept, in the caller's mount namespace.
fn in_callers_namespace(cx: &mut Context<'_>, namespaces: &Namespaces, path: &str) {
    if namespaces.is_private(Kind::User) || !cx.facts.owns_mounts {
        let message = "without a mount namespace the container's mounts are the caller's, on which this user namespace \
                       has no right; add {\"type\": \"mount\"}";
        cx.problem("/linux/namespaces", message);
    }
    if !path.is_empty() && InRoot::new(path).0.is_empty() {
        cx.problem("/root/path", OVER_ITSELF);
    }
    let Some(linux) = cx.spec.linux.as_ref() else { return };
    let asked = |paths: Option<&[String]>| paths.is_some_and(|paths| !paths.is_empty());
    let paths = [("masked", linux.masked_paths.as_deref()), ("readonly", linux.readonly_paths.as_deref())];
    for (name, _) in paths.into_iter().filter(|(_, paths)| asked(*paths)) {
        // runc's words. A chroot can be left, and what covers a path be taken away.
        cx.problem(format!("/linux/{name}Paths"), "unable to restrict sys entries without a private MNT namespace");
    }
    let propagation = linux.rootfs_propagation.as_deref().and_then(propagation);
    if propagation.is_some_and(|propagation| !propagation.sends_nothing() || propagation.0 & ms::SLAVE != 0) {
        cx.problem("/linux/rootfsPropagation", "only private and unbindable go without a mount namespace of its own");
    }
}

/// What the refusal of the caller's own root says.
pub(crate) const OVER_ITSELF: &str = "\"/\" cannot be the root of a container that has no mount namespace of its own: its mounts would cover the caller's";

/// `path`, taken from `base` if it is relative.
pub(super) fn absolute(base: &str, path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{}/{}", base.trim_end_matches('/'), path) }
}
