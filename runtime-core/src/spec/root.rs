//! `root`: where the container's root filesystem is.
use super::object;

object! {
    /// config.md, "Root".
    pub struct Root {
        /// Path of the root filesystem, absolute or relative to the bundle.
        pub path: Option<String>,
        /// Mount it read-only.
        pub readonly: bool,
    }
}
