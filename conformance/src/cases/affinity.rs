//! `process.execCPUAffinity`: on which processors an exec begins and goes on.

use super::exec;
use crate::cases;
use crate::machine::own_status;
use crate::report::Report;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::json;
use std::fs;

cases!["affinity": of_an_exec, of_the_caller_is_not_passed_on, bad_ones_are_refused];

/// CPUs 0 and 1, if this process may use both.
fn two_cpus() -> Outcome<String> {
    let list = own_status("Cpus_allowed_list")?;
    if list.starts_with("0-") { Ok(list) } else { skip("needs CPUs 0 and 1") }
}

/// config.md, "execCPUAffinity": of the config, or of the process object; the first process is not concerned.
fn of_an_exec(t: &Test) -> Outcome {
    t.needs("exec")?;
    if !t.runtime.is_ours() {
        return skip("came with runc 1.3");
    }
    let all = two_cpus()?;
    let pid = t.sleeper(t.bundle()?.with("/process/execCPUAffinity", json!({ "initial": "0", "final": "1" })))?;
    let first = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let of_config = exec::probe(t, &[]);
    let file = t.folder.join("process.json");
    let process = json!({ "args": ["/probe", "report"], "cwd": "/", "execCPUAffinity": { "initial": "0" } });
    fs::write(&file, process.to_string())?;
    let initial = t.rt(&["--debug", "exec", "--process", &file.to_string_lossy(), &t.id])?;
    t.delete()?;
    check!(first.contains(&format!("Cpus_allowed_list:\t{all}\n")), "first process: {first}");
    check_eq!(of_config?.status("Cpus_allowed_list"), "1", "initial and final");
    check_eq!(Report::parse(&initial.stdout)?.status("Cpus_allowed_list"), "0", "initial alone");
    check!(initial.stderr.contains("]: affinity: 0x1"), "debug log: {}", initial.stderr);
    Ok(())
}

fn of_the_caller_is_not_passed_on(t: &Test) -> Outcome {
    t.needs("exec")?;
    if !t.runtime.is_ours() {
        return skip("came with runc 1.2");
    }
    let all = two_cpus()?;
    let bundle = t.bundle()?.probe(&["sleep", "600"]);
    let pinned = ["taskset", "-c", "0"];
    t.finish(t.command(&pinned, &["run", "--detach", "--bundle", &bundle.saved()?, &t.id]))?;
    let pid = t.state()?["pid"].to_string();
    let first = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let more = t.finish(t.command(&pinned, &["exec", &t.id, "/probe", "report"]))?;
    t.delete()?;
    check!(first.contains(&format!("Cpus_allowed_list:\t{all}\n")), "first process: {first}");
    check_eq!(Report::parse(&more.stdout)?.status("Cpus_allowed_list"), all, "exec");
    Ok(())
}

fn bad_ones_are_refused(t: &Test) -> Outcome {
    let at = "/process/execCPUAffinity";
    t.run_ok(&t.bundle()?.with(at, json!({ "initial": "0", "final": "0-1" })))?;
    t.run_refused(&t.bundle()?.with(at, json!({ "initial": "0-" })), "affinity")?;
    t.run_refused(&t.bundle()?.with(at, json!({ "final": "one" })), "affinity").map(drop)
}
