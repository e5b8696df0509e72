//! System call traces: what a runtime does by name in a root filesystem it does not own yet.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// One thread's calls, in order.
#[derive(Debug, Clone)]
pub struct Thread {
    pub id: String,
    pub calls: Vec<Call>,
}

/// One call as strace prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub name: String,
    /// All between the parentheses, and the result.
    pub rest: String,
}

/// strace's arguments in front of a command: one file for every thread, whole strings.
pub fn strace(prefix: &Path) -> Vec<String> {
    let prefix = prefix.to_string_lossy().into_owned();
    ["strace", "-ff", "-qq", "-s", "512", "-e", "signal=none", "-o", &prefix].map(Into::into).to_vec()
}

/// Reads what strace wrote.
pub fn read(prefix: &Path) -> io::Result<Vec<Thread>> {
    let (folder, name) = (prefix.parent().unwrap_or(Path::new("/")), prefix.file_name().unwrap_or_default());
    let start = format!("{}.", name.to_string_lossy());
    let mut files: Vec<PathBuf> = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut threads = Vec::new();
    for file in files {
        let Some(id) = file.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_prefix(&start)) else { continue };
        let text = String::from_utf8_lossy(&fs::read(&file)?).into_owned();
        threads.push(Thread { id: id.to_owned(), calls: text.lines().filter_map(parse).collect() });
    }
    Ok(threads)
}

fn parse(line: &str) -> Option<Call> {
    let (name, rest) = line.split_once('(')?;
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    plain.then(|| Call { name: name.to_owned(), rest: rest.to_owned() })
}

impl Call {
    /// The arguments that are strings, as they stand between the quotes.
    fn strings(&self) -> Vec<&str> {
        self.rest.split('"').skip(1).step_by(2).collect()
    }

    fn first(&self) -> &str {
        self.rest.split([',', ')']).next().unwrap_or("").trim()
    }

    /// Whether the kernel keeps the path beneath the descriptor.
    fn is_confined(&self) -> bool {
        self.name == "openat2" && ["RESOLVE_IN_ROOT", "RESOLVE_BENEATH"].iter().any(|flag| self.rest.contains(flag))
    }
}

/// Calls that take a path and no descriptor.
const BY_NAME: &[&str] = &[
    "access",
    "chdir",
    "chmod",
    "chown",
    "chroot",
    "creat",
    "execve",
    "getxattr",
    "lchown",
    "lgetxattr",
    "link",
    "listxattr",
    "lsetxattr",
    "lstat",
    "mkdir",
    "mknod",
    "mount",
    "open",
    "pivot_root",
    "readlink",
    "removexattr",
    "rename",
    "rmdir",
    "setxattr",
    "stat",
    "statfs",
    "symlink",
    "truncate",
    "umount2",
    "unlink",
    "utime",
    "utimes",
];

/// Calls that take a descriptor and a path below it.
const BELOW: &[&str] = &[
    "execveat",
    "faccessat",
    "faccessat2",
    "fchmodat",
    "fchmodat2",
    "fchownat",
    "fspick",
    "futimesat",
    "linkat",
    "mkdirat",
    "mknodat",
    "mount_setattr",
    "move_mount",
    "name_to_handle_at",
    "newfstatat",
    "open_tree",
    "openat",
    "openat2",
    "readlinkat",
    "renameat",
    "renameat2",
    "statx",
    "symlinkat",
    "unlinkat",
    "utimensat",
];

/// Paths that are no part of a root filesystem: the host's root directory, the current one, and the kernel's own tree.
fn is_elsewhere(path: &str) -> bool {
    matches!(path, "" | "/" | ".") || path == "/proc" || path.starts_with("/proc/")
}

/// Of the thread that changes its root: calls before it that name something in the root filesystem. A name is only
/// safe as one component below a descriptor, with its link not followed, or where the kernel confines it.
pub fn named_before_pivot(thread: &Thread) -> Vec<String> {
    let calls = thread.calls.iter().take_while(|call| call.name != "pivot_root");
    calls.filter(|call| names(call)).map(|call| format!("{}({}", call.name, call.rest)).collect()
}

fn names(call: &Call) -> bool {
    let strings = call.strings();
    if BY_NAME.contains(&call.name.as_str()) {
        // The source of a mount, the type and the data are strings as well: the target is the second.
        let paths: &[&str] = if call.name == "mount" { strings.get(1..2).unwrap_or(&[]) } else { &strings };
        return paths.iter().any(|path| !is_elsewhere(path));
    }
    if !BELOW.contains(&call.name.as_str()) || call.is_confined() {
        return false;
    }
    // The text of a new link is no path that is followed now.
    let paths: &[&str] = if call.name == "symlinkat" { strings.get(1..).unwrap_or(&[]) } else { &strings };
    let by_descriptor = !call.first().starts_with("AT_FDCWD");
    let follows = call.name == "openat" && !call.rest.contains("O_NOFOLLOW");
    paths.iter().filter(|path| !is_elsewhere(path)).any(|path| !by_descriptor || path.contains('/') || follows)
}

/// Calls of any thread that name something below `root` by its path on the host.
pub fn named_below(threads: &[Thread], root: &Path) -> Vec<String> {
    let below = format!("{}/", root.to_string_lossy());
    let calls = threads.iter().flat_map(|thread| &thread.calls);
    let named = |call: &&Call| call.strings().iter().any(|path| path.len() > below.len() && path.starts_with(&below));
    calls
        .filter(|call| BY_NAME.contains(&call.name.as_str()) || BELOW.contains(&call.name.as_str()))
        .filter(named)
        .map(|call| format!("{}({}", call.name, call.rest))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(lines: &[&str]) -> usize {
        let calls = lines.iter().filter_map(|line| parse(line)).collect();
        named_before_pivot(&Thread { id: "1".into(), calls }).len()
    }

    #[test]
    fn what_is_by_name() {
        for line in [
            "mount(\"proc\", \"/bundle/rootfs/proc\", \"proc\", 0, NULL) = 0",
            "mkdir(\"rootfs/dev\", 0755) = 0",
            "openat(AT_FDCWD, \"/bundle/rootfs/dev\", O_PATH) = 3",
            "openat(7, \"dev/pts\", O_PATH|O_NOFOLLOW) = 3",
            "openat(7, \"dev\", O_PATH) = 3",
            "mkdirat(7, \"a/b\", 0755) = 0",
            "openat2(7, \"a/b\", {flags=O_PATH, resolve=0}, 24) = 3",
            "symlinkat(\"x\", AT_FDCWD, \"rootfs/dev/fd\") = 0",
        ] {
            assert_eq!(named(&[line]), 1, "{line}");
        }
    }

    #[test]
    fn what_is_by_descriptor() {
        for line in [
            "mount(\"\", \"/\", 0x2001b7, MS_REC|MS_SLAVE, NULL) = 0",
            "openat(AT_FDCWD, \"/\", O_PATH) = 3",
            "openat(7, \"dev\", O_PATH|O_NOFOLLOW) = 3",
            "openat2(7, \"a/b\", {flags=O_PATH, resolve=RESOLVE_IN_ROOT}, 24) = 3",
            "mkdirat(7, \"pts\", 0755) = 0",
            "symlinkat(\"/proc/self/fd\", 4, \"fd\") = 0",
            "move_mount(5, \"\", 3, \"\", MOVE_MOUNT_F_EMPTY_PATH) = 0",
            "fsconfig(4, FSCONFIG_SET_STRING, \"source\", \"/x/y\", 0) = 0",
            "write(4, \"/x/y\", 4) = 4",
        ] {
            assert_eq!(named(&[line]), 0, "{line}");
        }
        assert_eq!(named(&["pivot_root(\".\", \".\") = 0", "mkdir(\"/x\", 0755) = 0"]), 0, "after the change of root");
    }
}
