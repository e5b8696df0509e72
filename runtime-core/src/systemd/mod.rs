//! systemd as the keeper of cgroups (`--systemd-cgroup`): a container is a transient scope (or slice) of its manager.
//!
//! The scope needs a process from the start, so it is made around a placeholder that does nothing; limits are in force
//! and the placeholder is gone before the container's program runs. The container's own process is born in the cgroup
//! or enters it as everywhere else.
//!
//! One connection carries all calls of a verb, and every wait ends after 30 seconds at the latest.

pub(crate) mod bus;
mod manager;
mod text;
mod unified;
pub mod unit;
pub mod wire;

pub(crate) use manager::Manager;
pub(crate) use unit::ANNOTATION;
pub use unit::{Property, Unit, limits, properties, unit};
