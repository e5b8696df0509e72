//! Security labels: what the program becomes with execve(2), and who owns the session keyring.

use crate::fail::{Result, Step};
use crate::io::Io;
use crate::proc;
use crate::sys::errno;
use crate::wire::{Plan, Z};

/// Tells AppArmor and SELinux what execve(2) changes to. Nothing changes yet: what is left of the set-up still
/// runs with the runtime's label.
pub fn on_exec(plan: &Plan<'_>, io: &Io) -> Result<()> {
    const EXEC: Z<'static> = Z::new(b"self/attr/exec\0");
    let profile = plan.text(plan.header.apparmor)?;
    if !profile.is_empty() {
        io.enter(Step::Label, 0);
        match proc::write(plan, io, Z::new(b"self/attr/apparmor/exec\0"), profile.bytes()) {
            // Before kernel 5.8 there is one file for whichever module is the main one.
            Err(fail) if fail.is(errno::ENOENT) => proc::write(plan, io, EXEC, profile.bytes())?,
            result => result?,
        }
    }
    let label = plan.text(plan.header.selinux)?;
    if !label.is_empty() {
        io.enter(Step::Label, 1);
        proc::write(plan, io, EXEC, label.bytes())?;
    }
    Ok(())
}

/// Does `make` with new keys labelled as the program will be, so that the program may use its keyring.
pub fn for_keys<T>(plan: &Plan<'_>, io: &Io, make: impl FnOnce() -> Result<T>) -> Result<T> {
    const KEYCREATE: Z<'static> = Z::new(b"self/attr/keycreate\0");
    let label = plan.text(plan.header.selinux)?;
    if label.is_empty() {
        return make();
    }
    io.enter(Step::Label, 2);
    proc::write(plan, io, KEYCREATE, label.bytes())?;
    io.enter(Step::Keyring, 0);
    let made = make()?;
    io.enter(Step::Label, 3);
    // A NUL alone says "no label".
    proc::write(plan, io, KEYCREATE, b"\0")?;
    Ok(made)
}
