//! `mounts`: filesystems mounted over the root, in list order.
use super::{IdMapping, object};

object! {
    /// config.md, "Mounts".
    pub struct Mount {
        /// Where, inside the container.
        pub destination: Option<String>,
        /// Filesystem type; ignored for a bind.
        pub typ = "type": Option<String>,
        /// Device, file or directory; relative to the bundle for a bind.
        pub source: Option<String>,
        /// Options as fstab writes them.
        pub options: Option<Vec<String>>,
        /// User id mappings of an id-mapped mount.
        pub uid_mappings: Option<Vec<IdMapping>>,
        /// Group id mappings of an id-mapped mount.
        pub gid_mappings: Option<Vec<IdMapping>>,
    }
}
