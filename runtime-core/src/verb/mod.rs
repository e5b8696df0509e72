//! The verbs, one file each.
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod exec;
pub(crate) mod kill;
pub mod spec;
pub(crate) mod start;
pub(crate) mod state;

#[cfg(test)]
mod tests;
