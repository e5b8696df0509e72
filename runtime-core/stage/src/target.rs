//! Where a mount goes: found below the root, or made.

use crate::fail::{Fail, Refusal, Result};
use crate::path::{self, Folder, Make, Place};
use crate::sys::{self, O_DIRECTORY, O_NOFOLLOW, PROC_MAGIC, Stat, errno};
use crate::wire::{Mount, Plan, Z, mount_flag};

/// Where a mount goes.
pub struct Target {
    /// It.
    pub place: Place,
    /// Its name led through no link.
    pub plain: bool,
}

impl Target {
    /// Attaches a mount, and is done with.
    pub fn cover(&self, mount: i32) -> Result<()> {
        match sys::move_mount_to(mount, self.place.fd, self.place.name.z()) {
            // What mount(2) says of it, which engines match to explain it.
            Err(fail) if fail.is(errno::EINVAL) && self.is_another_kind(mount)? => {
                return Err(Fail { errno: errno::ENOTDIR, ..fail });
            }
            moved => moved?,
        }
        if self.place.name.z().is_empty() {
            sys::close(self.place.fd);
        }
        Ok(())
    }

    /// Whether one of the two is a directory and the other is not.
    fn is_another_kind(&self, mount: i32) -> Result<bool> {
        let (place, mount) = (sys::stat(self.place.fd, self.place.name.z())?, sys::stat(mount, Z::EMPTY)?);
        Ok(place.is(Stat::DIRECTORY) != mount.is(Stat::DIRECTORY))
    }

    /// The place itself, open.
    pub fn open(&self) -> Result<i32> {
        let Place { fd, name, .. } = &self.place;
        if name.z().is_empty() { Ok(*fd) } else { path::open(*fd, name.z(), O_DIRECTORY | O_NOFOLLOW) }
    }
}

/// What goes there.
pub enum Cover {
    /// A new filesystem, on a directory.
    Filesystem,
    /// This clone.
    Clone(i32),
}

impl Cover {
    /// What it must go on.
    fn shape(&self) -> Result<Make> {
        match self {
            Self::Clone(tree) if !sys::stat(*tree, Z::EMPTY)?.is(Stat::DIRECTORY) => Ok(Make::File),
            _ => Ok(Make::Directory),
        }
    }

    /// A place reached through no link, see [`path::make_plain`]. Whether a clone fits what is there, the kernel sees.
    fn place<'a>(&self, folder: &mut Folder<'a>, root: i32, path: Z<'a>) -> Result<Place> {
        if matches!(self, Self::Filesystem) {
            return path::make_plain(folder, root, path);
        }
        if let Some(fd) = path::find_plain(root, path, 0)? {
            return Ok(Place::of((fd, true)));
        }
        match self.shape()? {
            Make::Directory => path::make_plain_missing(folder, root, path),
            Make::File => path::walk_plain(root, path, Make::File).map(|fd| Place::of((fd, false))),
        }
    }
}

/// Finds where a mount goes, or makes it.
///
/// What the plan checked of the destination it checked by name, so a destination that turns out to lead through a
/// link is checked again here.
pub fn find<'a>(plan: &Plan<'a>, root: i32, mount: &Mount, cover: &Cover, folder: &mut Folder<'a>) -> Result<Target> {
    let path = plan.text(mount.target)?;
    if mount.flags & mount_flag::TARGET_ITSELF != 0 {
        // What is above its last component may be a link.
        folder.leave();
        return itself(root, path, cover.shape()?).map(|found| Target { place: Place::of(found), plain: false });
    }
    let ordinary = mount.flags & mount_flag::ORDINARY_DIRECTORY != 0;
    match cover.place(folder, root, path) {
        Err(fail) if ordinary && (fail.is(errno::ELOOP) || fail.is(errno::ENOTDIR)) => {
            return Err(Fail::refuse(Refusal::NotOrdinaryDirectory));
        }
        Err(fail) if fail.is(errno::ELOOP) => {}
        result => return result.map(|place| Target { place, plain: true }),
    }
    // It may lead above the folder, and what is mounted there covers it.
    folder.leave();
    let (fd, existed) = match path::open(root, path, 0) {
        Err(fail) if fail.is(errno::ENOENT) => (path::make(root, path, cover.shape()?)?, false),
        result => (result?, true),
    };
    let (there, top) = (sys::stat(fd, Z::EMPTY)?, sys::stat(root, Z::EMPTY)?);
    if there.inode == top.inode && there.mount == top.mount {
        return Err(Fail::refuse(Refusal::MountOnRoot));
    }
    if sys::filesystem_magic(fd)? == PROC_MAGIC {
        return Err(Fail::refuse(Refusal::InsideProc));
    }
    Ok(Target { place: Place::of((fd, existed)), plain: false })
}

/// As [`find`], but a link at the end of the path is not followed: it is what is covered.
fn itself(root: i32, path: Z<'_>, shape: Make) -> Result<(i32, bool)> {
    let mut name = path::Name::new();
    let parent = path::parent(root, &path, &mut name)?;
    let done = match sys::filesystem_magic(parent) {
        Ok(PROC_MAGIC) => Err(Fail::refuse(Refusal::InsideProc)),
        Ok(_) => path::make_itself(parent, &name, shape),
        Err(fail) => Err(fail),
    };
    sys::close(parent);
    done
}
