//! `cargo test -p conformance [-- FILTER…]`: builds our runtime, then runs every case with it, runc and crun.
#![allow(clippy::print_stderr, reason = "a test's main")]

use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    // Cargo does not build another package's binary for a test; a stale one would prove nothing.
    let built = Command::new(env!("CARGO")).args(["build", "--quiet", "-p", "runtime-cli"]).status();
    if !built.is_ok_and(|s| s.success()) {
        eprintln!("cannot build runtime-cli");
        return ExitCode::FAILURE;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    ExitCode::from(u8::try_from(conformance::harness::main(&args)).unwrap_or(1))
}
