//! update: new limits for a container that runs.

use crate::cgroup::{Cgroup, Write, difference, merge, writes};
use crate::spec::Resources;
use crate::state::{Dir, Record, Status};
use crate::systemd::{self, Manager};
use crate::{Container, Error, ErrorKind, Level, Result};

/// Puts `request` in force, over what is on record; all of it or nothing.
pub(crate) fn update(container: &Container, request: &Resources) -> Result<()> {
    let mut dir = Dir::open_at(container.root.clone(), container.id())?;
    dir.lock()?;
    let mut record = container.root.read(container.id())?;
    if Status::locked(&container.root, &record)? == Status::Stopped {
        return Err(Error::new(ErrorKind::WrongState, "container not running"));
    }
    let Some(placement) = record.own_cgroup(container.root.boot_id()?).cloned() else {
        return Err(Error::new(ErrorKind::Unsupported, "the container has no cgroup, so it can have no limits"));
    };
    let old = resources(&record)?;
    let new = merge(&old, request);
    let refused = |problems| Error::problems("the new limits", problems);
    let wanted = writes(&placement, &new).map_err(refused)?;
    // What is on record was valid once; if a host has changed since, everything counts as new.
    let known = writes(&placement, &old).unwrap_or_default();
    let asked = serde_json::to_value(request).unwrap_or_default();
    let changes = difference(&known, wanted, |write| is_named(&asked, write));
    if asks_for_both(request) {
        let message = "unable to apply both cpu.idle and a CPU weight: an idle group has a fixed one";
        container.launcher.log(Level::Warning, message);
    }
    let cgroup = Cgroup::open(&placement)?;
    cgroup.check(&changes)?;
    // systemd first: what it knows it writes itself, and again at every reload.
    let mut manager = None;
    if let Some(unit) = &record.unit {
        let manager = manager.insert(Manager::connect(unit.user)?);
        manager.set(unit, &systemd::limits(placement.mode, &new))?;
    }
    let undo = cgroup.change(&changes).map_err(|error| match (&record.unit, &mut manager) {
        (Some(unit), Some(manager)) => match manager.set(unit, &systemd::limits(placement.mode, &old)) {
            Ok(()) => error,
            Err(second) => error.with_hint(second.to_string()),
        },
        _ => error,
    })?;
    record.resources = Some(new);
    dir.write(&record).map_err(|error| match cgroup.change(&undo) {
        Ok(_) => error,
        Err(second) => error.with_hint(format!("the new limits are in force all the same: {second}")),
    })
}

/// True if a weight is asked for that an idle group does not take.
fn asks_for_both(request: &Resources) -> bool {
    let cpu = request.cpu.as_ref();
    let files = request.unified.as_ref();
    cpu.is_some_and(|cpu| cpu.idle == Some(1) && cpu.shares.is_some_and(|shares| shares != 0))
        || files.is_some_and(|files| {
            files.get("cpu.idle").is_some_and(|idle| idle.trim() == "1") && files.contains_key("cpu.weight")
        })
}

/// What is in force, as far as it is on record.
fn resources(record: &Record) -> Result<Resources> {
    if let Some(resources) = &record.resources {
        return Ok(resources.clone());
    }
    #[derive(serde::Deserialize)]
    struct Config {
        linux: Option<Linux>,
    }
    #[derive(serde::Deserialize)]
    struct Linux {
        resources: Option<Resources>,
    }
    let config: Config = serde_json::from_slice(&record.config)
        .map_err(|e| Error::new(ErrorKind::BadState, format!("the recorded config: {e}")))?;
    Ok(config.linux.and_then(|linux| linux.resources).unwrap_or_default())
}

/// True if the request has the member (or the list) that a write comes from.
fn is_named(request: &serde_json::Value, write: &Write) -> bool {
    let path = write.pointer.strip_prefix("/linux/resources").unwrap_or_default();
    let mut at = request;
    for (depth, word) in path.split('/').skip(1).enumerate() {
        let Some(next) = at.get(word) else { return at.is_array() && depth > 0 };
        at = next;
    }
    !at.is_null()
}
