//! `linux.memoryPolicy`: which NUMA nodes memory comes from.

use runtime_stage::fail::Step;
use serde::Serialize;

use super::{Context, cpulist};
use crate::spec;

/// set_mempolicy(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryPolicy {
    /// MPOL_* number with its MPOL_F_* bits.
    pub mode: u32,
    /// Nodes, a bit each.
    pub nodes: Vec<u64>,
}

/// Does the mode take nodes?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nodes {
    None,
    Any,
    Some,
}

const MODES: [(&str, u32, Nodes); 7] = [
    ("MPOL_DEFAULT", 0, Nodes::None),
    ("MPOL_PREFERRED", 1, Nodes::Any),
    ("MPOL_BIND", 2, Nodes::Some),
    ("MPOL_INTERLEAVE", 3, Nodes::Some),
    ("MPOL_LOCAL", 4, Nodes::None),
    ("MPOL_PREFERRED_MANY", 5, Nodes::Some),
    ("MPOL_WEIGHTED_INTERLEAVE", 6, Nodes::Some),
];

const FLAGS: [(&str, u32); 3] =
    [("MPOL_F_NUMA_BALANCING", 1 << 13), ("MPOL_F_RELATIVE_NODES", 1 << 14), ("MPOL_F_STATIC_NODES", 1 << 15)];

/// Names of modes and flags.
pub(crate) fn known_names() -> (Vec<&'static str>, Vec<&'static str>) {
    (MODES.iter().map(|mode| mode.0).collect(), FLAGS.iter().map(|flag| flag.0).collect())
}

pub(super) fn plan(cx: &mut Context<'_>) -> Option<MemoryPolicy> {
    let wanted = cx.spec.linux.as_ref()?.memory_policy.as_ref()?;
    if *wanted == spec::MemoryPolicy::default() {
        return None;
    }
    let mut bits = 0;
    for (index, name) in wanted.flags.iter().flatten().enumerate() {
        match FLAGS.iter().find(|(known, _)| known == name) {
            Some((_, bit)) => bits |= bit,
            None => {
                let message = invalid("flag", name, FLAGS.iter().map(|flag| flag.0));
                cx.problem(format!("/linux/memoryPolicy/flags/{index}"), message);
            }
        }
    }
    let list = wanted.nodes.as_deref().unwrap_or_default();
    let nodes = cpulist::parse(list).unwrap_or_else(|why| {
        cx.problem("/linux/memoryPolicy/nodes", format!("invalid memory policy node: {why}"));
        Vec::new()
    });
    let name = wanted.mode.as_deref().unwrap_or_default();
    let Some((_, mode, takes)) = MODES.iter().find(|(known, _, _)| *known == name) else {
        let message = invalid("mode", name, MODES.iter().map(|mode| mode.0));
        cx.problem("/linux/memoryPolicy/mode", message);
        return None;
    };
    if *takes == Nodes::None && !list.is_empty() {
        cx.problem("/linux/memoryPolicy/nodes", format!("set_mempolicy: invalid argument: {name} takes no nodes"));
    }
    if *takes == Nodes::Some && list.is_empty() {
        cx.problem("/linux/memoryPolicy/nodes", format!("{name} needs at least one node"));
    }
    let what = format!("set the memory policy {name} {list}");
    cx.origins.note(Step::MemoryPolicy, 0, "/linux/memoryPolicy", what.trim_end().to_owned());
    Some(MemoryPolicy { mode: mode | bits, nodes })
}

/// In runc's words, which callers match.
fn invalid(what: &str, name: &str, known: impl Iterator<Item = &'static str>) -> String {
    let known: Vec<&str> = known.collect();
    format!("invalid memory policy {what} {name:?}; known: {}", known.join(", "))
}
