//! The root filesystem of a container without a mount namespace of its own: mounted over itself in the caller's, and
//! taken away again.
//!
//! One private mount holds all that is ever mounted in it, by us or by the container, so that one detach takes all away
//! and nobody else sees any of it. Which mount that is goes on record before it is attached: a runtime that is killed
//! leaves nothing that `delete` does not find, and `delete` takes nothing away but that mount.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use crate::host::mounts;
use crate::plan::OVER_ITSELF;
use crate::sys::mount::{self, Place};
use crate::{Error, ErrorKind, Result};

const WHAT: &str = "cannot mount the root filesystem where it is";

/// A mount of the caller's mount namespace that is ours, on record.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct RootMount {
    /// Inode of the mount namespace.
    namespace: u64,
    /// Numbers of the mount, see [`Place`].
    mount: u64,
    unique: u64,
    /// Where it is.
    path: String,
}

/// The mount, as long as it is attached to nothing.
pub(crate) struct Prepared {
    tree: OwnedFd,
    over: OwnedFd,
    pub(crate) record: RootMount,
}

impl Prepared {
    /// A private clone of the root filesystem with everything mounted on it.
    pub(crate) fn new(path: &str) -> Result<Self> {
        let at = |call: &str| {
            let call = format!("{call}({path:?})");
            move |e: io::Error| Error::io(WHAT, call, e).at("/root/path")
        };
        let over = open(path).map_err(at("open"))?;
        if is_own_root(&over).map_err(at("statx"))? {
            return Err(Error::new(ErrorKind::InvalidConfig, OVER_ITSELF).at("/root/path"));
        }
        let tree = mount::clone_tree(Some(&over), c"", true).map_err(at("open_tree"))?;
        mount::make_private(tree.as_fd()).map_err(at("mount_setattr"))?;
        let place = mount::place(tree.as_fd()).map_err(at("statx"))?;
        let path = std::fs::canonicalize(path).map_err(at("realpath"))?;
        let path = path.to_str().ok_or_else(|| at("realpath")(io::ErrorKind::InvalidFilename.into()))?.to_owned();
        let namespace = own_namespace()?;
        Ok(Self { tree, over, record: RootMount { namespace, mount: place.mount, unique: place.unique, path } })
    }

    /// Attaches it, [`record`](Self::record) being on record. On a shared mount it becomes shared itself, before anything
    /// is mounted on it; that is taken back.
    pub(crate) fn attach(&self) -> Result<()> {
        let explain = |call: &str, e| Error::io(WHAT, format!("{call}({:?})", self.record.path), e).at("/root/path");
        mount::attach(self.tree.as_fd(), self.over.as_fd()).map_err(|e| explain("move_mount", e))?;
        mount::make_private(self.tree.as_fd()).map_err(|e| explain("mount_setattr", e))
    }

    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.tree.as_fd()
    }
}

impl RootMount {
    /// Takes the mount away, with all that is mounted in it. One that is gone is as good.
    pub(crate) fn remove(&self) -> Result<()> {
        if own_namespace()? != self.namespace {
            // It went with the last process of its namespace.
            let Some(pid) = resident(self.namespace) else { return Ok(()) };
            let message = format!("{:?} is mounted in another mount namespace", self.path);
            let hint = format!("delete the container there: nsenter --mount --target {pid} …");
            return Err(Error::new(ErrorKind::WrongState, message).with_hint(hint));
        }
        let Some(root) = self.find()? else { return Ok(()) };
        // First: what is mounted on a mount with peers would vanish there as well.
        let explain =
            |call: &str, e| Error::io("take the container's root away", format!("{call}({:?})", self.path), e);
        mount::make_private(root.as_fd()).map_err(|e| explain("mount_setattr", e))?;
        mount::detach(root.as_fd()).map_err(|e| explain("umount2", e))
    }

    /// The root of the container's first process, if that is still this mount.
    pub(crate) fn of_process(&self, pid: i32) -> Result<OwnedFd> {
        let path = format!("/proc/{pid}/root");
        let root =
            open(&path).map_err(|e| Error::io("cannot enter the container's root", format!("open({path:?})"), e))?;
        match mount::place(root.as_fd()) {
            Ok(place) if self.is(place) => Ok(root),
            _ => Err(Error::new(ErrorKind::WrongState, "the container's first process has left its root filesystem")),
        }
    }

    /// The number of the mount namespace it is in.
    pub(crate) fn namespace(&self) -> u64 {
        self.namespace
    }

    fn is(&self, place: Place) -> bool {
        (place.mount, place.unique, place.is_root) == (self.mount, self.unique, true)
    }

    /// The root of the mount.
    fn find(&self) -> Result<Option<OwnedFd>> {
        if let Some(root) = self.at(&self.path) {
            return Ok(Some(root));
        }
        let Some(point) = mounts::point_of(self.mount)? else { return Ok(None) };
        match self.at(&point) {
            None if point == self.path => {
                let message = format!("something else is mounted over the container's root {point:?}");
                Err(Error::new(ErrorKind::Busy, message).with_hint("unmount it, then delete again"))
            }
            // Moved with a directory above it; where the number may be another mount's by now, that does not count.
            found => Ok(found.filter(|_| self.unique != 0)),
        }
    }

    fn at(&self, path: &str) -> Option<OwnedFd> {
        let root = open(path).ok()?;
        mount::place(root.as_fd()).is_ok_and(|place| self.is(place)).then_some(root)
    }
}

fn open(path: &str) -> io::Result<OwnedFd> {
    File::options().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(path).map(OwnedFd::from)
}

/// By another way than its name, too.
fn is_own_root(directory: &OwnedFd) -> io::Result<bool> {
    let (own, place) = (mount::place(open("/")?.as_fd())?, mount::place(directory.as_fd())?);
    Ok((own.mount, own.inode) == (place.mount, place.inode))
}

fn own_namespace() -> Result<u64> {
    let path = "/proc/thread-self/ns/mnt";
    let about = std::fs::metadata(path);
    about
        .map(|about| about.ino())
        .map_err(|e| Error::io("cannot tell the mount namespace", format!("stat({path:?})"), e))
}

/// Some process in a mount namespace.
fn resident(namespace: u64) -> Option<i32> {
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find(|pid: &i32| std::fs::metadata(format!("/proc/{pid}/ns/mnt")).is_ok_and(|about| about.ino() == namespace))
}
