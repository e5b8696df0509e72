//! `linux.namespaces`, id mappings and time offsets.
use super::object;

object! {
    /// One namespace, new or joined (namespaces(7)).
    pub struct Namespace {
        /// `pid`, `network`, `mount`, `ipc`, `uts`, `user`, `cgroup` or `time`.
        pub typ = "type": Option<String>,
        /// File of a namespace to join; absent: a new one.
        pub path: Option<String>,
    }
}

object! {
    /// One line of a uid_map or gid_map (user_namespaces(7)).
    pub struct IdMapping {
        /// First id inside.
        pub container_id = "containerID": u32,
        /// First id outside.
        pub host_id = "hostID": u32,
        /// How many.
        pub size: u32,
    }
}

impl Eq for IdMapping {}

object! {
    /// Offset of one clock (time_namespaces(7)).
    pub struct TimeOffset {
        /// Seconds.
        pub secs: i64,
        /// Nanoseconds.
        pub nanosecs: u32,
    }
}
