//! One command, measured by the helper `measure`.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Result;

/// What one command cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Nanoseconds from vfork to its end.
    pub wall: u64,
    /// User and system microseconds, its own and of every child it waited for.
    pub cpu: u64,
    /// Peak resident KiB of the largest of them.
    pub rss: u64,
    /// Minor page faults.
    pub faults: u64,
}

impl Sample {
    /// Both, one after the other.
    pub fn then(self, other: Self) -> Self {
        Self {
            wall: self.wall + other.wall,
            cpu: self.cpu + other.cpu,
            rss: self.rss.max(other.rss),
            faults: self.faults + other.faults,
        }
    }
}

/// Runs `command` under `measure`; its stderr goes to the file `log`, because a container that keeps the
/// descriptor would hold a pipe open. An exit status other than 0 is an error that quotes the log.
pub fn run(measure: &Path, command: &[&str], log: &Path) -> Result<Sample> {
    crate::guard::check(command, command.first().unwrap_or(&""))?;
    let stderr = File::create(log).map_err(|e| format!("{}: {e}", log.display()))?;
    let output = Command::new(measure)
        .args(command)
        .stdin(Stdio::null())
        .stderr(stderr)
        .output()
        .map_err(|e| format!("{}: {e}", measure.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match figures[..] {
        [wall, user, system, rss, faults, 0] => Ok(Sample { wall, cpu: user + system, rss, faults }),
        [.., status] => Err(failure(status, log)),
        [] => Err("measure printed nothing".to_owned()),
    }
}

/// The wait status in words, and the last line of the log.
fn failure(status: u64, log: &Path) -> String {
    let how = match (status & 0x7f, status >> 8 & 0xff) {
        (14, _) => "timed out".to_owned(),
        (0, code) => format!("exit status {code}"),
        (signal, _) => format!("killed by signal {signal}"),
    };
    let mut text = String::new();
    let _ = File::open(log).and_then(|mut file| file.read_to_string(&mut text));
    match text.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!("{how}: {}", line.trim().chars().take(160).collect::<String>()),
        None => how,
    }
}
