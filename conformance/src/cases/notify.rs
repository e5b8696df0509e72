//! notify: NOTIFY_SOCKET, the program's word that it is ready, on its way to the service manager (contract 2.8, trap 26).

use crate::bundle::Bundle;
use crate::cases;
use crate::command::{Output, Running};
use crate::report::Report;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::json;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

cases!["notify":
    start_passes_it_on, run_passes_it_on, detached_run_passes_it_on, program_sees_a_socket_of_its_own,
    without_it_there_is_none, end_without_a_word, only_readiness_is_passed_on, readiness_with_other_lines,
    abstract_name, manager_is_gone, user_in_a_user_namespace, exec_has_none, delete_takes_the_socket,
];

/// The service manager.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn listen(t: &Test) -> Outcome<Self> {
        if t.runtime.name == "crun" {
            return skip("crun's socket is another: it passes on READY=1 alone");
        }
        let path = t.folder.join("manager.sock");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(Self { socket, path })
    }

    /// The runtime with NOTIFY_SOCKET.
    fn spawn(&self, t: &Test, args: &[&str]) -> Outcome<Running> {
        let mut command = t.command(&[], args);
        command.env("NOTIFY_SOCKET", &self.path);
        t.spawn(command, None)
    }

    fn call(&self, t: &Test, args: &[&str]) -> Outcome<Output> {
        let running = self.spawn(t, args)?;
        t.wait(running)
    }

    /// The next message, and the descriptors with it, which are closed by dropping them.
    fn message(&self) -> Outcome<(String, Vec<OwnedFd>)> {
        crate::console::message(&self.socket)
    }

    /// The three messages; the pid of the second. runc has no third before 1.2.
    fn told(&self, t: &Test) -> Outcome<i32> {
        let (ready, _) = self.message()?;
        check_eq!(ready, "READY=1\n", "first message");
        let (main, _) = self.message()?;
        let pid = main.strip_prefix("MAINPID=").and_then(|pid| pid.trim_end().parse().ok());
        if t.runtime.is_ours() {
            let (barrier, descriptors) = self.message()?;
            check_eq!((barrier.trim_end(), descriptors.len()), ("BARRIER=1", 1), "third message and its descriptors");
        }
        pid.ok_or_else(|| format!("second message: {main:?}").into())
    }

    fn silent(&self) -> Outcome {
        self.socket.set_nonblocking(true)?;
        let mut buffer = [0; 4096];
        match self.socket.recv(&mut buffer) {
            Ok(length) => Err(format!("told {:?}", String::from_utf8_lossy(&buffer[..length])).into()),
            Err(_) => Ok(()),
        }
    }
}

/// A program that says `message`, then does what `then` says (words of the probe).
fn says(t: &Test, message: &str, then: &[&str]) -> Outcome<Bundle> {
    let words: Vec<&str> = ["notify", message].iter().chain(then).copied().collect();
    let bundle = t.bundle()?.probe(&words);
    bundle.save()?;
    Ok(bundle)
}

fn path(bundle: &Bundle) -> String {
    bundle.path.to_string_lossy().into_owned()
}

/// start waits for the word, tells of the container's own process, and ends.
fn start_passes_it_on(t: &Test) -> Outcome {
    let manager = Manager::listen(t)?;
    let bundle = says(t, "READY=1", &["sleep", "600"])?;
    let create = manager.call(t, &["create", "--bundle", &path(&bundle), &t.id])?;
    check_eq!(create.code, 0, "create: {}", create.stderr);
    manager.silent()?;
    manager.socket.set_nonblocking(false)?;
    let start = manager.spawn(t, &["start", &t.id])?;
    let told = manager.told(t);
    let output = t.wait(start)?;
    let pid = t.state()?["pid"].as_i64();
    t.delete()?;
    check_eq!(output.code, 0, "start: {}", output.stderr);
    check_eq!(Some(i64::from(told?)), pid, "MAINPID");
    Ok(())
}

/// run stays, and is itself what the manager is to watch.
fn run_passes_it_on(t: &Test) -> Outcome {
    let manager = Manager::listen(t)?;
    let bundle = says(t, "READY=1", &["sleep", "600"])?;
    let run = manager.spawn(t, &["run", "--bundle", &path(&bundle), &t.id])?;
    let (told, pid) = (manager.told(t), run.pid());
    let status = t.state()?["status"].clone();
    t.ok(&["kill", &t.id, "KILL"])?;
    let output = t.wait(run)?;
    check_eq!(told?, pid, "MAINPID");
    check_eq!(status, json!("running"), "status");
    check_eq!(output.code, 137, "exit status: {}", output.stderr);
    Ok(())
}

fn detached_run_passes_it_on(t: &Test) -> Outcome {
    let manager = Manager::listen(t)?;
    let bundle = says(t, "READY=1", &["sleep", "600"])?;
    let run = manager.spawn(t, &["run", "--detach", "--bundle", &path(&bundle), &t.id])?;
    let told = manager.told(t);
    let output = t.wait(run)?;
    let pid = t.state()?["pid"].as_i64();
    t.delete()?;
    check_eq!(output.code, 0, "exit status: {}", output.stderr);
    check_eq!(Some(i64::from(told?)), pid, "MAINPID");
    Ok(())
}

fn program_sees_a_socket_of_its_own(t: &Test) -> Outcome {
    let manager = Manager::listen(t)?;
    let bundle = t.bundle()?.looking_at(&["/run/notify/notify.sock"]);
    bundle.save()?;
    let output = manager.call(t, &["run", "--bundle", &path(&bundle), &t.id])?;
    check_eq!(output.code, 0, "exit status: {}", output.stderr);
    let report = Report::parse(&output.stdout)?;
    check_eq!(report.env("NOTIFY_SOCKET"), (Some("/run/notify/notify.sock"), 1), "NOTIFY_SOCKET");
    let options = report.mount("/run/notify")["options"].to_string();
    for wanted in ["ro", "nosuid", "nodev", "noexec"] {
        check!(options.contains(wanted), "{wanted} is not in {options}");
    }
    check_eq!(report.path("/run/notify/notify.sock")["mode"], json!("777"), "mode of the socket");
    manager.silent()
}

fn without_it_there_is_none(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?)?;
    check_eq!(report.env("NOTIFY_SOCKET"), (None, 0), "NOTIFY_SOCKET");
    check!(report.mount("/run/notify").is_null(), "a mount for it");
    Ok(())
}

/// start does not wait for ever, and nothing is made up.
fn end_without_a_word(t: &Test) -> Outcome {
    let manager = Manager::listen(t)?;
    let bundle = t.bundle()?.probe(&["exit", "0"]);
    bundle.save()?;
    manager.call(t, &["create", "--bundle", &path(&bundle), &t.id])?;
    let output = manager.call(t, &["start", &t.id])?;
    t.delete()?;
    check_eq!(output.code, 0, "exit status: {}", output.stderr);
    check!(output.took < Duration::from_secs(3), "took {:?}", output.took);
    let run = manager.call(t, &["run", "--bundle", &path(&bundle), &t.id])?;
    check_eq!(run.code, 0, "run: {}", run.stderr);
    manager.silent()
}

/// A container cannot tell the manager to watch another process, or to keep descriptors.
fn only_readiness_is_passed_on(t: &Test) -> Outcome {
    let manager = Manager::listen(t)?;
    let bundle = says(t, "MAINPID=1\nSTATUS=READY=1\nWATCHDOG=1", &["exit", "5"])?;
    let output = manager.call(t, &["run", "--bundle", &path(&bundle), &t.id])?;
    check_eq!(output.code, 5, "exit status: {}", output.stderr);
    manager.silent()
}

/// sd_notify(3) allows any order.
fn readiness_with_other_lines(t: &Test) -> Outcome {
    let manager = Manager::listen(t)?;
    let bundle = says(t, "STATUS=up\nREADY=1\nMAINPID=1", &["exit", "6"])?;
    let run = manager.spawn(t, &["run", "--bundle", &path(&bundle), &t.id])?;
    let (told, pid) = (manager.told(t), run.pid());
    let output = t.wait(run)?;
    check_eq!(told?, pid, "MAINPID");
    check_eq!(output.code, 6, "exit status: {}", output.stderr);
    Ok(())
}

fn abstract_name(t: &Test) -> Outcome {
    use std::os::linux::net::SocketAddrExt;
    let mut manager = Manager::listen(t)?;
    let name = format!("manager-{}", t.id);
    manager.socket = UnixDatagram::bind_addr(&std::os::unix::net::SocketAddr::from_abstract_name(&name)?)?;
    manager.socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    manager.path = PathBuf::from(format!("@{name}"));
    let bundle = says(t, "READY=1", &["exit", "0"])?;
    let run = manager.spawn(t, &["run", "--bundle", &path(&bundle), &t.id])?;
    let (told, pid) = (manager.told(t), run.pid());
    t.wait(run)?;
    check_eq!(told?, pid, "MAINPID");
    Ok(())
}

/// The container runs all the same; ours says so.
fn manager_is_gone(t: &Test) -> Outcome {
    let manager = Manager::listen(t)?;
    fs::remove_file(&manager.path)?;
    let bundle = says(t, "READY=1", &["exit", "7"])?;
    let output = manager.call(t, &["run", "--bundle", &path(&bundle), &t.id])?;
    check_eq!(output.code, 7, "exit status: {}", output.stderr);
    if t.runtime.is_ours() {
        check!(output.stderr.contains("NOTIFY_SOCKET"), "no warning: {:?}", output.stderr);
    }
    Ok(())
}

/// The socket is for any user of the container.
fn user_in_a_user_namespace(t: &Test) -> Outcome {
    let manager = Manager::listen(t)?;
    let mut bundle = says(t, "READY=1", &["exit", "0"])?.with("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    bundle.map_ids(100_000, 65_536);
    // The root filesystem is not its users' to make directories in.
    fs::create_dir_all(bundle.rootfs().join("run/notify"))?;
    bundle.save()?;
    let run = manager.spawn(t, &["run", "--bundle", &path(&bundle), &t.id])?;
    let (told, pid) = (manager.told(t), run.pid());
    let output = t.wait(run)?;
    check_eq!(output.code, 0, "exit status: {}", output.stderr);
    check_eq!(told?, pid, "MAINPID");
    Ok(())
}

fn exec_has_none(t: &Test) -> Outcome {
    let manager = Manager::listen(t)?;
    let bundle = says(t, "READY=1", &["sleep", "600"])?;
    let run = manager.spawn(t, &["run", "--detach", "--bundle", &path(&bundle), &t.id])?;
    let told = manager.told(t);
    t.wait(run)?;
    let output = manager.call(t, &["exec", &t.id, "/probe", "report"])?;
    t.delete()?;
    told?;
    check_eq!(output.code, 0, "exit status: {}", output.stderr);
    check_eq!(Report::parse(&output.stdout)?.env("NOTIFY_SOCKET"), (None, 0), "NOTIFY_SOCKET");
    Ok(())
}

/// Also of a container that was created with it and never started.
fn delete_takes_the_socket(t: &Test) -> Outcome {
    let manager = Manager::listen(t)?;
    let bundle = says(t, "READY=1", &["exit", "0"])?;
    let create = manager.call(t, &["create", "--bundle", &path(&bundle), &t.id])?;
    check_eq!(create.code, 0, "create: {}", create.stderr);
    let folder: &Path = &t.state.join(&t.id);
    check!(folder.join("notify").is_dir(), "no directory for the socket");
    t.ok(&["delete", "--force", &t.id])?;
    check!(!folder.exists(), "the state directory stays");
    Ok(())
}
