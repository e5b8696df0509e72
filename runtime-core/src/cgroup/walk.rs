//! Everything below a directory of a cgroup file system. A container may own that part of the tree: it can be deeper
//! than we may open descriptors or have stack for, and its names need not be text.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::file;

/// How often the walk begins anew because the way back was removed.
const RESTARTS: usize = 64;

/// A directory on the way down: its name, and those in it that were not entered yet.
struct Level {
    name: CString,
    left: Vec<CString>,
}

/// Calls `visit` for `top` and every directory below it, each before what is in it, and on the way back `leave` with the
/// directory above and the name, for all but `top`. Both may be called again for the same directory. What vanishes
/// meanwhile is left out.
pub(super) fn walk(
    top: BorrowedFd<'_>,
    mut visit: impl FnMut(BorrowedFd<'_>) -> Result<(), Errno>,
    mut leave: impl FnMut(BorrowedFd<'_>, &CStr) -> Result<(), Errno>,
) -> Result<(), Errno> {
    for _ in 0..RESTARTS {
        if once(top, &mut visit, &mut leave)? {
            return Ok(());
        }
    }
    Err(Errno::EBUSY)
}

/// False: the way back was removed.
fn once(
    top: BorrowedFd<'_>,
    visit: &mut impl FnMut(BorrowedFd<'_>) -> Result<(), Errno>,
    leave: &mut impl FnMut(BorrowedFd<'_>, &CStr) -> Result<(), Errno>,
) -> Result<bool, Errno> {
    let mut levels = vec![Level { name: CString::default(), left: enter(top, visit)? }];
    // The directory of the last level; `top` itself is the caller's.
    let mut here: Option<OwnedFd> = None;
    while let Some(level) = levels.last_mut() {
        let dir = here.as_ref().map_or(top, AsFd::as_fd);
        if let Some(name) = level.left.pop() {
            if let Some(child) = file::child(dir, name.as_c_str())? {
                let left = enter(child.as_fd(), visit)?;
                levels.push(Level { name, left });
                here = Some(child);
            }
            continue;
        }
        let Some(Level { name, .. }) = levels.pop().filter(|_| !levels.is_empty()) else { break };
        let above = if levels.len() == 1 { None } else { Some(file::above(dir)) };
        here = match above.transpose() {
            Err(errno) if file::is_gone(errno) => return Ok(false),
            above => above?,
        };
        leave(here.as_ref().map_or(top, AsFd::as_fd), &name)?;
    }
    Ok(true)
}

/// Visits a directory; what is in it.
fn enter(
    dir: BorrowedFd<'_>,
    visit: &mut impl FnMut(BorrowedFd<'_>) -> Result<(), Errno>,
) -> Result<Vec<CString>, Errno> {
    visit(dir)?;
    match file::children(dir) {
        Err(errno) if file::is_gone(errno) => Ok(Vec::new()),
        children => children,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::path::Path;

    fn seen(top: &Path) -> (usize, Vec<String>) {
        let top = File::open(top).expect("open");
        let (mut visits, mut left) = (0, Vec::new());
        let visit = |_: BorrowedFd<'_>| {
            visits += 1;
            Ok(())
        };
        let leave = |_: BorrowedFd<'_>, name: &CStr| {
            left.push(name.to_string_lossy().into_owned());
            Ok(())
        };
        walk(top.as_fd(), visit, leave).expect("walk");
        (visits, left)
    }

    #[test]
    fn every_directory_once_and_those_in_it_first_on_the_way_back() {
        let top = std::env::temp_dir().join(format!("runtime-walk-{}", std::process::id()));
        std::fs::create_dir_all(top.join("a/b/c")).expect("mkdir");
        std::fs::create_dir_all(top.join("a/b/d")).expect("mkdir");
        std::fs::write(top.join("a/file"), "").expect("write");
        let (visits, mut left) = seen(&top);
        std::fs::remove_dir_all(&top).expect("remove");
        assert_eq!(visits, 5);
        assert_eq!(left.split_off(2), ["b", "a"]);
        left.sort();
        assert_eq!(left, ["c", "d"]);
    }
}
