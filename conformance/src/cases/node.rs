//! Device nodes where something is there already, in odd places, with odd numbers, and in user namespaces.

use crate::bundle::Bundle;
use crate::cases;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

cases!["node":
    equal_one_is_there, another_is_there, numbers, path_is_relative, below_a_link, outside_of_a_bound_dev,
    links_that_are_there_stay, ptmx_of_the_image_goes, ptmx_of_the_config, ptmx_is_mounted,
    user_namespace_takes_the_hosts, user_namespace_gets_what_was_asked_for, user_namespace_fifo,
];

/// No mount on /dev, so that the image's own is used.
fn plain(test: &Test) -> Outcome<Bundle> {
    let mut bundle = test.bundle()?.with("/root/readonly", json!(false));
    for mount in ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"] {
        bundle.drop_mount(mount);
    }
    Ok(bundle)
}

fn device(kind: &str, path: &str, major: i64, minor: i64) -> Value {
    json!([{ "type": kind, "path": path, "major": major, "minor": minor }])
}

fn make(path: &Path, kind: SFlag, major: u64, minor: u64) -> Outcome {
    Ok(mknod(path, kind, Mode::from_bits_truncate(0o600), makedev(major, minor))?)
}

fn equal_one_is_there(test: &Test) -> Outcome {
    let bundle = plain(test)?.with("/linux/devices", device("c", "/dev/mine", 1, 5));
    make(&bundle.rootfs().join("dev/mine"), SFlag::S_IFCHR, 1, 5)?;
    make(&bundle.rootfs().join("dev/null"), SFlag::S_IFCHR, 1, 3)?;
    let report = test.report_paths(bundle, &["/dev/mine", "/dev/null"])?;
    check_eq!(report.path("/dev/mine")["rdev"], "1:5", "the device");
    check_eq!(report.path("/dev/mine")["mode"], "600", "mode of what was there");
    check_eq!(report.path("/dev/null")["rdev"], "1:3", "a default one");
    Ok(())
}

/// config-linux.md: a file that is there and differs is an error.
fn another_is_there(test: &Test) -> Outcome {
    let bundle = plain(test)?.with("/linux/devices", device("c", "/dev/mine", 1, 5));
    let at = bundle.rootfs().join("dev/mine");
    make(&at, SFlag::S_IFCHR, 1, 3)?;
    let said = test.run_refused(&bundle, "")?;
    check!(!test.runtime.is_ours() || said.contains("/linux/devices/0"), "no JSON pointer: {said}");
    fs::remove_file(&at)?;
    make(&at, SFlag::S_IFBLK, 1, 5)?;
    test.run_refused(&bundle, "")?;
    fs::remove_file(&at)?;
    fs::write(&at, "content")?;
    test.run_refused(&bundle, "")?;
    check_eq!(fs::read_to_string(&at)?, "content", "the file that was there");
    fs::remove_file(&at)?;
    symlink("/dev/zero", &at)?;
    test.run_refused(&bundle, "")?;
    // A default one as well.
    fs::remove_file(&at)?;
    fs::remove_file(bundle.rootfs().join("dev/null"))?;
    fs::write(bundle.rootfs().join("dev/null"), "")?;
    test.run_refused(&bundle, "")?;
    Ok(())
}

/// The kernel takes 12 and 20 bits and drops the rest: another device.
fn numbers(test: &Test) -> Outcome {
    for (major, minor) in [(4096, 0), (1 << 20, 3), (1, 1 << 20), (-1, 0), (1, -1), (1 << 40, 0)] {
        let bundle = test.bundle()?.with("/linux/devices", device("c", "/dev/mine", major, minor));
        let said = test.run_refused(&bundle, "")?;
        check!(!test.runtime.is_ours() || said.contains("/linux/devices/0/m"), "{major}:{minor}: {said}");
    }
    let bundle = test.bundle()?.with("/linux/devices", device("c", "/dev/mine", 4095, (1 << 20) - 1));
    let report = test.report_paths(bundle, &["/dev/mine"])?;
    check_eq!(report.path("/dev/mine")["rdev"], "4095:1048575", "the largest numbers");
    for missing in ["major", "minor"] {
        let mut bundle = test.bundle()?.with("/linux/devices", device("b", "/dev/mine", 1, 1));
        bundle.remove(&format!("/linux/devices/0/{missing}"));
        if test.runtime.is_ours() {
            test.run_refused(&bundle, &format!("/linux/devices/0/{missing}"))?;
        }
    }
    Ok(())
}

fn path_is_relative(test: &Test) -> Outcome {
    for path in ["dev/mine", "", "/", "/dev/.."] {
        let bundle = test.bundle()?.with("/linux/devices", device("c", path, 1, 5));
        test.run_refused(&bundle, "")?;
    }
    Ok(())
}

fn below_a_link(test: &Test) -> Outcome {
    let bundle = test.bundle()?.with("/root/readonly", json!(false));
    let root = bundle.rootfs();
    fs::create_dir(root.join("real"))?;
    symlink("../../../real", root.join("climbing"))?;
    symlink("/real", root.join("absolute"))?;
    let list = json!([
        { "type": "c", "path": "/climbing/one", "major": 1, "minor": 5 },
        { "type": "c", "path": "/absolute/new/two", "major": 1, "minor": 5 }
    ]);
    let report = test.report_paths(bundle.with("/linux/devices", list), &["/real/one", "/real/new/two"])?;
    check_eq!(report.path("/real/one")["rdev"], "1:5", "through a climbing link");
    check_eq!(report.path("/real/new/two")["rdev"], "1:5", "through an absolute link");
    Ok(())
}

/// Somebody else's /dev is left alone, what is asked for elsewhere is made.
fn outside_of_a_bound_dev(test: &Test) -> Outcome {
    let source = super::mounting::folder(test, "dev")?;
    make(&test.folder.join("dev/null"), SFlag::S_IFCHR, 1, 3)?;
    let mut bundle = plain(test)?;
    bundle.mount("/dev", "bind", &source, &["bind"]);
    let list = json!([
        { "type": "c", "path": "/dev/inside", "major": 1, "minor": 5 },
        { "type": "c", "path": "/outside", "major": 1, "minor": 5 }
    ]);
    let report = test.report_paths(bundle.with("/linux/devices", list), &["/dev", "/outside"])?;
    check_eq!(report.path("/dev")["list"], json!(["null"]), "the bound /dev");
    check_eq!(report.path("/outside")["rdev"], "1:5", "elsewhere");
    Ok(())
}

fn links_that_are_there_stay(test: &Test) -> Outcome {
    let bundle = plain(test)?;
    symlink("elsewhere", bundle.rootfs().join("dev/fd"))?;
    fs::write(bundle.rootfs().join("dev/stdin"), "")?;
    let report = test.report_paths(bundle, &["/dev/fd", "/dev/stdin", "/dev/stdout"])?;
    check_eq!(report.path("/dev/fd")["link"], "elsewhere", "a link");
    check_eq!(report.path("/dev/stdin")["type"], "file", "a file");
    check_eq!(report.path("/dev/stdout")["link"], "/proc/self/fd/1", "what was missing");
    Ok(())
}

/// Whatever an image has there, it is not the container's own.
fn ptmx_of_the_image_goes(test: &Test) -> Outcome {
    let bundle = plain(test)?;
    let at = bundle.rootfs().join("dev/ptmx");
    for kind in 0..4 {
        let _ = fs::remove_file(&at);
        match kind {
            0 => fs::write(&at, "")?,
            1 => symlink("/etc/passwd", &at)?,
            2 => make(&at, SFlag::S_IFCHR, 5, 2)?,
            _ => symlink("pts/ptmx", &at)?,
        }
        bundle.save()?;
        let report = test.report_paths(plain(test)?, &["/dev/ptmx"])?;
        check_eq!(report.path("/dev/ptmx")["link"], "pts/ptmx", "/dev/ptmx");
    }
    check!(bundle.rootfs().join("etc/passwd").is_file(), "what the link led to is gone");
    Ok(())
}

fn ptmx_of_the_config(test: &Test) -> Outcome {
    let bundle = test.bundle()?.with("/linux/devices", device("c", "/dev/ptmx", 5, 2));
    let report = test.report_paths(bundle, &["/dev/ptmx"])?;
    check_eq!(report.path("/dev/ptmx")["link"], "pts/ptmx", "/dev/ptmx");
    let bundle = test.bundle()?.with("/linux/devices", device("c", "/dev/ptmx", 1, 5));
    test.run_refused(&bundle, "")?;
    Ok(())
}

fn ptmx_is_mounted(test: &Test) -> Outcome {
    let file = format!("{}/file", super::mounting::folder(test, "source")?);
    fs::write(&file, "mine")?;
    let mut bundle = test.bundle()?;
    bundle.mount("/dev/ptmx", "bind", &file, &["bind"]);
    let report = test.report_paths(bundle, &["/dev/ptmx"])?;
    check_eq!(report.path("/dev/ptmx")["read"], "mine", "what the config mounted");
    Ok(())
}

fn mapped(test: &Test) -> Outcome<Bundle> {
    let mut bundle = test.bundle()?;
    bundle.map_ids(100_000, 65_536);
    std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000))?;
    Ok(bundle)
}

fn user_namespace_takes_the_hosts(test: &Test) -> Outcome {
    let bundle = mapped(test)?.with("/linux/devices", device("c", "/dev/zero", 1, 5));
    let report = test.report_paths(bundle, &["/dev/zero", "/dev/full"])?;
    for path in ["/dev/zero", "/dev/full"] {
        check!(!report.mount(path).is_null(), "{path} is not bound");
        check!(report.path(path)["read"]["zeros"].is_number(), "{path}: {}", report.path(path));
    }
    Ok(())
}

/// The node is what was asked for, whatever the host has: made outside and bound (Linux 6.15), else refused.
fn user_namespace_gets_what_was_asked_for(test: &Test) -> Outcome {
    let list = json!([
        { "type": "c", "path": "/dev/mine", "major": 1, "minor": 5, "fileMode": 0o644, "uid": 3, "gid": 4 },
        { "type": "c", "path": "/dev/zero", "major": 1, "minor": 7 },
        { "type": "c", "path": "/dev/sub/mine", "major": 1, "minor": 3 },
    ]);
    let bundle = mapped(test)?.with("/linux/devices", list);
    if !clones_unmounted()? {
        let said = test.run_refused(&bundle, "")?;
        check!(!test.runtime.is_ours() || said.contains("/linux/devices"), "no JSON pointer: {said}");
        return Ok(());
    }
    let report = test.report_paths(bundle, &["/dev/mine", "/dev/zero", "/dev/sub/mine"])?;
    let mine = report.path("/dev/mine");
    check_eq!((&mine["type"], &mine["rdev"], &mine["mode"]), (&json!("char"), &json!("1:5"), &json!("644")), "node");
    check_eq!((&mine["uid"], &mine["gid"]), (&json!(3), &json!(4)), "owner");
    check!(mine["read"]["zeros"].is_number(), "it cannot be read: {mine}");
    check_eq!(report.path("/dev/zero")["rdev"], "1:7", "another under the name of one of the host's");
    check_eq!(report.path("/dev/sub/mine")["rdev"], "1:3", "in a folder");
    Ok(())
}

/// Whether open_tree(2) clones what is mounted nowhere.
fn clones_unmounted() -> Outcome<bool> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    Ok((numbers.next(), numbers.next()) >= (Some(6), Some(15)))
}

fn user_namespace_fifo(test: &Test) -> Outcome {
    let list = json!([{ "type": "p", "path": "/dev/pipe", "fileMode": 0o640, "uid": 3, "gid": 4 }]);
    let report = test.report_paths(mapped(test)?.with("/linux/devices", list), &["/dev/pipe"])?;
    let pipe = report.path("/dev/pipe");
    check_eq!(
        (&pipe["type"], &pipe["mode"], &pipe["uid"], &pipe["gid"]),
        (&json!("fifo"), &json!("640"), &json!(3), &json!(4)),
        "the fifo"
    );
    Ok(())
}
