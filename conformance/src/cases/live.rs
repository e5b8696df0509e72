//! pause, resume, ps, update and events of a running container (contract 2.4 to 2.6).

use crate::cases;
use crate::machine::patient;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::time::Duration;

cases!["live":
    pause_stops_everything, pause_twice, resume_of_running, pause_of_created,
    ps_table_has_a_header, ps_options, ps_of_stopped, events_once,
    events_stream_ends, events_of_stopped, events_interval, out_of_memory_is_told,
    checkpoint_has_help,
];

fn pause_stops_everything(t: &Test) -> Outcome {
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

fn pause_twice(t: &Test) -> Outcome {
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

fn pause_of_created(t: &Test) -> Outcome {
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

fn ps_table_has_a_header(t: &Test) -> Outcome {
    t.needs("ps")?;
    let pid = t.sleeper(t.bundle()?)?;
    let output = t.ok(&["ps", &t.id])?;
    t.delete()?;
    let lines: Vec<Vec<&str>> = output.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    check_eq!(lines.len(), 2, "lines: {}", output.stdout);
    check_eq!(lines[0].get(1), Some(&"PID"), "header");
    check_eq!(lines[1].get(1), Some(&pid.to_string().as_str()), "pid");
    Ok(())
}

fn ps_options(t: &Test) -> Outcome {
    t.needs("ps")?;
    t.sleeper(t.bundle()?)?;
    let chosen = t.ok(&["ps", &t.id, "-o", "pid,comm"])?;
    let without = t.rt(&["ps", &t.id, "-o", "comm"])?;
    let format = t.rt(&["ps", "--format", "xml", &t.id])?;
    t.delete()?;
    check!(chosen.stdout.contains("COMMAND"), "{}", chosen.stdout);
    check_eq!(without.code, 1, "exit status without a column PID");
    check!(without.stderr.contains("couldn't find PID field in ps output"), "{}", without.stderr);
    check_eq!(format.code, 1, "exit status of an unknown format");
    Ok(())
}

fn ps_of_stopped(t: &Test) -> Outcome {
    t.needs("ps")?;
    t.create_ok(&t.bundle()?.probe(&["exit", "0"]))?;
    t.ok(&["start", &t.id])?;
    t.wait_status("stopped")?;
    let output = t.ok(&["ps", "--format", "json", &t.id])?;
    t.delete()?;
    check_eq!(output.stdout.trim(), "null", "processes");
    Ok(())
}

fn events_once(t: &Test) -> Outcome {
    t.needs("events")?;
    t.sleeper(t.bundle()?)?;
    let output = t.ok(&["events", "--stats", &t.id])?;
    t.delete()?;
    let event: Value = serde_json::from_str(&output.stdout)?;
    check_eq!(event["type"], "stats", "type");
    check_eq!(event["id"], json!(t.id), "id");
    let data = &event["data"];
    for pointer in
        ["/cpu/usage/kernel", "/cpu/usage/user", "/memory/usage/limit", "/memory/usage/failcnt", "/pids/current"]
    {
        check!(data.pointer(pointer).is_some_and(Value::is_u64), "{pointer} is missing: {data}");
    }
    check!(data["cpu"]["usage"]["total"].as_u64().is_some_and(|total| total > 0), "no CPU time: {}", data["cpu"]);
    check_eq!(data["pids"]["current"], json!(1), "tasks");
    Ok(())
}

fn events_stream_ends(t: &Test) -> Outcome {
    t.needs("events")?;
    t.sleeper(t.bundle()?)?;
    let running = t.spawn(t.command(&[], &["events", "--interval", "100ms", &t.id]), None)?;
    std::thread::sleep(patient(Duration::from_millis(500)));
    t.delete()?;
    let output = t.wait(running)?;
    check_eq!(output.code, 0, "exit status: {}", output.stderr);
    let events: Vec<Value> = output.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    check!(events.len() >= 2 && events[0]["type"] == "stats", "{} events: {}", events.len(), output.stdout);
    Ok(())
}

fn events_of_stopped(t: &Test) -> Outcome {
    t.needs("events")?;
    t.create_ok(&t.bundle()?.probe(&["exit", "0"]))?;
    t.ok(&["start", &t.id])?;
    t.wait_status("stopped")?;
    let output = t.rt(&["events", "--stats", &t.id])?;
    t.delete()?;
    check_eq!(output.code, 1, "exit status");
    check!(output.stderr.contains(&format!("container with id {} is not running", t.id)), "{}", output.stderr);
    Ok(())
}

fn events_interval(t: &Test) -> Outcome {
    t.needs("events")?;
    t.sleeper(t.bundle()?)?;
    let output = t.rt(&["events", "--interval", "0s", &t.id])?;
    t.delete()?;
    check_eq!(output.code, 1, "exit status");
    check!(output.stderr.contains("duration interval must be greater than 0"), "{}", output.stderr);
    Ok(())
}

fn out_of_memory_is_told(t: &Test) -> Outcome {
    t.needs("events")?;
    t.cgroups()?;
    let bundle = t.bundle()?.with("/linux/resources/memory", json!({ "limit": 32 << 20 }));
    if !bundle.busybox(&["sh", "head", "tail"])? {
        return skip("the host has no static busybox");
    }
    t.sleeper(bundle)?;
    let running = t.spawn(t.command(&[], &["events", "--interval", "60s", &t.id]), None)?;
    std::thread::sleep(patient(Duration::from_millis(300)));
    let eater = t.rt(&["exec", &t.id, "/bin/sh", "-c", "head -c 100m /dev/zero | tail"])?;
    std::thread::sleep(patient(Duration::from_millis(300)));
    t.delete()?;
    let output = t.wait(running)?;
    check!(eater.code != 0, "it got the memory");
    let wanted = format!("{{\"type\":\"oom\",\"id\":\"{}\"}}", t.id);
    check!(output.stdout.lines().any(|line| line == wanted), "no event: {:?}", output.stdout);
    Ok(())
}

/// podman and CRI-O ask for it by its exit status.
fn checkpoint_has_help(t: &Test) -> Outcome {
    for verb in ["checkpoint", "restore"] {
        let mut command = t.runtime.command(&[]);
        command.args([verb, "--help"]);
        check_eq!(t.finish(command)?.code, 0, "{verb} --help");
    }
    Ok(())
}
