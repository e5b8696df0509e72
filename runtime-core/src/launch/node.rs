//! Device nodes for a container in a user namespace, whose stage may make none.

use std::cell::{Cell, OnceCell};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, makedev, mknodat};
use nix::unistd::{Gid, Uid, fchownat};

use crate::sys::mount;

/// A tmpfs of our own, made with the first node. Each clone keeps it alive.
#[derive(Default)]
pub(super) struct Nodes {
    folder: OnceCell<OwnedFd>,
    made: Cell<u32>,
}

impl Nodes {
    /// A detached clone of a node with these properties; of the host's `path` where we may make none, or the kernel
    /// does not clone what is not mounted.
    pub(super) fn make(&self, path: &str, mode: u32, number: (u32, u32), owner: (u32, u32)) -> io::Result<OwnedFd> {
        match self.own(mode, number, owner) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::EINVAL)) => {
                mount::clone_tree(None, &CString::new(path)?, false)
            }
            result => result,
        }
    }

    fn own(&self, mode: u32, number: (u32, u32), owner: (u32, u32)) -> io::Result<OwnedFd> {
        let folder = match self.folder.get() {
            Some(folder) => folder,
            None => {
                let made = mount::private_tmpfs()?;
                self.folder.get_or_init(|| made)
            }
        };
        let name = CString::new(self.made.replace(self.made.get() + 1).to_string())?;
        let (kind, bits) = (SFlag::from_bits_truncate(mode), Mode::from_bits_truncate(mode));
        mknodat(folder, name.as_c_str(), kind, bits, makedev(number.0.into(), number.1.into()))?;
        fchownat(folder, name.as_c_str(), Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)), no_link())?;
        // The caller's umask does not count.
        fchmodat(folder, name.as_c_str(), bits, FchmodatFlags::FollowSymlink)?;
        mount::clone_tree(Some(&folder.as_fd()), &name, false)
    }
}

fn no_link() -> nix::fcntl::AtFlags {
    nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW
}
