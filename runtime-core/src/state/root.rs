//! The state directory itself, `<root>`: one sub-directory per container.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::{FileStat, Mode, fstat};
use nix::unistd::{AccessFlags, faccessat};

use super::{Brief, Record, json, not_found};
use crate::cgroup::Freezer;
use crate::{Error, ErrorKind, Result};

/// Room for any record without its config, but for the strangest annotations.
pub(crate) const GLANCE: usize = 16 << 10;

/// An open state directory. Everything below it is reached through this descriptor, so that a rename of
/// something above cannot lead elsewhere.
pub(crate) struct Root {
    fd: OwnedFd,
    path: PathBuf,
    boot_id: OnceLock<String>,
    freezer: Freezer,
    /// Whether pidfds have inode numbers of their own; asked once.
    pidfs: OnceLock<bool>,
}

impl Root {
    /// Opens `path`, which may lead through symbolic links. Error NotFound: there is none.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let call = || format!("open({path:?}, O_DIRECTORY)");
        let fd = match open(path, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => {
                return Err(Error::new(ErrorKind::NotFound, "no state directory").with_call(call(), libc::ENOENT));
            }
            Err(errno) => return Err(Error::io("open the state directory", call(), errno)),
        };
        let stat = fstat(&fd).map_err(|e| Error::io("open the state directory", format!("fstat({path:?})"), e))?;
        trust(path, &stat)?;
        let path = path.to_owned();
        Ok(Self { fd, path, boot_id: OnceLock::new(), freezer: Freezer::default(), pidfs: OnceLock::new() })
    }

    /// Opens `path`, after making it and what is above it with mode 0700 where needed.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        match Self::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            done => return done,
        }
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| {
            let denied = e.kind() == std::io::ErrorKind::PermissionDenied;
            let error = Error::io("make the state directory", format!("mkdir({path:?}, 0700)"), e);
            if denied { error.with_hint("set XDG_RUNTIME_DIR, or give a directory with --root") } else { error }
        })?;
        Self::open(path)
    }

    /// The path it was opened by.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Id of this boot of the host, read once.
    pub(crate) fn boot_id(&self) -> Result<&str> {
        if let Some(id) = self.boot_id.get() {
            return Ok(id);
        }
        let id = crate::sys::proc::boot_id()
            .map_err(|e| Error::io("tell this boot from others", "read(\"/proc/sys/kernel/random/boot_id\")", e))?;
        Ok(self.boot_id.get_or_init(|| id))
    }

    /// Whether pidfds have inode numbers of their own, as far as it was asked.
    pub(crate) fn pidfs(&self) -> &OnceLock<bool> {
        &self.pidfs
    }

    /// Whether the container is frozen. A cgroup that is gone or cannot be read does not hold the process back.
    pub(crate) fn is_frozen(&self, record: &Brief<'_>) -> bool {
        record.cgroup.as_ref().is_some_and(|placement| self.freezer.is_frozen(placement).unwrap_or(false))
    }

    /// Whether `<root>/<id>/<name>` is there.
    pub(crate) fn has(&self, id: &str, name: &str) -> Result<bool> {
        let path = [id, "/", name].concat();
        // With the rights we have now, as for every other call.
        let flags = AtFlags::AT_SYMLINK_NOFOLLOW | AtFlags::AT_EACCESS;
        match faccessat(&self.fd, path.as_str(), AccessFlags::F_OK, flags) {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(false),
            Err(e) => Err(Error::io("look into the state directory", format!("faccessat2({path:?})"), e)),
        }
    }

    /// The record of `id`; error NotFound where there is none, also while one is being made.
    pub(crate) fn read(&self, id: &str) -> Result<Record> {
        json::read_below(self.fd.as_fd(), id)?.ok_or_else(not_found)
    }

    /// What tells the state of `id`, in a buffer of [`GLANCE`] bytes. `None`: it takes a [`read`](Self::read).
    pub(crate) fn glance<'a>(&self, id: &str, buffer: &'a mut [u8]) -> Option<Brief<'a>> {
        json::glance_below(self.fd.as_fd(), id, buffer)
    }

    /// Names of the directories in it, sorted. A name that is not UTF-8 is shown with replacement characters.
    pub(crate) fn ids(&self) -> Result<Vec<String>> {
        let fail = |e| Error::io("read the state directory", format!("getdents64({:?})", self.path), e);
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(self.by_fd("")).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                ids.push(lossy(entry.file_name()));
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// A path to `name` in this very directory, for what takes no descriptor.
    pub(super) fn by_fd(&self, name: &str) -> PathBuf {
        by_fd(self.fd.as_fd(), name)
    }
}

/// A path to `name` in the directory `fd`, through procfs.
pub(super) fn by_fd(fd: BorrowedFd<'_>, name: impl AsRef<Path>) -> PathBuf {
    Path::new("/proc/self/fd").join(fd.as_raw_fd().to_string()).join(name)
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn lossy(name: OsString) -> String {
    name.to_string_lossy().into_owned()
}

/// Refuses a directory in which someone else could plant or replace containers. One of root's is trusted, for
/// root could do anything anyway.
pub(super) fn trust(path: &Path, stat: &FileStat) -> Result<()> {
    let refuse = |why: String, hint: &str| {
        let message = format!("state directory {path:?} {why}");
        Err(Error::new(ErrorKind::BadState, message).with_hint(hint))
    };
    if stat.st_uid != 0 {
        let me = nix::unistd::geteuid().as_raw();
        if stat.st_uid != me {
            let why = format!("belongs to user {}, not to user {me}", stat.st_uid);
            return refuse(why, "give another one with --root");
        }
    }
    let (others_write, sticky) = (stat.st_mode & 0o022 != 0, stat.st_mode & 0o1000 != 0);
    if others_write && !sticky {
        let mode = stat.st_mode & 0o7777;
        return refuse(format!("can be written by others (mode {mode:04o})"), "chmod 700 it, or give another --root");
    }
    Ok(())
}
