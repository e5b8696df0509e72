//! The directory that holds the state of containers: `--root`, or one that fits the user.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use crate::args::NAME;
use crate::print;

/// The state directory.
#[derive(Debug, PartialEq, Eq)]
pub struct Root {
    /// Absolute path.
    pub path: PathBuf,
    /// Given with `--root`.
    pub explicit: bool,
}

/// The state directory for `--root`, which wins over the rule for users: not root, or root of a user namespace that
/// does not call itself so, means `$XDG_RUNTIME_DIR`. That directory is made here, with the sticky bit: it exempts a
/// directory from the clean-up of the XDG base directory specification.
pub fn find(given: Option<&OsStr>) -> Result<Root, String> {
    if let Some(given) = given {
        return Ok(Root { path: explicit(given)?, explicit: true });
    }
    let Some(directory) = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty() && unprivileged()) else {
        return Ok(Root { path: Path::new("/run").join(NAME), explicit: false });
    };
    let path = absolute(Path::new(&directory))?.join(NAME);
    let failed = |error: std::io::Error| {
        let cause = print::cause(&error);
        format!("the path in $XDG_RUNTIME_DIR must be writable by the user: mkdir {}: {cause}", path.display())
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o1700)).map_err(failed)?;
    Ok(Root { path, explicit: false })
}

fn explicit(given: &OsStr) -> Result<PathBuf, String> {
    if given.is_empty() {
        return Err("option --root argument should not be empty".to_owned());
    }
    let path = clean(&absolute(Path::new(given))?);
    if path == Path::new("/") {
        return Err("Option --root argument should not be set to /".to_owned());
    }
    Ok(path)
}

fn unprivileged() -> bool {
    if !nix::unistd::geteuid().is_root() {
        return true;
    }
    std::env::var_os("USER") != Some(OsString::from("root")) && in_user_namespace()
}

/// The first user namespace maps every id to itself.
fn in_user_namespace() -> bool {
    let Ok(map) = fs::read_to_string("/proc/self/uid_map") else { return false };
    map.split_whitespace().ne(["0", "0", "4294967295"])
}

/// `path` seen from the current directory.
pub fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("{}: {}", path.display(), print::cause(&error)))
}

/// Takes `.` and `..` out of an absolute path by its text alone, as Go's filepath.Clean does.
fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => drop(out.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_roots() {
        let root = |text: &str| explicit(OsStr::new(text));
        assert_eq!(root("/a/../b//./c/"), Ok(PathBuf::from("/b/c")));
        assert_eq!(root("x"), Ok(std::env::current_dir().unwrap().join("x")));
        for text in ["/", "//", "/a/..", "/../.."] {
            assert_eq!(root(text), Err("Option --root argument should not be set to /".to_owned()), "{text}");
        }
        assert!(root("").is_err());
    }
}
