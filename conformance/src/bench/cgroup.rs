//! `bench --cgroups`: the cgroup's part of a run alone, by our library and by the floor. In a whole `run` it is a tenth, which
//! the noise of the rest would hide.

use std::path::Path;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use runtime_core::cgroup::{self, Cgroup};
use runtime_core::spec::Resources;

use super::program::Programs;
use super::{Result, measure};

/// How many cgroups one sample makes and removes.
const COUNT: usize = 100;
/// As the bench's bundles have it.
const RESOURCES: &str = r#"{"devices":[{"allow":false,"access":"rwm"}]}"#;

/// Takes turns; CPU microseconds of one cgroup by the floor and by ours, medians, as a line.
pub fn compare(programs: &Programs, rounds: usize, directory: &Path) -> Result<String> {
    let (mut floor, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        floor.push(floor_sample(programs, directory)?);
        ours.push(our_sample().map_err(|e| e.to_string())?);
    }
    let [floor, ours] = [&mut floor, &mut ours].map(|all| {
        all.sort_unstable();
        all[all.len() / 2] as f64 / COUNT as f64
    });
    Ok(format!(
        "cgroup of a container (made, device rules in force, removed), CPU µs, median of {rounds}: \
         floor {floor:.0}, ours {ours:.0} ({:.2} ×)",
        ours / floor
    ))
}

fn floor_sample(programs: &Programs, directory: &Path) -> Result<u64> {
    let [floor, root] = [&programs.floor, directory].map(|path| path.to_string_lossy().into_owned());
    let command = [floor.as_str(), "--root", &root, "cgroups", &COUNT.to_string()];
    Ok(measure::run(&programs.measure, &command, &directory.join("cgroups.log"))?.cpu)
}

/// What `run` does about the cgroup of a container, from looking at the host to the removal.
fn our_sample() -> runtime_core::Result<u64> {
    let resources: Resources = serde_json::from_str(RESOURCES).map_err(|e| problem(&e.to_string()))?;
    let begin = cpu();
    for _ in 0..COUNT {
        let layout = runtime_core::host::cgroup::probe(true)?;
        let placement = cgroup::place(&layout, None, "bench-cgroup").map_err(|p| problem(&p.to_string()))?;
        let said = |problems: Vec<_>| problem(&format!("{problems:?}"));
        let writes = cgroup::writes(&placement, &resources).map_err(said)?;
        let devices = cgroup::devices(&placement, resources.devices.as_deref(), false).map_err(said)?;
        drop(Cgroup::create_forgiving(&placement, &writes, &devices)?);
        Cgroup::open(&placement)?.remove(Duration::from_secs(1))?;
    }
    Ok(cpu() - begin)
}

fn problem(text: &str) -> runtime_core::Error {
    runtime_core::Error::new(runtime_core::ErrorKind::InvalidConfig, text)
}

/// User and system microseconds of this process.
fn cpu() -> u64 {
    let micros = |time: nix::sys::time::TimeVal| time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64;
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| micros(usage.user_time()) + micros(usage.system_time()))
}
