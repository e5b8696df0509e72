//! Binds: sources of all kinds, what comes with them, and what is listed after.

use crate::cases;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;

cases!["mount_bind":
    files_and_directories, rbind_and_bind, rbind_read_only_is_not_recursive, read_only, relative_source,
    source_is_missing, source_is_empty, data_is_refused, what_a_tmpfs_is_made_with_goes_by,
    listed_after_what_they_are_mounted_on, source_in_the_container, mapped_source_in_the_container,
];

fn files_and_directories(t: &Test) -> Outcome {
    let directory = t.subfolder("source")?;
    let file = format!("{directory}/file");
    fs::write(&file, "content")?;
    nix::unistd::mkfifo(&t.folder.join("source/fifo"), nix::sys::stat::Mode::S_IRWXU)?;
    let mut bundle = t.bundle()?;
    bundle.mount("/made/for/file", "none", &file, &["bind"]);
    bundle.mount("/made/for/directory", "bind", &directory, &["bind"]);
    bundle.mount("/made/for/fifo", "bind", &format!("{directory}/fifo"), &["bind"]);
    bundle.mount("/etc/passwd", "none", &file, &["rbind", "ro"]);
    let report =
        t.report_paths(bundle, &["/made/for/file", "/made/for/directory", "/made/for/fifo", "/etc/passwd", "/made"])?;
    check_eq!(report.path("/made/for/file")["read"], "content", "a file");
    check_eq!(report.path("/made/for/directory")["list"], json!(["fifo", "file"]), "a directory");
    check_eq!(report.path("/made/for/directory")["create"], 0, "making a file in it");
    check_eq!(report.path("/made/for/fifo")["type"], "fifo", "a fifo");
    check_eq!(report.path("/etc/passwd")["read"], "content", "over an existing file");
    check_eq!(report.path("/etc/passwd")["write"], libc::EROFS, "writing it");
    check_eq!(report.path("/made")["mode"], "755", "a directory that was made");
    let made = fs::metadata(t.folder.join("bundle/rootfs/made/for/file"))?;
    check!(made.is_file(), "the mount point for a file is no file");
    check_eq!(made.len(), 0, "the mount point's size");
    check!(!t.folder.join("source/.probe").exists(), "the probe's file is still there");
    Ok(())
}

/// A tree of two mounts.
pub(super) const TREE: &str =
    "mount -t tmpfs x source; mkdir source/sub; mount -t tmpfs -o nosuid,noexec y source/sub; \"$@\"";

fn rbind_and_bind(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    let mut bundle = t.bundle()?;
    bundle.mount("/rbind", "bind", &source, &["rbind"]);
    bundle.mount("/bind", "bind", &source, &["bind"]);
    bundle.mount("/both", "bind", &source, &["bind", "rbind"]);
    let report = t.report_within(TREE, &bundle)?;
    check_eq!(report.mount("/rbind/sub")["type"], "tmpfs", "rbind");
    check_eq!(report.mount("/both/sub")["type"], "tmpfs", "bind and rbind");
    check!(report.mount("/bind/sub").is_null(), "bind brought what is mounted below");
    Ok(())
}

/// As in runc: `rro` is the recursive one.
fn rbind_read_only_is_not_recursive(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    let mut bundle = t.bundle()?;
    bundle.mount("/tmp", "bind", &source, &["rbind", "ro"]);
    let report = t.report_within(TREE, &bundle.looking_at(&["/tmp", "/tmp/sub"]))?;
    check_eq!(report.path("/tmp")["create"], libc::EROFS, "making a file");
    check_eq!(report.path("/tmp/sub")["create"], 0, "making a file below");
    Ok(())
}

fn read_only(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    let mut bundle = t.bundle()?;
    bundle.mount("/tmp", "bind", &source, &["bind", "ro", "nosuid", "nodev", "noexec"]);
    let report = t.report_paths(bundle, &["/tmp"])?;
    check_eq!(report.path("/tmp")["create"], libc::EROFS, "making a file");
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        check!(report.mounted_with("/tmp", option), "lacks {option}: {}", report.mount("/tmp"));
    }
    fs::write(t.folder.join("source/new"), "the host still may")?;
    Ok(())
}

fn relative_source(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    fs::create_dir(bundle.path.join("data"))?;
    fs::write(bundle.path.join("data/file"), "x")?;
    bundle.mount("/data", "bind", "data", &["bind"]);
    bundle.mount("/data2", "bind", "./data/../data", &["bind"]);
    let report = t.report_paths(bundle, &["/data", "/data2"])?;
    check_eq!(report.path("/data")["list"], json!(["file"]), "a source relative to the bundle");
    check_eq!(report.path("/data2")["list"], json!(["file"]), "a source relative to the bundle, with ..");
    Ok(())
}

fn source_is_missing(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.mount("/x", "bind", "/nonexistent/source", &["bind"]);
    let said = t.run_refused(&bundle, "/nonexistent/source")?;
    check!(t.runtime.name != "runtime" || said.contains("/mounts/7"), "no JSON pointer: {said}");
    check!(said.to_lowercase().contains("no such file"), "no reason: {said}");
    Ok(())
}

fn source_is_empty(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.mount("/x", "bind", "", &["bind"]);
    t.run_refused(&bundle, "").map(drop)
}

fn data_is_refused(t: &Test) -> Outcome {
    for data in ["uid=1", "nr_inodes=9"] {
        let mut bundle = t.bundle()?;
        bundle.mount("/x", "bind", "/tmp", &["bind", data]);
        t.run_refused(&bundle, "filesystem-specific")?;
    }
    Ok(())
}

/// Lists written for binds and tmpfs alike; runc refuses them since 1.2.
fn what_a_tmpfs_is_made_with_goes_by(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    fs::set_permissions(&source, fs::Permissions::from_mode(0o711))?;
    let mut bundle = t.bundle()?;
    bundle.mount("/x", "", &source, &["nosuid", "mode=755", "size=1k", "bind", "ro"]);
    let output = t.run(&bundle)?;
    check!(output.code == 0, "{}", output.stderr);
    let mode = fs::metadata(&source)?.permissions().mode() & 0o777;
    check!(mode == 0o711, "the source has mode {mode:o} now");
    if t.runtime.is_ours() {
        check!(output.stderr.contains("/mounts/7/options/1"), "no warning: {}", output.stderr);
        check!(output.stderr.contains("/mounts/7/options/2"), "no warning: {}", output.stderr);
    }
    Ok(())
}

/// Who takes mounts away from the last to the first, as mountinfo lists them, must not meet one that is mounted on.
fn listed_after_what_they_are_mounted_on(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    let mut bundle = t.bundle()?;
    bundle.mount("/a", "tmpfs", "a", &[]);
    bundle.mount("/a/b", "", &source, &["rbind"]);
    bundle.mount("/a/b/c", "tmpfs", "c", &[]);
    bundle.mount("/a/b/c/d", "", &source, &["bind"]);
    t.busybox(&bundle, &["cut"])?;
    bundle.set("/process/args", json!(["/bin/cut", "-d", " ", "-f", "5", "/proc/self/mountinfo"]));
    let said = t.run_ok(&bundle)?;
    let ours: Vec<&str> = said.lines().filter(|line| line.starts_with("/a")).collect();
    check_eq!(ours, ["/a", "/a/b", "/a/b/c", "/a/b/c/d"], "the order of mountinfo");
    Ok(())
}

/// A source below the root filesystem is what is there by then, mounts included; a destination may be named by its path
/// on the host.
fn source_in_the_container(t: &Test) -> Outcome {
    inner_source(t, false)
}

fn mapped_source_in_the_container(t: &Test) -> Outcome {
    inner_source(t, true)
}

fn inner_source(t: &Test, mapped: bool) -> Outcome {
    let source = t.subfolder("source")?;
    fs::create_dir_all(t.folder.join("source/below"))?;
    fs::write(t.folder.join("source/below/file"), "inner")?;
    for user_namespace in [false, true] {
        let mut bundle = if user_namespace { t.mapped_bundle()? } else { t.bundle()? };
        let rootfs = bundle.rootfs().to_string_lossy().into_owned();
        bundle.mount("/mnt", "bind", &source, &["rbind", "rprivate"]);
        bundle.mount(&format!("{rootfs}/final"), "bind", &format!("{rootfs}/mnt"), &["rbind", "rprivate"]);
        if mapped {
            let map =
                json!([{ "containerID": 0, "hostID": if user_namespace { 100_000 } else { 1000 }, "size": 65_536 }]);
            bundle.set("/mounts/8/uidMappings", map.clone());
            bundle.set("/mounts/8/gidMappings", map);
        }
        let report = t.report_paths(bundle, &["/final/below/file"])?;
        let file = report.path("/final/below/file");
        check!(file["read"].to_string().contains("inner"), "user namespace {user_namespace}: {file}");
        if mapped {
            check_eq!(file["uid"], if user_namespace { 0 } else { 1000 }, "owner, user namespace {user_namespace}");
        }
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}
