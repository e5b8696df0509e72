//! Host and domain name.

use crate::fail::{Result, Step};
use crate::io::Io;
use crate::sys;
use crate::wire::Plan;

/// Sets both, where the config names them.
pub fn set(plan: &Plan<'_>, io: &Io) -> Result<()> {
    let (host, domain) = (plan.text(plan.header.hostname)?, plan.text(plan.header.domainname)?);
    if !host.is_empty() {
        io.enter(Step::Hostname, 0);
        sys::sethostname(host)?;
    }
    if !domain.is_empty() {
        io.enter(Step::Domainname, 0);
        sys::setdomainname(domain)?;
    }
    Ok(())
}
