//! Hooks that fail, run past their time, or hang.

use super::hook::{bundle, hook, nothing_left, read, refused, shared, with};
use crate::bundle::Bundle;
use crate::cases;
use crate::machine::patient;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, Instant};

cases!["hook_failure":
    fails_create, says_which, of_start_container_fails_start, of_poststart_stops_the_container,
    of_poststop_is_a_warning, of_run_leaves_nothing, missing_program_is_explained, failed_create_runs_poststop,
    timeout_takes_children_too, timeout_in_the_container, daemon_of_a_hook_holds_nobody_up,
    hanging_one_does_not_stop_delete_force, hanging_one_in_the_container_does_not_stop_delete_force,
    that_of_a_killed_create_is_found,
];

fn fails_create(t: &Test) -> Outcome {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let bundle = bundle(t)?;
        let first = hook(t, kind, "echo first >> $D/$K");
        let list = json!([first, hook(t, kind, "exit 3"), hook(t, kind, "echo third >> $D/$K")]);
        refused(t, &bundle.with(&format!("/hooks/{kind}"), list), "create", "hook")?;
        check_eq!(read(t, kind), "first\n", "hooks of {kind} that ran");
        nothing_left(t)?;
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}

fn says_which(t: &Test) -> Outcome {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let list = json!([hook(t, kind, ":"), hook(t, kind, "echo some words >&2; exit 3")]);
        let bundle = bundle(t)?.with(&format!("/hooks/{kind}"), list);
        let said = refused(t, &bundle, "run", &format!("error running {kind} hook #1"))?;
        for part in ["/usr/bin/busybox", "exit status 3", "some words", " ms"] {
            check!(said.contains(part), "{kind}: {part:?} is not in {said}");
        }
        let bundle = bundle.with(&format!("/hooks/{kind}"), json!([hook(t, kind, "kill -ABRT $$")]));
        let said = refused(t, &bundle, "run", &format!("error running {kind} hook #0"))?;
        check!(said.contains("SIGABRT"), "{kind}: no signal in {said}");
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}

fn of_start_container_fails_start(t: &Test) -> Outcome {
    let bundle = with(t, bundle(t)?, &["startContainer"], "echo some words; exit 3");
    let bundle = with(t, bundle, &["poststart", "poststop"], "echo $K >> $D/order");
    t.create_ok(&bundle)?;
    let said = t.fails(&["start", &t.id], "error running startContainer hook #0")?.stderr;
    check!(said.contains("exit status 3") && said.contains("some words"), "{said}");
    t.wait_status("stopped")?;
    t.ok(&["delete", &t.id])?;
    check_eq!(read(t, "order"), "poststop\n", "hooks that ran after it");
    Ok(())
}

/// runtime.md 1.3, step 9; a warning before.
fn of_poststart_stops_the_container(t: &Test) -> Outcome {
    let bundle = with(t, bundle(t)?, &["poststart"], "exit 3");
    t.create_ok(&with(t, bundle, &["poststop"], "echo $K >> $D/order"))?;
    t.fails(&["start", &t.id], "poststart hook #0")?;
    t.wait_status("stopped")?;
    t.ok(&["delete", &t.id])?;
    check_eq!(read(t, "order"), "poststop\n", "hooks that ran after it");
    Ok(())
}

fn of_poststop_is_a_warning(t: &Test) -> Outcome {
    let list = json!([hook(t, "poststop", "exit 3"), hook(t, "poststop", "echo second > $D/order")]);
    let bundle = bundle(t)?.with("/hooks/poststop", list);
    t.create_ok(&bundle)?;
    let output = t.ok(&["delete", "--force", &t.id])?;
    check_eq!(read(t, "order"), "second\n", "the hook after the one that failed");
    check!(output.stderr.contains("level=warning") && output.stderr.contains("poststop hook #0"), "{}", output.stderr);
    Ok(())
}

fn of_run_leaves_nothing(t: &Test) -> Outcome {
    for kind in ["startContainer", "poststart"] {
        let bundle = with(t, bundle(t)?, &[kind], "exit 3");
        let bundle = with(t, bundle, &["poststop"], &format!("echo {kind} >> $D/order"));
        for detach in [&["run"][..], &["run", "--detach"]] {
            let path = bundle.saved()?;
            let args = [detach, &["--bundle", &path, &t.id]].concat();
            t.fails(&args, &format!("{kind} hook #0"))?;
            nothing_left(t)?;
        }
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    check_eq!(read(t, "order"), "startContainer\nstartContainer\npoststart\npoststart\n", "poststop hooks");
    Ok(())
}

fn missing_program_is_explained(t: &Test) -> Outcome {
    for kind in ["createRuntime", "createContainer"] {
        let bundle = bundle(t)?.with(&format!("/hooks/{kind}"), json!([{ "path": "/no/such/hook" }]));
        let said = refused(t, &bundle, "create", "no such file or directory")?;
        check!(said.contains("/no/such/hook") && said.contains(kind), "{said}");
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}

fn failed_create_runs_poststop(t: &Test) -> Outcome {
    let bundle = with(t, bundle(t)?, &["createRuntime"], "echo $K >> $D/order");
    let bundle = with(t, bundle, &["createContainer"], "exit 1");
    let bundle = with(t, bundle, &["poststop"], "echo $K >> $D/order");
    refused(t, &bundle, "create", "createContainer")?;
    check_eq!(read(t, "order"), "createRuntime\npoststop\n", "hooks of a failed create");
    Ok(())
}

/// The script starts what a plain kill of the hook does not reach: it holds the output open, and has its own session.
const STUBBORN: &str = "echo waiting; setsid sleep 300 & sleep 300 & wait; sleep 300";

fn timeout_takes_children_too(t: &Test) -> Outcome {
    for kind in ["prestart", "createRuntime"] {
        let mut slow = hook(t, kind, STUBBORN);
        slow["timeout"] = json!(1);
        if let Some(env) = slow["env"].as_array_mut() {
            env.push(json!(format!("{}={}", crate::leak::MARKER, t.id)));
        }
        let bundle = bundle(t)?.with(&format!("/hooks/{kind}"), json!([slow]));
        let start = Instant::now();
        let said = refused(t, &bundle, "create", "hook ran past specified timeout of 1.0s")?;
        check!(start.elapsed() < patient(Duration::from_secs(4)), "took {:?}", start.elapsed());
        check!(said.contains(kind) && said.contains("waiting"), "{said}");
        nothing_left(t)?;
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}

fn timeout_in_the_container(t: &Test) -> Outcome {
    let slow = |kind: &str| {
        let mut slow = hook(t, kind, "echo waiting; sleep 300");
        slow["timeout"] = json!(1);
        json!([slow])
    };
    let bundle = bundle(t)?;
    let said =
        refused(t, &bundle.with("/hooks/createContainer", slow("createContainer")), "create", "timeout of 1.0s")?;
    check!(said.contains("createContainer hook #0") && said.contains("waiting"), "{said}");
    nothing_left(t)?;
    fs::remove_dir_all(t.folder.join("bundle"))?;
    t.create_ok(&self::bundle(t)?.with("/hooks/startContainer", slow("startContainer")))?;
    let said = t.fails(&["start", &t.id], "timeout of 1.0s")?.stderr;
    check!(said.contains("startContainer hook #0") && said.contains("waiting"), "{said}");
    t.delete()?;
    Ok(())
}

fn daemon_of_a_hook_holds_nobody_up(t: &Test) -> Outcome {
    for kind in ["createRuntime", "createContainer"] {
        let bundle = with(t, bundle(t)?, &[kind], "sleep 8 &");
        let start = Instant::now();
        t.create_ok(&bundle)?;
        check!(start.elapsed() < Duration::from_secs(5), "{kind}: create took {:?}", start.elapsed());
        t.delete()?;
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}

/// Creates a container whose hook hangs, deletes it by force, and looks at what is left.
fn delete_while(t: &Test, bundle: &Bundle, kill_create: bool) -> Outcome {
    let create = t.create(bundle)?;
    t.wait_for("the hook", || shared(t).join("pid").exists() && !read(t, "pid").is_empty())?;
    if kill_create {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(create.pid()), nix::sys::signal::Signal::SIGKILL)?;
        t.wait(create)?;
        t.ok(&["delete", "--force", &t.id])?;
    } else {
        t.ok(&["delete", "--force", &t.id])?;
        let output = t.wait(create)?;
        check_eq!(output.code, 1, "create of what was deleted: {}", output.stderr);
    }
    nothing_left(t)
}

fn marked(t: &Test, kind: &str) -> Value {
    let mut hook = hook(t, kind, "echo $$ > $D/pid; sleep 300 & sleep 300; true");
    if let Some(env) = hook["env"].as_array_mut() {
        env.push(json!(format!("{}={}", crate::leak::MARKER, t.id)));
    }
    json!([hook])
}

fn hanging_one_does_not_stop_delete_force(t: &Test) -> Outcome {
    delete_while(t, &bundle(t)?.with("/hooks/createRuntime", marked(t, "createRuntime")), false)
}

fn hanging_one_in_the_container_does_not_stop_delete_force(t: &Test) -> Outcome {
    delete_while(t, &bundle(t)?.with("/hooks/createContainer", marked(t, "createContainer")), false)
}

fn that_of_a_killed_create_is_found(t: &Test) -> Outcome {
    let bundle = bundle(t)?.with("/hooks/createRuntime", marked(t, "createRuntime"));
    let bundle = with(t, bundle, &["poststop"], "echo $K >> $D/order");
    delete_while(t, &bundle, true)?;
    check_eq!(read(t, "order"), "poststop\n", "hooks that ran after it");
    fs::remove_dir_all(&bundle.path)?;
    fs::remove_file(shared(t).join("pid"))?;
    delete_while(t, &self::bundle(t)?.with("/hooks/createContainer", marked(t, "createContainer")), true)
}
