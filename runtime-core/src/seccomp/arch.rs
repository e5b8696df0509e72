//! Architectures a profile can name, and what a filter must know about each.

/// Set in the number of every x32 call; x32 shares its audit value with x86_64.
pub const X32_BIT: u32 = 1 << 30;

const LE: u32 = 0x4000_0000;
const BITS64: u32 = 0x8000_0000;
const N32: u32 = 0x2000_0000;

macro_rules! arches {
    ($($(#[$meta:meta])* $variant:ident $name:literal $audit:expr, $bits:literal;)*) => {
        /// An architecture of config-linux.md, "Seccomp".
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Arch { $($(#[$meta])* $variant,)* }

        /// Every architecture name a profile may use.
        pub const ARCHITECTURES: &[&str] = &[$($name),*];

        impl Arch {
            /// Every architecture.
            pub const ALL: &[Arch] = &[$(Arch::$variant),*];

            /// From `SCMP_ARCH_…`.
            pub fn from_name(name: &str) -> Option<Arch> {
                match name { $($name => Some(Arch::$variant),)* _ => None }
            }

            /// As `SCMP_ARCH_…`.
            pub const fn name(self) -> &'static str {
                match self { $(Arch::$variant => $name,)* }
            }

            /// `AUDIT_ARCH_…` of linux/audit.h, what the kernel puts into `seccomp_data.arch`.
            pub const fn audit(self) -> u32 {
                match self { $(Arch::$variant => $audit,)* }
            }

            /// Whether arguments are compared as 64 bits; elsewhere only the lower 32 count.
            pub const fn is_wide(self) -> bool {
                match self { $(Arch::$variant => $bits == 64,)* }
            }
        }
    };
}

// The numbers are EM_… of linux/elf-em.h. x32 and n32 are narrow: their registers are wide, their
// arguments are not (libseccomp compares 32 bits there too).
arches! {
    /// 64-bit x86.
    X86_64 "SCMP_ARCH_X86_64" 62 | BITS64 | LE, 64;
    /// 32-bit x86.
    X86 "SCMP_ARCH_X86" 3 | LE, 32;
    /// 64-bit x86 with 32-bit pointers.
    X32 "SCMP_ARCH_X32" 62 | BITS64 | LE, 32;
    /// 32-bit ARM, EABI.
    Arm "SCMP_ARCH_ARM" 40 | LE, 32;
    /// 64-bit ARM.
    Aarch64 "SCMP_ARCH_AARCH64" 183 | BITS64 | LE, 64;
    /// MIPS o32, big endian.
    Mips "SCMP_ARCH_MIPS" 8, 32;
    /// MIPS n64, big endian.
    Mips64 "SCMP_ARCH_MIPS64" 8 | BITS64, 64;
    /// MIPS n32, big endian.
    Mips64n32 "SCMP_ARCH_MIPS64N32" 8 | BITS64 | N32, 32;
    /// MIPS o32, little endian.
    Mipsel "SCMP_ARCH_MIPSEL" 8 | LE, 32;
    /// MIPS n64, little endian.
    Mipsel64 "SCMP_ARCH_MIPSEL64" 8 | BITS64 | LE, 64;
    /// MIPS n32, little endian.
    Mipsel64n32 "SCMP_ARCH_MIPSEL64N32" 8 | BITS64 | LE | N32, 32;
    /// 32-bit PA-RISC.
    Parisc "SCMP_ARCH_PARISC" 15, 32;
    /// 64-bit PA-RISC.
    Parisc64 "SCMP_ARCH_PARISC64" 15 | BITS64, 64;
    /// 32-bit PowerPC.
    Ppc "SCMP_ARCH_PPC" 20, 32;
    /// 64-bit PowerPC, big endian.
    Ppc64 "SCMP_ARCH_PPC64" 21 | BITS64, 64;
    /// 64-bit PowerPC, little endian.
    Ppc64le "SCMP_ARCH_PPC64LE" 21 | BITS64 | LE, 64;
    /// 64-bit RISC-V.
    Riscv64 "SCMP_ARCH_RISCV64" 243 | BITS64 | LE, 64;
    /// 31-bit s390.
    S390 "SCMP_ARCH_S390" 22, 32;
    /// 64-bit s390.
    S390x "SCMP_ARCH_S390X" 22 | BITS64, 64;
    /// 64-bit LoongArch.
    Loongarch64 "SCMP_ARCH_LOONGARCH64" 258 | BITS64 | LE, 64;
    /// m68k.
    M68k "SCMP_ARCH_M68K" 4, 32;
    /// SuperH, little endian.
    Sh "SCMP_ARCH_SH" 42 | LE, 32;
    /// SuperH, big endian.
    Sheb "SCMP_ARCH_SHEB" 42, 32;
}

impl Arch {
    /// The architecture this program was built for.
    pub const fn native() -> Arch {
        const BIG: bool = cfg!(target_endian = "big");
        if cfg!(all(target_arch = "x86_64", target_pointer_width = "32")) {
            Arch::X32
        } else if cfg!(target_arch = "x86_64") {
            Arch::X86_64
        } else if cfg!(target_arch = "x86") {
            Arch::X86
        } else if cfg!(target_arch = "aarch64") {
            Arch::Aarch64
        } else if cfg!(target_arch = "arm") {
            Arch::Arm
        } else if cfg!(target_arch = "riscv64") {
            Arch::Riscv64
        } else if cfg!(target_arch = "s390x") {
            Arch::S390x
        } else if cfg!(target_arch = "powerpc64") {
            if BIG { Arch::Ppc64 } else { Arch::Ppc64le }
        } else if cfg!(target_arch = "powerpc") {
            Arch::Ppc
        } else if cfg!(any(target_arch = "mips64", target_arch = "mips64r6")) {
            if BIG { Arch::Mips64 } else { Arch::Mipsel64 }
        } else if cfg!(any(target_arch = "mips", target_arch = "mips32r6")) {
            if BIG { Arch::Mips } else { Arch::Mipsel }
        } else if cfg!(target_arch = "loongarch64") {
            Arch::Loongarch64
        } else {
            // Evaluated at build time wherever it is reached: an unknown target does not compile.
            const { assert!(KNOWN_TARGET, "seccomp: unknown target architecture") };
            Arch::M68k
        }
    }

    /// Whether the architecture stores the high half of a 64-bit argument first.
    pub const fn is_big_endian(self) -> bool {
        self.audit() & LE == 0
    }
}

const KNOWN_TARGET: bool = cfg!(any(
    target_arch = "x86_64",
    target_arch = "x86",
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "riscv64",
    target_arch = "s390x",
    target_arch = "powerpc64",
    target_arch = "powerpc",
    target_arch = "mips64",
    target_arch = "mips64r6",
    target_arch = "mips",
    target_arch = "mips32r6",
    target_arch = "loongarch64",
    target_arch = "m68k",
));
