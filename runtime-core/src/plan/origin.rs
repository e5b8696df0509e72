//! Where each step of the stage comes from, so that a number can be told as a place in `config.json`.

use runtime_stage::fail::Step;

/// The config's side of the steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origins {
    entries: Vec<(Step, u32, Origin)>,
}

/// One step's side of the config.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origin {
    /// JSON pointer; empty where no single property asks for the step.
    pub pointer: String,
    /// What is being done, in words.
    pub what: String,
}

impl Origins {
    /// Notes that element `index` of `step` is there because of `pointer`.
    pub(crate) fn note(&mut self, step: Step, index: usize, pointer: impl Into<String>, what: impl Into<String>) {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        self.entries.push((step, index, Origin { pointer: pointer.into(), what: what.into() }));
    }

    /// What was noted.
    pub fn of(&self, step: Step, index: u32) -> Option<&Origin> {
        self.entries.iter().find(|(s, i, _)| *s == step && *i == index).map(|(_, _, origin)| origin)
    }
}
