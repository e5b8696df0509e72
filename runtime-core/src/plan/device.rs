//! Device nodes: the six every container has, the config's own, and the links beside them.

use runtime_stage::fail::Step;
use serde::Serialize;

use super::{Context, InRoot, Kind, MountKind, MountStep, Namespaces, SlotSource, Source};
use crate::spec;

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceNode {
    /// Where.
    pub path: InRoot,
    /// How it comes to be.
    pub source: DeviceSource,
    /// File type and permission bits.
    #[serde(serialize_with = "super::octal")]
    pub mode: u32,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// How a node comes to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DeviceSource {
    /// mknod(2).
    Node,
    /// A node made outside, or the host's, mounted on an empty file: in a user namespace mknod is not allowed.
    Bind(Source),
}

/// One link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LinkNode {
    /// Where.
    pub path: InRoot,
    /// What it says.
    pub target: String,
    /// In place of what the image has there; else that stays.
    pub replace: bool,
}

const TYPE: u32 = 0o170_000;
/// dev_t of the kernel: 12 bits and 20 bits (linux/kdev_t.h).
const MOST_MAJOR: u32 = 0xfff;
const MOST_MINOR: u32 = 0xf_ffff;
const CHARACTER: u32 = 0o020_000;
const BLOCK: u32 = 0o060_000;
const FIFO: u32 = 0o010_000;

/// config-linux.md, "Default Devices"; /dev/console and /dev/ptmx come with the terminal.
const DEFAULTS: [(&str, u32, u32); 6] = [
    ("dev/null", 1, 3),
    ("dev/random", 1, 8),
    ("dev/full", 1, 7),
    ("dev/tty", 5, 0),
    ("dev/zero", 1, 5),
    ("dev/urandom", 1, 9),
];

pub(super) fn plan(
    cx: &mut Context<'_>,
    namespaces: &Namespaces,
    mounts: &[MountStep],
) -> (Vec<DeviceNode>, Vec<LinkNode>) {
    let mut own = own(cx);
    // A bound /dev is somebody else's: nothing is made in it.
    let bound = bound_dev(mounts);
    if bound {
        let dev = InRoot("dev".to_owned());
        for (node, index) in own.iter().filter(|(node, _)| node.path.is_at_or_below(&dev)) {
            let message = format!("/linux/devices/{index}: /{} is not made: /dev is bound", node.path.0);
            cx.warnings.push(message);
        }
        own.retain(|(node, _)| !node.path.is_at_or_below(&dev));
    }
    let own_nodes = own.len();
    let mut nodes: Vec<DeviceNode> = Vec::new();
    for (path, major, minor) in DEFAULTS {
        let path = InRoot(path.to_owned());
        if !bound && !own.iter().any(|(node, _)| node.path == path) {
            nodes.push(DeviceNode {
                path,
                source: DeviceSource::Node,
                mode: CHARACTER | 0o666,
                major,
                minor,
                uid: 0,
                gid: 0,
            });
        }
    }
    for (node, index) in own {
        cx.origins.note(
            Step::Device,
            nodes.len(),
            format!("/linux/devices/{index}"),
            format!("make the device /{}", node.path.0),
        );
        nodes.push(node);
    }
    if namespaces.is_private(Kind::User) || !cx.facts.makes_devices() {
        let first_own = nodes.len() - own_nodes;
        for (index, node) in nodes.iter_mut().enumerate().filter(|(_, node)| node.mode & TYPE != FIFO) {
            let path = format!("/{}", node.path.0);
            let owner = owner(cx, namespaces, node).filter(|_| index >= first_own);
            node.source = DeviceSource::Bind(match owner {
                Some(owner) => {
                    let (mode, number) = (node.mode, (node.major, node.minor));
                    Source::Slot(cx.slot(SlotSource::Node { path, mode, number, owner }))
                }
                None => cx.host(path, false),
            });
        }
    }
    (nodes, if bound { Vec::new() } else { links(cx) })
}

/// Whose a node of the config is on the host, if we can make one there.
fn owner(cx: &Context<'_>, namespaces: &Namespaces, node: &DeviceNode) -> Option<(u32, u32)> {
    let maps = namespaces.maps.as_ref().filter(|_| cx.facts.makes_devices() && cx.facts.owns_mounts)?;
    Some((super::ids::host_id(&maps.uid, node.uid)?, super::ids::host_id(&maps.gid, node.gid)?))
}

fn bound_dev(mounts: &[MountStep]) -> bool {
    mounts.iter().any(|mount| mount.target.0 == "dev" && matches!(mount.kind, MountKind::Bind { .. }))
}

fn links(cx: &Context<'_>) -> Vec<LinkNode> {
    let mut links = vec![
        ("dev/fd", "/proc/self/fd"),
        ("dev/stdin", "/proc/self/fd/0"),
        ("dev/stdout", "/proc/self/fd/1"),
        ("dev/stderr", "/proc/self/fd/2"),
    ];
    if cx.facts.kcore {
        links.push(("dev/core", "/proc/kcore"));
    }
    links.push(("dev/ptmx", "pts/ptmx"));
    links
        .into_iter()
        .map(|(path, target)| LinkNode {
            path: InRoot(path.to_owned()),
            target: target.to_owned(),
            // Whatever it is, it is not the multiplexer of the container's own devpts.
            replace: path == "dev/ptmx",
        })
        .collect()
}

/// The config's devices. /dev/ptmx is always the link to the container's own devpts.
fn own(cx: &mut Context<'_>) -> Vec<(DeviceNode, usize)> {
    let list = cx.spec.linux.as_ref().and_then(|linux| linux.devices.as_deref()).unwrap_or_default();
    let mut nodes = Vec::new();
    for (index, device) in list.iter().enumerate() {
        let Some(node) = one(cx, &format!("/linux/devices/{index}"), device) else { continue };
        if node.path.0 != "dev/ptmx" {
            nodes.push((node, index));
        } else if (node.mode & TYPE, node.major, node.minor) != (CHARACTER, 5, 2) {
            let message = "/dev/ptmx can only be the terminal multiplexer (c 5:2); it is a link to pts/ptmx";
            cx.problem(format!("/linux/devices/{index}"), message);
        }
    }
    nodes
}

fn one(cx: &mut Context<'_>, at: &str, device: &spec::Device) -> Option<DeviceNode> {
    let path = device.path.as_deref().unwrap_or_default();
    cx.no_nul(format_args!("{at}/path"), path);
    if !path.starts_with('/') || InRoot::new(path).0.is_empty() {
        cx.problem(format!("{at}/path"), format!("device path {path:?} is not absolute"));
        return None;
    }
    let kind = match device.typ.as_deref() {
        Some("c" | "u") => CHARACTER,
        Some("b") => BLOCK,
        Some("p") => FIFO,
        other => {
            cx.problem(
                format!("{at}/type"),
                format!("unknown device type {:?}; known: c, b, u, p", other.unwrap_or_default()),
            );
            return None;
        }
    };
    let mut number = |value: Option<i64>, name: &str, most: u32| match value {
        None if kind == FIFO => 0,
        // The kernel would take the lower bits of a larger one: another device.
        Some(value) => u32::try_from(value).ok().filter(|number| *number <= most).unwrap_or_else(|| {
            cx.problem(format!("{at}/{name}"), format!("{value} is no {name} device number; they end at {most}"));
            0
        }),
        None => {
            cx.problem(format!("{at}/{name}"), format!("a device needs a {name} number"));
            0
        }
    };
    let (major, minor) = (number(device.major, "major", MOST_MAJOR), number(device.minor, "minor", MOST_MINOR));
    Some(DeviceNode {
        path: InRoot::new(path),
        source: DeviceSource::Node,
        mode: kind | device.file_mode.unwrap_or(0o666) & 0o7777,
        major,
        minor,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
    })
}
