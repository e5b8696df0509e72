//! features: what this build can do, whatever the host can (features.md, features-linux.md).
//!
//! Lists come from the tables the planner looks names up in. Whether a property is supported at all is asked of the
//! planner itself, with a small config and a host that has everything: nothing here can promise what it would refuse.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::host::HostFacts;
use crate::plan::{self, HookKind, Kind, Request};
use crate::seccomp::{ACTIONS, ARCHITECTURES, FLAGS, OPERATORS};
use crate::spec::Spec;
use crate::state::OCI_VERSION;
use crate::systemd;
use crate::verb::create::PIDFD_RECEIVER;

/// The oldest version of runtime-spec that is understood: every 1.x config is one of the newest version.
const OCI_VERSION_MIN: &str = "1.0.0";

/// The features document.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Features {
    /// Oldest spec version a config may name.
    pub oci_version_min: &'static str,
    /// Newest spec version a config may name.
    pub oci_version_max: &'static str,
    /// Kinds of hooks.
    pub hooks: Vec<&'static str>,
    /// Mount options that are not the filesystem's own.
    pub mount_options: Vec<&'static str>,
    /// Linux.
    pub linux: Linux,
    /// About this runtime.
    pub annotations: BTreeMap<&'static str, String>,
    /// Annotations that change what the runtime does to the host: none is looked at.
    pub potentially_unsafe_config_annotations: Vec<&'static str>,
}

/// `linux` of the features document.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Linux {
    pub namespaces: Vec<&'static str>,
    pub capabilities: Vec<String>,
    pub cgroup: Cgroup,
    pub seccomp: Seccomp,
    pub apparmor: Enabled,
    pub selinux: Enabled,
    pub intel_rdt: IntelRdt,
    pub memory_policy: MemoryPolicy,
    pub mount_extensions: MountExtensions,
    pub net_devices: Enabled,
}

/// Control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Cgroup {
    pub v1: bool,
    pub v2: bool,
    pub systemd: bool,
    pub systemd_user: bool,
    pub rdma: bool,
}

/// System call filters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Seccomp {
    pub enabled: bool,
    pub actions: Vec<&'static str>,
    pub operators: Vec<&'static str>,
    pub archs: Vec<&'static str>,
    pub known_flags: Vec<&'static str>,
    pub supported_flags: Vec<&'static str>,
}

/// Something that is there as a whole or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Enabled {
    /// It is.
    pub enabled: bool,
}

/// Cache and bandwidth allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct IntelRdt {
    pub enabled: bool,
    pub schemata: bool,
    pub monitoring: bool,
}

/// NUMA memory policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct MemoryPolicy {
    pub modes: Vec<&'static str>,
    pub flags: Vec<&'static str>,
}

/// Mounts beyond mount(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MountExtensions {
    /// `uidMappings` and `gidMappings` of a mount.
    pub idmap: Enabled,
}

/// The document. Nothing of the host is looked at.
pub fn features() -> Features {
    let annotations = BTreeMap::from([
        ("org.opencontainers.runc.checkpoint.enabled", "false".to_owned()),
        ("runtime.version", env!("CARGO_PKG_VERSION").to_owned()),
    ]);
    Features {
        oci_version_min: OCI_VERSION_MIN,
        oci_version_max: OCI_VERSION,
        hooks: HookKind::ALL.iter().map(|kind| kind.name()).collect(),
        mount_options: sorted(plan::mount_options()),
        linux: linux(),
        annotations,
        potentially_unsafe_config_annotations: vec![systemd::ANNOTATION, plan::KEEP_GROUPS, PIDFD_RECEIVER],
    }
}

fn linux() -> Linux {
    let linux = |name: &str, value: Value| is_planned(&json!({ "linux": { name: value } }));
    let rdt = |member: &str, value: Value| linux("intelRdt", json!({ "closID": "x", member: value }));
    let process = |name: &str, value: &str| is_planned(&json!({ "process": { name: value } }));
    let (modes, flags) = plan::memory_policies();
    Linux {
        namespaces: sorted(Kind::ALL.iter().map(|(_, name)| *name)),
        capabilities: plan::capabilities(),
        cgroup: Cgroup {
            v1: true,
            v2: true,
            systemd: true,
            systemd_user: true,
            rdma: linux("resources", json!({ "rdma": { "mlx5_0": { "hcaHandles": 1 } } })),
        },
        seccomp: Seccomp {
            enabled: true,
            actions: ACTIONS.iter().copied().filter(|action| linux("seccomp", profile(action))).collect(),
            operators: OPERATORS.to_vec(),
            archs: sorted(ARCHITECTURES.iter().copied()),
            known_flags: FLAGS.to_vec(),
            supported_flags: FLAGS.to_vec(),
        },
        apparmor: Enabled { enabled: process("apparmorProfile", "x") },
        selinux: Enabled { enabled: process("selinuxLabel", "x") && linux("mountLabel", json!("x")) },
        intel_rdt: IntelRdt {
            enabled: linux("intelRdt", json!({ "closID": "x" })),
            schemata: rdt("schemata", json!(["L3:0=f"])),
            monitoring: rdt("enableMonitoring", json!(true)),
        },
        memory_policy: MemoryPolicy { modes, flags },
        mount_extensions: MountExtensions { idmap: Enabled { enabled: is_planned(&idmapped()) } },
        net_devices: Enabled { enabled: linux("netDevices", json!({ "eth0": {} })) },
    }
}

fn profile(action: &str) -> Value {
    let call = json!({ "names": ["getcwd"], "action": action });
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x", "syscalls": [call] })
}

fn idmapped() -> Value {
    let map = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
    let mount = json!({ "destination": "/x", "source": "/x", "options": ["bind", "idmap"],
        "uidMappings": map, "gidMappings": map });
    json!({ "mounts": [mount] })
}

fn sorted(names: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names
}

/// Whether planning knows what to do with the properties of `config`, on a host that has everything. What else is
/// wrong with so small a config does not matter.
fn is_planned(config: &Value) -> bool {
    let facts = HostFacts {
        euid: 0,
        egid: None,
        capabilities: u64::MAX,
        user_namespace: false,
        owns_mounts: true,
        groups_are_fixed: false,
        kcore: true,
        apparmor: true,
        selinux: true,
        cgroup: crate::cgroup::Layout::default(),
        kernel_filesystems: Vec::new(),
        manager: None,
    };
    // By way of text: a second deserializer of all of it would be a tenth of the program.
    let Ok(spec) = serde_json::from_slice::<Spec>(config.to_string().as_bytes()) else { return false };
    let problems = plan::plan(&spec, &facts, &Request::default()).err().unwrap_or_default();
    !problems.iter().any(|problem| problem.message.contains(plan::NOT_SUPPORTED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_is_planned_and_what_is_not_is_refused() {
        let features = features();
        for action in ACTIONS {
            let listed = features.linux.seccomp.actions.contains(action);
            assert_eq!(is_planned(&json!({ "linux": { "seccomp": profile(action) } })), listed, "{action}");
        }
        for option in &features.mount_options {
            let mount = json!({ "destination": "/x", "source": "/x", "type": "tmpfs", "options": [option] });
            assert!(is_planned(&json!({ "mounts": [mount] })), "{option}");
        }
        assert!(!is_planned(&json!({ "linux": { "seccomp": 1 } })));
    }

    #[test]
    fn the_document_is_that_of_the_spec() {
        let features = features();
        assert_eq!(features.hooks.len(), 6);
        assert_eq!(features.linux.namespaces, ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"]);
        assert!(features.mount_options.contains(&"rro") && features.mount_options.contains(&"rshared"));
        assert_eq!(features.linux.capabilities.len(), 41);
        assert_eq!(features.linux.capabilities.first().map(String::as_str), Some("CAP_CHOWN"));
        let document = serde_json::to_value(&features).unwrap();
        let known = ["ociVersionMin", "ociVersionMax", "hooks", "mountOptions", "linux", "annotations"];
        for name in document.as_object().unwrap().keys() {
            assert!(known.contains(&name.as_str()) || name == "potentiallyUnsafeConfigAnnotations", "{name}");
        }
        assert!(document.pointer("/linux/cgroup/systemdUser").is_some_and(Value::is_boolean));
        assert!(document.pointer("/linux/mountExtensions/idmap/enabled").is_some_and(Value::is_boolean));
    }
}
