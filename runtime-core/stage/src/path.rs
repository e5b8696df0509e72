//! Paths inside the container's root: resolved by openat2(2) with the root as "/", never by name.
//!
//! A container may change its filesystem while we look (CVE-2021-30465 and its kin). So a path is turned into
//! a descriptor once, everything after works on that descriptor, and missing components are made one by one
//! below descriptors.

use crate::fail::{Fail, Refusal, Result};
use crate::sys::{self, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, errno};
use crate::sys::{RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS};
use crate::wire::Z;

/// PATH_MAX.
pub const MOST: usize = 4096;

/// Links that lead nowhere are followed by hand this often.
const MOST_LINKS: u32 = 40;

/// What to make where nothing is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// A directory, mode 0755.
    Directory,
    /// An empty file, mode 0755 for the directories and 0644 for itself.
    File,
}

/// Opens (O_PATH) what `path` names inside `root`. "" and "/" are the root itself.
pub fn open(root: i32, path: Z<'_>, flags: i32) -> Result<i32> {
    let path = if path.is_empty() { Z::new(b".\0") } else { path };
    sys::openat2(root, path, O_PATH | flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
}

/// A directory in which something was made or will be, as `/dev`. What lies in it shares its look-up, until something
/// is mounted over it.
pub struct Folder<'a> {
    fd: i32,
    of: &'a [u8],
}

impl<'a> Folder<'a> {
    /// None yet.
    pub const fn new() -> Self {
        Self { fd: -1, of: &[] }
    }

    /// Its descriptor, with the last component of `path`; `None`: `path` is not in it.
    pub fn holds(&self, path: Z<'_>, name: &mut Name) -> Result<Option<i32>> {
        let (above, last) = split_last(path.bytes());
        if self.fd < 0 || above != self.of || !is_name(last) {
            return Ok(None);
        }
        name.set(last).map(|()| Some(self.fd))
    }

    /// Takes the directory of `path`, open as `fd`.
    pub fn keep(&mut self, path: Z<'a>, fd: i32) {
        self.leave();
        *self = Self { fd, of: split_last(path.bytes()).0 };
    }

    /// Takes a filesystem that was just mounted at `path`: whatever has its place there is yet to be made.
    pub fn keep_mount(&mut self, path: Z<'a>, fd: i32) {
        if self.fd >= 0 && split_last(path.bytes()).0 == self.of {
            // Its neighbours are more.
            sys::close(fd);
            return;
        }
        self.leave();
        *self = Self { fd, of: path.bytes() };
    }

    /// Something is about to be mounted at `path`: the directory is let go if it will be covered.
    pub fn make_way(&mut self, path: Z<'_>) {
        if let Some(rest) = self.of.strip_prefix(path.bytes())
            && (rest.is_empty() || rest.starts_with(b"/") || path.is_empty())
        {
            self.leave();
        }
    }

    /// Closes it.
    pub fn leave(&mut self) {
        if self.fd >= 0 {
            sys::close(self.fd);
            self.fd = -1;
        }
    }
}

impl Default for Folder<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// A directory that something goes on.
pub struct Place {
    /// It, or what it is in.
    pub fd: i32,
    /// Its name in there, if it was just made: nothing else can be called so. Else empty.
    pub name: Name,
    /// It was there.
    pub existed: bool,
}

impl Place {
    /// An open object.
    pub const fn of((fd, existed): (i32, bool)) -> Self {
        Self { fd, name: Name::new(), existed }
    }
}

/// The directory that `path`, in which nothing is a link, names, made if it is missing, with every one above it. What
/// is last may be in `folder`, or comes to be. ELOOP: there is a link on the way.
pub fn make_plain<'a>(folder: &mut Folder<'a>, root: i32, path: Z<'a>) -> Result<Place> {
    if folder.holds(path, &mut Name::new())?.is_none()
        && let Some(fd) = find_plain(root, path, O_DIRECTORY)?
    {
        return Ok(Place::of((fd, true)));
    }
    make_plain_missing(folder, root, path)
}

/// The same of what is known to be missing, unless it is in `folder`.
pub fn make_plain_missing<'a>(folder: &mut Folder<'a>, root: i32, path: Z<'a>) -> Result<Place> {
    let mut name = Name::new();
    if let Some(parent) = folder.holds(path, &mut name)? {
        return make_directory_in(parent, name);
    }
    let (above, last) = split_last(path.bytes());
    if !above.is_empty() && is_name(last) {
        let mut buffer = Buffer::new();
        buffer.push(above)?;
        if let Some(parent) = find_plain(root, buffer.z(), O_DIRECTORY)? {
            folder.keep(path, parent);
            name.set(last)?;
            return make_directory_in(parent, name);
        }
    }
    walk_plain(root, path, Make::Directory).map(|fd| Place::of((fd, false)))
}

/// The directory `name`, which is no link.
fn make_directory_in(parent: i32, name: Name) -> Result<Place> {
    match sys::mkdirat(parent, name.z(), 0o755) {
        Err(fail) if fail.is(errno::EEXIST) => {
            let resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
            sys::openat2(parent, name.z(), O_PATH | O_DIRECTORY, 0, resolve).map(|fd| Place::of((fd, true)))
        }
        result => result.map(|()| Place { fd: parent, name, existed: false }),
    }
}

/// What `path`, in which nothing is a link, names, if it is there. ELOOP: there is a link on the way.
pub fn find_plain(root: i32, path: Z<'_>, shape: i32) -> Result<Option<i32>> {
    match sys::openat2(root, path, O_PATH | shape, 0, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS) {
        Err(fail) if fail.is(errno::ENOENT) => Ok(None),
        result => result.map(Some),
    }
}

/// Goes down component by component, making what is missing.
pub fn walk_plain(root: i32, path: Z<'_>, make: Make) -> Result<i32> {
    let mut buffer = Buffer::new();
    buffer.push(path.bytes())?;
    let (mut at, mut done) = (root, 0);
    while let Some((start, end)) = buffer.component(done) {
        let mut name = Name::new();
        name.set(buffer.slice(start, end))?;
        let last = buffer.component(end).is_none();
        let next = step_plain(at, &name, if last { make } else { Make::Directory });
        if at != root {
            sys::close(at);
        }
        at = next?;
        done = end;
    }
    Ok(at)
}

fn step_plain(at: i32, name: &Name, make: Make) -> Result<i32> {
    let resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
    match sys::openat2(at, name.z(), O_PATH, 0, resolve) {
        Err(fail) if fail.is(errno::ENOENT) => {}
        result => return result,
    }
    create(at, name, make)?;
    sys::openat2(at, name.z(), O_PATH, 0, resolve)
}

/// Opens `name`, which may be a link, making it if it is not there; and whether it was.
pub fn make_itself(parent: i32, name: &Name, make: Make) -> Result<(i32, bool)> {
    let open = || sys::openat(parent, name.z(), O_PATH | O_NOFOLLOW, 0);
    match open() {
        Err(fail) if fail.is(errno::ENOENT) => {}
        result => return result.map(|fd| (fd, true)),
    }
    create(parent, name, make)?;
    open().map(|fd| (fd, false))
}

/// Makes `name` unless somebody was faster.
fn create(at: i32, name: &Name, make: Make) -> Result<()> {
    match make_in(at, name, make) {
        Err(fail) if !fail.is(errno::EEXIST) => Err(fail),
        _ => Ok(()),
    }
}

/// Opens what `path` names, making it and every missing directory above it.
pub fn make(root: i32, path: Z<'_>, make: Make) -> Result<i32> {
    match open(root, path, 0) {
        Err(fail) if fail.is(errno::ENOENT) => {}
        result => return result,
    }
    make_missing(root, path, make)
}

/// As [`make`], for what is known to be missing.
pub fn make_missing(root: i32, path: Z<'_>, make: Make) -> Result<i32> {
    if let Ok(fd) = make_last(root, path, make) {
        return Ok(fd);
    }
    let mut buffer = Buffer::new();
    buffer.push(path.bytes())?;
    walk(root, &mut buffer, make)
}

/// The common case: only the last component is missing, and it is not a link.
fn make_last(root: i32, path: Z<'_>, make: Make) -> Result<i32> {
    let (above, last) = split_last(trim(path.bytes()));
    let mut name = Name::new();
    name.set(last)?;
    let mut buffer = Buffer::new();
    buffer.push(above)?;
    let parent = open(root, buffer.z(), O_DIRECTORY)?;
    let made = make_in(parent, &name, make)
        .and_then(|()| sys::openat2(parent, name.z(), O_PATH, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS));
    sys::close(parent);
    made
}

fn make_in(parent: i32, name: &Name, make: Make) -> Result<()> {
    match make {
        Make::Directory => sys::mkdirat(parent, name.z(), 0o755),
        Make::File => sys::openat(parent, name.z(), O_CREAT | O_EXCL | O_NOFOLLOW, 0o644).map(sys::close),
    }
}

/// Opens the directory that holds the last component of `path`, making it if need be; with that component.
pub fn parent<'a>(root: i32, path: &Z<'a>, name: &mut Name) -> Result<i32> {
    let bytes = trim(path.bytes());
    let (above, last) = split_last(bytes);
    name.set(last)?;
    let mut buffer = Buffer::new();
    buffer.push(above)?;
    make_directory(root, &mut buffer)
}

fn make_directory(root: i32, buffer: &mut Buffer) -> Result<i32> {
    match open(root, buffer.z(), O_DIRECTORY) {
        Err(fail) if fail.is(errno::ENOENT) => walk(root, buffer, Make::Directory),
        result => result,
    }
}

/// Goes down component by component, making what is missing.
fn walk(root: i32, path: &mut Buffer, make: Make) -> Result<i32> {
    let mut links = 0;
    'again: loop {
        let mut at = sys::openat2(root, Z::new(b".\0"), O_PATH | O_DIRECTORY, 0, RESOLVE_BENEATH)?;
        let mut done = 0;
        while let Some((start, end)) = path.component(done) {
            let mut name = Name::new();
            name.set(path.slice(start, end))?;
            let last = path.component(end).is_none();
            // ".." may climb only inside the root: the whole prefix is resolved anew instead.
            let next = if name.z().bytes() == b".." {
                open(root, path.prefix(end).z(), O_DIRECTORY).map(Some)
            } else {
                step(root, at, path, end, &name, if last { make } else { Make::Directory })
            };
            let replaced = match next {
                Ok(Some(fd)) => {
                    sys::close(at);
                    at = fd;
                    done = end;
                    continue;
                }
                Ok(None) if links < MOST_LINKS => path.replace_link(at, &name, start, end),
                Ok(None) => Err(Fail::refuse(Refusal::TooManyLinks)),
                Err(fail) => Err(fail),
            };
            sys::close(at);
            replaced?;
            links += 1;
            continue 'again;
        }
        return Ok(at);
    }
}

/// One component: what is there (links inside the root followed), else what we make. `None`: a link that
/// leads nowhere, which the caller follows by hand.
fn step(root: i32, at: i32, path: &Buffer, end: usize, name: &Name, make: Make) -> Result<Option<i32>> {
    match open(root, path.prefix(end).z(), 0) {
        Err(fail) if fail.is(errno::ENOENT) => {}
        result => return result.map(Some),
    }
    create(at, name, make)?;
    match sys::openat2(at, name.z(), O_PATH, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS) {
        Err(fail) if fail.is(errno::ELOOP) => Ok(None),
        result => result.map(Some),
    }
}

/// Whether a last component can be made.
fn is_name(last: &[u8]) -> bool {
    !matches!(last, b"" | b"." | b"..")
}

fn trim(bytes: &[u8]) -> &[u8] {
    let mut bytes = bytes;
    while let Some((b'/', rest)) = bytes.split_last() {
        bytes = rest;
    }
    bytes
}

fn split_last(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (bytes.get(..slash).unwrap_or_default(), bytes.get(slash + 1..).unwrap_or_default()),
        None => (&[], bytes),
    }
}

/// One path component, NUL-terminated.
pub struct Name {
    bytes: [u8; 256],
    length: usize,
}

impl Name {
    /// Empty.
    pub const fn new() -> Self {
        Self { bytes: [0; 256], length: 0 }
    }

    fn set(&mut self, name: &[u8]) -> Result<()> {
        const ENAMETOOLONG: u32 = 36;
        let Some(room) = self.bytes.get_mut(..name.len()).filter(|_| name.len() < 256) else {
            return Err(Fail { call: crate::arch::SYS_MKDIRAT as u32, errno: ENAMETOOLONG, detail: 0 });
        };
        room.copy_from_slice(name);
        if let Some(end) = self.bytes.get_mut(name.len()) {
            *end = 0;
        }
        self.length = name.len();
        Ok(())
    }

    /// As a C string.
    pub fn z(&self) -> Z<'_> {
        Z::new(self.bytes.get(..=self.length).unwrap_or(b"\0"))
    }
}

impl Default for Name {
    fn default() -> Self {
        Self::new()
    }
}

/// A path being worked on.
pub struct Buffer {
    bytes: [u8; MOST],
    length: usize,
}

impl Buffer {
    /// Empty.
    #[allow(clippy::large_stack_arrays)]
    pub const fn new() -> Self {
        Self { bytes: [0; MOST], length: 0 }
    }

    /// Appends bytes.
    pub fn push(&mut self, more: &[u8]) -> Result<()> {
        const ENAMETOOLONG: u32 = 36;
        let end = self.length + more.len();
        match self.bytes.get_mut(self.length..end) {
            Some(room) if end < MOST => {
                room.copy_from_slice(more);
                self.length = end;
                if let Some(byte) = self.bytes.get_mut(end) {
                    *byte = 0;
                }
                Ok(())
            }
            _ => Err(Fail { call: crate::arch::SYS_READLINKAT as u32, errno: ENAMETOOLONG, detail: 0 }),
        }
    }

    /// As a C string.
    pub fn z(&self) -> Z<'_> {
        Z::new(self.bytes.get(..=self.length).unwrap_or(b"\0"))
    }

    fn slice(&self, start: usize, end: usize) -> &[u8] {
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// The next component at or after `from`: where it starts and ends.
    fn component(&self, from: usize) -> Option<(usize, usize)> {
        let mut start = from;
        while start < self.length && self.bytes.get(start) == Some(&b'/') {
            start += 1;
        }
        let mut end = start;
        while end < self.length && self.bytes.get(end) != Some(&b'/') {
            end += 1;
        }
        (end > start).then_some((start, end))
    }

    /// A copy of the first `end` bytes.
    fn prefix(&self, end: usize) -> Self {
        let mut copy = Self::new();
        let _ = copy.push(self.slice(0, end));
        copy
    }

    /// Puts what the link `name` in `at` says in place of the component that ends at `end`.
    fn replace_link(&mut self, at: i32, name: &Name, start: usize, end: usize) -> Result<()> {
        let mut said = [0; MOST];
        let length = sys::readlinkat(at, name.z(), &mut said)?;
        let said = said.get(..length).unwrap_or_default();
        let mut path = Self::new();
        if !said.starts_with(b"/") {
            path.push(self.slice(0, start))?;
        }
        path.push(said)?;
        path.push(self.slice(end, self.length))?;
        *self = path;
        Ok(())
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self::new()
    }
}
