//! Takes this program, and all it starts, off the host: a mount namespace in which the whole tree is read-only.
//!
//! Other runtimes run as root here, and one of them once deleted the host's root file system when a test gave it `delete /`.
//! So nothing they do may reach the host: every mount is read-only but `/proc`, the cgroups, a fresh `/tmp`, `/run` and
//! `/dev/shm`, and the directories the caller names. [`enter`] proves it before it returns.

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Host trees that stay as they are: runtimes write id maps and cgroups there, and remove nothing.
const KEPT: [&str; 2] = ["/proc", "/sys/fs/cgroup"];
/// Emptied; what was there is no longer to be seen.
const FRESH: [&str; 3] = ["/tmp", "/run", "/dev/shm"];
/// `AT_RECURSIVE` of fcntl.h.
const AT_RECURSIVE: u32 = 0x8000;

/// Why the tests may not start.
type Result<T> = std::result::Result<T, String>;

/// A tree of mounts that no path leads to any more, and where it belongs.
struct Tree {
    at: PathBuf,
    fd: OwnedFd,
}

/// Enters the namespace. Call it first of all in `main`: only a process with one thread may, and only root can.
/// `writable` directories stay writable; the sources, the build and `visible` can be read wherever they are.
/// On a machine that is thrown away after the run it does nothing.
pub fn enter(writable: &[&Path], visible: &[&Path]) -> Result<()> {
    if !nix::unistd::Uid::effective().is_root() {
        return Err("run it as root: it makes containers, cgroups and mounts".into());
    }
    if crate::machine::disposable() {
        return Ok(());
    }
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).map_err(|e| format!("unshare(CLONE_NEWNS): {e}"))?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(|e| format!("mount(/, private): {e}"))?;
    let kept = KEPT.iter().map(Path::new).chain(writable.iter().copied());
    let kept: Vec<Tree> = kept.map(clone).collect::<Result<_>>()?;
    read_only(Path::new("/"))?;
    // After the change: these come back read-only.
    let hidden: Vec<Tree> = hidden(visible).iter().map(|path| clone(path)).collect::<Result<_>>()?;
    for path in FRESH.iter().filter(|path| Path::new(path).is_dir()) {
        mount(Some("tmpfs"), *path, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=1777"))
            .map_err(|e| format!("mount(tmpfs, {path}): {e}"))?;
    }
    for tree in hidden.into_iter().chain(kept) {
        attach(&tree)?;
    }
    // The current directory is still the one outside.
    let here = std::env::current_dir().map_err(|e| format!("current directory: {e}"))?;
    std::env::set_current_dir(&here).map_err(|e| format!("{}: {e}", here.display()))?;
    prove(writable)
}

/// `conformance isolated [-w DIR]… -- COMMAND…`: becomes the command in there; the exit status if it cannot.
pub fn main(args: &[String]) -> i32 {
    use std::os::unix::process::CommandExt;
    let (options, command) = match args.iter().position(|word| word == "--") {
        Some(at) => (&args[..at], &args[at + 1..]),
        None => (args, &args[args.len()..]),
    };
    let writable: Vec<&Path> =
        options.chunks(2).filter(|pair| pair[0] == "-w").filter_map(|pair| pair.get(1)).map(Path::new).collect();
    let Some((program, rest)) = command.split_first().filter(|_| writable.len() * 2 == options.len()) else {
        eprintln!("usage: conformance isolated [-w DIR]… -- COMMAND…");
        return 2;
    };
    if let Err(why) = enter(&writable, &[]) {
        eprintln!("{why}");
        return 2;
    }
    eprintln!("{program}: {}", std::process::Command::new(program).args(rest).exec());
    127
}

/// Makes a directory that was named writable read-only, from now on.
pub fn close(path: &Path) -> Result<()> {
    read_only(path)
}

/// Shows that the host cannot be written to: by its mounts, by trying to write and by trying to remove.
pub fn prove(writable: &[&Path]) -> Result<()> {
    let allowed = |point: &str| {
        let point = Path::new(point);
        let mut free = KEPT.iter().chain(&FRESH).map(Path::new).chain(writable.iter().copied());
        free.any(|tree| point.starts_with(tree))
    };
    let table = fs::read_to_string("/proc/self/mountinfo").map_err(|e| format!("/proc/self/mountinfo: {e}"))?;
    for line in table.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (Some(point), Some(options)) = (words.get(4), words.get(5)) else {
            return Err(format!("not isolated: unreadable mount {line}"));
        };
        if !allowed(point) && !options.split(',').any(|option| option == "ro") {
            return Err(format!("not isolated: {point} is mounted read-write"));
        }
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["/", "/etc", "/usr", "/var", "/root", "/dev", "/sys"].iter().map(Path::new).chain([source]) {
        if folder.is_dir() && !writable.iter().any(|tree| folder.starts_with(tree)) {
            refused(folder)?;
        }
    }
    Ok(())
}

/// Tries to make a file in `folder` and to remove a file and a directory. The kernel looks at the mount before it
/// looks for the name, so that names that do not exist serve.
fn refused(folder: &Path) -> Result<()> {
    let name = folder.join(".conformance-must-not-exist");
    let made = fs::OpenOptions::new().write(true).create_new(true).open(&name);
    if made.is_ok() {
        let _ = fs::remove_file(&name);
    }
    for (what, outcome) in
        [("making", made.map(drop)), ("removing", fs::remove_file(&name)), ("removing", fs::remove_dir(&name))]
    {
        match outcome {
            Err(e) if e.raw_os_error() == Some(Errno::EROFS as i32) => {}
            other => return Err(format!("not isolated: {what} {}: {other:?}, wanted EROFS", name.display())),
        }
    }
    Ok(())
}

/// Where this program and its sources are, if a fresh file system would hide it.
fn hidden(visible: &[&Path]) -> Vec<PathBuf> {
    let program = std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_path_buf));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf);
    let named = std::env::var_os("RUNTIME").map(PathBuf::from);
    let named = visible.iter().map(|path| path.to_path_buf()).chain(named);
    let named = named.filter_map(|path| path.canonicalize().ok()?.parent().map(Path::to_path_buf));
    let all = program.into_iter().chain(source).chain(named).chain(std::env::current_dir());
    let mut all: Vec<PathBuf> = all.filter(|path| FRESH.iter().any(|fresh| path.starts_with(fresh))).collect();
    all.retain(|path| path.is_dir() && !FRESH.iter().any(|fresh| path == Path::new(fresh)));
    all.sort();
    let outer = all.clone();
    all.retain(|path| !outer.iter().any(|other| other != path && path.starts_with(other)));
    all.dedup();
    all
}

fn clone(path: &Path) -> Result<Tree> {
    let fd = open_tree(path).map_err(|e| format!("open_tree({}): {e}", path.display()))?;
    Ok(Tree { at: path.into(), fd })
}

fn attach(tree: &Tree) -> Result<()> {
    if !tree.at.is_dir() {
        // Only below a fresh file system is anything missing.
        fs::create_dir_all(&tree.at).map_err(|e| format!("{}: {e}", tree.at.display()))?;
    }
    move_mount(&tree.fd, &tree.at).map_err(|e| format!("move_mount({}): {e}", tree.at.display()))
}

fn path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_encoded_bytes())?)
}

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

fn read_only(at: &Path) -> Result<()> {
    let mut attr = MountAttr { set: nix::libc::MOUNT_ATTR_RDONLY, clear: 0, propagation: 0, user_namespace: 0 };
    let c = path(at).map_err(|e| e.to_string())?;
    // SAFETY: the path and the attributes live across the call, and the size given is the structure's.
    let done = unsafe {
        nix::libc::syscall(
            nix::libc::SYS_mount_setattr,
            nix::libc::AT_FDCWD,
            c.as_ptr(),
            AT_RECURSIVE,
            &raw mut attr,
            size_of::<MountAttr>(),
        )
    };
    Errno::result(done).map(drop).map_err(|e| format!("mount_setattr({}): {e}", at.display()))
}

fn open_tree(at: &Path) -> io::Result<OwnedFd> {
    let c = path(at)?;
    let flags = nix::libc::OPEN_TREE_CLONE | nix::libc::OPEN_TREE_CLOEXEC | AT_RECURSIVE;
    // SAFETY: the path lives across the call.
    let fd = unsafe { nix::libc::syscall(nix::libc::SYS_open_tree, nix::libc::AT_FDCWD, c.as_ptr(), flags) };
    let fd = Errno::result(fd)?;
    // SAFETY: the kernel just made this descriptor for us, and nothing else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn move_mount(tree: &OwnedFd, to: &Path) -> io::Result<()> {
    let c = path(to)?;
    let (from, empty) = (tree.as_raw_fd(), c"".as_ptr());
    // SAFETY: both paths live across the call; the empty one stands for the descriptor itself.
    let done = unsafe {
        let flags = nix::libc::MOVE_MOUNT_F_EMPTY_PATH;
        nix::libc::syscall(nix::libc::SYS_move_mount, from, empty, nix::libc::AT_FDCWD, c.as_ptr(), flags)
    };
    Errno::result(done)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_writable_host_is_noticed() {
        // Nobody has isolated the unit tests, so the proof must fail here, and at the list of mounts.
        let said = super::prove(&[]).unwrap_err();
        assert!(said.contains("is mounted read-write"), "{said}");
    }
}
