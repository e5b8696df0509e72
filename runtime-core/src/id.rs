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
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'-' | b'.');
    if !id.bytes().all(known) || id == "." || id == ".." {
        return Err(Error::new(ErrorKind::InvalidId, "invalid container ID format"));
    }
    if id.len() > MAX {
        let hint = format!("an id has at most {MAX} bytes, this one has {}", id.len());
        return Err(Error::new(ErrorKind::InvalidId, "invalid container ID format").with_hint(hint));
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
            assert_eq!(error.to_string(), "invalid container ID format", "{id:?}");
            assert_eq!(error.kind(), ErrorKind::InvalidId);
        }
        let long = check(&"x".repeat(MAX + 1)).unwrap_err().to_string();
        assert!(long.starts_with("invalid container ID format"), "{long}");
    }
}
