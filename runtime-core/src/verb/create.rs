//! create and run: parse, plan, bind, launch, save. Read this first.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::{hook, notify};
use crate::cgroup::{Cgroup, Placement};
use crate::host::HostFacts;
use crate::launch::hook::Scene;
use crate::launch::{Announced, Descriptors, Launch, Master, PidReceiver, Placeholder, Prepared, Reached, RootMount};
use crate::plan::{CgroupPlan, Kind, Plan, Receiver, Request, UnitPlan, plan};
use crate::rdt::Groups;
use crate::spec::{self, Process, Spec};
use crate::state::{Dir, FIFO, GATE, Record, STATUS, VERSION, now};
use crate::systemd::Manager;
use crate::{AskSize, Config, Console, Container, Create, Error, ErrorKind, Level, Result, Runtime, Stdio};

/// A larger config is refused unread.
const MOST_CONFIG: u64 = 16 << 20;
/// How long the cgroup of a failed create may take to empty.
const PATIENCE: Duration = Duration::from_secs(5);
/// crun's annotation: as [`Create::pidfd_socket`], which wins.
pub(super) const PIDFD_RECEIVER: &str = "run.oci.pidfd_receiver";

/// Creates a container that waits for `start`.
pub(crate) fn create(runtime: &Runtime, request: &Create<'_>) -> Result<Container> {
    build(runtime, request, false)
}

/// Creates a container and starts it.
pub(crate) fn run(runtime: &Runtime, request: &Create<'_>) -> Result<Container> {
    build(runtime, request, true)
}

fn build(runtime: &Runtime, request: &Create<'_>, inline: bool) -> Result<Container> {
    crate::id::check(request.id)?;
    let bundle = absolute(request.bundle)?;
    let (mut spec, text) = config(&bundle, request.config)?;
    if request.notify {
        notify::amend(&mut spec, &absolute(Some(runtime.root()))?, request.id);
    }
    let mut planned = planned(runtime, &spec, request, &bundle)?;
    let manager = planned.manager.take();
    let plan = &planned.plan;
    for warning in &plan.warnings {
        runtime.log(Level::Warning, warning);
    }
    let console = match request.console {
        Console::None => None,
        Console::Keep => Some(Master::Keep(None)),
        Console::Socket(path) => Some(Master::socket(path)?),
    };
    let mut dir = Dir::create(&runtime.options.root, request.id)?;
    let mut place = Site { cgroup: None, manager, ear: None, root: None };
    let written = || record(&dir, request, &planned, &spec, text, &bundle, inline);
    let mut record = intend(&dir, &mut place, written, plan)?;
    let made = make(runtime, request, plan, &dir, &mut record, &mut place, console);
    match made {
        Ok((pidfd, master)) => {
            let container = Container::new(dir.root().clone(), record).logging(runtime).holding(pidfd, master);
            let container = container.hearing(place.ear.take());
            if inline { started(&mut dir, container) } else { Ok(container) }
        }
        Err(error) => {
            // execve(2) of 5.10 has E2BIG for no memory to copy the arguments to.
            let refused = matches!(error.errno(), Some(libc::ENOMEM | libc::E2BIG));
            let shortage = place.cgroup.as_ref().and_then(|cgroup| cgroup.out_of_memory(refused));
            if let Err(left) = undo(&dir, &record, place) {
                runtime.log(Level::Warning, &format!("delete --force {} is needed: {left}", request.id));
            }
            dir.unlock();
            hook::poststop(&record, runtime.options.log.as_ref(), false);
            Err(match shortage {
                Some(shortage) => error.with_hint(shortage),
                None => error,
            })
        }
    }
}

/// The intent: once it is written, `delete --force` knows what may exist. If that fails, nothing does.
fn intend(dir: &Dir, place: &mut Site, record: impl FnOnce() -> Result<Record>, plan: &Plan) -> Result<Record> {
    let written = record().and_then(|mut record| {
        if plan.root.shared {
            let prepared = place.root.insert(Prepared::new(&plan.root.path)?);
            record.root_mount = Some(prepared.record.clone());
        }
        dir.write_first(&record).map(|()| record)
    });
    written.inspect_err(|_| {
        // Another one's has a record, and stays.
        let _ = dir.remove_unrecorded();
    })
}

/// The plan alone, and what it names that is not there.
pub(crate) fn plan_only(runtime: &Runtime, request: &Create<'_>) -> Result<(Plan, Vec<spec::Problem>)> {
    crate::id::check(request.id)?;
    let bundle = absolute(request.bundle)?;
    let (spec, _) = config(&bundle, request.config)?;
    let plan = planned(runtime, &spec, request, &bundle)?.plan;
    let missing = crate::launch::missing(&plan);
    Ok((plan, missing))
}

/// Where the container's processes are counted.
struct Site {
    /// Made by this create.
    cgroup: Option<Cgroup>,
    /// The systemd that keeps cgroups, if one does.
    manager: Option<Manager>,
    /// Where the program of a run says that it is ready.
    ear: Option<UnixDatagram>,
    /// The root filesystem, where it is mounted in the caller's mount namespace.
    root: Option<Prepared>,
}

/// As though it had not been tried; the process is gone already. What cannot be undone stays on record.
fn undo(dir: &Dir, record: &Record, place: Site) -> Result<()> {
    let Site { cgroup, manager, .. } = place;
    // Only one that was made is ours, see [`Record::own_cgroup`].
    if let (Some(cgroup), Some(placement)) = (cgroup, &record.cgroup) {
        // Its descriptors may be the very reason.
        drop(cgroup);
        remove_cgroup(placement)?;
    }
    crate::rdt::remove(&record.rdt)?;
    // One that was there before, and in our way, is somebody else's.
    if let (Some(unit), Some(mut manager)) = (&record.unit, manager)
        && manager.has_made(unit)
    {
        manager.stop(unit)?;
    }
    record.root_mount.as_ref().map_or(Ok(()), RootMount::remove)?;
    dir.remove()
}

/// Kills who is left in the cgroup and removes it. Where there are not descriptors enough to look who that is, it may
/// become idle all the same.
fn remove_cgroup(placement: &Placement) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !Cgroup::remove_if_idle(placement)? {
        match Cgroup::open(placement) {
            Err(error) if error.errno() == Some(libc::EMFILE) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(1));
            }
            cgroup => {
                let cgroup = cgroup?;
                cgroup.kill_all()?;
                return cgroup.remove(deadline.saturating_duration_since(Instant::now()));
            }
        }
    }
    Ok(())
}

/// The program of a `run` is on its way: its poststart hooks, which may ask for the container.
fn started(dir: &mut Dir, container: Container) -> Result<Container> {
    dir.unlock();
    if let Err(error) = hook::poststart(&container, Some(dir)) {
        let _ = container.wait();
        container.delete(true)?;
        return Err(error);
    }
    Ok(container)
}

/// Everything that leaves traces, in the order in which a killed runtime can be cleaned up after.
fn make(
    runtime: &Runtime,
    request: &Create<'_>,
    plan: &Plan,
    dir: &Dir,
    record: &mut Record,
    place: &mut Site,
    console: Option<Master<'_>>,
) -> Result<(Arc<OwnedFd>, Option<OwnedFd>)> {
    if let Some(prepared) = &place.root {
        prepared.attach()?;
    }
    let gate = if record.inline_gate { None } else { Some(fifos(dir)?) };
    if request.notify {
        notify::prepare(dir)?;
        place.ear = inline_ear(dir, record)?;
    }
    let mut placeholder = None;
    if let Some(planned) = &plan.cgroup {
        if let (Some(unit), Some(manager)) = (&planned.unit, place.manager.as_mut()) {
            // Said of the cgroup, not of the unit that has it, as without systemd.
            Cgroup::check_unused(&planned.placement)?;
            placeholder = enter_unit(manager, unit)?;
        }
        place.cgroup = make_cgroup(runtime, plan, planned, record, placeholder.as_ref().map(Placeholder::pid))?;
    }
    let groups = match &plan.rdt {
        Some(planned) => {
            let groups = Groups::prepare(planned, &mut record.rdt);
            dir.write(record)?;
            Some(groups?)
        }
        None => None,
    };
    let stdio = match request.stdio {
        Stdio::Inherit => None,
        Stdio::Fds(fds) => Some(fds),
    };
    let descriptors = Descriptors { stdio, preserved: &request.preserve_fds, timed: request.timeline.is_some(), gate };
    let annotated = record.annotations.get(PIDFD_RECEIVER).map(Path::new);
    let pidfd_socket = request.pidfd_socket.or(annotated).map(PidReceiver::connect).transpose()?;
    let root = place.root.as_ref().map(Prepared::root);
    let mut launch = Launch::begin(runtime, plan, place.cgroup.as_mut(), root, descriptors, console)?;
    launch.tell_times(request.timeline);
    // The unit has a process of its own now.
    drop(placeholder);
    let bundle = &plan.hooks.bundle;
    launch.with_hooks_in(Scene { bundle, dir: Some(dir), log: runtime.options.log.as_ref(), limit: None });
    launch.report_to(request.seccomp_report.as_ref());
    if plan.listener.is_some() {
        let annotations = record.annotations.clone();
        launch.announce(Announced::creating(request.id, record.bundle.clone(), annotations));
    }
    // Written while the stage works.
    (record.init_process_pid, record.init_process_start) = launch.identity();
    record.init_process_inode = launch.inode();
    if !plan.namespaces.fork {
        dir.write(record)?;
    }
    if record.inline_gate && !plan.namespaces.fork && pidfd_socket.is_none() && groups.is_none() {
        launch.let_begin();
    }
    let reached = launch.until_ready()?;
    runtime.log(Level::Debug, "init: closing the pipe to signal completion");
    if plan.namespaces.fork {
        (record.init_process_pid, record.init_process_start) = launch.identity();
        record.init_process_inode = launch.inode();
        dir.write(record)?;
    }
    if let Some(socket) = pidfd_socket {
        launch.send_pidfd(&socket, "standard")?;
    }
    if let Some(groups) = &groups {
        groups.join(launch.identity().0)?;
    }
    if record.inline_gate && reached == Reached::Gate {
        launch.open_gate()?;
    }
    if let Some(path) = request.pid_file {
        write_pid(path, record.init_process_pid)?;
    }
    if !record.inline_gate {
        // The commit: the container is created.
        renameat(dir, GATE, dir, FIFO)
            .map_err(|e| Error::io("cannot finish the create", "renameat(gate, exec.fifo)", e))?;
        launch.let_go()?;
    }
    Ok(launch.commit())
}

/// A created container's socket is bound by its start.
fn inline_ear(dir: &Dir, record: &Record) -> Result<Option<UnixDatagram>> {
    record.inline_gate.then(|| notify::bind_in(dir)).transpose()
}

/// Has systemd make the unit, around a process that holds the place.
fn enter_unit(manager: &mut Manager, planned: &UnitPlan) -> Result<Option<Placeholder>> {
    let placeholder = match planned.unit.is_slice() {
        true => None,
        false => Some(Placeholder::new().map_err(|e| Error::io("cannot hold a place in the unit", "clone()", e))?),
    };
    manager.start(&planned.unit, &planned.properties, placeholder.as_ref().map_or(0, Placeholder::pid))?;
    Ok(placeholder)
}

/// The cgroup, as far as the caller has the right to one. The record then tells what there is.
fn make_cgroup(
    runtime: &Runtime,
    plan: &Plan,
    planned: &CgroupPlan,
    record: &mut Record,
    resident: Option<i32>,
) -> Result<Option<Cgroup>> {
    if !planned.forgiving {
        let cgroup = Cgroup::create_around(&planned.placement, &planned.writes, &planned.devices, resident)?;
        return match planned.owner.map(|owner| cgroup.delegate(owner)) {
            Some(Err(error)) => {
                cgroup.undo(&planned.placement);
                Err(error)
            }
            _ => Ok(Some(cgroup)),
        };
    }
    let cgroup = Cgroup::create_forgiving(&planned.placement, &planned.writes, &planned.devices)?;
    record.cgroup = cgroup.placement(&planned.placement);
    if record.cgroup.is_none() && !plan.namespaces.is_private(Kind::Pid) {
        let message = "the container has neither a cgroup nor a pid namespace: processes it leaves cannot be killed";
        runtime.log(Level::Warning, message);
    }
    Ok(record.cgroup.is_some().then_some(cgroup))
}

pub(super) fn absolute(bundle: Option<&Path>) -> Result<PathBuf> {
    let bundle = bundle.unwrap_or(Path::new("."));
    let path = std::path::absolute(bundle).map_err(|e| Error::io("cannot find the bundle", "getcwd()", e))?;
    if path.to_str().is_none() {
        let message = format!("the bundle's path {path:?} is not UTF-8, which the state document cannot hold");
        return Err(Error::new(ErrorKind::InvalidConfig, message));
    }
    Ok(path)
}

/// The config, and its text as it stands.
pub(super) fn config(bundle: &Path, config: Config<'_>) -> Result<(Spec, String)> {
    let path = match config {
        Config::Spec(spec) => {
            let text = serde_json::to_string(spec).map_err(|e| {
                Error::new(ErrorKind::InvalidConfig, format!("the config cannot be written as JSON: {e}"))
            })?;
            return Ok((spec.clone(), text));
        }
        Config::File(path) => path.to_owned(),
        Config::Bundle => bundle.join("config.json"),
    };
    let text = read(bundle, &path)?;
    Ok((parse(&path, &text)?, text))
}

/// The bundle's `config.json`, as it is now; `None`: it still says `known`, word for word.
pub(super) fn bundle_config(bundle: &Path, known: &[u8]) -> Result<Option<Spec>> {
    let path = bundle.join("config.json");
    let text = read(bundle, &path)?;
    if text.as_bytes() == known { Ok(None) } else { parse(&path, &text).map(Some) }
}

fn parse(path: &Path, text: &str) -> Result<Spec> {
    spec::parse(text.as_bytes()).map_err(|problems| Error::problems(format!("{}", path.display()), problems))
}

/// Reads a regular file of bounded size; a fifo in its place must not stop us.
fn read(bundle: &Path, path: &Path) -> Result<String> {
    let call = format!("open({path:?})");
    let mut options = std::fs::OpenOptions::new();
    let opened = options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !bundle.is_dir() => {
            return Err(Error::io("cannot use the bundle", format!("open({bundle:?})"), error));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let message =
                format!("JSON specification file {} not found", path.file_name().unwrap_or_default().display());
            return Err(Error::new(ErrorKind::InvalidConfig, message)
                .with_hint(format!("looked in {bundle:?}; `runtime spec` writes one")));
        }
        Err(error) => return Err(Error::io("cannot read the config", call, error)),
    };
    let about = file.metadata().map_err(|e| Error::io("cannot read the config", "fstat()", e))?;
    if !about.is_file() {
        return Err(Error::new(ErrorKind::InvalidConfig, format!("{path:?} is not a regular file")));
    }
    if about.len() > MOST_CONFIG {
        let message = format!("{path:?} has {} bytes; at most {MOST_CONFIG} are read", about.len());
        return Err(Error::new(ErrorKind::InvalidConfig, message));
    }
    // A file that is replaced as a whole; of one that grows meanwhile, what was there is read.
    let mut bytes = vec![0; about.len() as usize];
    file.read_exact(&mut bytes).map_err(|e| Error::io("cannot read the config", "read()", e))?;
    String::from_utf8(bytes).map_err(|_| Error::new(ErrorKind::InvalidConfig, format!("{path:?} is not UTF-8")))
}

/// What is to be done, and what that was decided from.
struct Planned {
    facts: HostFacts,
    plan: Plan,
    /// The systemd that keeps cgroups, if one does.
    manager: Option<Manager>,
}

/// Facts and plan; every problem of the config at once.
fn planned(runtime: &Runtime, spec: &Spec, request: &Create<'_>, bundle: &Path) -> Result<Planned> {
    let path = spec.linux.as_ref().and_then(|linux| linux.cgroups_path.as_deref()).unwrap_or_default();
    let mut facts = HostFacts::probe(!path.starts_with('/'))?;
    if request.no_pivot {
        facts.kernel_filesystems = crate::host::mounts::whole_kernel_filesystems()?;
    }
    facts.probe_labels(spec);
    let mut manager = None;
    if runtime.options.systemd_cgroup {
        let manager = manager.insert(Manager::connect(facts.rootless())?);
        facts.manager = Some(manager.cgroup()?);
    }
    let request = Request {
        id: request.id.to_owned(),
        bundle: bundle.to_string_lossy().into_owned(),
        no_pivot: request.no_pivot,
        no_new_keyring: request.no_new_keyring,
        console: match request.console {
            Console::None => Receiver::Nobody,
            Console::Keep => Receiver::Caller,
            Console::Socket(_) => Receiver::Socket,
        },
        console_size: console_size(spec.process.as_ref(), request.console_size),
        preserve_fds: request.preserve_fds.len() as u32,
        listen_fds: request.listen_fds,
        exec: None,
        seccomp_report: request.seccomp_report.is_some(),
        no_cgroup: runtime.options.no_cgroups,
        rootless: runtime.options.rootless,
    };
    let plan = plan(spec, &facts, &request).map_err(|problems| Error::problems("config.json", problems))?;
    Ok(Planned { facts, plan, manager })
}

/// The size that a terminal is to have, unless the config says it.
pub(super) fn console_size(process: Option<&Process>, ask: Option<AskSize<'_>>) -> Option<(u16, u16)> {
    if process.is_some_and(|process| process.terminal) { ask?() } else { None }
}

fn record(
    dir: &Dir,
    request: &Create<'_>,
    Planned { facts, plan, .. }: &Planned,
    spec: &Spec,
    text: String,
    bundle: &Path,
    inline: bool,
) -> Result<Record> {
    Ok(Record {
        version: VERSION,
        id: request.id.to_owned(),
        bundle: bundle.to_string_lossy().into_owned(),
        rootfs: plan.root.path.clone(),
        created: now(),
        boot_id: dir.root().boot_id()?.to_owned(),
        init_process_pid: 0,
        init_process_inode: 0,
        init_process_start: 0,
        owner: facts.euid,
        cgroup: plan.cgroup.as_ref().map(|cgroup| cgroup.placement.clone()),
        rdt: crate::rdt::Made::default(),
        own_pid_namespace: plan.namespaces.is_new(Kind::Pid),
        rootless: facts.euid != 0,
        inline_gate: inline,
        no_new_keyring: request.no_new_keyring,
        annotations: spec.annotations.clone().unwrap_or_default(),
        hooks: hook::kept(spec.hooks.as_ref()),
        no_hooks: hook::none(spec.hooks.as_ref()),
        unit: plan.cgroup.as_ref().and_then(|cgroup| Some(cgroup.unit.as_ref()?.unit.clone())),
        root_mount: None,
        resources: None,
        config: text.into_bytes(),
    })
}

/// The gate, not yet called exec.fifo because the container is not created yet, and the status fifo. Both are
/// opened for reading and writing: the stage must not see end of file while nobody starts it.
fn fifos(dir: &Dir) -> Result<(OwnedFd, OwnedFd)> {
    let make = |name: &str| {
        let explain =
            |call: &str, errno: nix::Error| Error::io("cannot make the gate", format!("{call}({name:?})"), errno);
        mkfifo(&dir.path().join(name), Mode::from_bits_truncate(0o600)).map_err(|e| explain("mkfifo", e))?;
        openat(dir.as_fd(), name, OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|e| explain("openat", e))
    };
    Ok((make(GATE)?, make(STATUS)?))
}

/// Written beside and renamed, so that whoever waits for it never reads half a number; no newline at the end.
pub(super) fn write_pid(path: &Path, pid: i32) -> Result<()> {
    let explain = |e: std::io::Error| Error::io("cannot write the pid file", format!("open({path:?})"), e);
    let name = path.file_name().ok_or_else(|| explain(std::io::Error::from_raw_os_error(libc::EISDIR)))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    let temporary = path.with_file_name(hidden);
    let create = || File::options().write(true).create_new(true).mode(0o666).open(&temporary);
    let created = match create() {
        // Left by one that was killed.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(&temporary).and_then(|()| create())
        }
        created => created,
    };
    let written = created
        .and_then(|mut file| file.write_all(pid.to_string().as_bytes()))
        .and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&temporary);
        explain(error)
    })
}
