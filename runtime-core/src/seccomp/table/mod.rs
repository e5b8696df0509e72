//! System call names to numbers, for every architecture a profile can name.
//!
//! The data is one sorted string of all names with their start offsets, and one `u16` per name and
//! table: no pointers, so the static-pie binary has nothing to relocate and only the pages of the
//! architectures in use are read.

mod numbers;

use super::Arch;

/// A system call name, as its position in the shared list.
pub type Name = u16;

/// Number of names known on any architecture.
pub const COUNT: usize = numbers::COUNT;

/// Marks a name the architecture does not have.
const NONE: u16 = u16::MAX;

/// Finds a name; `None` if no architecture has it.
pub fn find(name: &str) -> Option<Name> {
    let (mut low, mut high) = (0, COUNT);
    while low < high {
        let middle = low.midpoint(high);
        match spelled(middle as Name).cmp(name.as_bytes()) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => return Some(middle as Name),
        }
    }
    None
}

/// As [`find`], for one of many names that are probably in order, as profiles list them: `near` is where the one
/// before was found.
pub fn find_after(near: Option<Name>, name: &str) -> Option<Name> {
    const STEPS: usize = 6;
    let first = near.map_or(0, |near| usize::from(near) + 1);
    for at in first..(first + STEPS).min(COUNT) {
        match spelled(at as Name).cmp(name.as_bytes()) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => return Some(at as Name),
            std::cmp::Ordering::Greater => break,
        }
    }
    find(name)
}

fn spelled(name: Name) -> &'static [u8] {
    let at = usize::from(name);
    &numbers::NAMES.as_bytes()[usize::from(numbers::STARTS[at])..usize::from(numbers::STARTS[at + 1])]
}

/// What the kernel puts into `seccomp_data.nr` for `name` on `arch`; x32 numbers carry their bit.
pub fn number(arch: Arch, name: Name) -> Option<u32> {
    match of(arch)[usize::from(name)] {
        NONE => None,
        // ARM's private calls start at 0x0f0000, which does not fit: they are stored from 0xf000.
        private @ 0xf000.. => Some(0x0f_0000 | u32::from(private & 0x7ff)),
        small if arch == Arch::X32 => Some(u32::from(small) | super::X32_BIT),
        small => Some(u32::from(small)),
    }
}

fn of(arch: Arch) -> &'static [u16; COUNT] {
    match arch {
        Arch::X86_64 => &numbers::X86_64,
        Arch::X86 => &numbers::X86,
        Arch::X32 => &numbers::X32,
        Arch::Arm => &numbers::ARM,
        Arch::Aarch64 => &numbers::AARCH64,
        Arch::Mips | Arch::Mipsel => &numbers::MIPS_O32,
        Arch::Mips64 | Arch::Mipsel64 => &numbers::MIPS_N64,
        Arch::Mips64n32 | Arch::Mipsel64n32 => &numbers::MIPS_N32,
        Arch::Parisc => &numbers::PARISC,
        Arch::Parisc64 => &numbers::PARISC64,
        Arch::Ppc => &numbers::PPC,
        Arch::Ppc64 | Arch::Ppc64le => &numbers::PPC64,
        Arch::Riscv64 => &numbers::RISCV64,
        Arch::S390 => &numbers::S390,
        Arch::S390x => &numbers::S390X,
        Arch::Loongarch64 => &numbers::LOONGARCH64,
        Arch::M68k => &numbers::M68K,
        Arch::Sh | Arch::Sheb => &numbers::SH,
    }
}

/// The calls that stand for many.
pub const MULTIPLEXERS: [&str; 2] = ["socketcall", "ipc"];

/// Calls that are reached through a multiplexer where an architecture has it, beside or instead of their own: name,
/// index into [`MULTIPLEXERS`], and the call number in its first argument (linux/net.h, linux/ipc.h).
const MULTIPLEXED: [(&str, usize, u32); 32] = [
    ("accept", 0, 5),
    ("accept4", 0, 18),
    ("bind", 0, 2),
    ("connect", 0, 3),
    ("getpeername", 0, 7),
    ("getsockname", 0, 6),
    ("getsockopt", 0, 15),
    ("listen", 0, 4),
    ("msgctl", 1, 14),
    ("msgget", 1, 13),
    ("msgrcv", 1, 12),
    ("msgsnd", 1, 11),
    ("recv", 0, 10),
    ("recvfrom", 0, 12),
    ("recvmmsg", 0, 19),
    ("recvmsg", 0, 17),
    ("semctl", 1, 3),
    ("semget", 1, 2),
    ("semop", 1, 1),
    ("semtimedop", 1, 4),
    ("send", 0, 9),
    ("sendmmsg", 0, 20),
    ("sendmsg", 0, 16),
    ("sendto", 0, 11),
    ("setsockopt", 0, 14),
    ("shmat", 1, 21),
    ("shmctl", 1, 24),
    ("shmdt", 1, 22),
    ("shmget", 1, 23),
    ("shutdown", 0, 13),
    ("socket", 0, 1),
    ("socketpair", 0, 8),
];

/// The calls that go through the multiplexer of this index, each with its call number.
pub fn through(multiplexer: usize) -> impl Iterator<Item = (Name, u32)> {
    let its = MULTIPLEXED.iter().filter(move |(_, its, _)| *its == multiplexer);
    its.filter_map(|(name, _, call)| Some((find(name)?, *call)))
}

/// How a call is reached through a multiplexer: its name, and the call number in its first argument.
pub fn multiplexed(name: Name) -> Option<(&'static str, u32)> {
    let at = MULTIPLEXED.binary_search_by(|(its, _, _)| its.as_bytes().cmp(spelled(name))).ok()?;
    MULTIPLEXED.get(at).map(|(_, multiplexer, call)| (MULTIPLEXERS[*multiplexer], *call))
}

/// The name of a call by its number on `arch`.
pub fn name(arch: Arch, number: u32) -> Option<&'static str> {
    let at = (0..COUNT).find(|at| self::number(arch, *at as Name) == Some(number))?;
    std::str::from_utf8(spelled(at as Name)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_found() {
        for name in 0..COUNT as Name {
            let text = std::str::from_utf8(spelled(name)).unwrap();
            assert_eq!(find(text), Some(name), "{text}");
            for near in [
                None,
                name.checked_sub(1),
                name.checked_sub(3),
                name.checked_sub(9),
                Some(name),
                Some(COUNT as Name - 1),
            ] {
                assert_eq!(find_after(near, text), Some(name), "{text} after {near:?}");
            }
        }
        assert!(MULTIPLEXED.is_sorted());
        assert!(MULTIPLEXED.iter().all(|(name, _, _)| find(name).is_some()));
        assert_eq!(find_after(find("clone3"), "clone4"), None);
        assert_eq!(find(""), None);
        assert_eq!(find("clone4"), None);
        assert_eq!(find("zzz"), None);
    }

    #[test]
    fn numbers_that_are_public_knowledge() {
        let of = |arch, name| number(arch, find(name).unwrap());
        assert_eq!(of(Arch::X86_64, "read"), Some(0));
        assert_eq!(of(Arch::X32, "read"), Some(0x4000_0000));
        assert_eq!(of(Arch::X32, "rt_sigaction"), Some(0x4000_0000 + 512));
        assert_eq!(of(Arch::X86, "socket"), Some(359));
        assert_eq!(of(Arch::X86_64, "socketcall"), None);
        assert_eq!(of(Arch::Arm, "set_tls"), Some(0x0f_0005));
        assert_eq!(of(Arch::Mips64, "read"), Some(5000));
        assert_eq!(of(Arch::Mipsel, "cachestat"), Some(4451));
        for arch in [Arch::Aarch64, Arch::Riscv64, Arch::Loongarch64, Arch::S390, Arch::Ppc64le, Arch::Parisc] {
            assert_eq!(of(arch, "file_setattr"), Some(469), "{arch:?}");
        }
    }

    /// The kernel this runs on agrees with the table of its architecture.
    #[test]
    fn numbers_of_libc() {
        for (name, expected) in [
            ("openat2", libc::SYS_openat2),
            ("clone3", libc::SYS_clone3),
            ("seccomp", libc::SYS_seccomp),
            ("exit_group", libc::SYS_exit_group),
            ("personality", libc::SYS_personality),
            ("mount_setattr", libc::SYS_mount_setattr),
        ] {
            assert_eq!(number(Arch::native(), find(name).unwrap()), Some(expected as u32), "{name}");
        }
    }
}
