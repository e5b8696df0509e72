//! A tree on the host that no container may touch: type, mode, owner, device, times and content, before and after.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub struct Canary {
    pub path: PathBuf,
    before: BTreeMap<PathBuf, String>,
}

impl Canary {
    /// Makes the tree, with the names a runtime creates under /dev, /proc and /sys.
    pub fn new(path: &Path) -> io::Result<Self> {
        for folder in ["", "shm", "pts", "mqueue", "b", "empty", "fs/cgroup", "self/attr"] {
            fs::create_dir_all(path.join(folder))?;
        }
        for file in
            ["null", "ptmx", "console", "stdin", "stdout", "fd", "core", "tty", "file", "self/attr/exec", "b/file"]
        {
            fs::write(path.join(file), format!("canary {file}\n"))?;
            fs::set_permissions(path.join(file), fs::Permissions::from_mode(0o640))?;
        }
        Ok(Self { path: path.into(), before: snapshot(path)? })
    }

    /// The tree as it is now.
    pub fn again(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.into(), before: snapshot(path)? })
    }

    /// What changed, as sentences; empty when nothing did.
    pub fn changes(&self) -> io::Result<Vec<String>> {
        let after = snapshot(&self.path)?;
        let mut out = Vec::new();
        for (path, was) in &self.before {
            match after.get(path) {
                None => out.push(format!("{} is gone", path.display())),
                Some(is) if is != was => out.push(format!("{}: was {was}, is {is}", path.display())),
                Some(_) => {}
            }
        }
        out.extend(after.keys().filter(|p| !self.before.contains_key(*p)).map(|p| format!("{} was made", p.display())));
        Ok(out)
    }
}

/// Everything under a folder. The change time is part of it: a chmod and back would show.
pub fn snapshot(root: &Path) -> io::Result<BTreeMap<PathBuf, String>> {
    let mut all = BTreeMap::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(path) = open.pop() {
        let meta = fs::symlink_metadata(&path)?;
        let content = match meta.mode() & nix::libc::S_IFMT {
            nix::libc::S_IFREG if meta.size() > 1 << 16 => format!("{} bytes", meta.size()),
            nix::libc::S_IFREG => String::from_utf8_lossy(&fs::read(&path)?).into_owned(),
            nix::libc::S_IFLNK => fs::read_link(&path)?.to_string_lossy().into_owned(),
            nix::libc::S_IFDIR => {
                for entry in fs::read_dir(&path)? {
                    open.push(entry?.path());
                }
                String::new()
            }
            _ => String::new(),
        };
        let (uid, gid, rdev) = (meta.uid(), meta.gid(), meta.rdev());
        let line = format!(
            "{:o} {uid}:{gid} rdev {rdev} ino {} ctime {}.{} {content:?}",
            meta.mode(),
            meta.ino(),
            meta.ctime(),
            meta.ctime_nsec()
        );
        all.insert(path, line);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::Canary;

    #[test]
    fn sees_a_mode_a_content_and_a_new_file() {
        let dir = std::env::temp_dir().join(format!("canary-{}", std::process::id()));
        let canary = Canary::new(&dir).unwrap();
        assert!(canary.changes().unwrap().is_empty());
        std::fs::write(dir.join("file"), "x").unwrap();
        std::fs::write(dir.join("new"), "x").unwrap();
        std::fs::remove_file(dir.join("ptmx")).unwrap();
        let changes = canary.changes().unwrap().join("\n");
        std::fs::remove_dir_all(&dir).unwrap();
        for word in ["/file: was", "/new was made", "/ptmx is gone"] {
            assert!(changes.contains(word), "{changes}");
        }
    }
}
