//! `run` in the foreground on a terminal, seen from the other side of that terminal.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;

const BINARY: &str = env!("CARGO_BIN_EXE_runtime");

/// A bundle with a static busybox in a root of its own (never the host's: a bug in `delete` must find nothing of it),
/// `terminal` and the shell script to run in it.
struct Bundle(PathBuf);

impl Bundle {
    fn new(name: &str, terminal: bool, script: &str) -> Self {
        let path = std::env::temp_dir().join(format!("runtime-tty-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("rootfs/bin")).unwrap();
        fs::copy("/usr/bin/busybox", path.join("rootfs/bin/busybox")).unwrap();
        for applet in ["sh", "stty", "sleep", "cat", "seq", "kill", "true"] {
            std::os::unix::fs::symlink("busybox", path.join("rootfs/bin").join(applet)).unwrap();
        }
        let mount = |kind: &str, at: &str| serde_json::json!({"destination": at, "type": kind, "source": kind});
        let config = serde_json::json!({
            "ociVersion": "1.0.2",
            "root": {"path": "rootfs", "readonly": false},
            "process": {
                "terminal": terminal, "cwd": "/", "args": ["/bin/sh", "-c", script],
                "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}
            },
            "mounts": [mount("proc", "/proc"), mount("tmpfs", "/dev"), mount("devpts", "/dev/pts")],
            "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}]}
        });
        fs::write(path.join("config.json"), config.to_string()).unwrap();
        Self(path)
    }

    fn run(&self, slave: Option<&OwnedFd>, flags: &[&str]) -> Child {
        let id = self.0.file_name().unwrap();
        let mut command = Command::new(BINARY);
        command.arg("--root").arg(self.0.join("root")).arg("run").args(flags).arg("-b").arg(&self.0).arg(id);
        match slave {
            Some(slave) => {
                let side = || Stdio::from(slave.try_clone().unwrap());
                command.stdin(side()).stdout(side()).stderr(side());
            }
            None => drop(command.stdin(Stdio::null()).stdout(Stdio::piped())),
        }
        command.spawn().unwrap()
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let id = self.0.file_name().unwrap();
        let root = self.0.join("root");
        let _ = Command::new(BINARY).arg("--root").arg(&root).args(["delete", "--force"]).arg(id).output();
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Reads until `what` was seen.
fn expect(master: &mut File, what: &str) -> String {
    let (mut seen, mut buffer) = (String::new(), [0; 1024]);
    let end = Instant::now() + Duration::from_secs(10);
    while !seen.contains(what) {
        assert!(Instant::now() < end, "{what:?} is not in {seen:?}");
        let count = master.read(&mut buffer).unwrap_or(0);
        assert!(count > 0, "closed before {what:?}: {seen:?}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    seen
}

fn is_cooked(slave: &OwnedFd) -> bool {
    tcgetattr(slave).unwrap().local_flags.contains(LocalFlags::ICANON | LocalFlags::ECHO)
}

#[test]
fn a_terminal_is_relayed_and_restored() {
    let size = nix::pty::Winsize { ws_row: 33, ws_col: 101, ws_xpixel: 0, ws_ypixel: 0 };
    let pair = nix::pty::openpty(&size, None).unwrap();
    let mut master = File::from(pair.master);
    let bundle = Bundle::new("relay", true, "tty; stty size; read line; echo \"<got $line>\"; exit 7");
    let mut child = bundle.run(Some(&pair.slave), &[]);
    expect(&mut master, "33 101");
    assert!(!is_cooked(&pair.slave), "raw while the container has it");
    master.write_all(b"hello\r").unwrap();
    expect(&mut master, "<got hello>");
    assert_eq!(child.wait().unwrap().code(), Some(7));
    assert!(is_cooked(&pair.slave));
    assert!(!bundle.0.join("root").join(bundle.0.file_name().unwrap()).exists(), "deleted at the end");
}

#[test]
fn a_signal_goes_to_the_container_and_the_terminal_is_restored() {
    let pair = nix::pty::openpty(None, None).unwrap();
    let mut master = File::from(pair.master);
    let script = "trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let bundle = Bundle::new("signal", true, script);
    let mut child = bundle.run(Some(&pair.slave), &[]);
    expect(&mut master, "ready");
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    expect(&mut master, "bye");
    assert_eq!(child.wait().unwrap().code(), Some(9));
    assert!(is_cooked(&pair.slave));
}

#[test]
fn statuses_and_streams_without_a_terminal() {
    for (name, script, status) in [("code", "echo out; exit 42", 42), ("killed", "echo out; kill -KILL $$", 137)] {
        // As pid 1 of its namespace the shell cannot kill itself; a child of it can, and its status is passed on.
        let script = format!("sh -c '{script}'; exit $?");
        let bundle = Bundle::new(name, false, &script);
        let output = bundle.run(None, &[]).wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(status), b"out\n".as_slice()), "{name}");
    }
}

#[test]
fn keep_leaves_the_container() {
    let bundle = Bundle::new("keep", false, "exit 0");
    let output = bundle.run(None, &["--keep"]).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(bundle.0.join("root").join(bundle.0.file_name().unwrap()).exists());
}
