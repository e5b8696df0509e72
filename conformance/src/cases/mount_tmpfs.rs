//! tmpfs: its options, its mode, and what is copied into it.

use crate::cases;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

cases!["mount_tmpfs": options, mode, read_only_one_takes_mounts, tmpcopyup];

fn options(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    let all = ["nosuid", "noexec", "ro", "size=1m", "mode=1750", "uid=7", "gid=8", "nr_inodes=99"];
    bundle.mount("/t", "tmpfs", "name", &all);
    bundle.mount("/list", "tmpfs", "name", &["size=2m,mode=701"]);
    let report = t.report_paths(bundle, &["/t", "/list"])?;
    let about = report.path("/t");
    check_eq!((&about["mode"], &about["uid"], &about["gid"]), (&json!("1750"), &json!(7), &json!(8)), "the root of /t");
    for option in ["size=1024k", "nr_inodes=99", "nosuid", "noexec", "ro"] {
        check!(report.mounted_with("/t", option), "lacks {option}: {}", report.mount("/t"));
    }
    check_eq!(report.mount("/t")["source"], "name", "the source");
    check!(report.mounted_with("/list", "size=2048k"), "several in one: {}", report.mount("/list"));
    check_eq!(report.path("/list")["mode"], "701", "several in one");
    Ok(())
}

fn mode(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    let there = bundle.rootfs().join("there");
    fs::create_dir(&there)?;
    fs::set_permissions(&there, fs::Permissions::from_mode(0o1715))?;
    bundle.mount("/there", "tmpfs", "x", &[]);
    bundle.mount("/new", "tmpfs", "x", &[]);
    let report = t.report_paths(bundle, &["/there", "/new"])?;
    check_eq!(report.path("/there")["mode"], "1715", "mode of an existing directory");
    check_eq!(report.path("/new")["mode"], "1777", "mode of a new one");
    Ok(())
}

fn read_only_one_takes_mounts(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.mount("/t", "tmpfs", "x", &["ro"]);
    bundle.mount("/t/below/this", "tmpfs", "x", &[]);
    bundle.mount("/covered", "tmpfs", "x", &["ro"]);
    bundle.mount("/covered", "tmpfs", "x", &[]);
    let report = t.report_paths(bundle, &["/t", "/t/below/this", "/covered"])?;
    check_eq!(report.path("/t")["create"], libc::EROFS, "writing to the read-only tmpfs");
    check_eq!(report.path("/t/below/this")["create"], 0, "writing to the one below");
    check_eq!(report.path("/covered")["create"], 0, "writing to the one that covers a read-only one");
    Ok(())
}

fn tmpcopyup(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    let up = bundle.rootfs().join("up");
    fs::create_dir_all(up.join("a/b"))?;
    fs::write(up.join("a/b/file"), vec![b'x'; 70_000])?;
    fs::set_permissions(up.join("a/b/file"), fs::Permissions::from_mode(0o4640))?;
    std::os::unix::fs::chown(up.join("a"), Some(3), Some(4))?;
    fs::set_permissions(up.join("a"), fs::Permissions::from_mode(0o2755))?;
    symlink("/etc/passwd", up.join("link"))?;
    nix::unistd::mkfifo(&up.join("fifo"), nix::sys::stat::Mode::S_IRWXU)?;
    fs::set_permissions(&up, fs::Permissions::from_mode(0o751))?;
    bundle.mount("/up", "tmpfs", "x", &["tmpcopyup"]);
    let paths = ["/up", "/up/a", "/up/a/b/file", "/up/link", "/up/fifo"];
    let report = t.report_paths(bundle, &paths)?;
    check_eq!(report.mount("/up")["type"], "tmpfs", "the mount");
    check_eq!(report.path("/up")["mode"], "751", "mode of the directory");
    check_eq!(report.path("/up")["list"], json!(["a", "fifo", "link"]), "entries");
    let a = report.path("/up/a");
    check_eq!((&a["mode"], &a["uid"], &a["gid"]), (&json!("2755"), &json!(3), &json!(4)), "a directory");
    check_eq!(report.path("/up/a/b/file")["mode"], "4640", "mode of a file");
    check_eq!(report.path("/up/a/b/file")["read"].as_str().map(str::len), Some(65_536), "a file (as far as is shown)");
    check_eq!(report.path("/up/link")["link"], "/etc/passwd", "a link");
    check_eq!(report.path("/up/fifo")["type"], "fifo", "a fifo");
    let mut bundle = t.bundle_named("second")?;
    bundle.mount("/up", "bind", "/tmp", &["bind", "tmpcopyup"]);
    t.fails(&["run", "--bundle", &bundle.saved()?, &format!("{}b", t.id)], "")?;
    Ok(())
}
