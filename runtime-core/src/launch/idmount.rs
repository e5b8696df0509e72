//! Id-mapped mounts: a user namespace for each mapping, and the clones it is put on.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use runtime_stage::fail::Step;

use super::idmap;
use super::spawn::keeper;
use crate::plan::{IdMaps, IdmapBy, IdmapPlan, Kind, MountKind, Plan, Source};
use crate::sys::{fd, mount};
use crate::{Error, ErrorKind, Result};

/// The user namespaces made so far; many mounts share one mapping.
#[derive(Default)]
pub(super) struct Mappings {
    known: Vec<(IdmapBy, OwnedFd)>,
}

impl Mappings {
    /// Maps the ids of a detached clone.
    pub(super) fn apply(&mut self, tree: &OwnedFd, plan: &IdmapPlan, path: &str) -> Result<()> {
        let namespace = self.namespace(&plan.by)?;
        mount::map_ids(tree.as_fd(), namespace.as_fd(), plan.recursive).map_err(|error| {
            let errno = error.raw_os_error();
            let failed = Error::io(
                "cannot map the ids of the mount",
                format!("mount_setattr({path:?}, MOUNT_ATTR_IDMAP)"),
                error,
            );
            match errno {
                Some(libc::EINVAL) => failed.with_hint("its filesystem has no id-mapped mounts on this kernel"),
                Some(libc::EPERM) => failed.with_hint("its ids are mapped already, or the mapping is that of the host"),
                Some(libc::ENOSYS) => failed.with_hint("needs kernel 5.12"),
                _ => failed,
            }
        })
    }

    fn namespace(&mut self, by: &IdmapBy) -> Result<&OwnedFd> {
        if let Some(at) = self.known.iter().position(|(known, _)| known == by) {
            return Ok(&self.known[at].1);
        }
        let made = match by {
            IdmapBy::Lines { uid, gid } => make(&IdMaps { uid: uid.clone(), gid: gid.clone(), deny_setgroups: false })?,
            IdmapBy::Namespace(path) => open(path)?,
        };
        self.known.push((by.clone(), made));
        let last = self.known.len() - 1;
        Ok(&self.known[last].1)
    }
}

/// Maps the ids of mount `index`, which the stage cloned out of the container's own tree.
pub(super) fn map(plan: &Plan, index: usize, tree: &OwnedFd) -> Result<()> {
    match plan.mounts.get(index).map(|mount| &mount.kind) {
        Some(MountKind::Bind { source: Source::Container { path, idmap: Some(idmap) }, .. }) => {
            let pointer = plan.origins.of(Step::Mount, index as u32).map(|origin| origin.pointer.clone());
            let applied = Mappings::default().apply(tree, idmap, &path.0);
            applied.map_err(|error| error.or_at(pointer.unwrap_or_default()))
        }
        _ => Err(Error::new(ErrorKind::Init, format!("mount {index} has no ids to be mapped"))),
    }
}

/// A user namespace with these maps. It lives by its descriptor alone.
fn make(maps: &IdMaps) -> Result<OwnedFd> {
    let keeper =
        keeper().map_err(|e| Error::io("cannot make a user namespace for the mount", "clone3(CLONE_NEWUSER)", e))?;
    idmap::write(keeper.pid(), maps)?;
    let path = format!("/proc/{}/ns/user", keeper.pid());
    let file =
        File::open(&path).map_err(|e| Error::io("cannot map the ids of a mount", format!("open({path:?})"), e))?;
    Ok(file.into())
}

fn open(path: &str) -> Result<OwnedFd> {
    let explain = |e: std::io::Error| Error::io("cannot map the ids of a mount", format!("open({path:?})"), e);
    let file = File::open(path).map_err(explain)?;
    if fd::namespace_kind(file.as_fd()).ok() != Some(Kind::User.flag()) {
        return Err(Error::new(ErrorKind::InvalidConfig, format!("{path} is not a user namespace")));
    }
    Ok(file.into())
}
