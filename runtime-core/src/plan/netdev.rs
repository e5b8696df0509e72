//! `linux.netDevices`: devices of the host that move into the container's network namespace.

use runtime_stage::fail::Step;
use serde::Serialize;

use super::{Context, Kind, Namespaces};
use crate::spec::escape;

/// A network device that moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NetDevice {
    /// Its name on the host.
    pub host: String,
    /// Its name in the container; the kernel puts a number in place of "%d".
    pub name: String,
}

impl NetDevice {
    /// The kernel chooses the name.
    pub fn is_template(&self) -> bool {
        self.name.contains('%')
    }

    /// The JSON pointer it comes from.
    pub(crate) fn pointer(&self) -> String {
        format!("/linux/netDevices/{}", escape(&self.host))
    }
}

/// IFNAMSIZ, without the NUL.
const LONGEST: usize = 15;

pub(super) fn plan(cx: &mut Context<'_>, namespaces: &Namespaces) -> Vec<NetDevice> {
    const AT: &str = "/linux/netDevices";
    let Some(map) = cx.spec.linux.as_ref().and_then(|linux| linux.net_devices.as_ref()).filter(|map| !map.is_empty())
    else {
        return Vec::new();
    };
    if !namespaces.is_private(Kind::Network) {
        cx.problem(AT, "unable to move network devices without a NET namespace");
    }
    if !cx.facts.privileged() {
        cx.problem(AT, "network devices are not supported for rootless containers");
    }
    let mut devices: Vec<NetDevice> = Vec::new();
    for (host, device) in map {
        let name = device.name.as_deref().filter(|name| !name.is_empty()).unwrap_or(host);
        let device = NetDevice { host: host.clone(), name: name.to_owned() };
        let at = device.pointer();
        if !valid(host) || host.contains('%') {
            cx.problem(at.as_str(), format!("invalid network device name {host:?}"));
        }
        let template = name == host || name.matches('%').count() == usize::from(name.contains("%d"));
        if !valid(name) || !template {
            cx.problem(format!("{at}/name"), format!("invalid network device name {name:?}"));
        }
        if !device.is_template() && devices.iter().any(|known| known.name == device.name) {
            cx.problem(format!("{at}/name"), format!("two network devices would be called {name:?}"));
        }
        cx.origins.note(Step::NetDevices, devices.len(), at, format!("move the network device {host} in as {name}"));
        devices.push(device);
    }
    devices
}

/// What the kernel takes (dev_valid_name in net/core/dev.c).
fn valid(name: &str) -> bool {
    let odd = |c: char| c == '/' || c == ':' || c == '\0' || c.is_whitespace();
    !name.is_empty() && name.len() <= LONGEST && !matches!(name, "." | "..") && !name.contains(odd)
}

#[cfg(test)]
mod tests {
    use super::valid;

    #[test]
    fn names() {
        for name in ["eth0", "eth%d", "a", "0123456789abcde", "x.100", "ä"] {
            assert!(valid(name), "{name:?}");
        }
        for name in ["", ".", "..", "0123456789abcdef", "a/b", "a:b", "a b", "a\tb", "a\0"] {
            assert!(!valid(name), "{name:?}");
        }
    }
}
