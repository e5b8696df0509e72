//! `--timeline FILE`: when each step of a launch began, in microseconds, written when the launch is over.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::ArgMatches;
use runtime_core::Timeline;

use crate::{path, print};

/// A timeline and the file it goes to when it is dropped; none if it was not asked for.
pub struct Record(Option<(PathBuf, Timeline)>);

impl Record {
    /// Reads the flag. The file is made now: later there is no way to say that it cannot be.
    pub fn new(matches: &ArgMatches) -> Result<Self, String> {
        let Some(file) = path(matches, "timeline")? else { return Ok(Self(None)) };
        std::fs::write(&file, "").map_err(|error| format!("open {}: {}", file.display(), print::cause(&error)))?;
        Ok(Self(Some((file, Timeline::default()))))
    }

    /// What the library fills.
    pub fn timeline(&self) -> Option<&Timeline> {
        self.0.as_ref().map(|(_, timeline)| timeline)
    }
}

impl Drop for Record {
    /// Also of a launch that failed: its last step is the one that did.
    fn drop(&mut self) {
        let Some((file, timeline)) = &self.0 else { return };
        let mut text = String::new();
        for moment in timeline.moments() {
            let _ = writeln!(text, "{:>10.1} {} {}", moment.at.as_secs_f64() * 1e6, moment.step, moment.index);
        }
        let _ = std::fs::write(file, text);
    }
}
