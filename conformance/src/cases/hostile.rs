//! hostile: what a container leaves to hold the runtime up, records that are not what was written, and callers whose own
//! limits are tiny. No crash, an error that says what to do, nothing left behind.

use crate::cases;
use crate::machine::patient;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

cases!["hostile":
    cgroup_names_are_not_text, cgroups_are_deeper_than_descriptors, few_descriptors_leave_nothing,
    limit_on_file_sizes, closed_streams_without_a_null_device, console_socket_with_a_full_queue,
    start_hook_holds_the_fifo, record_cut_short, record_of_nothing, record_of_the_largest_config,
    hundred_thousand_masks, hundred_thousand_sysctls, too_many_device_rules, thousand_problems_are_counted,
];

/// The container's cgroup in the hierarchy that a container with a writable one would use.
fn own_cgroup(t: &Test) -> Outcome<std::path::PathBuf> {
    let found = ["freezer", "unified", "pids"].map(|name| t.cgroup(name)).into_iter().find(|path| path.is_dir());
    found.ok_or_else(|| "the container has no cgroup".into())
}

/// With a cgroup of its own a container may make what it likes in it, and must still be deleted.
fn cgroup_names_are_not_text(t: &Test) -> Outcome {
    t.cgroups()?;
    t.sleeper(t.bundle()?)?;
    let odd = own_cgroup(t)?.join(OsStr::from_bytes(b"\xff\xfe"));
    fs::create_dir(&odd)?;
    let processes = t.rt(&["ps", "--format", "json", &t.id])?;
    let deleted = t.rt(&["delete", "--force", &t.id])?;
    let left = odd.exists();
    let _ = fs::remove_dir(&odd);
    check_eq!(processes.code, 0, "ps: {}", processes.stderr);
    check_eq!(deleted.code, 0, "delete: {}", deleted.stderr);
    check!(!left, "the cgroup is left");
    Ok(())
}

/// A tree of cgroups, one in the other, deeper than the caller may open descriptors.
fn cgroups_are_deeper_than_descriptors(t: &Test) -> Outcome {
    const DEPTH: usize = 400;
    t.cgroups()?;
    t.sleeper(t.bundle()?)?;
    let top = own_cgroup(t)?;
    let name = ["d"; DEPTH].join("/");
    fs::create_dir_all(top.join(&name))?;
    let few = ["prlimit", "--nofile=128"];
    let processes = t.finish(t.command(&few, &["ps", "--format", "json", &t.id]))?;
    let deleted = t.finish(t.command(&few, &["delete", "--force", &t.id]))?;
    let left = top.exists();
    for depth in (1..=DEPTH).rev() {
        let _ = fs::remove_dir(top.join(&name[..2 * depth - 1]));
    }
    if left {
        t.delete()?;
    }
    check_eq!(processes.code, 0, "ps: {}", processes.stderr);
    check_eq!(deleted.code, 0, "delete: {}", deleted.stderr);
    check!(!left, "the cgroups are left");
    Ok(())
}

/// Nothing of this container is there, before anybody deletes anything.
fn nothing_left(t: &Test, what: &str) -> Outcome {
    let left = crate::leak::left(&t.id, &t.folder, &t.state);
    check!(left.is_empty(), "{what}: {}", left.join(", "));
    Ok(())
}

fn ours(t: &Test) -> Outcome {
    if t.runtime.is_ours() { Ok(()) } else { skip("about the way ours does it") }
}

/// The same test with more time for each call.
fn slow(t: &Test) -> Outcome<Test> {
    let mut slow = Test::new(&t.runtime, t.id.clone(), t.folder.clone(), t.all)?;
    slow.limit = patient(Duration::from_secs(60));
    Ok(slow)
}

fn few_descriptors_leave_nothing(t: &Test) -> Outcome {
    ours(t)?;
    let bundle = t.bundle()?.probe(&["exit", "0"]);
    for number in [6, 8, 10, 13, 16, 20, 24, 28, 32, 40, 48] {
        let limit = format!("--nofile={number}");
        let output = t.run_behind(&["prlimit", &limit], &bundle)?;
        check!(output.code <= 1, "{number} descriptors: exit {}", output.code);
        check!(output.code == 0 || output.stderr.contains("EMFILE"), "{number} descriptors: {}", output.stderr);
        nothing_left(t, &limit)?;
    }
    Ok(())
}

/// RLIMIT_FSIZE: a signal that nobody expects kills who writes more.
fn limit_on_file_sizes(t: &Test) -> Outcome {
    ours(t)?;
    let bundle = t.bundle()?.probe(&["exit", "0"]);
    for bytes in [300, 3000, 30000] {
        let limit = format!("--fsize={bytes}");
        let output = t.run_behind(&["prlimit", &limit], &bundle)?;
        // The last one has room for all but the sealed stage, which the other entry does without.
        let fits = bytes == 30000 && t.runtime.name != "runtime";
        check!(fits || output.code == 1, "exit {} with {bytes} bytes: {}", output.code, output.stderr);
        check!(fits || output.stderr.contains("msg="), "{bytes} bytes: {:?}", output.stderr);
        nothing_left(t, &limit)?;
    }
    Ok(())
}

/// The next file that is opened would become the container's standard input.
fn closed_streams_without_a_null_device(t: &Test) -> Outcome {
    ours(t)?;
    let bundle = t.bundle()?.with("/linux/maskedPaths", json!([]));
    let script = "mount -t tmpfs none /dev && exec \"$@\" <&-";
    let before = ["unshare", "-m", "sh", "-c", script, "sh"];
    let output = t.run_behind(&before, &bundle)?;
    check_eq!(output.code, 1, "exit status: {}", output.stdout);
    check!(output.stderr.contains("/dev/null"), "{}", output.stderr);
    Ok(())
}

/// Who listens may never accept: an error in bounded time.
fn console_socket_with_a_full_queue(t: &Test) -> Outcome {
    ours(t)?;
    let t = &slow(t)?;
    let socket = t.folder.join("console.sock");
    let _listener = UnixListener::bind(&socket)?;
    // Until there is no room: connecting goes on without anybody who accepts.
    let fill = |_: &i32| -> Option<UnixStream> {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket as open};
        use std::os::fd::AsRawFd;
        let stream = open(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_NONBLOCK, None).ok()?;
        connect(stream.as_raw_fd(), &UnixAddr::new(&socket).ok()?).ok()?;
        Some(stream.into())
    };
    let _queue: Vec<UnixStream> = (0..5000).map_while(|n| fill(&n)).collect();
    let bundle = t.bundle()?.with("/process/terminal", json!(true));
    bundle.save()?;
    let (path, socket) = (bundle.path.to_string_lossy().into_owned(), socket.to_string_lossy().into_owned());
    t.fails(&["create", "--bundle", &path, "--console-socket", &socket, &t.id], "ETIMEDOUT")?;
    nothing_left(t, "after the refusal")
}

/// A startContainer hook is the container's own program: it may reach for what its parent has open.
fn start_hook_holds_the_fifo(t: &Test) -> Outcome {
    ours(t)?;
    let script = "for f in /proc/1/fd/*; do case $(ls -l $f) in *fifo*) sleep 600 <>$f & ;; esac; done";
    let bundle = t
        .bundle()?
        .with("/hooks/startContainer", json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]))
        .probe(&["sleep", "600"]);
    t.busybox(&bundle, &["sh", "ls", "sleep"])?;
    t.create_ok(&bundle)?;
    let started = t.ok(&["start", &t.id])?;
    t.delete()?;
    check!(started.took < patient(Duration::from_secs(5)), "start took {:?}", started.took);
    Ok(())
}

/// What there is to read of a record still leads to the process and the cgroup.
fn record_cut_short(t: &Test) -> Outcome {
    ours(t)?;
    let pid = t.sleeper(t.bundle()?)?;
    let file = t.state.join(&t.id).join("state.json");
    let text = fs::read(&file)?;
    let config = text.windows(9).position(|part| part == b"\"config\":").unwrap_or(text.len());
    // The config is nothing that `state` shows.
    fs::write(&file, &text[..config + 20])?;
    check_eq!(t.state()?["pid"], json!(pid), "the process of a record without its end");
    t.fails(&["delete", &t.id], "delete --force")?;
    fs::write(&file, &text[..config - 20])?;
    t.fails(&["state", &t.id], "state.json")?;
    t.fails(&["delete", &t.id], "delete --force")?;
    t.delete()?;
    check!(!is_alive(pid), "the process lives on");
    Ok(())
}

fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

/// By a record that tells nothing nobody is found; that is said.
fn record_of_nothing(t: &Test) -> Outcome {
    ours(t)?;
    let pid = t.sleeper(t.bundle()?)?;
    let file = t.state.join(&t.id).join("state.json");
    let text = fs::read(&file)?;
    for junk in [&b""[..], b"{", b"[1]", b"\0\0\0\0", b"{\"id\":\"another\"}"] {
        fs::write(&file, junk)?;
        for verb in ["state", "kill", "start", "delete"] {
            t.fails(&[verb, &t.id], "state.json")?;
        }
    }
    let broken = t.delete()?;
    // Back again, as it was: now it can be found.
    fs::create_dir(t.state.join(&t.id))?;
    fs::write(&file, text)?;
    t.delete()?;
    check!(broken.stderr.contains("they stay"), "no warning: {:?}", broken.stderr);
    check!(!is_alive(pid), "the process lives on");
    Ok(())
}

/// Everything that may be created can be read again.
fn record_of_the_largest_config(t: &Test) -> Outcome {
    ours(t)?;
    let t = &slow(t)?;
    const MOST: usize = 16 << 20;
    let mut bundle = t.bundle()?.probe(&["sleep", "600"]);
    bundle.set("/annotations", json!({ "a": "" }));
    let room = MOST - serde_json::to_vec_pretty(&bundle.config)?.len();
    bundle.set("/annotations/a", Value::String("x".repeat(room)));
    t.create_ok(&bundle)?;
    let state = t.state();
    let deleted = t.rt(&["delete", "--force", &t.id])?;
    check_eq!(state?["status"], json!("created"), "status");
    check_eq!(deleted.code, 0, "delete: {}", deleted.stderr);
    Ok(())
}

/// 100,000 of something take about as long as reading them.
fn many(t: &Test, pointer: &str, value: Value) -> Outcome<crate::command::Output> {
    ours(t)?;
    let t = &slow(t)?;
    t.run(&t.bundle()?.with(pointer, value).probe(&["exit", "0"]))
}

fn hundred_thousand_masks(t: &Test) -> Outcome {
    let paths: Vec<String> = (0..100_000).map(|n| format!("/nothing/{n}")).collect();
    check_eq!(many(t, "/linux/maskedPaths", json!(paths))?.code, 0, "exit status");
    Ok(())
}

fn hundred_thousand_sysctls(t: &Test) -> Outcome {
    let names: serde_json::Map<String, Value> = (0..100_000).map(|n| (format!("net.nothing{n}"), json!("1"))).collect();
    let output = many(t, "/linux/sysctl", Value::Object(names))?;
    check_eq!(output.code, 1, "exit status");
    check!(output.stderr.contains("/linux/sysctl/net.nothing0"), "{}", output.stderr);
    Ok(())
}

fn too_many_device_rules(t: &Test) -> Outcome {
    let rule = |n| json!({ "allow": true, "type": "c", "major": n % 500, "minor": n, "access": "r" });
    let output = many(t, "/linux/resources/devices", (0..5000).map(rule).collect())?;
    check_eq!(output.code, 1, "exit status");
    check!(output.stderr.contains("device rules; at most"), "{}", output.stderr);
    Ok(())
}

/// A line of log stays one that can be read.
fn thousand_problems_are_counted(t: &Test) -> Outcome {
    let limit = json!({ "type": "RLIMIT_NOFILE", "soft": 10, "hard": 10 });
    let output = many(t, "/process/rlimits", Value::Array(vec![limit; 1001]))?;
    check_eq!(output.code, 1, "exit status");
    check!(output.stderr.contains("and 900 more"), "{}", output.stderr.chars().take(300).collect::<String>());
    Ok(())
}
