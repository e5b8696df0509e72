//! Files and directories of a cgroup file system, always beneath a descriptor and never through a symbolic link.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::NixPath;
use nix::dir::{Entry, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::Mode;

use crate::sys::fd::patiently;

/// Most files of a cgroup fit: one read(2) less.
const COMMON: usize = 4096;

/// Opens a directory beneath `dir`, in the same mount.
pub(super) fn beneath<P: ?Sized + NixPath>(dir: impl AsFd, path: &P, flags: OFlag) -> Result<OwnedFd, Errno> {
    resolve(dir, path, flags | OFlag::O_DIRECTORY)
}

fn resolve<P: ?Sized + NixPath>(dir: impl AsFd, path: &P, flags: OFlag) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
    patiently(|| openat2(&dir, path, how))
}

/// The directory above. Cgroups never move to another one.
pub(super) fn above(dir: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    openat(dir, "..", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
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

/// How a file in a directory beneath `dir`, in the same mount, begins: what fits into `buffer`.
pub(super) fn peek_beneath<'a>(dir: impl AsFd, path: &str, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    let file = resolve(dir, path, OFlag::O_RDONLY)?;
    loop {
        match nix::unistd::read(&file, buffer) {
            Err(Errno::EINTR) => {}
            length => return Ok(&buffer[..length?]),
        }
    }
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
pub(super) fn children(dir: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    entries(dir, |entry| {
        let inside = !matches!(entry.file_name().to_bytes(), b"." | b"..");
        (inside && entry.file_type() == Some(Type::Directory)).then(|| entry.file_name().to_owned())
    })
}

/// Names of everything in it that the kernel may have put there: text.
pub(super) fn names(dir: BorrowedFd<'_>) -> Result<Vec<String>, Errno> {
    entries(dir, |entry| entry.file_name().to_str().ok().map(str::to_owned))
}

fn entries<T>(dir: BorrowedFd<'_>, take: impl Fn(&Entry) -> Option<T>) -> Result<Vec<T>, Errno> {
    // The position belongs to the open file, so each listing opens its own.
    let own = openat(dir, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut listing = nix::dir::Dir::from_fd(own)?;
    let mut taken = Vec::new();
    for entry in listing.iter() {
        taken.extend(take(&entry?));
    }
    Ok(taken)
}

/// Opens a sub-cgroup; `None` if it is gone by now.
pub(super) fn child<P: ?Sized + NixPath>(dir: impl AsFd, name: &P) -> Result<Option<OwnedFd>, Errno> {
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
