//! `linux.readonlyPaths`.

use super::mask::{secrets, tree};
use crate::cases;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

cases!["readonly_path":
    files_and_directories, defaults, flags_stay, missing, below_a_masked_path, is_recursive, through_a_link,
    bind_stays_itself, twice,
];

fn files_and_directories(t: &Test) -> Outcome {
    let bundle =
        secrets(t)?.with("/root/readonly", json!(false)).with("/linux/readonlyPaths", json!(["/secrets", "/secret"]));
    let report = t.report_paths(bundle, &["/secrets", "/secret", "/tmp"])?;
    check_eq!(report.path("/secrets")["create"], libc::EROFS, "making a file in a read-only path");
    check_eq!(report.path("/secret")["write"], libc::EROFS, "writing a read-only file");
    check_eq!(report.path("/secret")["read"], json!("secret"), "reading a read-only file");
    check_eq!(report.path("/tmp")["create"], json!(0), "making a file elsewhere");
    Ok(())
}

fn defaults(t: &Test) -> Outcome {
    let report = t.report_paths(t.bundle()?, &["/proc/sys/kernel/domainname", "/proc/sysrq-trigger"])?;
    check_eq!(report.path("/proc/sys/kernel/domainname")["write"], libc::EROFS, "writing a sysctl");
    if Path::new("/proc/sysrq-trigger").exists() {
        check_eq!(report.path("/proc/sysrq-trigger")["write"], libc::EROFS, "writing sysrq-trigger");
    }
    for path in ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"] {
        if Path::new(path).exists() {
            check!(report.mounted_with(path, "ro"), "{path} is not read-only: {}", report.mount(path));
        }
    }
    Ok(())
}

fn flags_stay(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.mount("/tmp", "tmpfs", "tmpfs", &["nosuid", "nodev", "noexec"]);
    let report = t.report_paths(bundle.with("/linux/readonlyPaths", json!(["/tmp"])), &["/tmp"])?;
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        check!(report.mounted_with("/tmp", option), "/tmp lacks {option}: {}", report.mount("/tmp"));
    }
    Ok(())
}

fn missing(t: &Test) -> Outcome {
    t.run_ok(&t.bundle()?.with("/linux/readonlyPaths", json!(["/no/such/path", "/probe/below"]))).map(drop)
}

fn below_a_masked_path(t: &Test) -> Outcome {
    let bundle = secrets(t)?
        .with("/linux/maskedPaths", json!(["/secrets"]))
        .with("/linux/readonlyPaths", json!(["/secrets/one", "/secrets"]));
    let report = t.report_paths(bundle, &["/secrets"])?;
    check_eq!(report.path("/secrets")["list"], json!([]), "/secrets");
    Ok(())
}

fn is_recursive(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    let mut bundle = tree(t)?.with("/linux/readonlyPaths", json!(["/bound"]));
    bundle.mount("/bound", "bind", &source, &["rbind"]);
    let bundle = bundle.looking_at(&["/bound", "/bound/sub"]);
    let script = "mount -t tmpfs x source; mkdir source/sub; mount -t tmpfs -o nosuid y source/sub; \"$@\"";
    let report = t.report_within(script, &bundle)?;
    check_eq!(report.path("/bound")["create"], libc::EROFS, "the path");
    check_eq!(report.path("/bound/sub")["create"], libc::EROFS, "a mount below");
    check!(report.mounted_with("/bound/sub", "nosuid"), "lost nosuid: {}", report.mount("/bound/sub"));
    Ok(())
}

fn through_a_link(t: &Test) -> Outcome {
    let bundle = tree(t)?;
    symlink("../../../secret/a", bundle.rootfs().join("link"))?;
    let report = t.report_paths(bundle.with("/linux/readonlyPaths", json!(["/link"])), &["/secret/a", "/secret/d"])?;
    check_eq!(report.path("/secret/a")["create"], libc::EROFS, "what the link leads to");
    check_eq!(report.path("/secret/d")["create"], 0, "its neighbour");
    Ok(())
}

/// The mount a read-only path is on, and the host's side of it, stay writable.
fn bind_stays_itself(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    fs::create_dir(t.folder.join("source/sub"))?;
    let mut bundle = tree(t)?.with("/linux/readonlyPaths", json!(["/bound/sub"]));
    bundle.mount("/bound", "bind", &source, &["rbind"]);
    let report = t.report_paths(bundle, &["/bound", "/bound/sub"])?;
    check_eq!(report.path("/bound/sub")["create"], libc::EROFS, "the path");
    check_eq!(report.path("/bound")["create"], 0, "the mount it is on");
    fs::write(t.folder.join("source/sub/file"), "")?;
    Ok(())
}

fn twice(t: &Test) -> Outcome {
    let list = json!(["/secret/a", "/secret/a/", "//secret/./a", "/secret"]);
    let report = t.report_paths(tree(t)?.with("/linux/readonlyPaths", list), &["/secret/a", "/secret"])?;
    check_eq!(report.path("/secret/a")["create"], libc::EROFS, "the path");
    let points = report.at("/mounts").as_array().cloned().unwrap_or_default();
    let count = points.iter().filter(|mount| mount["point"] == "/secret/a").count();
    check!(count <= 2, "{count} mounts on one path");
    Ok(())
}
