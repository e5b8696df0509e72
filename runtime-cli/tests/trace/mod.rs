//! Follows a command and what it starts, system call by system call, and interferes with one of them.
//!
//! ptrace(2) in place of strace(1), because "the 17th call of the stage" must mean that one, whatever the parent does
//! meanwhile. x86_64 only, for its registers.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Longer than any command takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// PTRACE_EVENT_STOP, which nix has no name for: a new tracee, or one that was interrupted.
const EVENT_STOP: i32 = 128;

/// A system call: the `call`th (from 0) that the `process`th process makes. 0 is the command, 1 what it starts first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    pub process: usize,
    pub call: usize,
}

/// What happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Look,
    /// This process is killed, before the call is made.
    Kill(usize),
    /// The same, but the others go on first until they wait for something.
    KillLate,
    /// The call fails with this errno.
    Fail(i32),
}

/// How it went.
#[derive(Debug)]
pub struct Outcome {
    /// Exit code, or 128 plus the signal.
    pub code: i32,
    /// It did not end, and was killed.
    pub hung: bool,
    /// Numbers of the calls, for each process.
    pub calls: Vec<Vec<u64>>,
    /// The call that was interfered with.
    pub hit: Option<u64>,
    /// Standard error.
    pub stderr: String,
}

/// Runs `command` (program and arguments) and interferes at `point`. Standard output goes nowhere.
pub fn trace(command: &[&str], point: Point, action: Action, scratch: &Path) -> Outcome {
    let stderr = scratch.join("stderr");
    // A thread of its own: with its end, whatever is still traced is let go.
    let mut outcome = std::thread::scope(|scope| {
        scope.spawn(|| Tracer::start(command, point, action, &stderr).run()).join().unwrap()
    });
    outcome.stderr = String::from_utf8_lossy(&fs::read(&stderr).unwrap()).into_owned();
    outcome
}

struct Tracer {
    point: Point,
    action: Action,
    /// The program that is the command at first.
    shell: PathBuf,
    root: Child,
    /// Process by pid.
    known: BTreeMap<i32, usize>,
    pids: Vec<i32>,
    calls: Vec<Vec<u64>>,
    /// How often each has executed a program.
    programs: Vec<u32>,
    /// What the call under way is to return.
    answer: Option<(i32, i64)>,
    hit: Option<u64>,
    watchdog: mpsc::Sender<()>,
    barked: mpsc::Receiver<()>,
}

impl Tracer {
    fn start(command: &[&str], point: Point, action: Action, stderr: &Path) -> Self {
        // It waits for a line until it is traced.
        let shell = fs::canonicalize("/bin/sh").unwrap();
        let mut root = Command::new(&shell)
            .args(["-c", "read go; exec \"$@\"", "sh"])
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(stderr).unwrap())
            .spawn()
            .unwrap();
        let pid = root.id().cast_signed();
        let all = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEEXEC;
        ptrace::seize(Pid::from_raw(pid), all).unwrap();
        ptrace::interrupt(Pid::from_raw(pid)).unwrap();
        root.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let (watchdog, bone) = mpsc::channel::<()>();
        let (bark, barked) = mpsc::channel();
        std::thread::spawn(move || {
            if bone.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = bark.send(());
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        });
        let known = BTreeMap::from([(pid, 0)]);
        Self {
            point,
            action,
            shell,
            root,
            known,
            pids: vec![pid],
            calls: vec![Vec::new()],
            programs: vec![0],
            answer: None,
            hit: None,
            watchdog,
            barked,
        }
    }

    fn run(mut self) -> Outcome {
        let root = self.pids[0];
        let code = loop {
            let status = match waitpid(None, Some(WaitPidFlag::__WALL)) {
                Err(Errno::EINTR) => continue,
                status => status.unwrap(),
            };
            match status {
                WaitStatus::Exited(pid, code) if pid.as_raw() == root => break code,
                WaitStatus::Signaled(pid, signal, _) if pid.as_raw() == root => break 128 + signal as i32,
                status => self.stop(status),
            }
        };
        let _ = self.watchdog.send(());
        // The standard library may not wait for it any more.
        drop(self.root);
        Outcome { code, hung: self.barked.try_recv().is_ok(), calls: self.calls, hit: self.hit, stderr: String::new() }
    }

    fn stop(&mut self, status: WaitStatus) {
        match status {
            WaitStatus::PtraceSyscall(pid) => self.call(pid),
            WaitStatus::PtraceEvent(pid, _, event) => self.event(pid, event),
            // A signal on its way to it.
            WaitStatus::Stopped(pid, signal) => resume(pid, Some(signal)),
            _ => {}
        }
    }

    /// Until nothing has happened for a while.
    fn let_others_go_on(&mut self) {
        const QUIET: Duration = Duration::from_millis(40);
        let mut last = Instant::now();
        while last.elapsed() < QUIET {
            match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(_) => std::thread::sleep(Duration::from_millis(1)),
                Ok(status) => {
                    self.stop(status);
                    last = Instant::now();
                }
            }
        }
    }

    fn event(&mut self, pid: Pid, event: i32) {
        let process = self.process(pid);
        if event == nix::libc::PTRACE_EVENT_EXEC {
            // The shell's own may still be seen.
            let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            self.programs[process] += u32::from(process > 0 || program.as_os_str() != self.shell.as_os_str());
            // The stage has become the container's program: what it does is not ours.
            if process > 0 && self.programs[process] > 1 {
                let _ = ptrace::detach(pid, None);
                return;
            }
        } else if event != EVENT_STOP
            && let Ok(new) = ptrace::getevent(pid)
        {
            let new = self.process(Pid::from_raw(new as i32));
            // A stage that carries on in a child is the stage still.
            if process > 0 {
                self.programs[new] = self.programs[process];
            }
        }
        resume(pid, None);
    }

    /// Its number; the next one if it is new.
    fn process(&mut self, pid: Pid) -> usize {
        let next = self.known.len();
        let process = *self.known.entry(pid.as_raw()).or_insert(next);
        if process == next {
            self.pids.push(pid.as_raw());
            self.calls.push(Vec::new());
            self.programs.push(0);
        }
        process
    }

    /// Before or after a system call.
    fn call(&mut self, pid: Pid) {
        const ENTRY: u8 = 1;
        let process = self.process(pid);
        // Until it executes the command, the shell is at work.
        if process == 0 && self.programs[0] == 0 {
            return resume(pid, None);
        }
        let (Ok(info), Ok(mut registers)) = (ptrace::syscall_info(pid), ptrace::getregs(pid)) else { return };
        if info.op != ENTRY {
            if let Some((_, value)) = self.answer.take_if(|(asked, _)| *asked == pid.as_raw()) {
                registers.rax = value.cast_unsigned();
                let _ = ptrace::setregs(pid, registers);
            }
            return resume(pid, None);
        }
        self.calls[process].push(registers.orig_rax);
        let here = Point { process, call: self.calls[process].len() - 1 };
        if here != self.point || self.hit.is_some() || self.action == Action::Look {
            return resume(pid, None);
        }
        self.hit = Some(registers.orig_rax);
        match self.action {
            Action::Look => {}
            Action::Kill(victim) if victim == process => kill(pid, Signal::SIGKILL).unwrap(),
            Action::Kill(victim) => {
                // It stays where it is until the other one is dead.
                let victim = Pid::from_raw(self.pids[victim]);
                kill(victim, Signal::SIGKILL).unwrap();
                crate::common::within(PATIENCE, || !crate::common::processes().contains(&victim.as_raw()));
                let _ = ptrace::detach(pid, None);
            }
            Action::KillLate => {
                self.let_others_go_on();
                kill(pid, Signal::SIGKILL).unwrap();
            }
            Action::Fail(errno) => {
                self.answer = Some((pid.as_raw(), -i64::from(errno)));
                // close(2) closes, whatever it says; anything else is not done.
                if registers.orig_rax != nix::libc::SYS_close as u64 {
                    registers.orig_rax = u64::MAX;
                    ptrace::setregs(pid, registers).unwrap();
                }
                resume(pid, None);
            }
        }
    }
}

/// On to the next call. It may have been killed meanwhile.
fn resume(pid: Pid, signal: Option<Signal>) {
    let _ = ptrace::syscall(pid, signal);
}

/// The name of a call.
pub fn name(call: u64) -> String {
    runtime_core::seccomp::syscall_name(call as u32).unwrap_or("?").to_owned()
}
