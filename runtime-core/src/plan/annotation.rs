//! `annotations`: any text under any name but the empty one.

use super::Context;

pub(super) fn check(cx: &mut Context<'_>) {
    if cx.spec.annotations.as_ref().is_some_and(|map| map.contains_key("")) {
        cx.problem("/annotations", "the name of an annotation must not be empty");
    }
}
