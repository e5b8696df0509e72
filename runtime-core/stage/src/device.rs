//! Device nodes and the links beside them.

use crate::fail::{Fail, Refusal, Result, Step, detail};
use crate::io::Io;
use crate::path::{self, Folder, Name};
use crate::sys::{self, O_CREAT, O_EXCL, O_NOFOLLOW, O_PATH, Stat, errno};
use crate::wire::{Device, Link, NO_SLOT, Plan, Text, Z};
use crate::{attribute, mount};

/// Makes every device node. Neighbours in the list share the look-up of their directory.
pub fn all<'a>(plan: &Plan<'a>, io: &Io, root: i32, mut folder: Folder<'a>) -> Result<()> {
    for (index, device) in plan.items(plan.header.devices) {
        io.enter(Step::Device, index);
        let device: Device = device?;
        let (fd, name) = enter(&mut folder, plan, root, device.path)?;
        one(plan, io, fd, &name, &device)?;
    }
    for (index, link) in plan.items(plan.header.links) {
        io.enter(Step::DeviceLink, index);
        let link: Link = link?;
        let (fd, name) = enter(&mut folder, plan, root, link.path)?;
        make_link(fd, &name, plan.text(link.target)?, link.replace != 0)?;
    }
    folder.leave();
    Ok(())
}

fn make_link(folder: i32, name: &Name, target: Z<'_>, replace: bool) -> Result<()> {
    match sys::symlinkat(target, folder, name.z()) {
        Err(fail) if fail.is(errno::EEXIST) => {}
        result => return result,
    }
    if !replace {
        return Ok(());
    }
    let mut said = [0; 64];
    if let Ok(length) = sys::readlinkat(folder, name.z(), &mut said)
        && said.get(..length) == Some(target.bytes())
    {
        return Ok(());
    }
    match sys::unlinkat(folder, name.z()) {
        // The config mounted it.
        Err(fail) if fail.is(errno::EBUSY) => Ok(()),
        result => result.and_then(|()| sys::symlinkat(target, folder, name.z())),
    }
}

/// Opens the directory of `path` unless it is the one that is open; the last component comes back, and the directory.
fn enter<'a>(folder: &mut Folder<'a>, plan: &Plan<'a>, root: i32, path: Text) -> Result<(i32, Name)> {
    let text = plan.text(path)?;
    let mut name = Name::new();
    if let Some(fd) = folder.holds(text, &mut name)? {
        return Ok((fd, name));
    }
    folder.leave();
    let fd = path::parent(root, &text, &mut name)?;
    folder.keep(text, fd);
    Ok((fd, name))
}

fn one(plan: &Plan<'_>, io: &Io, folder: i32, name: &Name, device: &Device) -> Result<()> {
    if device.slot != NO_SLOT || device.host.len > 0 {
        return bind(plan, io, folder, name, device);
    }
    let number = sys::makedev(device.major, device.minor);
    match sys::mknodat(folder, name.z(), device.mode, number) {
        Ok(()) => {}
        Err(fail) if fail.is(errno::EEXIST) => return same(folder, name, device),
        Err(fail) => return Err(fail),
    }
    if device.uid | device.gid != 0 {
        let node = sys::openat(folder, name.z(), O_PATH | O_NOFOLLOW, 0)?;
        // Somebody who can write to the directory may have put something else there.
        let owned = sys::stat(node, Z::EMPTY)
            .and_then(|there| is(&there, device))
            .and_then(|()| sys::chown(node, device.uid, device.gid));
        sys::close(node);
        owned?;
    }
    Ok(())
}

/// What is there already must be the very device (config-linux.md, "Devices").
fn same(folder: i32, name: &Name, device: &Device) -> Result<()> {
    let there = sys::stat(folder, name.z())?;
    is(&there, device)
}

/// The failure says what it is instead, see [`detail`].
fn is(file: &Stat, device: &Device) -> Result<()> {
    let differs = Fail::refuse(Refusal::DeviceDiffers);
    match file.device {
        _ if !file.is(device.mode & Stat::TYPE) => Err(differs.detail(detail::NO_DEVICE)),
        number if number == (device.major, device.minor) => Ok(()),
        (major, minor) => Err(differs.detail(major << 20 | minor & 0xf_ffff)),
    }
}

/// The host's node on an empty file, where mknod is not for us.
fn bind(plan: &Plan<'_>, io: &Io, folder: i32, name: &Name, device: &Device) -> Result<()> {
    let source = mount::host_tree(io, device.slot, plan.text(device.host)?, 0)?;
    let there = sys::stat(source, Z::EMPTY)?;
    is(&there, device)?;
    match sys::openat(folder, name.z(), O_CREAT | O_EXCL | O_NOFOLLOW, 0o644) {
        Ok(file) => sys::close(file),
        Err(fail) if fail.is(errno::EEXIST) => {}
        Err(fail) => return Err(fail),
    }
    let target = sys::openat(folder, name.z(), O_PATH | O_NOFOLLOW, 0)?;
    let moved = sys::move_mount(source, target);
    sys::close(target);
    moved?;
    attribute::cut_loose(io, source)
}
