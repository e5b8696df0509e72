//! `linux.maskedPaths`: on files, directories, mounts and links, in user namespaces.

use crate::bundle::Bundle;
use crate::cases;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

cases!["mask":
    files_and_directories, defaults, twice_and_missing, through_a_link, links_that_lead_nowhere, odd_files, a_mount,
    one_directory_for_all, masked_inside_masked, cover_is_inert, in_a_writable_root, in_a_user_namespace,
    not_a_path,
];

/// A bundle whose root has a secret file and folder.
pub(super) fn secrets(t: &Test) -> Outcome<Bundle> {
    let bundle = t.bundle()?;
    fs::write(bundle.rootfs().join("secret"), "secret")?;
    fs::create_dir(bundle.rootfs().join("secrets"))?;
    fs::write(bundle.rootfs().join("secrets/one"), "secret")?;
    Ok(bundle)
}

/// A writable root with folders of secrets.
pub(super) fn tree(t: &Test) -> Outcome<Bundle> {
    let bundle = t.bundle()?.with("/root/readonly", json!(false));
    for name in ["a", "b/c", "d"] {
        fs::create_dir_all(bundle.rootfs().join("secret").join(name))?;
        fs::write(bundle.rootfs().join("secret").join(name).join("file"), "secret")?;
    }
    Ok(bundle)
}

fn files_and_directories(t: &Test) -> Outcome {
    let bundle = secrets(t)?.with("/linux/maskedPaths", json!(["/secret", "/secrets"]));
    let report = t.report_paths(bundle, &["/secret", "/secrets"])?;
    check_eq!(report.path("/secret")["read"], json!(""), "a masked file's content");
    check_eq!(report.path("/secret")["rdev"], json!("1:3"), "what a masked file is");
    check_eq!(report.path("/secrets")["list"], json!([]), "a masked directory's content");
    check_eq!(report.path("/secrets")["create"], libc::EROFS, "making a file in a masked directory");
    Ok(())
}

fn defaults(t: &Test) -> Outcome {
    let masked = ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/latency_stats"];
    let folders = ["/proc/acpi", "/proc/scsi", "/proc/asound", "/sys/firmware"];
    let all: Vec<&str> = masked.iter().chain(&folders).copied().collect();
    let report = t.report_paths(t.bundle()?, &all)?;
    let there = |path: &str| Path::new(path).exists();
    for path in masked.into_iter().filter(|path| there(path)) {
        check_eq!(report.path(path)["rdev"], json!("1:3"), "{path}");
    }
    for path in folders.into_iter().filter(|path| there(path)) {
        check_eq!(report.path(path)["list"], json!([]), "{path}");
    }
    Ok(())
}

fn twice_and_missing(t: &Test) -> Outcome {
    let list = json!(["/secret", "/no/such/file", "/secret", "/secrets", "/secrets", "/secret/below/a/file"]);
    let report = t.report_paths(secrets(t)?.with("/linux/maskedPaths", list), &["/secret", "/secrets", "/no"])?;
    check_eq!(report.path("/secret")["read"], json!(""), "/secret");
    check_eq!(report.path("/secrets")["list"], json!([]), "/secrets");
    check_eq!(report.path("/no")["errno"], json!(2), "nothing was made for the missing one");
    Ok(())
}

/// What the link leads to inside the root is masked; outside nothing happens.
fn through_a_link(t: &Test) -> Outcome {
    let bundle = secrets(t)?;
    symlink("/secret", bundle.rootfs().join("link"))?;
    symlink("../../../../secrets", bundle.rootfs().join("climbing"))?;
    let bundle = bundle.with("/linux/maskedPaths", json!(["/link", "/climbing"]));
    let report = t.report_paths(bundle, &["/secret", "/secrets"])?;
    check_eq!(report.path("/secret")["read"], json!(""), "what the link leads to");
    check_eq!(report.path("/secrets")["list"], json!([]), "what the climbing link leads to");
    Ok(())
}

/// Nothing is there, so there is nothing to hide; but what cannot be looked up might be there.
fn links_that_lead_nowhere(t: &Test) -> Outcome {
    let bundle = tree(t)?;
    symlink("/nowhere", bundle.rootfs().join("dangling"))?;
    t.run_ok(&bundle.with("/linux/maskedPaths", json!(["/dangling", "/dangling/x"])).probe(&["exit", "0"]))?;
    for target in ["loop", "/proc/self/root", "/proc/self/exe"] {
        for list in ["/linux/maskedPaths", "/linux/readonlyPaths"] {
            let bundle = tree(t)?;
            let _ = fs::remove_file(bundle.rootfs().join("loop"));
            symlink(target, bundle.rootfs().join("loop"))?;
            t.run_refused(&bundle.with(list, json!(["/loop"])), "")?;
        }
    }
    Ok(())
}

fn odd_files(t: &Test) -> Outcome {
    let bundle = tree(t)?;
    nix::unistd::mkfifo(&bundle.rootfs().join("fifo"), nix::sys::stat::Mode::S_IRWXU)?;
    let _socket = std::os::unix::net::UnixListener::bind(bundle.rootfs().join("socket"))?;
    let masked = ["/fifo", "/socket", "/dev/zero"];
    let report = t.report_paths(bundle.with("/linux/maskedPaths", json!(masked)), &masked)?;
    for path in masked {
        check_eq!(report.path(path)["rdev"], "1:3", "{path}");
    }
    Ok(())
}

fn a_mount(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    fs::write(t.folder.join("source/file"), "secret")?;
    let mut bundle = tree(t)?.with("/linux/maskedPaths", json!(["/bound", "/file"]));
    bundle.mount("/bound", "bind", &source, &["bind"]);
    bundle.mount("/file", "bind", &format!("{source}/file"), &["bind"]);
    let report = t.report_paths(bundle, &["/bound", "/file"])?;
    check_eq!(report.path("/bound")["list"], json!([]), "a masked mount");
    check_eq!(report.path("/file")["read"], "", "a masked file that is mounted");
    Ok(())
}

/// A file system for each would cost, on a host with thousands of containers (runc#5275).
fn one_directory_for_all(t: &Test) -> Outcome {
    let masked = ["/secret/a", "/secret/b/c", "/secret/d"];
    let bundle = tree(t)?.with("/linux/maskedPaths", json!(masked));
    let report = t.report_paths(bundle, &masked)?;
    for path in masked {
        check_eq!(report.path(path)["list"], json!([]), "{path}");
        check_eq!(report.mount(path)["type"], "tmpfs", "{path}");
        check_eq!(report.mount(path)["dev"], report.mount(masked[0])["dev"], "the file system behind {path}");
    }
    Ok(())
}

fn masked_inside_masked(t: &Test) -> Outcome {
    let bundle = tree(t)?.with("/linux/maskedPaths", json!(["/secret", "/secret/a", "/secret/a/file"]));
    let report = t.report_paths(bundle, &["/secret"])?;
    check_eq!(report.path("/secret")["list"], json!([]), "the outer one");
    Ok(())
}

fn cover_is_inert(t: &Test) -> Outcome {
    let report = t.report_paths(tree(t)?.with("/linux/maskedPaths", json!(["/secret"])), &["/secret"])?;
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        check!(report.mounted_with("/secret", option), "lacks {option}: {}", report.mount("/secret"));
    }
    check_eq!(report.path("/secret")["create"], libc::EROFS, "making a file in it");
    Ok(())
}

fn in_a_writable_root(t: &Test) -> Outcome {
    let bundle = secrets(t)?.with("/linux/maskedPaths", json!(["/secret"])).with("/root/readonly", json!(false));
    let rootfs = bundle.rootfs();
    t.run(&bundle.probe(&["write-file", "/secret", "overwritten"]))?;
    check_eq!(fs::read_to_string(rootfs.join("secret"))?, "secret", "the file below the mask");
    Ok(())
}

fn in_a_user_namespace(t: &Test) -> Outcome {
    let mut bundle = tree(t)?;
    fs::write(bundle.rootfs().join("file"), "secret")?;
    bundle.map_root()?;
    bundle.set("/linux/maskedPaths", json!(["/secret/a", "/secret/d", "/file", "/proc/keys"]));
    bundle.set("/linux/readonlyPaths", json!(["/secret/b", "/proc/sys"]));
    let report = t.report_paths(bundle, &["/secret/a", "/file", "/proc/keys", "/secret/b"])?;
    check_eq!(report.path("/secret/a")["list"], json!([]), "a masked directory");
    check_eq!(report.path("/file")["read"], "", "a masked file");
    check_eq!(report.path("/proc/keys")["rdev"], "1:3", "a masked file of procfs");
    check!(report.mounted_with("/secret/b", "ro"), "{}", report.mount("/secret/b"));
    check!(report.mounted_with("/proc/sys", "ro"), "{}", report.mount("/proc/sys"));
    Ok(())
}

fn not_a_path(t: &Test) -> Outcome {
    for list in ["/linux/maskedPaths", "/linux/readonlyPaths"] {
        for path in ["relative/path", "", "/", "/x/.."] {
            let said = t.run_refused(&tree(t)?.with(list, json!(["/proc/keys", path])), "")?;
            check!(!t.runtime.is_ours() || said.contains(&format!("{list}/1")), "no JSON pointer: {said}");
        }
    }
    Ok(())
}
