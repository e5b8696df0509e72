//! `linux.timeOffsets`: the clocks of a new time namespace.

use runtime_stage::fail::Step;

use super::{Context, Kind, Namespaces};
use crate::spec::escape;

/// time_namespaces(7). The kernel knows them by these names too.
const CLOCKS: [&str; 2] = ["monotonic", "boottime"];
const NANOSECONDS: u32 = 1_000_000_000;

/// The text of `/proc/self/timens_offsets`.
pub(super) fn plan(cx: &mut Context<'_>, namespaces: &Namespaces) -> Option<String> {
    const AT: &str = "/linux/timeOffsets";
    let offsets = cx.spec.linux.as_ref()?.time_offsets.as_ref().filter(|map| !map.is_empty())?;
    if namespaces.is_joined(Kind::Time) {
        let message =
            "time namespace enabled, but both namespace path and time offsets specified -- you may only provide one";
        cx.problem(AT, message);
    } else if !namespaces.is_new(Kind::Time) {
        cx.problem(AT, "time namespace offsets specified, but time namespace isn't enabled in the config");
    }
    let mut text = String::new();
    for (clock, offset) in offsets {
        let at = format!("{AT}/{}", escape(clock));
        if !CLOCKS.contains(&clock.as_str()) {
            cx.problem(at.as_str(), super::known("clock", clock, CLOCKS.into_iter()));
        }
        if offset.nanosecs >= NANOSECONDS {
            cx.problem(format!("{at}/nanosecs"), format!("{} is outside 0 to 999999999", offset.nanosecs));
        }
        text.push_str(&format!("{clock} {} {}\n", offset.secs, offset.nanosecs));
    }
    cx.origins.note(Step::TimeOffsets, 0, AT, "set the clocks of the time namespace");
    Some(text)
}
