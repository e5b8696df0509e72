//! `process.execCPUAffinity`: checked at create, applied to what exec runs. A container's first process gets every CPU
//! of its cgroup, whatever its caller was pinned to.

use runtime_stage::fail::Step;
use serde::Serialize;

use super::{Context, cpulist};

/// CPUs of an exec, a bit each; empty: none were named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Affinity {
    /// Until the cgroup is entered.
    pub initial: Vec<u64>,
    /// From then on.
    #[serde(rename = "final")]
    pub last: Vec<u64>,
}

impl Affinity {
    /// The CPUs until the cgroup is entered as one number, as runc's log has it.
    pub(crate) fn mask(&self) -> Option<String> {
        let (last, rest) = self.initial.split_last()?;
        let tail = rest.iter().rev().map(|word| format!("{word:016x}"));
        Some(std::iter::once(format!("{last:#x}")).chain(tail).collect())
    }
}

pub(super) fn plan(cx: &mut Context<'_>) -> Affinity {
    let Some(wanted) = cx.spec.process.as_ref().and_then(|process| process.exec_cpu_affinity.as_ref()) else {
        return Affinity::default();
    };
    let mut parse = |list: &Option<String>, index: usize, pointer: &'static str| {
        let list = list.as_deref().unwrap_or_default();
        let cpus = cpulist::parse(list);
        cx.origins.note(Step::Affinity, index, pointer, format!("run on the CPUs {list}"));
        cpus.unwrap_or_else(|why| {
            cx.problem(pointer, format!("bad CPU affinity: {why}"));
            Vec::new()
        })
    };
    let initial = parse(&wanted.initial, 0, "/process/execCPUAffinity/initial");
    let last = parse(&wanted.last, 1, "/process/execCPUAffinity/final");
    if cx.request.exec.is_some() { Affinity { initial, last } } else { Affinity::default() }
}

#[cfg(test)]
mod tests {
    use super::Affinity;

    #[test]
    fn masks() {
        let mask = |initial: &[u64]| Affinity { initial: initial.to_vec(), last: Vec::new() }.mask();
        assert_eq!(mask(&[]), None);
        assert_eq!(mask(&[2]).as_deref(), Some("0x2"));
        assert_eq!(mask(&[1, 3]).as_deref(), Some("0x30000000000000001"));
    }
}
