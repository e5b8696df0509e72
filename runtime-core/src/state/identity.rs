//! Whether the recorded first process is the one that has its pid now.
//!
//! A pid comes back, after a while or a reboot. Pid, start time and boot together do not. So nothing is ever
//! signalled by pid: a pidfd is opened first, then the start time is compared, and only then is the pidfd used.
//! Opened the other way round, the process could be replaced in between.

use std::io;
use std::os::fd::OwnedFd;

use super::Record;
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
    /// Whether the record can name a process of this boot at all. A record without a start time names none.
    fn names_process(&self, boot_id: &str) -> bool {
        self.init_process_pid > 0 && self.init_process_start != 0 && self.boot_id == boot_id && !boot_id.is_empty()
    }

    /// Whether the first process is there and has not ended; with as few system calls as possible.
    pub(crate) fn is_alive(&self, boot_id: &str) -> Result<bool> {
        Ok(self.names_process(boot_id) && self.stat()?.is_some_and(|stat| stat.is_alive()))
    }

    /// The first process, held by a pidfd.
    pub(crate) fn init(&self, boot_id: &str) -> Result<Init> {
        if !self.names_process(boot_id) {
            return Ok(Init::Gone);
        }
        let pidfd = match pidfd::open(self.init_process_pid) {
            Ok(pidfd) => pidfd,
            // EINVAL: the number now belongs to a thread, so to another process than ours.
            Err(e) if matches!(e.raw_os_error(), Some(libc::ESRCH | libc::EINVAL)) => return Ok(Init::Gone),
            Err(e) => {
                let call = format!("pidfd_open({})", self.init_process_pid);
                return Err(Error::io("find the container's first process", call, e));
            }
        };
        Ok(match self.stat()? {
            Some(stat) if stat.is_alive() => Init::Alive(pidfd),
            Some(_) => Init::Zombie(pidfd),
            None => Init::Gone,
        })
    }

    /// What procfs says about the pid, if it started when ours did.
    fn stat(&self) -> Result<Option<proc::Stat>> {
        match proc::stat(self.init_process_pid) {
            Ok(stat) => Ok(Some(stat).filter(|stat| stat.start == self.init_process_start)),
            Err(e) if e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(libc::ESRCH) => Ok(None),
            Err(e) => {
                let call = format!("read(\"/proc/{}/stat\")", self.init_process_pid);
                Err(Error::io("find the container's first process", call, e))
            }
        }
    }
}
