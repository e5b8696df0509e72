//! `process.execCPUAffinity`: checked at create, used by exec.

use super::{Context, cpulist};

pub(super) fn check(cx: &mut Context<'_>) {
    let Some(affinity) = cx.spec.process.as_ref().and_then(|process| process.exec_cpu_affinity.as_ref()) else {
        return;
    };
    for (list, pointer) in
        [(&affinity.initial, "/process/execCPUAffinity/initial"), (&affinity.last, "/process/execCPUAffinity/final")]
    {
        if let Err(why) = cpulist::parse(list.as_deref().unwrap_or_default()) {
            cx.problem(pointer, format!("bad CPU affinity: {why}"));
        }
    }
}
