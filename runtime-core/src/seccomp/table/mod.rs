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

/// How a call is reached through the multiplexer an architecture has beside or instead of it: the
/// multiplexer's name and the call number in its first argument (linux/net.h, linux/ipc.h).
pub fn multiplexed(name: Name) -> Option<(&'static str, u32)> {
    let socket = |n| Some(("socketcall", n));
    let ipc = |n| Some(("ipc", n));
    match spelled(name) {
        b"socket" => socket(1),
        b"bind" => socket(2),
        b"connect" => socket(3),
        b"listen" => socket(4),
        b"accept" => socket(5),
        b"getsockname" => socket(6),
        b"getpeername" => socket(7),
        b"socketpair" => socket(8),
        b"send" => socket(9),
        b"recv" => socket(10),
        b"sendto" => socket(11),
        b"recvfrom" => socket(12),
        b"shutdown" => socket(13),
        b"setsockopt" => socket(14),
        b"getsockopt" => socket(15),
        b"sendmsg" => socket(16),
        b"recvmsg" => socket(17),
        b"accept4" => socket(18),
        b"recvmmsg" => socket(19),
        b"sendmmsg" => socket(20),
        b"semop" => ipc(1),
        b"semget" => ipc(2),
        b"semctl" => ipc(3),
        b"semtimedop" => ipc(4),
        b"msgsnd" => ipc(11),
        b"msgrcv" => ipc(12),
        b"msgget" => ipc(13),
        b"msgctl" => ipc(14),
        b"shmat" => ipc(21),
        b"shmdt" => ipc(22),
        b"shmget" => ipc(23),
        b"shmctl" => ipc(24),
        _ => None,
    }
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
        }
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
