//! The stage as a sealed anonymous file: what the container's `/proc/self/exe` is until its program runs.
//!
//! Nobody can write to it, so a container that gets hold of it can change nothing (CVE-2019-5736).

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};

use crate::sys::shared::memfd;

/// The stage, as `build.rs` made it.
static STAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stage"));

/// A fresh sealed copy of the stage.
pub(super) fn sealed() -> io::Result<OwnedFd> {
    let mut file = File::from(memfd(c"runtime-stage", true)?);
    file.write_all(STAGE)?;
    let seals = SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The proof that nothing in the stage can panic or allocate: no such symbol was linked in.
    #[test]
    fn the_stage_has_no_panic_path_and_no_allocator() {
        let names = symbols(STAGE);
        assert!(names.iter().any(|name| name.contains("runtime_stage")), "the stage carries its symbols: {names:?}");
        let bad = [
            "panic_fmt",
            "panic_const",
            "panic_bounds_check",
            "unwrap_failed",
            "__rust_alloc",
            "malloc",
            "alloc5alloc",
        ];
        let found: Vec<_> = names.iter().filter(|name| bad.iter().any(|bad| name.contains(bad))).collect();
        assert!(found.is_empty(), "{found:?}");
    }

    /// Names in the symbol table of a 64-bit little-endian ELF file.
    fn symbols(elf: &[u8]) -> Vec<String> {
        let word =
            |at: usize, size: usize| elf[at..at + size].iter().rev().fold(0_usize, |n, b| n << 8 | usize::from(*b));
        let (table, size, count) = (word(0x28, 8), word(0x3a, 2), word(0x3c, 2));
        let section = |index: usize| table + index * size;
        let symtab = (0..count).map(section).find(|at| word(at + 4, 4) == 2).expect("a symbol table");
        let strings = word(section(word(symtab + 0x28, 4)) + 0x18, 8);
        let (start, length) = (word(symtab + 0x18, 8), word(symtab + 0x20, 8));
        let name = |at: usize| {
            let bytes = &elf[strings + word(at, 4)..];
            String::from_utf8_lossy(&bytes[..bytes.iter().position(|b| *b == 0).unwrap()]).into_owned()
        };
        (start..start + length).step_by(24).map(name).collect()
    }
}
