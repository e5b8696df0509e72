//! events: statistics once and again, and what becomes of memory that is not there (contract 2.6).

use crate::cases;
use crate::machine::patient;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::time::Duration;

cases!["events": once, pressure_is_told, stream_ends, of_stopped, interval, out_of_memory_is_told];

fn once(t: &Test) -> Outcome {
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

fn stream_ends(t: &Test) -> Outcome {
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

fn of_stopped(t: &Test) -> Outcome {
    t.needs("events")?;
    t.start(&t.bundle()?.probe(&["exit", "0"]))?;
    t.wait_status("stopped")?;
    let output = t.rt(&["events", "--stats", &t.id])?;
    t.delete()?;
    check_eq!(output.code, 1, "exit status");
    check!(output.stderr.contains(&format!("container with id {} is not running", t.id)), "{}", output.stderr);
    Ok(())
}

fn interval(t: &Test) -> Outcome {
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
    t.busybox(&bundle, &["sh", "head", "tail"])?;
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
