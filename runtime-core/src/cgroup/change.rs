//! Changing the limits of a running container: only what differs, and all of it or nothing.

use super::dir::{self, Dir};
use super::write::{Rule, Write};
use super::{Cgroup, apply, file};
use crate::Result;

/// The writes that lead from `old` to `new`. What `requested` is true for is written also if it is on record already:
/// somebody else may have changed it since.
pub fn difference(old: &[Write], new: Vec<Write>, requested: impl Fn(&Write) -> bool) -> Vec<Write> {
    let known =
        |write: &Write| old.iter().any(|o| (o.place, &o.file, &o.value) == (write.place, &write.file, &write.value));
    new.into_iter().filter(|write| requested(write) || !known(write)).collect()
}

impl Cgroup {
    /// Writes new limits; the container is not frozen meanwhile. If one is refused, those before it are taken back.
    /// The writes that would take back all of them are returned.
    pub fn change(&self, writes: &[Write]) -> Result<Vec<Write>> {
        self.check(writes)?;
        let before = self.snapshot(writes);
        let throttles = self.shrink(writes)?;
        let result = apply::apply(&self.dirs, writes);
        let mut released = Ok(());
        for throttle in throttles {
            // Each of them, also after one that could not be.
            released = throttle.release().and(released);
        }
        let Err(error) = result.and(released) else { return Ok(before) };
        match apply::apply(&self.dirs, &before) {
            Ok(()) => Err(error),
            Err(second) => Err(error.with_hint(format!("not everything could be put back: {second}"))),
        }
    }

    /// Refuses limits below what is in use, where the config wants that looked at first (`checkBeforeUpdate`).
    pub fn check(&self, writes: &[Write]) -> Result<()> {
        apply::check(&self.dirs, writes)
    }

    /// What the files hold that `writes` is about to change, as writes.
    fn snapshot(&self, writes: &[Write]) -> Vec<Write> {
        let mut before: Vec<Write> = Vec::new();
        for write in writes.iter().filter(|write| !matches!(write.rule, Rule::Above { .. })) {
            let Some(dir) = self.dirs.get(write.place).and_then(Option::as_ref) else { continue };
            let other = match &write.rule {
                Rule::OrElse { file, value } => Some((file.as_str(), value.as_str())),
                _ => None,
            };
            let candidates = [Some((write.file.as_str(), write.value.as_str())), other];
            let found = candidates
                .into_iter()
                .flatten()
                .find_map(|(name, value)| Some((name, old_value(&file::read(&dir.fd, name).ok()?, name, value))));
            let Some((name, value)) = found else { continue };
            if !before.iter().any(|b| (b.place, b.file.as_str(), &b.value) == (write.place, name, &value)) {
                let (file, pointer) = (name.to_owned(), write.pointer.clone());
                before.push(Write { place: write.place, file, value, pointer, rule: Rule::Again });
            }
        }
        before
    }

    /// Version 2 kills rather than refuses when a limit goes below what is in use. A lower `memory.high` makes the
    /// kernel reclaim first, and holds back those who go on taking; it stays until the limit is in force.
    fn shrink(&self, writes: &[Write]) -> Result<Vec<Throttle<'_>>> {
        let mut throttles = Vec::new();
        for write in writes.iter().filter(|write| write.file == "memory.max") {
            let Some(dir) = self.dirs.get(write.place).and_then(Option::as_ref) else { continue };
            let number = |name: &str| file::read(&dir.fd, name).ok()?.trim().parse::<u64>().ok();
            let (Ok(limit), Some(used)) = (write.value.parse::<u64>(), number("memory.current")) else { continue };
            let Ok(old) = file::read(&dir.fd, "memory.high") else { continue };
            if used <= limit || old.trim().parse().is_ok_and(|old: u64| old <= limit) {
                continue;
            }
            let throttle = Throttle { dir, old: old.trim().to_owned() };
            file::write(&dir.fd, "memory.high", &write.value)
                .map_err(|errno| dir::failed(&dir.place, "shrink", "write", "memory.high", errno).at(&write.pointer))?;
            // Given by the request itself: then it is not ours to take back.
            if !writes.iter().any(|other| other.file == "memory.high") {
                throttles.push(throttle);
            }
        }
        Ok(throttles)
    }
}

/// A `memory.high` that is lower than it was.
struct Throttle<'a> {
    dir: &'a Dir,
    old: String,
}

impl Throttle<'_> {
    fn release(self) -> Result<()> {
        match file::write(&self.dir.fd, "memory.high", &self.old) {
            Err(errno) if !file::is_gone(errno) => {
                Err(dir::failed(&self.dir.place, "release", "write", "memory.high", errno))
            }
            _ => Ok(()),
        }
    }
}

/// What to write to `name` to have what it held before `new` was written. Files with a line for each device get the
/// line of the device that `new` is about.
fn old_value(held: &str, name: &str, new: &str) -> String {
    let device = new.split_once(' ').map(|(device, _)| device).filter(|device| is_keyed(name, device));
    let Some(device) = device else {
        return match (held.trim(), held.lines().find(|line| line.starts_with("default "))) {
            ("", _) => "\n".to_owned(),
            // `io.weight`: the value of no device.
            (_, Some(default)) => default.to_owned(),
            (value, None) => value.to_owned(),
        };
    };
    if let Some(line) = held.lines().find(|line| line.split(' ').next() == Some(device)) {
        return line.to_owned();
    }
    let nothing = match name {
        "io.max" => "rbps=max wbps=max riops=max wiops=max",
        "rdma.max" => "hca_handle=max hca_object=max",
        "io.weight" | "io.bfq.weight" => "default",
        _ => "0",
    };
    format!("{device} {nothing}")
}

fn is_keyed(name: &str, first: &str) -> bool {
    first.contains(':') || matches!(name, "rdma.max" | "net_prio.ifpriomap")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(file: &str, value: &str) -> Write {
        Write { file: file.into(), value: value.into(), ..Write::default() }
    }

    #[test]
    fn only_what_differs_or_was_asked_for() {
        let old = [write("memory.max", "5"), write("cpu.weight", "100"), write("pids.max", "9")];
        let new = vec![write("memory.max", "6"), write("cpu.weight", "100"), write("pids.max", "9")];
        let files = |writes: Vec<Write>| writes.into_iter().map(|w| w.file).collect::<Vec<_>>();
        assert_eq!(files(difference(&old, new.clone(), |_| false)), ["memory.max"]);
        assert_eq!(files(difference(&old, new, |write| write.file == "pids.max")), ["memory.max", "pids.max"]);
    }

    #[test]
    fn old_values_by_file() {
        for (held, name, new, wanted) in [
            ("max\n", "memory.max", "5", "max"),
            ("max 100000\n", "cpu.max", "5000 10000", "max 100000"),
            ("", "cpuset.cpus", "0", "\n"),
            (
                "8:0 rbps=1 wbps=max riops=max wiops=max\n",
                "io.max",
                "8:0 rbps=2",
                "8:0 rbps=1 wbps=max riops=max wiops=max",
            ),
            ("", "io.max", "8:0 rbps=2", "8:0 rbps=max wbps=max riops=max wiops=max"),
            ("8:16 7\n", "blkio.throttle.read_bps_device", "8:0 2", "8:0 0"),
            ("default 100\n8:0 50\n", "io.weight", "200", "default 100"),
            ("default 100\n8:0 50\n", "io.weight", "8:0 200", "8:0 50"),
            ("default 100\n", "io.weight", "8:0 200", "8:0 default"),
            ("mlx hca_handle=1 hca_object=max\n", "rdma.max", "mlx hca_handle=2", "mlx hca_handle=1 hca_object=max"),
        ] {
            assert_eq!(old_value(held, name, new), wanted, "{name} {new}");
        }
    }
}
