//! The C programs of the benchmark, built when they are needed: the floor, and the one that measures.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Result;

/// Paths of the built programs.
pub struct Programs {
    pub floor: PathBuf,
    pub measure: PathBuf,
}

/// Where the benchmark keeps its files: `target/bench`.
pub fn directory() -> Result<PathBuf> {
    let path = source().join("../target/bench");
    std::fs::create_dir_all(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    path.canonicalize().map_err(|e| format!("{}: {e}", path.display()))
}

/// The `conformance` directory.
pub fn source() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compiles both programs.
pub fn build() -> Result<Programs> {
    let directory = directory()?;
    let header = super::filter::header(&super::bundle::profile()?)?;
    let path = directory.join("filter.h");
    std::fs::write(&path, header).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(Programs { floor: compile("floor", &directory)?, measure: compile("measure", &directory)? })
}

fn compile(name: &str, directory: &Path) -> Result<PathBuf> {
    let program = directory.join(name);
    let output = Command::new("gcc")
        .args(["-O2", "-Wall", "-static", "-s"])
        .arg(format!("-I{}", directory.display()))
        .arg(source().join(format!("floor/{name}.c")))
        .arg("-o")
        .arg(&program)
        .output()
        .map_err(|e| format!("gcc: {e} (scripts/setup.sh installs it)"))?;
    match output.status.success() {
        true => Ok(program),
        false => Err(format!("gcc {name}.c: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
