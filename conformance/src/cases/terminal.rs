//! terminal: console sockets, what the process sees of its terminal, and what is refused.

use super::dev::bind_dev;
use super::device::make;
use crate::bundle::Bundle;
use crate::cases;
use crate::command::{Output, Running};
use crate::console::{self, Console};
use crate::report::Report;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use nix::sys::stat::SFlag;
use serde_json::json;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

cases!["terminal":
    master_comes_over_the_socket, size_is_the_configs, size_is_ignored_without_a_terminal, console_device,
    is_controlling, belongs_to_the_user, run_detached, in_a_user_namespace, without_a_devpts_mount,
    no_socket_when_detached, socket_without_a_terminal, socket_is_missing, socket_is_a_file, socket_path_too_long,
    nobody_reads, hostile_console_paths, hostile_ptmx, size_changes_arrive, size_too_large_is_refused,
];

fn with_terminal(t: &Test) -> Outcome<Bundle> {
    Ok(t.bundle()?.with("/process/terminal", json!(true)))
}

/// `create`, or another verb, with a console socket; who listens on it, and the runtime under way.
fn start(t: &Test, verb: &[&str], bundle: &Bundle) -> Outcome<(Console, Running)> {
    let socket = t.folder.join("console.sock");
    let _ = fs::remove_file(&socket);
    let console = Console::listen(&socket)?;
    let (path, socket) = (bundle.saved()?, socket.to_string_lossy());
    let words = [verb, &["--console-socket", &socket, "--bundle", &path, &t.id]].concat();
    Ok((console, t.spawn(t.command(&[], &words), None)?))
}

/// Creates with a console socket, starts, and returns the payload and all that was printed.
fn session(t: &Test, bundle: &Bundle) -> Outcome<(String, String)> {
    let (console, running) = start(t, &["create"], bundle)?;
    let received = console.receive();
    let output = t.wait(running)?;
    check_eq!(output.code, 0, "create: {}", output.stderr);
    let (name, mut master) = received?;
    t.ok(&["start", &t.id])?;
    let text = console::read_all(&mut master, Duration::from_secs(5));
    t.wait_status("stopped")?;
    t.ok(&["delete", &t.id])?;
    Ok((name, text))
}

/// Creates with a console socket that nobody reads, and deletes; it may be refused.
pub(super) fn create_and_delete(t: &Test, bundle: &Bundle) -> Outcome<Output> {
    let (console, running) = start(t, &["create"], bundle)?;
    let output = t.wait(running)?;
    drop(console);
    if output.code == 0 {
        t.delete()?;
    }
    Ok(output)
}

/// `create` with a console socket fails, and says why.
fn refused(t: &Test, bundle: &Bundle, text: &str) -> Outcome {
    let output = create_and_delete(t, bundle)?;
    check!(output.code == 1 && output.stderr.contains(text), "exit {}: {}", output.code, output.stderr);
    Ok(())
}

fn report(t: &Test, bundle: &Bundle) -> Outcome<Report> {
    let (_, text) = session(t, bundle)?;
    Ok(Report::parse(text.trim_end())?)
}

fn master_comes_over_the_socket(t: &Test) -> Outcome {
    let (name, text) = session(t, &with_terminal(t)?.probe(&["echo", "hello"]))?;
    check!(name.contains("ptmx") || name.contains("/dev/pts"), "payload {name:?}");
    check_eq!(text, "hello\r\n", "output (a fresh terminal turns line feeds into CR LF)");
    Ok(())
}

fn size_is_the_configs(t: &Test) -> Outcome {
    let bundle = with_terminal(t)?.with("/process/consoleSize", json!({ "height": 33, "width": 101 }));
    let report = report(t, &bundle)?;
    for stream in 0..3 {
        check_eq!(report.at(&format!("/terminal/{stream}")), &json!({ "rows": 33, "columns": 101 }), "stream {stream}");
    }
    Ok(())
}

fn size_is_ignored_without_a_terminal(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/process/consoleSize", json!({ "height": 33, "width": 101 }));
    check_eq!(t.report(&bundle)?.at("/terminal"), &json!([null, null, null]), "terminals");
    Ok(())
}

fn console_device(t: &Test) -> Outcome {
    let report = report(t, &with_terminal(t)?)?;
    check_eq!(report.at("/dev/console/rdev"), &json!("136:0"), "/dev/console");
    check_eq!(report.mount("/dev/console")["type"], json!("devpts"), "what is mounted on it");
    check_eq!(report.at("/fds/0"), &json!("/dev/pts/0"), "standard input");
    check_eq!(report.descriptors(), [0, 1, 2], "open descriptors {}", report.at("/fds"));
    Ok(())
}

fn is_controlling(t: &Test) -> Outcome {
    let report = report(t, &with_terminal(t)?)?;
    check_eq!(report.at("/ids/tpgid"), &json!(1), "foreground process group of the terminal");
    check_eq!(report.at("/ids/sid"), &json!(1), "session");
    Ok(())
}

fn belongs_to_the_user(t: &Test) -> Outcome {
    let bundle = with_terminal(t)?.with("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    let report = report(t, &bundle.looking_at(&["/dev/pts/0"]))?;
    let entry = report.path("/dev/pts/0");
    check_eq!((&entry["uid"], &entry["gid"], &entry["mode"]), (&json!(1000), &json!(5), &json!("620")), "the terminal");
    Ok(())
}

fn run_detached(t: &Test) -> Outcome {
    let (console, running) = start(t, &["run", "--detach"], &with_terminal(t)?.probe(&["echo", "detached"]))?;
    let (_, mut master) = console.receive()?;
    check_eq!(t.wait(running)?.code, 0, "run");
    let text = console::read_all(&mut master, Duration::from_secs(5));
    t.wait_status("stopped")?;
    t.ok(&["delete", &t.id])?;
    check_eq!(text, "detached\r\n", "output");
    Ok(())
}

fn in_a_user_namespace(t: &Test) -> Outcome {
    let mut bundle = with_terminal(t)?;
    bundle.map_root()?;
    let report = report(t, &bundle)?;
    check_eq!(report.at("/dev/console/rdev"), &json!("136:0"), "/dev/console");
    Ok(())
}

/// The terminal is the container's own, so without a devpts there is none.
fn without_a_devpts_mount(t: &Test) -> Outcome {
    let mut bundle = with_terminal(t)?;
    bundle.drop_mount("/dev/pts");
    refused(t, &bundle, "")
}

fn no_socket_when_detached(t: &Test) -> Outcome {
    let bundle = with_terminal(t)?;
    let path = bundle.saved()?;
    let text = "cannot allocate tty if runc will detach without setting console socket";
    t.fails(&["create", "--bundle", &path, &t.id], text)?;
    t.fails(&["run", "--detach", "--bundle", &path, &t.id], text).map(drop)
}

fn socket_without_a_terminal(t: &Test) -> Outcome {
    refused(t, &t.bundle()?, "cannot use console socket if runc will not detach or allocate tty")
}

fn refused_socket(t: &Test, socket: &str, text: &str) -> Outcome {
    let bundle = with_terminal(t)?;
    let path = bundle.saved()?;
    t.fails(&["create", "--bundle", &path, "--console-socket", socket, &t.id], text).map(drop)
}

fn socket_is_missing(t: &Test) -> Outcome {
    refused_socket(t, &t.folder.join("no.sock").to_string_lossy(), "no such file or directory")
}

fn socket_is_a_file(t: &Test) -> Outcome {
    fs::write(t.folder.join("file"), "")?;
    refused_socket(t, &t.folder.join("file").to_string_lossy(), "connection refused")
}

/// E4: an error, no other socket.
fn socket_path_too_long(t: &Test) -> Outcome {
    refused_socket(t, &t.folder.join("x".repeat(120)).to_string_lossy(), "")
}

/// A receiver that never accepts must not hang create: the message fits into the socket.
fn nobody_reads(t: &Test) -> Outcome {
    let output = create_and_delete(t, &with_terminal(t)?.probe(&["exit", "0"]))?;
    check_eq!(output.code, 0, "create: {}", output.stderr);
    Ok(())
}

/// A caller's /dev, bound, with `prepare` done to it; the terminal is set up in it.
fn bound_dev(t: &Test, prepare: &dyn Fn(&Path) -> std::io::Result<()>) -> Outcome {
    let dev = t.folder.join("dev");
    let _ = fs::remove_dir_all(&dev);
    for name in ["shm", "mqueue", "pts"] {
        fs::create_dir_all(dev.join(name))?;
    }
    make(&dev.join("null"), SFlag::S_IFCHR, 1, 3)?;
    prepare(&dev)?;
    let mut bundle = with_terminal(t)?.probe(&["echo", "hello"]);
    bind_dev(&mut bundle, &dev);
    create_and_delete(t, &bundle).map(drop)
}

/// E1: nothing outside the container is touched through a link at /dev/console, whether it is refused or not.
fn hostile_console_paths(t: &Test) -> Outcome {
    let canary = crate::canary::Canary::new(&t.folder.join("canary"))?;
    let targets =
        [canary.path.join("console"), canary.path.join("missing"), canary.path.join("b"), "/proc/self/fd/0".into()];
    for target in &targets {
        bound_dev(t, &|dev| symlink(target, dev.join("console")))?;
        bound_dev(t, &|dev| {
            let up = format!("../../../../../../..{}", target.display());
            symlink(up, dev.join("console"))
        })?;
    }
    bound_dev(t, &|dev| fs::create_dir(dev.join("console")))?;
    bound_dev(t, &|dev| fs::write(dev.join("console"), "a file"))?;
    let changes = canary.changes()?;
    check!(changes.is_empty(), "the host's files changed: {changes:?}");
    Ok(())
}

/// A ptmx that is none must be no trouble: the terminal comes from the container's devpts.
fn hostile_ptmx(t: &Test) -> Outcome {
    let canary = crate::canary::Canary::new(&t.folder.join("canary"))?;
    let target = canary.path.join("ptmx");
    bound_dev(t, &|dev| symlink(&target, dev.join("ptmx")))?;
    bound_dev(t, &|dev| symlink("/dev/null", dev.join("ptmx")))?;
    bound_dev(t, &|dev| {
        nix::unistd::mkfifo(&dev.join("ptmx"), nix::sys::stat::Mode::from_bits_truncate(0o666)).map_err(Into::into)
    })?;
    let changes = canary.changes()?;
    check!(changes.is_empty(), "the host's files changed: {changes:?}");
    Ok(())
}

/// The master's owner sets the size; the program is told.
fn size_changes_arrive(t: &Test) -> Outcome {
    let (console, running) = start(t, &["create"], &with_terminal(t)?.probe(&["trap", "28"]))?;
    let (_, mut master) = console.receive()?;
    check_eq!(t.wait(running)?.code, 0, "create");
    t.ok(&["start", &t.id])?;
    std::thread::sleep(Duration::from_millis(200));
    master.write_all(b"")?;
    crate::pty::resize(&master, 12, 34)?;
    let text = console::read_all(&mut master, Duration::from_secs(5));
    t.delete()?;
    check!(text.contains("got 28"), "SIGWINCH did not arrive: {text:?}");
    Ok(())
}

/// Ignored without a terminal, as the spec has it.
fn size_too_large_is_refused(t: &Test) -> Outcome {
    let size = json!({ "height": 70_000, "width": 80 });
    t.run_ok(&t.bundle()?.with("/process/consoleSize", size.clone()))?;
    refused(t, &with_terminal(t)?.with("/process/consoleSize", size), "consoleSize")
}
