//! Whether the recorded first process is the one that has its pid now.
//!
//! A pid comes back, after a while or a reboot. Pid, start time and boot together do not, nor do the boot and the inode
//! number of a pidfd, where the kernel gives each process one of its own (Linux 6.9). So nothing is ever signalled by
//! pid: a pidfd is opened first, then it is seen whether it is the process of the record, and only then is the pidfd
//! used. Opened the other way round, the process could be replaced in between.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::{Brief, Record, Root};
use crate::sys::{pidfd, proc};
use crate::{Error, Result};

/// The first process of a container.
pub(crate) enum Init {
    /// There.
    Alive(OwnedFd),
    /// Ended, and its parent has not reaped it.
    Zombie(OwnedFd),
    /// Gone, or never was.
    Gone,
}

impl Record {
    /// The first process, held by a pidfd.
    pub(crate) fn init(&self, boot_id: &str) -> Result<Init> {
        let brief = self.brief();
        if !brief.names_process(boot_id) {
            return Ok(Init::Gone);
        }
        let Some(pidfd) = brief.open()? else { return Ok(Init::Gone) };
        Ok(match brief.stat()? {
            Some(stat) if stat.is_alive() => Init::Alive(pidfd),
            Some(_) => Init::Zombie(pidfd),
            None => Init::Gone,
        })
    }
}

impl Brief<'_> {
    /// Whether the record can name a process of this boot at all. A record without a start time names none.
    fn names_process(&self, boot_id: &str) -> bool {
        self.init_process_pid > 0 && self.init_process_start != 0 && self.boot_id == boot_id && !boot_id.is_empty()
    }

    /// Whether the first process is there and has not ended; as cheaply as possible, for `list` asks it of each.
    pub(crate) fn is_alive(&self, root: &Root) -> Result<bool> {
        if !self.names_process(root.boot_id()?) {
            return Ok(false);
        }
        match self.is_alive_by_inode(root)? {
            Some(alive) => Ok(alive),
            None => Ok(self.stat()?.is_some_and(|stat| stat.is_alive())),
        }
    }

    /// The same by the inode number, in two thirds of the time that procfs takes. `None`: the record has none, or the
    /// kernel does not tell processes apart by it.
    fn is_alive_by_inode(&self, root: &Root) -> Result<Option<bool>> {
        if self.init_process_inode == 0 || root.pidfs().get() == Some(&false) {
            return Ok(None);
        }
        let Some(pidfd) = self.open()? else { return Ok(Some(false)) };
        let look = || {
            if !*root.pidfs().get_or_init(|| pidfd::is_unique(pidfd.as_fd())) {
                return Ok(None);
            }
            let same = pidfd::inode(pidfd.as_fd())? == self.init_process_inode;
            Ok(Some(same && !pidfd::has_ended(pidfd.as_fd())?))
        };
        look().map_err(|e| failed(format!("fstat(pidfd of {})", self.init_process_pid), e))
    }

    /// A pidfd of whoever has the pid now; `None`: nobody.
    fn open(&self) -> Result<Option<OwnedFd>> {
        match pidfd::open(self.init_process_pid) {
            Ok(pidfd) => Ok(Some(pidfd)),
            // EINVAL: the number now belongs to a thread, so to another process than ours.
            Err(e) if matches!(e.raw_os_error(), Some(libc::ESRCH | libc::EINVAL)) => Ok(None),
            Err(e) => Err(failed(format!("pidfd_open({})", self.init_process_pid), e)),
        }
    }

    /// What procfs says about the pid, if it started when ours did.
    fn stat(&self) -> Result<Option<proc::Stat>> {
        match proc::stat(self.init_process_pid) {
            Ok(stat) => Ok(Some(stat).filter(|stat| stat.start == self.init_process_start)),
            Err(e) if e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(libc::ESRCH) => Ok(None),
            Err(e) => Err(failed(format!("read(\"/proc/{}/stat\")", self.init_process_pid), e)),
        }
    }
}

fn failed(call: String, error: io::Error) -> Error {
    Error::io("find the container's first process", call, error)
}
