//! `linux.devices`: nodes of the config, where something is there already, in odd places, and in user namespaces.

use super::dev::plain;
use crate::cases;
use crate::test::{Failure, Outcome, Test};
use crate::{check, check_eq};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

cases!["device":
    of_the_config, replaces_a_default, fifo, in_a_missing_directory, outside_dev, below_a_link, twice_the_same_path,
    equal_one_is_there, another_is_there, outside_of_a_bound_dev, numbers, path_is_relative, unknown_type,
    user_namespace_takes_the_hosts, user_namespace_gets_what_was_asked_for, user_namespace_fifo,
];

pub(super) fn node(report: &crate::report::Report, path: &str) -> Value {
    let entry = report.path(path);
    json!([entry["type"], entry["rdev"], entry["mode"], entry["uid"], entry["gid"]])
}

pub(super) fn one(kind: &str, path: &str, major: i64, minor: i64) -> Value {
    json!([{ "type": kind, "path": path, "major": major, "minor": minor }])
}

pub(super) fn make(path: &Path, kind: SFlag, major: u64, minor: u64) -> Outcome {
    Ok(mknod(path, kind, Mode::from_bits_truncate(0o600), makedev(major, minor))?)
}

fn of_the_config(t: &Test) -> Outcome {
    let devices = json!([
        { "type": "c", "path": "/dev/mine", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 1000, "gid": 1001 },
        { "type": "b", "path": "/dev/block", "major": 7, "minor": 9, "fileMode": 0o600 },
        { "type": "u", "path": "/dev/unbuffered", "major": 1, "minor": 3 }
    ]);
    let bundle = t.bundle()?.with("/linux/devices", devices);
    let report = t.report_paths(bundle, &["/dev/mine", "/dev/block", "/dev/unbuffered"])?;
    check_eq!(node(&report, "/dev/mine"), json!(["char", "1:5", "640", 1000, 1001]), "/dev/mine");
    check_eq!(node(&report, "/dev/block"), json!(["block", "7:9", "600", 0, 0]), "/dev/block");
    check_eq!(node(&report, "/dev/unbuffered"), json!(["char", "1:3", "666", 0, 0]), "/dev/unbuffered");
    Ok(())
}

fn replaces_a_default(t: &Test) -> Outcome {
    let device = json!([{ "type": "c", "path": "/dev/null", "major": 1, "minor": 3, "fileMode": 0o600, "uid": 7 }]);
    let report = t.report_paths(t.bundle()?.with("/linux/devices", device), &["/dev/null", "/dev/zero"])?;
    check_eq!(node(&report, "/dev/null"), json!(["char", "1:3", "600", 7, 0]), "/dev/null");
    check_eq!(node(&report, "/dev/zero"), json!(["char", "1:5", "666", 0, 0]), "/dev/zero");
    Ok(())
}

fn fifo(t: &Test) -> Outcome {
    let device = json!([{ "type": "p", "path": "/dev/pipe", "fileMode": 0o622 }]);
    let report = t.report_paths(t.bundle()?.with("/linux/devices", device), &["/dev/pipe"])?;
    check_eq!(node(&report, "/dev/pipe"), json!(["fifo", "0:0", "622", 0, 0]), "/dev/pipe");
    Ok(())
}

fn in_a_missing_directory(t: &Test) -> Outcome {
    let device = json!([{ "type": "c", "path": "/dev/a/b/c", "major": 1, "minor": 3 }]);
    let report = t.report_paths(t.bundle()?.with("/linux/devices", device), &["/dev/a/b/c", "/dev/a"])?;
    check_eq!(report.path("/dev/a/b/c")["rdev"], json!("1:3"), "the device");
    check_eq!(report.path("/dev/a")["mode"], json!("755"), "mode of the directory made for it");
    Ok(())
}

fn outside_dev(t: &Test) -> Outcome {
    let device = json!([{ "type": "c", "path": "/etc/null", "major": 1, "minor": 3 }]);
    let bundle = t.bundle()?.with("/linux/devices", device);
    let rootfs = bundle.rootfs();
    let report = t.report_paths(bundle, &["/etc/null"])?;
    check_eq!(report.path("/etc/null")["rdev"], json!("1:3"), "/etc/null");
    fs::remove_file(rootfs.join("etc/null"))?;
    Ok(())
}

fn below_a_link(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/root/readonly", json!(false));
    let root = bundle.rootfs();
    fs::create_dir(root.join("real"))?;
    symlink("../../../real", root.join("climbing"))?;
    symlink("/real", root.join("absolute"))?;
    let list = json!([
        { "type": "c", "path": "/climbing/one", "major": 1, "minor": 5 },
        { "type": "c", "path": "/absolute/new/two", "major": 1, "minor": 5 }
    ]);
    let report = t.report_paths(bundle.with("/linux/devices", list), &["/real/one", "/real/new/two"])?;
    check_eq!(report.path("/real/one")["rdev"], "1:5", "through a climbing link");
    check_eq!(report.path("/real/new/two")["rdev"], "1:5", "through an absolute link");
    Ok(())
}

/// Engines repeat the defaults; the same again is no mistake.
fn twice_the_same_path(t: &Test) -> Outcome {
    let one = json!({ "type": "c", "path": "/dev/tty", "major": 5, "minor": 0 });
    let report = t.report_paths(t.bundle()?.with("/linux/devices", json!([one, one])), &["/dev/tty"])?;
    check_eq!(report.path("/dev/tty")["rdev"], json!("5:0"), "/dev/tty");
    Ok(())
}

fn equal_one_is_there(t: &Test) -> Outcome {
    let bundle = plain(t)?.with("/linux/devices", one("c", "/dev/mine", 1, 5));
    make(&bundle.rootfs().join("dev/mine"), SFlag::S_IFCHR, 1, 5)?;
    make(&bundle.rootfs().join("dev/null"), SFlag::S_IFCHR, 1, 3)?;
    let report = t.report_paths(bundle, &["/dev/mine", "/dev/null"])?;
    check_eq!(report.path("/dev/mine")["rdev"], "1:5", "the device");
    check_eq!(report.path("/dev/mine")["mode"], "600", "mode of what was there");
    check_eq!(report.path("/dev/null")["rdev"], "1:3", "a default one");
    Ok(())
}

/// config-linux.md, "Devices": what is there already must be the same device.
fn another_is_there(t: &Test) -> Outcome {
    let bundle = plain(t)?.with("/linux/devices", one("c", "/dev/mine", 1, 5));
    let at = bundle.rootfs().join("dev/mine");
    let refused = |text: &str| {
        let said = t.run_refused(&bundle, if t.runtime.is_ours() { text } else { "" })?;
        check!(!t.runtime.is_ours() || said.contains("/linux/devices/0"), "no JSON pointer: {said}");
        Ok::<_, Failure>(fs::remove_file(&at)?)
    };
    make(&at, SFlag::S_IFCHR, 1, 3)?;
    refused("/dev/mine has incorrect major:minor: 1:3 doesn't match expected 1:5")?;
    make(&at, SFlag::S_IFBLK, 1, 5)?;
    refused("/dev/mine has incorrect ftype")?;
    make(&at, SFlag::S_IFIFO, 0, 0)?;
    refused("/dev/mine has incorrect ftype")?;
    symlink("/dev/zero", &at)?;
    refused("")?;
    fs::write(&at, "content")?;
    t.run_refused(&bundle, "")?;
    check_eq!(fs::read_to_string(&at)?, "content", "the file that was there");
    fs::remove_file(&at)?;
    // A default one as well.
    fs::remove_file(bundle.rootfs().join("dev/null"))?;
    fs::write(bundle.rootfs().join("dev/null"), "")?;
    t.run_refused(&bundle, "").map(drop)
}

/// Somebody else's /dev is left alone, what is asked for elsewhere is made.
fn outside_of_a_bound_dev(t: &Test) -> Outcome {
    let source = t.subfolder("dev")?;
    make(&t.folder.join("dev/null"), SFlag::S_IFCHR, 1, 3)?;
    let mut bundle = plain(t)?;
    bundle.mount("/dev", "bind", &source, &["bind"]);
    let list = json!([
        { "type": "c", "path": "/dev/inside", "major": 1, "minor": 5 },
        { "type": "c", "path": "/outside", "major": 1, "minor": 5 }
    ]);
    let report = t.report_paths(bundle.with("/linux/devices", list), &["/dev", "/outside"])?;
    check_eq!(report.path("/dev")["list"], json!(["null"]), "the bound /dev");
    check_eq!(report.path("/outside")["rdev"], "1:5", "elsewhere");
    Ok(())
}

/// The kernel takes 12 and 20 bits and drops the rest: another device.
fn numbers(t: &Test) -> Outcome {
    for (major, minor) in [(4096, 0), (1 << 20, 3), (1, 1 << 20), (-1, 0), (1, -1), (1 << 40, 0)] {
        let bundle = t.bundle()?.with("/linux/devices", one("c", "/dev/mine", major, minor));
        let said = t.run_refused(&bundle, "")?;
        check!(!t.runtime.is_ours() || said.contains("/linux/devices/0/m"), "{major}:{minor}: {said}");
    }
    let bundle = t.bundle()?.with("/linux/devices", one("c", "/dev/mine", 4095, (1 << 20) - 1));
    let report = t.report_paths(bundle, &["/dev/mine"])?;
    check_eq!(report.path("/dev/mine")["rdev"], "4095:1048575", "the largest numbers");
    for missing in ["major", "minor"] {
        let mut bundle = t.bundle()?.with("/linux/devices", one("b", "/dev/mine", 1, 1));
        bundle.remove(&format!("/linux/devices/0/{missing}"));
        if t.runtime.is_ours() {
            t.run_refused(&bundle, &format!("/linux/devices/0/{missing}"))?;
        }
    }
    Ok(())
}

fn path_is_relative(t: &Test) -> Outcome {
    for path in ["dev/mine", "", "/", "/dev/.."] {
        let bundle = t.bundle()?.with("/linux/devices", one("c", path, 1, 5));
        t.run_refused(&bundle, "")?;
    }
    Ok(())
}

fn unknown_type(t: &Test) -> Outcome {
    let device = json!([{ "type": "x", "path": "/dev/x", "major": 1, "minor": 3 }]);
    t.run_refused(&t.bundle()?.with("/linux/devices", device), "").map(drop)
}

fn user_namespace_takes_the_hosts(t: &Test) -> Outcome {
    let bundle = t.mapped_bundle()?.with("/linux/devices", one("c", "/dev/zero", 1, 5));
    let report = t.report_paths(bundle, &["/dev/zero", "/dev/full"])?;
    for path in ["/dev/zero", "/dev/full"] {
        check!(!report.mount(path).is_null(), "{path} is not bound");
        check!(report.path(path)["read"]["zeros"].is_number(), "{path}: {}", report.path(path));
    }
    Ok(())
}

/// The node is what was asked for, whatever the host has: made outside and bound (Linux 6.15), else refused.
fn user_namespace_gets_what_was_asked_for(t: &Test) -> Outcome {
    let list = json!([
        { "type": "c", "path": "/dev/mine", "major": 1, "minor": 5, "fileMode": 0o644, "uid": 3, "gid": 4 },
        { "type": "c", "path": "/dev/zero", "major": 1, "minor": 7 },
        { "type": "c", "path": "/dev/sub/mine", "major": 1, "minor": 3 },
    ]);
    let bundle = t.mapped_bundle()?.with("/linux/devices", list);
    // open_tree(2) clones what is mounted nowhere.
    if super::kernel::release()? < (6, 15) {
        let said = t.run_refused(&bundle, "")?;
        check!(!t.runtime.is_ours() || said.contains("/linux/devices"), "no JSON pointer: {said}");
        return Ok(());
    }
    let report = t.report_paths(bundle, &["/dev/mine", "/dev/zero", "/dev/sub/mine"])?;
    let mine = report.path("/dev/mine");
    check_eq!((&mine["type"], &mine["rdev"], &mine["mode"]), (&json!("char"), &json!("1:5"), &json!("644")), "node");
    check_eq!((&mine["uid"], &mine["gid"]), (&json!(3), &json!(4)), "owner");
    check!(mine["read"]["zeros"].is_number(), "it cannot be read: {mine}");
    check_eq!(report.path("/dev/zero")["rdev"], "1:7", "another under the name of one of the host's");
    check_eq!(report.path("/dev/sub/mine")["rdev"], "1:3", "in a folder");
    Ok(())
}

fn user_namespace_fifo(t: &Test) -> Outcome {
    let list = json!([{ "type": "p", "path": "/dev/pipe", "fileMode": 0o640, "uid": 3, "gid": 4 }]);
    let report = t.report_paths(t.mapped_bundle()?.with("/linux/devices", list), &["/dev/pipe"])?;
    let pipe = report.path("/dev/pipe");
    check_eq!(
        (&pipe["type"], &pipe["mode"], &pipe["uid"], &pipe["gid"]),
        (&json!("fifo"), &json!("640"), &json!(3), &json!(4)),
        "the fifo"
    );
    Ok(())
}
