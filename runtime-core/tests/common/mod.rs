//! A harness for tests that launch containers: they need root, one process each, and a place of their own.
//!
//! `cargo test` starts the program; it starts itself again in a mount and a pid namespace of its own, with a fresh
//! tmpfs as scratch directory and with no descriptor above 2. Without root (or a tool) a test is counted as ignored, never as passed.
//! The last line is that of cargo's own harness, which `scripts/test.sh` adds up.
#![allow(dead_code, clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// The scratch directory; set in the inner process only.
const SCRATCH: &str = "RUNTIME_TEST_SCRATCH";

/// A name and what it stands for.
pub type Test = (&'static str, fn(&Path));

/// Runs the tests one after the other. `tools`: programs without which they are ignored.
pub fn main(tests: &[Test], tools: &[&str]) -> ExitCode {
    match std::env::var_os(SCRATCH) {
        Some(scratch) => inner(tests, Path::new(&scratch)),
        None => outer(tests, tools),
    }
}

fn outer(tests: &[Test], tools: &[&str]) -> ExitCode {
    if std::env::args().any(|argument| argument == "--list") {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let missing = ["unshare", "busybox"].iter().chain(tools).find(|tool| !is_there(tool));
    let reason = match missing {
        _ if !nix::unistd::geteuid().is_root() => Some("needs root".to_owned()),
        Some(tool) => Some(format!("needs {tool}")),
        None => None,
    };
    if let Some(reason) = reason {
        println!("\nrunning {} tests", tests.len());
        tests.iter().for_each(|(name, _)| println!("test {name} ... ignored, {reason}"));
        println!("\ntest result: ok. 0 passed; 0 failed; {} ignored; 0 measured; 0 filtered out\n", tests.len());
        return ExitCode::SUCCESS;
    }
    let scratch = std::env::temp_dir().join(format!("runtime-test-{}", std::process::id()));
    fs::create_dir(&scratch).unwrap();
    let close = (3..10).map(|fd| format!("{fd}<&- ")).collect::<String>();
    // The shell stays, as the first process of the pid namespace: it reaps what is orphaned.
    let script = format!("mount -t tmpfs -o mode=755 none \"${SCRATCH}\" && \"$0\" \"$@\" {close}; exit $?");
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args(std::env::args_os().skip(1))
        .env(SCRATCH, &scratch)
        .status()
        .unwrap();
    fs::remove_dir(&scratch).unwrap();
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn is_there(tool: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(["/usr/sbin", "/sbin"]).any(|directory| Path::new(directory).join(tool).exists())
}

fn inner(tests: &[Test], scratch: &Path) -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let (mut passed, mut failed, mut ignored, mut filtered) = (0, 0, 0, 0);
    println!("\nrunning {} tests", tests.len());
    let begin = Instant::now();
    for (name, test) in tests {
        if !wanted(name) {
            filtered += 1;
            continue;
        }
        let place = scratch.join(name);
        fs::create_dir(&place).unwrap();
        let begin = Instant::now();
        let (word, count) = match std::panic::catch_unwind(|| test(&place)) {
            Ok(()) => ("ok", &mut passed),
            Err(reason) if reason.is::<Skipped>() => ("ignored", &mut ignored),
            Err(_) => ("FAILED", &mut failed),
        };
        *count += 1;
        println!("test {name} ... {word}, {:.1} s", begin.elapsed().as_secs_f32());
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; {filtered} filtered out; \
         finished in {:.2}s\n",
        begin.elapsed().as_secs_f32()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Skipped;

/// Ends the test as ignored: this machine lacks what it is about.
pub fn skip(why: &str) -> ! {
    println!("skipped: {why}");
    std::panic::resume_unwind(Box::new(Skipped))
}

/// A bundle with busybox as its root filesystem.
pub struct Bundle {
    pub path: PathBuf,
    pub config: serde_json::Value,
}

impl Bundle {
    /// The default config, without a terminal, for `args`; its cgroup is called after the bundle and this process.
    pub fn new(path: &Path, args: &[&str]) -> Self {
        let bin = path.join("rootfs/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy(
            ["/bin/busybox", "/usr/bin/busybox"].iter().find(|p| Path::new(p).exists()).unwrap(),
            bin.join("busybox"),
        )
        .unwrap();
        fs::set_permissions(bin.join("busybox"), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["sh", "true", "sleep", "cat", "ls", "echo"] {
            std::os::unix::fs::symlink("busybox", bin.join(name)).unwrap();
        }
        for name in ["dev", "proc", "sys", "etc"] {
            fs::create_dir_all(path.join("rootfs").join(name)).unwrap();
        }
        let text = runtime_core::verb::spec::default_config(None, false);
        let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
        config["process"]["terminal"] = false.into();
        config["process"]["args"] = args.into();
        let this = Self { path: path.to_owned(), config };
        this.write();
        this
    }

    /// Writes `config.json`.
    pub fn write(&self) {
        fs::write(self.path.join("config.json"), serde_json::to_vec(&self.config).unwrap()).unwrap();
    }

    /// Gives the container this cgroup, and returns what there is of it in each hierarchy when asked.
    pub fn in_cgroup(&mut self, name: &str) -> Cgroups {
        let path = format!("/rt-{name}-{}", std::process::id());
        self.config["linux"]["cgroupsPath"] = path.as_str().into();
        self.write();
        Cgroups(path)
    }
}

/// A cgroup by its path beneath every hierarchy.
pub struct Cgroups(pub String);

impl Cgroups {
    /// Directories of this name that are there.
    pub fn left(&self) -> Vec<PathBuf> {
        let root = PathBuf::from("/sys/fs/cgroup");
        let below = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path());
        let all = std::iter::once(root.clone()).chain(below);
        all.map(|path| PathBuf::from(format!("{}{}", path.display(), self.0))).filter(|path| path.exists()).collect()
    }
}

/// Every process of the test's pid namespace but zombies.
pub fn processes() -> BTreeSet<i32> {
    let alive = |pid: &i32| {
        // Gone by now, or ended: the state follows the last parenthesis.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z") && !rest.starts_with(" X"))
    };
    let entries = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
    entries.filter_map(|name| name.to_str()?.parse().ok()).filter(alive).collect()
}

/// Waits until `condition` holds.
pub fn within(limit: Duration, condition: impl Fn() -> bool) -> bool {
    let end = Instant::now() + limit;
    while !condition() {
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}
