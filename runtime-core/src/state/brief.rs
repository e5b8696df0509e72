//! The part of a record that tells the state of a container. `list` reads it of each, so what it holds is borrowed
//! from the record's text, or from a whole record.

use std::borrow::Cow;

use super::{Record, VERSION};
use crate::cgroup::Placement;
use crate::spec::Map;

/// Members of [`Record`], called as there.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Brief<'a> {
    version: u32,
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    #[serde(borrow)]
    pub bundle: Cow<'a, str>,
    #[serde(borrow)]
    pub rootfs: Cow<'a, str>,
    #[serde(borrow)]
    pub created: Cow<'a, str>,
    #[serde(borrow)]
    pub boot_id: Cow<'a, str>,
    pub init_process_pid: i32,
    pub init_process_start: u64,
    pub init_process_inode: u64,
    pub owner: u32,
    pub cgroup: Option<Cow<'a, Placement>>,
    pub inline_gate: bool,
    pub annotations: Cow<'a, Map<String>>,
}

impl<'a> Brief<'a> {
    /// Reads it from the text of the container's record. `None`: that is not a record of this version, or of another
    /// container.
    pub(super) fn parse(text: &'a [u8], id: &str) -> Option<Self> {
        // As text, for then no part of it has to be looked at for being text.
        let brief: Self = serde_json::from_str(std::str::from_utf8(text).ok()?).ok()?;
        (brief.version == VERSION && brief.id == id).then_some(brief)
    }
}

impl Record {
    /// The part that tells the state.
    pub(crate) fn brief(&self) -> Brief<'_> {
        Brief {
            version: self.version,
            id: self.id.as_str().into(),
            bundle: self.bundle.as_str().into(),
            rootfs: self.rootfs.as_str().into(),
            created: self.created.as_str().into(),
            boot_id: self.boot_id.as_str().into(),
            init_process_pid: self.init_process_pid,
            init_process_start: self.init_process_start,
            init_process_inode: self.init_process_inode,
            owner: self.owner,
            cgroup: self.cgroup.as_ref().map(Cow::Borrowed),
            inline_gate: self.inline_gate,
            annotations: Cow::Borrowed(&self.annotations),
        }
    }
}
