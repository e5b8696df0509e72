//! `state.json`: the record of one container, and how it gets to disk and back.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2, renameat};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::sys::statfs::{FsType, TMPFS_MAGIC, fstatfs};
use nix::unistd::{UnlinkatFlags, unlinkat};
use serde_json::value::RawValue;

use crate::spec::Map;
use crate::{Error, ErrorKind, Result};

/// The record's file.
pub(super) const NAME: &str = "state.json";
/// The record while it is written; the lock keeps others from it.
pub(super) const TEMPORARY: &str = "state.json.tmp";
/// Bytes of the largest record that is read: far above any config, far below what would exhaust memory.
const MAX: u64 = 32 << 20;
/// Magic number of ramfs in statfs(2), which libc and nix do not have.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

/// Version of the record this build writes. One above it is only good for `delete --force`.
pub const VERSION: u32 = 1;

/// `state.json`: everything a later verb needs, written before the process exists and never trusted blindly.
///
/// Members are called as runc calls them where it has them.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Record {
    /// [`VERSION`] of the build that wrote it.
    pub version: u32,
    /// Container id.
    pub id: String,
    /// Absolute path of the bundle.
    pub bundle: String,
    /// Absolute path of the root filesystem.
    pub rootfs: String,
    /// When it was created, RFC 3339 with nanoseconds, UTC. Tells two containers of one id apart.
    pub created: String,
    /// Boot of the host the process belongs to (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// Host pid of the first process; 0 until there is one.
    pub init_process_pid: i32,
    /// When it started, in clock ticks since boot (field 22 of proc_pid_stat(5)).
    pub init_process_start: u64,
    /// Uid of the one who created it.
    pub owner: u32,
    /// Its cgroup; `None`: it has none of its own. Written before it is made: see `own_cgroup`.
    pub cgroup: Option<crate::cgroup::Placement>,
    /// Directories of resctrl made for it.
    pub rdt: crate::rdt::Made,
    /// Whether the first process is pid 1 of a namespace of its own, so that all die with it.
    pub own_pid_namespace: bool,
    /// Whether lacking rights on cgroups were ignored.
    pub rootless: bool,
    /// Whether it was made by `run`: there is no fifo, and it runs as soon as it has a pid.
    pub inline_gate: bool,
    /// Whether the caller's session keyring was kept.
    pub no_new_keyring: bool,
    /// The unit of systemd that holds its cgroup; `None`: systemd does not know of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<crate::systemd::Unit>,
    /// Its root's mount in the mount namespace of its creator; absent: it has a mount namespace of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_mount: Option<crate::launch::RootMount>,
    /// The limits after an `update`; absent: those of the config.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<crate::spec::Resources>,
    /// The config's annotations.
    pub annotations: Map<String>,
    /// The poststart and poststop hooks of the config: those that later verbs run.
    #[serde(skip_serializing_if = "crate::spec::is_default")]
    pub hooks: crate::spec::Hooks,
    /// `config.json` as it was at create; what becomes of the file later does not matter.
    pub config: Box<RawValue>,
}

impl Record {
    /// The cgroup, if it is known to be this container's: then what is in it may be killed.
    ///
    /// A record that has a pid was written after the cgroup was found empty, or made, and limited. One without is
    /// an intent: its creator may have died before it looked, and what is in the cgroup may be anybody's. (A process of
    /// ours ends with a creator that dies before the pid is on record; see `gate` in the stage.) And a cgroup does
    /// not outlive the boot, so after it somebody else made the one of that name.
    pub(crate) fn own_cgroup(&self, boot_id: &str) -> Option<&crate::cgroup::Placement> {
        self.cgroup.as_ref().filter(|_| self.init_process_pid > 0 && self.boot_id == boot_id)
    }

    /// The cgroup of an intent: it may exist, and may be somebody else's.
    pub(crate) fn planned_cgroup(&self, boot_id: &str) -> Option<&crate::cgroup::Placement> {
        self.cgroup.as_ref().filter(|_| self.init_process_pid <= 0 && self.boot_id == boot_id)
    }
}

/// Reads the record in `dir`; `None`: there is none. Error BadState: it cannot be used.
pub(super) fn read(dir: BorrowedFd<'_>, id: &str) -> Result<Option<Record>> {
    read_text(dir)?.map(|text| parse(&text, id)).transpose()
}

/// The same by way of the directory above, without opening the container's own: `None` also without that.
pub(super) fn read_below(root: BorrowedFd<'_>, id: &str) -> Result<Option<Record>> {
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
    let how = OpenHow::new().flags(READ).resolve(resolve);
    let path = format!("{id}/{NAME}");
    let opened = loop {
        match openat2(root, path.as_str(), how) {
            // A rename somewhere on the host made the kernel unsure; and signals.
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            result => break result,
        }
    };
    match opened {
        Ok(fd) => Ok(Some(parse(&read_file(fd.into())?, id)?)),
        Err(Errno::ENOENT) => Ok(None),
        Err(Errno::ENOTDIR) => Err(bad(format!("{id:?} is not a directory"))),
        Err(Errno::ELOOP | Errno::EXDEV) => Err(bad(format!("there is a link in {path:?}"))),
        Err(Errno::ENXIO) => Err(bad("not a regular file".into())),
        Err(e) => Err(Error::io("read the container's record", format!("openat2({path:?})"), e)),
    }
}

fn parse(text: &[u8], id: &str) -> Result<Record> {
    let record: Record = serde_json::from_slice(text).map_err(|e| bad(format!("not a container's record: {e}")))?;
    match record.version {
        0 => return Err(bad("not a container's record: it has no version".into())),
        VERSION => {}
        newer => {
            let error = bad(format!("version {newer} is newer than this build, which knows {VERSION}"));
            return Err(error.with_hint("use the build that made it, or delete --force"));
        }
    }
    if record.id != id {
        return Err(bad(format!("the record of container {:?}, not of {id}", record.id)));
    }
    Ok(record)
}

/// What can be read of a record that [`read`] refuses, for a delete by force. What identifies a process comes
/// as a whole or not at all, and nothing comes out of another container's record.
pub(super) fn salvage(dir: BorrowedFd<'_>, id: &str) -> Record {
    fn member<T: serde::de::DeserializeOwned + Default>(tree: &serde_json::Value, name: &str) -> T {
        // By way of text: a second deserializer of each type costs more room than this costs time.
        tree.get(name).and_then(|value| serde_json::from_slice(value.to_string().as_bytes()).ok()).unwrap_or_default()
    }
    let text = read_text(dir).ok().flatten().unwrap_or_default();
    let tree: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    if member::<String>(&tree, "id") != id {
        return Record { id: id.to_owned(), ..Record::default() };
    }
    Record {
        id: id.to_owned(),
        boot_id: member(&tree, "boot_id"),
        init_process_pid: member(&tree, "init_process_pid"),
        init_process_start: member(&tree, "init_process_start"),
        cgroup: member(&tree, "cgroup"),
        rdt: member(&tree, "rdt"),
        own_pid_namespace: member(&tree, "own_pid_namespace"),
        bundle: member(&tree, "bundle"),
        root_mount: member(&tree, "root_mount"),
        annotations: member(&tree, "annotations"),
        hooks: member(&tree, "hooks"),
        ..Record::default()
    }
}

/// Whatever else stands in the record's place is an error, not a wait: O_NONBLOCK for a FIFO, O_NOFOLLOW for a link.
const READ: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);

/// The bytes of the file; `None`: there is none.
fn read_text(dir: BorrowedFd<'_>) -> Result<Option<Vec<u8>>> {
    match openat(dir, NAME, READ, Mode::empty()) {
        Ok(fd) => read_file(File::from(fd)).map(Some),
        Err(Errno::ENOENT) => Ok(None),
        Err(Errno::ELOOP | Errno::ENXIO) => Err(bad("not a regular file".into())),
        Err(e) => Err(Error::io("read the container's record", format!("openat({NAME:?})"), e)),
    }
}

/// All of an open record, up to a limit for what never ends.
fn read_file(mut file: File) -> Result<Vec<u8>> {
    let fail = |e: std::io::Error| Error::io("read the container's record", format!("read({NAME:?})"), e);
    let stat = fstat(&file).map_err(|e| fail(e.into()))?;
    if stat.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFREG.bits() {
        return Err(bad("not a regular file".into()));
    }
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    if size > MAX {
        return Err(bad(format!("{size} bytes are more than the {MAX} that are read")));
    }
    // The file is replaced as a whole and never grows, so one read of its size is all of it.
    let mut text = vec![0; size as usize];
    file.read_exact(&mut text).map_err(|e| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => bad("cut short while it was read".into()),
        _ => fail(e),
    })?;
    Ok(text)
}

/// Writes beside and renames over, so that a reader and a crash find the old record or the new one. `durable`: also a
/// crash of the host.
pub(super) fn write(dir: BorrowedFd<'_>, record: &Record, durable: bool) -> Result<()> {
    let text = serde_json::to_vec(record).map_err(|e| bad(format!("cannot be written: {e}")))?;
    write_text(dir, &text, durable).inspect_err(|_| {
        // Of no use to anyone; a full file system is glad of the room.
        let _ = unlinkat(dir, TEMPORARY, UnlinkatFlags::NoRemoveDir);
    })
}

fn write_text(dir: BorrowedFd<'_>, text: &[u8], durable: bool) -> Result<()> {
    let fail = |call: String| move |e: std::io::Error| Error::io("write the container's record", call, e);
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let fd = openat(dir, TEMPORARY, flags, Mode::from_bits_truncate(0o600))
        .map_err(|e| fail(format!("openat({TEMPORARY:?}, O_CREAT, 0600)"))(e.into()))?;
    let mut file = File::from(fd);
    file.write_all(text).map_err(fail(format!("write({TEMPORARY:?}, {} bytes)", text.len())))?;
    if durable {
        file.sync_data().map_err(fail(format!("fdatasync({TEMPORARY:?})")))?;
    }
    renameat(dir, TEMPORARY, dir, NAME).map_err(|e| fail(format!("renameat({TEMPORARY:?}, {NAME:?})"))(e.into()))?;
    if durable {
        // Without it the rename itself may be lost with the power.
        let dir = dir.try_clone_to_owned().map_err(fail("dup".into()))?;
        File::from(dir).sync_all().map_err(fail("fsync(directory)".into()))?;
    }
    Ok(())
}

/// tmpfs and ramfs: nothing of them survives the host's end, so there is nothing to force to a disk.
pub(super) fn is_memory(dir: BorrowedFd<'_>) -> bool {
    fstatfs(dir).is_ok_and(|fs| [TMPFS_MAGIC, RAMFS_MAGIC].contains(&fs.filesystem_type()))
}

fn bad(why: String) -> Error {
    Error::new(ErrorKind::BadState, format!("{NAME}: {why}"))
}
