//! `linux.intelRdt`: cache and memory bandwidth allocation through resctrl.
use super::object;

object! {
    /// config-linux.md, "IntelRdt".
    pub struct IntelRdt {
        /// Name of the class of service.
        #[serde(rename = "closID")]
        pub clos_id: Option<String>,
        /// Lines written to the schemata file.
        pub schemata: Option<Vec<String>>,
        /// L3 schema line.
        #[serde(rename = "l3CacheSchema")]
        pub l3_cache_schema: Option<String>,
        /// Memory bandwidth schema line.
        pub mem_bw_schema: Option<String>,
        /// Make a monitoring group.
        pub enable_monitoring: bool,
    }
}
