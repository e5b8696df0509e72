//! Whether a container that did not start ran out of memory. Looked at only when a create has failed.

use super::{Cgroup, Place, file};

impl Cgroup {
    /// The limit and the peak, if the kernel has killed for memory here, or refused some (`refused`).
    pub fn out_of_memory(&self, refused: bool) -> Option<String> {
        let dir = self.dirs().find(|dir| holds_memory(&dir.place) && file::read(&dir.fd, limit(&dir.place)).is_ok())?;
        let read = |name: &str| file::read(&dir.fd, name).ok();
        let v2 = dir.place.v2;
        let limit: u64 = read(limit(&dir.place))?.trim().parse().ok()?;
        let kills = read(if v2 { "memory.events" } else { "memory.oom_control" })?;
        let kills = kills.lines().find_map(|line| line.strip_prefix("oom_kill ")).unwrap_or("0");
        if kills == "0" && !refused {
            return None;
        }
        let peak = read(if v2 { "memory.peak" } else { "memory.max_usage_in_bytes" });
        let peak = peak.map_or_else(String::new, |peak| format!(", peak {} bytes", peak.trim()));
        let what = if kills == "0" { "container init got no memory" } else { "container init was OOM-killed" };
        Some(format!("{what} (memory limit too low?): limit {limit} bytes{peak}"))
    }
}

fn holds_memory(place: &Place) -> bool {
    place.v2 || place.controllers.iter().any(|name| name == "memory")
}

/// The file of the limit.
fn limit(place: &Place) -> &'static str {
    if place.v2 { "memory.max" } else { "memory.limit_in_bytes" }
}
