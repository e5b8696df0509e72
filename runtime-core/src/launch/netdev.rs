//! Moving network devices in, and back out where the create fails: "as though it had not been tried".
//!
//! Everything is done by the parent, over one socket of the host's namespace and one of the container's; no thread of
//! the caller changes its namespace.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use crate::plan::NetDevice;
use crate::sys::netlink::{
    Body, CREATE, EXCLUSIVE, GETADDR, GETLINK, NEWADDR, NEWLINK, Socket, attributes, number, parts,
};
use crate::{Error, ErrorKind, Result};

const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
/// Since kernel 6.16; before, the move is refused with EINVAL.
const IFLA_NETNS_IMMUTABLE: u16 = 67;
const IFF_UP: u32 = 1;
const IFA_LABEL: u16 = 3;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
const IFA_TARGET_NETNSID: u16 = 10;
const IFA_F_PERMANENT: u32 = 0x80;
/// What was asked for once, not what became of it: NODAD, HOMEADDRESS, MANAGETEMPADDR, NOPREFIXROUTE, MCAUTOJOIN.
const IFA_F_KEPT: u32 = 0x02 | 0x10 | 0x100 | 0x200 | 0x400;
const RT_SCOPE_UNIVERSE: u8 = 0;

/// The devices moved so far. Unless they are [kept](Moved::keep), they move back.
pub(super) struct Moved {
    host: Socket,
    host_namespace: File,
    inside: Socket,
    inside_namespace: File,
    devices: Vec<Device>,
}

struct Device {
    /// Its name on the host.
    name: String,
    /// Its number in the container.
    index: u32,
    was_up: bool,
    addresses: Vec<Address>,
}

/// An address as RTM_NEWADDR takes it again.
struct Address {
    family: u8,
    prefix: u8,
    scope: u8,
    attributes: Vec<(u16, Vec<u8>)>,
}

/// A link as RTM_GETLINK tells it.
struct Link {
    index: u32,
    flags: u32,
    name: String,
    immutable: bool,
}

impl Moved {
    /// Moves `devices` into the network namespace of process `pid`.
    pub(super) fn into(pid: i32, devices: &[NetDevice]) -> Result<Self> {
        let open = |path: String| {
            File::open(&path).map_err(|e| Error::io("cannot reach the network namespace", format!("open({path:?})"), e))
        };
        let inside_namespace = open(format!("/proc/{pid}/ns/net"))?;
        let host_namespace = open("/proc/thread-self/ns/net".to_owned())?;
        let talk = |e| Error::io("cannot talk to the network namespace", "setns(CLONE_NEWNET), socket(AF_NETLINK)", e);
        let inside = Socket::within(inside_namespace.as_fd()).map_err(talk)?;
        let host = Socket::here().map_err(talk)?;
        let mut moved = Self { host, host_namespace, inside, inside_namespace, devices: Vec::new() };
        for device in devices {
            // What came before moves back when `moved` is dropped.
            moved.one(device).map_err(|error| error.at(device.pointer()))?;
        }
        Ok(moved)
    }

    /// Leaves them where they are.
    pub(super) fn keep(mut self) {
        self.devices.clear();
    }

    fn one(&mut self, device: &NetDevice) -> Result<()> {
        let what = format!("cannot move the network device {:?}", device.host);
        let explain = |call: &str| {
            let (what, call) = (what.clone(), call.to_owned());
            move |error: io::Error| failed(&what, &call, &error)
        };
        let link = by_name(&self.host, &device.host).map_err(explain("RTM_GETLINK"))?;
        if link.immutable {
            return Err(Error::new(ErrorKind::InvalidConfig, what).with_hint("it cannot leave its network namespace"));
        }
        if !device.is_template() && by_name(&self.inside, &device.name).is_ok() {
            let message = format!("{what}: the container's network namespace has a device {:?} already", device.name);
            return Err(Error::new(ErrorKind::InvalidConfig, message).with_hint("give it another name, or one with %d"));
        }
        let addresses = addresses(&self.host, link.index).map_err(explain("RTM_GETADDR"))?;
        let before = all(&self.inside).map_err(explain("RTM_GETLINK"))?;
        let target = self.inside_namespace.as_raw_fd();
        send_to(&self.host, link.index, target, &device.name)
            .map_err(explain(&format!("RTM_NEWLINK, {:?}, IFLA_NET_NS_FD", device.name)))?;
        let after = all(&self.inside).map_err(explain("RTM_GETLINK"))?;
        let index = arrived(&before, &after, device).ok_or_else(|| {
            Error::new(ErrorKind::Init, format!("{what}: it has arrived nowhere, or another one came with it"))
        })?;
        let was_up = link.flags & IFF_UP != 0;
        self.devices.push(Device { name: link.name, index, was_up, addresses });
        let Some(moved) = self.devices.last() else { return Ok(()) };
        for address in &moved.addresses {
            add(&self.inside, index, address).map_err(explain("RTM_NEWADDR"))?;
        }
        bring_up(&self.inside, index).map_err(explain("RTM_NEWLINK, IFF_UP"))
    }
}

impl Drop for Moved {
    /// Back to the host, with name, addresses and state. There is nobody to tell of an error; the kernel itself
    /// returns physical devices when the namespace ends.
    fn drop(&mut self) {
        let target = self.host_namespace.as_raw_fd();
        for device in self.devices.drain(..).rev() {
            if send_to(&self.inside, device.index, target, &device.name).is_err() {
                continue;
            }
            let Ok(link) = by_name(&self.host, &device.name) else { continue };
            for address in &device.addresses {
                let _ = add(&self.host, link.index, address);
            }
            if device.was_up {
                let _ = bring_up(&self.host, link.index);
            }
        }
    }
}

/// One request: name and namespace change together, or neither does.
fn send_to(socket: &Socket, index: u32, namespace: i32, name: &str) -> io::Result<()> {
    let body = Body::link(index, 0, 0).with(IFLA_NET_NS_FD, &namespace.to_ne_bytes()).with(IFLA_IFNAME, &zero(name));
    socket.request(NEWLINK, 0, &body)
}

fn bring_up(socket: &Socket, index: u32) -> io::Result<()> {
    socket.request(NEWLINK, 0, &Body::link(index, IFF_UP, IFF_UP))
}

fn add(socket: &Socket, index: u32, address: &Address) -> io::Result<()> {
    let body = Body::address(address.family, address.prefix, address.scope, index);
    let body = address.attributes.iter().fold(body, |body, (kind, value)| body.with(*kind, value));
    socket.request(NEWADDR, CREATE | EXCLUSIVE, &body)
}

fn by_name(socket: &Socket, name: &str) -> io::Result<Link> {
    let answer = socket.get(GETLINK, &Body::link(0, 0, 0).with(IFLA_IFNAME, &zero(name)))?;
    link(&answer).ok_or_else(|| io::Error::from_raw_os_error(libc::EPROTO))
}

fn all(socket: &Socket) -> io::Result<Vec<Link>> {
    Ok(socket.list(GETLINK, &Body::link(0, 0, 0))?.iter().filter_map(|answer| link(answer)).collect())
}

/// struct ifinfomsg with its attributes.
fn link(answer: &[u8]) -> Option<Link> {
    let mut link = Link { index: number(answer, 4)?, flags: number(answer, 8)?, name: String::new(), immutable: false };
    for (kind, value) in attributes(answer.get(16..)?) {
        match kind {
            IFLA_IFNAME => link.name = String::from_utf8_lossy(value).trim_end_matches('\0').to_owned(),
            IFLA_NETNS_IMMUTABLE => link.immutable = value.first() == Some(&1),
            _ => {}
        }
    }
    Some(link)
}

/// Which of the devices inside is the one that was sent.
fn arrived(before: &[Link], after: &[Link], device: &NetDevice) -> Option<u32> {
    let fits = |name: &str| match device.name.split_once("%d") {
        None => name == device.name,
        Some((start, end)) => name
            .strip_prefix(start)
            .and_then(|rest| rest.strip_suffix(end))
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())),
    };
    let mut new = after.iter().filter(|link| before.iter().all(|old| old.index != link.index) && fits(&link.name));
    let first = new.next()?;
    new.next().is_none().then_some(first.index)
}

/// The permanent addresses of global scope: those that somebody gave the device, for everybody.
fn addresses(socket: &Socket, index: u32) -> io::Result<Vec<Address>> {
    let answers = socket.list(GETADDR, &Body::address(0, 0, 0, 0))?;
    Ok(answers.iter().filter_map(|answer| address(answer, index)).collect())
}

/// struct ifaddrmsg with its attributes.
fn address(answer: &[u8], index: u32) -> Option<Address> {
    let [family, prefix, old_flags, scope] = *answer.first_chunk()?;
    let mut flags = u32::from(old_flags);
    let mut kept = Vec::new();
    for (kind, value) in attributes(answer.get(8..)?) {
        match kind {
            IFA_FLAGS => flags = number(value, 0)?,
            // The label names the device as it was; the rest is the kernel's own.
            IFA_LABEL | IFA_CACHEINFO | IFA_TARGET_NETNSID => {}
            _ => kept.push((kind, value.to_vec())),
        }
    }
    kept.push((IFA_FLAGS, (flags & IFA_F_KEPT).to_ne_bytes().to_vec()));
    let wanted = number(answer, 4) == Some(index) && scope == RT_SCOPE_UNIVERSE && flags & IFA_F_PERMANENT != 0;
    wanted.then_some(Address { family, prefix, scope, attributes: kept })
}

fn zero(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

fn failed(what: &str, call: &str, error: &io::Error) -> Error {
    let (errno, said) = parts(error);
    let error = Error::system(what, format!("rtnetlink({call})"), errno);
    match (said, errno) {
        (Some(said), _) => error.with_hint(said),
        (None, libc::ENODEV) => error.with_hint("the host has no such device"),
        (None, libc::EINVAL) => error.with_hint("this kind of device cannot leave its network namespace"),
        (None, libc::EEXIST) => error.with_hint("the container's network namespace has a device of this name"),
        (None, _) => error,
    }
}
