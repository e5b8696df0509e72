//! Files and directories of a cgroup file system, always beneath a descriptor and never through a symbolic link.

use std::fs::File;
use std::io::{Read, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::Mode;

/// Most files of a cgroup fit: one read(2) less.
const COMMON: usize = 4096;

/// Opens a directory beneath `dir`, in the same mount.
pub(super) fn beneath(dir: impl AsFd, path: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
    resolve(dir, path, flags | OFlag::O_DIRECTORY)
}

fn resolve(dir: impl AsFd, path: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
    loop {
        match openat2(&dir, path, how) {
            // A rename or mount elsewhere on the host made the kernel unsure; and signals.
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// Opens a file of the cgroup itself; `name` has no slash.
pub(super) fn open(dir: impl AsFd, name: &str, flags: OFlag) -> Result<File, Errno> {
    let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(dir, name, flags, Mode::empty()).map(File::from)
}

/// The whole of a small file.
pub(super) fn read(dir: impl AsFd, name: &str) -> Result<String, Errno> {
    read_all(open(dir, name, OFlag::O_RDONLY)?)
}

/// The same of one in a directory beneath `dir`, in the same mount.
pub(super) fn read_beneath(dir: impl AsFd, path: &str) -> Result<String, Errno> {
    read_all(resolve(dir, path, OFlag::O_RDONLY)?.into())
}

fn read_all(mut file: File) -> Result<String, Errno> {
    let mut text = vec![0; COMMON];
    let mut length = 0;
    loop {
        match file.read(&mut text[length..]) {
            Ok(0) => break,
            Ok(count) => {
                length += count;
                // cgroup files give all they have in one read, as long as it fits.
                if count < COMMON && length < text.len() {
                    break;
                }
                text.resize(length + COMMON, 0);
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(errno(&e)),
        }
    }
    text.truncate(length);
    String::from_utf8(text).map_err(|_| Errno::EILSEQ)
}

/// Writes a value in one write(2), as cgroup files want it.
pub(super) fn write(dir: impl AsFd, name: &str, value: &str) -> Result<(), Errno> {
    put(&mut open(dir, name, OFlag::O_WRONLY)?, value)
}

/// Writes a value to an open cgroup file.
pub(super) fn put(file: &mut File, value: &str) -> Result<(), Errno> {
    file.write_all(value.as_bytes()).map_err(|e| errno(&e))
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

/// Names of the sub-directories, which are the sub-cgroups.
pub(super) fn children(dir: BorrowedFd<'_>) -> Result<Vec<String>, Errno> {
    entries(dir, |kind| kind == Some(nix::dir::Type::Directory))
}

/// Names of everything in it.
pub(super) fn names(dir: BorrowedFd<'_>) -> Result<Vec<String>, Errno> {
    entries(dir, |_| true)
}

fn entries(dir: BorrowedFd<'_>, wanted: impl Fn(Option<nix::dir::Type>) -> bool) -> Result<Vec<String>, Errno> {
    // The position belongs to the open file, so each listing opens its own.
    let own = openat(dir, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut listing = nix::dir::Dir::from_fd(own)?;
    let mut names = Vec::new();
    for entry in listing.iter() {
        let entry = entry?;
        if !wanted(entry.file_type()) {
            continue;
        }
        match entry.file_name().to_str() {
            Ok("." | "..") => {}
            Ok(name) => names.push(name.to_owned()),
            Err(_) => return Err(Errno::EILSEQ),
        }
    }
    Ok(names)
}

/// Opens a sub-cgroup; `None` if it is gone by now.
pub(super) fn child(dir: impl AsFd, name: &str) -> Result<Option<OwnedFd>, Errno> {
    match beneath(dir, name, OFlag::O_RDONLY) {
        Ok(fd) => Ok(Some(fd)),
        Err(errno) if is_gone(errno) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// True for what the kernel says about a cgroup that was removed.
pub(super) fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ENODEV)
}

/// The process ids of a `cgroup.procs` file. 0 is a process of a foreign pid namespace: it has no name here, and
/// as an argument of kill(2) it would mean the caller's own group.
pub(super) fn parse_pids(text: &str) -> impl Iterator<Item = i32> {
    text.lines().filter_map(|line| line.trim().parse().ok()).filter(|pid| *pid > 0)
}
