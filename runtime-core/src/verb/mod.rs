//! The verbs, one file each.
pub(crate) mod create;
pub(crate) mod delete;
pub mod events;
pub(crate) mod exec;
pub(crate) mod explain;
pub mod features;
mod hook;
pub(crate) mod kill;
pub(crate) mod notify;
pub(crate) mod pause;
pub mod spec;
pub(crate) mod start;
pub(crate) mod state;
pub(crate) mod stats;
pub(crate) mod update;

#[cfg(test)]
mod tests;
