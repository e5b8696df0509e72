//! Whether a container that did not start ran out of memory. Looked at only when a create has failed.

use super::{Cgroup, Place, file};

impl Cgroup {
    /// The limit and the peak, if the kernel has killed for memory here, or refused some: both are counted. That it did
    /// the latter is asked only if a call failed as for want of memory (`refused`).
    pub fn out_of_memory(&self, refused: bool) -> Option<String> {
        let dir = self.dirs().find(|dir| holds_memory(&dir.place) && file::read(&dir.fd, limit(&dir.place)).is_ok())?;
        let read = |name: &str| file::read(&dir.fd, name).ok();
        let v2 = dir.place.v2;
        let limit: u64 = read(limit(&dir.place))?.trim().parse().ok()?;
        let events = read(if v2 { "memory.events" } else { "memory.oom_control" })?;
        let number = |text: &str| text.trim().parse::<u64>().ok();
        let count = |name| events.lines().find_map(|line| number(line.strip_prefix(name)?));
        let refusals = || if v2 { count("max ") } else { number(&read("memory.failcnt")?) };
        let killed = count("oom_kill ").is_some_and(|kills| kills > 0);
        let refused = || refused && refusals().is_some_and(|refusals| refusals > 0);
        if !(killed || refused()) {
            return None;
        }
        let peak = read(if v2 { "memory.peak" } else { "memory.max_usage_in_bytes" });
        let peak = peak.map_or_else(String::new, |peak| format!(", peak {} bytes", peak.trim()));
        let what = if killed { "container init was OOM-killed" } else { "container init got no memory" };
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
