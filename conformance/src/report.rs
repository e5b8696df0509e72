//! What the probe reported, by name instead of by index.

use serde_json::Value;

#[derive(Debug, Clone)]
pub struct Report(pub Value);

impl Report {
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map(Self).map_err(|e| format!("the probe's report is not JSON ({e}): {text:?}"))
    }

    /// The value at a JSON pointer; null when there is none.
    pub fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// A line of /proc/self/status.
    pub fn status(&self, name: &str) -> &str {
        self.0["status"][name].as_str().unwrap_or("")
    }

    /// A capability set as bits.
    pub fn caps(&self, set: &str) -> u64 {
        u64::from_str_radix(self.status(&format!("Cap{set}")), 16).unwrap_or(u64::MAX)
    }

    /// The topmost mount at a path.
    pub fn mount(&self, point: &str) -> &Value {
        let all = self.0["mounts"].as_array().map(Vec::as_slice).unwrap_or_default();
        all.iter().rev().find(|m| m["point"] == point).unwrap_or(&Value::Null)
    }

    /// Whether the topmost mount at `point` has a per-mount or superblock option.
    pub fn mounted_with(&self, point: &str, option: &str) -> bool {
        let mount = self.mount(point);
        let has = |key: &str| mount[key].as_array().is_some_and(|l| l.iter().any(|o| o == option));
        has("options") || has("super")
    }

    /// The per-mount options of the topmost mount at `point`.
    pub fn options(&self, point: &str) -> Vec<&str> {
        let list = self.mount(point)["options"].as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(Value::as_str).collect()
    }

    /// What is known of a path given with `--path`.
    pub fn path(&self, path: &str) -> &Value {
        &self.0["paths"][path]
    }

    /// The value of an environment variable, and how often it is there.
    pub fn env(&self, name: &str) -> (Option<&str>, usize) {
        let all = self.0["env"].as_array().map(Vec::as_slice).unwrap_or_default();
        let prefix = format!("{name}=");
        let found: Vec<&str> = all.iter().filter_map(|e| e.as_str()?.strip_prefix(&prefix)).collect();
        (found.first().copied(), found.len())
    }

    /// Which descriptors are open.
    pub fn descriptors(&self) -> Vec<u32> {
        let mut all: Vec<u32> =
            self.0["fds"].as_object().map(|m| m.keys().filter_map(|k| k.parse().ok()).collect()).unwrap_or_default();
        all.sort_unstable();
        all
    }
}
