//! When each step of a launch was begun, for whoever asks: the stage's flight recorder with times.

use std::sync::Mutex;
use std::time::Duration;

use runtime_stage::fail::Step;
use runtime_stage::io::Block;
use runtime_stage::sys::{STAMP, STAMPS, monotonic, word};

/// One step that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Time since the launch began.
    pub at: Duration,
    /// Name of the step; those of the caller's side are `Clone`, `Cloned` and `Done`.
    pub step: String,
    /// Element of the step's list: the mount, the device, ….
    pub index: u32,
}

/// Takes the moments of a launch. Without one, no time is taken.
#[derive(Debug, Default)]
pub struct Timeline(Mutex<Vec<Moment>>);

impl Timeline {
    /// What was recorded, in order of time.
    pub fn moments(&self) -> Vec<Moment> {
        self.0.lock().map(|moments| moments.clone()).unwrap_or_default()
    }
}

/// The caller's side of a launch that is timed.
pub(crate) struct Times {
    start: u64,
    cloned: u64,
}

impl Times {
    /// The process is about to be made.
    pub(crate) fn begin() -> Self {
        Self { start: monotonic(), cloned: 0 }
    }

    /// The process is there.
    pub(crate) fn cloned(&mut self) {
        self.cloned = monotonic();
    }

    /// The launch is over: everything goes to the timeline.
    pub(crate) fn end(&self, block: &Block, timeline: &Timeline) {
        let since = |at: u64| Duration::from_nanos(at.saturating_sub(self.start));
        let own = |at: u64, step: &str| Moment { at: since(at), step: step.to_owned(), index: 0 };
        let mut moments = vec![own(self.start, "Clone"), own(self.cloned, "Cloned")];
        let (first, count) = (block.get(word::TIMELINE) as usize, block.get(word::TIMELINE_COUNT) as usize);
        for at in (0..count.min(STAMPS)).map(|number| first + number * STAMP) {
            let [step, index, low, high] = [0, 4, 8, 12].map(|offset| block.get(at + offset));
            let name = Step::ALL.get(step as usize).map_or_else(|| step.to_string(), |step| format!("{step:?}"));
            moments.push(Moment { at: since(u64::from(low) | u64::from(high) << 32), step: name, index });
        }
        moments.push(own(monotonic(), "Done"));
        moments.sort_by_key(|moment| moment.at);
        if let Ok(mut taken) = timeline.0.lock() {
            *taken = moments;
        }
    }
}
