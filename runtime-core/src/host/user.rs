//! What user namespace the caller is in, and what he may do there.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use crate::sys::fd::owner_of_namespace;

const OWN: &str = "/proc/self/ns/user";
/// Inode of the first user namespace (`USER_NS_INIT_INO`, linux/nsfs.h).
const FIRST: u64 = 0xeffffffd;

/// True if the caller is in a user namespace that is not the first. One system call where he is not.
pub(super) fn is_nested() -> bool {
    if fs::metadata(OWN).is_ok_and(|file| file.ino() == FIRST) {
        return false;
    }
    // A kernel that numbers otherwise: the first maps every id to itself (user_namespaces(7)).
    let Ok(map) = fs::read_to_string("/proc/self/uid_map") else { return false };
    map.split_whitespace().ne(["0", "0", "4294967295"])
}

/// True if the caller's mount namespace belongs to his user namespace: his CAP_SYS_ADMIN counts for its mounts.
pub(super) fn owns_mounts() -> bool {
    let owner = || {
        let mounts = File::open("/proc/self/ns/mnt").ok()?;
        let owner = File::from(owner_of_namespace(mounts.as_fd()).ok()?).metadata().ok()?;
        let own = fs::metadata(OWN).ok()?;
        Some((owner.dev(), owner.ino()) == (own.dev(), own.ino()))
    };
    owner().unwrap_or(false)
}

/// True if setgroups(2) is denied in the caller's user namespace, and so in every one he makes.
pub(super) fn groups_are_fixed() -> bool {
    fs::read_to_string("/proc/self/setgroups").is_ok_and(|word| word.trim() == "deny")
}
