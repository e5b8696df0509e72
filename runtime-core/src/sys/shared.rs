//! Memory shared with the stage: an anonymous file, mapped on both sides.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use runtime_stage::io::Block;

/// MFD_EXEC (kernel 6.3): says that the file is meant to be executed, which `vm.memfd_noexec=1` asks for.
const MFD_EXEC: u32 = 0x10;

/// memfd_create(2), close-on-exec, sealable. With `execute` the file may be executed.
pub(crate) fn memfd(name: &CStr, execute: bool) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    let attempt = |flags: u32| {
        // SAFETY: the name is NUL-terminated and outlives the call.
        let fd = unsafe { libc::memfd_create(name.as_ptr(), flags) };
        // SAFETY: the kernel just made this descriptor and nobody else knows it.
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(unsafe { OwnedFd::from_raw_fd(fd) }) }
    };
    match attempt(if execute { flags | MFD_EXEC } else { flags }) {
        // Before 6.3 the flag is unknown and every such file may be executed.
        Err(error) if execute && error.raw_os_error() == Some(libc::EINVAL) => attempt(flags),
        result => result,
    }
}

/// A block and its file.
pub(crate) struct Shared {
    file: File,
    base: *mut u8,
    length: usize,
}

impl Shared {
    /// A shared block with these contents.
    pub(crate) fn new(contents: &[u8]) -> io::Result<Self> {
        let mut file = File::from(memfd(c"runtime-plan", false)?);
        file.write_all(contents)?;
        let length = contents.len();
        // SAFETY: a new mapping of `length` bytes of a file of that size; the kernel chooses the address.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { file, base: base.cast(), length })
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// The block, for as long as `self` is not dropped.
    pub(crate) fn block(&self) -> Block {
        // SAFETY: the mapping lives as long as `self`, which outlives the launch in which the value is used.
        unsafe { Block::at(self.base, self.length) }
    }
}

impl AsFd for Shared {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` and is not used after this.
        unsafe { libc::munmap(self.base.cast(), self.length) };
    }
}
