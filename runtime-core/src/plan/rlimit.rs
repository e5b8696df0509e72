//! `process.rlimits`.

use runtime_stage::fail::Step;
use serde::Serialize;

use super::Context;

/// One limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// RLIMIT_* number.
    #[serde(serialize_with = "name")]
    pub resource: u32,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// getrlimit(2), numbers as the kernel has them on every architecture we run on.
const NAMES: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

fn name<S: serde::Serializer>(resource: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(NAMES.get(*resource as usize).unwrap_or(&"?"))
}

pub(super) fn plan(cx: &mut Context<'_>) -> Vec<Limit> {
    let list = cx.spec.process.as_ref().and_then(|process| process.rlimits.as_deref()).unwrap_or_default();
    let mut limits: Vec<Limit> = Vec::new();
    for (index, rlimit) in list.iter().enumerate() {
        let at = format!("/process/rlimits/{index}");
        let name = rlimit.typ.as_deref().unwrap_or_default();
        let Some(resource) = NAMES.iter().position(|known| *known == name).and_then(|at| u32::try_from(at).ok()) else {
            cx.problem(format!("{at}/type"), format!("wrong rlimit value: {name}"));
            continue;
        };
        if limits.iter().any(|limit| limit.resource == resource) {
            cx.problem(format!("{at}/type"), format!("duplicate rlimit {name}"));
        }
        for (value, property) in [(rlimit.soft, "soft"), (rlimit.hard, "hard")] {
            if value.is_none() {
                cx.problem(at.as_str(), format!("{name} has no {property} limit"));
            }
        }
        let (soft, hard) = (rlimit.soft.unwrap_or(0), rlimit.hard.unwrap_or(u64::MAX));
        if soft > hard {
            cx.problem(format!("{at}/soft"), format!("soft limit {soft} is above the hard limit {hard}"));
        }
        cx.origins.note(Step::Rlimit, limits.len(), at, format!("set {name} to {soft}:{hard}"));
        limits.push(Limit { resource, soft, hard });
    }
    limits
}
