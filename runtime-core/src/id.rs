//! Container ids: which strings name a container.

use crate::{Error, ErrorKind, Result};

/// Longest id in bytes. An id is a directory name, and no file system of Linux takes a longer one (NAME_MAX,
/// limits.h); runc leaves that error to mkdir(2).
pub const MAX: usize = 255;

/// Accepts one or more of `A-Za-z0-9_+-.`, except `.` and `..`: safe as a file name and in a message.
pub fn check(id: &str) -> Result<()> {
    if id.is_empty() {
        return Err(Error::new(ErrorKind::InvalidId, "container id cannot be empty"));
    }
    let wrong = |hint: String| Err(Error::new(ErrorKind::InvalidId, "invalid container ID format").with_hint(hint));
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-' | '.');
    if let Some(odd) = id.chars().find(|c| !known(*c)) {
        // Words of crun's; callers match on them.
        return wrong(format!("invalid character `{}` in the ID", odd.escape_default()));
    }
    if id == "." || id == ".." {
        return wrong(format!("`{id}` names a directory"));
    }
    if id.len() > MAX {
        return wrong(format!("an id has at most {MAX} bytes, this one has {}", id.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_runc_accepts() {
        for id in ["a", "A-b_c.d+9", "...", ".a", "-x", &"x".repeat(MAX)] {
            assert!(check(id).is_ok(), "{id}");
        }
    }

    #[test]
    fn refuses_what_could_leave_the_root_or_break_a_line() {
        assert_eq!(check("").unwrap_err().to_string(), "container id cannot be empty");
        for id in [".", "..", "a/b", "../x", "a b", "a\nb", "a\0b", "é", "a:b", "/"] {
            let error = check(id).unwrap_err();
            assert!(error.to_string().starts_with("invalid container ID format \u{2014} "), "{id:?}: {error}");
            assert_eq!(error.kind(), ErrorKind::InvalidId);
        }
        let slash = check("a/b").unwrap_err().to_string();
        assert_eq!(slash, "invalid container ID format — invalid character `/` in the ID");
        let long = check(&"x".repeat(MAX + 1)).unwrap_err().to_string();
        assert!(long.starts_with("invalid container ID format"), "{long}");
    }
}
