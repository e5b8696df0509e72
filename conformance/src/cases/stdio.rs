//! streams and descriptors: what the process gets open, and what it does not.

use crate::cases;
use crate::report::Report;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::json;
use std::fs::{self, File};

cases!["stdio":
    input_and_output_are_the_callers, closed_streams_are_no_trouble, leaked_descriptors_stay_out,
    preserved_in_order, preserved_but_missing, listen_fds_are_passed, listen_fds_for_another_process,
    listen_fds_and_preserved, listen_fds_that_are_no_number, output_to_a_full_disk, a_reader_that_left,
    the_log_is_not_passed, what_is_only_read_keeps_its_owner, device_keeps_its_owner,
];

/// The runtime's `run` behind a shell that arranges descriptors.
fn behind(t: &Test, script: &str, flags: &[&str]) -> Outcome<crate::command::Output> {
    let bundle = t.folder.join("bundle");
    let path = bundle.to_string_lossy().into_owned();
    let mut args = vec!["run"];
    args.extend(flags);
    args.extend(["--bundle", &path, &t.id]);
    t.finish(t.command(&["sh", "-c", script, "sh"], &args))
}

fn input_and_output_are_the_callers(t: &Test) -> Outcome {
    let bundle = t.bundle()?.probe(&["copy"]);
    bundle.save()?;
    fs::write(t.folder.join("in"), "through\0and\nthrough\n".repeat(10_000))?;
    let command = t.command(&[], &["run", "--bundle", &bundle.path.to_string_lossy(), &t.id]);
    let running = t.spawn(command, Some(File::open(t.folder.join("in"))?))?;
    let output = t.wait(running)?;
    check_eq!(output.code, 0, "exit status: {}", output.stderr);
    check_eq!(output.stdout.len(), 200_000, "length of the output");
    check_eq!(output.stderr, "copied 200000\n", "standard error");
    Ok(())
}

/// A runtime must not let one of its own files become the program's 0, 1 or 2.
fn closed_streams_are_no_trouble(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/root/readonly", json!(false)).probe(&["write-fds", "/fds"]);
    bundle.save()?;
    for script in ["exec \"$@\" <&-", "exec \"$@\" >&-", "exec \"$@\" 2>&-", "exec \"$@\" <&- >&- 2>&-"] {
        behind(t, script, &[])?;
        let table: serde_json::Value = serde_json::from_slice(&fs::read(bundle.rootfs().join("fds"))?)?;
        fs::remove_file(bundle.rootfs().join("fds"))?;
        for (number, target) in table.as_object().into_iter().flatten() {
            let target = target.as_str().unwrap_or("");
            let known = ["/dev/null", "pipe:", "/null", "/out.", "/err."];
            check!(known.iter().any(|k| target.contains(k)), "{script}: descriptor {number} is {target}");
        }
    }
    Ok(())
}

/// CVE-2024-21626 began with one.
fn leaked_descriptors_stay_out(t: &Test) -> Outcome {
    t.bundle()?.save()?;
    let script = "exec 3</ 4</etc/passwd 5</proc 6</sys/fs/cgroup 7</dev/zero 8>/dev/null 9</root; exec \"$@\"";
    let report = Report::parse(&behind(t, script, &[])?.stdout)?;
    check_eq!(report.descriptors(), [0, 1, 2], "open descriptors {}", report.at("/fds"));
    Ok(())
}

fn preserved_in_order(t: &Test) -> Outcome {
    t.bundle()?.save()?;
    for (number, target) in [(3, "passwd"), (4, "group"), (5, "hostname")] {
        fs::write(t.folder.join(target), format!("{number}"))?;
    }
    let folder = t.folder.display();
    let script = format!("exec 3<{folder}/passwd 4<{folder}/group 5<{folder}/hostname 6</; exec \"$@\"");
    let report = Report::parse(&behind(t, &script, &["--preserve-fds", "3"])?.stdout)?;
    check_eq!(report.descriptors(), [0, 1, 2, 3, 4, 5], "open descriptors {}", report.at("/fds"));
    for (number, target) in [(3, "passwd"), (4, "group"), (5, "hostname")] {
        let found = report.at(&format!("/fds/{number}"));
        check!(found.as_str().is_some_and(|f| f.ends_with(target)), "descriptor {number} is {found}");
    }
    Ok(())
}

fn preserved_but_missing(t: &Test) -> Outcome {
    t.bundle()?.save()?;
    let output = behind(t, "exec 3</dev/null 4<&-; exec \"$@\"", &["--preserve-fds", "2"])?;
    check_eq!(output.code, 1, "exit status: {}", output.stdout.chars().take(100).collect::<String>());
    check!(output.stderr.contains("preserved-fd 1"), "{}", output.stderr);
    Ok(())
}

fn listen_fds_are_passed(t: &Test) -> Outcome {
    t.bundle()?.save()?;
    let script = "exec 3</dev/zero 4</dev/full; export LISTEN_FDS=2 LISTEN_PID=$$; exec \"$@\"";
    let report = Report::parse(&behind(t, script, &[])?.stdout)?;
    check_eq!(report.descriptors(), [0, 1, 2, 3, 4], "open descriptors {}", report.at("/fds"));
    check_eq!((report.env("LISTEN_FDS").0, report.env("LISTEN_PID").0), (Some("2"), Some("1")), "environment");
    Ok(())
}

/// C4: they are meant for another process.
fn listen_fds_for_another_process(t: &Test) -> Outcome {
    t.bundle()?.save()?;
    let script = "exec 3</ 4</etc; export LISTEN_FDS=2 LISTEN_PID=1; exec \"$@\"";
    let report = Report::parse(&behind(t, script, &[])?.stdout)?;
    check_eq!(report.descriptors(), [0, 1, 2], "open descriptors {}", report.at("/fds"));
    check_eq!(report.env("LISTEN_FDS").0, None, "LISTEN_FDS");
    Ok(())
}

fn listen_fds_and_preserved(t: &Test) -> Outcome {
    t.bundle()?.save()?;
    let script = "exec 3</dev/zero 4</dev/full; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\"";
    let report = Report::parse(&behind(t, script, &["--preserve-fds", "1"])?.stdout)?;
    check_eq!(report.at("/fds/3"), &json!("/dev/zero"), "the socket-activated one comes first");
    check_eq!(report.at("/fds/4"), &json!("/dev/full"), "then the preserved one");
    Ok(())
}

fn listen_fds_that_are_no_number(t: &Test) -> Outcome {
    t.bundle()?.save()?;
    for value in ["-1", "2x", "99999999999"] {
        let script = format!("exec 3</ 4</etc; export LISTEN_FDS={value} LISTEN_PID=$$; exec \"$@\"");
        let output = behind(t, &script, &[])?;
        if output.code == 0 {
            let found = Report::parse(&output.stdout)?.descriptors();
            check_eq!(found, [0, 1, 2], "LISTEN_FDS={value}: descriptors");
        }
    }
    Ok(())
}

/// ROB-27: the program's trouble, not the runtime's.
fn output_to_a_full_disk(t: &Test) -> Outcome {
    t.bundle()?.probe(&["echo", "hello"]).save()?;
    let output = behind(t, "exec \"$@\" >/dev/full", &[])?;
    check!(!output.crashed() && output.code != 101, "exit {}", output.code);
    Ok(())
}

fn a_reader_that_left(t: &Test) -> Outcome {
    t.bundle()?.probe(&["copy"]).save()?;
    let script = "{ yes | \"$@\"; echo $? >&2; } | head -c 10 >/dev/null";
    let output = behind(t, script, &[])?;
    check!(!output.crashed(), "{}", output.stderr);
    // As pid 1 the program gets no SIGPIPE, but EPIPE (32).
    check!(["32", "141"].contains(&output.stderr.trim_end()), "exit status of run: {}", output.stderr);
    Ok(())
}

fn the_log_is_not_passed(t: &Test) -> Outcome {
    let bundle = t.bundle()?;
    bundle.save()?;
    let log = t.folder.join("log");
    let path = bundle.path.to_string_lossy().into_owned();
    let output = t.ok(&["--log", &log.to_string_lossy(), "--debug", "run", "--bundle", &path, &t.id])?;
    let report = Report::parse(&output.stdout)?;
    check_eq!(report.descriptors(), [0, 1, 2], "open descriptors {}", report.at("/fds"));
    Ok(())
}

/// Runs the probe as another user with a file as its stdin that `make` makes at `$f`; who owns the file then.
fn owner_after(t: &Test, make: &str) -> Outcome<String> {
    let bundle = t.bundle()?.with("/process/user", json!({ "uid": 1000, "gid": 1000 })).probe(&["exit", "0"]);
    bundle.save()?;
    let script = format!("f={}/in; {make} && \"$@\" <$f && stat -c %u $f", t.folder.display());
    let args = ["run", "--bundle", &bundle.path.to_string_lossy(), &t.id];
    let output = t.finish(t.command(&["unshare", "-m", "sh", "-c", &script, "sh"], &args))?;
    check_eq!(output.code, 0, "exit status: {}", output.stderr);
    Ok(output.stdout.trim_end().to_owned())
}

/// `runtime run c < /etc/shadow`: its owner could open it again, for writing.
fn what_is_only_read_keeps_its_owner(t: &Test) -> Outcome {
    check_eq!(owner_after(t, "echo secret >$f")?, "0", "owner of the file");
    Ok(())
}

/// It is there for others too; and who owns the caller's terminal reads along.
fn device_keeps_its_owner(t: &Test) -> Outcome {
    // Not below a mount that knows no devices.
    let make = "mkdir $f && mount -t tmpfs none $f && f=$f/zero && mknod $f c 1 5";
    check_eq!(owner_after(t, make)?, "0", "owner of the device");
    Ok(())
}
