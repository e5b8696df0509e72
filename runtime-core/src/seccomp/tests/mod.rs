//! Tests of the compiler: bad input, known profiles, and random ones against a naive evaluator.
#![allow(clippy::unwrap_used)]

mod explain;
mod input;
pub mod machine;
mod oracle;
mod profiles;
pub(super) mod random;

use super::*;
use machine::{Call, Machine};

/// A profile from JSON.
fn profile(json: &str) -> Seccomp {
    serde_json::from_str(json).unwrap()
}

fn machine(profile: &Seccomp, native: Arch) -> Machine {
    let filter = compile(profile, native).unwrap();
    Machine::new(&filter.bytes(), native.is_big_endian())
}

fn call(arch: Arch, name: &str, args: &[u64]) -> Call {
    let nr = table::number(arch, table::find(name).unwrap()).unwrap();
    let mut call = Call { nr, arch: arch.audit(), args: [0; 6] };
    call.args[..args.len()].copy_from_slice(args);
    call
}
