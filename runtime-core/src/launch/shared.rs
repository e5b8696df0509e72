//! Joined namespaces that turn out to be the caller's own: what must not be changed there.

use std::os::fd::AsFd;

use nix::sys::stat::{FileStat, fstat, stat};

use crate::plan::{Kind, Plan};
use crate::{Error, ErrorKind, Result};

/// Refuses what a config may only ask for in a namespace of the container's own, once `opened`, the namespace of
/// `kind` it joins, can be compared with ours. A path alone does not tell.
pub(super) fn check(plan: &Plan, kind: Kind, path: &str, opened: impl AsFd) -> Result<()> {
    let sysctl = plan.sysctls.iter().find(|sysctl| sysctl.kind == kind);
    let own_matters = sysctl.is_some()
        || matches!(kind, Kind::Mount | Kind::User)
        || (kind == Kind::Network && !plan.net_devices.is_empty());
    if !own_matters || !is_own(kind, opened) {
        return Ok(());
    }
    let invalid = |message: String| Error::new(ErrorKind::InvalidConfig, message);
    if let Some(sysctl) = sysctl {
        let pointer = format!("/linux/sysctl/{}", crate::spec::escape(&sysctl.name));
        let host = if kind == Kind::Network { "in host network namespace" } else { "in the host's namespace" };
        return Err(invalid(format!("sysctl {:?} not allowed {host}", sysctl.name)).at(pointer));
    }
    match kind {
        Kind::Mount => Err(invalid(format!("{path} is the runtime's own mount namespace"))
            .with_hint("the container's root would take the place of the host's; leave the path out")),
        Kind::User => Err(invalid(format!("{path} is the runtime's own user namespace"))
            .with_hint("leave the user namespace out: it is inherited")),
        _ => Err(invalid("network devices cannot be moved into the network namespace they are in".to_owned())
            .at("/linux/netDevices")),
    }
}

/// The calling thread's own, which need not be that of the whole process. What cannot be looked at is not ours.
fn is_own(kind: Kind, opened: impl AsFd) -> bool {
    let identity = |file: FileStat| (file.st_dev, file.st_ino);
    let own = format!("/proc/thread-self/ns/{}", kind.file());
    match (stat(own.as_str()), fstat(opened)) {
        (Ok(own), Ok(opened)) => identity(own) == identity(opened),
        _ => false,
    }
}
