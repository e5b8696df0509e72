//! `run` in the foreground: start, pass signals and the terminal on, wait, clean up.
//!
//! Without a terminal the program has our own standard streams. runc puts pipes in between; as we stay until the
//! program ends, inheriting shows the program and the caller the same, without copying.

use std::fs::File;
use std::io::{self, Write as _};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use runtime_core::seccomp::Denied;
use runtime_core::{ReportTo, Runtime};

use crate::attend::{attend, block_signals, failed};
use crate::launch::Launch;
use crate::log::{Level, Logger};
use crate::{notify, print, terminal};

/// What to do besides waiting.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Do not delete the container.
    pub keep: bool,
    /// Adopt and reap what the container orphans.
    pub subreaper: bool,
    /// Where to write what the seccomp profile denied.
    pub seccomp_report: Option<PathBuf>,
}

/// Runs a container and returns its exit status, 128 plus the signal if one killed it.
pub fn foreground(runtime: &Runtime, launch: &Launch, manner: Manner, log: &Logger) -> Result<i32, String> {
    if launch.has_console_socket() {
        return Err("cannot use console socket if runc will not detach or allocate tty".to_owned());
    }
    if manner.subreaper {
        nix::sys::prctl::set_child_subreaper(true).map_err(|errno| failed("prctl(PR_SET_CHILD_SUBREAPER)", errno))?;
    }
    // Blocked before there is a container, so that no signal can kill us and leave it behind; the launch gives the
    // program an empty mask.
    let signals = block_signals().map_err(|errno| failed("signalfd4", errno))?;
    let mut request = launch.attached();
    request.console_size = Some(&terminal::size);
    // What is open is closed by the end of the process.
    let signals = ManuallyDrop::new(signals);
    // The file first: a run whose report has nowhere to go is not started.
    let report = manner.seccomp_report.as_deref().map(Report::create).transpose()?;
    let (report, to) = report.unzip();
    request.seccomp_report = to;
    let container = ManuallyDrop::new(runtime.run(&request).map_err(|error| error.to_string())?);
    request.seccomp_report = None;
    let teller = launch.manager().and_then(|manager| notify::spawn(&container, manager));
    let status = attend(&*container, &signals);
    if let Some(teller) = teller {
        notify::join(teller, log);
    }
    if !manner.keep
        && let Err(error) = container.delete(status.is_err())
    {
        log.log(Level::Warning, &format!("{error}; what is left goes with delete --force {}", request.id));
    }
    match report {
        // Nothing is left that could still be denied something, unless the container is kept.
        Some(report) => status.and_then(|status| report.write().map(|()| status)),
        None => status,
    }
}

/// The report of `--seccomp-report`, made by a thread that answers while the container runs.
struct Report {
    path: PathBuf,
    file: File,
    made: Receiver<io::Result<Vec<Denied>>>,
}

impl Report {
    fn create(path: &Path) -> Result<(Self, ReportTo), String> {
        let file = File::create(path).map_err(|error| format!("{}: {}", path.display(), print::cause(&error)))?;
        let (sender, made) = channel();
        let to: ReportTo = Arc::new(move |reporter| {
            let sender = sender.clone();
            // Nobody hears it if the launch failed after all.
            std::thread::spawn(move || drop(sender.send(reporter.serve())));
        });
        Ok((Self { path: path.to_owned(), file, made }, to))
    }

    /// Waits until nothing is left of the container, and writes.
    fn write(mut self) -> Result<(), String> {
        let failed = |what: &dyn std::fmt::Display| format!("seccomp report {}: {what}", self.path.display());
        let denied = self.made.recv().map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
        let mut text = serde_json::to_string_pretty(&denied).map_err(|error| failed(&error))?;
        text.push('\n');
        self.file.write_all(text.as_bytes()).map_err(|error| failed(&error))
    }
}
