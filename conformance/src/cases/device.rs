//! devices: the default nodes and links, those of the config, and what the device rules allow.

use crate::cases;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::fs;

cases!["device":
    defaults_are_there, links_are_there, ptmx_works, no_console_without_a_terminal, of_the_config, replaces_a_default,
    in_a_missing_directory, fifo, twice_the_same_path, outside_dev, unknown_type, bound_dev_is_left_alone,
    read_only_dev_has_them, no_mount_on_dev, rules_deny, rules_allow, another_file_in_its_place, user_namespace_binds_them,
];

fn node(report: &crate::report::Report, path: &str) -> Value {
    let entry = report.path(path);
    json!([entry["type"], entry["rdev"], entry["mode"], entry["uid"], entry["gid"]])
}

const DEFAULTS: [(&str, &str); 6] = [
    ("/dev/null", "1:3"),
    ("/dev/zero", "1:5"),
    ("/dev/full", "1:7"),
    ("/dev/random", "1:8"),
    ("/dev/urandom", "1:9"),
    ("/dev/tty", "5:0"),
];

fn defaults_are_there(t: &Test) -> Outcome {
    let report = t.report_paths(t.bundle()?, &DEFAULTS.map(|d| d.0))?;
    for (path, number) in DEFAULTS {
        check_eq!(node(&report, path), json!(["char", number, "666", 0, 0]), "{path}");
    }
    check_eq!(report.path("/dev/null")["write"], json!(0), "opening /dev/null for writing");
    Ok(())
}

fn links_are_there(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?)?;
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("core", "/proc/kcore"),
        ("ptmx", "pts/ptmx"),
    ] {
        if name == "core" && !std::path::Path::new(target).exists() {
            continue;
        }
        check_eq!(report.at(&format!("/dev/{name}/link")), &json!(target), "/dev/{name}");
    }
    Ok(())
}

fn ptmx_works(t: &Test) -> Outcome {
    let report = t.report_paths(t.bundle()?, &["/dev/ptmx", "/dev/pts/ptmx"])?;
    check_eq!(report.path("/dev/pts/ptmx")["rdev"], json!("5:2"), "/dev/pts/ptmx");
    check_eq!(report.path("/dev/ptmx")["write"], json!(0), "opening /dev/ptmx");
    Ok(())
}

fn no_console_without_a_terminal(t: &Test) -> Outcome {
    check!(t.report(&t.bundle()?)?.at("/dev/console").is_null(), "/dev/console is there");
    Ok(())
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

fn in_a_missing_directory(t: &Test) -> Outcome {
    let device = json!([{ "type": "c", "path": "/dev/a/b/c", "major": 1, "minor": 3 }]);
    let report = t.report_paths(t.bundle()?.with("/linux/devices", device), &["/dev/a/b/c", "/dev/a"])?;
    check_eq!(report.path("/dev/a/b/c")["rdev"], json!("1:3"), "the device");
    check_eq!(report.path("/dev/a")["mode"], json!("755"), "mode of the directory made for it");
    Ok(())
}

fn fifo(t: &Test) -> Outcome {
    let device = json!([{ "type": "p", "path": "/dev/pipe", "fileMode": 0o622 }]);
    let report = t.report_paths(t.bundle()?.with("/linux/devices", device), &["/dev/pipe"])?;
    check_eq!(node(&report, "/dev/pipe"), json!(["fifo", "0:0", "622", 0, 0]), "/dev/pipe");
    Ok(())
}

/// Engines repeat the defaults; the same again is no mistake.
fn twice_the_same_path(t: &Test) -> Outcome {
    let one = json!({ "type": "c", "path": "/dev/tty", "major": 5, "minor": 0 });
    let report = t.report_paths(t.bundle()?.with("/linux/devices", json!([one, one])), &["/dev/tty"])?;
    check_eq!(report.path("/dev/tty")["rdev"], json!("5:0"), "/dev/tty");
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

fn unknown_type(t: &Test) -> Outcome {
    let device = json!([{ "type": "x", "path": "/dev/x", "major": 1, "minor": 3 }]);
    t.run_refused(&t.bundle()?.with("/linux/devices", device), "").map(drop)
}

/// A bind on /dev is the caller's: nothing is made in it.
fn bound_dev_is_left_alone(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    let source = t.folder.join("dev");
    for name in ["pts", "shm", "mqueue"] {
        fs::create_dir_all(source.join(name))?;
    }
    // The masks need it.
    nix::sys::stat::mknod(
        &source.join("null"),
        nix::sys::stat::SFlag::S_IFCHR,
        nix::sys::stat::Mode::from_bits_truncate(0o666),
        nix::sys::stat::makedev(1, 3),
    )?;
    bundle.drop_mount("/dev");
    let bind =
        json!({ "destination": "/dev", "type": "bind", "source": source.to_string_lossy(), "options": ["bind"] });
    if let Some(Value::Array(list)) = bundle.config.pointer_mut("/mounts") {
        list.insert(1, bind);
    }
    let output = t.run(&bundle)?;
    let mut names: Vec<String> =
        fs::read_dir(&source)?.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    check_eq!(output.code, 0, "run: {}", output.stderr);
    check_eq!(names, ["mqueue", "null", "pts", "shm"], "what is in the caller's /dev");
    Ok(())
}

fn read_only_dev_has_them(t: &Test) -> Outcome {
    let bundle =
        t.bundle()?.with("/mounts/1/options", json!(["nosuid", "strictatime", "mode=755", "size=65536k", "ro"]));
    let report = t.report_paths(bundle, &["/dev", "/dev/null", "/dev/shm"])?;
    check_eq!(report.path("/dev")["create"], json!(30), "making a file in /dev");
    check_eq!(report.path("/dev/null")["rdev"], json!("1:3"), "/dev/null");
    check_eq!(report.path("/dev/shm")["create"], json!(0), "making a file in /dev/shm");
    Ok(())
}

/// Not even an image without /dev is refused.
fn no_mount_on_dev(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?.with("/root/readonly", json!(false));
    for mount in ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"] {
        bundle.drop_mount(mount);
    }
    let rootfs = bundle.rootfs();
    fs::remove_dir(rootfs.join("dev"))?;
    let report = t.report_paths(bundle, &["/dev/null", "/dev/zero"])?;
    check_eq!(report.path("/dev/null")["rdev"], json!("1:3"), "/dev/null");
    check_eq!(report.path("/dev/zero")["rdev"], json!("1:5"), "/dev/zero");
    Ok(())
}

/// The default rules: what is not on the list may be made, and not opened.
fn rules_deny(t: &Test) -> Outcome {
    if t.runtime.v2_view {
        return skip("without device rules here (RLIMIT_MEMLOCK)");
    }
    let device = json!([{ "type": "c", "path": "/dev/kmsg", "major": 1, "minor": 11 }]);
    let report = t.report_paths(t.bundle()?.with("/linux/devices", device), &["/dev/kmsg", "/dev/zero"])?;
    check_eq!(report.path("/dev/kmsg")["read"], json!({ "errno": 1 }), "reading /dev/kmsg");
    check!(report.path("/dev/zero")["read"]["zeros"].is_number(), "reading /dev/zero");
    Ok(())
}

fn rules_allow(t: &Test) -> Outcome {
    if t.runtime.v2_view {
        return skip("without device rules here (RLIMIT_MEMLOCK)");
    }
    let rules = json!([
        { "allow": false, "access": "rwm" },
        { "allow": true, "type": "c", "major": 7, "minor": 1, "access": "r" }
    ]);
    let device = json!([{ "type": "c", "path": "/dev/vcs1", "major": 7, "minor": 1 }]);
    let bundle = t.bundle()?.with("/linux/resources/devices", rules).with("/linux/devices", device);
    let report = t.report_paths(bundle, &["/dev/vcs1"])?;
    // Whether the device exists is the host's matter; the rules come first.
    check!(
        report.path("/dev/vcs1")["read"] != json!({ "errno": 1 }),
        "reading is denied: {}",
        report.path("/dev/vcs1")
    );
    check_eq!(report.path("/dev/vcs1")["write"], json!(1), "writing (EPERM)");
    Ok(())
}

fn user_namespace_binds_them(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.map_ids(100_000, 65536);
    std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000))?;
    let report = t.report_paths(bundle, &["/dev/null", "/dev/urandom"])?;
    check_eq!(report.path("/dev/null")["rdev"], json!("1:3"), "/dev/null");
    check_eq!(report.path("/dev/null")["write"], json!(0), "writing /dev/null");
    check!(!report.mount("/dev/null").is_null(), "/dev/null is not bound");
    Ok(())
}

/// config-linux.md, "Devices": what is there already must be the same device.
fn another_file_in_its_place(t: &Test) -> Outcome {
    let device = json!([{ "type": "c", "path": "/data/null", "major": 1, "minor": 3 }]);
    for (kind, said) in [
        ("p", "/data/null has incorrect ftype"),
        ("c 1 5", "/data/null has incorrect major:minor: 1:5 doesn't match expected 1:3"),
        ("c 1 3", ""),
    ] {
        let bundle = t.bundle()?.with("/linux/devices", device.clone());
        fs::create_dir_all(bundle.rootfs().join("data"))?;
        let node = bundle.rootfs().join("data/null");
        let made = std::process::Command::new("mknod").arg(&node).args(kind.split(' ')).status()?;
        check!(made.success(), "mknod {kind}");
        if said.is_empty() {
            t.run_ok(&bundle)?;
        } else {
            t.run_refused(&bundle, if t.runtime.is_ours() { said } else { "" })?;
        }
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}
