//! The program the tests run inside containers: reports, as one JSON document on stdout, what a process there gets.
//!
//! It is one static file and needs nothing from the root filesystem. It has no Rust `main`: the standard library's start
//! code ignores SIGPIPE and installs signal stacks, and the report must show what the *runtime* left, not what std did.
#![no_main]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is its job")]

mod act;
mod path;
mod report;
mod sys;

/// The process entry the C start code calls; `std::env::args` works all the same on Linux with glibc.
// SAFETY: the only definition of `main` in this program, with the C ABI the start code expects.
#[unsafe(no_mangle)]
extern "C" fn main(_argc: i32, _argv: *const *const u8) -> i32 {
    let args: Vec<String> = std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.get(1).copied().unwrap_or("report") {
        "report" => report::print(words.get(2..).unwrap_or(&[])),
        verb => act::act(verb, words.get(2..).unwrap_or(&[])),
    }
}
