//! The program: its directory, its environment, where it is, and becoming it.

use crate::fail::{Fail, Refusal, Result, Step};
use crate::io::Io;
use crate::mount::Late;
use crate::path::{self, Make};
use crate::sys::{self, AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_NOCTTY, O_NONBLOCK, O_PATH, Stat, errno, word};
use crate::wire::{List, NO_SLOT, Plan, Text, Z, flag};

/// Puts the standard streams in place and keeps them there.
pub fn streams(plan: &Plan<'_>, io: &Io) -> Result<()> {
    let header = &plan.header;
    for (fd, slot) in [header.stdin, header.stdout, header.stderr].into_iter().enumerate() {
        if slot != NO_SLOT {
            sys::dup3(io.slot(slot)?, fd as i32, 0)?;
        }
    }
    Ok(())
}

/// Makes the working directory where it will be too late soon: what it lies in becomes read-only.
pub fn make_directory_in_time(plan: &Plan<'_>, io: &Io, root: i32, late: &Late) -> Result<()> {
    let cwd = plan.text(plan.header.cwd)?;
    let sealed = plan.header.flags & flag::READONLY_ROOT != 0 || late.is_any();
    if !sealed || cwd.bytes() == b"/" {
        return Ok(());
    }
    io.enter(Step::WorkingDirectory, 0);
    match path::make(root, Z::new(cwd_below_root(cwd)), Make::Directory) {
        // Only the user may look there, and he will.
        Err(fail) if fail.is(errno::EACCES) || fail.is(errno::EPERM) => Ok(()),
        result => result.map(sys::close),
    }
}

/// Makes the working directory if it is missing (but not for exec) and goes there, as root of the container.
///
/// True if the runtime's root may not enter it; then the user tries again, [`enter_directory`].
pub fn make_directory(plan: &Plan<'_>, io: &Io, root: i32) -> Result<bool> {
    io.enter(Step::WorkingDirectory, 0);
    let cwd = plan.text(plan.header.cwd)?;
    if cwd.bytes() != b"/" {
        match go_to(cwd) {
            Ok(()) => {}
            Err(fail) if fail.is(errno::ENOENT) && plan.header.flags & flag::EXEC == 0 => {
                let relative = Z::new(cwd_below_root(cwd));
                sys::close(path::make(root, relative, Make::Directory)?);
                go_to(cwd)?;
            }
            Err(fail) if fail.is(errno::EACCES) || fail.is(errno::EPERM) => return Ok(true),
            Err(fail) => return Err(fail),
        }
    }
    // The "/" that was just entered needs no proof.
    if cwd.bytes() == b"/" && plan.header.flags & flag::EXEC == 0 {
        return Ok(false);
    }
    // Here, and not when all is done: a filter that forbids getcwd to the program is none of our business.
    prove_directory(io).map(|()| false)
}

/// Goes to a directory, though through no link of procfs: those lead to what our descriptors are, of which some lie below a
/// mask or a read-only mount, and inside the root all the same.
fn go_to(directory: Z<'_>) -> Result<()> {
    let directory = sys::openat2(AT_FDCWD, directory, O_PATH | O_DIRECTORY, 0, sys::RESOLVE_NO_MAGICLINKS)?;
    let gone = sys::fchdir(directory);
    sys::close(directory);
    gone
}

fn cwd_below_root(cwd: Z<'_>) -> &[u8] {
    let mut bytes = cwd.with_nul();
    while let Some((b'/', rest)) = bytes.split_first() {
        bytes = rest;
    }
    bytes
}

/// The second try, with the user's ids. A filter may be in force by now, so it is the plain call; no descriptor of ours is
/// left that leads to a directory.
pub fn enter_directory(plan: &Plan<'_>, io: &Io, again: bool) -> Result<()> {
    if !again {
        return Ok(());
    }
    io.enter(Step::WorkingDirectory, 1);
    sys::chdir(plan.text(plan.header.cwd)?)?;
    prove_directory(io)
}

/// The proof that we are inside the root: the kernel's getcwd gives no absolute path for a directory outside it
/// (CVE-2024-21626).
fn prove_directory(io: &Io) -> Result<()> {
    io.enter(Step::WorkingDirectory, 1);
    let mut buffer = [0; path::MOST];
    match sys::getcwd(&mut buffer) {
        Ok(_) if buffer.starts_with(b"/") => Ok(()),
        Ok(_) => Err(Fail::refuse(Refusal::Breakout)),
        Err(fail) if fail.is(errno::ENOENT) => Err(Fail::refuse(Refusal::Breakout)),
        // A path longer than the buffer starts somewhere; only its length is wrong.
        Err(fail) if fail.is(errno::ERANGE) => Ok(()),
        Err(fail) => Err(fail),
    }
}

/// Bytes of the largest /etc/passwd that is read.
const MOST_PASSWD: u64 = 1 << 20;

/// `HOME=` and the user's directory, NUL-terminated.
pub struct Home {
    bytes: [u8; 512],
    length: usize,
}

impl Home {
    /// "/" until /etc/passwd says otherwise.
    pub fn new() -> Self {
        let mut home = Self { bytes: [0; 512], length: 0 };
        home.set(b"/");
        home
    }

    fn set(&mut self, directory: &[u8]) {
        const PREFIX: &[u8] = b"HOME=";
        let end = PREFIX.len() + directory.len();
        if let Some(room) = self.bytes.get_mut(PREFIX.len()..end).filter(|_| end < 511) {
            room.copy_from_slice(directory);
            self.length = end;
        }
        if let Some(room) = self.bytes.get_mut(..PREFIX.len()) {
            room.copy_from_slice(PREFIX);
        }
        if let Some(last) = self.bytes.get_mut(self.length) {
            *last = 0;
        }
    }

    fn z(&self) -> Z<'_> {
        Z::new(self.bytes.get(..=self.length).unwrap_or(b"\0"))
    }

    /// Looks the user up in the container's /etc/passwd: an ordinary file of sane size, or there is none.
    pub fn look_up(&mut self, plan: &Plan<'_>, io: &Io, root: i32) {
        if plan.header.flags & flag::HOME == 0 {
            return;
        }
        io.enter(Step::Home, 0);
        let resolve = sys::RESOLVE_IN_ROOT | sys::RESOLVE_NO_MAGICLINKS;
        let Ok(fd) = sys::openat2(root, Z::new(b"etc/passwd\0"), O_NONBLOCK | O_NOCTTY, 0, resolve) else { return };
        if sys::stat(fd, Z::EMPTY).is_ok_and(|file| file.is(Stat::REGULAR) && file.size <= MOST_PASSWD) {
            self.read(fd, plan.header.uid);
        }
        sys::close(fd);
    }

    fn read(&mut self, fd: i32, uid: u32) {
        let mut chunk = [0; 4096];
        let mut line = Line::new();
        // As often as a file of sane size needs: one may grow, or be of a file system that says anything.
        for _ in 0..=MOST_PASSWD / chunk.len() as u64 {
            let Ok(length @ 1..) = sys::read(fd, &mut chunk) else { break };
            for byte in chunk.iter().take(length) {
                if *byte != b'\n' {
                    line.push(*byte);
                } else if self.take(&mut line, uid) {
                    return;
                }
            }
        }
        self.take(&mut line, uid);
    }

    /// True if the line was the user's.
    fn take(&mut self, line: &mut Line, uid: u32) -> bool {
        let found = line.home_of(uid).map(|directory| self.set(if directory.is_empty() { b"/" } else { directory }));
        line.length = 0;
        found.is_some()
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

/// One line of passwd(5); what does not fit is not a user of ours.
struct Line {
    bytes: [u8; 1024],
    length: usize,
}

impl Line {
    fn new() -> Self {
        Self { bytes: [0; 1024], length: 0 }
    }

    fn push(&mut self, byte: u8) {
        if let Some(room) = self.bytes.get_mut(self.length) {
            *room = byte;
        }
        self.length += 1;
    }

    /// The sixth field if the third is `uid`.
    fn home_of(&self, uid: u32) -> Option<&[u8]> {
        let mut fields = self.bytes.get(..self.length)?.split(|byte| *byte == b':');
        let id = fields.nth(2)?;
        let mut number: u32 = 0;
        if id.is_empty() {
            return None;
        }
        for digit in id {
            let digit = digit.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            number = number.checked_mul(10)?.checked_add(u32::from(digit))?;
        }
        if number == uid { fields.nth(2) } else { None }
    }
}

/// Finds the program: the first candidate that is a file this user may execute, as execvp(3) would.
pub fn look_up<'a>(plan: &Plan<'a>, io: &Io) -> Result<Z<'a>> {
    // Without a PATH there is no candidate, and the failure is this step's all the same.
    io.enter(Step::Lookup, 0);
    let mut worst = Fail::refuse(Refusal::NotInPath);
    for (index, candidate) in plan.items(plan.header.candidates) {
        io.enter(Step::Lookup, index);
        let candidate = plan.text(candidate?)?;
        match executable(candidate) {
            Ok(()) => return Ok(candidate),
            Err(fail) if plan.header.flags & flag::SEARCH_PATH == 0 => return Err(fail),
            Err(fail) if fail.is(errno::EACCES) => worst = fail.detail(index),
            Err(_) => {}
        }
    }
    Err(worst)
}

fn executable(path: Z<'_>) -> Result<()> {
    let allowed = match sys::may_execute(path) {
        // The same question by the call that older filters know; our real and effective ids are equal.
        Err(fail) if fail.is_forbidden() => sys::may_really_execute(path),
        result => result,
    };
    match allowed {
        Err(fail) if !fail.is_forbidden() => return Err(fail),
        _ => {}
    }
    match sys::openat(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0) {
        Ok(directory) => {
            sys::close_now(directory);
            Err(Fail { call: crate::arch::SYS_EXECVE as u32, errno: errno::EISDIR, detail: 0 })
        }
        // Whoever forbids all questions gets the answer from execve.
        Err(fail) if fail.is(errno::ENOTDIR) || fail.is_forbidden() => Ok(()),
        Err(fail) => Err(fail),
    }
}

/// Closes every descriptor but the standard streams, the preserved ones and those still needed until execve,
/// which are sockets and fifos that close themselves there and lead nowhere.
pub fn close_fds(plan: &Plan<'_>, io: &Io) -> Result<()> {
    io.enter(Step::CloseDescriptors, 0);
    let header = &plan.header;
    const F_SETFD: i32 = 2;
    const FD_CLOEXEC: u32 = 1;
    let mut first = 3;
    for (_, slot) in plan.items(header.preserved) {
        // Either each of them is in its place, or all are above the last place (`launch::extra`): none is
        // overwritten before it is used.
        match io.slot(slot?)? {
            fd if fd == first => drop(sys::fcntl(fd, F_SETFD, 0)?),
            fd => sys::dup3(fd, first, 0)?,
        }
        first += 1;
    }
    // In the order of their numbers, so that each moves down to a place that none of the others has.
    let mut keep = [(io.socket(), word::SOCKET), (-1, 0), (-1, 0)];
    for (room, slot) in keep.iter_mut().skip(1).zip([header.gate, header.status]) {
        if slot != NO_SLOT {
            *room = (io.slot(slot)?, word::SLOTS + 4 * slot as usize);
        }
    }
    keep.sort_unstable();
    for (fd, word) in keep.into_iter().filter(|(fd, _)| *fd >= 0) {
        if fd == first {
            sys::fcntl(fd, F_SETFD, FD_CLOEXEC)?;
        } else {
            sys::dup3(fd, first, O_CLOEXEC)?;
        }
        io.block.set(word, first as u32);
        first += 1;
    }
    sys::close_range(first as u32, u32::MAX)
}

/// Signals the caller ignored must not stay ignored. The parent tells which, long before we are here; should it
/// not have come to that, they are all reset.
pub fn reset_signals(io: &Io) {
    let ignored = match io.block.get(word::IGNORED_SIGNALS) {
        0 => 0x7fff_ffff,
        told => told & 0x7fff_ffff,
    };
    for signal in (1..32).filter(|signal| ignored >> (signal - 1) & 1 == 1) {
        let _ = sys::default_signal(signal);
    }
}

/// A created container ends on the signals that are sent to end one: the first process of a pid namespace ignores what
/// it has no handler for. The program has none of these.
pub fn end_on_signals(plan: &Plan<'_>) {
    const ENDING: [u32; 4] = [1, 2, 3, 15];
    if plan.header.gate != NO_SLOT {
        for signal in ENDING {
            let _ = sys::exit_on_signal(signal);
        }
    }
}

/// Becomes the program. Only comes back if it could not.
pub fn exec(plan: &Plan<'_>, io: &Io, program: Z<'_>, home: &Home) -> Fail {
    io.enter(Step::Exec, 0);
    let args = vector(plan, io, plan.header.args, 0, None);
    let env = environment(plan, io, plan.header.args.count as usize + 1, home);
    match (args, env) {
        (Ok(args), Ok(env)) => {
            let fail = sys::execve(program, args, env);
            if fail.is(errno::ENOENT) { fail.detail(interpreter(program)) } else { fail }
        }
        (Err(fail), _) | (_, Err(fail)) => fail,
    }
}

/// What names the interpreter the kernel did not find, see [`detail`](crate::fail::detail).
fn interpreter(program: Z<'_>) -> u32 {
    use crate::fail::detail;
    let mut start = [0; 256];
    let Ok(fd) = sys::openat(AT_FDCWD, program, O_NONBLOCK | O_NOCTTY, 0) else { return detail::UNKNOWN };
    let length = sys::read(fd, &mut start).unwrap_or(0);
    sys::close(fd);
    let start = start.get(..length).unwrap_or_default();
    if start.starts_with(b"\x7fELF") {
        return detail::LOADER;
    }
    if !start.starts_with(b"#!") {
        return detail::UNKNOWN;
    }
    match start.split(|byte| *byte == b'\n').next() {
        Some([.., b'\r']) => detail::CARRIAGE_RETURN,
        _ => detail::SCRIPT,
    }
}

/// Pointers to the program's environment, `skip` pointers into the scratch room.
pub(crate) fn environment(plan: &Plan<'_>, io: &Io, skip: usize, home: &Home) -> Result<&'static [*const u8]> {
    let reserve = plan.header.flags & flag::HOME != 0;
    vector(plan, io, plan.header.env, skip, reserve.then_some(home))
}

/// Pointers to texts, NULL at the end; `last` stands in for the last text.
pub(crate) fn vector(
    plan: &Plan<'_>,
    io: &Io,
    texts: List<Text>,
    skip: usize,
    last: Option<&Home>,
) -> Result<&'static [*const u8]> {
    let count = texts.count as usize;
    let pointers = io.block.pointers(skip, count + 1)?;
    for ((index, text), room) in plan.items(texts).zip(pointers.iter_mut()) {
        *room = match last {
            Some(home) if index as usize + 1 == count => home.z().as_ptr(),
            _ => plan.text(text?)?.as_ptr(),
        };
    }
    if let Some(end) = pointers.last_mut() {
        *end = core::ptr::null();
    }
    Ok(pointers)
}
