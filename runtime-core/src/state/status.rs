//! The status of a container, from the record, the process, the freezer and the files of the start gate.

use std::fmt;
use std::sync::Arc;

use super::{Brief, Dir, FIFO, GATE, Record, Root, STATUS};
use crate::{ErrorKind, Result};

/// Status of a container, derived on every call and never stored (runtime.md, "State").
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Being created.
    Creating,
    /// Set up; the program waits for start.
    Created,
    /// The program runs.
    Running,
    /// Frozen.
    Paused,
    /// The first process is gone.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Status {
    /// As state documents have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }

    /// The status for who holds the lock.
    pub(crate) fn locked(root: &Root, record: &Record) -> Result<Self> {
        Self::of(root, &record.brief())
    }

    /// The status for who holds the lock, or knows that nobody does: no process means that the creator died.
    pub(crate) fn of(root: &Root, record: &Brief<'_>) -> Result<Self> {
        if !record.is_alive(root)? {
            return Ok(Self::Stopped);
        }
        if root.is_frozen(record) {
            return Ok(Self::Paused);
        }
        let has = |name| root.has(&record.id, name);
        if record.inline_gate || !has(STATUS)? {
            return Ok(Self::Running);
        }
        if has(FIFO)? {
            return Ok(Self::Created);
        }
        if has(GATE)? {
            return Ok(Self::Creating);
        }
        // create has renamed the second to the first between the looks, or start removed it.
        Ok(if has(FIFO)? { Self::Created } else { Self::Running })
    }
}

/// Whether someone holds the lock of `id`.
pub(crate) fn is_held(root: &Arc<Root>, id: &str) -> Result<bool> {
    match Dir::open_at(root.clone(), id) {
        Ok(dir) => dir.is_held(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
