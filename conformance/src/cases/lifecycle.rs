//! lifecycle: create, state, start, kill, pause, delete; statuses, messages and exit codes (contract 2.2, 2.4, 2.5).

use crate::cases;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::json;
use std::fs;

cases!["lifecycle":
    created_running_stopped_gone, state_document_is_runcs, nothing_runs_before_start, create_twice,
    start_of_what_state_shows, start_twice, start_after_exit, delete_of_running_is_refused, delete_of_created,
    delete_force_is_idempotent, missing_container, kill_names_and_numbers, kill_default_is_term, kill_of_stopped,
    kill_of_created, kill_takes_all_of_a_shared_pid_namespace, kill_of_paused, delete_of_what_is_frozen_elsewhere,
    run_leaves_nothing, run_detached, run_keep, id_can_be_used_again, config_is_read_once, bundle_may_vanish,
    failed_create_leaves_nothing, parallel_creates, lives_on_without_its_first_thread,
];

fn created_running_stopped_gone(t: &Test) -> Outcome {
    t.create_ok(&t.bundle()?.probe(&["sleep", "600"]))?;
    let created = t.state()?;
    check_eq!(created["status"], "created", "status after create");
    check!(created["pid"].as_i64().is_some_and(|p| p > 1), "pid after create: {}", created["pid"]);
    let out = t.ok(&["start", &t.id])?;
    check_eq!((out.stdout.as_str(), out.stderr.as_str()), ("", ""), "output of start");
    let running = t.state()?;
    check_eq!(running["status"], "running", "status after start");
    check_eq!(running["pid"], created["pid"], "pid");
    t.ok(&["kill", &t.id, "KILL"])?;
    let stopped = t.wait_status("stopped")?;
    check_eq!(stopped["pid"], 0, "pid when stopped");
    t.ok(&["delete", &t.id])?;
    t.fails(&["state", &t.id], "does not exist")?;
    Ok(())
}

fn state_document_is_runcs(t: &Test) -> Outcome {
    t.create_ok(&t.bundle()?)?;
    let text = t.ok(&["state", &t.id])?.stdout;
    let state = t.state()?;
    t.delete()?;
    let keys: Vec<&str> =
        text.lines().filter_map(|l| l.strip_prefix("  \"")?.split_once('"')).map(|(k, _)| k).collect();
    check_eq!(keys, ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "owner"], "keys in order");
    check!(text.starts_with("{\n  \"") && text.ends_with("\n}"), "two spaces, no final newline: {text:?}");
    check_eq!(state["id"], t.id.as_str(), "id");
    let bundle = t.folder.join("bundle");
    check_eq!(state["bundle"], bundle.to_string_lossy().as_ref(), "bundle");
    check_eq!(state["rootfs"], bundle.join("rootfs").to_string_lossy().as_ref(), "rootfs");
    check_eq!(state["owner"], "", "owner");
    let created = state["created"].as_str().unwrap_or("");
    check!(created.ends_with('Z') && created.contains('T'), "created is not RFC 3339 UTC: {created}");
    Ok(())
}

fn nothing_runs_before_start(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/root/readonly", json!(false)).probe(&["write-file", "/ran", "yes"]);
    t.create_ok(&bundle)?;
    std::thread::sleep(std::time::Duration::from_millis(100));
    check!(!bundle.rootfs().join("ran").exists(), "the program ran before start");
    t.ok(&["start", &t.id])?;
    t.wait_status("stopped")?;
    check!(bundle.rootfs().join("ran").exists(), "the program did not run after start");
    t.ok(&["delete", &t.id])?;
    Ok(())
}

fn create_twice(t: &Test) -> Outcome {
    let bundle = t.bundle()?;
    t.create_ok(&bundle)?;
    let before = t.state()?;
    t.fails(&["create", "--bundle", &bundle.path.to_string_lossy(), &t.id], "exist")?;
    let after = t.state()?;
    check_eq!(after, before, "state of the first after the second failed");
    t.ok(&["start", &t.id])?;
    t.wait_status("stopped")?;
    t.ok(&["delete", &t.id])?;
    Ok(())
}

/// A caller that polls `state` and then calls `start` may come while create is still at work: start waits for it.
fn start_of_what_state_shows(t: &Test) -> Outcome {
    let bundle = t.bundle()?.probe(&["exit", "0"]);
    for _ in 0..20 {
        let create = t.create(&bundle)?;
        let shown = || t.rt(&["state", &t.id]).is_ok_and(|output| output.code == 0);
        t.wait_for("the state", shown)?;
        t.ok(&["start", &t.id])?;
        t.wait(create)?;
        t.delete()?;
    }
    Ok(())
}

fn start_twice(t: &Test) -> Outcome {
    t.sleeper(t.bundle()?)?;
    t.fails(&["start", &t.id], "cannot start an already running container")?;
    check_eq!(t.state()?["status"], "running", "status");
    t.delete()?;
    Ok(())
}

fn start_after_exit(t: &Test) -> Outcome {
    t.start(&t.bundle()?.probe(&["exit", "0"]))?;
    t.wait_status("stopped")?;
    t.fails(&["start", &t.id], "cannot start a container that has stopped")?;
    t.ok(&["delete", &t.id])?;
    Ok(())
}

fn delete_of_running_is_refused(t: &Test) -> Outcome {
    t.sleeper(t.bundle()?)?;
    let refused = t.fails(&["delete", &t.id], "that is not stopped: running");
    let status = t.state()?["status"].clone();
    t.delete()?;
    check_eq!(status, "running", "status after the refused delete");
    refused.map(drop)
}

fn delete_of_created(t: &Test) -> Outcome {
    t.create_ok(&t.bundle()?)?;
    let deleted = t.rt(&["delete", &t.id])?;
    if deleted.code != 0 {
        t.delete()?;
    }
    check_eq!(deleted.code, 0, "delete of a created container: {}", deleted.stderr);
    Ok(())
}

fn delete_force_is_idempotent(t: &Test) -> Outcome {
    t.sleeper(t.bundle()?)?;
    t.delete()?;
    t.delete()?;
    t.fails(&["delete", &t.id], "does not exist")?;
    Ok(())
}

fn missing_container(t: &Test) -> Outcome {
    for verb in ["state", "start", "kill", "delete", "pause", "resume", "ps"] {
        if matches!(verb, "pause" | "resume" | "ps") && t.needs(verb).is_err() {
            continue;
        }
        t.fails(&[verb, "no-such-container"], "does not exist")?;
    }
    Ok(())
}

fn kill_names_and_numbers(t: &Test) -> Outcome {
    for name in ["USR1", "SIGUSR1", "usr1", "sigusr1", "10"] {
        let bundle = t.bundle()?.probe(&["trap", "10"]);
        let running = t.spawn(t.command(&[], &["run", "--bundle", &bundle.saved()?, &t.id]), None)?;
        t.wait_for("the trap", || running.stdout().contains("ready"))?;
        let killed = t.rt(&["kill", &t.id, name])?;
        if killed.code != 0 {
            t.delete()?;
        }
        let output = t.wait(running)?;
        check_eq!(killed.code, 0, "kill {name}: {}", killed.stderr);
        check!(output.stdout.contains("got 10"), "kill {name}: {}", output.stdout);
        fs::remove_dir_all(&bundle.path)?;
    }
    t.sleeper(t.bundle()?)?;
    let unknown = t.fails(&["kill", &t.id, "NOSUCH"], "unknown signal");
    t.delete()?;
    unknown.map(drop)
}

fn kill_default_is_term(t: &Test) -> Outcome {
    let bundle = t.bundle()?.probe(&["trap", "15"]);
    let running = t.spawn(t.command(&[], &["run", "--bundle", &bundle.saved()?, &t.id]), None)?;
    t.wait_for("the trap", || running.stdout().contains("ready"))?;
    t.ok(&["kill", &t.id])?;
    check!(t.wait(running)?.stdout.contains("got 15"), "the default signal is not TERM");
    Ok(())
}

fn kill_of_stopped(t: &Test) -> Outcome {
    t.start(&t.bundle()?.probe(&["exit", "0"]))?;
    t.wait_status("stopped")?;
    let refused = t.fails(&["kill", &t.id, "KILL"], "container not running");
    t.ok(&["delete", &t.id])?;
    refused.map(drop)
}

/// Also by the signals that a first process of a pid namespace ignores unless it handles them.
fn kill_of_created(t: &Test) -> Outcome {
    for signal in ["KILL", "TERM", "INT", "HUP", "QUIT"] {
        t.create_ok(&t.bundle()?)?;
        t.ok(&["kill", &t.id, signal])?;
        t.wait_status("stopped").map_err(|e| format!("{signal}: {e:?}"))?;
        t.ok(&["delete", &t.id])?;
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}

/// Without a pid namespace of its own nothing but the cgroup knows the container's other processes.
fn kill_takes_all_of_a_shared_pid_namespace(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?.probe(&["spawn-sleeper", "stay"]);
    bundle.drop_namespace("pid");
    t.start(&bundle)?;
    t.wait_for("two processes", || crate::leak::processes(&t.id).len() >= 2)?;
    t.ok(&["kill", &t.id, "KILL"])?;
    t.wait_status("stopped")?;
    let left = t.wait_for("the child's end", || crate::leak::processes(&t.id).is_empty());
    t.delete()?;
    left
}

fn kill_of_paused(t: &Test) -> Outcome {
    t.needs("pause")?;
    t.sleeper(t.bundle()?)?;
    t.ok(&["pause", &t.id])?;
    t.ok(&["kill", &t.id, "KILL"])?;
    t.wait_status("stopped")?;
    t.delete()?;
    Ok(())
}

/// Somebody has moved the process into a freezer of his own: there it cannot die, and elsewhere nothing else changes.
fn delete_of_what_is_frozen_elsewhere(t: &Test) -> Outcome {
    t.cgroups_v1()?;
    let pid = t.sleeper(t.bundle()?)?;
    let elsewhere = t.cgroup("freezer").with_file_name(format!("{}-elsewhere", t.id));
    fs::create_dir(&elsewhere)?;
    fs::write(elsewhere.join("cgroup.procs"), pid.to_string())?;
    fs::write(elsewhere.join("freezer.state"), "FROZEN")?;
    let deleted = t.delete();
    let state = fs::read_to_string(elsewhere.join("freezer.state"))?;
    fs::write(elsewhere.join("freezer.state"), "THAWED")?;
    t.wait_for("the foreign cgroup to be empty", || fs::remove_dir(&elsewhere).is_ok())?;
    check_eq!(deleted?.stderr, "", "output of delete");
    check_eq!(state.trim(), "FROZEN", "the foreign cgroup");
    Ok(())
}

/// The kernel shows a process as a zombie whose first thread has ended, also while others run.
fn lives_on_without_its_first_thread(t: &Test) -> Outcome {
    t.create_ok(&t.bundle()?.probe(&["headless"]))?;
    let status = format!("/proc/{}/status", t.state()?["pid"]);
    t.ok(&["start", &t.id])?;
    let zombie = || fs::read_to_string(&status).is_ok_and(|text| text.contains("State:\tZ"));
    t.wait_for("the first thread to end", zombie)?;
    check_eq!(t.state()?["status"], "running", "status");
    t.fails(&["delete", &t.id], "running")?;
    t.ok(&["kill", &t.id, "KILL"])?;
    t.wait_status("stopped")?;
    t.delete()?;
    Ok(())
}

fn run_leaves_nothing(t: &Test) -> Outcome {
    t.run_ok(&t.bundle()?)?;
    t.fails(&["state", &t.id], "does not exist")?;
    Ok(())
}

fn run_detached(t: &Test) -> Outcome {
    let bundle = t.bundle()?.probe(&["sleep", "600"]);
    t.ok(&["run", "--detach", "--bundle", &bundle.saved()?, &t.id])?;
    check_eq!(t.state()?["status"], "running", "status");
    t.delete()?;
    Ok(())
}

fn run_keep(t: &Test) -> Outcome {
    let bundle = t.bundle()?.probe(&["exit", "7"]);
    let output = t.rt(&["run", "--keep", "--bundle", &bundle.saved()?, &t.id])?;
    check_eq!(output.code, 7, "exit status: {}", output.stderr);
    check_eq!(t.state()?["status"], "stopped", "status");
    t.ok(&["delete", &t.id])?;
    Ok(())
}

fn id_can_be_used_again(t: &Test) -> Outcome {
    let bundle = t.bundle()?;
    for _ in 0..2 {
        t.create_ok(&bundle)?;
        t.delete()?;
    }
    t.run_ok(&bundle)?;
    Ok(())
}

fn config_is_read_once(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/root/readonly", json!(false)).probe(&["write-file", "/ran", "first"]);
    t.create_ok(&bundle)?;
    fs::write(bundle.path.join("config.json"), "{ not json")?;
    t.ok(&["start", &t.id])?;
    t.wait_status("stopped")?;
    t.ok(&["delete", &t.id])?;
    check_eq!(fs::read_to_string(bundle.rootfs().join("ran"))?, "first", "what the program wrote");
    Ok(())
}

/// ROB-25.
fn bundle_may_vanish(t: &Test) -> Outcome {
    let bundle = t.bundle()?.probe(&["sleep", "600"]);
    t.create_ok(&bundle)?;
    fs::rename(&bundle.path, t.folder.join("moved"))?;
    t.ok(&["start", &t.id])?;
    t.wait_status("running")?;
    t.ok(&["kill", &t.id, "KILL"])?;
    t.wait_status("stopped")?;
    t.ok(&["delete", &t.id])?;
    Ok(())
}

fn failed_create_leaves_nothing(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/process/args", json!(["/no/such/program"]));
    let path = bundle.saved()?;
    t.fails(&["create", "--bundle", &path, &t.id], "no such file or directory")?;
    let left = crate::leak::left(&t.id, &t.folder, &t.state);
    check!(left.is_empty(), "a failed create left {left:?}");
    fs::remove_dir_all(&bundle.path)?;
    t.create_ok(&t.bundle()?)?;
    t.delete()?;
    Ok(())
}

/// ROB-01: of several creates of one id exactly one wins, and the winner is whole.
fn parallel_creates(t: &Test) -> Outcome {
    let bundle = t.bundle()?.probe(&["sleep", "600"]);
    for round in 0..5 {
        let running: Result<Vec<_>, _> = (0..4).map(|_| t.create(&bundle)).collect();
        let outputs: Result<Vec<_>, _> = running?.into_iter().map(|r| t.wait(r)).collect();
        let winners = outputs?.iter().filter(|o| o.code == 0).count();
        check_eq!(winners, 1, "winners in round {round}");
        check_eq!(t.state()?["status"], "created", "status of the winner");
        t.ok(&["start", &t.id])?;
        check_eq!(t.state()?["status"], "running", "status of the winner");
        t.delete()?;
    }
    Ok(())
}
