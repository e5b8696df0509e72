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

/// Decides, with the module's version, whether what is there is still right: raise it when the building changes.
const RECIPE: &str = "recipe 3\n";
/// Where Go raises the limit of open files in every program before its first line, by version.
const RAISES_LIMIT: [&str; 2] = ["syscall/rlimit.go", "os/rlimit.go"];

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
    Ok(format!("{RECIPE}{}{}", read("go.mod")?, read("go.sum")?))
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
    run(&go, source, &["build", "-trimpath", "-ldflags=-s -w", "-o", &out, &programs])?;
    let overlay = format!("-overlay={}", keep_limit(run(&go, source, &["env", "GOROOT"])?.trim(), folder)?.display());
    run(&go, source, &["build", "-trimpath", "-ldflags=-s -w", &overlay, "-o", &out, &inside])?;
    let module = run(&go, source, &["list", "-m", "-f", "{{.Dir}}", MODULE])?;
    root(&Path::new(module.trim()).join(ROOT), &bin, &folder.join(ROOT))
}

/// For `go build -overlay`: Go's own files in which the limit is not raised.
fn keep_limit(go: &str, folder: &Path) -> Result<PathBuf, String> {
    let mut replaced = serde_json::Map::new();
    for name in RAISES_LIMIT {
        let path = Path::new(go).join("src").join(name);
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let own = folder.join(name.replace('/', "-"));
        fs::write(&own, text.replace("func init() {", "func _() {")).map_err(|e| format!("{}: {e}", own.display()))?;
        replaced.insert(path.to_string_lossy().into_owned(), own.to_string_lossy().into());
    }
    let path = folder.join("overlay.json");
    let text = serde_json::json!({ "Replace": replaced }).to_string();
    fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}

/// The root filesystem with [`INSIDE`] in it, which one program runs and forgets to put there. tar(1) looks at what is in
/// a file, not at how it is called.
fn root(from: &Path, bin: &Path, to: &Path) -> Result<(), String> {
    let fail = |e: String| format!("{}: {e}", from.display());
    let packed = fs::File::open(from).map_err(|e| fail(e.to_string()))?;
    let unpacked = fs::File::create(to).map_err(|e| format!("{}: {e}", to.display()))?;
    let mut unpack = Command::new("gzip");
    unpack.arg("-dc").stdin(packed).stdout(unpacked);
    let mut add = Command::new("tar");
    add.arg("-rf").arg(to).args(["--owner=0", "--group=0", "--mode=755", "-C"]).arg(bin).arg(INSIDE);
    for mut command in [unpack, add] {
        match command.status() {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(fail(format!("{command:?}: {status}"))),
            Err(e) => return Err(fail(format!("{command:?}: {e}"))),
        }
    }
    Ok(())
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
