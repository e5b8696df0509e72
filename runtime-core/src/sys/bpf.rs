//! bpf(2): load a device program and attach it to a cgroup.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

/// linux/bpf.h.
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// `union bpf_attr`, larger than any kernel's so far. Kernels 6.17 to 7.1 write into it beyond the size they
/// are told, so it is never smaller; a kernel accepts a larger one whose rest is zero.
#[repr(C, align(8))]
struct Attr([u8; 256]);

impl Attr {
    fn new() -> Self {
        Self([0; 256])
    }

    fn u32(mut self, offset: usize, value: u32) -> Self {
        self.0[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn pointer(mut self, offset: usize, value: *const u8) -> Self {
        self.0[offset..offset + 8].copy_from_slice(&(value as u64).to_ne_bytes());
        self
    }
}

fn bpf(command: libc::c_int, attr: &mut Attr) -> Result<libc::c_long, Errno> {
    // SAFETY: attr is as large as the size passed and stays writable for the call; the two callers below put
    // in pointers to memory they hold borrowed until this returns, and the kernel keeps none of them.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr.0.as_mut_ptr(), size_of::<Attr>()) };
    if result < 0 { Err(Errno::last()) } else { Ok(result) }
}

/// Loads a program of type `BPF_PROG_TYPE_CGROUP_DEVICE`; the descriptor is close-on-exec.
pub fn load_device(code: &[u64]) -> Result<OwnedFd, Errno> {
    let license = c"Apache-2.0";
    let count = u32::try_from(code.len()).map_err(|_| Errno::E2BIG)?;
    let mut attr = Attr::new()
        .u32(0, BPF_PROG_TYPE_CGROUP_DEVICE)
        .u32(4, count)
        .pointer(8, code.as_ptr().cast())
        .pointer(16, license.as_ptr().cast());
    let fd = bpf(BPF_PROG_LOAD, &mut attr)?;
    let fd = libc::c_int::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: BPF_PROG_LOAD returned a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a device program to a version 2 cgroup, beside those that are there: every one must allow an access.
pub fn attach_device(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attr = Attr::new()
        .u32(0, cgroup.as_raw_fd().cast_unsigned())
        .u32(4, program.as_raw_fd().cast_unsigned())
        .u32(8, BPF_CGROUP_DEVICE)
        .u32(12, BPF_F_ALLOW_MULTI);
    bpf(BPF_PROG_ATTACH, &mut attr).map(drop)
}
