//! The caller's capabilities.

/// The permitted set of the calling thread, as bits (capget(2)).
pub(crate) fn permitted() -> u64 {
    runtime_stage::sys::capget().map_or(0, |(_, permitted, _)| permitted)
}
