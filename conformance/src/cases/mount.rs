//! mounts: the default ones, binds, tmpfs, their options and their order; the private loopback.

use crate::cases;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

cases!["mount":
    defaults_have_their_options, default_sizes_and_modes, nothing_else_is_mounted, order_is_the_lists,
    bind_of_a_directory, bind_of_a_file, bind_from_the_bundle, missing_destinations_are_made, bind_read_only,
    bind_takes_no_submounts, rbind_takes_submounts, rbind_read_only_is_not_recursive, bind_source_missing,
    bind_with_data, tmpfs_options, tmpfs_takes_the_directorys_mode, unknown_file_system, unknown_option_is_data,
    relative_destination, a_mount_on_the_root, nothing_reaches_the_host, loopback_is_up, loopback_of_the_host_is_left,
    cgroups_are_its_own, cgroup_mount_is_read_only,
];

fn defaults_have_their_options(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?)?;
    for (point, kind, options) in [
        ("/proc", "proc", &["rw"][..]),
        ("/dev", "tmpfs", &["rw", "nosuid"]),
        ("/dev/pts", "devpts", &["rw", "nosuid", "noexec", "gid=5", "mode=620", "ptmxmode=666"]),
        ("/dev/shm", "tmpfs", &["rw", "nosuid", "nodev", "noexec", "size=65536k"]),
        ("/dev/mqueue", "mqueue", &["rw", "nosuid", "nodev", "noexec"]),
        ("/sys", "sysfs", &["ro", "nosuid", "nodev", "noexec"]),
    ] {
        let mount = report.mount(point);
        check_eq!(mount["type"], json!(kind), "type of {point}");
        for option in options {
            check!(report.mounted_with(point, option), "{point} lacks {option}: {mount}");
        }
    }
    Ok(())
}

fn default_sizes_and_modes(t: &Test) -> Outcome {
    let report = t.report_paths(t.bundle()?, &["/dev", "/dev/shm", "/dev/mqueue", "/proc", "/sys"])?;
    for (path, mode) in
        [("/dev", "755"), ("/dev/shm", "1777"), ("/dev/mqueue", "1777"), ("/proc", "555"), ("/sys", "555")]
    {
        check_eq!(report.path(path)["mode"], json!(mode), "mode of {path}");
    }
    check!(report.mounted_with("/dev", "size=65536k"), "size of /dev: {}", report.mount("/dev"));
    check_eq!(report.path("/dev/shm")["create"], json!(0), "making a file in /dev/shm");
    Ok(())
}

/// Everything in the table is a mount of the config or a mask.
fn nothing_else_is_mounted(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?)?;
    let known = ["/", "/proc", "/dev", "/sys"];
    for mount in report.at("/mounts").as_array().into_iter().flatten() {
        let point = mount["point"].as_str().unwrap_or("");
        let below = |top: &&str| point == *top || (*top != "/" && point.starts_with(&format!("{top}/")));
        check!(known.iter().any(below), "{point} is mounted: {mount}");
    }
    Ok(())
}

fn order_is_the_lists(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.mount("/tmp", "tmpfs", "first", &[]);
    bundle.mount("/tmp/a", "tmpfs", "second", &[]);
    bundle.mount("/tmp/a/b", "tmpfs", "third", &[]);
    bundle.mount("/tmp/a", "tmpfs", "fourth", &[]);
    let report = t.report_paths(bundle, &["/tmp", "/tmp/a"])?;
    check_eq!(report.mount("/tmp")["source"], json!("first"), "/tmp");
    check_eq!(report.mount("/tmp/a")["source"], json!("fourth"), "/tmp/a");
    check_eq!(report.path("/tmp/a")["list"], json!([]), "the last one covers what was there");
    Ok(())
}

/// A directory of the host with a file in it.
fn source(t: &Test) -> Outcome<PathBuf> {
    let path = t.folder.join("source");
    fs::create_dir(&path)?;
    fs::write(path.join("file"), "of the host")?;
    Ok(path)
}

fn bind_of_a_directory(t: &Test) -> Outcome {
    let source = source(t)?;
    let mut bundle = t.bundle()?;
    bundle.mount("/tmp", "bind", &source.to_string_lossy(), &["bind"]);
    let report = t.report_paths(bundle, &["/tmp/file", "/tmp"])?;
    check_eq!(report.path("/tmp/file")["read"], json!("of the host"), "content");
    check_eq!(report.path("/tmp")["create"], json!(0), "making a file");
    check!(!source.join(".probe").exists(), "the probe's file is still there");
    Ok(())
}

fn bind_of_a_file(t: &Test) -> Outcome {
    let source = source(t)?;
    let mut bundle = t.bundle()?;
    bundle.mount("/etc/passwd", "none", &source.join("file").to_string_lossy(), &["rbind", "ro"]);
    bundle.mount("/new/file", "none", &source.join("file").to_string_lossy(), &["bind"]);
    let rootfs = bundle.rootfs();
    let report = t.report_paths(bundle, &["/etc/passwd", "/new/file"])?;
    check_eq!(report.path("/etc/passwd")["read"], json!("of the host"), "over a file");
    check_eq!(report.path("/etc/passwd")["write"], json!(30), "writing it");
    check_eq!(report.path("/new/file")["read"], json!("of the host"), "over nothing");
    check_eq!(fs::read_to_string(rootfs.join("new/file"))?, "", "the mount point made for it");
    Ok(())
}

fn bind_from_the_bundle(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    fs::create_dir(bundle.path.join("data"))?;
    fs::write(bundle.path.join("data/file"), "of the bundle")?;
    bundle.mount("/tmp", "bind", "data", &["bind"]);
    let report = t.report_paths(bundle, &["/tmp/file"])?;
    check_eq!(report.path("/tmp/file")["read"], json!("of the bundle"), "content");
    Ok(())
}

fn missing_destinations_are_made(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.mount("/a/b/c", "tmpfs", "tmpfs", &[]);
    let report = t.report_paths(bundle, &["/a", "/a/b"])?;
    check_eq!((&report.path("/a")["mode"], &report.path("/a/b")["mode"]), (&json!("755"), &json!("755")), "modes");
    Ok(())
}

fn bind_read_only(t: &Test) -> Outcome {
    let source = source(t)?;
    let mut bundle = t.bundle()?;
    bundle.mount("/tmp", "bind", &source.to_string_lossy(), &["bind", "ro", "nosuid", "nodev", "noexec"]);
    let report = t.report_paths(bundle, &["/tmp"])?;
    check_eq!(report.path("/tmp")["create"], json!(30), "making a file");
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        check!(report.mounted_with("/tmp", option), "lacks {option}: {}", report.mount("/tmp"));
    }
    fs::write(source.join("new"), "the host still may")?;
    Ok(())
}

/// A tmpfs on the host, below the source; gone with this value.
struct Below(PathBuf);

impl Below {
    fn new(source: &Path) -> Outcome<Self> {
        let path = source.join("below");
        fs::create_dir(&path)?;
        nix::mount::mount(Some("tmpfs"), &path, Some("tmpfs"), nix::mount::MsFlags::empty(), None::<&str>)?;
        fs::write(path.join("deep"), "deep")?;
        Ok(Self(path))
    }
}

impl Drop for Below {
    fn drop(&mut self) {
        let _ = nix::mount::umount(&self.0);
    }
}

fn bind_takes_no_submounts(t: &Test) -> Outcome {
    let source = source(t)?;
    let _below = Below::new(&source)?;
    let mut bundle = t.bundle()?;
    bundle.mount("/tmp", "bind", &source.to_string_lossy(), &["bind"]);
    let report = t.report_paths(bundle, &["/tmp/below"])?;
    check_eq!(report.path("/tmp/below")["list"], json!([]), "what is mounted below the source");
    Ok(())
}

fn rbind_takes_submounts(t: &Test) -> Outcome {
    let source = source(t)?;
    let _below = Below::new(&source)?;
    let mut bundle = t.bundle()?;
    bundle.mount("/tmp", "bind", &source.to_string_lossy(), &["rbind"]);
    let report = t.report_paths(bundle, &["/tmp/below"])?;
    check_eq!(report.path("/tmp/below")["list"], json!(["deep"]), "what is mounted below the source");
    Ok(())
}

/// As in runc: `rro` is the recursive one.
fn rbind_read_only_is_not_recursive(t: &Test) -> Outcome {
    let source = source(t)?;
    let _below = Below::new(&source)?;
    let mut bundle = t.bundle()?;
    bundle.mount("/tmp", "bind", &source.to_string_lossy(), &["rbind", "ro"]);
    let report = t.report_paths(bundle, &["/tmp", "/tmp/below"])?;
    check_eq!(report.path("/tmp")["create"], json!(30), "making a file");
    check_eq!(report.path("/tmp/below")["create"], json!(0), "making a file below");
    Ok(())
}

fn bind_source_missing(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.mount("/tmp", "bind", "/no/such/source", &["bind"]);
    t.run_refused(&bundle, "/no/such/source").map(drop)
}

fn bind_with_data(t: &Test) -> Outcome {
    let source = source(t)?;
    let mut bundle = t.bundle()?;
    bundle.mount("/tmp", "bind", &source.to_string_lossy(), &["bind", "nr_inodes=9"]);
    t.run_refused(&bundle, "").map(drop)
}

fn tmpfs_options(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.mount("/a", "tmpfs", "named", &["size=1m", "mode=711", "uid=5", "gid=6", "nr_inodes=77", "noexec", "ro"]);
    let report = t.report_paths(bundle, &["/a"])?;
    check_eq!(report.mount("/a")["source"], json!("named"), "source");
    let entry = report.path("/a");
    check_eq!((&entry["mode"], &entry["uid"], &entry["gid"]), (&json!("711"), &json!(5), &json!(6)), "mode and owner");
    for option in ["size=1024k", "nr_inodes=77", "noexec", "ro"] {
        check!(report.mounted_with("/a", option), "lacks {option}: {}", report.mount("/a"));
    }
    Ok(())
}

fn tmpfs_takes_the_directorys_mode(t: &Test) -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    let mut bundle = t.bundle()?;
    let path = bundle.rootfs().join("odd");
    fs::create_dir(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o1751))?;
    bundle.mount("/odd", "tmpfs", "tmpfs", &[]);
    bundle.mount("/fresh", "tmpfs", "tmpfs", &[]);
    let report = t.report_paths(bundle, &["/odd", "/fresh"])?;
    check_eq!(report.path("/odd")["mode"], json!("1751"), "mode over an existing directory");
    check_eq!(report.path("/fresh")["mode"], json!("1777"), "mode over nothing: the kernel's");
    Ok(())
}

fn unknown_file_system(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.mount("/tmp", "no-such-fs", "none", &[]);
    t.run_refused(&bundle, "/tmp").map(drop)
}

fn unknown_option_is_data(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.mount("/tmp", "tmpfs", "tmpfs", &["no-such-option=1"]);
    t.run_refused(&bundle, "/tmp").map(drop)
}

/// Deprecated, and taken as below the root.
fn relative_destination(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.mount("tmp", "tmpfs", "relative", &[]);
    let report = t.report(&bundle)?;
    check_eq!(report.mount("/tmp")["source"], json!("relative"), "what is mounted on /tmp");
    Ok(())
}

fn a_mount_on_the_root(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.mount("/", "tmpfs", "tmpfs", &[]);
    t.run_refused(&bundle, "").map(drop)
}

/// A container that runs is not to be seen in the host's mounts.
fn nothing_reaches_the_host(t: &Test) -> Outcome {
    t.sleeper(t.bundle()?)?;
    let seen = crate::leak::mounts_under(&t.folder);
    t.delete()?;
    check!(seen.is_empty(), "mounts on the host: {seen:?}");
    Ok(())
}

fn loopback_is_up(t: &Test) -> Outcome {
    check_eq!(t.report(&t.bundle()?)?.at("/lo_up"), &json!(true), "loopback");
    Ok(())
}

/// In a network namespace that was joined it stays as it is.
fn loopback_of_the_host_is_left(t: &Test) -> Outcome {
    let bundle = t.bundle()?;
    bundle.save()?;
    let mut bundle = bundle;
    bundle.drop_namespace("network");
    bundle.save()?;
    let before = ["unshare", "--net"];
    let output = t.finish(t.command(&before, &["run", "--bundle", &bundle.path.to_string_lossy(), &t.id]))?;
    check_eq!(output.code, 0, "run: {}", output.stderr);
    check_eq!(crate::report::Report::parse(&output.stdout)?.at("/lo_up"), &json!(false), "loopback");
    Ok(())
}

fn cgroups_are_its_own(t: &Test) -> Outcome {
    if t.runtime.v2_view || !crate::runtime::hybrid() {
        return skip("the cgroup v1 hierarchies are not to be seen");
    }
    let report = t.report_paths(t.bundle()?, &["/sys/fs/cgroup", "/sys/fs/cgroup/memory"])?;
    let list = report.path("/sys/fs/cgroup/memory")["list"].as_array().cloned().unwrap_or_default();
    check!(list.contains(&json!("memory.limit_in_bytes")), "no memory controller: {list:?}");
    check!(!list.iter().any(|name| name.as_str().is_some_and(|n| n.starts_with("cf"))), "the host's root: {list:?}");
    for line in report.at("/cgroup").as_array().into_iter().flatten().filter_map(|l| l.as_str()) {
        check!(line.contains(&t.id), "not in a cgroup of its own: {line}");
    }
    Ok(())
}

fn cgroup_mount_is_read_only(t: &Test) -> Outcome {
    let path = if t.runtime.v2_view || crate::runtime::unified() { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/memory" };
    let report = t.report_paths(t.bundle()?, &[path])?;
    check_eq!(report.path(path)["create"], json!(30), "making a file in {path}");
    Ok(())
}
