//! `linux.intelRdt`: cache and memory bandwidth allocation through resctrl.
use super::object;

object! {
    /// config-linux.md, "IntelRdt".
    pub struct IntelRdt {
        /// Name of the class of service.
        pub clos_id = "closID": Option<String>,
        /// Lines written to the schemata file.
        pub schemata: Option<Vec<String>>,
        /// L3 schema line.
        pub l3_cache_schema = "l3CacheSchema": Option<String>,
        /// Memory bandwidth schema line.
        pub mem_bw_schema: Option<String>,
        /// Make a monitoring group.
        pub enable_monitoring: bool,
    }
}
