//! The launch: the parent's side of what the stage does, one loop over its messages.

mod bind;
mod channel;
mod console;
pub(crate) mod hook;
mod idmap;
mod idmount;
mod listener;
mod netdev;
mod node;
mod peer;
mod report;
mod root;
mod seal;
mod shared;
mod spawn;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

pub(crate) use console::{Master, PidReceiver};
pub(crate) use listener::Announced;
use runtime_stage::fail::Step;
use runtime_stage::io::message;
use runtime_stage::sys::{NOTE_ROOM, STAMP, STAMPS, clone, word};

use self::bind::{Held, Table};
use self::channel::{Channel, Message};
use self::spawn::{Spawned, Start};
use crate::cgroup::{Cgroup, Entry};
use crate::plan::wire::{self, Extra};
use crate::plan::{Kind, Plan};
use crate::runtime::Launcher;
use crate::seccomp::Reporter;
use crate::sys::shared::Shared;
use crate::sys::{pidfd, proc};
use crate::timeline::{Timeline, Times};
use crate::{Entry as Way, Error, ErrorKind, Level, Result, Runtime};

pub(crate) use bind::missing;
pub(crate) use report::Report;
pub(crate) use root::Prepared;
pub use root::RootMount;
pub(crate) use spawn::Placeholder;

/// What a launch takes from the caller.
pub(crate) struct Descriptors<'a> {
    /// 0, 1 and 2, where they are not the caller's own.
    pub(crate) stdio: Option<[BorrowedFd<'a>; 3]>,
    /// 3, 4, ….
    pub(crate) preserved: &'a [BorrowedFd<'a>],
    /// Times are taken.
    pub(crate) timed: bool,
    /// The fifo `start` writes to, and the one it reads from; absent: the gate is a message.
    pub(crate) gate: Option<(OwnedFd, OwnedFd)>,
}

/// How far the stage has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    /// It is ready, and waits for our word.
    Gate,
    /// It has become the program.
    Program,
}

/// A launch under way: the process exists, and dies with this value unless it is committed.
pub(crate) struct Launch<'a> {
    plan: &'a Plan,
    channel: Channel,
    block: Shared,
    process: Spawned,
    start_time: u64,
    console: Option<Master<'a>>,
    /// Network devices that moved in; they move back with this value unless it is committed.
    net_devices: Option<netdev::Moved>,
    scene: Option<hook::Scene<'a>>,
    timeline: Option<&'a Timeline>,
    times: Option<Times>,
    announced: Option<Announced<'a>>,
    reporter: Option<&'a crate::create::ReportTo>,
    /// The process is the child that the first one has made.
    followed: bool,
    /// The process is not ours to kill and reap: it was reaped, or lives on.
    released: bool,
}

impl<'a> Launch<'a> {
    /// Opens what the plan names, makes the process, and lets it work.
    pub(crate) fn begin(
        runtime: &Runtime,
        plan: &'a Plan,
        cgroup: Option<&mut Cgroup>,
        root: Option<BorrowedFd<'_>>,
        descriptors: Descriptors<'_>,
        console: Option<Master<'a>>,
    ) -> Result<Self> {
        let held = Held { init: None, root };
        let table = Table::open(plan, cgroup.as_deref(), &held, 3 + descriptors.preserved.len() as i32)?;
        let cgroups = cgroup.as_deref().map(Cgroup::present).unwrap_or_default();
        let entry = cgroup.map(Cgroup::entry).transpose()?;
        Self::start(&runtime.launcher, plan, (table, cgroups), entry, descriptors, console)
    }

    /// The same for a program that joins the container of `init`, and enters cgroups that are there.
    pub(crate) fn join(
        launcher: &Launcher,
        plan: &'a Plan,
        (init, root): (BorrowedFd<'_>, Option<BorrowedFd<'_>>),
        entry: Option<Entry<'_>>,
        descriptors: Descriptors<'_>,
    ) -> Result<Self> {
        let held = Held { init: Some(init), root };
        let table = Table::open(plan, None, &held, 3 + descriptors.preserved.len() as i32)?;
        Self::start(launcher, plan, (table, Vec::new()), entry, descriptors, None)
    }

    /// Adds who takes the times.
    pub(crate) fn tell_times(&mut self, timeline: Option<&'a Timeline>) {
        self.timeline = timeline;
    }

    /// Adds the receiver of the terminal, before the stage is served.
    pub(crate) fn give_console(&mut self, console: Option<Master<'a>>) {
        self.console = console;
    }

    fn start(
        launcher: &Launcher,
        plan: &'a Plan,
        (mut table, cgroups): (Table, Vec<bool>),
        entry: Option<Entry<'_>>,
        descriptors: Descriptors<'_>,
        console: Option<Master<'a>>,
    ) -> Result<Self> {
        let (channel, theirs) =
            Channel::pair().map_err(|e| Error::io("cannot talk to the stage", "socketpair()", e))?;
        let (v2, tasks) = entry.map_or((None, Vec::new()), |entry| (entry.v2, entry.v1_tasks));
        let timed = descriptors.timed;
        let extra = Extra { cgroups, root_is_slave: table.root_is_slave, ..extra(&mut table, descriptors, &tasks)? };
        let socket = table.own(theirs)?;
        let block = block(plan, &extra, &table, socket, timed)?;
        let mut keep = table.numbers().to_vec();
        keep.push(block.as_fd().as_raw_fd());
        let start =
            Start { namespaces: clone_flags(plan), cgroup: v2, block: &block, keep: &keep, close: channel.number() };
        let mut times = timed.then(Times::begin);
        let process = spawn(launcher, &start)?;
        if let Some(times) = &mut times {
            times.cloned();
        }
        tell_begun(launcher, plan, process.pid);
        drop(table);
        let mut launch = Self {
            plan,
            channel,
            block,
            process,
            start_time: 0,
            console,
            net_devices: None,
            scene: None,
            timeline: None,
            times,
            announced: None,
            reporter: None,
            followed: false,
            released: false,
        };
        launch.identify()?;
        launch.adjust_oom_score()?;
        Ok(launch)
    }

    /// Where the host's hooks run.
    pub(crate) fn with_hooks_in(&mut self, scene: hook::Scene<'a>) {
        self.scene = Some(scene);
    }

    /// Host pid of the process, and when it started, in clock ticks since boot.
    pub(crate) fn identity(&self) -> (i32, u64) {
        (self.process.pid, self.start_time)
    }

    /// Inode number of its pidfds; 0: not known, and then pid and start time have to do.
    pub(crate) fn inode(&self) -> u64 {
        pidfd::inode(self.process.pidfd.as_fd()).unwrap_or(0)
    }

    /// Reads the start time, and tells the stage which signals it inherited as ignored.
    fn identify(&mut self) -> Result<()> {
        let stat = proc::stat(self.process.pid)
            .map_err(|e| Error::io("cannot inspect the process", "read(/proc/PID/stat)", e))?;
        self.start_time = stat.start;
        self.block.block().set(word::IGNORED_SIGNALS, stat.sigignore as u32 & 0x7fff_ffff | 1 << 31);
        Ok(())
    }

    fn adjust_oom_score(&self) -> Result<()> {
        let Some(score) = self.plan.oom_score_adj else { return Ok(()) };
        let path = format!("/proc/{}/oom_score_adj", self.process.pid);
        std::fs::write(&path, score.to_string()).map_err(|e| {
            Error::io("cannot adjust the OOM score", format!("write({path:?}, {score})"), e)
                .at("/process/oomScoreAdj")
                .with_hint("lowering it needs CAP_SYS_RESOURCE")
        })
    }

    /// What the agent behind `listenerPath` is told of the container. Without it, a filter that notifies is an
    /// error.
    pub(crate) fn announce(&mut self, announced: Announced<'a>) {
        self.announced = Some(announced);
    }

    /// Lets the program begin as soon as all is set up, without asking. Before it, its pid must be on record.
    pub(crate) fn let_begin(&self) {
        // These maps can only be compared when the stage is ready, and the terminal must be ours before it is the program's.
        if self.plan.namespaces.joined_maps.is_none() && self.plan.terminal.is_none() {
            self.block.block().set(word::MAY_BEGIN, 1);
        }
    }

    /// Serves the stage until it is ready.
    pub(crate) fn until_ready(&mut self) -> Result<Reached> {
        loop {
            let Some(message) = self.receive()? else {
                let step = self.block.block().get(word::STEP);
                // The socket closes when the program begins, for which the stage asks unless it was let.
                return if step == Step::Exec as u32 { Ok(Reached::Program) } else { Err(self.death()) };
            };
            match message.kind {
                message::READY => return self.check_joined_maps().map(|()| Reached::Gate),
                message::FAILED => return Err(report::failure(self.plan, Report::of(&self.block.block()))),
                _ => self.serve(message)?,
            }
        }
    }

    /// Lets the ready stage go on without us, to wait for `start`. Before it, its pid must be on record.
    pub(crate) fn let_go(&mut self) -> Result<()> {
        self.go(None)
    }

    /// The same for a launch that does not wait for `start`; reports what execve said.
    pub(crate) fn open_gate(&mut self) -> Result<()> {
        self.let_go()?;
        match self.receive()? {
            // The socket closes when the program begins.
            None => Ok(()),
            Some(_) => Err(report::failure(self.plan, Report::of(&self.block.block()))),
        }
    }

    /// Sends a pidfd of the process to a socket, named as runc names it.
    pub(crate) fn send_pidfd(&self, socket: &PidReceiver<'_>, name: &str) -> Result<()> {
        socket.take(self.process.pidfd.as_fd(), name)
    }

    /// Lets the process live on without us: its pidfd, and the terminal if it was to be kept.
    pub(crate) fn commit(mut self) -> (Arc<OwnedFd>, Option<OwnedFd>) {
        self.released = true;
        if let Some(moved) = self.net_devices.take() {
            moved.keep();
        }
        (Arc::clone(&self.process.pidfd), self.console.take().and_then(Master::kept))
    }

    /// Mappings given with a joined user namespace must be that namespace's.
    fn check_joined_maps(&self) -> Result<()> {
        self.plan.namespaces.joined_maps.as_ref().map_or(Ok(()), |maps| idmap::verify(self.process.pid, maps))
    }

    fn serve(&mut self, message: Message) -> Result<()> {
        match (message.kind, message.fd) {
            (message::MAP_IDS, _) => {
                if let Some(maps) = &self.plan.namespaces.maps {
                    idmap::write(self.process.pid, maps)?;
                }
                self.go(None)
            }
            (message::HOST_HOOKS, _) => {
                self.run_host_hooks()?;
                self.go(None)
            }
            (message::CONSOLE, Some(master)) => match &mut self.console {
                Some(console) => console.take(master, message.payload),
                None => Ok(()),
            },
            (message::FORKED, Some(child)) if self.plan.namespaces.fork && !self.followed => {
                self.follow(child, message.payload)
            }
            (message::MAP_MOUNT, Some(tree)) => {
                idmount::map(self.plan, message.payload as usize, &tree)?;
                self.go(None)
            }
            (message::LISTENER, _) => self.send_listener(message.payload),
            (message::RLIMITS, _) => self.set_limits(),
            (message::BIND, _) => {
                let tree = bind::asked(self.plan, message.payload)?;
                self.go(Some(tree.as_raw_fd()))
            }
            (message::NET_DEVICES, _) => {
                self.net_devices = Some(netdev::Moved::into(self.process.pid, &self.plan.net_devices)?);
                self.go(None)
            }
            // An exec has no mounts to change. And its process is inside already, where it may have been overwhelmed.
            (message::PROC, _) if !self.plan.exec => {
                let proc =
                    std::fs::File::open("/proc").map_err(|e| Error::io("cannot help the stage", "open(/proc)", e))?;
                self.go(Some(proc.as_raw_fd()))
            }
            (kind, _) => {
                Err(Error::new(ErrorKind::Init, format!("the stage sent message {kind}, which means nothing")))
            }
        }
    }

    /// prestart, then createRuntime: everything is mounted, and the root is not entered yet.
    fn run_host_hooks(&self) -> Result<()> {
        let Some(scene) = self.scene else { return Ok(()) };
        for (kind, index, hook) in &self.plan.hooks.host {
            let (before, after) = self.plan.hooks.state_around_pid(*kind);
            let state = format!("{before}{}{after}", self.process.pid);
            hook::run(*kind, *index, hook, &state, scene)?;
        }
        Ok(())
    }

    /// The stage carries on in a child, its own first process reaped.
    fn follow(&mut self, child: OwnedFd, pid: u64) -> Result<()> {
        let what = "cannot follow the stage into its pid namespace";
        let pid = i32::try_from(pid).map_err(|_| Error::new(ErrorKind::Init, format!("{what}: {pid} is no pid")))?;
        let first = std::mem::replace(&mut self.process, Spawned { pid, pidfd: Arc::new(child) });
        pidfd::reap(first.pidfd.as_fd()).map_err(|e| Error::io(what, "waitid()", e))?;
        self.followed = true;
        // Only a container's first process is told from others by its start; and what is ignored was inherited.
        if !self.plan.exec {
            self.identify()?;
        }
        self.adjust_oom_score()?;
        self.go(None)
    }

    /// Who gets the listener of a filter whose denials are reported.
    pub(crate) fn report_to(&mut self, reporter: Option<&'a crate::create::ReportTo>) {
        self.reporter = reporter;
    }

    fn send_listener(&self, number: u64) -> Result<()> {
        if let (Some(original), Some(reporter)) = (&self.plan.reported, self.reporter) {
            reporter(Reporter::new(listener::fetch(&self.process, number)?, original));
            return self.go(None);
        }
        let (Some(listener), Some(announced)) = (&self.plan.listener, &self.announced) else {
            return Err(Error::new(ErrorKind::Init, "a filter notifies, but nobody knows whom"));
        };
        announced.hand_over(listener, &self.process, number)?;
        self.go(None)
    }

    fn set_limits(&self) -> Result<()> {
        for (index, limit) in self.plan.rlimits.iter().enumerate() {
            crate::sys::fd::set_limit(self.process.pid, limit.resource, limit.soft, limit.hard).map_err(|e| {
                let call = format!("prlimit({}, {}:{})", limit.resource, limit.soft, limit.hard);
                Error::io("cannot set the resource limit", call, e)
                    .at(format!("/process/rlimits/{index}"))
                    .with_hint("raising a hard limit needs CAP_SYS_RESOURCE")
            })?;
        }
        self.go(None)
    }

    fn receive(&self) -> Result<Option<Message>> {
        self.channel.receive().map_err(|e| Error::io("cannot hear the stage", "recvmsg()", e))
    }

    fn go(&self, fd: Option<i32>) -> Result<()> {
        match self.channel.go(fd) {
            // Gone: the next receive says how.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => Ok(()),
            result => result.map_err(|e| Error::io("cannot talk to the stage", "sendmsg()", e)),
        }
    }

    fn death(&mut self) -> Error {
        if self.block.block().get(word::FAILED) == 1 {
            return report::failure(self.plan, Report::of(&self.block.block()));
        }
        let status = pidfd::reap(self.process.pidfd.as_fd()).ok();
        self.released = status.is_some();
        report::death(self.plan, &self.block.block(), status)
    }
}

impl Drop for Launch<'_> {
    /// A launch that was not committed leaves no process.
    fn drop(&mut self) {
        if let (Some(times), Some(timeline)) = (&self.times, self.timeline) {
            times.end(&self.block.block(), timeline);
        }
        if !self.released {
            let _ = pidfd::send_signal(self.process.pidfd.as_fd(), libc::SIGKILL);
            let _ = pidfd::reap(self.process.pidfd.as_fd());
        }
    }
}

/// That the stage is at work, in the words that callers of runc look for in a debug log.
fn tell_begun(launcher: &Launcher, plan: &Plan, pid: i32) {
    launcher.log(Level::Debug, "nsexec container setup");
    if let Some(mask) = plan.affinity.mask() {
        launcher.log(Level::Debug, &format!("nsexec[{pid}]: affinity: {mask}"));
    }
    if let Some(filter) = &plan.seccomp {
        launcher.log(Level::Debug, &format!("seccomp filter flags: {}", filter.flags));
    }
    launcher.log(Level::Debug, "child process in init()");
}

fn clone_flags(plan: &Plan) -> u64 {
    let flags = plan.namespaces.clone.iter().fold(0, |flags, kind| flags | u64::from(kind.flag()));
    debug_assert!(flags & clone::NEWCGROUP == 0 && !plan.namespaces.clone.contains(&Kind::Cgroup));
    flags
}

/// The slots every launch has beside the plan's.
fn extra(table: &mut Table, descriptors: Descriptors<'_>, tasks: &[BorrowedFd<'_>]) -> Result<Extra> {
    let mut extra = Extra::default();
    if let Some(stdio) = descriptors.stdio {
        for (slot, fd) in extra.stdio.iter_mut().zip(stdio) {
            *slot = Some(table.borrow(fd)?);
        }
    }
    let in_place = descriptors.preserved.iter().enumerate().all(|(index, fd)| fd.as_raw_fd() == index as i32 + 3);
    for fd in descriptors.preserved {
        extra.preserved.push(if in_place { table.in_place(*fd) } else { table.borrow(*fd)? });
    }
    for task in tasks {
        extra.tasks.push(table.borrow(*task)?);
    }
    if let Some((gate, status)) = descriptors.gate {
        extra.gate = Some(table.own(gate)?);
        extra.status = Some(table.own(status)?);
    }
    Ok(extra)
}

/// The block: words and descriptor table, the plan, and room for pointers.
fn block(plan: &Plan, extra: &Extra, table: &Table, socket: u32, timed: bool) -> Result<Shared> {
    let plan = wire::encode(plan, extra);
    let numbers = table.numbers();
    let plan_at = (word::SLOTS + 4 * numbers.len()).next_multiple_of(8);
    let scratch_at = (plan_at + plan.bytes.len()).next_multiple_of(8);
    let note_at = scratch_at + plan.pointers * 8;
    let room = if plan.hooks { NOTE_ROOM } else { 0 };
    let times_at = (note_at + room).next_multiple_of(8);
    let mut bytes = vec![0; times_at + if timed { STAMP * STAMPS } else { 0 }];
    let mut put = |at: usize, value: usize| bytes[at..at + 4].copy_from_slice(&(value as u32).to_le_bytes());
    put(word::SOCKET, numbers[socket as usize] as usize);
    put(word::SLOT_COUNT, numbers.len());
    put(word::PLAN, plan_at);
    put(word::PLAN_LENGTH, plan.bytes.len());
    put(word::SCRATCH, scratch_at);
    put(word::SCRATCH_LENGTH, plan.pointers * 8);
    put(word::TIMELINE, if timed { times_at } else { 0 });
    put(word::NOTE, if plan.hooks { note_at } else { 0 });
    for (slot, number) in numbers.iter().enumerate() {
        put(word::SLOTS + 4 * slot, *number as usize);
    }
    bytes[plan_at..plan_at + plan.bytes.len()].copy_from_slice(&plan.bytes);
    Shared::new(&bytes).map_err(|e| Error::io("cannot share the plan with the stage", "memfd_create()", e))
}

/// Makes the process by the entry the options ask for.
fn spawn(launcher: &Launcher, start: &Start<'_>) -> Result<Spawned> {
    let explain = |error: std::io::Error| {
        let mut call = format!("clone3({:#x})", start.namespaces);
        if start.cgroup.is_some() {
            call.push_str(" into the cgroup");
        }
        let failed = Error::io("unable to start container process", call, error);
        match failed.errno() {
            Some(libc::EPERM) => failed.with_hint("making namespaces needs CAP_SYS_ADMIN, or a user namespace"),
            Some(libc::ENOSPC) => failed.with_hint("a limit of /proc/sys/user/max_*_namespaces is reached"),
            Some(libc::EAGAIN) => failed.with_hint("a limit on processes is reached (ulimit -u, pids.max)"),
            _ => failed,
        }
    };
    let mode = launcher.entry;
    if mode == Way::InProcess {
        return spawn::in_process(start).map_err(explain);
    }
    let stage = match launcher.stage.get() {
        Some(stage) => stage,
        None => {
            let made = sealed_stage()?;
            launcher.stage.get_or_init(|| made)
        }
    };
    let refused = match stage {
        None => "the host makes no executable anonymous file".to_owned(),
        Some(stage) => match spawn::sealed(start, stage.as_fd()) {
            // ENOENT: a security module that looks for /dev/fd/N where there is none.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EACCES | libc::ENOEXEC | libc::ENOENT)) => {
                format!("the host does not execute an anonymous file: {error}")
            }
            result => return result.map_err(explain),
        },
    };
    if mode == Way::Sealed {
        return Err(Error::new(ErrorKind::Unsupported, refused).with_hint("see vm.memfd_noexec"));
    }
    launcher.log(Level::Debug, &format!("{refused}; using the in-process entry"));
    spawn::in_process(start).map_err(explain)
}

/// `None`: the host forbids it. Any other failure is one: the other entry protects less, so want of memory or descriptors
/// must not lead there.
fn sealed_stage() -> Result<Option<OwnedFd>> {
    match seal::sealed() {
        Ok(stage) => Ok(Some(stage)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM | libc::ENOSYS)) => Ok(None),
        Err(error) => Err(Error::io("cannot seal the stage", "memfd_create()", error)),
    }
}
