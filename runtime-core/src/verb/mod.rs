//! The verbs, one file each.
pub(crate) mod create;
pub(crate) mod delete;
mod hook;
pub(crate) mod kill;
pub mod spec;
pub(crate) mod start;
pub(crate) mod state;
pub(crate) mod stats;
pub(crate) mod update;

#[cfg(test)]
mod tests;
