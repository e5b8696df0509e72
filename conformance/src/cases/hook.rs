//! hooks: when they run, where, with what, and what their failure does (config.md "POSIX-platform Hooks", runtime.md
//! "Lifecycle").

use crate::bundle::Bundle;
use crate::cases;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

cases!["hook":
    all_six_run_in_order, lists_run_in_order, run_has_all_six, state_is_on_stdin, prestart_is_told_created, pid_is_the_containers_own,
    run_in_the_right_namespaces, environment_is_only_the_hooks,
    start_container_defaults_to_the_programs_environment, only_three_descriptors, arguments_arrive_unchanged,
    hooks_run_in_the_right_place, create_container_sees_the_hosts_files, start_container_is_the_user_in_the_root,
    unread_state_holds_nobody_up, config_is_that_of_create, user_namespace, bad_hooks_are_refused,
];

const KINDS: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A bundle with a shell inside, and a directory that hooks of all kinds see under the same name: `$D`.
pub(super) fn bundle(t: &Test) -> Outcome<Bundle> {
    let mut bundle = t.bundle()?;
    t.busybox(&bundle, &["sh", "cat", "sleep", "id", "readlink", "ls", "wc", "cp"])?;
    let shared = shared(t);
    fs::create_dir_all(&shared)?;
    fs::set_permissions(&shared, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    let shared = shared.to_string_lossy().into_owned();
    bundle.mount(&shared, "bind", &shared, &["rbind", "rw"]);
    bundle.set("/root/readonly", json!(false));
    Ok(bundle.probe(&["sleep", "600"]))
}

pub(super) fn shared(t: &Test) -> PathBuf {
    t.folder.join("shared")
}

/// A hook of `kind` that runs a script; `$D` is the shared directory, `$K` the kind. It reads its state first: crun
/// fails, sometimes, if it does not.
pub(super) fn hook(t: &Test, kind: &str, script: &str) -> Value {
    deaf_hook(t, kind, &format!("cat > /dev/null; {script}"))
}

/// The same, but what stands on standard input is left to the script.
fn deaf_hook(t: &Test, kind: &str, script: &str) -> Value {
    let path = if kind == "startContainer" { "/bin/sh" } else { "/usr/bin/busybox" };
    let path = if kind == "createContainer" { "/usr/bin/busybox" } else { path };
    let environment = json!([format!("D={}", shared(t).display()), format!("K={kind}"), "PATH=/usr/bin:/bin"]);
    json!({ "path": path, "args": ["sh", "-c", script], "env": environment })
}

pub(super) fn with(t: &Test, mut bundle: Bundle, kinds: &[&str], script: &str) -> Bundle {
    for kind in kinds {
        bundle.set(&format!("/hooks/{kind}"), json!([hook(t, kind, script)]));
    }
    bundle
}

fn with_deaf(t: &Test, mut bundle: Bundle, kinds: &[&str], script: &str) -> Bundle {
    for kind in kinds {
        bundle.set(&format!("/hooks/{kind}"), json!([deaf_hook(t, kind, script)]));
    }
    bundle
}

pub(super) fn read(t: &Test, name: &str) -> String {
    fs::read_to_string(shared(t).join(name)).unwrap_or_default()
}

fn finish(t: &Test) -> Outcome {
    t.ok(&["kill", &t.id, "KILL"])?;
    t.wait_status("stopped")?;
    t.ok(&["delete", &t.id])?;
    Ok(())
}

fn all_six_run_in_order(t: &Test) -> Outcome {
    let bundle = with(t, bundle(t)?, &KINDS, "[ $K = startContainer ] && sleep 0.3; echo $K >> $D/order");
    t.create_ok(&bundle)?;
    check_eq!(read(t, "order"), "prestart\ncreateRuntime\ncreateContainer\n", "hooks of create");
    t.ok(&["start", &t.id])?;
    let after = "prestart\ncreateRuntime\ncreateContainer\nstartContainer\npoststart\n";
    check_eq!(read(t, "order"), after, "hooks after start");
    finish(t)?;
    check_eq!(read(t, "order"), format!("{after}poststop\n"), "hooks after delete");
    Ok(())
}

fn lists_run_in_order(t: &Test) -> Outcome {
    let mut bundle = bundle(t)?;
    for kind in KINDS {
        let list: Vec<Value> = (0..3).map(|n| hook(t, kind, &format!("echo {n} >> $D/$K"))).collect();
        bundle.set(&format!("/hooks/{kind}"), json!(list));
    }
    t.start(&bundle)?;
    finish(t)?;
    for kind in KINDS {
        check_eq!(read(t, kind), "0\n1\n2\n", "{kind}");
    }
    Ok(())
}

fn run_has_all_six(t: &Test) -> Outcome {
    let bundle =
        with(t, bundle(t)?.probe(&["exit", "7"]), &KINDS, "[ $K = startContainer ] && sleep 0.3; echo $K >> $D/order");
    check_eq!(t.run(&bundle)?.code, 7, "exit status of run");
    check_eq!(read(t, "order"), format!("{}\n", KINDS.join("\n")), "hooks of run");
    Ok(())
}

fn state_is_on_stdin(t: &Test) -> Outcome {
    let bundle = with_deaf(t, bundle(t)?, &KINDS, "cat > $D/$K").with("/annotations", json!({ "a.b": "c \"d\"" }));
    t.create_ok(&bundle)?;
    let pid = t.state()?["pid"].clone();
    t.ok(&["start", &t.id])?;
    finish(t)?;
    for (kind, status) in KINDS.into_iter().zip(["", "creating", "creating", "created", "running", "stopped"]) {
        let state: Value = serde_json::from_str(&read(t, kind))?;
        // What a prestart hook is told is a case of its own.
        check!(status.is_empty() || state["status"] == status, "{kind}: status: {state}");
        check_eq!(state["id"], t.id.as_str(), "{kind}: id");
        check_eq!(state["bundle"], bundle.path.to_string_lossy().as_ref(), "{kind}: bundle");
        check_eq!(state["annotations"], json!({ "a.b": "c \"d\"" }), "{kind}: annotations");
        check!(state["ociVersion"].as_str().is_some_and(|v| v.starts_with("1.")), "{kind}: {state}");
        match kind {
            "createContainer" | "startContainer" => check_eq!(state["pid"], 1, "{kind}: pid as the container sees it"),
            "poststop" => check!(state["pid"].as_i64().unwrap_or(0) == 0, "a pid after the end: {state}"),
            _ => check_eq!(state["pid"], pid, "{kind}: pid as the host sees it"),
        }
    }
    Ok(())
}

/// Step 3 of the lifecycle, and "created" is after step 2 (runtime.md, "State"); the suite of runtime-tools asks for it.
fn prestart_is_told_created(t: &Test) -> Outcome {
    let bundle = with_deaf(t, bundle(t)?, &["prestart"], "cat > $D/$K");
    t.create_ok(&bundle)?;
    t.delete()?;
    let state: Value = serde_json::from_str(&read(t, "prestart"))?;
    check_eq!(state["status"], "created", "status");
    Ok(())
}

fn pid_is_the_containers_own(t: &Test) -> Outcome {
    let kinds = ["createContainer", "startContainer"];
    let mut bundle = with_deaf(t, bundle(t)?, &kinds, "cat > $D/$K");
    bundle.drop_namespace("pid");
    t.create_ok(&bundle)?;
    let pid = t.state()?["pid"].clone();
    t.ok(&["start", &t.id])?;
    t.delete()?;
    for kind in kinds {
        let state: Value = serde_json::from_str(&read(t, kind))?;
        check_eq!(state["pid"], pid, "{kind}: pid in the shared namespace");
    }
    Ok(())
}

fn run_in_the_right_namespaces(t: &Test) -> Outcome {
    let script = "for n in mnt uts ipc net; do readlink /proc/self/ns/$n; done > $D/$K";
    let bundle = with(t, bundle(t)?, &KINDS, script);
    t.start(&bundle)?;
    finish(t)?;
    let inside = read(t, "startContainer");
    check_eq!(inside.lines().count(), 4, "namespaces {inside:?}");
    for kind in KINDS {
        let seen = read(t, kind);
        match kind {
            "createContainer" => check_eq!(seen, inside, "{kind}: the container's namespaces"),
            "startContainer" => {}
            _ => {
                for (own, name) in seen.lines().zip(["mnt", "uts", "ipc", "net"]) {
                    let host = fs::read_link(format!("/proc/self/ns/{name}"))?;
                    // A runtime in a view of cgroup v2 only has a mount namespace of its own.
                    check!(t.runtime.v2_view && name == "mnt" || own == host.to_string_lossy(), "{kind}: {own}");
                    check!(!inside.contains(own), "{kind} runs in the container's {name}");
                }
            }
        }
    }
    Ok(())
}

fn environment_is_only_the_hooks(t: &Test) -> Outcome {
    let mut bundle = bundle(t)?;
    let shared = shared(t);
    for kind in KINDS.into_iter().filter(|kind| *kind != "startContainer") {
        let copy = format!("{}/{kind}", shared.display());
        let args = json!(["cp", "/proc/self/environ", copy]);
        bundle.set(&format!("/hooks/{kind}"), json!([{ "path": "/usr/bin/busybox", "args": args }]));
    }
    let path = bundle.saved()?;
    for args in [&["create", "--bundle", &path, &t.id][..], &["start", &t.id], &["delete", "--force", &t.id]] {
        let mut command = t.command(&[], args);
        command.env("SECRET", "1");
        let output = t.finish(command)?;
        check_eq!(output.code, 0, "{args:?}: {}", output.stderr);
    }
    for kind in KINDS.into_iter().filter(|kind| *kind != "startContainer") {
        check!(shared.join(kind).exists(), "{kind} did not run");
        check_eq!(read(t, kind), "", "environment of {kind}");
    }
    Ok(())
}

/// What people rely on since runc has it: such a hook is the container's own program.
fn start_container_defaults_to_the_programs_environment(t: &Test) -> Outcome {
    let mut bundle = bundle(t)?;
    let script = format!("cat /proc/self/environ > {}/seen", shared(t).display());
    bundle.set("/hooks/startContainer", json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]));
    bundle.set("/process/env/-", json!("OWN=1"));
    t.start(&bundle)?;
    t.delete()?;
    let seen = read(t, "seen");
    let names: Vec<&str> = seen.split_terminator('\0').collect();
    check!(names.contains(&"OWN=1") && names.contains(&"HOME=/root"), "environment: {names:?}");
    Ok(())
}

fn only_three_descriptors(t: &Test) -> Outcome {
    let bundle = with(t, bundle(t)?, &KINDS, "ls -l /proc/self/fd > $D/$K");
    let path = bundle.saved()?;
    for args in [&["create", "--bundle", &path, &t.id][..], &["start", &t.id], &["delete", "--force", &t.id]] {
        // A descriptor the caller forgot to close.
        let mut command = t.command(&["sh", "-c", "exec 7</etc/passwd; exec \"$@\"", "sh"], args);
        command.env_remove("BASH_ENV");
        let output = t.finish(command)?;
        check_eq!(output.code, 0, "{args:?}: {}", output.stderr);
    }
    for kind in KINDS {
        let seen = read(t, kind);
        // But for the directory that ls itself has open.
        let links = seen.lines().filter_map(|line| line.split_once(" -> ")).filter(|link| !link.1.ends_with("/fd"));
        let numbers: Vec<&str> = links.filter_map(|link| link.0.split(' ').next_back()).collect();
        check!(numbers.contains(&"0"), "{kind}: {seen}");
        // A shell keeps its old standard output above 9 while it writes to the file.
        let extra: Vec<_> = numbers.iter().filter(|n| n.parse::<u32>().is_ok_and(|n| n > 2 && n < 10)).collect();
        check!(extra.is_empty(), "{kind} has descriptors {extra:?}: {seen}");
    }
    Ok(())
}

fn arguments_arrive_unchanged(t: &Test) -> Outcome {
    let mut bundle = bundle(t)?;
    for kind in KINDS {
        let mut hook = hook(t, kind, "printf '%s|' \"$0\" \"$@\" > $D/$K");
        for word in ["name", "", " a b ", "--x", "ä\n'\"\\"] {
            if let Some(list) = hook["args"].as_array_mut() {
                list.push(json!(word));
            }
        }
        bundle.set(&format!("/hooks/{kind}"), json!([hook]));
    }
    t.start(&bundle)?;
    finish(t)?;
    for kind in KINDS {
        check_eq!(read(t, kind), "name|| a b |--x|ä\n'\"\\|", "arguments of {kind}");
    }
    Ok(())
}

fn hooks_run_in_the_right_place(t: &Test) -> Outcome {
    let bundle = with(t, bundle(t)?, &KINDS, "pwd > $D/$K").with("/process/cwd", json!("/tmp"));
    t.start(&bundle)?;
    finish(t)?;
    for kind in KINDS {
        let wanted = match kind {
            "startContainer" => "/tmp".to_owned(),
            "createContainer" => bundle.rootfs().to_string_lossy().into_owned(),
            _ => bundle.path.to_string_lossy().into_owned(),
        };
        check_eq!(read(t, kind).trim(), wanted, "working directory of {kind}");
    }
    Ok(())
}

/// config.md: its path is one of the runtime's namespace although it runs in the container's. What it mounts on the
/// root filesystem is there for the program.
fn create_container_sees_the_hosts_files(t: &Test) -> Outcome {
    let bundle = bundle(t)?;
    let rootfs = bundle.rootfs().to_string_lossy().into_owned();
    let script = format!("echo host > $D/file; mount -o bind $D {rootfs}/tmp && umask > $D/umask");
    let bundle =
        with(t, bundle, &["createContainer"], &script).with("/process/args", json!(["/bin/sh", "-c", "cat /tmp/file"]));
    let output = t.run(&bundle)?;
    check_eq!((output.code, output.stdout.trim()), (0, "host"), "what the program sees: {}", output.stderr);
    check_eq!(read(t, "umask").trim(), "0022", "umask");
    check!(crate::leak::mounts_under(&bundle.path).is_empty(), "the mount is on the host");
    Ok(())
}

fn start_container_is_the_user_in_the_root(t: &Test) -> Outcome {
    let bundle = with(
        t,
        bundle(t)?,
        &["startContainer"],
        "id -u > $D/id; ls -d /probe >> $D/id; cat /proc/self/status > $D/status",
    )
    .with("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    t.start(&bundle)?;
    t.delete()?;
    check_eq!(read(t, "id"), "1000\n/probe\n", "user and root");
    let status = read(t, "status");
    check!(status.contains("CapEff:\t0000000000000000") && status.contains("NoNewPrivs:\t1"), "{status}");
    Ok(())
}

pub(super) fn refused(t: &Test, bundle: &Bundle, verb: &str, text: &str) -> Outcome<String> {
    let path = bundle.saved()?;
    Ok(t.fails(&[verb, "--bundle", &path, &t.id], text)?.stderr)
}

pub(super) fn nothing_left(t: &Test) -> Outcome {
    let left = crate::leak::left(&t.id, &t.folder, &t.state);
    check!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

fn unread_state_holds_nobody_up(t: &Test) -> Outcome {
    let kinds = ["createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    let big = "x".repeat(1 << 20);
    let bundle = with_deaf(t, bundle(t)?, &kinds, "exec <&-; echo $K >> $D/order");
    let bundle = bundle.with("/annotations", json!({ "big": big }));
    t.start(&bundle)?;
    finish(t)?;
    let ran = read(t, "order");
    check!(kinds.iter().all(|kind| ran.contains(kind)), "hooks that ran: {ran}");
    fs::remove_dir_all(&bundle.path)?;
    let bundle = with_deaf(t, self::bundle(t)?, &kinds, "wc -c > $D/$K");
    t.start(&bundle.with("/annotations", json!({ "big": big })))?;
    finish(t)?;
    for kind in kinds {
        let length: usize = read(t, kind).trim().parse().unwrap_or(0);
        check!(length > 1 << 20, "{kind} read {length} bytes of state");
    }
    Ok(())
}

/// runtime.md: "Any changes made to the config.json file after this operation will not have an effect".
fn config_is_that_of_create(t: &Test) -> Outcome {
    let bundle = with(t, bundle(t)?, &["startContainer", "poststart", "poststop"], "echo $K >> $D/order");
    t.create_ok(&bundle)?;
    fs::write(bundle.path.join("config.json"), "{ not json")?;
    t.ok(&["start", &t.id])?;
    finish(t)?;
    let order = read(t, "order");
    let mut ran: Vec<&str> = order.lines().collect();
    ran.sort_unstable();
    check_eq!(ran, ["poststart", "poststop", "startContainer"], "hooks that ran");
    Ok(())
}

fn user_namespace(t: &Test) -> Outcome {
    let mut bundle = with(t, bundle(t)?, &KINDS, "cat /proc/self/uid_map > $D/$K");
    bundle.map_ids(100_000, 65_536);
    bundle.remove("/linux/resources");
    std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000))?;
    t.start(&bundle)?;
    t.delete()?;
    for kind in KINDS {
        let map: Vec<String> = read(t, kind).split_whitespace().map(str::to_owned).collect();
        let inside = ["createContainer", "startContainer"].contains(&kind);
        let wanted = if inside { ["0", "100000", "65536"] } else { ["0", "0", "4294967295"] };
        check_eq!(map, wanted, "id map of {kind}");
    }
    Ok(())
}

fn bad_hooks_are_refused(t: &Test) -> Outcome {
    let bad = [
        (json!({ "path": "bin/x" }), "path"),
        (json!({ "path": "" }), "path"),
        (json!({}), "path"),
        (json!({ "path": "/bin/x", "timeout": 0 }), "timeout"),
        (json!({ "path": "/bin/x", "timeout": -5 }), "timeout"),
        (json!({ "path": "/bin/x", "env": ["NOVALUE"] }), "env/0"),
        (json!({ "path": "/bin/x", "env": ["A=1", "=x"] }), "env/1"),
        (json!({ "path": "/bin/x", "args": ["a", "b\u{0}c"] }), "args/1"),
    ];
    for kind in KINDS {
        for (hook, member) in &bad {
            let bundle = t.bundle()?.with(&format!("/hooks/{kind}"), json!([{ "path": "/bin/true" }, hook]));
            refused(t, &bundle, "create", &format!("/hooks/{kind}/1/{member}"))?;
        }
    }
    nothing_left(t)
}
