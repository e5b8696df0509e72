//! Has the linker put the functions of the usual verbs side by side (hot.ld): a start maps and faults in fewer pages.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=hot.ld");
    println!("cargo::rerun-if-env-changed=RUNTIME_HOT_SECTIONS");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    // The script is for linkers that know INSERT (ld, lld); a build with another one says no.
    let wanted = is("PROFILE", "release")
        && is("CARGO_CFG_TARGET_ARCH", "x86_64")
        && (is("CARGO_CFG_TARGET_ENV", "gnu") || is("CARGO_CFG_TARGET_ENV", "musl"))
        && !is("RUNTIME_HOT_SECTIONS", "no");
    if let (true, Ok(here)) = (wanted, env::var("CARGO_MANIFEST_DIR")) {
        println!("cargo::rustc-link-arg-bin=runtime=-Wl,-T,{}", Path::new(&here).join("hot.ld").display());
    }
}
