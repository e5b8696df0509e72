//! The machine under the tests: how fast it is, and whether it is thrown away afterwards.

use std::sync::OnceLock;
use std::time::Duration;

/// The word on the kernel's command line that only `scripts/guest.sh` puts there.
const DISPOSABLE: &str = "conformance.disposable";

/// Whether this is a virtual machine made for this one run. Its "/" stays as systemd made it, shared, and its buses stay
/// in sight: some faults show nowhere else. No environment variable can claim it.
pub fn disposable() -> bool {
    let words = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    words.split_whitespace().any(|word| word == DISPOSABLE)
}

/// A limit of time, longer by `CONFORMANCE_TIME_FACTOR` where the processor is emulated.
pub fn patient(limit: Duration) -> Duration {
    static FACTOR: OnceLock<u32> = OnceLock::new();
    let factor = || std::env::var("CONFORMANCE_TIME_FACTOR").ok()?.parse().ok();
    limit * *FACTOR.get_or_init(|| factor().unwrap_or(1).clamp(1, 100))
}

/// A line of our own /proc/self/status, without its name.
pub fn own_status(name: &str) -> std::io::Result<String> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(line.unwrap_or_default().trim().to_owned())
}

/// Our own nice value, which what we start inherits.
pub fn own_nice() -> std::io::Result<i64> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    // The name may have spaces and parentheses; the fields are counted from behind it, the third of all being the first.
    let behind = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    Ok(behind.split_whitespace().nth(16).and_then(|word| word.parse().ok()).unwrap_or_default())
}
