//! `linux.cgroupsPath` → the directories of the container, one in each hierarchy. Pure.
//!
//! The result is kept in the container's state, so that `delete` finds exactly the directories `create` made,
//! whatever cgroup the caller is in by then.

use serde::{Deserialize, Serialize};

use super::{Hierarchy, Layout, Mode};
use crate::spec::Problem;

const POINTER: &str = "/linux/cgroupsPath";
/// NAME_MAX of the kernel.
const LONGEST_NAME: usize = 255;

/// The container's directory in one hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Absolute path of the hierarchy's mount point.
    pub mount: String,
    /// Path beneath the mount point: no leading slash, no `.` or `..`, never empty.
    pub path: String,
    /// Version 1 controllers; empty for version 2.
    pub controllers: Vec<String>,
    /// True for version 2.
    pub v2: bool,
}

impl Place {
    /// Absolute path of the directory.
    pub fn absolute(&self) -> String {
        format!("{}/{}", self.mount, self.path)
    }

    /// Name of the hierarchy's directory.
    pub fn hierarchy(&self) -> &str {
        self.mount.rsplit('/').next().unwrap_or_default()
    }

    /// Path of the parent beneath the mount point (empty: the mount point), and the last component.
    pub(super) fn split(&self) -> (&str, &str) {
        self.path.rsplit_once('/').unwrap_or(("", &self.path))
    }
}

/// The container's directories in all hierarchies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The host's layout when the container was created.
    pub mode: Mode,
    /// One directory for each hierarchy.
    pub dirs: Vec<Place>,
}

impl Placement {
    /// Index of the directory in which `controller` acts: its version 1 hierarchy, else the unified one.
    pub fn of(&self, controller: &str) -> Option<usize> {
        let v1 = self.dirs.iter().position(|place| place.controllers.iter().any(|name| name == controller));
        v1.or_else(|| self.unified())
    }

    /// Index of the directory in the version 2 hierarchy.
    pub fn unified(&self) -> Option<usize> {
        self.dirs.iter().position(|place| place.v2)
    }

    /// True if every path is one [`place`] could have made. A placement read back from disk is checked before use.
    pub(super) fn is_sound(&self) -> bool {
        self.dirs.iter().all(|place| {
            place.mount.starts_with('/') && place.path.split('/').all(|part| !matches!(part, "" | "." | ".."))
        })
    }
}

/// Where a container with this `cgroupsPath` goes. Absolute: beneath the mount points. Relative, or absent (the
/// id is used): beneath the caller's own cgroup in version 1 and hybrid hierarchies, beside it in a pure version 2
/// one, where a cgroup with processes cannot have children with controllers. `..` never climbs out (as in runc).
pub fn place(layout: &Layout, cgroups_path: Option<&str>, id: &str) -> Result<Placement, Problem> {
    let asked = cgroups_path.filter(|path| !path.is_empty()).unwrap_or(id);
    let inner = clean(asked)?;
    if inner.is_empty() {
        return Err(Problem::new(POINTER, format!("{asked:?} names the root of the hierarchy, not a cgroup in it")));
    }
    let dirs = layout.hierarchies.iter().map(|hierarchy| {
        let path = match asked.starts_with('/') {
            true => inner.clone(),
            false => join(&base(layout.mode, hierarchy)?, &inner),
        };
        let own = hierarchy.own.as_deref().map(|own| own.trim_matches('/'));
        if own == Some(path.as_str()) {
            return Err(Problem::new(POINTER, format!("{asked:?} is the runtime's own cgroup")));
        }
        Ok(Place { mount: hierarchy.mount.clone(), path, controllers: hierarchy.controllers.clone(), v2: hierarchy.v2 })
    });
    Ok(Placement { mode: layout.mode, dirs: dirs.collect::<Result<_, _>>()? })
}

/// What a relative path starts from, without slashes at the ends.
fn base(mode: Mode, hierarchy: &Hierarchy) -> Result<String, Problem> {
    let own = hierarchy.own.as_deref().ok_or_else(|| {
        let message = format!("the runtime's own cgroup in {} is not known; use an absolute path", hierarchy.mount);
        Problem::new(POINTER, message)
    })?;
    let own = own.trim_matches('/');
    Ok(match mode {
        Mode::V2 => own.rsplit_once('/').map_or("", |(parent, _)| parent).to_owned(),
        _ => own.to_owned(),
    })
}

fn join(base: &str, inner: &str) -> String {
    if base.is_empty() { inner.to_owned() } else { format!("{base}/{inner}") }
}

/// The path without empty components, `.` and `..`, as if the root were above it.
fn clean(path: &str) -> Result<String, Problem> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ if part.len() > LONGEST_NAME => {
                return Err(Problem::new(POINTER, format!("a component is longer than {LONGEST_NAME} bytes")));
            }
            // The kernel refuses '\n' (it would forge lines of /proc/PID/cgroup); NUL ends a path.
            _ if part.contains(['\n', '\0']) => {
                return Err(Problem::new(POINTER, format!("{path:?} has a newline or NUL")));
            }
            _ => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(mode: Mode, own: &[Option<&str>]) -> Layout {
        let hierarchies = own
            .iter()
            .enumerate()
            .map(|(at, own)| Hierarchy {
                name: format!("h{at}"),
                mount: format!("/sys/fs/cgroup/h{at}"),
                own: own.map(str::to_owned),
                v2: mode == Mode::V2,
                controllers: vec![],
            })
            .collect();
        Layout { mode, hierarchies }
    }

    #[test]
    fn paths_as_runc_places_them() {
        let v1 = layout(Mode::V1, &[Some("/"), Some("/user/x")]);
        let v2 = layout(Mode::V2, &[Some("/user/x")]);
        for (layout, asked, wanted) in [
            (&v1, Some("/a/b"), vec!["a/b", "a/b"]),
            (&v1, Some("/a//./b/../c/"), vec!["a/c", "a/c"]),
            (&v1, Some("a"), vec!["a", "user/x/a"]),
            (&v1, Some("../../a"), vec!["a", "user/x/a"]),
            (&v1, None, vec!["id", "user/x/id"]),
            (&v1, Some(""), vec!["id", "user/x/id"]),
            (&v2, Some("/a"), vec!["a"]),
            (&v2, Some("a"), vec!["user/a"]),
            (&v2, None, vec!["user/id"]),
        ] {
            let placed = place(layout, asked, "id").expect("placed");
            assert_eq!(placed.dirs.iter().map(|p| p.path.as_str()).collect::<Vec<_>>(), wanted, "{asked:?}");
            assert!(placed.is_sound());
        }
        assert_eq!(place(&v2, Some("/a/b"), "id").expect("placed").dirs[0].absolute(), "/sys/fs/cgroup/h0/a/b");
    }

    #[test]
    fn paths_that_are_refused() {
        let v1 = layout(Mode::V1, &[Some("/"), Some("/user/x")]);
        for asked in ["/", "//", "/..", "..", "/a/..", "/a\nb", "/user/x", "/user/y/../x/."] {
            let problem = place(&v1, Some(asked), "id").expect_err(asked);
            assert_eq!(problem.pointer, "/linux/cgroupsPath");
        }
        assert!(place(&layout(Mode::V2, &[None]), Some("a"), "id").is_err());
        assert!(place(&layout(Mode::V2, &[None]), Some("/a"), "id").is_ok());
        assert!(place(&v1, Some(&format!("/{}", "x".repeat(256))), "id").is_err());
    }

    #[test]
    fn a_placement_from_disk_is_checked() {
        for (path, sound) in [("a/b", true), ("", false), ("a/../b", false), ("/a", false), ("a//b", false)] {
            let place = Place { mount: "/m".into(), path: path.into(), ..Place::default() };
            assert_eq!(Placement { mode: Mode::V2, dirs: vec![place] }.is_sound(), sound, "{path}");
        }
    }
}
