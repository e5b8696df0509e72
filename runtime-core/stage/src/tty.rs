//! The terminal: made from the container's own devpts, by descriptor, and handed to the parent.
//!
//! The slave is opened through the master (TIOCGPTPEER), and /dev/console is a clone of that very descriptor's
//! mount: no name below /dev/pts is ever resolved, so none can be exchanged (CVE-2025-52565).

use crate::fail::{Fail, Refusal, Result, Step};
use crate::io::{Io, message};
use crate::path;
use crate::sys::{self, O_CREAT, O_DIRECTORY, O_NOCTTY, O_NOFOLLOW, O_PATH, O_RDWR, OPEN_TREE_CLONE, Stat, errno};
use crate::sys::{RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS};
use crate::wire::{Plan, Z, flag};

const DEVPTS_MAGIC: u64 = 0x1cd1;
const PTMX_INODE: u64 = 2;
const PTMX: (u32, u32) = (5, 2);
const TIOCSCTTY: u32 = 0x540e;
const TIOCSWINSZ: u32 = 0x5414;
const TIOCSPTLCK: u32 = 0x4004_5431;
const TIOCGPTPEER: u32 = 0x5441;
const TIOCGPTN: u32 = 0x8004_5430;

/// Makes the terminal, puts it on 0, 1 and 2 and (but for exec) on /dev/console, and sends the master away.
pub fn open(plan: &Plan<'_>, io: &Io, root: i32) -> Result<()> {
    if plan.header.flags & flag::TERMINAL == 0 {
        return Ok(());
    }
    io.enter(Step::Terminal, 0);
    let master = master(root)?;
    io.enter(Step::Terminal, 1);
    sys::ioctl_bytes(master, TIOCSPTLCK, &mut [0; 4])?;
    let slave = sys::ioctl(master, TIOCGPTPEER, (O_RDWR | O_NOCTTY | sys::O_CLOEXEC) as usize)? as i32;
    size(plan, slave)?;
    if plan.header.flags & flag::EXEC == 0 {
        io.enter(Step::Terminal, 2);
        console(root, slave)?;
    }
    io.enter(Step::Terminal, 3);
    let mut number = [0; 4];
    sys::ioctl_bytes(master, TIOCGPTN, &mut number)?;
    io.hand_over(message::CONSOLE, u64::from(u32::from_le_bytes(number)), master)?;
    sys::close(master);
    io.enter(Step::Terminal, 4);
    sys::ioctl(slave, TIOCSCTTY, 0)?;
    for fd in 0..3 {
        sys::dup3(slave, fd, 0)?;
    }
    sys::close(slave);
    Ok(())
}

/// devpts' own multiplexer, and nothing that looks like it.
fn master(root: i32) -> Result<i32> {
    let name = Z::new(b"dev/pts/ptmx\0");
    let resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS;
    // O_PATH first: opening an arbitrary file for real may block or have effects.
    let found = sys::openat2(root, name, O_PATH, 0, resolve)?;
    let file = sys::stat(found, Z::EMPTY)?;
    let genuine = file.is(Stat::CHARACTER) && file.device == PTMX && file.inode == PTMX_INODE;
    if !genuine || sys::filesystem_magic(found)? != DEVPTS_MAGIC {
        return Err(Fail::refuse(Refusal::NotPtmx));
    }
    sys::close(found);
    let master = sys::openat2(root, name, O_RDWR | O_NOCTTY, 0, resolve)?;
    let opened = sys::stat(master, Z::EMPTY)?;
    if opened.device != PTMX || opened.inode != PTMX_INODE || sys::filesystem_magic(master)? != DEVPTS_MAGIC {
        return Err(Fail::refuse(Refusal::NotPtmx));
    }
    Ok(master)
}

/// A fresh terminal is 0 by 0; programs that look at it at once must see the real size.
fn size(plan: &Plan<'_>, slave: i32) -> Result<()> {
    let (rows, columns) = (plan.header.rows as u16, plan.header.columns as u16);
    if rows == 0 || columns == 0 {
        return Ok(());
    }
    let [a, b] = rows.to_ne_bytes();
    let [c, d] = columns.to_ne_bytes();
    sys::ioctl_bytes(slave, TIOCSWINSZ, &mut [a, b, c, d, 0, 0, 0, 0]).map(drop)
}

/// /dev/console: the slave mounted on a regular file.
fn console(root: i32, slave: i32) -> Result<()> {
    let dev = path::open(root, Z::new(b"dev\0"), O_DIRECTORY)?;
    let name = Z::new(b"console\0");
    match sys::openat(dev, name, O_CREAT | O_NOFOLLOW | O_NOCTTY | sys::O_NONBLOCK | sys::O_EXCL, 0o600) {
        Ok(file) => sys::close(file),
        Err(fail) if fail.is(errno::EEXIST) => {}
        Err(fail) => return Err(fail),
    }
    let target = sys::openat2(dev, name, O_PATH | O_NOFOLLOW, 0, RESOLVE_NO_SYMLINKS | sys::RESOLVE_BENEATH)?;
    let tree = sys::open_tree(slave, Z::EMPTY, OPEN_TREE_CLONE | sys::AT_EMPTY_PATH)?;
    sys::move_mount(tree, target)?;
    for fd in [tree, target, dev] {
        sys::close(fd);
    }
    Ok(())
}
