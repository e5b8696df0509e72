//! Session and keyring.

use crate::fail::{Result, Step};
use crate::io::Io;
use crate::label;
use crate::sys::{self, errno};
use crate::wire::Plan;

/// A session of its own (no controlling terminal, so no TIOCSTI into the caller's), and a session keyring of its
/// own, named so that a later exec finds it.
pub fn new(plan: &Plan<'_>, io: &Io) -> Result<()> {
    io.enter(Step::Session, 0);
    sys::setsid()?;
    let name = plan.text(plan.header.keyring)?;
    if name.is_empty() {
        return Ok(());
    }
    io.enter(Step::Keyring, 0);
    match label::for_keys(plan, io, || sys::join_session_keyring(name)) {
        // One that was there already has its permissions.
        Ok(_) if plan.header.keyring_permissions == 0 => Ok(()),
        Ok(keyring) => sys::set_key_permissions(keyring, plan.header.keyring_permissions),
        // A kernel without keyrings has nothing to leak.
        Err(fail) if fail.is(errno::ENOSYS) => Ok(()),
        Err(fail) => Err(fail),
    }
}
