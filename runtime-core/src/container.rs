//! `Container`: a handle on one container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::runtime::Launcher;
use crate::spec::{Process, Spec};
use crate::state::{Init, Record, Root, State};
use crate::{Exec, ExecProcess, Log, Result, Runtime};

/// Signal to send, as the kernel numbers it; 0 only asks whether the process is there.
pub type Signal = i32;

/// How a container's program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(Signal),
}

impl ExitStatus {
    /// The exit code a shell would show: 128 plus the signal.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// A container that exists under a [`Runtime`](crate::Runtime). `Send + Sync`.
///
/// The handle is a snapshot of what was read when it was made; [`status`](Self::status) and everything that
/// acts look again.
pub struct Container {
    pub(crate) record: Record,
    /// The state directory, shared by all handles of one `list`.
    pub(crate) root: Arc<Root>,
    /// What `state` shows as the owner.
    pub(crate) owner: String,
    /// How to launch another program in it.
    pub(crate) launcher: Launcher,
    /// Takes what hooks have to say.
    pub(crate) log: Option<Log>,
    console: Mutex<Option<OwnedFd>>,
    /// Of a run with [`Create::notify`](crate::Create::notify).
    ear: Mutex<Option<UnixDatagram>>,
    /// The recorded config, once it was parsed: for the next exec.
    config: Mutex<Option<Spec>>,
    /// The first process was reaped through this handle.
    ended: AtomicBool,
    /// Opened when first asked for: `state` and `list` do without.
    pidfd: OnceLock<Arc<OwnedFd>>,
}

impl Container {
    /// A handle on what `record` tells, without a terminal.
    pub(crate) fn new(root: Arc<Root>, record: Record) -> Self {
        let launcher = Launcher::default();
        Self {
            record,
            root,
            owner: String::new(),
            launcher,
            log: None,
            console: Mutex::new(None),
            ear: Mutex::new(None),
            config: Mutex::new(None),
            ended: AtomicBool::new(false),
            pidfd: OnceLock::new(),
        }
    }

    /// Adds the runtime's log, and how it launches.
    pub(crate) fn logging(mut self, runtime: &Runtime) -> Self {
        self.log.clone_from(&runtime.options.log);
        self.launcher = runtime.launcher.clone();
        self
    }

    /// Adds what only the creator holds: the first process, and the terminal's master side.
    pub(crate) fn holding(mut self, pidfd: Arc<OwnedFd>, console: Option<OwnedFd>) -> Self {
        self.pidfd = OnceLock::from(pidfd);
        self.console = Mutex::new(console);
        self
    }

    /// Adds the socket that the program of a run says it is ready on.
    pub(crate) fn hearing(mut self, ear: Option<UnixDatagram>) -> Self {
        self.ear = Mutex::new(ear);
        self
    }

    /// Notes that the first process was reaped.
    pub(crate) fn has_ended(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Whether that was noted: then nobody need look for it.
    pub(crate) fn is_known_to_have_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Keeps the recorded config for who asks next.
    pub(crate) fn keep(&self, config: Spec) {
        if let Ok(mut kept) = self.config.lock() {
            *kept = Some(config);
        }
    }

    /// Takes what was kept.
    pub(crate) fn kept(&self) -> Option<Spec> {
        self.config.lock().ok()?.take()
    }

    /// The container's id.
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// Host pid of the container's first process; `None` once it is gone.
    pub fn pid(&self) -> Option<i32> {
        if let Some(pidfd) = self.pidfd.get() {
            return crate::sys::pidfd::pid(pidfd.as_fd()).ok();
        }
        self.state().ok().and_then(|state| state.pid)
    }

    /// Becomes readable when the first process ends (pidfd_open(2)). `None` if it is gone already.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        if self.pidfd.get().is_none()
            && let Ok(Init::Alive(pidfd) | Init::Zombie(pidfd)) = self.record.init(&self.root)
        {
            // Another thread may have been first; then this one is closed again.
            let _ = self.pidfd.set(Arc::new(pidfd));
        }
        self.pidfd.get().map(AsFd::as_fd)
    }

    /// The state document of the spec, with runc's additions; the status is derived now.
    pub fn state(&self) -> Result<State> {
        crate::verb::state::state(self)
    }

    /// Lets the program of a created container run, and reports what execve(2) said.
    pub fn start(&self) -> Result<()> {
        crate::verb::start::start(self)
    }

    /// Runs another program in the container, and reports what execve(2) said.
    pub fn exec(&self, request: &Exec<'_>) -> Result<ExecProcess> {
        crate::verb::exec::exec(self, request)
    }

    /// `process` of the bundle's `config.json`, as it is now: what an exec starts from that names no other.
    pub fn bundle_process(&self) -> Result<Process> {
        crate::verb::exec::bundle_process(self)
    }

    /// Sends `signal` to the first process, or to every process of a container without a pid namespace of
    /// its own when it is SIGKILL.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        crate::verb::kill::kill(self, signal)
    }

    /// What the container's cgroups have counted: processor time, memory, tasks, I/O, pressure, OOM kills.
    pub fn stats(&self) -> Result<crate::cgroup::Stats> {
        crate::verb::stats::stats(self)
    }

    /// Stops every process of the container, until [`resume`](Self::resume).
    pub fn pause(&self) -> Result<()> {
        crate::verb::pause::pause(self)
    }

    /// Lets a paused container run.
    pub fn resume(&self) -> Result<()> {
        crate::verb::pause::resume(self)
    }

    /// Host pids of every process of the container, sorted.
    pub fn processes(&self) -> Result<Vec<i32>> {
        crate::verb::events::processes(self)
    }

    /// Watches for the container's end and for memory that runs out.
    pub fn watch(&self) -> Result<crate::verb::events::Watch> {
        crate::verb::events::watch(self)
    }

    /// Changes limits. What `request` leaves out stays as it is, and nothing changes if one limit is refused; device
    /// rules never change.
    pub fn update(&self, request: &crate::spec::Resources) -> Result<()> {
        crate::verb::update::update(self, request)
    }

    /// Deletes the container; see [`Runtime::delete`](crate::Runtime::delete).
    pub fn delete(&self, force: bool) -> Result<()> {
        crate::verb::delete::delete_container(self, force)
    }

    /// Waits for the first process, which must be a child of the calling process (after `create` or `run`).
    pub fn wait(&self) -> Result<ExitStatus> {
        crate::verb::kill::wait(self)
    }

    /// The socket on which the program says that it is ready (sd_notify(3)): that of a run, once; else one bound now,
    /// for a [`start`](Self::start) that follows. `None`: made without [`Create::notify`](crate::Create::notify).
    pub fn notify_socket(&self) -> Result<Option<UnixDatagram>> {
        match self.ear.lock().ok().and_then(|mut ear| ear.take()) {
            Some(ear) => Ok(Some(ear)),
            None => crate::verb::notify::bind(self),
        }
    }

    /// The terminal's master side, once, of a container made with [`Console::Keep`](crate::Console::Keep).
    pub fn take_console(&self) -> Option<OwnedFd> {
        self.console.lock().ok()?.take()
    }
}
