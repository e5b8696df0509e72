//! trace: under strace, no call names anything in the root filesystem before it is the root; and how many calls there are.

use crate::bundle::Bundle;
use crate::cases;
use crate::test::{Outcome, Test, skip};
use crate::trace::{self, Thread};
use crate::{check, check_eq};
use serde_json::json;
use std::fs;

cases!["trace":
    run_names_nothing, create_names_nothing, rich_config_names_nothing, user_namespace_names_nothing,
    image_without_mount_points_names_nothing, the_entry_is_the_one_asked_for,
];

/// The threads of one call of the runtime, which must succeed.
fn traced(t: &Test, args: &[&str]) -> Outcome<Vec<Thread>> {
    t.needs_strace()?;
    let prefix = t.folder.join(format!("trace-{}", args.first().unwrap_or(&"")));
    let strace = trace::strace(&prefix);
    let before: Vec<&str> = strace.iter().map(String::as_str).collect();
    let output = t.finish(t.command(&before, args))?;
    check_eq!(output.code, 0, "{args:?}: {}", output.stderr);
    Ok(trace::read(&prefix)?)
}

fn clean(t: &Test, what: &str, threads: &[Thread], bundle: &Bundle) -> Outcome {
    let stage: Vec<&Thread> =
        threads.iter().filter(|thread| thread.calls.iter().any(|call| call.name == "pivot_root")).collect();
    check_eq!(stage.len(), 1, "threads that change the root");
    let named = trace::named_before_pivot(stage[0]);
    check!(named.is_empty(), "{} calls by name before pivot_root, the first: {}", named.len(), named[0]);
    let below = trace::named_below(threads, &bundle.rootfs());
    check!(below.is_empty(), "{} calls by name below the root, the first: {}", below.len(), below[0]);
    // The program's own calls come after its execve, the last one that succeeds.
    let program = |thread: &Thread| {
        let last = thread.calls.iter().rposition(|call| call.name == "execve" && call.rest.ends_with("= 0"));
        last.filter(|_| thread.id == stage[0].id).map_or(thread.calls.len(), |at| at + 1)
    };
    let all: usize = threads.iter().map(program).sum();
    t.remark(&format!("{what}: {all} system calls, {} of them in the container's first process", program(stage[0])));
    Ok(())
}

fn run(t: &Test, bundle: &Bundle) -> Outcome<Vec<Thread>> {
    traced(t, &["run", "--bundle", &bundle.saved()?, &t.id])
}

fn run_names_nothing(t: &Test) -> Outcome {
    let bundle = t.bundle()?.probe(&["exit", "0"]);
    let threads = run(t, &bundle)?;
    clean(t, "run", &threads, &bundle)
}

/// strace follows the container, so its program ends it.
fn create_names_nothing(t: &Test) -> Outcome {
    let bundle = t.bundle()?.probe(&["exit", "0"]);
    bundle.save()?;
    let prefix = t.folder.join("trace-create");
    t.needs_strace()?;
    let strace = trace::strace(&prefix);
    let before: Vec<&str> = strace.iter().map(String::as_str).collect();
    let running = t.spawn(t.command(&before, &["create", "--bundle", &bundle.path.to_string_lossy(), &t.id]), None)?;
    t.wait_for("the created container", || t.state().is_ok_and(|state| state["status"] == "created"))?;
    t.ok(&["start", &t.id])?;
    let output = t.wait(running)?;
    check_eq!(output.code, 0, "create: {}", output.stderr);
    t.wait_status("stopped")?;
    t.ok(&["delete", &t.id])?;
    clean(t, "create", &trace::read(&prefix)?, &bundle)
}

/// Everything that is made or looked at below the root: binds, nodes, masks, a working directory, a link.
fn rich_config_names_nothing(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    let source = t.folder.join("source");
    fs::create_dir(&source)?;
    fs::write(source.join("file"), "")?;
    fs::create_dir_all(bundle.rootfs().join("real/below"))?;
    std::os::unix::fs::symlink("real", bundle.rootfs().join("link"))?;
    bundle.mount("/link/below/new", "tmpfs", "tmpfs", &["mode=700", "ro"]);
    bundle.mount("/a/b", "bind", &source.to_string_lossy(), &["rbind", "ro"]);
    bundle.mount("/a/file", "bind", &source.join("file").to_string_lossy(), &["bind", "nosuid"]);
    let bundle = bundle
        .with("/root/readonly", json!(false))
        .with("/process/cwd", json!("/made/for/it"))
        .with("/process/user", json!({ "uid": 1000, "gid": 1000, "additionalGids": [5] }))
        .with("/linux/devices", json!([{ "type": "c", "path": "/dev/a/null", "major": 1, "minor": 3 }]))
        .with("/linux/maskedPaths", json!(["/proc/keys", "/etc/passwd", "/real", "/missing"]))
        .with("/linux/readonlyPaths", json!(["/proc/sys", "/tmp"]))
        .probe(&["exit", "0"]);
    let threads = run(t, &bundle)?;
    clean(t, "run, rich config", &threads, &bundle)
}

fn user_namespace_names_nothing(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?.probe(&["exit", "0"]);
    bundle.map_root()?;
    let threads = run(t, &bundle)?;
    clean(t, "run, user namespace", &threads, &bundle)
}

fn image_without_mount_points_names_nothing(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/root/readonly", json!(false)).probe(&["exit", "0"]);
    for name in ["dev", "proc", "sys", "tmp"] {
        fs::remove_dir(bundle.rootfs().join(name))?;
    }
    let threads = run(t, &bundle)?;
    clean(t, "run, empty image", &threads, &bundle)
}

/// The sealed stage is executed from a descriptor, the in-process one never.
fn the_entry_is_the_one_asked_for(t: &Test) -> Outcome {
    if !t.runtime.is_ours() {
        return skip("only ours has two entries");
    }
    let bundle = t.bundle()?.probe(&["exit", "0"]);
    let threads = run(t, &bundle)?;
    let executed = threads.iter().flat_map(|thread| &thread.calls).any(|call| call.name == "execveat");
    check_eq!(executed, t.runtime.name != crate::runtime::IN_PROCESS, "whether a sealed stage was executed");
    Ok(())
}
