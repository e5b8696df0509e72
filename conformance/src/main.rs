//! `conformance test|bench …`: the tests and the benchmarks for any OCI runtime.
#![allow(clippy::print_stderr, reason = "a command line tool")]

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let status = match args.split_first() {
        Some((verb, rest)) if verb == "test" => conformance::harness::main(rest),
        Some((verb, rest)) if verb == "bench" => conformance::bench::main(rest),
        Some((verb, rest)) if verb == "runtime-tools" => conformance::suite::main(rest),
        Some((verb, rest)) if verb == "isolated" => conformance::isolate::main(rest),
        _ => {
            eprintln!(
                "usage: conformance test [--runtime PATH]… [--only NAME]… [--all] [--jobs N] [--within SECONDS] [--list] [FILTER]…\n       conformance isolated [-w DIR]… -- COMMAND…\n       conformance runtime-tools [--runtime PATH]… [--write FILE] [PROGRAM]…\n       conformance bench …"
            );
            2
        }
    };
    ExitCode::from(u8::try_from(status).unwrap_or(1))
}
