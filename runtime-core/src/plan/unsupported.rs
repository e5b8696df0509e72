//! What this version cannot do yet. A config that asks for it is refused: it is never started without.

use super::Context;

/// Refuses every property that no other noun plans.
pub(super) fn check(cx: &mut Context<'_>) {
    let spec = cx.spec;
    let mut refuse = |asked: bool, pointer: &str| {
        if asked {
            cx.problem(pointer, "not supported by this version of runtime");
        }
    };
    if let Some(linux) = &spec.linux {
        refuse(linux.mount_label.as_ref().is_some_and(|label| !label.is_empty()), "/linux/mountLabel");
    }
}
