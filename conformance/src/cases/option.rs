//! option: flags that no other noun's cases are about (contract 2.2, 2.3, 2.5, 2.6, 2.12, 3.1).

use crate::bundle::Bundle;
use crate::cases;
use crate::report::Report;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::fs;

cases!["option":
    config_is_another_file, without_cgroups, orphans_are_adopted, orphans_are_not_adopted, seccomp_report,
    seccomp_report_needs_a_foreground, exec_no_new_privileges, exec_labels_need_a_module, kill_by_regex,
    delete_by_regex, regex_that_is_none, kill_all_of_stopped, checkpoint_is_refused, help_of_every_verb,
    debug_says_more, pidfd_sockets, pid_file_of_a_run, create_takes_the_flags_of_run,
];

fn config_is_another_file(t: &Test) -> Outcome {
    if t.runtime.name == "runc" {
        return skip("runc has no --config");
    }
    let bundle = t.bundle()?.probe(&["exit", "9"]);
    let path = bundle.saved()?;
    fs::rename(bundle.path.join("config.json"), bundle.path.join("other.json"))?;
    // crun looks from its current directory, ours from the bundle: an absolute path is both.
    let file = format!("{path}/other.json");
    let run = t.rt(&["run", "--config", &file, "--bundle", &path, &t.id])?;
    check_eq!(run.code, 9, "run: {}", run.stderr);
    t.ok(&["create", "-f", &file, "-b", &path, &t.id])?;
    t.delete()?;
    Ok(())
}

/// The container stays where its creator is.
fn without_cgroups(t: &Test) -> Outcome {
    if t.runtime.name == "runc" {
        return skip("runc has no --cgroup-manager");
    }
    let mut bundle = t.bundle()?;
    bundle.remove("/linux/resources");
    bundle.remove("/linux/cgroupsPath");
    let path = bundle.probe(&["sleep", "600"]).saved()?;
    t.ok(&["--cgroup-manager=disabled", "run", "--detach", "--bundle", &path, &t.id])?;
    let pid = t.state()?["pid"].as_i64().unwrap_or(0);
    let (theirs, own) = (fs::read_to_string(format!("/proc/{pid}/cgroup"))?, fs::read_to_string("/proc/self/cgroup")?);
    t.delete()?;
    check_eq!(theirs, own, "cgroups");
    Ok(())
}

/// The parent of a process whose own has ended, in a container that shares the pid namespace; the runtime's pid.
fn adopter(t: &Test, flags: &[&str]) -> Outcome<(i32, i32)> {
    let mut bundle = t.bundle()?;
    t.busybox(&bundle, &["sh", "sleep", "cut", "kill"])?;
    bundle.drop_namespace("pid");
    let script = "p=$(sh -c 'sleep 60 >/dev/null 2>&1 & echo $!'); sleep 0.3; cut -d' ' -f4 /proc/$p/stat; kill $p";
    let path = bundle.with("/process/args", json!(["/bin/sh", "-c", script])).saved()?;
    let words: Vec<&str> = ["run"].iter().chain(flags).chain(&["--bundle", &path, &t.id]).copied().collect();
    let running = t.spawn(t.command(&[], &words), None)?;
    let pid = running.pid();
    let output = t.wait(running)?;
    check_eq!(output.code, 0, "exit status: {}", output.stderr);
    let parent = output.stdout.trim().parse().map_err(|_| format!("parent: {:?}", output.stdout))?;
    Ok((parent, pid))
}

fn orphans_are_adopted(t: &Test) -> Outcome {
    let (parent, runtime) = adopter(t, &[])?;
    check_eq!(parent, runtime, "parent of an orphan");
    Ok(())
}

fn orphans_are_not_adopted(t: &Test) -> Outcome {
    let (parent, runtime) = adopter(t, &["--no-subreaper"])?;
    check!(parent != runtime, "adopted by the runtime");
    Ok(())
}

fn denying(t: &Test) -> Outcome<Bundle> {
    let mut bundle = t.bundle()?;
    t.busybox(&bundle, &["mkdir", "true"])?;
    let rule = json!([{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 }]);
    bundle.set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rule }));
    Ok(bundle.with("/process/args", json!(["/bin/mkdir", "/tmp/x"])))
}

fn seccomp_report(t: &Test) -> Outcome {
    if !t.runtime.is_ours() {
        return skip("--seccomp-report is ours alone");
    }
    let (path, file) = (denying(t)?.saved()?, t.folder.join("denied.json"));
    let output = t.rt(&["run", "--seccomp-report", &file.to_string_lossy(), "--bundle", &path, &t.id])?;
    check!(output.code != 0 && output.stderr.contains("not permitted"), "mkdir: {} {}", output.code, output.stderr);
    let denied: Value = serde_json::from_slice(&fs::read(&file)?)?;
    let named = denied.as_array().is_some_and(|list| list.iter().any(|one| one.to_string().contains("\"mkdir\"")));
    check!(named, "mkdir is not in {denied}");
    Ok(())
}

fn seccomp_report_needs_a_foreground(t: &Test) -> Outcome {
    if !t.runtime.is_ours() {
        return skip("--seccomp-report is ours alone");
    }
    let (path, file) = (denying(t)?.saved()?, t.folder.join("denied.json"));
    let args = ["run", "--detach", "--seccomp-report", &file.to_string_lossy(), "--bundle", &path, &t.id];
    t.fails(&args, "--seccomp-report").map(drop)
}

/// The flag decides when it is given, and else the config.
fn exec_no_new_privileges(t: &Test) -> Outcome {
    for (config, flags, wanted) in [
        (false, &[][..], "0"),
        (false, &["--no-new-privs"], "1"),
        (true, &[], "1"),
        (true, &["--no-new-privs=false"], "0"),
        (true, &["--no-new-privs=true"], "1"),
    ] {
        t.sleeper(t.bundle()?.with("/process/noNewPrivileges", json!(config)))?;
        let words: Vec<&str> =
            ["exec"].iter().chain(flags).chain(&[t.id.as_str(), "/probe", "report"]).copied().collect();
        let output = t.rt(&words)?;
        t.delete()?;
        check_eq!(output.code, 0, "{flags:?}: {}", output.stderr);
        check_eq!(Report::parse(&output.stdout)?.status("NoNewPrivs"), wanted, "config {config}, {flags:?}");
    }
    Ok(())
}

/// With the modules themselves: scripts/guest-lsm.py.
fn exec_labels_need_a_module(t: &Test) -> Outcome {
    let lists = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    if lists.contains("apparmor") || lists.contains("selinux") {
        return skip("this host has a module");
    }
    t.sleeper(t.bundle()?)?;
    let outputs = [("--apparmor", "apparmor"), ("--process-label", "selinux")].map(|(flag, word)| {
        t.rt(&["exec", flag, "system_u:system_r:some_t:s0", &t.id, "/probe", "exit", "0"]).map(|output| (output, word))
    });
    t.delete()?;
    for output in outputs {
        let (output, word) = output?;
        check_eq!(output.code, 255, "exit status, {word}");
        check!(output.stderr.to_lowercase().contains(word), "{word} is not named: {}", output.stderr);
    }
    Ok(())
}

/// Three containers: ID, ID-b1 and ID-b2; the ids of those that are left after `act`, and its output.
fn among_three(t: &Test, act: &[&str]) -> Outcome<(Vec<(String, String)>, crate::command::Output)> {
    if t.runtime.name == "runc" {
        return skip("runc has no --regex");
    }
    t.sleeper(t.bundle()?)?;
    let others = ["-b1", "-b2"].map(|name| format!("{}{name}", t.id));
    for (name, id) in ["-b1", "-b2"].iter().zip(&others) {
        let bundle = t.bundle_named(name)?.probe(&["sleep", "600"]);
        let mut command = t.command(&[], &["run", "--detach", "--bundle", &bundle.saved()?, id]);
        command.stdin(std::process::Stdio::null());
        let output = t.finish(command)?;
        check_eq!(output.code, 0, "{id}: {}", output.stderr);
    }
    let output = t.rt(act)?;
    std::thread::sleep(std::time::Duration::from_millis(200));
    let list: Vec<Value> = serde_json::from_str(&t.ok(&["list", "--format", "json"])?.stdout)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let left = list.iter().map(|one| (text(&one["id"]), text(&one["status"]))).collect();
    for id in others.iter().chain([&t.id]) {
        t.ok(&["delete", "--force", id])?;
    }
    Ok((left, output))
}

fn kill_by_regex(t: &Test) -> Outcome {
    let pattern = format!("^{}-b[0-9]$", t.id);
    let (left, output) = among_three(t, &["kill", "--regex", &pattern, "KILL"])?;
    check_eq!(output.code, 0, "exit status: {}", output.stderr);
    let wanted = [("", "running"), ("-b1", "stopped"), ("-b2", "stopped")];
    check_eq!(left, wanted.map(|(name, status)| (format!("{}{name}", t.id), status.to_owned())), "what is left");
    Ok(())
}

fn delete_by_regex(t: &Test) -> Outcome {
    let pattern = format!("^{}-b[12]$", t.id);
    let (left, output) = among_three(t, &["delete", "--force", "-r", &pattern])?;
    check_eq!(output.code, 0, "exit status: {}", output.stderr);
    check_eq!(left, [(t.id.clone(), "running".to_owned())], "what is left");
    // Nothing matches any more: that is all that was asked.
    check_eq!(t.rt(&["delete", "--regex", &pattern])?.code, 0, "without a match");
    Ok(())
}

/// None is deleted, and one that cannot be deleted does not keep the others.
fn regex_that_is_none(t: &Test) -> Outcome {
    if !t.runtime.is_ours() {
        return skip("crun takes errors of some for success");
    }
    t.fails(&["delete", "--force", "--regex", "("], "invalid regular expression")?;
    t.fails(&["kill", "--regex", "[a", "KILL"], "invalid regular expression")?;
    t.sleeper(t.bundle()?)?;
    let created = format!("{}-c", t.id);
    t.ok(&["create", "--bundle", &t.bundle_named("-c")?.probe(&["sleep", "1"]).saved()?, &created])?;
    let output = t.rt(&["delete", "--regex", &format!("^{}", t.id)])?;
    let gone = t.rt(&["state", &created])?.code;
    t.delete()?;
    check_eq!((output.code, gone), (1, 1), "exit status, and of state of the one that could go");
    let wanted = format!("{}: cannot delete container", t.id);
    check!(output.stderr.contains(&wanted), "{wanted:?} is not in {}", output.stderr);
    Ok(())
}

/// The one effect `kill --all` has left: what engines of old send is no error.
fn kill_all_of_stopped(t: &Test) -> Outcome {
    t.start(&t.bundle()?.probe(&["exit", "0"]))?;
    t.wait_status("stopped")?;
    let (all, short) = (t.rt(&["kill", "--all", &t.id, "KILL"])?, t.rt(&["kill", "-a", &t.id, "TERM"])?);
    t.delete()?;
    check_eq!((all.code, short.code), (0, 0), "exit status: {}{}", all.stderr, short.stderr);
    Ok(())
}

/// Every flag is known, the work is not done, and the container goes on.
fn checkpoint_is_refused(t: &Test) -> Outcome {
    if !t.runtime.is_ours() {
        return skip("the others call criu");
    }
    let both = "--image-path /nowhere --work-path /nowhere --tcp-established --ext-unix-sk --shell-job --lazy-pages \
                --file-locks --manage-cgroups-mode soft --empty-ns network --auto-dedup";
    let checkpoint = "--parent-path x --leave-running --tcp-skip-in-flight --link-remap --status-fd 9 --page-server \
                      127.0.0.1:1 --pre-dump";
    let restore = "--console-socket /nowhere --bundle /nowhere --detach --pid-file /nowhere --no-subreaper --no-pivot \
                   --tcp-close --lsm-profile x --lsm-mount-context x";
    t.sleeper(t.bundle()?)?;
    let refuse = |verb: &'static str, flags: &'static str| {
        let words: Vec<&str> =
            [verb].into_iter().chain(both.split(' ')).chain(flags.split(' ')).filter(|word| !word.is_empty()).collect();
        let words: Vec<&str> = words.into_iter().chain([t.id.as_str()]).collect();
        t.fails(&words, "not supported")
    };
    let outcomes = [refuse("checkpoint", checkpoint), refuse("restore", restore)];
    let status = t.state()?["status"].clone();
    t.delete()?;
    outcomes.into_iter().try_for_each(|outcome| outcome.map(drop))?;
    check_eq!(status, json!("running"), "status");
    Ok(())
}

/// Engines ask by its exit status whether a verb is there.
fn help_of_every_verb(t: &Test) -> Outcome {
    let mut verbs = vec!["checkpoint", "create", "delete", "events", "exec", "features", "kill", "list", "pause", "ps"];
    verbs.extend(["restore", "resume", "run", "spec", "start", "state", "update"]);
    if t.runtime.is_ours() {
        verbs.extend(["plan", "check", "doctor"]);
    }
    for verb in verbs {
        for flag in ["--help", "-h"] {
            let mut command = t.runtime.command(&[]);
            command.args([verb, flag]);
            let output = t.finish(command)?;
            check_eq!(output.code, 0, "{verb} {flag}: {}", output.stderr);
            check!(output.stdout.contains(verb), "{verb} {flag} does not say so: {}", output.stdout);
        }
    }
    Ok(())
}

/// It changes what is logged, and nothing else.
fn debug_says_more(t: &Test) -> Outcome {
    let (path, log) = (t.bundle()?.probe(&["echo", "ran"]).saved()?, t.folder.join("log"));
    let output = t.ok(&["--debug", "--log", &log.to_string_lossy(), "run", "--bundle", &path, &t.id])?;
    check_eq!(output.stdout, "ran\n", "stdout");
    let failed = t.rt(&["--debug", "--log", &log.to_string_lossy(), "state", "missing"])?;
    check_eq!(failed.code, 1, "exit status of an error");
    let text = fs::read_to_string(&log)?;
    check!(text.lines().any(|line| line.contains("level=error")), "no error in {text}");
    if t.runtime.is_ours() {
        for said in ["nsexec container setup", "child process in init()", "init: closing the pipe to signal completion"]
        {
            check!(text.lines().any(|line| line.contains("level=debug") && line.contains(said)), "{said}: {text}");
        }
    }
    Ok(())
}

fn pidfd_sockets(t: &Test) -> Outcome {
    if !t.runtime.is_ours() {
        return skip("--pidfd-socket came with runc 1.2");
    }
    let path = t.bundle()?.probe(&["sleep", "600"]).saved()?;
    for verb in [&["create"][..], &["run", "--detach"]] {
        let socket = t.folder.join(format!("{}.sock", verb[0])).to_string_lossy().into_owned();
        let words = [verb, &["--pidfd-socket", &socket, "--bundle", &path, &t.id]].concat();
        gets_a_pidfd(t, &socket, &words)?;
    }
    // crun's annotation.
    let socket = t.folder.join("annotation.sock").to_string_lossy().into_owned();
    let bundle = t.bundle_named("annotated")?.with("/annotations", json!({ "run.oci.pidfd_receiver": socket }));
    let path = bundle.probe(&["sleep", "600"]).saved()?;
    gets_a_pidfd(t, &socket, &["create", "--bundle", &path, &t.id])
}

fn gets_a_pidfd(t: &Test, socket: &str, words: &[&str]) -> Outcome {
    let receiver = crate::console::Console::listen(std::path::Path::new(socket))?;
    let running = t.spawn(t.command(&[], words), None)?;
    let received = receiver.receive();
    let output = t.wait(running)?;
    let pid = t.state()?["pid"].clone();
    let about = received.as_ref().ok().map(|(_, fd)| {
        let number = std::os::fd::AsRawFd::as_raw_fd(fd);
        fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default()
    });
    t.delete()?;
    check_eq!(output.code, 0, "{words:?}: {}", output.stderr);
    check_eq!(received?.0, "standard", "the message");
    let about = about.unwrap_or_default();
    check!(about.lines().any(|line| line == format!("Pid:\t{pid}")), "a pidfd of {pid}: {about}");
    Ok(())
}

fn pid_file_of_a_run(t: &Test) -> Outcome {
    let (path, file) = (t.bundle()?.probe(&["sleep", "600"]).saved()?, t.folder.join("pid"));
    t.ok(&["run", "--detach", "--pid-file", &file.to_string_lossy(), "--bundle", &path, &t.id])?;
    let (text, pid) = (fs::read_to_string(&file)?, t.state()?["pid"].clone());
    t.delete()?;
    check_eq!(text, pid.to_string(), "content of the pid file");
    Ok(())
}

/// `create` with the flags that other cases give to `run`.
fn create_takes_the_flags_of_run(t: &Test) -> Outcome {
    let (path, file) = (t.bundle()?.saved()?, t.folder.join("report"));
    let flags = ["create", "--no-pivot", "--no-new-keyring", "--preserve-fds", "1", "--bundle", &path, &t.id];
    let script = format!("exec 3</etc/passwd >{}; exec \"$@\"", file.display());
    let output = t.finish(t.command(&["unshare", "-m", "sh", "-c", &script, "sh"], &flags))?;
    check_eq!(output.code, 0, "create: {}", output.stderr);
    t.ok(&["start", &t.id])?;
    t.wait_status("stopped")?;
    t.delete()?;
    let report = Report::parse(&fs::read_to_string(&file)?)?;
    check_eq!(report.descriptors(), [0, 1, 2, 3], "descriptors");
    check!(!report.at("/keyring").to_string().contains(&t.id), "kept keyring: {}", report.at("/keyring"));
    check!(report.mount("/proc")["type"] == "proc", "{}", report.mount("/proc"));
    Ok(())
}
