//! /dev: its default devices and links, ptmx, and a /dev of the image or of the caller. Devices of the config are in
//! `device`.

use super::device::{make, node, one};
use crate::bundle::Bundle;
use crate::cases;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use nix::sys::stat::SFlag;
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

cases!["dev":
    defaults_are_there, bound_in_a_user_namespace, links_are_there, links_that_are_there_stay,
    no_console_without_a_terminal, read_only_one_has_them, bound_one_is_left_alone, without_a_mount, ptmx_works,
    ptmx_of_the_image_goes, ptmx_of_the_config, ptmx_is_mounted,
];

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

fn bound_in_a_user_namespace(t: &Test) -> Outcome {
    let bundle = t.mapped_bundle()?;
    let report = t.report_paths(bundle, &["/dev/null", "/dev/urandom"])?;
    check_eq!(report.path("/dev/null")["rdev"], json!("1:3"), "/dev/null");
    check_eq!(report.path("/dev/null")["write"], json!(0), "writing /dev/null");
    check!(!report.mount("/dev/null").is_null(), "/dev/null is not bound");
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
        if name == "core" && !Path::new(target).exists() {
            continue;
        }
        check_eq!(report.at(&format!("/dev/{name}/link")), &json!(target), "/dev/{name}");
    }
    Ok(())
}

fn links_that_are_there_stay(t: &Test) -> Outcome {
    let bundle = plain(t)?;
    symlink("elsewhere", bundle.rootfs().join("dev/fd"))?;
    fs::write(bundle.rootfs().join("dev/stdin"), "")?;
    let report = t.report_paths(bundle, &["/dev/fd", "/dev/stdin", "/dev/stdout"])?;
    check_eq!(report.path("/dev/fd")["link"], "elsewhere", "a link");
    check_eq!(report.path("/dev/stdin")["type"], "file", "a file");
    check_eq!(report.path("/dev/stdout")["link"], "/proc/self/fd/1", "what was missing");
    Ok(())
}

fn no_console_without_a_terminal(t: &Test) -> Outcome {
    check!(t.report(&t.bundle()?)?.at("/dev/console").is_null(), "/dev/console is there");
    Ok(())
}

fn read_only_one_has_them(t: &Test) -> Outcome {
    let bundle =
        t.bundle()?.with("/mounts/1/options", json!(["nosuid", "strictatime", "mode=755", "size=65536k", "ro"]));
    let report = t.report_paths(bundle, &["/dev", "/dev/null", "/dev/shm"])?;
    check_eq!(report.path("/dev")["create"], libc::EROFS, "making a file in /dev");
    check_eq!(report.path("/dev/null")["rdev"], json!("1:3"), "/dev/null");
    check_eq!(report.path("/dev/shm")["create"], json!(0), "making a file in /dev/shm");
    Ok(())
}

/// A bind on /dev is the caller's: nothing is made in it.
fn bound_one_is_left_alone(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    let source = t.folder.join("dev");
    for name in ["pts", "shm", "mqueue"] {
        fs::create_dir_all(source.join(name))?;
    }
    // The masks need it.
    make(&source.join("null"), SFlag::S_IFCHR, 1, 3)?;
    bind_dev(&mut bundle, &source);
    let output = t.run(&bundle)?;
    let mut names: Vec<String> =
        fs::read_dir(&source)?.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    check_eq!(output.code, 0, "run: {}", output.stderr);
    check_eq!(names, ["mqueue", "null", "pts", "shm"], "what is in the caller's /dev");
    Ok(())
}

/// Puts a directory of the caller's in the place of the tmpfs on /dev.
pub(super) fn bind_dev(bundle: &mut Bundle, source: &Path) {
    let bind =
        json!({ "destination": "/dev", "type": "bind", "source": source.to_string_lossy(), "options": ["bind"] });
    bundle.set("/mounts/1", bind);
}

/// No mount on /dev, so that the image's own is used.
pub(super) fn plain(t: &Test) -> Outcome<Bundle> {
    let mut bundle = t.bundle()?.with("/root/readonly", json!(false));
    for mount in ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"] {
        bundle.drop_mount(mount);
    }
    Ok(bundle)
}

/// Not even an image without /dev is refused.
fn without_a_mount(t: &Test) -> Outcome {
    let bundle = plain(t)?;
    fs::remove_dir(bundle.rootfs().join("dev"))?;
    let report = t.report_paths(bundle, &["/dev/null", "/dev/zero"])?;
    check_eq!(report.path("/dev/null")["rdev"], json!("1:3"), "/dev/null");
    check_eq!(report.path("/dev/zero")["rdev"], json!("1:5"), "/dev/zero");
    Ok(())
}

fn ptmx_works(t: &Test) -> Outcome {
    let report = t.report_paths(t.bundle()?, &["/dev/ptmx", "/dev/pts/ptmx"])?;
    check_eq!(report.path("/dev/pts/ptmx")["rdev"], json!("5:2"), "/dev/pts/ptmx");
    check_eq!(report.path("/dev/ptmx")["write"], json!(0), "opening /dev/ptmx");
    Ok(())
}

/// Whatever an image has there, it is not the container's own.
fn ptmx_of_the_image_goes(t: &Test) -> Outcome {
    let bundle = plain(t)?;
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
        let report = t.report_paths(plain(t)?, &["/dev/ptmx"])?;
        check_eq!(report.path("/dev/ptmx")["link"], "pts/ptmx", "/dev/ptmx");
    }
    check!(bundle.rootfs().join("etc/passwd").is_file(), "what the link led to is gone");
    Ok(())
}

fn ptmx_of_the_config(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/linux/devices", one("c", "/dev/ptmx", 5, 2));
    let report = t.report_paths(bundle, &["/dev/ptmx"])?;
    check_eq!(report.path("/dev/ptmx")["link"], "pts/ptmx", "/dev/ptmx");
    let bundle = t.bundle()?.with("/linux/devices", one("c", "/dev/ptmx", 1, 5));
    t.run_refused(&bundle, "")?;
    Ok(())
}

fn ptmx_is_mounted(t: &Test) -> Outcome {
    let file = format!("{}/file", t.subfolder("source")?);
    fs::write(&file, "mine")?;
    let mut bundle = t.bundle()?;
    bundle.mount("/dev/ptmx", "bind", &file, &["bind"]);
    let report = t.report_paths(bundle, &["/dev/ptmx"])?;
    check_eq!(report.path("/dev/ptmx")["read"], "mine", "what the config mounted");
    Ok(())
}
