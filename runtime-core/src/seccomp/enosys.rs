//! The ENOSYS answer for system calls newer than the profile.
//!
//! A profile written before a call existed cannot name it, and EPERM for an unknown call breaks every
//! libc that tries the new one first and falls back on ENOSYS (clone3, faccessat2). So, as runc does
//! (libcontainer/seccomp/patchbpf), every number above the largest one the profile names on an
//! architecture is answered ENOSYS, before any rule.

use super::Arch;
use super::profile::{Profile, ret};
use super::table::{self, Name};

/// What the kernel gets for a call newer than the profile.
pub const ENOSYS: u32 = ret::ERRNO | libc::ENOSYS as u32;

/// The first number that is newer than the profile on `arch`.
///
/// `None` where the default action lets unknown calls through in one way or another, or nothing in the
/// profile has a number (above zero, as in runc) on `arch`.
pub fn first_unknown(profile: &Profile, arch: Arch) -> Option<u32> {
    if is_permissive(profile.default) {
        return None;
    }
    let base = if arch == Arch::X32 { super::X32_BIT } else { 0 };
    let largest = numbers(profile, arch).filter(|&nr| nr & !base < ARM_PRIVATE).max()?;
    (largest > base).then_some(largest + 1)
}

/// ARM's private calls (breakpoint, cacheflush, set_tls) start here. They are not part of the sequence:
/// if they were, every number below them would pass for known.
const ARM_PRIVATE: u32 = 0x0f_0000;

/// Private calls the profile names, which are thus known although they are above the largest number.
pub fn private(profile: &Profile, arch: Arch) -> impl Iterator<Item = u32> {
    numbers(profile, arch).filter(move |&nr| arch == Arch::Arm && nr >= ARM_PRIVATE)
}

/// Numbers of everything the profile names, with the multiplexers its names go through.
fn numbers(profile: &Profile, arch: Arch) -> impl Iterator<Item = u32> {
    let named = |name: Name| profile.names[usize::from(name)];
    let through = table::MULTIPLEXERS.iter().enumerate().filter_map(move |(at, multiplexer)| {
        let number = table::number(arch, table::find(multiplexer)?)?;
        table::through(at).any(|(name, _)| named(name)).then_some(number)
    });
    (0..table::COUNT as Name)
        .filter(move |&name| named(name))
        .filter_map(move |name| table::number(arch, name))
        .chain(through)
}

/// A tracer counts as permissive: it emulates calls, new ones included.
fn is_permissive(action: u32) -> bool {
    matches!(action & ret::ACTION_FULL, ret::ALLOW | ret::LOG | ret::TRACE)
}

/// Number 0 of s390: calls above 255 are made through it, and it is what a call the kernel does not
/// know is seen as, so it needs the same answer.
pub const S390_SETUP: u32 = 0;

/// Whether `arch` needs [`S390_SETUP`] answered.
pub fn has_setup(arch: Arch) -> bool {
    matches!(arch, Arch::S390 | Arch::S390x)
}
