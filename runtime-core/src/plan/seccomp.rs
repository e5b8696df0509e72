//! `linux.seccomp`: the filter, and who answers what it notifies.

use runtime_stage::fail::Step;
use serde::Serialize;

use super::{Context, HostPath};
use crate::seccomp::{Arch, Filter, compile};
use crate::spec::Seccomp;

/// Who gets the listener of a filter that notifies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listener {
    /// AF_UNIX stream socket of the agent.
    pub path: HostPath,
    /// Passed along as it is.
    pub metadata: String,
}

pub(super) fn filter(cx: &mut Context<'_>) -> Option<Filter> {
    let Some(profile) = cx.spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref()) else {
        if cx.request.seccomp_report {
            cx.problem("/linux/seccomp", "there is no profile to report on");
        }
        return None;
    };
    match compile(profile, Arch::native()) {
        Ok(filter) => {
            cx.origins.note(Step::Seccomp, 0, "/linux/seccomp", "load the system call filter");
            cx.origins.note(Step::Seccomp, 1, "/linux/seccomp/listenerPath", "hand the listener over");
            reported(cx, profile, filter)
        }
        Err(problems) => {
            cx.problems.extend(problems);
            None
        }
    }
}

/// The filter as it is loaded: with a report, its denials are notified.
fn reported(cx: &mut Context<'_>, profile: &Seccomp, filter: Filter) -> Option<Filter> {
    if !cx.request.seccomp_report {
        return Some(filter);
    }
    match filter.reporting(profile) {
        Ok(reporting) => {
            cx.reported = Some(filter);
            Some(reporting)
        }
        Err(problems) => {
            cx.problems.extend(problems);
            None
        }
    }
}

/// Where the listener goes. A path that nothing notifies is ignored, as in runc; a relative one starts at the
/// bundle.
pub(super) fn listener(cx: &mut Context<'_>, filter: Option<&Filter>) -> Option<Listener> {
    let profile = cx.spec.linux.as_ref()?.seccomp.as_ref()?;
    if cx.reported.is_some() {
        return None;
    }
    let path = profile.listener_path.as_deref().filter(|_| filter.is_some_and(|filter| filter.notify))?;
    let metadata = profile.listener_metadata.clone().unwrap_or_default();
    cx.no_nul("/linux/seccomp/listenerPath", path);
    let path = if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", cx.request.bundle) };
    Some(Listener { path, metadata })
}
