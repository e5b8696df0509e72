//! Session keyring and OOM adjustment: what is one call each.

use runtime_stage::fail::Step;
use serde::Serialize;

use super::{Context, Kind, Namespaces};

/// The session keyring joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Keyring {
    /// `_ses.<id>`: named, so that exec joins the same.
    pub name: String,
    /// Permission bits (keyctl_setperm(3)); 0: as they are.
    pub permissions: u32,
}

/// What the kernel gives a new session keyring.
const DEFAULT: u32 = 0x3f13_0000;
const USER_SEARCH: u32 = 0x0008_0000;
const OTHER_SEARCH: u32 = 0x8;

pub(super) fn keyring(cx: &mut Context<'_>, namespaces: &Namespaces) -> Option<Keyring> {
    if cx.request.no_new_keyring {
        return None;
    }
    // In a user namespace the owner of the keyring is nobody inside: others must be able to search it.
    let search = if namespaces.is_private(Kind::User) { OTHER_SEARCH } else { USER_SEARCH };
    cx.origins.note(Step::Keyring, 0, "", "make the session keyring");
    // An exec finds it with its permissions.
    let permissions = if cx.request.exec.is_some() { 0 } else { DEFAULT | search };
    Some(Keyring { name: format!("_ses.{}", cx.request.id), permissions })
}

pub(super) fn oom_score_adj(cx: &mut Context<'_>) -> Option<i32> {
    let value = cx.spec.process.as_ref()?.oom_score_adj?;
    if !(-1000..=1000).contains(&value) {
        cx.problem("/process/oomScoreAdj", format!("{value} is outside -1000 to 1000"));
    }
    Some(value)
}
