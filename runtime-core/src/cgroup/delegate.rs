//! Delegation (config-linux.md, "Cgroup ownership"): a container that manages its own cgroup v2 subtree owns it.

use std::fs;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::unistd::{Uid, fchownat};

use super::{Cgroup, dir};
use crate::Result;

/// Where the kernel lists what may be handed over, since Linux 4.15.
const LIST: &str = "/sys/kernel/cgroup/delegate";
/// What may be without that list (cgroup-v2.rst, "Delegation").
const LEAST: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

impl Cgroup {
    /// Gives the version 2 directory, and the files in it that may be handed over, to `uid`. Nothing else changes
    /// hands: limits stay ours.
    pub fn delegate(&self, uid: u32) -> Result<()> {
        let list = fs::read_to_string(LIST).unwrap_or_else(|_| LEAST.to_owned());
        let own = |dir: &dir::Dir, name: &str| {
            let flags = AtFlags::AT_SYMLINK_NOFOLLOW | AtFlags::AT_EMPTY_PATH;
            match fchownat(&dir.fd, name, Some(Uid::from_raw(uid)), None, flags) {
                // The list names files of controllers that are not here.
                Err(Errno::ENOENT) => Ok(()),
                result => result.map_err(|errno| dir::failed(&dir.place, "hand over", "fchownat", name, errno)),
            }
        };
        for dir in self.dirs().filter(|dir| dir.place.v2) {
            own(dir, "")?;
            for name in list.lines().filter(|name| !name.is_empty() && !name.contains('/')) {
                own(dir, name)?;
            }
        }
        Ok(())
    }
}
