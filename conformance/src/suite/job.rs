//! One program with one runtime: in a pid namespace of its own, so that nothing outlives it.

use super::View;
use super::build::{INSIDE, ROOT, Suite};
use super::tap::Verdict;
use crate::command;
use crate::machine::own_status;
use crate::runtime::Runtime;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

/// The longest takes 15 s, most of it sleeping.
const LIMIT: Duration = Duration::from_secs(60);
/// Cgroups the suite names itself, so that two programs at once would get in each other's way.
const NAMED: [&str; 2] = ["cgrouptest", "testdir"];

static CGROUPS: Mutex<()> = Mutex::new(());

/// Where the programs run: the root filesystem and the program for inside are in the current directory.
#[derive(Debug)]
pub struct Work {
    folder: PathBuf,
    bin: PathBuf,
}

pub fn work(folder: &Path, suite: &Suite) -> io::Result<Work> {
    fs::create_dir_all(folder)?;
    fs::copy(suite.folder.join(ROOT), folder.join(ROOT))?;
    fs::copy(suite.folder.join("bin").join(INSIDE), folder.join(INSIDE))?;
    Ok(Work { folder: folder.into(), bin: suite.folder.join("bin") })
}

#[derive(Debug)]
pub struct Job<'a> {
    pub view: View,
    pub program: &'a String,
    pub runtime: &'a Runtime,
    /// How often it may be tried until it passes.
    pub tries: usize,
}

/// What a shell does in a mount namespace of its own before it becomes the program: the host's mounts go, and those of
/// one version of cgroups come.
const LEGACY: &str = "while umount -R /sys/fs/cgroup 2>&-; do :; done
mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup || exit
while IFS=: read -r number names path; do
  at=/sys/fs/cgroup/${names#name=}
  [ -z \"$names\" ] || { mkdir \"$at\" && mount -t cgroup -o \"${names/#name=/none,name=}\" cgroup \"$at\"; } || exit
done </proc/self/cgroup
exec \"$@\"";
const UNIFIED: &str = "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";

/// The program that wants a container with every capability there is.
const NEEDS_ALL: &str = "process_capabilities";
/// Where root lacks some, it has them all in a user namespace that maps every id to itself. newuidmap(1) has to be told
/// that root may do so.
const ALL_CAPABILITIES: &str = "echo root:0:4294967294 >\"$TMPDIR/ids\" || exit
for file in /etc/subuid /etc/subgid; do mount --bind \"$TMPDIR/ids\" $file || exit; done
exec unshare --user --map-users 0,0,4294967294 --map-groups 0,0,4294967294 --pid --fork --kill-child --mount \
  --mount-proc \"$@\"";

fn has_all_capabilities() -> bool {
    let last = fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap_or_default();
    let last: u32 = last.trim().parse().unwrap_or(u32::MAX);
    let bounding = u64::from_str_radix(&own_status("CapBnd").unwrap_or_default(), 16);
    bounding.is_ok_and(|set| set.trailing_ones() > last)
}

impl Job<'_> {
    pub fn run(&self, number: usize, work: &Work, verbose: bool) -> Verdict {
        let alone = self.program.contains("cgroups") || self.program.contains("resources");
        let guard = alone.then(|| CGROUPS.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        let place = work.folder.join(number.to_string());
        let mut result = self.inside(&place, work, verbose);
        for _ in 1..self.tries {
            if result.as_ref().is_ok_and(Verdict::is_pass) {
                break;
            }
            result = self.inside(&place, work, verbose).ok().filter(Verdict::is_pass).map_or(result, Ok);
        }
        if alone {
            sweep_named();
        }
        drop(guard);
        if crate::leak::mounts_under(&place).is_empty() {
            let _ = fs::remove_dir_all(&place);
        }
        result.unwrap_or_else(|e| Verdict::failed(&format!("the test itself: {e}")))
    }

    fn inside(&self, place: &Path, work: &Work, verbose: bool) -> io::Result<Verdict> {
        let temporary = place.join("tmp");
        fs::create_dir_all(&temporary)?;
        for folder in [place, &temporary] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        }
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc"]);
        match self.view {
            View::Host => {}
            View::Legacy => drop(command.args(["bash", "-c", LEGACY, "bash"])),
            View::Unified => drop(command.args(["bash", "-c", UNIFIED, "bash"])),
        }
        if self.program == NEEDS_ALL && !has_all_capabilities() {
            command.args(["bash", "-c", ALL_CAPABILITIES, "bash"]);
        }
        command.arg(work.bin.join(self.program)).current_dir(&work.folder);
        command.env("RUNTIME", &self.runtime.path).env("TMPDIR", &temporary);
        command.env_remove("XDG_RUNTIME_DIR").env_remove("NOTIFY_SOCKET").env_remove("LISTEN_FDS");
        let output = command::start(command, place, None)?.wait(LIMIT)?;
        let mut verdict = Verdict::read(&output.stdout, &output.stderr, output.code);
        if output.timed_out {
            verdict.end = Some(format!("not done after {LIMIT:?}"));
        } else if output.stderr.contains("panicked at") || output.stdout.contains("panicked at") {
            verdict.end = Some("the runtime panicked".into());
        }
        let name = format!("{:<8} {:?} {:<34}", self.runtime.name, self.view, self.program);
        println!("ran      {name} {:>6} ms  {}", output.took.as_millis(), verdict.word());
        if verbose {
            println!("{}\n{}", output.stdout, output.stderr);
        }
        Ok(verdict)
    }
}

/// What programs that were refused half way have left: cgroups with the names the suite gives them.
pub fn sweep() {
    sweep_where(&|name| NAMED.contains(&name) || is_uuid(name));
}

fn sweep_named() {
    sweep_where(&|name| NAMED.contains(&name));
}

fn sweep_where(wanted: &dyn Fn(&str) -> bool) {
    let root = Path::new("/sys/fs/cgroup");
    let mut places = vec![root.to_path_buf()];
    places.extend(fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path()));
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        if let (Some(names), Some(path)) = (parts.next(), parts.next()) {
            let name = if names.is_empty() { "unified" } else { names.trim_start_matches("name=") };
            places.push(root.join(name).join(path.trim_start_matches('/')));
        }
    }
    for place in places {
        for entry in fs::read_dir(&place).into_iter().flatten().flatten() {
            if wanted(&entry.file_name().to_string_lossy()) && entry.path().is_dir() {
                remove(&entry.path());
            }
        }
    }
}

/// Children first; a cgroup with a process in it stays.
fn remove(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        remove(&entry.path());
    }
    let _ = fs::remove_dir(path);
}

/// The suite's container ids.
fn is_uuid(name: &str) -> bool {
    let lengths: Vec<usize> = name.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && name.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}
