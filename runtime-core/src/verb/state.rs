//! state and list: what there is, without changing anything. Both are called often, so each system call counts.

use std::sync::Arc;
use std::time::Duration;

use crate::state::{self, Dir, Owners, Record, Root, State, Status, not_found};
use crate::{Container, Error, ErrorKind, Result, Runtime, id};

/// How long `list` takes an empty, unlocked directory for one whose creator has not come to lock it yet.
const BIRTH: Duration = Duration::from_secs(1);

/// The container `id`. One that is only half made, without a record, does not exist.
pub(crate) fn load(runtime: &Runtime, id: &str) -> Result<Container> {
    id::check(id)?;
    let root = match Root::open(runtime.root()) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(not_found()),
        root => Arc::new(root?),
    };
    let record = root.read(id)?;
    Ok(Container::new(root, record).logging(runtime))
}

/// Every container, sorted by id. No state directory means no containers.
pub(crate) fn list(runtime: &Runtime) -> Result<Vec<Result<Container>>> {
    let root = match Root::open(runtime.root()) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        root => Arc::new(root?),
    };
    let ids = root.ids()?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let owners = Owners::read();
    Ok(ids.iter().filter_map(|id| entry(runtime, &root, id, &owners).transpose()).collect())
}

/// One entry of the list; `None`: it has vanished, or is not there yet.
fn entry(runtime: &Runtime, root: &Arc<Root>, id: &str, owners: &Owners) -> Result<Option<Container>> {
    let name = |error: Error| Error::new(error.kind(), format!("load container {id}: {error}"));
    id::check(id).map_err(name)?;
    let found = match root.read(id) {
        Err(error) if error.kind() == ErrorKind::NotFound => unfinished(root, id),
        record => record.map(Some),
    };
    let Some(record) = found.map_err(name)? else { return Ok(None) };
    let mut container = Container::new(root.clone(), record).logging(runtime);
    container.owner = owners.name(container.record.owner);
    Ok(Some(container))
}

/// Looks again at an entry that had no record: a verb may be at work on it.
fn unfinished(root: &Arc<Root>, id: &str) -> Result<Option<Record>> {
    let mut dir = match Dir::open_at(root.clone(), id) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        dir => dir?,
    };
    if dir.is_held()? {
        return Ok(None);
    }
    if let Some(record) = dir.read()? {
        return Ok(Some(record));
    }
    // A delete has come to its end, or a create is between making the directory and locking it.
    if !dir.is_current()? || dir.age()? < BIRTH {
        return Ok(None);
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
    let status = Status::of(root, record)?;
    if status == Status::Stopped && !root.has(&record.id, ".")? {
        return Err(not_found());
    }
    Ok(State {
        oci_version: state::OCI_VERSION,
        id: record.id.clone(),
        pid: Some(record.init_process_pid).filter(|&pid| pid != 0 && status != Status::Stopped),
        status,
        bundle: record.bundle.clone(),
        rootfs: record.rootfs.clone(),
        created: record.created.clone(),
        annotations: record.annotations.clone(),
        owner: container.owner.clone(),
    })
}
