//! Finds out how control groups are mounted here.
//!
//! A pure version 2 host costs one statfs and, where the caller's own cgroup matters, one read of
//! `/proc/self/cgroup`. The mount table is read on version 1 and hybrid hosts only.

use std::fs;
use std::io::Read;

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use super::mounts::{Table, unescape};
use crate::cgroup::{Hierarchy, Layout, Mode};
use crate::{Error, Result};

/// Where control groups are mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// The host's cgroup layout. `own`: also find the caller's own cgroups, which only a relative or absent
/// `cgroupsPath` needs.
pub fn probe(own: bool) -> Result<Layout> {
    match statfs(ROOT) {
        Ok(fs) if fs.filesystem_type() == CGROUP2_SUPER_MAGIC => unified(own),
        Ok(_) => Ok(mounted(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?)),
        Err(nix::Error::ENOENT) => Ok(Layout::default()),
        Err(errno) => Err(Error::system("cannot inspect control groups", format!("statfs({ROOT:?})"), errno as i32)),
    }
}

fn read(path: &str) -> Result<String> {
    // Room for what is usual, and no question about the size, which procfs does not know: one read as a rule.
    let mut text = String::with_capacity(16 << 10);
    let read = fs::File::open(path).and_then(|file| file.take(u64::MAX).read_to_string(&mut text));
    read.map(|_| text).map_err(|e| Error::io("cannot inspect control groups", format!("read({path:?})"), e))
}

/// The layout of a host with version 2 alone.
fn unified(own: bool) -> Result<Layout> {
    let own = if own { own_unified()? } else { None };
    let hierarchy = Hierarchy { name: String::new(), controllers: Vec::new(), mount: ROOT.into(), own, v2: true };
    Ok(Layout { mode: Mode::V2, hierarchies: vec![hierarchy] })
}

/// The caller's own cgroup of version 2. Its line is the last one, so nothing is read after it.
fn own_unified() -> Result<Option<String>> {
    const PATH: &str = "/proc/self/cgroup";
    let fail = |e| Error::io("cannot inspect control groups", format!("read({PATH:?})"), e);
    let mut file = fs::File::open(PATH).map_err(fail)?;
    let (mut text, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let length = file.read(&mut chunk).map_err(fail)?;
        text.extend_from_slice(&chunk[..length]);
        let line = text.split_inclusive(|byte| *byte == b'\n').find(|line| line.starts_with(b"0::"));
        match line {
            Some(line) if line.ends_with(b"\n") => {
                return Ok(own_of(&String::from_utf8_lossy(line), &[]).map(str::to_owned));
            }
            _ if length == 0 => return Ok(None),
            _ => {}
        }
    }
}

/// The layout a mount table shows. A hierarchy mounted twice counts once, beneath `/sys/fs/cgroup` if it is there; one
/// whose mount point leads elsewhere by now does not count.
fn mounted(mountinfo: &str, own: &str) -> Layout {
    let table = Table::of(mountinfo);
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some(next) = hierarchy(line, own).filter(|_| !table.is_covered(line)) else { continue };
        match found.iter_mut().find(|h| h.v2 == next.v2 && h.controllers == next.controllers) {
            None => found.push(next),
            Some(old) if !below_root(&old.mount) && below_root(&next.mount) => *old = next,
            Some(_) => {}
        }
    }
    let (v1, v2) = (found.iter().any(|h| !h.v2), found.iter().any(|h| h.v2));
    let mode = match (v1, v2) {
        (true, true) => Mode::Hybrid,
        (true, false) => Mode::V1,
        (false, true) => Mode::V2,
        (false, false) => Mode::None,
    };
    Layout { mode, hierarchies: found }
}

fn below_root(mount: &str) -> bool {
    mount.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// One line of mountinfo (proc(5)), if it is about control groups.
fn hierarchy(line: &str, own: &str) -> Option<Hierarchy> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let (root, mount) = (unescape(left.next()?), unescape(left.next()?));
    let mut right = right.split(' ');
    let v2 = match right.next()? {
        "cgroup" => false,
        "cgroup2" => true,
        _ => return None,
    };
    let options = right.nth(1).unwrap_or_default();
    let controllers: Vec<String> = match v2 {
        true => Vec::new(),
        false => own_controllers(own, options)?,
    };
    let own = own_of(own, &controllers).and_then(|path| beneath(path, &root));
    let name = if mount == ROOT { "" } else { mount.rsplit('/').next().unwrap_or_default() };
    Some(Hierarchy { name: name.into(), controllers, own, v2, mount })
}

/// The controllers of the version 1 hierarchy with these superblock options, as `/proc/self/cgroup` lists them:
/// the options also hold words (`rw`, `xattr`, `release_agent=…`) that are not controllers.
fn own_controllers(own: &str, options: &str) -> Option<Vec<String>> {
    let options: Vec<&str> = options.split(',').collect();
    own.lines()
        .filter_map(|line| line.split(':').nth(1).filter(|list| !list.is_empty()))
        .find(|list| list.split(',').all(|controller| options.contains(&controller)))
        .map(|list| list.split(',').map(str::to_owned).collect())
}

/// The path `/proc/self/cgroup` has for a hierarchy.
fn own_of<'a>(own: &'a str, controllers: &[String]) -> Option<&'a str> {
    let list = controllers.join(",");
    own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        (parts.next()? == list).then(|| parts.next()).flatten()
    })
}

/// `path` as seen from a mount whose root is `root`.
fn beneath(path: &str, root: &str) -> Option<String> {
    if path.split('/').any(|part| part == "..") {
        return None;
    }
    let rest = path.strip_prefix(root.trim_end_matches('/'))?;
    match rest {
        "" => Some("/".into()),
        _ if rest.starts_with('/') => Some(rest.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
39 23 0:30 / /mnt/copy rw - cgroup cgroup rw,cpu,cpuacct
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/my\\040name rw,relatime - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const OWN: &str = "9:name=systemd:/user.slice\n4:memory:/docker/abc/x\n1:cpu,cpuacct:/\n0::/../other\n";

    #[test]
    fn a_hybrid_mount_table() {
        let layout = mounted(MOUNTS, OWN);
        assert_eq!(layout.mode, Mode::Hybrid);
        let seen: Vec<_> = layout
            .hierarchies
            .iter()
            .map(|h| format!("{}|{}|{}|{:?}", h.name, h.controllers.join(","), h.mount, h.own))
            .collect();
        assert_eq!(
            seen,
            [
                "cpu,cpuacct|cpu,cpuacct|/sys/fs/cgroup/cpu,cpuacct|Some(\"/\")",
                "memory|memory|/sys/fs/cgroup/memory|Some(\"/x\")",
                "my name|name=systemd|/sys/fs/cgroup/my name|Some(\"/user.slice\")",
                "unified||/sys/fs/cgroup/unified|None",
            ]
        );
        assert_eq!(mounted("31 23 0:28 / /x rw - tmpfs tmpfs rw", OWN).mode, Mode::None);
    }

    /// As `umount -R`, `mount` and the like leave it: the same names, other file systems.
    #[test]
    fn covered_ones_do_not_count() {
        let mode = |more: &str| mounted(&format!("{MOUNTS}{more}"), OWN).mode;
        assert_eq!(mode("50 31 0:40 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"), Mode::V1, "the one at /mnt/copy is left");
        assert_eq!(mode("50 23 0:40 / /sys/fs rw - tmpfs tmpfs rw\n"), Mode::V1);
        assert_eq!(mode("50 41 0:40 / /sys/fs/cgroup/unified rw - tmpfs tmpfs rw\n"), Mode::V1);
        // On top of what covers, and beside it.
        assert_eq!(
            mode(
                "50 31 0:40 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n51 50 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
            ),
            Mode::Hybrid
        );
        assert_eq!(mode("50 31 0:40 / /sys/fs/cgrou rw - tmpfs tmpfs rw\n"), Mode::Hybrid);
    }

    #[test]
    fn this_host() {
        let layout = probe(true).expect("probe");
        assert_ne!(layout.mode, Mode::None);
        for hierarchy in &layout.hierarchies {
            assert!(fs::metadata(format!("{}/cgroup.procs", hierarchy.mount)).is_ok(), "{hierarchy:?}");
        }
    }
}
