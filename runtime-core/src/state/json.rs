//! `state.json`: the record of one container, and how it gets to disk and back.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, renameat};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{Brief, GLANCE};
use crate::spec::Map;
use crate::sys::fd::{patiently, rename_new};
use crate::{Error, ErrorKind, Result};

/// The record's file.
pub(super) const NAME: &str = "state.json";
/// The record while it is written; the lock keeps others from it.
pub(super) const TEMPORARY: &str = "state.json.tmp";
/// Bytes of the largest record that is written and read: a config of the largest size twice (its annotations and hooks
/// stand beside it) and more, far below what would exhaust memory.
const MAX: u64 = 48 << 20;
/// How the file begins: where the config does, in ten digits' room. The config is by far the longest part, comes
/// last, and few verbs want it, so the others leave it unread.
const CONFIG_AT: &str = "{\"config_at\":";
const DIGITS: usize = 10;
/// What stands before the config.
const CONFIG: &str = "\"config\":";

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
    /// Inode number of its pidfds, which names it for as long as the host is up, where the kernel knows that (6.9);
    /// 0: not known.
    pub init_process_inode: u64,
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
    /// The config has no hook of any kind: none can be under way.
    #[serde(skip_serializing_if = "crate::spec::is_default")]
    pub no_hooks: bool,
    /// The poststart and poststop hooks of the config: those that later verbs run.
    #[serde(skip_serializing_if = "crate::spec::is_default")]
    pub hooks: crate::spec::Hooks,
    /// `config.json` as it was at create; what becomes of the file later does not matter.
    #[serde(skip)]
    pub config: Vec<u8>,
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
    read_text(dir)?.map(|text| parse(text, id)).transpose()
}

/// The same by way of the directory above, without opening the container's own: `None` also without that.
pub(super) fn read_below(root: BorrowedFd<'_>, id: &str) -> Result<Option<Record>> {
    let path = [id, "/", NAME].concat();
    match open_below(root, &path) {
        Ok(fd) => Ok(Some(parse(read_file(fd.into())?, id)?)),
        Err(Errno::ENOENT) => Ok(None),
        Err(Errno::ENOTDIR) => Err(bad(format!("{id:?} is not a directory"))),
        Err(Errno::ELOOP | Errno::EXDEV) => Err(bad(format!("there is a link in {path:?}"))),
        Err(Errno::ENXIO) => Err(bad("not a regular file".into())),
        Err(e) => Err(Error::io("read the container's record", format!("openat2({path:?})"), e)),
    }
}

fn open_below(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
    let how = OpenHow::new().flags(READ).resolve(resolve);
    patiently(|| openat2(root, path, how))
}

/// What tells the state, read into `buffer` at one go. `None`: anything is not as it should be, or does not fit, and
/// [`read_below`] has to look.
pub(super) fn glance_below<'a>(root: BorrowedFd<'_>, id: &str, buffer: &'a mut [u8]) -> Option<Brief<'a>> {
    let fd = open_below(root, &[id, "/", NAME].concat()).ok()?;
    let length = nix::unistd::read(&fd, buffer).ok()?;
    let at = config_at(buffer.get(..length)?)?;
    let text = buffer.get_mut(..at)?;
    // In place of the comma.
    *text.last_mut()? = b'}';
    Brief::parse(text, id)
}

fn parse(mut text: Vec<u8>, id: &str) -> Result<Record> {
    let mut config = Vec::new();
    if let Some(at) = config_at(&text).filter(|_| text.ends_with(b"}")) {
        config = text.split_off(at + CONFIG.len());
        // The brace that ends the record.
        config.pop();
        // In place of the comma; what is left is a record without a config.
        text.truncate(at - 1);
        text.push(b'}');
    }
    let mut record: Record =
        serde_json::from_slice(&text).map_err(|e| bad(format!("not a container's record: {e}")))?;
    record.config = config;
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

/// Where the config's member begins.
fn config_at(text: &[u8]) -> Option<usize> {
    let digits = text.strip_prefix(CONFIG_AT.as_bytes())?.get(..DIGITS)?;
    let at = std::str::from_utf8(digits).ok()?.trim_start().parse().ok().filter(|at| *at > 0)?;
    text.get(at..)?.starts_with(CONFIG.as_bytes()).then_some(at)
}

/// The file's text: where the config begins, the record, the config as it stands.
fn compose(record: &Record) -> Result<Vec<u8>> {
    let head = CONFIG_AT.len() + DIGITS;
    let mut text = vec![b' '; head];
    serde_json::to_writer(&mut text, record).map_err(|e| bad(format!("cannot be written: {e}")))?;
    text[head] = b',';
    if let Some(end) = text.last_mut() {
        *end = b',';
    }
    let begin = format!("{CONFIG_AT}{:DIGITS$}", text.len());
    text[..head].copy_from_slice(begin.as_bytes());
    text.extend_from_slice(CONFIG.as_bytes());
    text.extend_from_slice(if record.config.is_empty() { b"null" } else { &record.config });
    text.push(b'}');
    Ok(text)
}

/// What can be read of a record that [`read`] refuses, for a delete by force. What identifies a process comes
/// as a whole or not at all, and nothing comes out of another container's record.
pub(super) fn salvage(dir: BorrowedFd<'_>, id: &str) -> Record {
    fn member<T: serde::de::DeserializeOwned + Default>(tree: &serde_json::Value, name: &str) -> T {
        // By way of text: a second deserializer of each type costs more room than this costs time.
        tree.get(name).and_then(|value| serde_json::from_slice(value.to_string().as_bytes()).ok()).unwrap_or_default()
    }
    let text = read_text(dir).ok().flatten().unwrap_or_default();
    let tree = beginning(&text);
    if member::<String>(&tree, "id") != id {
        return Record { id: id.to_owned(), ..Record::default() };
    }
    Record {
        id: id.to_owned(),
        boot_id: member(&tree, "boot_id"),
        init_process_pid: member(&tree, "init_process_pid"),
        init_process_start: member(&tree, "init_process_start"),
        init_process_inode: member(&tree, "init_process_inode"),
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

/// The members of an object up to where it breaks off: the config, which is most of the text, comes last.
fn beginning(text: &[u8]) -> serde_json::Value {
    use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};

    struct Members<'a>(&'a mut serde_json::Map<String, serde_json::Value>);

    impl<'de> Visitor<'de> for Members<'_> {
        type Value = ();

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some(name) = map.next_key::<String>()? {
                if name == "config" {
                    map.next_value::<IgnoredAny>()?;
                } else {
                    self.0.insert(name, map.next_value()?);
                }
            }
            Ok(())
        }
    }

    let mut members = serde_json::Map::new();
    let _ = serde_json::Deserializer::from_slice(text).deserialize_map(Members(&mut members));
    serde_json::Value::Object(members)
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
    // As a rule it fits, and one read is all of it. What has no end, or is no record at all, gets a closer look.
    let mut text = vec![0; GLANCE];
    let length = file.read(&mut text).unwrap_or(0);
    if length < GLANCE && text.get(..length).is_some_and(|text| text.ends_with(b"}")) {
        text.truncate(length);
        return Ok(text);
    }
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
    file.rewind().map_err(fail)?;
    text.resize(size as usize, 0);
    file.read_exact(&mut text).map_err(|e| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => bad("cut short while it was read".into()),
        _ => fail(e),
    })?;
    Ok(text)
}

/// Writes beside and renames over, so that a reader, also after a crash of ours, finds the old record or the new one.
/// Nothing is forced to a disk: what the record tells of does not outlive the host, and waiting for a disk four times
/// was most of the time of a create (docs/architecture.md).
pub(super) fn write(dir: BorrowedFd<'_>, record: &Record) -> Result<()> {
    put(dir, record, || renameat(dir, TEMPORARY, dir, NAME))
}

/// The same, unless there is a record: false.
pub(super) fn write_first(dir: BorrowedFd<'_>, record: &Record) -> Result<bool> {
    let rename = || match rename_new(dir, TEMPORARY, NAME) {
        // The file system cannot; the lock keeps others from coming in between.
        Err(Errno::EINVAL | Errno::ENOSYS) => match fstatat(dir, NAME, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(_) => Err(Errno::EEXIST),
            Err(Errno::ENOENT) => renameat(dir, TEMPORARY, dir, NAME),
            Err(errno) => Err(errno),
        },
        result => result,
    };
    match put(dir, record, rename) {
        Err(error) if error.errno() == Some(libc::EEXIST) => Ok(false),
        result => result.map(|()| true),
    }
}

fn put(dir: BorrowedFd<'_>, record: &Record, rename: impl FnOnce() -> nix::Result<()>) -> Result<()> {
    let text = compose(record)?;
    if text.len() as u64 > MAX {
        return Err(bad(format!("{} bytes are more than the {MAX} that could be read again", text.len())));
    }
    write_text(dir, &text, rename).inspect_err(|_| {
        // Of no use to anyone; a full file system is glad of the room.
        let _ = unlinkat(dir, TEMPORARY, UnlinkatFlags::NoRemoveDir);
    })
}

fn write_text(dir: BorrowedFd<'_>, text: &[u8], rename: impl FnOnce() -> nix::Result<()>) -> Result<()> {
    let fail = |call: String| move |e: std::io::Error| Error::io("write the container's record", call, e);
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let fd = openat(dir, TEMPORARY, flags, Mode::from_bits_truncate(0o600))
        .map_err(|e| fail(format!("openat({TEMPORARY:?}, O_CREAT, 0600)"))(e.into()))?;
    File::from(fd).write_all(text).map_err(fail(format!("write({TEMPORARY:?}, {} bytes)", text.len())))?;
    rename().map_err(|e| fail(format!("renameat({TEMPORARY:?}, {NAME:?})"))(e.into()))
}

fn bad(why: String) -> Error {
    Error::new(ErrorKind::BadState, format!("{NAME}: {why}"))
}
