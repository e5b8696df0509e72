//! The stage: the freestanding program that turns a fresh process into a container.
//!
//! It reads a [plan](wire) that was worked out and checked beforehand, carries it out in one straight line
//! ([`run`]), and ends in execve(2). It has no allocator, no panic path and no dependency; whatever needs a
//! heap is asked of the parent by [message](io). The same code runs in two ways: as a program of its own,
//! started from a sealed memfd (`main.rs`), and directly in a forked child (the in-process entry).
//!
//! Rules of this world: `docs/stage.md`.
#![no_std]

pub mod affinity;
pub mod arch;
pub mod attribute;
pub mod caps;
pub mod cgroup;
pub mod copy;
pub mod device;
pub mod fail;
pub mod hook;
pub mod ids;
pub mod io;
pub mod label;
pub mod lo;
pub mod mask;
pub mod mount;
pub mod namespace;
pub mod netdev;
pub mod path;
pub mod priority;
pub mod proc;
pub mod process;
pub mod rlimit;
pub mod root;
pub mod run;
pub mod seccomp;
pub mod session;
pub mod sys;
pub mod sysctl;
pub mod target;
pub mod tty;
pub mod uts;
pub mod wire;
