//! How a case ends: `check!` and `check_eq!` fail it, `skip` says that it does not apply.

/// Why a case did not pass.
#[derive(Debug)]
pub enum Failure {
    /// Does not apply here, with the reason.
    Skip(String),
    Fail(String),
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Fail(text)
    }
}

impl From<&str> for Failure {
    fn from(text: &str) -> Self {
        Self::Fail(text.into())
    }
}

impl From<std::io::Error> for Failure {
    fn from(e: std::io::Error) -> Self {
        Self::Fail(format!("the test itself: {e}"))
    }
}

impl From<serde_json::Error> for Failure {
    fn from(e: serde_json::Error) -> Self {
        Self::Fail(format!("not JSON: {e}"))
    }
}

impl From<nix::Error> for Failure {
    fn from(e: nix::Error) -> Self {
        Self::Fail(format!("the test itself: {e}"))
    }
}

pub type Outcome<T = ()> = Result<T, Failure>;

/// Fails the case unless the condition holds.
#[macro_export]
macro_rules! check {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err($crate::outcome::Failure::Fail(format!($($what)+)));
        }
    };
}

/// Fails the case unless both are equal.
#[macro_export]
macro_rules! check_eq {
    ($is:expr, $wanted:expr, $($what:tt)+) => {
        match (&$is, &$wanted) {
            (is, wanted) => {
                if *is != *wanted {
                    let what = format!($($what)+);
                    return Err($crate::outcome::Failure::Fail(format!("{what}: is {is:?}, wanted {wanted:?}")));
                }
            }
        }
    };
}

/// Ends the case as not applicable.
pub fn skip<T>(reason: &str) -> Outcome<T> {
    Err(Failure::Skip(reason.into()))
}
