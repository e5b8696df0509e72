//! `linux.netDevices`: host network devices moved into the container.
use super::object;

object! {
    /// What becomes of one device.
    pub struct NetDevice {
        /// Its name in the container; absent: unchanged.
        pub name: Option<String>,
    }
}
