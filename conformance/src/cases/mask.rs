//! `maskedPaths` and `readonlyPaths` on mounts, links and odd files, in user namespaces; `mountLabel`.

use super::mounting::{folder, report_within};
use crate::bundle::Bundle;
use crate::cases;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;

cases!["mask":
    one_directory_for_all, odd_files, a_mount, links_that_lead_nowhere, not_a_path, in_a_user_namespace,
    masked_inside_masked, cover_is_inert, read_only_is_recursive, read_only_through_a_link, read_only_bind_stays_itself,
    read_only_twice, label_without_selinux,
];

fn tree(test: &Test) -> Outcome<Bundle> {
    let bundle = test.bundle()?.with("/root/readonly", json!(false));
    for name in ["a", "b/c", "d"] {
        fs::create_dir_all(bundle.rootfs().join("secret").join(name))?;
        fs::write(bundle.rootfs().join("secret").join(name).join("file"), "secret")?;
    }
    Ok(bundle)
}

/// A file system for each would cost, on a host with thousands of containers (runc#5275).
fn one_directory_for_all(test: &Test) -> Outcome {
    let masked = ["/secret/a", "/secret/b/c", "/secret/d"];
    let bundle = tree(test)?.with("/linux/maskedPaths", json!(masked));
    let report = test.report_paths(bundle, &masked)?;
    for path in masked {
        check_eq!(report.path(path)["list"], json!([]), "{path}");
        check_eq!(report.mount(path)["type"], "tmpfs", "{path}");
        check_eq!(report.mount(path)["dev"], report.mount(masked[0])["dev"], "the file system behind {path}");
    }
    Ok(())
}

fn odd_files(test: &Test) -> Outcome {
    let bundle = tree(test)?;
    nix::unistd::mkfifo(&bundle.rootfs().join("fifo"), nix::sys::stat::Mode::S_IRWXU)?;
    let _socket = std::os::unix::net::UnixListener::bind(bundle.rootfs().join("socket"))?;
    let masked = ["/fifo", "/socket", "/dev/zero"];
    let report = test.report_paths(bundle.with("/linux/maskedPaths", json!(masked)), &masked)?;
    for path in masked {
        check_eq!(report.path(path)["rdev"], "1:3", "{path}");
    }
    Ok(())
}

fn a_mount(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    fs::write(test.folder.join("source/file"), "secret")?;
    let mut bundle = tree(test)?.with("/linux/maskedPaths", json!(["/bound", "/file"]));
    bundle.mount("/bound", "bind", &source, &["bind"]);
    bundle.mount("/file", "bind", &format!("{source}/file"), &["bind"]);
    let report = test.report_paths(bundle, &["/bound", "/file"])?;
    check_eq!(report.path("/bound")["list"], json!([]), "a masked mount");
    check_eq!(report.path("/file")["read"], "", "a masked file that is mounted");
    Ok(())
}

/// Nothing is there, so there is nothing to hide; but what cannot be looked up might be there.
fn links_that_lead_nowhere(test: &Test) -> Outcome {
    let bundle = tree(test)?;
    symlink("/nowhere", bundle.rootfs().join("dangling"))?;
    test.run_ok(&bundle.with("/linux/maskedPaths", json!(["/dangling", "/dangling/x"])).probe(&["exit", "0"]))?;
    for target in ["loop", "/proc/self/root", "/proc/self/exe"] {
        for list in ["/linux/maskedPaths", "/linux/readonlyPaths"] {
            let bundle = tree(test)?;
            let _ = fs::remove_file(bundle.rootfs().join("loop"));
            symlink(target, bundle.rootfs().join("loop"))?;
            test.run_refused(&bundle.with(list, json!(["/loop"])), "")?;
        }
    }
    Ok(())
}

fn not_a_path(test: &Test) -> Outcome {
    for list in ["/linux/maskedPaths", "/linux/readonlyPaths"] {
        for path in ["relative/path", "", "/", "/x/.."] {
            let said = test.run_refused(&tree(test)?.with(list, json!(["/proc/keys", path])), "")?;
            check!(!test.runtime.is_ours() || said.contains(&format!("{list}/1")), "no JSON pointer: {said}");
        }
    }
    Ok(())
}

fn in_a_user_namespace(test: &Test) -> Outcome {
    let mut bundle = tree(test)?;
    fs::write(bundle.rootfs().join("file"), "secret")?;
    bundle.map_ids(100_000, 65_536);
    std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000))?;
    bundle.set("/linux/maskedPaths", json!(["/secret/a", "/secret/d", "/file", "/proc/keys"]));
    bundle.set("/linux/readonlyPaths", json!(["/secret/b", "/proc/sys"]));
    let report = test.report_paths(bundle, &["/secret/a", "/file", "/proc/keys", "/secret/b"])?;
    check_eq!(report.path("/secret/a")["list"], json!([]), "a masked directory");
    check_eq!(report.path("/file")["read"], "", "a masked file");
    check_eq!(report.path("/proc/keys")["rdev"], "1:3", "a masked file of procfs");
    check!(report.mounted_with("/secret/b", "ro"), "{}", report.mount("/secret/b"));
    check!(report.mounted_with("/proc/sys", "ro"), "{}", report.mount("/proc/sys"));
    Ok(())
}

fn masked_inside_masked(test: &Test) -> Outcome {
    let bundle = tree(test)?.with("/linux/maskedPaths", json!(["/secret", "/secret/a", "/secret/a/file"]));
    let report = test.report_paths(bundle, &["/secret"])?;
    check_eq!(report.path("/secret")["list"], json!([]), "the outer one");
    Ok(())
}

fn cover_is_inert(test: &Test) -> Outcome {
    let report = test.report_paths(tree(test)?.with("/linux/maskedPaths", json!(["/secret"])), &["/secret"])?;
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        check!(report.mounted_with("/secret", option), "lacks {option}: {}", report.mount("/secret"));
    }
    check_eq!(report.path("/secret")["create"], libc::EROFS, "making a file in it");
    Ok(())
}

fn read_only_is_recursive(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    let mut bundle = tree(test)?.with("/linux/readonlyPaths", json!(["/bound"]));
    bundle.mount("/bound", "bind", &source, &["rbind"]);
    let bundle = bundle.probe(&["report", "--path", "/bound", "--path", "/bound/sub"]);
    let script = "mount -t tmpfs x source; mkdir source/sub; mount -t tmpfs -o nosuid y source/sub; \"$@\"";
    let report = report_within(test, script, &bundle)?;
    check_eq!(report.path("/bound")["create"], libc::EROFS, "the path");
    check_eq!(report.path("/bound/sub")["create"], libc::EROFS, "a mount below");
    check!(report.mounted_with("/bound/sub", "nosuid"), "lost nosuid: {}", report.mount("/bound/sub"));
    Ok(())
}

fn read_only_through_a_link(test: &Test) -> Outcome {
    let bundle = tree(test)?;
    symlink("../../../secret/a", bundle.rootfs().join("link"))?;
    let report =
        test.report_paths(bundle.with("/linux/readonlyPaths", json!(["/link"])), &["/secret/a", "/secret/d"])?;
    check_eq!(report.path("/secret/a")["create"], libc::EROFS, "what the link leads to");
    check_eq!(report.path("/secret/d")["create"], 0, "its neighbour");
    Ok(())
}

/// The mount a read-only path is on, and the host's side of it, stay writable.
fn read_only_bind_stays_itself(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    fs::create_dir(test.folder.join("source/sub"))?;
    let mut bundle = tree(test)?.with("/linux/readonlyPaths", json!(["/bound/sub"]));
    bundle.mount("/bound", "bind", &source, &["rbind"]);
    let report = test.report_paths(bundle, &["/bound", "/bound/sub"])?;
    check_eq!(report.path("/bound/sub")["create"], libc::EROFS, "the path");
    check_eq!(report.path("/bound")["create"], 0, "the mount it is on");
    fs::write(test.folder.join("source/sub/file"), "")?;
    Ok(())
}

fn read_only_twice(test: &Test) -> Outcome {
    let list = json!(["/secret/a", "/secret/a/", "//secret/./a", "/secret"]);
    let report = test.report_paths(tree(test)?.with("/linux/readonlyPaths", list), &["/secret/a", "/secret"])?;
    check_eq!(report.path("/secret/a")["create"], libc::EROFS, "the path");
    let points = report.at("/mounts").as_array().cloned().unwrap_or_default();
    let count = points.iter().filter(|mount| mount["point"] == "/secret/a").count();
    check!(count <= 2, "{count} mounts on one path");
    Ok(())
}

fn label_without_selinux(test: &Test) -> Outcome {
    if fs::exists("/sys/fs/selinux/enforce")? {
        return crate::test::skip("this host has SELinux");
    }
    let bundle = test.bundle()?.with("/linux/mountLabel", json!("system_u:object_r:container_file_t:s0:c1,c2"));
    let said = test.run_refused(&bundle, "")?;
    check!(!test.runtime.is_ours() || said.contains("/linux/mountLabel"), "no JSON pointer: {said}");
    Ok(())
}
