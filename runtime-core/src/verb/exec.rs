//! exec: another program in a container that is there, by the same stage with a smaller plan.

use std::borrow::Cow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::create::{bundle_config, console_size, write_pid};
use super::kill::send;
use crate::cgroup::{Below, Cgroup, Entry, not_added};
use crate::host::HostFacts;
use crate::launch::{Announced, Descriptors, Launch, Master, PidReceiver, Reached};
use crate::plan::{Kind, Plan, Receiver, Request, Target, for_set_up, plan};
use crate::spec::{self, Linux, Process, Spec, User};
use crate::state::{GATE, Init, Record, is_held};
use crate::sys::pidfd;
use crate::{Console, Container, Error, ErrorKind, Exec, ExecProcess, ExitStatus, Level, Result, Signal, Stdio};

/// How long an exec waits for a `run` of the same container to come to its end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a program in a container.
pub(crate) fn exec(container: &Container, request: &Exec<'_>) -> Result<ExecProcess> {
    let mut record = Cow::Borrowed(&container.record);
    if record.init_process_pid == 0 {
        // The handle is from before the process: create may have gone on.
        record = Cow::Owned(container.root.read(&container.record.id)?);
    }
    let Init::Alive(init) = record.init(&container.root)? else { return Err(stopped()) };
    wait_until_made(container, &record)?;
    let cgroup = record.own_cgroup(container.root.boot_id()?).map(Cgroup::open).transpose()?;
    // One that is gone or cannot be read does not hold the program back.
    let frozen = || cgroup.as_ref().is_some_and(|cgroup| cgroup.is_frozen().unwrap_or(false));
    if !request.ignore_paused && frozen() {
        let message = "cannot exec in a paused container (use --ignore-paused to override)";
        return Err(Error::new(ErrorKind::WrongState, message));
    }
    let bundled;
    let process = match request.process {
        Some(process) => process,
        None => {
            bundled = bundle_process(container)?;
            &bundled
        }
    };
    let kept = if matches!(record, Cow::Borrowed(_)) { container.kept() } else { None };
    let config = kept.map_or_else(|| recorded(&record), Ok)?;
    let plan = planned(&record, config, process, request)?;
    for warning in &plan.warnings {
        container.launcher.log(Level::Warning, warning);
    }
    let console = match request.console {
        Console::None => None,
        Console::Keep => Some(Master::Keep(None)),
        Console::Socket(path) => Some(Master::socket(path)?),
    };
    let pidfd_socket = request.pidfd_socket.map(PidReceiver::connect).transpose()?;
    let root = record.root_mount.as_ref().map(|mount| mount.of_process(record.init_process_pid)).transpose()?;
    let place = Inside { init: init.as_fd(), root, pid: record.init_process_pid, cgroup };
    let mut launch = begin(container, &plan, place, request)?;
    launch.give_console(console);
    launch.tell_times(request.timeline);
    if plan.listener.is_some() {
        let (bundle, annotations) = (record.bundle.clone(), record.annotations.clone());
        launch.announce(Announced::running(&record.id, record.init_process_pid, bundle, annotations));
    }
    if pidfd_socket.is_none() {
        launch.let_begin();
    }
    let reached = launch.until_ready()?;
    if let Some(socket) = pidfd_socket {
        launch.send_pidfd(&socket, "setns")?;
    }
    container.launcher.log(Level::Debug, "setns_init: about to exec");
    if reached == Reached::Gate {
        launch.open_gate()?;
    }
    let (pid, _) = launch.identity();
    if let Some(path) = request.pid_file {
        write_pid(path, pid)?;
    }
    let (pidfd, master) = launch.commit();
    Ok(ExecProcess::new(pid, pidfd, master))
}

/// `process` of the bundle's config.
pub(crate) fn bundle_process(container: &Container) -> Result<Process> {
    let record = &container.record;
    let process = match bundle_config(Path::new(&record.bundle), &record.config)? {
        Some(changed) => changed.process,
        None => {
            let config = recorded(record)?;
            let process = config.process.clone();
            // The exec that follows wants the rest of it.
            container.keep(config);
            process
        }
    };
    process.ok_or_else(|| Error::new(ErrorKind::InvalidConfig, "process property must not be empty").at("/process"))
}

fn stopped() -> Error {
    Error::new(ErrorKind::WrongState, "cannot exec in a stopped container")
}

/// The root of a container that is being made is the host's still. Its maker holds the lock.
fn wait_until_made(container: &Container, record: &Record) -> Result<()> {
    if !record.inline_gate && !container.root.has(&record.id, GATE)? {
        return Ok(());
    }
    let deadline = Instant::now() + PATIENCE;
    while is_held(&container.root, &record.id)? {
        if Instant::now() > deadline {
            let message = "cannot exec in a container in the creating state";
            return Err(Error::new(ErrorKind::WrongState, message));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    if !record.inline_gate && container.root.has(&record.id, GATE)? {
        // Its maker died.
        return Err(stopped());
    }
    Ok(())
}

/// The config of the create.
fn recorded(record: &Record) -> Result<Spec> {
    spec::parse(&record.config).map_err(|problems| Error::problems("the recorded config", problems))
}

/// The plan of the program in the container's own settings.
fn planned(record: &Record, config: Spec, process: &Process, request: &Exec<'_>) -> Result<Plan> {
    let target = target(&config, record)?;
    let spec = merged(config, process);
    let request = Request {
        id: record.id.clone(),
        bundle: record.bundle.clone(),
        no_new_keyring: record.no_new_keyring,
        console: match request.console {
            Console::None => Receiver::Nobody,
            Console::Keep => Receiver::Caller,
            Console::Socket(_) => Receiver::Socket,
        },
        console_size: console_size(Some(process), request.console_size),
        preserve_fds: request.preserve_fds.len() as u32,
        exec: Some(target),
        ..Request::default()
    };
    let mut facts = HostFacts::of_caller();
    facts.probe_labels(&spec);
    plan(&spec, &facts, &request).map_err(|problems| Error::problems("process", problems))
}

/// What is joined: each kind of namespace the container does not share with its creator.
fn target(config: &Spec, record: &Record) -> Result<Target> {
    let listed = config.linux.iter().flat_map(|linux| linux.namespaces.iter().flatten());
    let mut namespaces: Vec<Kind> = listed.filter_map(|namespace| Kind::parse(namespace.typ.as_deref()?)).collect();
    let mut deny_setgroups = false;
    if namespaces.contains(&Kind::User) {
        let of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/user")).ok();
        let pid = record.init_process_pid.to_string();
        if of("self") == of(&pid) {
            // Nobody can join the user namespace he is in.
            namespaces.retain(|kind| *kind != Kind::User);
        } else {
            let setgroups = std::fs::read_to_string(format!("/proc/{pid}/setgroups"));
            deny_setgroups = setgroups.is_ok_and(|text| text.trim() == "deny");
        }
    }
    let linux = config.linux.as_ref();
    let uids = linux.and_then(|linux| linux.uid_mappings.as_deref()).unwrap_or_default();
    let gids = linux.and_then(|linux| linux.gid_mappings.as_deref()).unwrap_or_default();
    if let Some(mount) = &record.root_mount
        && std::fs::metadata("/proc/thread-self/ns/mnt").is_ok_and(|own| own.ino() != mount.namespace())
    {
        namespaces.push(Kind::Mount);
    }
    let set_up = [for_set_up(uids), for_set_up(gids)];
    Ok(Target { namespaces, deny_setgroups, set_up, shared_mounts: record.root_mount.is_some() })
}

/// A config for the program alone: its own properties, the container's where it has none and where only the container
/// decides, and nothing that was done when the container was made.
fn merged(config: Spec, process: &Process) -> Spec {
    let of_container = config.process.unwrap_or_default();
    let mut process = process.clone();
    let umask = of_container.user.and_then(|user| user.umask);
    process.user = Some(User { umask, ..process.user.unwrap_or_default() });
    process.oom_score_adj = of_container.oom_score_adj;
    process.capabilities = process.capabilities.or(of_container.capabilities);
    process.apparmor_profile = filled(process.apparmor_profile, of_container.apparmor_profile);
    process.selinux_label = filled(process.selinux_label, of_container.selinux_label);
    process.scheduler = process.scheduler.or(of_container.scheduler);
    process.io_priority = process.io_priority.or(of_container.io_priority);
    process.exec_cpu_affinity = process.exec_cpu_affinity.or(of_container.exec_cpu_affinity);
    if process.rlimits.as_ref().is_none_or(Vec::is_empty) {
        process.rlimits = of_container.rlimits;
    }
    let linux = config.linux.unwrap_or_default();
    Spec {
        oci_version: config.oci_version,
        annotations: config.annotations,
        process: Some(process),
        linux: Some(Linux {
            seccomp: linux.seccomp,
            personality: linux.personality,
            memory_policy: linux.memory_policy,
            ..Linux::default()
        }),
        ..Spec::default()
    }
}

fn filled(own: Option<String>, other: Option<String>) -> Option<String> {
    own.filter(|text| !text.is_empty()).or(other)
}

/// Where the program goes: the namespaces of a process, and the container's cgroup.
struct Inside<'a> {
    init: BorrowedFd<'a>,
    /// Where the mount namespace does not say it.
    root: Option<OwnedFd>,
    pid: i32,
    cgroup: Option<Cgroup>,
}

/// Starts the stage in the cgroup asked for. The container's own may not take processes any more (EBUSY: it hands
/// controllers down) or be gone; then the one its first process is in now does, unless another was asked for.
fn begin<'a>(container: &Container, plan: &'a Plan, place: Inside<'_>, request: &Exec<'_>) -> Result<Launch<'a>> {
    let launch = |entry: Option<Entry<'_>>| {
        let stdio = match request.stdio {
            Stdio::Inherit => None,
            Stdio::Fds(fds) => Some(fds),
        };
        let descriptors =
            Descriptors { stdio, preserved: &request.preserve_fds, timed: request.timeline.is_some(), gate: None };
        let held = (place.init, place.root.as_ref().map(AsFd::as_fd));
        Launch::join(&container.launcher, plan, held, entry, descriptors)
    };
    let Some(mut cgroup) = place.cgroup else {
        if request.cgroups.is_empty() {
            return launch(None);
        }
        return Err(Error::new(ErrorKind::InvalidConfig, "the container has no cgroup of its own"));
    };
    if !request.cgroups.is_empty() {
        let below = cgroup.below(&request.cgroups)?;
        return launch(Some(below.entry())).map_err(|error| match (is_full(&error), error.errno()) {
            (true, Some(errno)) => not_added(error.call().unwrap_or_default(), errno),
            _ => error,
        });
    }
    let first = launch(Some(cgroup.entry()?));
    match first {
        Err(error) if is_full(&error) => match cgroup.of_process(place.pid)? {
            Some(place) => launch(Some(join(&place, &mut cgroup)?)),
            None => Err(error),
        },
        result => result,
    }
}

/// The version 2 directory of `place` with the version 1 ones of the container.
fn join<'a>(place: &'a Below, cgroup: &'a mut Cgroup) -> Result<Entry<'a>> {
    Ok(Entry { v2: place.entry().v2, v1_tasks: cgroup.entry()?.v1_tasks })
}

fn is_full(error: &Error) -> bool {
    matches!(error.errno(), Some(libc::EBUSY | libc::EOPNOTSUPP | libc::ENOENT | libc::ENODEV))
        && error.call().is_some_and(|call| call.starts_with("clone3"))
}

/// Sends a signal to the program.
pub(crate) fn kill(process: &ExecProcess, signal: Signal) -> Result<()> {
    match send(process.pidfd(), signal)? {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::WrongState, "process not running")),
    }
}

/// Waits for the program, a child of the caller, and reaps it.
pub(crate) fn wait(process: &ExecProcess) -> Result<ExitStatus> {
    pidfd::reap(process.pidfd())
        .map_err(|e| Error::system("wait for the process", "waitid(P_PIDFD)", e.raw_os_error().unwrap_or(0)))
}
