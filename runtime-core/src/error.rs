//! The one error type: what was asked, where in the config, which step, which system call, what to do.
//!
//! An error is made once, where it is known, and printed once, at the top. `Display` is one line.

use std::fmt;

use crate::spec::Problem;

/// What callers branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The id breaks the rules of [`crate::id`].
    InvalidId,
    /// The bundle, `config.json` or a request is wrong.
    InvalidConfig,
    /// No container of this id.
    NotFound,
    /// The id is taken.
    Exists,
    /// The container is not in a state that allows the verb.
    WrongState,
    /// Another operation holds the container, or something refuses to die.
    Busy,
    /// This build or this host cannot do what the config asks.
    Unsupported,
    /// A system call failed on the host side.
    System,
    /// The container's own set-up failed.
    Init,
    /// A hook failed.
    Hook,
    /// The state on disk cannot be used.
    BadState,
}

/// Result of every verb.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a verb failed.
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    problems: Vec<Problem>,
    pointer: Option<String>,
    /// The message shows the pointer itself.
    located: bool,
    step: Option<String>,
    call: Option<String>,
    errno: Option<i32>,
    hint: Option<String>,
}

impl Error {
    /// An error with its one-line message; the builders below add what is known.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            problems: Vec::new(),
            pointer: None,
            located: false,
            step: None,
            call: None,
            errno: None,
            hint: None,
        }))
    }

    /// A failed system call of the host side: `what` is being done, `call` is the call with its arguments.
    pub fn system(what: impl Into<String>, call: impl Into<String>, errno: i32) -> Self {
        Self::new(ErrorKind::System, what).with_call(call, errno)
    }

    /// The same from an error of the standard library or of nix; one that is no system call's is a reason.
    pub fn io(what: impl Into<String>, call: impl Into<String>, error: impl Into<std::io::Error>) -> Self {
        let error = error.into();
        match error.raw_os_error() {
            Some(errno) => Self::system(what, call, errno),
            None => {
                let mut this = Self::new(ErrorKind::System, what).with_reason(&error.to_string());
                this.0.call = Some(call.into());
                this
            }
        }
    }

    /// Everything found wrong with a document, at once.
    pub fn problems(what: impl Into<String>, problems: Vec<Problem>) -> Self {
        let mut error = Self::new(ErrorKind::InvalidConfig, what);
        error.0.pointer = problems.first().map(|p| p.pointer.clone());
        error.0.problems = problems;
        error
    }

    /// Adds the JSON pointer of the part of the config this is about.
    pub fn at(mut self, pointer: impl Into<String>) -> Self {
        self.0.pointer = Some(pointer.into());
        self
    }

    /// As [`Error::at`], where no pointer is known yet.
    pub(crate) fn or_at(mut self, pointer: impl Into<String>) -> Self {
        self.0.pointer.get_or_insert_with(|| pointer.into());
        self
    }

    /// Adds the step of the launch that failed.
    pub fn in_step(mut self, step: impl Into<String>) -> Self {
        self.0.step = Some(step.into());
        self
    }

    /// Adds the system call with its arguments, and its errno.
    pub fn with_call(mut self, call: impl Into<String>, errno: i32) -> Self {
        self.0.call = Some(call.into());
        self.0.errno = Some(errno);
        self
    }

    /// Adds the JSON pointer where the message already shows it.
    pub(crate) fn located(mut self, pointer: String) -> Self {
        self.0.located = !pointer.is_empty();
        self.0.pointer = Some(pointer).filter(|pointer| !pointer.is_empty());
        self
    }

    /// Adds the errno where the message already tells it.
    pub(crate) fn with_errno(mut self, errno: i32) -> Self {
        self.0.errno = Some(errno);
        self
    }

    /// Appends a reason that is no system call's.
    pub(crate) fn with_reason(mut self, reason: &str) -> Self {
        self.0.message.push_str(": ");
        self.0.message.push_str(reason);
        self
    }

    /// Adds what to do about it.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// What callers branch on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// JSON pointer into `config.json`, where one applies.
    pub fn pointer(&self) -> Option<&str> {
        self.0.pointer.as_deref()
    }

    /// Step of the launch that failed.
    pub fn step(&self) -> Option<&str> {
        self.0.step.as_deref()
    }

    /// The failed system call with its arguments.
    pub fn call(&self) -> Option<&str> {
        self.0.call.as_deref()
    }

    /// errno of the failed call.
    pub fn errno(&self) -> Option<i32> {
        self.0.errno
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Every problem found in a document, where this is about one.
    pub fn all_problems(&self) -> &[Problem] {
        &self.0.problems
    }
}

impl fmt::Display for Error {
    /// `message: pointer: call: strerror (ERRNO) — hint`, each part only where it is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        let mut line = Line { f, empty: true };
        if inner.problems.is_empty() && !inner.located {
            line.part(inner.pointer.as_deref())?;
        }
        line.part(Some(&inner.message))?;
        for (at, problem) in inner.problems.iter().take(MOST_PROBLEMS).enumerate() {
            let text = problem.to_string();
            if at == 0 { line.part(Some(&text))? } else { write!(line.f, "; {text}")? }
        }
        if inner.problems.len() > MOST_PROBLEMS {
            write!(line.f, "; and {} more", inner.problems.len() - MOST_PROBLEMS)?;
        }
        line.part(inner.call.as_deref())?;
        if let Some(errno) = inner.errno.filter(|_| inner.call.is_some()) {
            line.part(Some(&describe(errno)))?;
        }
        match &inner.hint {
            Some(hint) => write!(f, " — {hint}"),
            None => Ok(()),
        }
    }
}

/// Most problems that are told in one line; the rest is counted.
const MOST_PROBLEMS: usize = 100;

struct Line<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    empty: bool,
}

impl Line<'_, '_> {
    fn part(&mut self, text: Option<&str>) -> fmt::Result {
        let Some(text) = text.filter(|t| !t.is_empty()) else { return Ok(()) };
        let text = text.replace('\n', " ");
        let separator = if std::mem::take(&mut self.empty) { "" } else { ": " };
        write!(self.f, "{separator}{text}")
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::error::Error for Error {}

/// errno as people and engines read it: `permission denied (EACCES)`.
pub fn describe(errno: i32) -> String {
    format!("{} ({:?})", text(errno), nix::errno::Errno::from_raw(errno))
}

/// The text of errno alone, as Go has it: that of the C library in lower case. Engines match `permission denied`.
pub(crate) fn text(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) if text.chars().nth(1).is_some_and(char::is_lowercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_go() {
        for (errno, words) in [
            (libc::EPERM, "operation not permitted"),
            (libc::EIO, "input/output error"),
            (libc::EBADF, "bad file descriptor"),
            (libc::EAGAIN, "resource temporarily unavailable"),
            (libc::ENOMEM, "cannot allocate memory"),
            (libc::ERANGE, "numerical result out of range"),
            (libc::ELOOP, "too many levels of symbolic links"),
            (libc::EDQUOT, "disk quota exceeded"),
            (libc::EDOTDOT, "RFS specific error"),
        ] {
            assert_eq!(text(errno), words);
        }
    }

    #[test]
    fn one_line_with_all_that_is_known() {
        let error = Error::new(ErrorKind::Init, "bind /srv\n → /data")
            .at("/mounts/3")
            .with_call("mount_setattr(5, \"\")", 22)
            .with_hint("use ext4");
        assert_eq!(
            error.to_string(),
            "/mounts/3: bind /srv  → /data: mount_setattr(5, \"\"): invalid argument (EINVAL) — use ext4"
        );
        let error = Error::problems("config.json", vec![Problem::new("/a", "x"), Problem::new("/b", "y")]);
        assert_eq!(error.to_string(), "config.json: /a: x; /b: y");
        assert_eq!(describe(libc::ENOENT), "no such file or directory (ENOENT)");
        assert_eq!(describe(libc::EIO), "input/output error (EIO)");
        assert_eq!(text(libc::ENOENT), "no such file or directory");
    }

    #[test]
    fn an_error_of_the_library_or_of_the_kernel() {
        let error = Error::io("open it", "open(x)", nix::errno::Errno::EPERM);
        assert_eq!(error.to_string(), "open it: open(x): operation not permitted (EPERM)");
        assert_eq!(error.errno(), Some(libc::EPERM));
        let error = Error::io("read it", "read(x)", std::io::Error::other("not a number"));
        assert_eq!((error.to_string().as_str(), error.errno()), ("read it: not a number: read(x)", None));
    }
}
