//! Id-mapped mounts: whose ids the files of a bind show.

use serde::Serialize;

use super::option::Options;
use super::{Context, Kind, Namespaces};
use crate::spec::{self, IdMapping};

/// The ids of one mount are mapped (mount_setattr(2), MOUNT_ATTR_IDMAP).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IdmapPlan {
    /// With everything below.
    pub recursive: bool,
    /// The user namespace that says how.
    pub by: IdmapBy,
}

/// Where the mapping comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum IdmapBy {
    /// A user namespace made for these lines.
    Lines {
        /// User ids.
        uid: Vec<IdMapping>,
        /// Group ids.
        gid: Vec<IdMapping>,
    },
    /// The user namespace of this path, which the container joins.
    Namespace(String),
}

pub(super) fn plan(
    cx: &mut Context<'_>,
    namespaces: &Namespaces,
    at: &str,
    mount: &spec::Mount,
    options: &Options,
) -> Option<IdmapPlan> {
    let given = mount.uid_mappings.is_some() || mount.gid_mappings.is_some();
    if !given && options.idmap.is_none() {
        return None;
    }
    let pointer = if given { format!("{at}/uidMappings") } else { format!("{at}/options") };
    if options.bind.is_none() || options.remount {
        cx.problem(pointer, "ids can be mapped for bind mounts only");
        return None;
    }
    if !cx.facts.privileged() {
        cx.problem(pointer, "id-mapped mounts are not supported for rootless containers");
        return None;
    }
    let by = if given { lines(cx, at, mount)? } else { container(cx, namespaces, &pointer)? };
    Some(IdmapPlan { recursive: options.idmap == Some(true), by })
}

fn lines(cx: &mut Context<'_>, at: &str, mount: &spec::Mount) -> Option<IdmapBy> {
    let uid = mount.uid_mappings.clone().unwrap_or_default();
    let gid = mount.gid_mappings.clone().unwrap_or_default();
    if uid.is_empty() || gid.is_empty() {
        let missing = if uid.is_empty() { "uidMappings" } else { "gidMappings" };
        cx.problem(format!("{at}/{missing}"), "a mount needs both uidMappings and gidMappings, or neither");
        return None;
    }
    super::ids::check_lines(cx, &format!("{at}/uidMappings"), &uid);
    super::ids::check_lines(cx, &format!("{at}/gidMappings"), &gid);
    Some(IdmapBy::Lines { uid, gid })
}

/// The mapping of the container's own user namespace.
fn container(cx: &mut Context<'_>, namespaces: &Namespaces, pointer: &str) -> Option<IdmapBy> {
    if let Some(maps) = &namespaces.maps {
        return Some(IdmapBy::Lines { uid: maps.uid.clone(), gid: maps.gid.clone() });
    }
    let list = cx.spec.linux.as_ref().and_then(|linux| linux.namespaces.as_deref()).unwrap_or_default();
    let path = list.iter().find(|ns| ns.typ.as_deref() == Some("user")).and_then(|ns| ns.path.clone());
    if !namespaces.is_private(Kind::User) || path.is_none() {
        cx.problem(pointer, "an id-mapped mount needs uidMappings and gidMappings, or a user namespace");
    }
    path.map(IdmapBy::Namespace)
}
