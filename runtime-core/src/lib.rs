//! A low-level OCI container runtime as a library: a bundle in, an isolated process out.
#![deny(unsafe_code)]

pub mod cgroup;
mod container;
mod create;
mod error;
mod exec;
pub mod host;
pub mod id;
mod launch;
pub mod plan;
pub mod rdt;
mod runtime;
pub mod seccomp;
pub mod spec;
pub mod state;
mod sys;
pub mod systemd;
mod timeline;
pub mod verb;

pub use container::{Container, ExitStatus, Signal};
pub use create::{AskSize, Config, Console, Create, ReportTo, Stdio};
pub use error::{Error, ErrorKind, Result, describe};
pub use exec::{Exec, ExecProcess};
pub use runtime::{Entry, Level, Log, Options, Runtime};
pub use timeline::{Moment, Timeline};
pub use verb::kill::parse_signal;
