//! The runtimes to compare.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Result;
use super::option::Options;
use super::program::Programs;

/// One runtime.
pub struct Peer {
    pub name: String,
    pub program: PathBuf,
    /// First line of `--version`.
    pub version: String,
}

/// The floor first, then ours, then the peers that are there. Who is missing is said on stderr.
pub fn find(options: &Options, programs: &Programs) -> Result<Vec<Peer>> {
    let mut peers = vec![Peer { name: "floor".into(), program: programs.floor.clone(), version: String::new() }];
    let ours = std::env::var_os("RUNTIME").map_or_else(default_runtime, PathBuf::from);
    if ours.is_file() {
        peers.push(peer("ours", ours)?);
    } else {
        super::note(&format!("ours is not there: {} (cargo build --release, or set RUNTIME)", ours.display()));
    }
    for name in ["crun", "runc", "youki"] {
        match search(name) {
            Some(program) => peers.push(peer(name, program)?),
            None => super::note(&format!("{name} is not installed: left out")),
        }
    }
    for (path, name) in &options.runtimes {
        peers.push(peer(name, path.clone())?);
    }
    Ok(peers)
}

/// Where `cargo build --release` puts ours; `.cargo/config.toml` names the host as the target.
fn default_runtime() -> PathBuf {
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    super::program::source().join("../target").join(triple).join("release/runtime")
}

fn peer(name: &str, program: PathBuf) -> Result<Peer> {
    let program = program.canonicalize().map_err(|e| format!("{}: {e}", program.display()))?;
    let output = Command::new(&program).arg("--version").output();
    let output = output.map_err(|e| format!("{} --version: {e}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(Peer { name: name.to_owned(), program, version: text.lines().next().unwrap_or_default().trim().to_owned() })
}

fn search(name: &str) -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo/bin"));
    let tools = super::program::source().join("../target/tools/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(home).chain([tools]);
    // Debian keeps runc in /usr/sbin, which a user's PATH may lack.
    let directories = directories.chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    directories.map(|directory| directory.join(name)).find(|program| program.is_file())
}
