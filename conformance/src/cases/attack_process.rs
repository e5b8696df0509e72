//! Attacks by way of the first process: descriptors of the host, the runtime's binary, the caller's terminal
//! (security.md, classes C and E).

use super::attack::{harmless, link, scene, ways_out};
use crate::bundle::Bundle;
use crate::canary::Canary;
use crate::cases;
use crate::command::Output;
use crate::report::Report;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

cases!["attack_process":
    cwd_is_a_leaked_descriptor, cwd_through_a_link_to_a_descriptor, program_through_a_descriptor,
    cwd_is_made_inside, runtime_binary_is_the_program, runtime_binary_cannot_be_written,
    runtime_binary_is_not_there, terminal_input_cannot_be_faked,
];

/// Runs with directories of the host open as 7 and 9, inheritable.
fn with_leaks(t: &Test, canary: &Canary, bundle: &Bundle) -> Outcome<Output> {
    let script = format!("exec 7<{0}/b 9</; exec \"$@\"", canary.path.display());
    t.run_behind(&["sh", "-c", &script, "sh"], bundle)
}

/// It ran inside, or not at all.
fn stayed_inside(output: &Output, what: &str) -> Outcome {
    if output.code != 0 {
        return Ok(());
    }
    let report = Report::parse(&output.stdout)?;
    check!(report.at("/cwd").as_str().is_some_and(|cwd| cwd.starts_with('/')), "{what}: cwd {}", report.at("/cwd"));
    check!(report.path("file")["errno"] == json!(2), "{what}: the host is to be seen: {}", report.path("file"));
    check!(report.path("../../canary")["errno"] == json!(2), "{what}: the host is to be seen through ..");
    Ok(())
}

/// C3: CVE-2024-21626.
fn cwd_is_a_leaked_descriptor(t: &Test) -> Outcome {
    let canary = Canary::new(&t.folder.join("canary"))?;
    let last = if t.all { 64 } else { 14 };
    for number in 3..last {
        let cwd = format!("/proc/self/fd/{number}");
        let bundle = t.bundle()?.with("/process/cwd", json!(cwd));
        let bundle = bundle.looking_at(&["file", "../../canary"]);
        stayed_inside(&with_leaks(t, &canary, &bundle)?, &cwd)?;
        fs::remove_dir_all(&bundle.path)?;
    }
    Ok(())
}

fn cwd_through_a_link_to_a_descriptor(t: &Test) -> Outcome {
    let canary = Canary::new(&t.folder.join("canary"))?;
    for target in ["/proc/self/fd/7", "/proc/self/fd/9", "/proc/thread-self/fd/7", "/proc/1/fd/7", "/proc/self/cwd"] {
        let bundle = t.bundle()?.with("/process/cwd", json!("/work"));
        link(&bundle, "work", target)?;
        let bundle = bundle.looking_at(&["file", "../../canary"]);
        stayed_inside(&with_leaks(t, &canary, &bundle)?, target)?;
        fs::remove_dir_all(&bundle.path)?;
    }
    Ok(())
}

/// A program of the host's, reached through a descriptor: it must not run.
fn program_through_a_descriptor(t: &Test) -> Outcome {
    let canary = Canary::new(&t.folder.join("canary"))?;
    for number in 3..14 {
        for way in [format!("/proc/self/fd/{number}/bin/true"), format!("/proc/self/fd/{number}/../bin/true")] {
            let bundle = t.bundle()?.with("/process/args", json!([way]));
            let output = with_leaks(t, &canary, &bundle)?;
            check!(output.code != 0, "{way} ran");
            fs::remove_dir_all(&bundle.path)?;
        }
    }
    Ok(())
}

/// A7: a missing working directory is made, but never outside.
fn cwd_is_made_inside(t: &Test) -> Outcome {
    let (canary, _) = scene(t)?;
    for way in ways_out(&canary.path) {
        let bundle = t.bundle()?.with("/root/readonly", json!(false)).with("/process/cwd", json!("/a/new/deep"));
        link(&bundle, "a", &way)?;
        harmless(t, &canary, &bundle, &format!("cwd below /a -> {}", way.display()))?;
        fs::remove_dir_all(&bundle.path)?;
    }
    Ok(())
}

/// Content and identity of the runtime's binary.
fn fingerprint(t: &Test) -> Outcome<(Vec<u8>, String)> {
    use std::os::unix::fs::MetadataExt;
    let about = fs::metadata(&t.runtime.path)?;
    let line = format!("{} {} {}.{}", about.ino(), about.len(), about.ctime(), about.ctime_nsec());
    Ok((fs::read(&t.runtime.path)?, line))
}

/// The same test with a copy of the runtime's binary that could be written to: the host's own is on a read-only mount.
fn with_a_copy(t: &Test) -> Outcome<Test> {
    let path = t.folder.join(t.runtime.path.file_name().unwrap_or_default());
    fs::copy(&t.runtime.path, &path)?;
    let runtime = crate::runtime::Runtime { path, ..t.runtime.clone() };
    Ok(Test::new(&runtime, t.id.clone(), t.folder.clone(), t.all)?)
}

/// C1, CVE-2019-5736: the entry point is the runtime itself.
fn runtime_binary_is_the_program(t: &Test) -> Outcome {
    let t = &with_a_copy(t)?;
    let before = fingerprint(t)?;
    for way in ["/proc/self/exe", "/link", "/script"] {
        let bundle = t.bundle()?.with("/process/args", json!([way, "--version"]));
        link(&bundle, "link", "/proc/self/exe")?;
        fs::write(bundle.rootfs().join("script"), "#!/proc/self/exe\n")?;
        fs::set_permissions(bundle.rootfs().join("script"), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        t.run(&bundle)?;
        fs::remove_dir_all(&bundle.path)?;
    }
    check!(fingerprint(t)? == before, "the runtime's binary changed");
    Ok(())
}

/// A sibling in the same pid namespace, as in a pod, tries to write what /proc/PID/exe of a process in the making
/// leads to: at once, and later through a descriptor, when no runtime runs any more that would keep it busy.
fn binary_under_attack(t: &Test, caps: &Value) -> Outcome<String> {
    let before = fingerprint(t)?;
    let first = t
        .bundle()?
        .with("/root/readonly", json!(false))
        .with("/process/capabilities", json!({ "bounding": caps, "effective": caps, "permitted": caps }))
        .probe(&["write-exes", "3", "/opened"]);
    t.create_ok(&first)?;
    let pid = t.state()?["pid"].as_i64().unwrap_or(0);
    let second = format!("{}second", t.id);
    let mut bundle = t.bundle_named("second")?.probe(&["exit", "0"]);
    bundle.namespace("pid", &format!("/proc/{pid}/ns/pid"));
    let path = bundle.saved()?;
    t.ok(&["start", &t.id])?;
    // Waiting for its start it has its last capabilities, and is not yet the container's program.
    let made = t.rt(&["create", "--bundle", &path, &second])?;
    std::thread::sleep(Duration::from_millis(300));
    let deleted = t.command(&[], &["delete", "--force", &second]).status();
    t.wait_for("the attacker's report", || first.rootfs().join("opened").exists())?;
    // A program that is open for writing cannot be started.
    t.wait_for("the attacker's end", || t.rt(&["delete", "--force", &t.id]).is_ok())?;
    t.ok(&["delete", "--force", &second])?;
    check!(made.code == 0 && deleted.is_ok_and(|status| status.success()), "create and delete: {}", made.stderr);
    let text = fs::read_to_string(first.rootfs().join("opened"))?;
    check!(text.starts_with("tried ") && !text.starts_with("tried 0"), "nothing was tried: {text:?}");
    let same = fingerprint(t)? == before;
    check!(same, "the runtime's binary was written to: {text}");
    Ok(text)
}

fn runtime_binary_cannot_be_written(t: &Test) -> Outcome {
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    binary_under_attack(&with_a_copy(t)?, &caps).map(drop)
}

/// With this capability no process of the namespace is closed to it: what it sees must not be the runtime.
fn runtime_binary_is_not_there(t: &Test) -> Outcome {
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SYS_PTRACE"]);
    let t = &with_a_copy(t)?;
    let text = binary_under_attack(t, &caps)?;
    check!(text.contains("saw /memfd"), "it did not see the waiting process: {text}");
    check!(!text.contains(&*t.runtime.path.to_string_lossy()), "it saw the runtime's binary: {text}");
    Ok(())
}

/// E3: without a terminal of its own the container has the caller's; it must not type for the caller.
fn terminal_input_cannot_be_faked(t: &Test) -> Outcome {
    let bundle = t.bundle()?.probe(&["fake-input"]);
    bundle.save()?;
    let pty = crate::pty::Pty::new(24, 80)?;
    // The caller has it as its controlling terminal.
    let mut command =
        t.command(&["setsid", "--ctty", "--wait"], &["run", "--bundle", &bundle.path.to_string_lossy(), &t.id]);
    command.env("LC_ALL", "C");
    let output = t.wait(t.spawn(command, Some(fs::File::from(pty.slave.try_clone()?)))?)?;
    check_eq!(output.code, 0, "the terminal took faked input: {}{}", output.stdout, output.stderr);
    Ok(())
}
