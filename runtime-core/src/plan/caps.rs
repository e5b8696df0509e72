//! `process.capabilities`: names to bit sets.

use std::str::FromStr;

use caps::Capability;
use runtime_stage::fail::Step;
use serde::{Serialize, Serializer};

use super::{Context, Kind, Namespaces};

/// By number. Not `caps::all()`: its hash set asks the kernel for random numbers, and panics without them.
const ALL: [Capability; 41] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_DAC_READ_SEARCH,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_KILL,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
    Capability::CAP_SETPCAP,
    Capability::CAP_LINUX_IMMUTABLE,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_NET_BROADCAST,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
    Capability::CAP_IPC_LOCK,
    Capability::CAP_IPC_OWNER,
    Capability::CAP_SYS_MODULE,
    Capability::CAP_SYS_RAWIO,
    Capability::CAP_SYS_CHROOT,
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_SYS_PACCT,
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_SYS_BOOT,
    Capability::CAP_SYS_NICE,
    Capability::CAP_SYS_RESOURCE,
    Capability::CAP_SYS_TIME,
    Capability::CAP_SYS_TTY_CONFIG,
    Capability::CAP_MKNOD,
    Capability::CAP_LEASE,
    Capability::CAP_AUDIT_WRITE,
    Capability::CAP_AUDIT_CONTROL,
    Capability::CAP_SETFCAP,
    Capability::CAP_MAC_OVERRIDE,
    Capability::CAP_MAC_ADMIN,
    Capability::CAP_SYSLOG,
    Capability::CAP_WAKE_ALARM,
    Capability::CAP_BLOCK_SUSPEND,
    Capability::CAP_AUDIT_READ,
    Capability::CAP_PERFMON,
    Capability::CAP_BPF,
    Capability::CAP_CHECKPOINT_RESTORE,
];

/// The five sets, as bits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CapabilitySets {
    /// Kept in the bounding set.
    #[serde(serialize_with = "names")]
    pub bounding: u64,
    /// Effective.
    #[serde(serialize_with = "names")]
    pub effective: u64,
    /// Permitted.
    #[serde(serialize_with = "names")]
    pub permitted: u64,
    /// Inheritable.
    #[serde(serialize_with = "names")]
    pub inheritable: u64,
    /// Ambient.
    #[serde(serialize_with = "names")]
    pub ambient: u64,
}

fn names<S: Serializer>(set: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(listed(*set))
}

fn listed(set: u64) -> Vec<String> {
    ALL.iter().filter(|capability| set & capability.bitmask() != 0).map(ToString::to_string).collect()
}

/// Absent: capabilities stay as they are. Present and empty: all are dropped.
pub(super) fn plan<'a>(cx: &mut Context<'a>, namespaces: &Namespaces) -> Option<CapabilitySets> {
    let wanted = cx.spec.process.as_ref()?.capabilities.as_ref()?;
    // A new or joined user namespace gives all of them; else nobody can give what he does not have.
    let grantable = if namespaces.is_private(Kind::User) { u64::MAX } else { cx.facts.capabilities };
    let mut unknown: Vec<&str> = Vec::new();
    let mut refused = 0;
    let mut set = |list: &'a Option<Vec<String>>| {
        let wanted = list.iter().flatten().fold(0, |set, name| match bit(name) {
            Some(bit) => set | bit,
            None => {
                if !unknown.contains(&name.as_str()) {
                    unknown.push(name);
                }
                set
            }
        });
        refused |= wanted & !grantable;
        wanted & grantable
    };
    let mut sets = CapabilitySets {
        bounding: set(&wanted.bounding),
        permitted: set(&wanted.permitted),
        inheritable: set(&wanted.inheritable),
        effective: set(&wanted.effective),
        ambient: set(&wanted.ambient),
    };
    // What the kernel would refuse as a whole: effective needs permitted, ambient needs both others.
    let effective = sets.effective & !sets.permitted;
    let mut ambient = sets.ambient & !(sets.permitted & sets.inheritable);
    sets.effective &= !effective;
    sets.ambient &= !ambient;
    // They add nothing to what root gets at execve (capabilities(7)), and engines ask for them by habit: Buildah with
    // every step of a build. Nobody is told of a loss that is none.
    let user = cx.spec.process.as_ref().and_then(|process| process.user.as_ref());
    if user.and_then(|user| user.uid).unwrap_or(0) == 0 {
        ambient = 0;
    }
    if !unknown.is_empty() {
        cx.warnings.push(format!("ignoring unknown capabilities: {}", unknown.join(", ")));
    }
    for (set, why) in [
        (refused, "the runtime does not have them"),
        (effective, "effective but not permitted"),
        (ambient, "ambient but not both permitted and inheritable"),
    ] {
        if set != 0 {
            cx.warnings.push(format!("capabilities not granted, {why}: {}", listed(set).join(", ")));
        }
    }
    cx.origins.note(Step::Capabilities, 0, "/process/capabilities", "set the capabilities");
    Some(sets)
}

/// The name of every capability there is, by number.
pub(crate) fn known() -> Vec<String> {
    ALL.iter().map(ToString::to_string).collect()
}

fn bit(name: &str) -> Option<u64> {
    Capability::from_str(name).ok().map(|capability| capability.bitmask())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_is_known_by_its_number() {
        assert_eq!(ALL.iter().copied().collect::<std::collections::HashSet<_>>(), caps::all());
        assert!(ALL.iter().enumerate().all(|(number, capability)| usize::from(capability.index()) == number));
    }
}
