//! `root`: where the filesystem comes from and how it becomes "/".

use runtime_stage::fail::Step;
use runtime_stage::sys::ms;
use serde::Serialize;

use super::option::{Propagation, propagation};
use super::{Context, Source};

/// The root filesystem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RootPlan {
    /// Absolute host path, for the state.
    pub path: String,
    /// Where it is cloned from.
    pub source: Source,
    /// Propagation of the host's tree while preparing.
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
    /// Mount points of the host to take away, which chroot would leave behind.
    pub hidden: Vec<String>,
}

impl RootPlan {
    /// That of a container which is joined: there already.
    pub(super) fn joined() -> Self {
        Self {
            path: String::new(),
            source: Source::Path(String::new()),
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

pub(super) fn plan(cx: &mut Context<'_>) -> RootPlan {
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
    let asks = |kind: u64| requested.is_some_and(|propagation| propagation.0 & kind != 0);
    // The host must never see our mounts, whatever the container's own root becomes later. That holds for its mount
    // table as we inherit it and for every clone the parent makes: a clone of a shared mount is its peer.
    let usual = if asks(ms::PRIVATE) { Propagation::RPRIVATE } else { Propagation::RSLAVE };
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
        source: cx.host(path.clone(), true),
        path,
        while_preparing: usual,
        tree,
        binds: (!asks(ms::SHARED)).then_some(usual),
        propagation: requested,
        readonly: root.readonly,
        no_pivot: cx.request.no_pivot,
        hidden: cx.facts.kernel_filesystems.clone(),
    }
}

/// `path`, taken from `base` if it is relative.
pub(super) fn absolute(base: &str, path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{}/{}", base.trim_end_matches('/'), path) }
}
