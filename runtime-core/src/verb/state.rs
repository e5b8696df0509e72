//! state and list: what there is, without changing anything. Both are called often, so each system call counts.

use std::sync::Arc;
use std::time::Duration;

use crate::state::{self, Brief, Dir, GLANCE, Owners, Root, State, Status, is_held, not_found};
use crate::{Container, Error, ErrorKind, Result, Runtime, id};

/// How long `list` takes an empty, unlocked directory for one whose creator has not come to lock it yet.
const BIRTH: Duration = Duration::from_secs(1);

/// The container `id`. One that is only half made, without a record, does not exist.
pub(crate) fn load(runtime: &Runtime, id: &str) -> Result<Container> {
    let root = root_of(runtime, id)?;
    let record = root.read(id)?;
    Ok(Container::new(root, record).logging(runtime))
}

/// The state of the container `id`, without a handle on it.
pub(crate) fn state_of(runtime: &Runtime, id: &str) -> Result<State> {
    glance(&root_of(runtime, id)?, id, &mut vec![0; GLANCE], |_| String::new())
}

fn root_of(runtime: &Runtime, id: &str) -> Result<Arc<Root>> {
    id::check(id)?;
    match Root::open(runtime.root()) {
        Err(error) if error.kind() == ErrorKind::NotFound => Err(not_found()),
        root => root.map(Arc::new),
    }
}

/// Every container, sorted by id. No state directory means no containers.
pub(crate) fn list(runtime: &Runtime) -> Result<Vec<Result<Container>>> {
    each(runtime, |root, id, owners| {
        let mut container = Container::new(root.clone(), root.read(id)?).logging(runtime);
        container.owner = owners.name(container.record.owner);
        Ok(container)
    })
}

/// The state of every container, sorted by id, without handles on them: those of a thousand take megabytes.
pub(crate) fn states(runtime: &Runtime) -> Result<Vec<Result<State>>> {
    let mut buffer = vec![0; GLANCE];
    each(runtime, |root, id, owners| glance(root, id, &mut buffer, |owner| owners.name(owner)))
}

/// What `make` makes of the id of every container. What it does not find has vanished, or is not there yet.
fn each<T>(
    runtime: &Runtime,
    mut make: impl FnMut(&Arc<Root>, &str, &mut Owners) -> Result<T>,
) -> Result<Vec<Result<T>>> {
    let root = match Root::open(runtime.root()) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        root => Arc::new(root?),
    };
    let ids = root.ids()?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut owners = Owners::read();
    let mut list = Vec::with_capacity(ids.len());
    for id in &ids {
        let mut entry = || {
            id::check(id)?;
            match make(&root, id, &mut owners) {
                Err(error) if error.kind() == ErrorKind::NotFound && has_come(&root, id)? => {
                    make(&root, id, &mut owners)
                }
                made => made,
            }
        };
        match entry() {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => list.push(Err(Error::new(error.kind(), format!("load container {id}: {error}")))),
            made => list.push(made),
        }
    }
    Ok(list)
}

/// Looks again at an entry that had no record: a verb may be at work on it. True: now there is one.
fn has_come(root: &Arc<Root>, id: &str) -> Result<bool> {
    let mut dir = match Dir::open_at(root.clone(), id) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        dir => dir?,
    };
    if dir.is_held()? {
        return Ok(false);
    }
    if dir.read()?.is_some() {
        return Ok(true);
    }
    // A delete has come to its end, or a create is between making the directory and locking it.
    if !dir.is_current()? || dir.age()? < BIRTH {
        return Ok(false);
    }
    Err(Error::new(ErrorKind::BadState, "container does not exist").with_hint("a create died here; delete it"))
}

/// The state document, with the status of this moment.
pub(crate) fn state(container: &Container) -> Result<State> {
    let fresh;
    let (root, mut record) = (&container.root, &container.record);
    if record.init_process_pid == 0 {
        // The handle is from before the process: create may have gone on.
        fresh = root.read(&record.id)?;
        record = &fresh;
    }
    document(root, &record.brief(), container.owner.clone())
}

/// The same without a handle; `owner` names the user of that number.
fn glance(root: &Arc<Root>, id: &str, buffer: &mut [u8], owner: impl FnOnce(u32) -> String) -> Result<State> {
    if let Some(brief) = root.glance(id, buffer) {
        return document(root, &brief, owner(brief.owner));
    }
    let record = root.read(id)?;
    document(root, &record.brief(), owner(record.owner))
}

/// The state document by a record that was read just now.
pub(super) fn document(root: &Arc<Root>, read: &Brief<'_>, owner: String) -> Result<State> {
    let (fresh, later);
    let mut record = read;
    let creating = record.init_process_pid == 0 && is_held(root, &record.id)?;
    if record.init_process_pid == 0 && !creating {
        // Its creator has died, or come to its end since the record was read.
        fresh = root.read(&record.id)?;
        later = fresh.brief();
        record = &later;
    }
    let status = if creating { Status::Creating } else { Status::of(root, record)? };
    if status == Status::Stopped && !root.has(&record.id, ".")? {
        return Err(not_found());
    }
    Ok(State {
        oci_version: state::OCI_VERSION,
        id: record.id.as_ref().to_owned(),
        pid: Some(record.init_process_pid).filter(|&pid| pid != 0 && status != Status::Stopped),
        status,
        bundle: record.bundle.as_ref().to_owned(),
        rootfs: record.rootfs.as_ref().to_owned(),
        created: record.created.as_ref().to_owned(),
        annotations: record.annotations.as_ref().clone(),
        owner,
    })
}
