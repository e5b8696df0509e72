//! `linux.devices`: device nodes made in the container.
use super::object;

object! {
    /// One device node (mknod(2)).
    pub struct Device {
        /// `c`, `b`, `u` or `p`.
        pub typ = "type": Option<String>,
        /// Absolute path inside the container.
        pub path: Option<String>,
        /// Major number.
        pub major: Option<i64>,
        /// Minor number.
        pub minor: Option<i64>,
        /// Permission bits.
        pub file_mode: Option<u32>,
        /// Owner, container id.
        pub uid: Option<u32>,
        /// Group, container id.
        pub gid: Option<u32>,
    }
}
