//! race: what a sibling that shares a volume may change in the middle of a create, made to happen by the stepper (H4).

use crate::bundle::Bundle;
use crate::canary::Canary;
use crate::cases;
use crate::report::Report;
use crate::stepper::held;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

cases!["race":
    parent_of_a_mount_point_becomes_a_link, late_read_only_is_for_the_mount_that_was_made,
    read_only_path_is_what_was_found, masked_path_is_what_was_found, file_in_the_place_of_a_device_is_refused,
];

fn exchange(one: &Path, other: &Path) -> Outcome {
    Ok(renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE)?)
}

/// A bundle with /volume/dir and /volume/other, in each a file.
fn scene(t: &Test) -> Outcome<Bundle> {
    let bundle = t.bundle()?.with("/root/readonly", json!(false));
    for name in ["dir", "other"] {
        let folder = bundle.rootfs().join("volume").join(name);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("file"), name)?;
    }
    Ok(bundle)
}

fn mount_first(bundle: &mut Bundle, mount: Value) {
    if let Some(Value::Array(list)) = bundle.config.pointer_mut("/mounts") {
        list.insert(0, mount);
    }
}

fn run(t: &Test, bundle: &Bundle, call: &str, change: impl FnOnce() -> Outcome) -> Outcome<crate::command::Output> {
    held(t, call, &["run", "--bundle", &bundle.saved()?, &t.id], change)
}

/// CVE-2024-45310, CVE-2021-30465: while a missing directory of the mount point is made.
fn parent_of_a_mount_point_becomes_a_link(t: &Test) -> Outcome {
    if t.runtime.name == "crun" {
        return skip("its processes all have one name: which makes the container is not to be seen");
    }
    let canary = Canary::new(&t.folder.join("canary"))?;
    let mut bundle = scene(t)?.probe(&["exit", "0"]);
    let volume = bundle.rootfs().join("volume");
    symlink(&canary.path, volume.join("link"))?;
    mount_first(&mut bundle, json!({ "destination": "/volume/dir/new/deep", "type": "tmpfs", "source": "tmpfs" }));
    run(t, &bundle, "mkdirat", || exchange(&volume.join("dir"), &volume.join("link")))?;
    let changes = canary.changes()?;
    check!(changes.is_empty(), "the host changed: {}", changes.join("; "));
    check!(crate::leak::mounts_under(&canary.path).is_empty(), "a mount on the host");
    Ok(())
}

/// A tmpfs becomes read-only at the end, when everything below it is made: by then its path may name something else.
fn late_read_only_is_for_the_mount_that_was_made(t: &Test) -> Outcome {
    if !t.runtime.is_ours() {
        return skip("about the way ours does it");
    }
    let mut bundle = scene(t)?.looking_at(&["/volume/other/sealed"]);
    let volume = bundle.rootfs().join("volume");
    fs::create_dir(volume.join("dir/sealed"))?;
    symlink("/tmp", volume.join("other/sealed"))?;
    bundle.mount("/volume/dir/sealed", "tmpfs", "tmpfs", &["ro"]);
    bundle.mount("/tmp", "tmpfs", "tmpfs", &[]);
    let output = run(t, &bundle, "pivot_root", || exchange(&volume.join("dir"), &volume.join("other")))?;
    check_eq!(output.code, 0, "exit status: {}", output.stderr);
    let report = Report::parse(&output.stdout)?;
    check_eq!(report.path("/volume/other/sealed")["create"], json!(30), "making a file in the read-only tmpfs");
    check!(!report.mounted_with("/tmp", "ro"), "another mount became read-only");
    Ok(())
}

/// GHSA-3q8j-pf29-vwv8: from the look-up on, the object counts, and not the name.
fn read_only_path_is_what_was_found(t: &Test) -> Outcome {
    if !t.runtime.is_ours() {
        return skip("about the way ours does it");
    }
    let bundle =
        scene(t)?.with("/linux/readonlyPaths", json!(["/volume/dir/file"])).looking_at(&["/volume/other/file"]);
    let volume = bundle.rootfs().join("volume");
    let output = run(t, &bundle, "open_tree", || exchange(&volume.join("dir"), &volume.join("other")))?;
    check_eq!(output.code, 0, "exit status: {}", output.stderr);
    let report = Report::parse(&output.stdout)?;
    let file = report.path("/volume/other/file");
    check_eq!(file["read"], json!("dir"), "the file that was found");
    check_eq!(file["write"], json!(30), "writing to it");
    Ok(())
}

/// The same for a mask, of which a sibling could make a window.
fn masked_path_is_what_was_found(t: &Test) -> Outcome {
    if !t.runtime.is_ours() {
        return skip("about the way ours does it");
    }
    // The read-only path comes first, and its open_tree(2) is where it is held; the mask is looked up after.
    let bundle = scene(t)?
        .with("/linux/readonlyPaths", json!(["/etc"]))
        .with("/linux/maskedPaths", json!(["/volume/dir/file"]))
        .looking_at(&["/volume/dir/file"]);
    let volume = bundle.rootfs().join("volume");
    symlink("/etc/passwd", volume.join("other/link"))?;
    fs::remove_file(volume.join("other/file"))?;
    fs::rename(volume.join("other/link"), volume.join("other/file"))?;
    let output = run(t, &bundle, "open_tree", || exchange(&volume.join("dir"), &volume.join("other")))?;
    check_eq!(output.code, 0, "exit status: {}", output.stderr);
    let report = Report::parse(&output.stdout)?;
    check_eq!(report.path("/volume/dir/file")["read"], json!(""), "what the masked path leads to");
    Ok(())
}

/// What stands where a device node is to be made is not given away.
fn file_in_the_place_of_a_device_is_refused(t: &Test) -> Outcome {
    if !t.runtime.is_ours() {
        return skip("about the way ours does it");
    }
    let device = json!({ "type": "c", "path": "/volume/dir/node", "major": 1, "minor": 3, "uid": 1000, "gid": 1000 });
    let bundle = scene(t)?.with("/linux/devices", json!([device])).probe(&["exit", "0"]);
    let dir = bundle.rootfs().join("volume/dir");
    fs::write(dir.join("node"), "somebody else's")?;
    let output = t.run(&bundle)?;
    check_eq!(output.code, 1, "exit status with a file in the place of the device");
    let about = fs::metadata(dir.join("node"))?;
    check_eq!(std::os::unix::fs::MetadataExt::uid(&about), 0, "owner of the file");
    Ok(())
}
