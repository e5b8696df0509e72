//! pause and resume (contract 2.5).

use crate::cases;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::json;

cases!["pause": stops_everything, twice, resume_of_running, of_created];

fn stops_everything(t: &Test) -> Outcome {
    t.needs("pause")?;
    let pid = t.sleeper(t.bundle()?)?;
    t.ok(&["pause", &t.id])?;
    let paused = t.state()?;
    let frozen = t.cgroup_file("freezer", "freezer.state");
    t.ok(&["resume", &t.id])?;
    let resumed = t.state()?;
    t.delete()?;
    check_eq!(paused["status"], "paused", "status");
    check_eq!(paused["pid"], json!(pid), "pid");
    if t.cgroups_v1().is_ok() {
        check_eq!(frozen.as_deref(), Some("FROZEN"), "freezer.state");
    }
    check_eq!(resumed["status"], "running", "status afterwards");
    Ok(())
}

fn twice(t: &Test) -> Outcome {
    t.needs("pause")?;
    t.sleeper(t.bundle()?)?;
    t.ok(&["pause", &t.id])?;
    let second = t.rt(&["pause", &t.id])?;
    t.delete()?;
    check_eq!(second.code, 1, "exit status");
    check!(second.stderr.contains("container not running"), "{}", second.stderr);
    Ok(())
}

fn resume_of_running(t: &Test) -> Outcome {
    t.needs("resume")?;
    t.sleeper(t.bundle()?)?;
    let output = t.rt(&["resume", &t.id])?;
    t.delete()?;
    check_eq!(output.code, 1, "exit status");
    check!(output.stderr.contains("container not paused"), "{}", output.stderr);
    Ok(())
}

fn of_created(t: &Test) -> Outcome {
    t.needs("pause")?;
    t.create_ok(&t.bundle()?.probe(&["sleep", "600"]))?;
    t.ok(&["pause", &t.id])?;
    let paused = t.state()?;
    t.ok(&["resume", &t.id])?;
    let resumed = t.state()?;
    t.delete()?;
    check_eq!(paused["status"], "paused", "status");
    check_eq!(resumed["status"], "created", "status afterwards");
    Ok(())
}
