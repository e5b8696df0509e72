//! What this version cannot do yet. A config that asks for it is refused: it is never started without.

use super::Context;
use crate::spec::{Linux, Spec};

/// What the refusal of a property says, wherever it is made.
pub(crate) const NOT_SUPPORTED: &str = "not supported by this version of runtime";

/// Whether a config asks for a property.
type Asks = fn(&Spec) -> bool;

/// Every property that no other noun plans, and how to see that a config asks for it.
const NOT_YET: &[(&str, Asks)] =
    &[("/linux/mountLabel", |spec| linux(spec, |l| l.mount_label.as_ref().is_some_and(|label| !label.is_empty())))];

fn linux(spec: &Spec, asks: impl Fn(&Linux) -> bool) -> bool {
    spec.linux.as_ref().is_some_and(asks)
}

/// Refuses them.
pub(super) fn check(cx: &mut Context<'_>) {
    for (pointer, asks) in NOT_YET {
        if asks(cx.spec) {
            cx.problem(*pointer, NOT_SUPPORTED);
        }
    }
}

/// Their pointers.
#[cfg(test)]
pub(crate) fn refused_pointers() -> Vec<&'static str> {
    NOT_YET.iter().map(|(pointer, _)| *pointer).collect()
}
