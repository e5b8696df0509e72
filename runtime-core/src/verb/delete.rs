//! delete: from whatever is there, also half of it, to nothing.
//!
//! Order: processes, cgroup, root, state directory. Each step can be repeated and finds what the one before left, so
//! a delete that dies is finished by the next. Nothing here writes a file: a full disk is no obstacle.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::hook::poststop;
use super::kill::{kill_cgroup, send, take_back, thaw};
use crate::cgroup::Cgroup;
use crate::launch::hook::kill_tree;
use crate::state::{Dir, Init, Record, Root, Status, not_found};
use crate::sys::pidfd;
use crate::systemd::Manager;
use crate::{Container, Error, ErrorKind, Level, Log, Result, Runtime, id};

/// How long processes have to die and their cgroup to vanish, together.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a delete by force lets another verb finish.
const COURTESY: Duration = Duration::from_secs(1);

/// How long a process that dies with its creator may still be seen in the cgroup.
const DYING: Duration = Duration::from_secs(2);

/// Deletes `id` below the runtime's root; see [`Runtime::delete`].
pub(crate) fn delete(runtime: &Runtime, id: &str, force: bool) -> Result<()> {
    id::check(id)?;
    match Root::open(runtime.root()) {
        Err(error) if error.kind() == ErrorKind::NotFound => absent(force),
        root => delete_from(Arc::new(root?), id, None, force, runtime.options.log.as_ref()),
    }
}

/// Deletes the container of this handle, but not another one that has taken its id since.
pub(crate) fn delete_container(container: &Container, force: bool) -> Result<()> {
    let record = &container.record;
    delete_from(container.root.clone(), &record.id, Some(container), force, container.log.as_ref())
}

/// What is not there is not there: for `force`, that is all that was asked.
fn absent(force: bool) -> Result<()> {
    if force { Ok(()) } else { Err(not_found()) }
}

/// `known`: the handle of the one that is meant.
fn delete_from(root: Arc<Root>, id: &str, known: Option<&Container>, force: bool, log: Option<&Log>) -> Result<()> {
    let created = known.map(|known| known.record.created.as_str());
    let locked = Dir::open_at(root, id).and_then(|mut dir| lock(&mut dir, created, force).map(|()| dir));
    let dir = match locked {
        Err(error) if error.kind() == ErrorKind::NotFound => return absent(force),
        dir => dir?,
    };
    let record = match dir.read() {
        Ok(Some(record)) if created.is_some_and(|created| created != record.created) => return absent(force),
        Ok(Some(record)) => record,
        // A create died before it had made anything else.
        Ok(None) => {
            dir.remove_unrecorded()?;
            return absent(force);
        }
        Err(error) if force && error.kind() == ErrorKind::BadState => salvage(&dir, &error, log),
        Err(error) if error.hint().is_none() => return Err(error.with_hint("delete --force removes the container")),
        Err(error) => return Err(error),
    };
    let boot_id = dir.root().boot_id()?;
    let init = match known {
        Some(known) if known.is_known_to_have_ended() => Init::Gone,
        _ => record.init(dir.root())?,
    };
    permit(&dir, &record, &init, force)?;
    let deadline = Instant::now() + PATIENCE;
    if !record.no_hooks {
        kill_hook(&dir, force);
    }
    kill_init(&record, &init, deadline)?;
    remove_cgroup(&record, boot_id, deadline)?;
    remove_rdt(&record, boot_id)?;
    stop_unit(&record, boot_id)?;
    remove_root(&record, boot_id)?;
    dir.remove()?;
    // From here on the id is free, and nobody waits for the hooks but the caller.
    dir.let_go();
    poststop(&record, log, force);
    Ok(())
}

/// What can be read of a broken record. If that is nothing, there is nothing either by which what belongs to the container
/// could be found.
fn salvage(dir: &Dir, error: &Error, log: Option<&Log>) -> Record {
    let record = dir.salvage();
    if record.init_process_pid == 0
        && record.cgroup.is_none()
        && let Some(log) = log
    {
        let message = format!("{error}; if processes or cgroups of container {} are left, they stay", dir.id());
        log(Level::Warning, &message);
    }
    record
}

/// Takes the lock. By force: whoever holds it for long, because of a hook or otherwise, loses what he works on.
fn lock(dir: &mut Dir, created: Option<&str>, force: bool) -> Result<()> {
    if !force {
        return dir.lock();
    }
    match dir.lock_within(COURTESY) {
        Err(error) if error.kind() == ErrorKind::Busy => {}
        result => return result,
    }
    kill_hook(dir, true);
    if let Ok(Some(record)) = dir.read()
        && created.is_none_or(|created| created == record.created)
    {
        if let Ok(Init::Alive(init)) = record.init(dir.root()) {
            let _ = send(init.as_fd(), libc::SIGKILL);
        }
        let _ = kill_cgroup(&record, dir.root().boot_id()?, Duration::ZERO);
        thaw(&record);
    }
    dir.lock()
}

/// Kills a hook whose runner has died, and by force any.
fn kill_hook(dir: &Dir, force: bool) {
    if let Some((pid, unlocked)) = dir.noted_hook()
        && (force || !unlocked)
    {
        kill_tree(pid);
    }
}

/// A group of an earlier boot is somebody else's.
fn remove_rdt(record: &Record, boot_id: &str) -> Result<()> {
    if record.boot_id == boot_id { crate::rdt::remove(&record.rdt) } else { Ok(()) }
}

/// A mount does not outlive the boot.
fn remove_root(record: &Record, boot_id: &str) -> Result<()> {
    match &record.root_mount {
        Some(mount) if record.boot_id == boot_id => mount.remove(),
        _ => Ok(()),
    }
}

/// Without force, only a container that has ended or never started.
fn permit(dir: &Dir, record: &Record, init: &Init, force: bool) -> Result<()> {
    // What is gone needs no closer look.
    if force || matches!(init, Init::Gone) {
        return Ok(());
    }
    match Status::locked(dir.root(), record)? {
        Status::Stopped | Status::Created => Ok(()),
        status => {
            let message = format!("cannot delete container {} that is not stopped: {status}", dir.id());
            Err(Error::new(ErrorKind::WrongState, message))
        }
    }
}

/// Kills the first process and sees it end. It stays a zombie if its parent does not reap it; that is enough.
fn kill_init(record: &Record, init: &Init, deadline: Instant) -> Result<()> {
    let Init::Alive(init) = init else { return Ok(()) };
    send(init.as_fd(), libc::SIGKILL)?;
    thaw(record);
    let wait = |until: Instant| {
        pidfd::wait_end(init.as_fd(), until).map_err(|e| Error::io("wait for the container's end", "poll(pidfd)", e))
    };
    if wait(deadline.min(Instant::now() + COURTESY))? {
        return Ok(());
    }
    take_back(record);
    if wait(deadline)? {
        return Ok(());
    }
    let hint = format!("process {} does not die of SIGKILL; delete again later", record.init_process_pid);
    Err(Error::new(ErrorKind::Busy, "container init still running").with_hint(hint))
}

/// The unit that systemd has made for it. It is empty by now, and systemd forgets an empty one by itself unless it
/// failed; so a systemd that cannot be reached is no reason to keep the container.
fn stop_unit(record: &Record, boot_id: &str) -> Result<()> {
    let Some(unit) = record.unit.as_ref().filter(|_| record.own_cgroup(boot_id).is_some()) else { return Ok(()) };
    match Manager::connect(unit.user) {
        Ok(mut manager) => manager.stop(unit),
        Err(_) => Ok(()),
    }
}

/// Kills who is left, in a pid namespace that is shared, and removes the cgroup. Of one that was only planned, what
/// is empty goes, and nobody is killed.
fn remove_cgroup(record: &Record, boot_id: &str, deadline: Instant) -> Result<()> {
    if let Some(placement) = record.planned_cgroup(boot_id) {
        return Cgroup::open(placement)?.remove_empty(DYING);
    }
    let Some(placement) = record.own_cgroup(boot_id) else { return Ok(()) };
    if Cgroup::remove_if_idle(placement)? {
        return Ok(());
    }
    kill_cgroup(record, boot_id, Duration::ZERO)?;
    let cgroup = Cgroup::open(placement)?;
    cgroup.remove(deadline.saturating_duration_since(Instant::now())).map_err(|error| match cgroup.pids() {
        Ok(pids) if !pids.is_empty() => error.with_hint(format!("processes that do not die: {pids:?}")),
        _ => error,
    })
}
