//! User, groups, and the id maps of a new user namespace.

use runtime_stage::fail::Step;
use serde::Serialize;

use super::{Context, Kind, Namespaces};
use crate::spec::IdMapping;

/// Lines of uid_map and gid_map.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IdMaps {
    /// User ids.
    pub uid: Vec<IdMapping>,
    /// Group ids.
    pub gid: Vec<IdMapping>,
    /// setgroups(2) must be denied before an unprivileged caller may map groups (CVE-2014-8989).
    pub deny_setgroups: bool,
}

/// Who the program runs as, in the container's ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserIds {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups; an empty list drops the caller's.
    pub groups: Vec<u32>,
    /// setgroups(2) is not possible in this user namespace.
    pub keep_groups: bool,
    /// User and group of the set-up in a user namespace without id 0.
    #[serde(skip_serializing_if = "crate::spec::is_default")]
    pub set_up: [u32; 2],
}

/// The kernel takes no more lines (user_namespaces(7)).
const MOST_LINES: usize = 340;
/// Nor more bytes of text: less than a page, in one write.
const MOST_BYTES: usize = 4095;

/// The maps of a new user namespace, or those a joined one should have.
pub(super) fn maps(cx: &mut Context<'_>, new_user: bool, joined_user: bool) -> Option<IdMaps> {
    let linux = cx.spec.linux.as_ref()?;
    let (uid, gid) = (linux.uid_mappings.clone().unwrap_or_default(), linux.gid_mappings.clone().unwrap_or_default());
    if !new_user {
        if !joined_user && (!uid.is_empty() || !gid.is_empty()) {
            let message = "user namespace mappings specified, but user namespace isn't enabled in the config";
            cx.problem("/linux/uidMappings", message);
        }
        // Those of a joined namespace are what they are; ones that are given must be the same.
        let given = joined_user && !(uid.is_empty() && gid.is_empty());
        return given.then_some(IdMaps { uid, gid, deny_setgroups: false });
    }
    check(cx, "/linux/uidMappings", &uid);
    check(cx, "/linux/gidMappings", &gid);
    Some(IdMaps {
        deny_setgroups: !cx.facts.maps_ids() && cx.facts.egid.is_some_and(|own| is_own(&gid, own)),
        uid,
        gid,
    })
}

/// True if only the caller himself is mapped, which takes no rights but this one: that groups stay as they are.
fn is_own(lines: &[IdMapping], id: u32) -> bool {
    matches!(lines, [line] if line.size == 1 && line.host_id == id)
}

fn check(cx: &mut Context<'_>, pointer: &str, lines: &[IdMapping]) {
    if lines.is_empty() {
        cx.problem(pointer, "a user namespace without any mapping");
    }
    check_lines(cx, pointer, lines);
}

/// The id to set up as: root's, or where nobody is root, one that there is.
pub(crate) fn for_set_up(lines: &[IdMapping]) -> u32 {
    if covers(lines, 0) { 0 } else { lines.first().map_or(0, |line| line.container_id) }
}

/// What the kernel asks of every map.
pub(super) fn check_lines(cx: &mut Context<'_>, pointer: &str, lines: &[IdMapping]) {
    if lines.len() > MOST_LINES {
        cx.problem(pointer, format!("{} mappings; the kernel takes {MOST_LINES}", lines.len()));
    }
    let text: usize = lines.iter().map(|m| format!("{} {} {}\n", m.container_id, m.host_id, m.size).len()).sum();
    if text > MOST_BYTES {
        cx.problem(pointer, format!("{text} bytes of mappings; the kernel takes {MOST_BYTES}"));
    }
    overlaps(cx, pointer, lines);
    for (index, line) in lines.iter().enumerate() {
        let end = |start: u32| u64::from(start) + u64::from(line.size) > u64::from(u32::MAX);
        if line.size == 0 || end(line.container_id) || end(line.host_id) {
            cx.problem(format!("{pointer}/{index}"), "the size is 0 or the range ends beyond 4294967294");
        }
    }
}

/// Ranges that share an id, on either side; the kernel takes none of them.
fn overlaps(cx: &mut Context<'_>, pointer: &str, lines: &[IdMapping]) {
    for (side, of) in [("container", (|m| m.container_id) as fn(&IdMapping) -> u32), ("host", |m| m.host_id)] {
        let mut sorted: Vec<(u64, u64, usize)> = lines
            .iter()
            .enumerate()
            .map(|(index, line)| (u64::from(of(line)), u64::from(of(line)) + u64::from(line.size), index))
            .collect();
        sorted.sort_unstable();
        for pair in sorted.windows(2) {
            if let [(_, end, _), (start, _, index)] = pair
                && start < end
            {
                cx.problem(format!("{pointer}/{index}"), format!("the {side} ids overlap those of another range"));
            }
        }
    }
}

/// The id of the caller's user namespace that `id` is inside.
pub(super) fn host_id(lines: &[IdMapping], id: u32) -> Option<u32> {
    let line = lines.iter().find(|line| covers(std::slice::from_ref(line), id))?;
    line.host_id.checked_add(id.checked_sub(line.container_id)?)
}

pub(super) fn covers(lines: &[IdMapping], id: u32) -> bool {
    lines
        .iter()
        .any(|line| id >= line.container_id && u64::from(id) < u64::from(line.container_id) + u64::from(line.size))
}

/// crun's annotation for `podman --group-add keep-groups`: the caller's groups stay.
pub(crate) const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

fn keep_original_groups(cx: &Context<'_>) -> bool {
    let value = cx.spec.annotations.as_ref().and_then(|annotations| annotations.get(KEEP_GROUPS));
    value.is_some_and(|value| value != "0")
}

pub(super) fn user(cx: &mut Context<'_>, namespaces: &Namespaces) -> UserIds {
    let user = cx.spec.process.as_ref().and_then(|process| process.user.clone()).unwrap_or_default();
    let plan = UserIds {
        uid: user.uid.unwrap_or(0),
        gid: user.gid.unwrap_or(0),
        groups: user.additional_gids.unwrap_or_default(),
        keep_groups: cx.facts.groups_are_fixed
            || namespaces.maps.as_ref().is_some_and(|maps| maps.deny_setgroups)
            || cx.request.exec.as_ref().is_some_and(|target| target.deny_setgroups)
            || keep_original_groups(cx),
        set_up: match (&namespaces.maps, &cx.request.exec) {
            (Some(maps), _) => [for_set_up(&maps.uid), for_set_up(&maps.gid)],
            (None, Some(target)) => target.set_up,
            (None, None) => [0, 0],
        },
    };
    if namespaces.maps.is_none() && !namespaces.is_joined(Kind::User) && !cx.facts.privileged() {
        cx.problem("/linux/namespaces", "rootless container requires user namespaces");
    }
    if plan.keep_groups && !plan.groups.is_empty() {
        cx.problem("/process/user/additionalGids", "cannot set any additional groups in a rootless container");
    }
    if let Some(maps) = &namespaces.maps {
        let mut unmapped = |lines: &[IdMapping], call: &str, id: u32, pointer: &str| {
            if !lines.is_empty() && !covers(lines, id) {
                cx.problem(pointer, format!("cannot {call} to unmapped {}id {id} in user namespace", &call[3..4]));
            }
        };
        unmapped(&maps.uid, "setuid", plan.uid, "/process/user/uid");
        unmapped(&maps.gid, "setgid", plan.gid, "/process/user/gid");
        for (index, group) in plan.groups.iter().enumerate().filter(|_| !plan.keep_groups) {
            unmapped(&maps.gid, "setgroups", *group, &format!("/process/user/additionalGids/{index}"));
        }
    }
    for (id, pointer) in [(plan.uid, "/process/user/uid"), (plan.gid, "/process/user/gid")] {
        if id == u32::MAX {
            cx.problem(pointer, "4294967295 is no id: to the kernel it means \"unchanged\"");
        }
    }
    for (index, call) in ["additionalGids", "gid", "uid"].into_iter().enumerate() {
        cx.origins.note(
            Step::Ids,
            index,
            format!("/process/user/{call}"),
            format!("take the ids {}:{}", plan.uid, plan.gid),
        );
    }
    plan
}
