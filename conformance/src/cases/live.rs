//! pause, resume, ps, update and events of a running container (contract 2.4 to 2.6).

use crate::cases;
use crate::machine::patient;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::time::Duration;

cases!["live":
    pause_stops_everything, pause_twice, resume_of_running, pause_of_created, ps_table_has_a_header, ps_options, ps_of_stopped,
    update_changes_limits, update_from_stdin, update_refused_changes_nothing, update_of_stopped, update_sizes_have_units,
    events_once, pressure_is_told, events_stream_ends, events_of_stopped, events_interval, out_of_memory_is_told, checkpoint_has_help,
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

fn update_changes_limits(t: &Test) -> Outcome {
    t.needs("update")?;
    t.cgroups_v1()?;
    t.sleeper(t.bundle()?)?;
    t.ok(&["update", "--memory", "64m", "--pids-limit", "33", "--cpu-share", "512", "--cpu-quota", "20000", &t.id])?;
    let found = [
        t.cgroup_file("memory", "memory.limit_in_bytes"),
        t.cgroup_file("pids", "pids.max"),
        t.cgroup_file("cpu", "cpu.shares"),
        t.cgroup_file("cpu", "cpu.cfs_quota_us"),
    ];
    t.ok(&["update", "--memory", "32m", &t.id])?;
    let then = t.cgroup_file("cpu", "cpu.shares");
    t.delete()?;
    let wanted = ["67108864", "33", "512", "20000"].map(|value| Some(value.to_owned()));
    check_eq!(found, wanted, "limits");
    check_eq!(then.as_deref(), Some("512"), "a limit the second update does not name");
    Ok(())
}

fn update_from_stdin(t: &Test) -> Outcome {
    t.needs("update")?;
    t.cgroups_v1()?;
    t.sleeper(t.bundle()?)?;
    let file = t.folder.join("resources.json");
    std::fs::write(&file, json!({ "memory": { "limit": 50_331_648 }, "pids": { "limit": 44 } }).to_string())?;
    let running = t.spawn(t.command(&[], &["update", "--resources", "-", &t.id]), Some(std::fs::File::open(&file)?))?;
    let output = t.wait(running)?;
    let (memory, pids) = (t.cgroup_file("memory", "memory.limit_in_bytes"), t.cgroup_file("pids", "pids.max"));
    let by_file = t.rt(&["update", "-r", &file.to_string_lossy(), &t.id])?;
    t.delete()?;
    check_eq!(output.code, 0, "exit status: {}", output.stderr);
    check_eq!((memory.as_deref(), pids.as_deref()), (Some("50331648"), Some("44")), "limits");
    check_eq!(by_file.code, 0, "from a file: {}", by_file.stderr);
    Ok(())
}

fn update_refused_changes_nothing(t: &Test) -> Outcome {
    t.needs("update")?;
    t.cgroups()?;
    t.sleeper(t.bundle()?.with("/linux/resources/pids", json!({ "limit": 40 })))?;
    let output = t.rt(&["update", "--pids-limit", "50", "--cpuset-cpus", "4000-4001", &t.id])?;
    let pids = t.cgroup_file("pids", "pids.max");
    t.delete()?;
    check_eq!(output.code, 1, "exit status");
    check_eq!(pids.as_deref(), Some("40"), "pids.max afterwards");
    Ok(())
}

fn update_of_stopped(t: &Test) -> Outcome {
    t.needs("update")?;
    t.create_ok(&t.bundle()?.probe(&["exit", "0"]))?;
    t.ok(&["start", &t.id])?;
    t.wait_status("stopped")?;
    let output = t.rt(&["update", "--memory", "64m", &t.id])?;
    t.delete()?;
    check_eq!(output.code, 1, "exit status");
    check!(output.stderr.contains("container not running"), "{}", output.stderr);
    Ok(())
}

fn update_sizes_have_units(t: &Test) -> Outcome {
    t.needs("update")?;
    t.sleeper(t.bundle()?)?;
    let good = t.rt(&["update", "--memory", "0.5GiB", &t.id])?;
    let bad = t.rt(&["update", "--memory", "12x", &t.id])?;
    t.delete()?;
    check_eq!(good.code, 0, "0.5GiB: {}", good.stderr);
    check_eq!(bad.code, 1, "12x");
    check!(bad.stderr.contains("invalid value for memory"), "{}", bad.stderr);
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

/// The kernel keeps it in version 2 whatever the controllers are, on a host with both versions too.
fn pressure_is_told(t: &Test) -> Outcome {
    t.needs("events")?;
    t.cgroups()?;
    t.sleeper(t.bundle()?)?;
    let kept = |kind: &str| t.cgroup_file("unified", &format!("{kind}.pressure")).is_some();
    let kept: Vec<&str> = ["cpu", "memory", "io"].into_iter().filter(|kind| kept(kind)).collect();
    let output = t.ok(&["events", "--stats", &t.id])?;
    t.delete()?;
    let event: Value = serde_json::from_str(&output.stdout)?;
    for kind in &kept {
        let section = if *kind == "io" { "blkio" } else { kind };
        let total = event.pointer(&format!("/data/{section}/psi/some/total"));
        check!(total.is_some_and(Value::is_u64), "no pressure of {kind}: {}", event["data"][section]);
    }
    if kept.is_empty() { skip("this kernel keeps no pressure") } else { Ok(()) }
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
    // What is no duration is a misuse, whatever the container.
    let output =
        t.fails(&["events", "--interval", "abc", "missing"], "invalid value \\\"abc\\\" for flag -interval")?;
    check!(output.stdout.starts_with("Incorrect Usage"), "stdout: {}", output.stdout);
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
