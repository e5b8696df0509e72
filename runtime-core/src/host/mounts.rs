//! Mounts of the host that matter where its tree stays around or behind the container's root.

use std::fs;

use super::cgroup::unescape;
use crate::{Error, Result};

/// Mount points of every whole procfs and sysfs, the last mounted first.
///
/// The kernel lets a user namespace mount a new procfs or sysfs only where one is fully visible already
/// (mount_too_revealing in fs/namespace.c), and it looks at the whole mount namespace: one that only lies hidden below
/// the container's root would make its masked paths pointless.
pub fn whole_kernel_filesystems() -> Result<Vec<String>> {
    let path = "/proc/self/mountinfo";
    let table = fs::read_to_string(path).map_err(|e| {
        Error::system("cannot inspect mounts", format!("read({path:?})"), e.raw_os_error().unwrap_or(libc::EINVAL))
    })?;
    let mut points: Vec<String> = table.lines().filter_map(whole).collect();
    points.reverse();
    Ok(points)
}

/// Where the mount of this number is mounted, below the caller's root.
pub fn point_of(mount: u64) -> Result<Option<String>> {
    let path = "/proc/self/mountinfo";
    let table =
        fs::read_to_string(path).map_err(|e| Error::io("cannot inspect mounts", format!("read({path:?})"), e))?;
    Ok(table.lines().find_map(|line| {
        let mut words = line.split(' ');
        (words.next()?.parse() == Ok(mount)).then(|| words.nth(3).map(unescape)).flatten()
    }))
}

fn whole(line: &str) -> Option<String> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let (root, point) = (left.next()?, left.next()?);
    let kernel = matches!(right.split(' ').next()?, "proc" | "sysfs");
    (kernel && root == "/").then(|| unescape(point))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_ones_only() {
        let of = |line: &str| whole(line);
        assert_eq!(of("24 1 0:22 / /proc rw,nosuid shared:13 - proc proc rw").as_deref(), Some("/proc"));
        assert_eq!(of("25 1 0:23 / /a\\040b rw - sysfs sysfs rw").as_deref(), Some("/a b"));
        assert_eq!(of("26 1 0:22 /sys /x rw - proc proc rw"), None);
        assert_eq!(of("27 1 0:24 / /dev rw - tmpfs tmpfs rw"), None);
        assert!(whole_kernel_filesystems().unwrap().iter().any(|point| point == "/proc"));
    }
}
