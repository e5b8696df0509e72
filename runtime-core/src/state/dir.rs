//! `<root>/<id>`: the directory of one container.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fchmod, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::root::{by_fd, trust};
use super::{Record, Root, exists, json, not_found};
use crate::sys::proc;
use crate::{Error, ErrorKind, Result};

/// File in the directory while the program of a created container waits for start; opening it lets it go.
pub(crate) const FIFO: &str = "exec.fifo";
/// The same file until create commits by renaming it to [`FIFO`].
pub(crate) const GATE: &str = "gate";
/// The fifo in which the stage tells `start` why execve failed. Made before there is a process, and removed by start
/// after [`FIFO`]: without it the program runs.
pub(crate) const STATUS: &str = "status.fifo";
/// Directory with the socket a program says it is ready on.
pub(crate) const NOTIFY: &str = "notify";
/// Tells of the hook that runs, so that a delete finds it.
const HOOK: &str = "hook";
/// Bytes read of it.
const MOST_NOTE: u64 = 4096;
/// The others may pass through, to the fifo, but not look: the container's root may be any user of the host.
const MODE: Mode = Mode::from_bits_truncate(0o711);
/// Tries of create at winning against deletes of the same id.
const TRIES: usize = 100;

/// One container's directory, open; see [`lock`](Dir::lock) for who may change what is in it.
pub(crate) struct Dir {
    root: Arc<Root>,
    fd: OwnedFd,
    id: String,
    /// Device and inode.
    pub(super) identity: (u64, u64),
    /// Links to it when it was locked, if nobody has made anything in it since.
    pub(super) links: Option<u64>,
    pub(super) locked: bool,
}

impl Dir {
    /// Makes `<root>/<id>`, and `root` where needed, and locks it. Error Exists: the id is taken.
    ///
    /// mkdirat(2) decides between two creators. For an instant the directory is there without a lock; a
    /// delete that comes in between takes the lock, finds no record and removes the directory, and then it is
    /// made anew here. Another creator may even have made it by then: whoever locks it first without a record
    /// in it owns it, see [`write_first`](Self::write_first).
    pub(crate) fn create(root: &Path, id: &str) -> Result<Self> {
        crate::id::check(id)?;
        let root = Arc::new(Root::create(root)?);
        for _ in 0..TRIES {
            match mkdirat(root.as_fd(), id, MODE) {
                Ok(()) => {}
                Err(Errno::EEXIST) => return Err(exists()),
                Err(e) => {
                    let call = format!("mkdirat({:?}, 0711)", root.path().join(id));
                    return Err(Error::io("make the container's directory", call, e));
                }
            }
            match Self::claim(&root, id) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.kind() == ErrorKind::Busy => return Err(exists()),
                Err(error) if error.kind() == ErrorKind::System => {
                    // It was made in vain.
                    let _ = unlinkat(root.as_fd(), id, UnlinkatFlags::RemoveDir);
                    return Err(error);
                }
                done => return done,
            }
        }
        Err(Error::new(ErrorKind::Busy, format!("container {id} is deleted as often as it is made")))
    }

    fn claim(root: &Arc<Root>, id: &str) -> Result<Self> {
        let mut dir = Self::open_at(root.clone(), id)?;
        dir.lock()?;
        // Much will be made in it.
        dir.links = None;
        Ok(dir)
    }

    /// Opens `<root>/<id>`, unlocked. Error NotFound: there is none.
    #[cfg(test)]
    pub(crate) fn open(root: &Path, id: &str) -> Result<Self> {
        crate::id::check(id)?;
        match Root::open(root) {
            Ok(root) => Self::open_at(Arc::new(root), id),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(not_found()),
            Err(error) => Err(error),
        }
    }

    /// The same below an open root.
    pub(crate) fn open_at(root: Arc<Root>, id: &str) -> Result<Self> {
        let path = root.path().join(id);
        let call = || format!("openat({path:?}, O_DIRECTORY|O_NOFOLLOW)");
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = match openat(root.as_fd(), id, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => return Err(not_found()),
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                return Err(Error::new(ErrorKind::BadState, format!("{path:?} is not a directory")));
            }
            Err(e) => return Err(Error::io("open the container's directory", call(), e)),
        };
        let stat = fstat(&fd).map_err(|e| Error::io("open the container's directory", call(), e))?;
        trust(&path, &stat)?;
        // The caller's umask is not ours to change, so what it took away at mkdirat is put back.
        if stat.st_mode & 0o777 == 0o711 & !0o077 {
            fchmod(&fd, MODE)
                .map_err(|e| Error::io("open the container's directory", format!("fchmod({path:?})"), e))?;
        }
        Ok(Self { root, fd, id: id.to_owned(), identity: (stat.st_dev, stat.st_ino), links: None, locked: false })
    }

    /// The container's id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The state directory it is in.
    pub(crate) fn root(&self) -> &Arc<Root> {
        &self.root
    }

    /// Its path, for messages and for what takes no descriptor.
    pub(crate) fn path(&self) -> PathBuf {
        self.root.path().join(&self.id)
    }

    /// Time since something in it was made or removed; nothing if the clock was set back since.
    pub(crate) fn age(&self) -> Result<Duration> {
        let stat =
            fstat(&self.fd).map_err(|e| Error::io("look at the container", format!("fstat({:?})", self.path()), e))?;
        let changed = Duration::new(stat.st_mtime.try_into().unwrap_or(0), stat.st_mtime_nsec.try_into().unwrap_or(0));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(now.saturating_sub(changed))
    }

    /// The record; `None`: not written yet, or removed.
    pub(crate) fn read(&self) -> Result<Option<Record>> {
        json::read(self.as_fd(), &self.id)
    }

    /// What can still be read of a record that is broken or of a newer version.
    pub(crate) fn salvage(&self) -> Record {
        json::salvage(self.as_fd(), &self.id)
    }

    /// Writes the record, as a whole or not at all. To be called with the lock held.
    pub(crate) fn write(&self, record: &Record) -> Result<()> {
        json::write(self.as_fd(), record).map_err(|error| error.in_step("state"))
    }

    /// The same of a new container. Error Exists: the directory is another one's.
    pub(crate) fn write_first(&self, record: &Record) -> Result<()> {
        match json::write_first(self.as_fd(), record).map_err(|error| error.in_step("state"))? {
            true => Ok(()),
            false => Err(exists()),
        }
    }

    /// A file for the note of a hook that is about to begin: behind what is written here comes its line of
    /// `/proc/PID/stat`. Only an aid: a full disk must not stop the hook.
    pub(crate) fn hook_note(&self, unlocked: bool) -> Option<OwnedFd> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(&self.fd, HOOK, flags, Mode::from_bits_truncate(0o600)).ok()?);
        file.write_all(format!("{unlocked} ").as_bytes()).ok()?;
        Some(file.into())
    }

    /// Takes the note away.
    pub(crate) fn forget_hook(&self) {
        let _ = unlinkat(&self.fd, HOOK, UnlinkatFlags::NoRemoveDir);
    }

    /// The hook noted: its pid, if that is still the same process, and whether it runs without the lock.
    pub(crate) fn noted_hook(&self) -> Option<(i32, bool)> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let mut text = String::new();
        let file = File::from(openat(&self.fd, HOOK, flags, Mode::empty()).ok()?);
        file.take(MOST_NOTE).read_to_string(&mut text).ok()?;
        let (unlocked, line) = text.split_once(' ')?;
        let pid = line.split(' ').next()?.parse().ok()?;
        let noted = proc::parse(line.as_bytes())?;
        let same = proc::stat(pid).is_ok_and(|now| now.start == noted.start && now.is_alive());
        same.then_some((pid, unlocked == "true"))
    }

    /// Removes the directory with all that is in it, the lock held. Repeating is harmless: what stands in the way
    /// is found before the record goes, which tells the next delete whose directory this is. As a rule nothing but the
    /// record is in it, so what else there may be is looked for only if the directory cannot be removed.
    pub(crate) fn remove(&self) -> Result<()> {
        if self.may_hold_directories()? {
            self.remove_socket()?;
            self.sweep(json::NAME)?;
        }
        if self.remove_record()? {
            return Ok(());
        }
        self.remove_gates()?;
        self.sweep("")?;
        if self.remove_empty()? { Ok(()) } else { Err(self.failed_remove("", Errno::ENOTEMPTY)) }
    }

    /// Removes a directory without a record. Nothing shows that it is a container's, and with a wrong root it may be
    /// anything (`/etc`), so only what a create leaves is removed, and with anything else in it, it stays.
    pub(crate) fn remove_unrecorded(&self) -> Result<()> {
        let empty = !self.root.has(&self.id, json::NAME)? && self.remove_gates().and_then(|()| self.remove_empty())?;
        if !empty {
            let message = format!("{:?} is not a container's directory", self.path());
            return Err(Error::new(ErrorKind::BadState, message).with_hint("remove it by hand if it is of no use"));
        }
        Ok(())
    }

    /// Removes what create and start put there beside the record.
    fn remove_gates(&self) -> Result<()> {
        [FIFO, GATE, STATUS, HOOK, json::TEMPORARY].into_iter().try_for_each(|name| self.remove_file(name))
    }

    /// Removes the record, then the directory. False: something else is in it.
    fn remove_record(&self) -> Result<bool> {
        self.remove_file(json::NAME)?;
        self.remove_empty()
    }

    /// Empties [`NOTIFY`], which is then swept away.
    fn remove_socket(&self) -> Result<()> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let Ok(dir) = openat(&self.fd, NOTIFY, flags, Mode::empty()) else { return Ok(()) };
        match unlinkat(&dir, "notify.sock", UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(e) => Err(self.failed_remove("notify/notify.sock", e)),
        }
    }

    fn remove_file(&self, name: &str) -> Result<()> {
        match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            // EISDIR: not ours, but swept away like anything else unknown.
            Ok(()) | Err(Errno::ENOENT | Errno::EISDIR) => Ok(()),
            Err(e) => Err(self.failed_remove(name, e)),
        }
    }

    /// False: there is no directory in it, for most file systems count those as links (2 is none; btrfs says 1).
    fn may_hold_directories(&self) -> Result<bool> {
        let links = match self.links {
            Some(links) => links,
            None => fstat(&self.fd).map_err(|e| self.failed_remove("", e))?.st_nlink,
        };
        Ok(links != 2)
    }

    /// False: it is not empty.
    fn remove_empty(&self) -> Result<bool> {
        match unlinkat(self.root.as_fd(), self.id.as_str(), UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(true),
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => Ok(false),
            Err(e) => Err(self.failed_remove("", e)),
        }
    }

    /// Removes files and empty directories that are not ours. Never a tree: one that is there may hold a mount, and
    /// then whatever of the host that shows would go with it. The entry `but` stays.
    fn sweep(&self, but: &str) -> Result<()> {
        let fail = |e: std::io::Error| self.failed_remove("*", e);
        for entry in std::fs::read_dir(by_fd(self.as_fd(), "")).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            if entry.file_name() == but {
                continue;
            }
            let path = by_fd(self.as_fd(), entry.file_name());
            let removed = match entry.file_type() {
                Ok(kind) if kind.is_dir() => std::fs::remove_dir(&path),
                _ => std::fs::remove_file(&path),
            };
            match removed {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fail(error)),
                _ => {}
            }
        }
        Ok(())
    }

    fn failed_remove(&self, name: &str, error: impl Into<std::io::Error>) -> Error {
        Error::io("remove the container's directory", format!("unlinkat({:?})", self.path().join(name)), error)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
