//! What nix lacks: thin safe wrappers over system calls. `unsafe` is allowed below here.
#![allow(unsafe_code)]

pub mod bpf;
pub(crate) mod caps;
pub(crate) mod fd;
pub(crate) mod flock;
pub(crate) mod mount;
pub(crate) mod netlink;
pub(crate) mod notify;
pub(crate) mod pidfd;
pub mod proc;
pub(crate) mod shared;
