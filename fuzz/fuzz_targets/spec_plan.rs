//! A spec is planned or refused on every kind of host, and the stage reads from the plan what the plan says.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use runtime_core::host::HostFacts;
use runtime_core::plan::{Receiver, Request, check, plan};
use runtime_core::spec::parse;

static HOSTS: LazyLock<Vec<HostFacts>> = LazyLock::new(|| {
    [
        include_str!("../../runtime-core/tests/golden/hosts/hybrid.json"),
        include_str!("../../runtime-core/tests/golden/hosts/v2.json"),
        include_str!("../../runtime-core/tests/golden/hosts/rootless.json"),
    ]
    .iter()
    .map(|text| serde_json::from_str(text).expect("facts"))
    .collect()
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(spec) = parse(bytes) else { return };
    for console in [Receiver::Nobody, Receiver::Caller] {
        let request = Request { id: "demo".into(), bundle: "/b".into(), console, ..Request::default() };
        for facts in HOSTS.iter() {
            match plan(&spec, facts, &request) {
                Ok(plan) => check::survives(&plan),
                Err(problems) => assert!(!problems.is_empty(), "a refusal names a problem"),
            }
        }
    }
});
