//! Where each step of the stage comes from, so that a number can be told as a place in `config.json`.

use std::borrow::Cow;
use std::ops::Range;

use runtime_stage::fail::Step;

/// The config's side of the steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origins {
    entries: Vec<(Step, Range<usize>, Origin)>,
}

/// One step's side of the config.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origin {
    /// JSON pointer; empty where no single property asks for the step.
    pub pointer: Cow<'static, str>,
    /// What is being done, in words.
    pub what: Cow<'static, str>,
}

impl Origins {
    /// Notes that element `index` of `step` is there because of `pointer`.
    pub(crate) fn note(
        &mut self,
        step: Step,
        index: usize,
        pointer: impl Into<Cow<'static, str>>,
        what: impl Into<Cow<'static, str>>,
    ) {
        self.note_all(step, index..index + 1, pointer, what);
    }

    /// The same of several elements.
    pub(crate) fn note_all(
        &mut self,
        step: Step,
        elements: Range<usize>,
        pointer: impl Into<Cow<'static, str>>,
        what: impl Into<Cow<'static, str>>,
    ) {
        self.entries.push((step, elements, Origin { pointer: pointer.into(), what: what.into() }));
    }

    /// What was noted.
    pub fn of(&self, step: Step, index: u32) -> Option<&Origin> {
        // A mount is sealed because of what it is mounted for.
        let step = if step == Step::SealMount { Step::Mount } else { step };
        let is =
            |(its, elements, _): &&(Step, Range<usize>, Origin)| *its == step && elements.contains(&(index as usize));
        self.entries.iter().find(is).map(|(_, _, origin)| origin)
    }
}
