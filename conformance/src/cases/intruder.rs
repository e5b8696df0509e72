//! intruder: exec into a container whose processes are hostile. What joins them is the host's until its program begins
//! (security.md C1 to C3).

use crate::bundle::Bundle;
use crate::canary::Canary;
use crate::cases;
use crate::command::Output;
use crate::report::Report;
use crate::stepper::held;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::json;
use std::cell::RefCell;
use std::fs;

cases!["intruder":
    cwd_is_a_leaked_descriptor, cwd_through_a_link_to_a_descriptor, program_through_a_descriptor,
    program_is_the_runtime, joining_process_is_closed, joining_process_is_closed_to_the_tracer_of_a_user_namespace,
    joining_process_is_open_to_the_tracer_without_a_user_namespace,
];

/// `exec` by a caller that has directories of the host open as 7 and 9, inheritable. The program comes in a file: paths that
/// climb are not for a command line that other runtimes get too.
fn exec(t: &Test, canary: &Canary, cwd: &str, program: &[&str]) -> Outcome<Output> {
    let script = format!("exec 7<{0}/b 9</; exec \"$@\"", canary.path.display());
    let process = json!({ "args": program, "cwd": cwd, "user": { "uid": 0, "gid": 0 }, "env": ["PATH=/bin"] });
    let file = t.folder.join("process.json");
    fs::write(&file, process.to_string())?;
    t.finish(t.command(&["sh", "-c", &script, "sh"], &["exec", "--process", &file.to_string_lossy(), &t.id]))
}

const LOOK: [&str; 6] = ["/probe", "report", "--path", "file", "--path", "../../canary"];

/// It ran inside, or not at all.
fn stayed_inside(output: &Output, what: &str) -> Outcome {
    if output.code != 0 {
        return Ok(());
    }
    let report = Report::parse(&output.stdout)?;
    check!(report.at("/cwd").as_str().is_some_and(|cwd| cwd.starts_with('/')), "{what}: cwd {}", report.at("/cwd"));
    check_eq!(report.path("file")["errno"], json!(2), "{what}: a file of the host");
    check_eq!(report.path("../../canary")["errno"], json!(2), "{what}: a directory of the host through ..");
    Ok(())
}

/// Runs `tries` in a running container, which is deleted whatever becomes of them.
fn inside(t: &Test, tries: impl FnOnce(&Canary) -> Outcome) -> Outcome {
    let canary = Canary::new(&t.folder.join("canary"))?;
    let bundle = t.bundle()?.with("/root/readonly", json!(false));
    for (name, target) in [("seven", "/proc/self/fd/7"), ("nine", "/proc/self/fd/9"), ("self", "/proc/self/exe")] {
        std::os::unix::fs::symlink(target, bundle.rootfs().join(name))?;
    }
    t.sleeper(bundle)?;
    let result = tries(&canary);
    t.delete()?;
    result?;
    let changes = canary.changes()?;
    check!(changes.is_empty(), "the host changed: {}", changes.join("; "));
    Ok(())
}

/// CVE-2024-21626.
fn cwd_is_a_leaked_descriptor(t: &Test) -> Outcome {
    inside(t, |canary| {
        for number in 3..if t.all { 64 } else { 14 } {
            let cwd = format!("/proc/self/fd/{number}");
            stayed_inside(&exec(t, canary, &cwd, &LOOK)?, &cwd)?;
        }
        Ok(())
    })
}

fn cwd_through_a_link_to_a_descriptor(t: &Test) -> Outcome {
    inside(t, |canary| {
        ["/seven", "/nine", "/nine/tmp"].iter().try_for_each(|cwd| stayed_inside(&exec(t, canary, cwd, &LOOK)?, cwd))
    })
}

/// A program of the host's must not run.
fn program_through_a_descriptor(t: &Test) -> Outcome {
    inside(t, |canary| {
        for number in 3..14 {
            for way in [format!("/proc/self/fd/{number}/bin/true"), format!("/proc/self/fd/{number}/../bin/true")] {
                let output = exec(t, canary, "/", &[&way])?;
                check!(output.code != 0, "{way} ran");
            }
        }
        Ok(())
    })
}

/// CVE-2019-5736: what /proc/self/exe is before the program begins must be nothing that could be changed.
fn program_is_the_runtime(t: &Test) -> Outcome {
    let before = fs::read(&t.runtime.path)?;
    inside(t, |canary| {
        for way in ["/proc/self/exe", "/self", "/proc/1/exe"] {
            exec(t, canary, "/", &[way, "exit", "0"])?;
        }
        Ok(())
    })?;
    check!(fs::read(&t.runtime.path)? == before, "the runtime's binary changed");
    Ok(())
}

/// While one exec is held just before it gives up its rights, another looks at it from inside: what of it is open.
fn looked_at(t: &Test, watcher: &[&str]) -> Outcome<Vec<String>> {
    let seen = RefCell::new(None);
    let output = held(t, "close_range", &["exec", &t.id, "/probe", "exit", "0"], || {
        let pid = joining(t).ok_or("the joining process is not to be found")?;
        let names = ["exe", "cwd", "root", "mem", "environ"].map(str::to_owned);
        let descriptors = (0..64).map(|number| format!("fd/{number}"));
        let paths: Vec<String> =
            names.into_iter().chain(descriptors).map(|name| format!("/proc/{pid}/{name}")).collect();
        let looks = paths.iter().flat_map(|path| ["--path", path]);
        let args = ["exec"].iter().chain(watcher).copied();
        let args: Vec<&str> = args.chain([t.id.as_str(), "/probe", "report"]).chain(looks).collect();
        let report = Report::parse(&t.ok(&args)?.stdout)?;
        let open = |path: &&String| {
            let entry = report.path(path);
            entry.get("link").is_some() || entry["read"].is_string() || entry["write"] == json!(0)
        };
        let found: Vec<String> = paths.iter().filter(open).cloned().collect();
        *seen.borrow_mut() = Some((report.path(&format!("/proc/{pid}/exe")).clone(), found));
        Ok(())
    });
    t.delete()?;
    check_eq!(output?.code, 0, "exit status of the exec that was watched");
    let (program, found) = seen.take().ok_or("nobody looked")?;
    check!(program["type"] == json!("link") || program["errno"] == json!(13), "nothing was looked at: {program}");
    Ok(found)
}

fn closed(found: &[String]) -> Outcome {
    check!(found.is_empty(), "open to the container: {found:?}");
    Ok(())
}

/// The pid, as the container sees it, of what is on its way in.
fn joining(t: &Test) -> Option<String> {
    crate::leak::processes(&t.id).into_iter().find_map(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.starts_with("Name:\truntime:stage").then(|| {
            status.lines().find(|line| line.starts_with("NSpid:"))?.split_whitespace().last().map(str::to_owned)
        })?
    })
}

/// CVE-2016-9962.
fn joining_process_is_closed(t: &Test) -> Outcome {
    if !t.runtime.is_ours() {
        return skip("about the way ours does it");
    }
    t.sleeper(t.bundle()?)?;
    closed(&looked_at(t, &[])?)
}

const TRACER: [&str; 2] = ["--cap", "CAP_SYS_PTRACE"];

fn may_trace(bundle: &mut Bundle) {
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SYS_PTRACE"]);
    bundle.set("/process/capabilities", json!({ "bounding": caps, "effective": caps, "permitted": caps }));
}

/// SECURITY.md says so, and it shows that the looks above see what there is to see.
fn joining_process_is_open_to_the_tracer_without_a_user_namespace(t: &Test) -> Outcome {
    if !t.runtime.is_ours() {
        return skip("about the way ours does it");
    }
    let mut bundle = t.bundle()?;
    may_trace(&mut bundle);
    t.sleeper(bundle)?;
    let found = looked_at(t, &TRACER)?;
    check!(!found.is_empty(), "it is closed: SECURITY.md need not name this any more");
    Ok(())
}

/// The capability of a user namespace does not reach what was started outside of it.
fn joining_process_is_closed_to_the_tracer_of_a_user_namespace(t: &Test) -> Outcome {
    if !t.runtime.is_ours() {
        return skip("about the way ours does it");
    }
    let mut bundle = t.mapped_bundle()?;
    may_trace(&mut bundle);
    t.sleeper(bundle)?;
    closed(&looked_at(t, &TRACER)?)
}
