//! `linux.personality`: the execution domain.

use runtime_stage::fail::Step;

use super::{Context, known};

/// personality(2): the domain's number.
pub(super) fn plan(cx: &mut Context<'_>) -> Option<u32> {
    const DOMAINS: [(&str, u32); 2] = [("LINUX", 0), ("LINUX32", 8)];
    let wanted = cx.spec.linux.as_ref()?.personality.as_ref()?;
    for (index, flag) in wanted.flags.iter().flatten().enumerate() {
        // config-linux.md: "Currently no flag values are supported."
        cx.problem(
            format!("/linux/personality/flags/{index}"),
            format!("unknown personality flag {flag:?}; none exists"),
        );
    }
    let name = wanted.domain.as_deref().unwrap_or_default();
    let Some((_, domain)) = DOMAINS.iter().find(|(known, _)| *known == name) else {
        let message = known("personality domain", name, DOMAINS.iter().map(|domain| domain.0));
        cx.problem("/linux/personality/domain", message);
        return None;
    };
    cx.origins.note(Step::Personality, 0, "/linux/personality", format!("change the personality to {name}"));
    Some(*domain)
}
