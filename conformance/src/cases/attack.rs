//! attacks: what an image or a sibling container may try while a container is made (security.md, classes A to F). Those
//! on mounts, on /dev and by way of the process have files of their own.
//!
//! A canary tree stands for the host. It must be as it was whether the runtime refuses or carries on inside the root.
//! That these cases can see a hole is shown by old runtimes that have it: their failures are listed with the CVE.

use crate::bundle::Bundle;
use crate::canary::Canary;
use crate::cases;
use crate::check;
use crate::command::Output;
use crate::test::{Outcome, Test};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

cases!["attack": root_is_swapped_in_a_link, passwd_is_a_link_out, nothing_is_left_in_the_image];

/// The canary, and a bundle with a writable root: what could go wrong must not fail because of the mode.
pub(super) fn scene(t: &Test) -> Outcome<(Canary, Bundle)> {
    let canary = Canary::new(&t.folder.join("canary"))?;
    Ok((canary, t.bundle()?.with("/root/readonly", json!(false))))
}

/// Runs it; it may refuse or run, but not hang, crash or touch the canary.
pub(super) fn harmless(t: &Test, canary: &Canary, bundle: &Bundle, what: &str) -> Outcome<Output> {
    let output = t.run(bundle)?;
    untouched(canary, what)?;
    Ok(output)
}

pub(super) fn untouched(canary: &Canary, what: &str) -> Outcome {
    let changes = canary.changes()?;
    check!(changes.is_empty(), "{what}: the host changed: {}", changes.join("; "));
    Ok(())
}

/// Replaces a path of the root filesystem by a link.
pub(super) fn link(bundle: &Bundle, name: &str, target: impl AsRef<Path>) -> Outcome {
    let path = bundle.rootfs().join(name);
    match fs::symlink_metadata(&path) {
        Ok(about) if about.is_dir() => fs::remove_dir_all(&path)?,
        Ok(_) => fs::remove_file(&path)?,
        Err(_) => {}
    }
    Ok(symlink(target, path)?)
}

/// The ways to write the same place outside from inside the root.
pub(super) fn ways_out(target: &Path) -> [PathBuf; 3] {
    let path = target.display();
    [target.into(), format!("../../../../../../../../../..{path}").into(), format!("/proc/self/root{path}").into()]
}

/// The root directory is swapped for a link while the container is made: a caller's duty, but never a crash.
fn root_is_swapped_in_a_link(t: &Test) -> Outcome {
    let (canary, bundle) = scene(t)?;
    fs::rename(bundle.rootfs(), bundle.path.join("real"))?;
    symlink("real", bundle.rootfs())?;
    harmless(t, &canary, &bundle, "root/path is a link").map(drop)
}

fn passwd_is_a_link_out(t: &Test) -> Outcome {
    let (canary, bundle) = scene(t)?;
    fs::write(canary.path.join("file"), "root:x:0:0::/from-the-host:/\n")?;
    let canary = Canary::again(&canary.path)?;
    for way in ways_out(&canary.path.join("file")) {
        link(&bundle, "etc/passwd", &way)?;
        let output = harmless(t, &canary, &bundle, "passwd")?;
        check!(!output.stdout.contains("from-the-host"), "HOME came from the host through {}", way.display());
    }
    Ok(())
}

/// A5: a runtime's own file in the image could be a link to somewhere else.
fn nothing_is_left_in_the_image(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/root/readonly", json!(false));
    let before = crate::canary::snapshot(&bundle.rootfs())?;
    t.sleeper(Bundle { path: bundle.path.clone(), config: bundle.config.clone() })?;
    let during = crate::canary::snapshot(&bundle.rootfs())?;
    t.delete()?;
    let made: Vec<_> = during.keys().filter(|path| !before.contains_key(*path)).collect();
    check!(made.is_empty(), "made in the image: {made:?}");
    Ok(())
}
