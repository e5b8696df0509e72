//! After a test: no process, mount, cgroup or state of it may be left on the host.

use crate::machine::patient;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Environment variable that every process of a test carries, with the test's id.
pub const MARKER: &str = "CONFORMANCE_ID";

/// How long a killed process or an emptied cgroup may take to go.
const GRACE: Duration = Duration::from_secs(2);

/// What is left of the test `id`, as sentences. Looks again for a while before it complains: exits take time.
pub fn left(id: &str, folder: &Path, state: &Path) -> Vec<String> {
    let start = Instant::now();
    loop {
        let found = look(id, folder, state);
        if found.is_empty() || start.elapsed() > patient(GRACE) {
            return found;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn look(id: &str, folder: &Path, state: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for pid in processes(id) {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        found.push(format!("process {pid} {:?}", String::from_utf8_lossy(&command).replace('\0', " ")));
    }
    found.extend(cgroups(id).iter().map(|c| format!("cgroup {}", c.display())));
    found.extend(mounts_under(folder).iter().map(|m| format!("mount {m}")));
    if let Ok(entries) = fs::read_dir(state) {
        found.extend(entries.flatten().map(|e| format!("state {}", e.path().display())));
    }
    found
}

/// Processes that carry the test's marker in their environment or sit in its cgroup.
pub fn processes(id: &str) -> Vec<i32> {
    let wanted = format!("{MARKER}={id}");
    let mut found: Vec<i32> = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else { continue };
        let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environ.split(|b| *b == 0).any(|e| e == wanted.as_bytes()) {
            found.push(pid);
        }
    }
    for cgroup in cgroups(id) {
        let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
        found.extend(text.lines().filter_map(|l| l.parse::<i32>().ok()));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Cgroups of the test in any hierarchy, children before parents.
pub fn cgroups(id: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let root = Path::new("/sys/fs/cgroup");
    let mut roots: Vec<PathBuf> = fs::read_dir(root).into_iter().flatten().flatten().map(|e| e.path()).collect();
    roots.push(root.into());
    // A runtime that ignored cgroupsPath would have put it below our own.
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        if let (Some(names), Some(path)) = (parts.next(), parts.next()) {
            let own = root.join(names.trim_start_matches("name=")).join(path.trim_start_matches('/'));
            roots.extend(own.parent().filter(|parent| parent.starts_with(root)).map(Path::to_path_buf));
            roots.push(own);
        }
    }
    for root in roots {
        for entry in fs::read_dir(&root).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().contains(id) && entry.path().is_dir() {
                descend(&entry.path(), &mut found);
            }
        }
    }
    found.sort();
    found.dedup();
    found.reverse();
    found
}

fn descend(path: &Path, found: &mut Vec<PathBuf>) {
    found.push(path.into());
    for entry in fs::read_dir(path).into_iter().flatten().flatten().filter(|e| e.path().is_dir()) {
        descend(&entry.path(), found);
    }
}

/// Mounts of our own mount namespace at or below a folder, or from one.
pub fn mounts_under(folder: &Path) -> Vec<String> {
    let wanted = folder.to_string_lossy();
    mounts().into_iter().filter(|l| l.split(' ').any(|w| w.starts_with(&*wanted))).collect()
}

/// All mounts of our own mount namespace, without their ids' order.
pub fn mounts() -> Vec<String> {
    fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().lines().map(Into::into).collect()
}

/// Ends what a failed test left, so that the next one starts clean. Only what carries the test's id is touched.
pub fn clean(id: &str, folder: &Path) {
    for cgroup in cgroups(id) {
        let _ = fs::write(cgroup.join("freezer.state"), "THAWED");
        let _ = fs::write(cgroup.join("cgroup.freeze"), "0");
    }
    for pid in processes(id) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    for mount in mounts_under(folder) {
        if let Some(point) = mount.split(' ').nth(4) {
            let _ = nix::mount::umount2(point, nix::mount::MntFlags::MNT_DETACH);
        }
    }
    let start = Instant::now();
    while !cgroups(id).is_empty() && start.elapsed() < patient(GRACE) {
        for cgroup in cgroups(id) {
            let _ = fs::remove_dir(cgroup);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
