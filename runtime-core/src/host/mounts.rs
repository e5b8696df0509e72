//! The mount table: which mounts can be reached by their names, and which matter where the host's tree stays around or
//! behind the container's root.

use std::fs;

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

/// Undoes the octal escapes of mountinfo.
pub(super) fn unescape(text: &str) -> String {
    let mut out = text.to_owned();
    for (escape, plain) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        out = out.replace(escape, plain);
    }
    out
}

/// The mounts of a mountinfo (proc(5)): number, parent's number, mount point as it is written there.
pub(super) struct Table<'a>(Vec<(&'a str, &'a str, &'a str)>);

impl<'a> Table<'a> {
    pub(super) fn of(mountinfo: &'a str) -> Self {
        Self(mountinfo.lines().filter_map(Self::entry).collect())
    }

    fn entry(line: &'a str) -> Option<(&'a str, &'a str, &'a str)> {
        let mut words = line.split(' ');
        Some((words.next()?, words.next()?, words.nth(2)?))
    }

    /// True if the mount point of this line leads to another mount: one on top of it, or one that was mounted over a
    /// directory above.
    pub(super) fn is_covered(&self, line: &'a str) -> bool {
        let Some(own) = Self::entry(line) else { return false };
        // From the mount itself to the first one: what else is mounted on it where the mount below it is, or above that.
        let (mut on, mut below) = (own.0, own);
        loop {
            let hides = |(id, parent, point): &(&str, &str, &str)| {
                *parent == on && *id != below.0 && is_beneath(below.2, point)
            };
            if self.0.iter().any(hides) {
                return true;
            }
            if on != below.0 {
                let Some(next) = self.0.iter().find(|(id, parent, _)| *id == on && *parent != on) else { return false };
                below = *next;
            }
            on = below.1;
        }
    }
}

fn is_beneath(path: &str, above: &str) -> bool {
    path.strip_prefix(above.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
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
