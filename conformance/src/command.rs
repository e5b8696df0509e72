//! One process with a time limit. Output goes to files, not pipes: a container keeps its creator's stdout open, and a
//! pipe would make the test wait for the container instead of for the runtime.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

/// What a command did.
#[derive(Debug, Clone)]
pub struct Output {
    /// Exit status; 128 + signal when it was killed.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub timed_out: bool,
    pub took: Duration,
}

impl Output {
    /// Panics and aborts of a runtime fail any test, whatever the test expected.
    pub fn crashed(&self) -> bool {
        matches!(self.code, 101 | 132 | 134 | 135 | 136 | 139) || self.stderr.contains("panicked at")
    }
}

/// A started command whose output goes to files in the test's folder.
#[derive(Debug)]
pub struct Running {
    child: Child,
    out: std::path::PathBuf,
    err: std::path::PathBuf,
    started: Instant,
}

/// Held while a process is made, and by who writes a program: a child that has not come to execve(2) yet would hold the
/// program open for writing, and whoever runs it then gets ETXTBSY.
pub static FORKING: RwLock<()> = RwLock::new(());

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Starts `command` as its own process group, stdin from /dev/null unless `stdin` is given.
pub fn start(mut command: Command, folder: &Path, stdin: Option<File>) -> io::Result<Running> {
    let n = NUMBER.fetch_add(1, Ordering::Relaxed);
    let (out, err) = (folder.join(format!("out.{n}")), folder.join(format!("err.{n}")));
    let stdin = stdin.map_or_else(Stdio::null, Stdio::from);
    command.stdin(stdin).stdout(File::create(&out)?).stderr(File::create(&err)?).process_group(0);
    let started = Instant::now();
    let _forking = FORKING.read().unwrap_or_else(PoisonError::into_inner);
    Ok(Running { child: command.spawn()?, out, err, started })
}

impl Running {
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// What it wrote to stdout up to now.
    pub fn stdout(&self) -> String {
        fs::read(&self.out).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }

    /// Waits at most `limit`, then kills the process group.
    pub fn wait(mut self, limit: Duration) -> io::Result<Output> {
        let mut pause = Duration::from_micros(500);
        let mut timed_out = false;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if !timed_out && self.started.elapsed() > limit {
                timed_out = true;
                let group = nix::unistd::Pid::from_raw(-self.pid());
                let _ = nix::sys::signal::kill(group, nix::sys::signal::Signal::SIGKILL);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(5));
        };
        let text = |p: &Path| fs::read(p).map(|b| String::from_utf8_lossy(&b).into_owned());
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        Ok(Output { code, stdout: text(&self.out)?, stderr: text(&self.err)?, timed_out, took: self.started.elapsed() })
    }
}
