//! Building the suite with Go, once: it is kept in the build directory until its version or Go's changes.

use crate::rootfs;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const MODULE: &str = "github.com/opencontainers/runtime-tools";
/// What runs inside the containers.
pub const INSIDE: &str = "runtimetest";
/// The root filesystem of all containers.
pub const ROOT: &str = "rootfs-amd64.tar.gz";

/// What was built.
#[derive(Debug)]
pub struct Suite {
    pub folder: PathBuf,
    /// All but [`INSIDE`].
    pub programs: Vec<String>,
    /// Of the module.
    pub version: String,
}

/// Builds it, or says why it cannot be: no Go, no network, another machine.
pub fn suite() -> Result<Suite, String> {
    if !cfg!(target_arch = "x86_64") {
        return Err("the suite's root filesystem is for x86_64 only".into());
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime-tools");
    let folder = rootfs::cache()?.join("runtime-tools");
    let pinned = pinned(&source)?;
    let stamp = folder.join("stamp");
    if fs::read_to_string(&stamp).ok().as_deref() != Some(pinned.as_str()) {
        build(&source, &folder)?;
        fs::write(&stamp, &pinned).map_err(|e| format!("{}: {e}", stamp.display()))?;
    }
    let mut programs = Vec::new();
    for entry in fs::read_dir(folder.join("bin")).map_err(|e| format!("{}: {e}", folder.display()))?.flatten() {
        programs.push(entry.file_name().to_string_lossy().into_owned());
    }
    programs.retain(|name| name != INSIDE);
    programs.sort();
    let version = pinned.lines().find_map(|line| line.trim().strip_prefix("require ")?.strip_prefix(MODULE));
    Ok(Suite { folder, programs, version: version.unwrap_or_default().trim().to_owned() })
}

/// The text that decides whether what is there is still right.
fn pinned(source: &Path) -> Result<String, String> {
    let read = |name: &str| fs::read_to_string(source.join(name)).map_err(|e| format!("runtime-tools/{name}: {e}"));
    Ok(format!("{}{}", read("go.mod")?, read("go.sum")?))
}

fn build(source: &Path, folder: &Path) -> Result<(), String> {
    let go =
        crate::runtime::in_path("go").or_else(|| Some(PathBuf::from("/usr/local/go/bin/go")).filter(|p| p.is_file()));
    let go = go.ok_or("Go is not installed")?;
    println!("building the suite (once; kept in {})", folder.display());
    let bin = folder.join("bin");
    let _ = fs::remove_dir_all(&bin);
    fs::create_dir_all(&bin).map_err(|e| format!("{}: {e}", bin.display()))?;
    let programs = format!("{MODULE}/validation/...");
    let inside = format!("{MODULE}/cmd/{INSIDE}");
    let out = format!("{}/", bin.display());
    run(&go, source, &["build", "-trimpath", "-ldflags=-s -w", "-o", &out, &programs, &inside])?;
    let module = run(&go, source, &["list", "-m", "-f", "{{.Dir}}", MODULE])?;
    let (from, to) = (Path::new(module.trim()).join(ROOT), folder.join(ROOT));
    fs::copy(&from, &to).map(drop).map_err(|e| format!("{}: {e}", from.display()))
}

/// Runs Go; the last line of what it says if it fails, which is why there is no suite.
fn run(go: &Path, source: &Path, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new(go);
    command.args(args).current_dir(source);
    command.env("GOFLAGS", "-mod=readonly -buildvcs=false").env("CGO_ENABLED", "0").env("GOTOOLCHAIN", "local");
    let output = command.output().map_err(|e| format!("{}: {e}", go.display()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("go {}: {}", args[0], text.trim().lines().last().unwrap_or("failed")))
}
