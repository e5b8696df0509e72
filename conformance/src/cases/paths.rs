//! paths: the root's own mode, masked and read-only paths, host name.

use crate::bundle::Bundle;
use crate::cases;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;

cases!["paths":
    root_is_read_only, root_is_writable, root_keeps_its_mode, relative_root, root_through_a_bundle_with_odd_names,
    masked_files_and_directories, masked_defaults, masked_twice_and_missing, masked_through_a_link,
    masked_in_a_writable_root, read_only_paths, read_only_defaults, read_only_keeps_flags, read_only_missing,
    read_only_below_a_masked_path, host_and_domain_name, long_host_name, kernel_file_system_is_not_the_hosts,
];

const EROFS: i64 = 30;

fn root_is_read_only(t: &Test) -> Outcome {
    let bundle = t.bundle()?;
    let report = t.report_paths(bundle, &["/", "/etc", "/tmp"])?;
    for path in ["/", "/etc", "/tmp"] {
        check_eq!(report.path(path)["create"], json!(EROFS), "making a file in {path}");
    }
    check!(report.mounted_with("/", "ro"), "/ is not read-only: {}", report.mount("/"));
    Ok(())
}

fn writable(t: &Test) -> Outcome<Bundle> {
    Ok(t.bundle()?.with("/root/readonly", json!(false)))
}

fn root_is_writable(t: &Test) -> Outcome {
    let bundle = writable(t)?.probe(&["write-file", "/made", "inside"]);
    check_eq!(t.run(&bundle)?.code, 0, "exit status");
    check_eq!(fs::read_to_string(bundle.rootfs().join("made"))?, "inside", "the file on the host");
    Ok(())
}

fn root_keeps_its_mode(t: &Test) -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    let bundle = t.bundle()?;
    fs::set_permissions(bundle.rootfs(), fs::Permissions::from_mode(0o711))?;
    let report = t.report(&bundle)?;
    check_eq!(report.at("/root/mode"), &json!("711"), "mode of /");
    Ok(())
}

/// Relative to the bundle, whatever the current directory; absolute as well.
fn relative_root(t: &Test) -> Outcome {
    let bundle = t.bundle()?;
    fs::rename(bundle.rootfs(), bundle.path.join("other"))?;
    let path = bundle.path.join("other").to_string_lossy().into_owned();
    for root in ["other", "./other", &path] {
        let bundle =
            Bundle { path: bundle.path.clone(), config: bundle.config.clone() }.with("/root/path", json!(root));
        let output = t.run(&bundle)?;
        check_eq!(output.code, 0, "root {root}: {}", output.stderr);
    }
    Ok(())
}

fn root_through_a_bundle_with_odd_names(t: &Test) -> Outcome {
    let bundle = Bundle::new(&t.folder.join("a b,c=d:e\\040%é"), &t.id)?.probe(&["exit", "3"]);
    bundle.save()?;
    let mut bundle = bundle;
    if t.runtime.v2_view {
        bundle.remove("/linux/resources");
        bundle.save()?;
    }
    let output = t.rt(&["run", "--bundle", &bundle.path.to_string_lossy(), &t.id])?;
    check_eq!(output.code, 3, "exit status: {}", output.stderr);
    Ok(())
}

/// A bundle whose root has a secret file and folder.
fn secrets(t: &Test) -> Outcome<Bundle> {
    let bundle = t.bundle()?;
    fs::write(bundle.rootfs().join("secret"), "secret")?;
    fs::create_dir(bundle.rootfs().join("secrets"))?;
    fs::write(bundle.rootfs().join("secrets/one"), "secret")?;
    Ok(bundle)
}

fn masked_files_and_directories(t: &Test) -> Outcome {
    let bundle = secrets(t)?.with("/linux/maskedPaths", json!(["/secret", "/secrets"]));
    let report = t.report_paths(bundle, &["/secret", "/secrets"])?;
    check_eq!(report.path("/secret")["read"], json!(""), "a masked file's content");
    check_eq!(report.path("/secret")["rdev"], json!("1:3"), "what a masked file is");
    check_eq!(report.path("/secrets")["list"], json!([]), "a masked directory's content");
    check_eq!(report.path("/secrets")["create"], json!(EROFS), "making a file in a masked directory");
    Ok(())
}

fn masked_defaults(t: &Test) -> Outcome {
    let masked = ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/latency_stats"];
    let folders = ["/proc/acpi", "/proc/scsi", "/proc/asound", "/sys/firmware"];
    let all: Vec<&str> = masked.iter().chain(&folders).copied().collect();
    let report = t.report_paths(t.bundle()?, &all)?;
    let there = |path: &str| std::path::Path::new(path).exists();
    for path in masked.into_iter().filter(|path| there(path)) {
        check_eq!(report.path(path)["rdev"], json!("1:3"), "{path}");
    }
    for path in folders.into_iter().filter(|path| there(path)) {
        check_eq!(report.path(path)["list"], json!([]), "{path}");
    }
    Ok(())
}

fn masked_twice_and_missing(t: &Test) -> Outcome {
    let list = json!(["/secret", "/no/such/file", "/secret", "/secrets", "/secrets", "/secret/below/a/file"]);
    let report = t.report_paths(secrets(t)?.with("/linux/maskedPaths", list), &["/secret", "/secrets", "/no"])?;
    check_eq!(report.path("/secret")["read"], json!(""), "/secret");
    check_eq!(report.path("/secrets")["list"], json!([]), "/secrets");
    check_eq!(report.path("/no")["errno"], json!(2), "nothing was made for the missing one");
    Ok(())
}

/// What the link leads to inside the root is masked; outside nothing happens.
fn masked_through_a_link(t: &Test) -> Outcome {
    let bundle = secrets(t)?;
    symlink("/secret", bundle.rootfs().join("link"))?;
    symlink("../../../../secrets", bundle.rootfs().join("climbing"))?;
    let bundle = bundle.with("/linux/maskedPaths", json!(["/link", "/climbing"]));
    let report = t.report_paths(bundle, &["/secret", "/secrets"])?;
    check_eq!(report.path("/secret")["read"], json!(""), "what the link leads to");
    check_eq!(report.path("/secrets")["list"], json!([]), "what the climbing link leads to");
    Ok(())
}

fn masked_in_a_writable_root(t: &Test) -> Outcome {
    let bundle = secrets(t)?.with("/linux/maskedPaths", json!(["/secret"])).with("/root/readonly", json!(false));
    let rootfs = bundle.rootfs();
    t.run(&bundle.probe(&["write-file", "/secret", "overwritten"]))?;
    check_eq!(fs::read_to_string(rootfs.join("secret"))?, "secret", "the file below the mask");
    Ok(())
}

fn read_only_paths(t: &Test) -> Outcome {
    let bundle =
        secrets(t)?.with("/root/readonly", json!(false)).with("/linux/readonlyPaths", json!(["/secrets", "/secret"]));
    let report = t.report_paths(bundle, &["/secrets", "/secret", "/tmp"])?;
    check_eq!(report.path("/secrets")["create"], json!(EROFS), "making a file in a read-only path");
    check_eq!(report.path("/secret")["write"], json!(EROFS), "writing a read-only file");
    check_eq!(report.path("/secret")["read"], json!("secret"), "reading a read-only file");
    check_eq!(report.path("/tmp")["create"], json!(0), "making a file elsewhere");
    Ok(())
}

fn read_only_defaults(t: &Test) -> Outcome {
    let report = t.report_paths(t.bundle()?, &["/proc/sys/kernel/domainname", "/proc/sysrq-trigger"])?;
    check_eq!(report.path("/proc/sys/kernel/domainname")["write"], json!(EROFS), "writing a sysctl");
    if std::path::Path::new("/proc/sysrq-trigger").exists() {
        check_eq!(report.path("/proc/sysrq-trigger")["write"], json!(EROFS), "writing sysrq-trigger");
    }
    for path in ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"] {
        if std::path::Path::new(path).exists() {
            check!(report.mounted_with(path, "ro"), "{path} is not read-only: {}", report.mount(path));
        }
    }
    Ok(())
}

fn read_only_keeps_flags(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.mount("/tmp", "tmpfs", "tmpfs", &["nosuid", "nodev", "noexec"]);
    let report = t.report_paths(bundle.with("/linux/readonlyPaths", json!(["/tmp"])), &["/tmp"])?;
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        check!(report.mounted_with("/tmp", option), "/tmp lacks {option}: {}", report.mount("/tmp"));
    }
    Ok(())
}

fn read_only_missing(t: &Test) -> Outcome {
    t.run_ok(&t.bundle()?.with("/linux/readonlyPaths", json!(["/no/such/path", "/probe/below"]))).map(drop)
}

fn read_only_below_a_masked_path(t: &Test) -> Outcome {
    let bundle = secrets(t)?
        .with("/linux/maskedPaths", json!(["/secrets"]))
        .with("/linux/readonlyPaths", json!(["/secrets/one", "/secrets"]));
    let report = t.report_paths(bundle, &["/secrets"])?;
    check_eq!(report.path("/secrets")["list"], json!([]), "/secrets");
    Ok(())
}

fn host_and_domain_name(t: &Test) -> Outcome {
    let outside = nix::sys::utsname::uname().map(|names| names.nodename().to_owned())?;
    let bundle = t.bundle()?.with("/hostname", json!("inside-1")).with("/domainname", json!("domain.example"));
    let report = t.report(&bundle)?;
    check_eq!(report.at("/uts/hostname"), &json!("inside-1"), "host name");
    if t.runtime.is_ours() {
        // runc has it since 1.1.6, crun since 1.8.2.
        check_eq!(report.at("/uts/domainname"), &json!("domain.example"), "domain name");
    }
    let after = nix::sys::utsname::uname().map(|names| names.nodename().to_owned())?;
    check_eq!(after, outside, "the host's own name");
    Ok(())
}

fn long_host_name(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?.with("/hostname", json!("x".repeat(64))))?;
    check_eq!(report.at("/uts/hostname"), &json!("x".repeat(64)), "host name of 64 bytes");
    t.run_refused(&t.bundle()?.with("/hostname", json!("x".repeat(65))), "").map(drop)
}

fn kernel_file_system_is_not_the_hosts(t: &Test) -> Outcome {
    let report = t.report_paths(t.bundle()?, &["/proc", "/sys/class/net"])?;
    let list = report.path("/proc")["list"].as_array().cloned().unwrap_or_default();
    let pids: Vec<&str> =
        list.iter().filter_map(|n| n.as_str()).filter(|n| n.bytes().all(|b| b.is_ascii_digit())).collect();
    check_eq!(pids, ["1"], "processes to be seen");
    check_eq!(report.path("/sys/class/net")["list"], json!(["lo"]), "interfaces in /sys");
    Ok(())
}
