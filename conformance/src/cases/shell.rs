//! shells: `runtime spec && runtime run NAME` as a person has it, on a terminal, with busybox and with Debian.

use crate::bundle::Bundle;
use crate::cases;
use crate::pty::{Pty, resize};
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

cases!["shell":
    busybox_prompt_and_status, busybox_interrupt, busybox_job_control, busybox_resize, resize_is_a_signal,
    exec_resize, busybox_end_of_file, busybox_much_output, killed_by_term_restores_the_terminal, term_is_forwarded,
    closed_terminal_ends_it, status_of_a_signal, debian_prompt_and_status, debian_job_control, debian_resize,
    debian_tools, debian_create_start_delete,
];

const APPLETS: &[&str] = &["sh", "stty", "sleep", "cat", "seq", "tail", "id", "tty", "ps", "mount", "kill", "true"];

/// The config `spec` prints, with what a test must add: its cgroup, and the marker in the environment.
fn spec(t: &Test, bundle: &mut Bundle) -> Outcome {
    let path = bundle.path.to_string_lossy().into_owned();
    t.ok(&["spec", "--bundle", &path])?;
    bundle.config = serde_json::from_slice(&fs::read(bundle.path.join("config.json"))?)?;
    bundle.set("/process/env/-", json!(format!("{}={}", crate::leak::MARKER, t.id)));
    bundle.set("/process/env/-", json!("PS1=ready> "));
    bundle.set("/linux/cgroupsPath", json!(format!("/{}", t.id)));
    if t.runtime.v2_view {
        bundle.remove("/linux/resources");
    }
    Ok(())
}

fn busybox(t: &Test) -> Outcome<Bundle> {
    let mut bundle = t.bundle()?;
    t.busybox(&bundle, APPLETS)?;
    spec(t, &mut bundle)?;
    bundle.save()?;
    Ok(bundle)
}

fn debian(t: &Test, args: &[&str]) -> Outcome<Bundle> {
    let root = match crate::rootfs::debian() {
        Ok(root) => root,
        Err(reason) => return skip(&reason),
    };
    let mut bundle = t.bundle()?;
    spec(t, &mut bundle)?;
    let bundle = bundle.with("/root/path", json!(root.to_string_lossy())).with("/process/args", json!(args));
    bundle.save()?;
    Ok(bundle)
}

/// `run` on a terminal.
struct Session {
    pty: Pty,
    child: Child,
}

impl Session {
    fn start(t: &Test, bundle: &Bundle) -> Outcome<Self> {
        Self::of(t, &["run", "--bundle", &bundle.saved()?, &t.id])
    }

    /// Another verb on a terminal.
    fn of(t: &Test, args: &[&str]) -> Outcome<Self> {
        let pty = Pty::new(33, 101)?;
        let inner = t.command(&[], args);
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).arg(inner.get_program()).args(inner.get_args());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.stdin(pty.stream()?).stdout(pty.stream()?).stderr(pty.stream()?);
        // Its own group, so that setsid makes a new process for the session, and tells how that ended.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        t.allowed(&command)?;
        Ok(Self { pty, child: command.spawn()? })
    }

    /// Types a line and waits for what it prints.
    fn line(&mut self, line: &str, wanted: &str) -> Outcome<String> {
        self.pty.send(&format!("{line}\r"))?;
        self.pty.expect(wanted)
    }

    fn prompt(&mut self) -> Outcome<String> {
        self.pty.expect("ready> ")
    }

    /// Pid of the runtime: the child of setsid(1).
    fn runtime(&self) -> Outcome<Pid> {
        let id = self.child.id();
        let text = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        let pid = text.split_whitespace().next().and_then(|pid| pid.parse().ok());
        pid.map(Pid::from_raw).ok_or_else(|| "setsid has no child".into())
    }

    /// The exit status, and whether the terminal is as it was.
    fn end(mut self) -> Outcome<(i32, bool)> {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            check!(start.elapsed() < crate::machine::patient(Duration::from_secs(10)), "run does not end");
            std::thread::sleep(Duration::from_millis(5));
        };
        Ok((status.code().unwrap_or(-1), self.pty.is_cooked()?))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Ok(pid) = self.runtime() {
            let _ = kill(pid, Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn gone(t: &Test) -> Outcome {
    check!(t.rt(&["state", &t.id])?.code != 0, "the container is still there");
    Ok(())
}

fn prompt_and_status(t: &Test, bundle: &Bundle) -> Outcome {
    let mut session = Session::start(t, bundle)?;
    session.prompt()?;
    check!(!session.pty.is_cooked()?, "the outer terminal must be raw while the container has it");
    session.line("echo hello-$((40+2))", "hello-42\r\n")?;
    session.prompt()?;
    session.line("stty size", "33 101\r\n")?;
    session.line("tty", "/dev/pts/0\r\n")?;
    session.line("echo pid-$$", "pid-1\r\n")?;
    session.pty.send("exit 7\r")?;
    check_eq!(session.end()?, (7, true), "exit status, terminal restored");
    gone(t)
}

fn busybox_prompt_and_status(t: &Test) -> Outcome {
    prompt_and_status(t, &busybox(t)?)
}

/// Ctrl-C ends the command, and only that.
fn busybox_interrupt(t: &Test) -> Outcome {
    let mut session = Session::start(t, &busybox(t)?)?;
    session.prompt()?;
    session.line("sleep 1000", "sleep 1000\r\n")?;
    std::thread::sleep(Duration::from_millis(300));
    session.pty.send("\x03")?;
    session.prompt()?;
    session.line("echo status-$?", "status-130\r\n")?;
    session.pty.send("exit 0\r")?;
    check_eq!(session.end()?, (0, true), "exit status, terminal restored");
    Ok(())
}

fn job_control(t: &Test, bundle: &Bundle) -> Outcome {
    let mut session = Session::start(t, bundle)?;
    let banner = session.prompt()?;
    check!(!banner.contains("job control"), "the shell has no job control: {banner:?}");
    session.line("sleep 1000", "sleep 1000\r\n")?;
    std::thread::sleep(Duration::from_millis(300));
    session.pty.send("\x1a")?;
    session.pty.expect("Stopped")?;
    session.prompt()?;
    session.line("jobs", "Stopped")?;
    session.prompt()?;
    session.line("bg", "sleep 1000")?;
    session.prompt()?;
    session.line("jobs", "Running")?;
    session.prompt()?;
    session.line("fg", "sleep 1000\r\n")?;
    std::thread::sleep(Duration::from_millis(300));
    session.pty.send("\x03")?;
    session.prompt()?;
    session.line("echo left-$(jobs | wc -c 2>/dev/null)", "left-")?;
    session.pty.send("exit 3\r")?;
    check_eq!(session.end()?, (3, true), "exit status, terminal restored");
    Ok(())
}

fn busybox_job_control(t: &Test) -> Outcome {
    job_control(t, &busybox(t)?)
}

fn resizes(t: &Test, bundle: &Bundle) -> Outcome {
    let mut session = Session::start(t, bundle)?;
    session.prompt()?;
    session.line("stty size", "33 101\r\n")?;
    session.prompt()?;
    resize(&session.pty.master, 44, 120)?;
    std::thread::sleep(Duration::from_millis(200));
    session.line("stty size", "44 120\r\n")?;
    session.pty.send("exit 0\r")?;
    check_eq!(session.end()?, (0, true), "exit status, terminal restored");
    Ok(())
}

fn busybox_resize(t: &Test) -> Outcome {
    resizes(t, &busybox(t)?)
}

fn resize_is_a_signal(t: &Test) -> Outcome {
    let script = "trap 'stty size; exit 6' WINCH; echo up; while :; do sleep 0.05; done";
    let mut session = Session::start(t, &busybox(t)?.with("/process/args", json!(["sh", "-c", script])))?;
    session.pty.expect("up")?;
    std::thread::sleep(Duration::from_millis(200));
    resize(&session.pty.master, 44, 120)?;
    session.pty.expect("44 120\r\n")?;
    check_eq!(session.end()?, (6, true), "exit status, terminal restored");
    Ok(())
}

/// A second shell in a container that has none itself: prompt, size, resize, interrupt, status.
fn exec_resize(t: &Test) -> Outcome {
    let bundle = busybox(t)?.with("/process/terminal", json!(false));
    t.sleeper(bundle)?;
    let mut session = Session::of(t, &["exec", "--tty", &t.id, "/bin/sh"])?;
    session.prompt()?;
    session.line("stty size", "33 101\r\n")?;
    session.prompt()?;
    for (rows, columns) in [(44, 120), (10, 20), (200, 300)] {
        resize(&session.pty.master, rows, columns)?;
        let (wanted, start) = (format!("\n{rows} {columns}\r\n"), Instant::now());
        // The runtime is told by a signal, and passes it on in its own time.
        while !session.line("stty size", "ready> ")?.contains(&wanted) {
            check!(start.elapsed() < Duration::from_secs(10), "the size does not become {rows} {columns}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    session.line("tty", "/dev/pts/")?;
    session.prompt()?;
    session.line("sleep 1000", "sleep 1000\r\n")?;
    std::thread::sleep(Duration::from_millis(300));
    session.pty.send("\x03")?;
    session.prompt()?;
    session.pty.send("exit 7\r")?;
    let end = session.end();
    let status = t.state()?["status"].clone();
    t.delete()?;
    check_eq!(end?, (7, true), "exit status, terminal restored");
    check_eq!(status, json!("running"), "the container itself");
    Ok(())
}

fn busybox_end_of_file(t: &Test) -> Outcome {
    let mut session = Session::start(t, &busybox(t)?)?;
    session.prompt()?;
    session.line("false", "ready> ")?;
    session.pty.send("\x04")?;
    check!(session.end()?.1, "the terminal was not restored");
    gone(t)
}

/// More than any buffer holds, and the last line of it.
fn busybox_much_output(t: &Test) -> Outcome {
    let mut session = Session::start(t, &busybox(t)?)?;
    session.prompt()?;
    session.pty.send("seq 1 50000; exit 5\r")?;
    session.pty.expect("\n49999\r\n50000\r\n")?;
    check_eq!(session.end()?, (5, true), "exit status, terminal restored");
    Ok(())
}

/// The program ends because of it; then so do we, and the terminal is as it was.
fn killed_by_term_restores_the_terminal(t: &Test) -> Outcome {
    let args = json!(["sh", "-c", "trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done"]);
    let mut session = Session::start(t, &busybox(t)?.with("/process/args", args))?;
    session.pty.expect("up")?;
    check!(!session.pty.is_cooked()?, "the outer terminal must be raw while the container has it");
    kill(session.runtime()?, Signal::SIGTERM)?;
    check_eq!(session.end()?, (9, true), "exit status, terminal restored");
    gone(t)
}

/// A shell ignores it, and the session goes on.
fn term_is_forwarded(t: &Test) -> Outcome {
    let mut session = Session::start(t, &busybox(t)?)?;
    session.prompt()?;
    session.line("trap 'echo got-\"usr1\"' USR1", "ready> ")?;
    kill(session.runtime()?, Signal::SIGTERM)?;
    kill(session.runtime()?, Signal::SIGUSR1)?;
    std::thread::sleep(Duration::from_millis(200));
    session.line("", "got-usr1")?;
    session.pty.send("exit 4\r")?;
    check_eq!(session.end()?, (4, true), "exit status, terminal restored");
    Ok(())
}

/// The window is closed: nothing stays behind.
fn closed_terminal_ends_it(t: &Test) -> Outcome {
    let mut session = Session::start(t, &busybox(t)?)?;
    session.prompt()?;
    let nothing = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    session.pty.master = nothing;
    session.pty.slave = fs::File::open("/dev/null")?.into();
    t.wait_for("the end of run", || matches!(session.child.try_wait(), Ok(Some(_))))?;
    gone(t)
}

/// A child's death by a signal is the shell's status; the runtime's own is 128 plus the signal.
fn status_of_a_signal(t: &Test) -> Outcome {
    let mut bundle = busybox(t)?.with("/process/args", json!(["sh", "-c", "kill -9 $$"]));
    bundle.drop_namespace("pid");
    check_eq!(Session::start(t, &bundle)?.end()?, (137, true), "exit status, terminal restored");
    Ok(())
}

const BASH: &[&str] = &["bash", "--norc", "--noprofile"];

fn debian_prompt_and_status(t: &Test) -> Outcome {
    prompt_and_status(t, &debian(t, BASH)?)
}

fn debian_job_control(t: &Test) -> Outcome {
    job_control(t, &debian(t, BASH)?)
}

fn debian_resize(t: &Test) -> Outcome {
    resizes(t, &debian(t, BASH)?)
}

/// What ordinary programs need: users, devices, temporary files, dynamic linking, pipes.
fn debian_tools(t: &Test) -> Outcome {
    let script = "set -e; . /etc/os-release; echo $ID; id -un; getent passwd nobody; dpkg --version | head -n 1; \
                  head -c 10 /dev/zero | wc -c; df /dev/shm | tail -n 1; echo x > /dev/shm/x; cat /dev/shm/x; \
                  perl -e 'print getppid(), \"\\n\"'";
    let mut bundle = debian(t, &["bash", "-c", script])?.with("/process/terminal", json!(false));
    let output = t.run(&bundle)?;
    check_eq!(output.code, 0, "exit status: {}{}", output.stdout, output.stderr);
    for wanted in ["debian\n", "root\n", "nobody:x:65534", "\n10\n", "/dev/shm\n", "\nx\n"] {
        check!(output.stdout.contains(wanted), "{wanted:?} is not in {}", output.stdout);
    }
    bundle.set("/process/user", json!({ "uid": 65534, "gid": 65534 }));
    bundle.set("/process/args", json!(["id", "-un"]));
    check_eq!(t.run(&bundle)?.stdout, "nobody\n", "the user's name");
    Ok(())
}

fn debian_create_start_delete(t: &Test) -> Outcome {
    let bundle = debian(t, &["sleep", "1000"])?.with("/process/terminal", Value::Bool(false));
    t.create_ok(&bundle)?;
    check_eq!(t.state()?["status"], "created", "status");
    t.ok(&["start", &t.id])?;
    check_eq!(t.state()?["status"], "running", "status");
    t.ok(&["kill", &t.id, "KILL"])?;
    t.wait_status("stopped")?;
    t.ok(&["delete", &t.id])?;
    Ok(())
}
