//! Messages with a descriptor.

use crate::arch;
use crate::fail::Result;

#[repr(C)]
struct MessageHeader {
    name: usize,
    name_length: u32,
    vectors: *mut [usize; 2],
    vector_count: usize,
    control: *mut u8,
    control_length: usize,
    flags: u32,
}

#[repr(C, align(8))]
struct OneDescriptor {
    length: usize,
    level: u32,
    kind: u32,
    fd: i32,
    pad: u32,
}

const SOL_SOCKET: u32 = 1;
const SCM_RIGHTS: u32 = 1;
const CMSG_LENGTH: usize = 20;

/// sendmsg(2) of bytes and one descriptor.
pub fn send_descriptor(socket: i32, bytes: &[u8], fd: i32) -> Result<()> {
    const MSG_NOSIGNAL: u32 = 0x4000;
    let mut vector = [bytes.as_ptr() as usize, bytes.len()];
    let mut control = OneDescriptor { length: CMSG_LENGTH, level: SOL_SOCKET, kind: SCM_RIGHTS, fd, pad: 0 };
    let header = MessageHeader {
        name: 0,
        name_length: 0,
        vectors: &raw mut vector,
        vector_count: 1,
        control: (&raw mut control).cast(),
        control_length: size_of::<OneDescriptor>(),
        flags: 0,
    };
    call!(arch::SYS_SENDMSG, socket, &raw const header, MSG_NOSIGNAL).map(drop)
}

/// recvmsg(2) of bytes and at most one descriptor, which arrives close-on-exec; -1: none came.
pub fn receive(socket: i32, bytes: &mut [u8]) -> Result<(usize, i32)> {
    const MSG_CMSG_CLOEXEC: u32 = 0x4000_0000;
    let mut vector = [bytes.as_mut_ptr() as usize, bytes.len()];
    let mut control = OneDescriptor { length: 0, level: 0, kind: 0, fd: -1, pad: 0 };
    let mut header = MessageHeader {
        name: 0,
        name_length: 0,
        vectors: &raw mut vector,
        vector_count: 1,
        control: (&raw mut control).cast(),
        control_length: size_of::<OneDescriptor>(),
        flags: 0,
    };
    let length = call!(arch::SYS_RECVMSG, socket, &raw mut header, MSG_CMSG_CLOEXEC)?;
    let one = control.length >= CMSG_LENGTH && control.level == SOL_SOCKET && control.kind == SCM_RIGHTS;
    Ok((length, if one { control.fd } else { -1 }))
}
