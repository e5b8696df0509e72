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
    if let (true, Some((_, index))) = (given, &options.idmap_lines) {
        cx.problem(format!("{at}/options/{index}"), "the mount has uidMappings and gidMappings too");
    }
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
    let by = match &options.idmap_lines {
        _ if given => lines(cx, at, mount)?,
        Some((text, index)) => of_option(cx, namespaces, &format!("{at}/options/{index}"), text)?,
        None => container(cx, namespaces, &pointer)?,
    };
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

/// crun's `idmap=uids=0-1-10#10-20-5;gids=0-1-10`: ranges of id, host id and size. One that begins with "@" is about
/// host ids as they would be if the container's own mapping moved nothing.
fn of_option(cx: &mut Context<'_>, namespaces: &Namespaces, pointer: &str, text: &str) -> Option<IdmapBy> {
    let (mut uid, mut gid) = (Vec::new(), Vec::new());
    for part in text.split(';') {
        let (list, ranges, own) = match part.split_once('=') {
            Some(("uids", ranges)) => (&mut uid, ranges, namespaces.maps.as_ref().map(|maps| &maps.uid)),
            Some(("gids", ranges)) => (&mut gid, ranges, namespaces.maps.as_ref().map(|maps| &maps.gid)),
            _ => {
                cx.problem(pointer, format!("{part:?}: a mapping is \"uids=…\" or \"gids=…\""));
                return None;
            }
        };
        for range in ranges.split('#') {
            let Some(line) = self::range(range, own.map_or(&[], Vec::as_slice)) else {
                cx.problem(
                    pointer,
                    format!("{range:?} is no range of ids: \"ID-HOSTID-SIZE\", after \"@\" with ID mapped"),
                );
                return None;
            };
            list.push(line);
        }
    }
    if uid.is_empty() || gid.is_empty() {
        cx.problem(pointer, "a mapping needs both uids and gids");
        return None;
    }
    super::ids::check_lines(cx, pointer, &uid);
    super::ids::check_lines(cx, pointer, &gid);
    Some(IdmapBy::Lines { uid, gid })
}

fn range(text: &str, own: &[IdMapping]) -> Option<IdMapping> {
    let relative = text.strip_prefix('@');
    let mut numbers = relative.unwrap_or(text).split('-').map(|number| number.parse::<u32>().ok());
    let [container_id, host_id, size] = [numbers.next()??, numbers.next()??, numbers.next()??];
    if numbers.next().is_some() {
        return None;
    }
    let host_id = match relative {
        None => host_id,
        Some(_) => {
            let line = own.iter().find(|line| super::ids::covers(std::slice::from_ref(line), container_id))?;
            let moved = i64::from(host_id) + i64::from(line.host_id) - i64::from(line.container_id);
            u32::try_from(moved).ok()?
        }
    };
    Some(IdMapping { container_id, host_id, size })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_the_option() {
        let own =
            [(0, 0, 1), (1, 2, 1000)].map(|(container_id, host_id, size)| IdMapping { container_id, host_id, size });
        let ids = |text| range(text, &own).map(|line| (line.container_id, line.host_id, line.size));
        assert_eq!(ids("0-1-10"), Some((0, 1, 10)));
        assert_eq!(ids("@1-3-10"), Some((1, 4, 10)));
        for bad in ["", "0-1", "0-1-2-3", "a-1-1", "0--1", "@5000-1-1", "-1-1-1", "4294967296-0-1"] {
            assert_eq!(ids(bad), None, "{bad}");
        }
    }
}
