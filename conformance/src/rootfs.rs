//! A Debian root filesystem, made once by debootstrap and kept in the build directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

static DEBIAN: OnceLock<Result<PathBuf, String>> = OnceLock::new();

/// How long the mirror may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Where it is kept: `target/conformance`.
pub fn cache() -> Result<PathBuf, String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
        |folder| Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder),
    );
    let path = target.join("conformance");
    fs::create_dir_all(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    path.canonicalize().map_err(|e| format!("{}: {e}", path.display()))
}

/// Makes it if it is not there. Call it isolated, with the cache still writable.
pub fn prepare(cache: &Path) {
    let _ = DEBIAN.set(make(cache));
}

/// The root filesystem, read-only; or why there is none.
pub fn debian() -> Result<PathBuf, String> {
    DEBIAN.get().cloned().unwrap_or_else(|| Err("not prepared".into()))
}

fn make(cache: &Path) -> Result<PathBuf, String> {
    let path = cache.join("debian");
    if path.join("bin/sh").exists() {
        return Ok(path);
    }
    let program = crate::runtime::in_path("debootstrap").ok_or("debootstrap is not installed")?;
    println!("debootstrap (once; kept in {})", path.display());
    let partial = cache.join(format!("debian.{}", std::process::id()));
    let log = cache.join("debootstrap.log");
    let done = debootstrap(&program, &partial, &log);
    let mounted = !crate::leak::mounts_under(&partial).is_empty();
    match done {
        Ok(()) if mounted => Err("debootstrap left mounts".into()),
        Ok(()) => fs::rename(&partial, &path).map(|()| path).map_err(|e| format!("{}: {e}", partial.display())),
        Err(e) => {
            if !mounted {
                let _ = fs::remove_dir_all(&partial);
            }
            Err(e)
        }
    }
}

fn debootstrap(program: &Path, folder: &Path, log: &Path) -> Result<(), String> {
    let file = fs::File::create(log).map_err(|e| format!("{}: {e}", log.display()))?;
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command.args(["--variant=minbase", "stable"]).arg(folder).env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command.stdin(Stdio::null()).stderr(file.try_clone().map_err(|e| e.to_string())?).stdout(file);
    let mut child = command.spawn().map_err(|e| format!("{}: {e}", program.display()))?;
    let start = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if start.elapsed() > PATIENCE => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("debootstrap was not done after {PATIENCE:?}"));
            }
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    };
    if status.success() {
        return Ok(());
    }
    let text = fs::read_to_string(log).unwrap_or_default();
    Err(format!("debootstrap: {}", text.lines().last().unwrap_or("failed")))
}
