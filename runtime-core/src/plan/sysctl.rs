//! `linux.sysctl`: kernel parameters, of the container's own namespaces only.

use std::collections::BTreeSet;

use runtime_stage::fail::Step;
use serde::Serialize;

use super::{Context, Kind, Namespaces};
use crate::spec::escape;

/// One kernel parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sysctl {
    /// Its name with dots, as sysctl(8) prints it.
    pub name: String,
    /// Its file, relative to the root of a procfs.
    pub path: String,
    /// What is written.
    pub value: String,
    /// The namespace it belongs to.
    pub kind: Kind,
}

/// What ipc_namespaces(7) lists besides `fs.mqueue`.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// The allow-list: a parameter that belongs to no namespace of the container would change the host.
pub(super) fn plan(cx: &mut Context<'_>, namespaces: &Namespaces) -> Vec<Sysctl> {
    let Some(map) = cx.spec.linux.as_ref().and_then(|linux| linux.sysctl.as_ref()) else { return Vec::new() };
    let mut plan: Vec<Sysctl> = Vec::with_capacity(map.len());
    let mut known = BTreeSet::new();
    for (key, value) in map {
        let pointer = format!("/linux/sysctl/{}", escape(key));
        cx.no_nul(&pointer, value);
        if value.is_empty() {
            cx.problem(pointer.as_str(), "an empty value writes nothing");
        }
        let name = dotted(key);
        let other = cx.spec.domainname.as_deref().filter(|other| !other.is_empty() && other != value);
        if let ("kernel.domainname", Some(other)) = (name.as_str(), other) {
            cx.problem(
                pointer.as_str(),
                format!("sysctl {name:?} conflicts with the OCI \"domainname\" field, which says {other:?}"),
            );
        }
        let kind = match kind(&name, namespaces) {
            Ok(kind) => kind,
            Err(why) => {
                cx.problem(pointer, why);
                continue;
            }
        };
        if !known.insert(name.clone()) {
            cx.problem(pointer.as_str(), format!("duplicate sysctl {name:?}"));
        }
        cx.origins.note(Step::Sysctl, plan.len(), pointer, format!("set the sysctl {name} to {value:?}"));
        plan.push(Sysctl { path: format!("sys/{}", swapped(&name)), name, value: value.clone(), kind });
    }
    plan
}

/// sysctl(8): the first separator says which of '.' and '/' separates; the other one stands for it inside a part.
fn dotted(key: &str) -> String {
    match key.find(['.', '/']) {
        Some(at) if key[at..].starts_with('/') => swapped(key),
        _ => key.to_owned(),
    }
}

fn swapped(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            '.' => '/',
            '/' => '.',
            c => c,
        })
        .collect()
}

/// Which namespace `name` belongs to, or why it may not be set. The words are those engines know from runc.
fn kind(name: &str, namespaces: &Namespaces) -> Result<Kind, String> {
    let odd = |part: &str| {
        let lead_away = matches!(part, "" | "/" | "//");
        lead_away || part.contains(|c: char| c.is_control() || c.is_whitespace() || matches!(c, '+' | '=' | '\\'))
    };
    if name.split('.').any(odd) || name.split('.').count() < 2 {
        return Err(format!("{name:?} is no name of a sysctl: it contains an invalid path"));
    }
    if IPC.contains(&name) || name.starts_with("fs.mqueue.") {
        return private(namespaces, Kind::Ipc)
            .ok_or_else(|| format!("sysctl {name:?} is not allowed in the hosts ipc namespace"));
    }
    if name.starts_with("net.") {
        return private(namespaces, Kind::Network)
            .ok_or_else(|| format!("sysctl {name:?} not allowed in host network namespace"));
    }
    if name.starts_with("user.") {
        return private(namespaces, Kind::User)
            .ok_or_else(|| format!("sysctl {name:?} is not allowed in the hosts user namespace"));
    }
    if name == "kernel.hostname" && namespaces.is_private(Kind::Uts) {
        return Err(format!("sysctl {name:?} is not allowed as it conflicts with the OCI \"hostname\" field"));
    }
    if name == "kernel.domainname"
        && let Some(kind) = private(namespaces, Kind::Uts)
    {
        return Ok(kind);
    }
    Err(format!("sysctl {name:?} is not in a separate kernel namespace"))
}

fn private(namespaces: &Namespaces, kind: Kind) -> Option<Kind> {
    namespaces.is_private(kind).then_some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Namespaces {
        Namespaces { clone: vec![Kind::Ipc, Kind::Network, Kind::Uts, Kind::User], ..Namespaces::default() }
    }

    #[test]
    fn both_ways_of_writing_a_name_are_one() {
        assert_eq!(dotted("net.ipv4.ip_forward"), "net.ipv4.ip_forward");
        assert_eq!(dotted("net/ipv4/ip_forward"), "net.ipv4.ip_forward");
        assert_eq!(dotted("net/ipv4/conf/eno2.100/rp_filter"), "net.ipv4.conf.eno2/100.rp_filter");
        assert_eq!(swapped("net.ipv4.conf.eno2/100.rp_filter"), "net/ipv4/conf/eno2.100/rp_filter");
    }

    #[test]
    fn each_namespace_allows_its_own() {
        for (name, wanted) in [
            ("kernel.sem", Kind::Ipc),
            ("kernel.shm_rmid_forced", Kind::Ipc),
            ("fs.mqueue.msg_max", Kind::Ipc),
            ("net.ipv4.ip_forward", Kind::Network),
            ("net.ipv4.conf.eno2/100.rp_filter", Kind::Network),
            ("user.max_mnt_namespaces", Kind::User),
            ("kernel.domainname", Kind::Uts),
        ] {
            assert_eq!(kind(name, &all()), Ok(wanted), "{name}");
            assert!(kind(name, &Namespaces::default()).is_err(), "{name}");
        }
    }

    #[test]
    fn nothing_leads_out_of_the_namespaces() {
        for key in [
            "kernel.core_pattern",
            "kernel.hostname",
            "kernel.semx",
            "kernel.pid_max",
            "vm.swappiness",
            "fs.mqueue",
            "fs.mqueue.",
            "net",
            "net.",
            "net..kernel",
            "net/../kernel/core_pattern",
            "net/./../kernel/core_pattern",
            "net...kernel.core_pattern",
            "net.//.kernel.core_pattern",
            "net./.kernel",
            "fs.mqueue.x/../../kernel/core_pattern\0",
            "net.ipv4.ip_forward ",
            "net.ipv4.ip_forward\n",
            "net.ipv4.x=1+kernel.core_pattern",
            "",
            "/",
            ".",
            "/net/ipv4/ip_forward",
        ] {
            assert!(kind(&dotted(key), &all()).is_err(), "{key:?}");
        }
    }

    #[test]
    fn a_name_that_passes_stays_below_its_directory() {
        // "/" inside a part is a "." in the file's name: never a directory of its own.
        for key in ["net.ipv4./x", "net.a/.b", "net./../x.y", "net.ipv4.conf.//x"] {
            let name = dotted(key);
            let path = swapped(&name);
            let ok = kind(&name, &all()).is_ok();
            assert!(!ok || path.split('/').all(|part| !matches!(part, "" | "." | "..")), "{key:?} → {path:?}");
        }
    }
}
