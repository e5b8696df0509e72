//! Which security modules are on.

use std::fs;

use nix::sys::statfs::{FsType, statfs};

/// AppArmor, by its own word (apparmor(7)).
pub(super) fn apparmor() -> bool {
    fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|said| said.starts_with(b"Y"))
}

/// SELinux with a policy: its filesystem is mounted, and we have a label that a policy gave. A kernel that has
/// SELinux but was given no policy takes any label and enforces none.
pub(super) fn selinux() -> bool {
    const SELINUX_MAGIC: FsType = FsType(0xf97c_ff8c);
    let mounted = statfs("/sys/fs/selinux").is_ok_and(|found| found.filesystem_type() == SELINUX_MAGIC);
    let label = fs::read("/proc/self/attr/current").unwrap_or_default();
    let label = label.strip_suffix(b"\0").unwrap_or(&label);
    mounted && !label.is_empty() && label != b"kernel"
}
