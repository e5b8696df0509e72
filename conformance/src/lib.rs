//! Runs any OCI runtime binary through the same tests: ours, and as controls the host's runc and crun.
//!
//! A test is a function over a [`test::Test`]; it makes a [`bundle::Bundle`], runs the runtime on it and looks at what the
//! probe inside reported ([`report::Report`]). After each test nothing of it may be left on the host ([`leak`]).
//!
//! To read: [`cases`], a file for each noun; [`test`], what a case has at hand; [`attempt`], one case with one runtime;
//! [`harness`], all of them. [`bench`] and [`suite`] are programs of their own.
#![allow(missing_docs, reason = "a test tool: names say it, and nothing outside uses it")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool's library")]

pub mod attempt;
pub mod bench;
pub mod bundle;
pub mod canary;
pub mod cases;
pub mod command;
pub mod console;
pub mod expect;
pub mod fake_systemd;
pub mod guard;
pub mod harness;
pub mod isolate;
pub mod leak;
pub mod machine;
pub mod outcome;
pub mod pty;
pub mod report;
pub mod rootfs;
pub mod runtime;
pub mod stepper;
pub mod suite;
pub mod tally;
pub mod test;
pub mod trace;
