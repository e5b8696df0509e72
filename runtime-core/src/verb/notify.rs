//! The socket on which a container's program says that it is ready (sd_notify(3)): `notify/notify.sock` in the
//! container's directory, shown to it, read-only, as `/run/notify`, where its `NOTIFY_SOCKET` leads. The directory is
//! made with the container, the socket is bound by who is about to start it, and answered by him.

use std::fs::{self, Permissions};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::spec::{Mount, Spec};
use crate::state::{Dir, NOTIFY};
use crate::{Container, Error, Result};

/// Where the directory is shown.
const PLACE: &str = "/run/notify";
const SOCKET: &str = "notify.sock";

/// Adds the mount and the variable to a config.
pub(super) fn amend(spec: &mut Spec, root: &Path, id: &str) {
    let Some(source) = root.join(id).join(NOTIFY).to_str().map(str::to_owned) else { return };
    spec.mounts.get_or_insert_default().push(Mount {
        destination: Some(PLACE.to_owned()),
        typ: Some("bind".to_owned()),
        source: Some(source),
        options: Some(["bind", "ro", "nosuid", "nodev", "noexec"].map(str::to_owned).to_vec()),
        ..Mount::default()
    });
    if let Some(process) = &mut spec.process {
        process.env.get_or_insert_default().push(format!("NOTIFY_SOCKET={PLACE}/{SOCKET}"));
    }
}

/// Makes the directory of a new container.
pub(super) fn prepare(dir: &Dir) -> Result<()> {
    let mode = Mode::from_bits_truncate(0o755);
    mkdirat(dir, NOTIFY, mode).map_err(|errno| failed("mkdirat(notify)", errno))?;
    // Whatever the caller's umask: the program may be any user.
    fchmod(open(dir)?, mode).map_err(|errno| failed("fchmod(notify)", errno))
}

/// Binds the socket anew; `None`: the container was made without.
pub(crate) fn bind(container: &Container) -> Result<Option<UnixDatagram>> {
    let dir = Dir::open_at(container.root.clone(), container.id())?;
    if container.root.has(container.id(), NOTIFY)? { bind_in(&dir).map(Some) } else { Ok(None) }
}

/// The same in an open directory.
pub(super) fn bind_in(dir: &Dir) -> Result<UnixDatagram> {
    let place = open(dir)?;
    match unlinkat(&place, SOCKET, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(errno) => return Err(failed("unlinkat(notify.sock)", errno)),
    }
    // Through the descriptor: the path itself may be longer than an address may be.
    let path = format!("/proc/self/fd/{}/{SOCKET}", place.as_fd().as_raw_fd());
    let socket = UnixDatagram::bind(&path).map_err(|error| failed("bind(notify.sock)", error))?;
    fs::set_permissions(&path, Permissions::from_mode(0o777)).map_err(|error| failed("chmod(notify.sock)", error))?;
    Ok(socket)
}

fn open(dir: &Dir) -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(dir, NOTIFY, flags, Mode::empty()).map_err(|errno| failed("openat(notify)", errno))
}

fn failed(call: &str, error: impl Into<std::io::Error>) -> Error {
    Error::io("make the socket for NOTIFY_SOCKET", call, error)
}
