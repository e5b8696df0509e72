//! `cargo test -p conformance [-- FILTER…]`: builds our runtime, then runs every case with it (by both
//! entries), runc and crun, in a mount namespace in which the host is read-only.
#![allow(clippy::print_stderr, reason = "a test's main")]

use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    // Cargo does not build another package's binary for a test; a stale one would prove nothing. $RUNTIME names one
    // that somebody else has built.
    let built = || Command::new(env!("CARGO")).args(["build", "--quiet", "-p", "runtime-cli"]).status();
    if std::env::var_os("RUNTIME").is_none() && !built().is_ok_and(|s| s.success()) {
        eprintln!("cannot build runtime-cli");
        return ExitCode::FAILURE;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    ExitCode::from(u8::try_from(conformance::harness::main(&args)).unwrap_or(1))
}
