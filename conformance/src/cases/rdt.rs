//! linux.intelRdt where there is no resctrl: refused, and a config that is wrong anyway is refused for that. What is done
//! where there is one is tested against a tree that looks like it (runtime-core, rdt).

use crate::cases;
use crate::test::{Outcome, Test, skip};
use serde_json::json;
use std::fs;

cases!["rdt": without_resctrl_is_refused, bad_values_are_refused];

fn without_resctrl_is_refused(t: &Test) -> Outcome {
    if fs::read_to_string("/proc/self/mountinfo")?.contains(" - resctrl ") {
        return skip("this host has resctrl");
    }
    for rdt in
        [json!({}), json!({ "closID": "gold" }), json!({ "schemata": ["L3:0=f"] }), json!({ "enableMonitoring": true })]
    {
        t.run_refused(&t.bundle()?.with("/linux/intelRdt", rdt), "resctrl")?;
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}

fn bad_values_are_refused(t: &Test) -> Outcome {
    let table = [
        (json!({ "closID": ".." }), "closID"),
        (json!({ "closID": "." }), "closID"),
        (json!({ "closID": "a/b" }), "closID"),
        (json!({ "closID": "a\nb" }), "closID"),
        (json!({ "closID": "mon_groups" }), "closID"),
        (json!({ "memBwSchema": "L3:0=f" }), "memBwSchema"),
        (json!({ "memBwSchema": "MB:0=20\nMB:1=20" }), "memBwSchema"),
        (json!({ "schemata": ["rubbish"] }), "schemata"),
        (json!({ "l3CacheSchema": "L3" }), "l3CacheSchema"),
    ];
    for (rdt, text) in table {
        let shown = rdt.to_string();
        let bundle = t.bundle()?.with("/linux/intelRdt", rdt);
        t.run_refused(&bundle, text).map_err(|e| format!("{shown}: {e:?}"))?;
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}
