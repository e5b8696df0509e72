//! Builds the stage as a program of its own, with plain `rustc` and no cargo inside cargo, and leaves it where
//! `launch/seal.rs` embeds it from.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    let source = Path::new("stage/src");
    watch(source);
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let library = out.join("libruntime_stage.rlib");
    let program = out.join("stage");

    let mut rustc = rustc();
    rustc.args(["--crate-name=runtime_stage", "--crate-type=rlib", "-o"]).arg(&library).arg(source.join("lib.rs"));
    run(rustc);

    let mut rustc = self::rustc();
    rustc.args(["--crate-name=stage", "--crate-type=bin", "-Clto=fat", "--extern"]);
    rustc.arg(format!("runtime_stage={}", library.display()));
    for argument in ["-nostartfiles", "-nostdlib", "-static", "-no-pie"] {
        rustc.arg(format!("-Clink-arg={argument}"));
    }
    // One small segment, nothing to relocate: fewer pages to map and to fault in.
    for argument in ["--build-id=none", "--gc-sections", "-znoseparate-code", "-znorelro", "-zmax-page-size=4096"] {
        rustc.arg(format!("-Clink-arg=-Wl,{argument}"));
    }
    rustc.arg("-o").arg(&program).arg(source.join("main.rs"));
    run(rustc);
}

/// The compiler of this build, for its target, set up for a freestanding program.
fn rustc() -> Command {
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args(["--edition=2024", "--target", &variable("TARGET")]);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={linker}"));
    }
    rustc.args(["-Copt-level=s", "-Cpanic=abort", "-Ccodegen-units=1", "-Cdebuginfo=0", "-Crelocation-model=static"]);
    rustc.args(["-Cforce-unwind-tables=no", "-Coverflow-checks=off", "-Cdebug-assertions=off"]);
    rustc.args(["-Ctarget-feature=+crt-static", "-Cembed-bitcode=yes"]);
    if variable("CARGO_CFG_TARGET_ENV") == "musl" {
        // The stage brings its own start.
        rustc.arg("-Clink-self-contained=no");
    }
    rustc
}

fn run(mut command: Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}

fn watch(directory: &Path) {
    println!("cargo::rerun-if-changed={}", directory.display());
    for entry in fs::read_dir(directory).expect("read stage/src") {
        let path = entry.expect("read stage/src").path();
        if path.is_dir() { watch(&path) } else { println!("cargo::rerun-if-changed={}", path.display()) }
    }
}
