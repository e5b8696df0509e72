//! The stage as a program: `_start` (in `arch`) calls [`stage_main`] with the initial stack.
//!
//! `argv[1]` is the number of the descriptor that holds the [block](runtime_stage::io::Block), `argv[2]` its length.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

mod mem;

use runtime_stage::{io::Block, run, sys};

runtime_stage::start!(stage_main);

/// Maps the block and carries out the plan in it.
///
/// # Safety
/// Called once, by `_start`, with the stack pointer the kernel set up (argc, argv…).
#[unsafe(no_mangle)]
unsafe extern "C" fn stage_main(stack: *const usize) -> ! {
    // SAFETY: the caller passes the kernel's initial stack, which begins with argc and argv.
    let (fd, length) = unsafe { (sys::decimal_argument(stack, 1), sys::decimal_argument(stack, 2)) };
    match fd.zip(length).and_then(|(fd, length)| Block::map(fd, length as usize)) {
        Some(block) => run::stage(block),
        None => sys::exit(run::EXIT_NO_PLAN),
    }
}

/// Never reached: the symbol test proves that no panic path is linked in.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::exit(run::EXIT_PANIC)
}
