//! `mounts`: every option, sources and destinations of all kinds, propagation, mapped ids, special filesystems.

use crate::bundle::Bundle;
use crate::cases;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

cases!["mounting":
    flags_of_a_bind, bind_keeps_what_the_source_has, bind_with_options_drops_the_rest, access_times, nosymfollow,
    recursive_attributes, rbind_and_bind, files_and_directories, relative_source, relative_destination,
    source_is_missing, no_type, unknown_option, data_on_a_bind, what_a_tmpfs_is_made_with_goes_by_on_a_bind, propagation_modes, tmpfs_options, tmpfs_mode,
    readonly_tmpfs_takes_mounts, tmpcopyup, superblock_flags, remount, overlay, over_the_root, in_proc, proc_is_procfs,
    ordinary_directories, links_on_the_way, links_themselves, link_to_its_own_folder, below_a_readonly_bind, order,
    binds_are_listed_after_what_they_are_mounted_on, cgroup_v1, cgroup_v1_namespace, cgroup_v2,
    idmap, idmap_of_the_option, idmap_of_the_container, idmap_of_a_joined_namespace, idmap_errors, without_mount_setattr, locked_flags,
    locked_flags_of_what_the_parent_cloned, times_stay, source_in_the_container, mapped_source_in_the_container, many,
];

/// Runs `script` in a mount namespace of its own, in which "$@" is the runtime with its arguments.
pub fn within(test: &Test, script: &str, bundle: &Bundle) -> Outcome<crate::command::Output> {
    bundle.save()?;
    let args = ["run", "--bundle", &bundle.path.to_string_lossy(), &test.id];
    let script = format!("set -e; cd {}; {script}", test.folder.display());
    test.finish(test.command(&["unshare", "-m", "sh", "-c", &script, "sh"], &args))
}

/// As [`within`], with the probe's report.
pub fn report_within(test: &Test, script: &str, bundle: &Bundle) -> Outcome<crate::report::Report> {
    let output = within(test, script, bundle)?;
    check!(output.code == 0, "exit {}: {}", output.code, output.stderr.trim());
    Ok(crate::report::Report::parse(&output.stdout)?)
}

/// A folder of the test's own, outside of the root filesystem.
pub fn folder(test: &Test, name: &str) -> Outcome<String> {
    let path = test.folder.join(name);
    fs::create_dir_all(&path)?;
    Ok(path.to_string_lossy().into_owned())
}

fn options(mount: &Value) -> Vec<String> {
    let list = mount["options"].as_array().cloned().unwrap_or_default();
    list.iter().filter_map(|o| o.as_str().map(str::to_owned)).collect()
}

fn flags_of_a_bind(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    let mut bundle = test.bundle()?;
    let all = ["bind", "ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime"];
    bundle.mount("/all", "bind", &source, &all);
    bundle.mount(
        "/taken-back",
        "none",
        &source,
        &["rbind", "ro", "nosuid", "nodev", "noexec", "rw", "suid", "dev", "exec"],
    );
    let report = test.report(&bundle)?;
    for option in &all[1..] {
        check!(report.mounted_with("/all", option), "/all lacks {option}: {}", report.mount("/all"));
    }
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        let found = options(report.mount("/taken-back"));
        check!(!found.iter().any(|o| o == option), "/taken-back has {option}: {found:?}");
    }
    Ok(())
}

/// The source is a tmpfs with flags, mounted in the namespace the runtime runs in.
const FLAGGED: &str = "mount -t tmpfs -o nosuid,nodev,noexec,noatime x source; \"$@\"";

fn bind_keeps_what_the_source_has(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    let mut bundle = test.bundle()?;
    bundle.mount("/bound", "bind", &source, &["rbind", "rprivate"]);
    let report = report_within(test, FLAGGED, &bundle)?;
    for option in ["nosuid", "nodev", "noexec", "noatime"] {
        check!(report.mounted_with("/bound", option), "lost {option}: {}", report.mount("/bound"));
    }
    Ok(())
}

fn bind_with_options_drops_the_rest(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    let mut bundle = test.bundle()?;
    bundle.mount("/bound", "bind", &source, &["rbind", "rprivate", "ro"]);
    let report = report_within(test, FLAGGED, &bundle)?;
    let found = options(report.mount("/bound"));
    // mount(2) keeps the access times where no option names them.
    check_eq!(found, ["ro", "noatime"], "options of the bind");
    Ok(())
}

fn access_times(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    let mut bundle = test.bundle()?;
    let table: [(&str, &[&str], &[&str]); 7] = [
        ("/noatime", &["noatime"], &["noatime"]),
        ("/strictatime", &["strictatime"], &[]),
        ("/relatime", &["relatime"], &["relatime"]),
        ("/nodiratime", &["nodiratime", "relatime"], &["nodiratime", "relatime"]),
        ("/last", &["noatime", "strictatime"], &[]),
        ("/atime", &["noatime", "atime"], &["relatime"]),
        ("/none", &["norelatime"], &["relatime"]),
    ];
    for (at, options, _) in table {
        bundle.mount(at, "bind", &source, &[&["bind"], options].concat());
        bundle.mount(&format!("{at}-new"), "tmpfs", "x", options);
    }
    let report = test.report(&bundle)?;
    for (at, _, wanted) in table {
        for at in [at.to_owned(), format!("{at}-new")] {
            let found = options(report.mount(&at));
            let mut times: Vec<&str> = found.iter().map(String::as_str).filter(|o| o.contains("atime")).collect();
            times.sort_unstable();
            let mut wanted = wanted.to_vec();
            wanted.sort_unstable();
            check_eq!(times, wanted, "{at}");
        }
    }
    Ok(())
}

fn nosymfollow(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    fs::write(test.folder.join("source/file"), "x")?;
    symlink("file", test.folder.join("source/link"))?;
    let mut bundle = test.bundle()?;
    bundle.mount("/bound", "bind", &source, &["bind", "nosymfollow"]);
    bundle.mount("/taken-back", "bind", &source, &["bind", "nosymfollow", "symfollow"]);
    let bundle = bundle.probe(&["open-write", "/bound/link"]);
    check_eq!(test.run(&bundle)?.code, libc::ELOOP, "opening through a link");
    let bundle = bundle.probe(&["open-write", "/bound/file"]);
    check_eq!(test.run(&bundle)?.code, 0, "opening the file");
    let bundle = bundle.probe(&["open-write", "/taken-back/link"]);
    check_eq!(test.run(&bundle)?.code, 0, "opening through a link with symfollow");
    Ok(())
}

/// A tree of two mounts.
const TREE: &str = "mount -t tmpfs x source; mkdir source/sub; mount -t tmpfs -o nosuid,noexec y source/sub; \"$@\"";

fn recursive_attributes(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    let mut bundle = test.bundle()?;
    let table: [(&str, &str, bool); 7] = [
        ("rro", "ro", true),
        ("rnodev", "nodev", true),
        ("rnosuid", "nosuid", true),
        ("rsuid", "nosuid", false),
        ("rexec", "noexec", false),
        ("rnoatime", "noatime", true),
        ("rnodiratime", "nodiratime", true),
    ];
    for (option, ..) in table {
        bundle.mount(&format!("/{option}"), "bind", &source, &["rbind", option]);
    }
    bundle.mount("/ro", "bind", &source, &["rbind", "ro"]);
    bundle.mount("/both", "bind", &source, &["rbind", "rro", "rrw", "rstrictatime"]);
    let report = report_within(test, TREE, &bundle)?;
    for (option, attribute, set) in table {
        for at in [format!("/{option}"), format!("/{option}/sub")] {
            let found = options(report.mount(&at));
            check_eq!(found.iter().any(|o| o == attribute), set, "{attribute} of {at} ({found:?})");
        }
    }
    check!(
        report.mounted_with("/ro", "ro") && !options(report.mount("/ro/sub")).contains(&"ro".to_owned()),
        "ro is not recursive"
    );
    for at in ["/both", "/both/sub"] {
        let found = options(report.mount(at));
        check!(found.contains(&"rw".to_owned()) && !found.iter().any(|o| o.contains("atime")), "{at}: {found:?}");
    }
    Ok(())
}

fn rbind_and_bind(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    let mut bundle = test.bundle()?;
    bundle.mount("/rbind", "bind", &source, &["rbind"]);
    bundle.mount("/bind", "bind", &source, &["bind"]);
    bundle.mount("/both", "bind", &source, &["bind", "rbind"]);
    let report = report_within(test, TREE, &bundle)?;
    check_eq!(report.mount("/rbind/sub")["type"], "tmpfs", "rbind");
    check_eq!(report.mount("/both/sub")["type"], "tmpfs", "bind and rbind");
    check!(report.mount("/bind/sub").is_null(), "bind brought what is mounted below");
    Ok(())
}

fn files_and_directories(test: &Test) -> Outcome {
    let directory = folder(test, "source")?;
    let file = format!("{directory}/file");
    fs::write(&file, "content")?;
    nix::unistd::mkfifo(&test.folder.join("source/fifo"), nix::sys::stat::Mode::S_IRWXU)?;
    let mut bundle = test.bundle()?;
    bundle.mount("/made/for/file", "bind", &file, &["bind"]);
    bundle.mount("/made/for/directory", "bind", &directory, &["bind"]);
    bundle.mount("/made/for/fifo", "bind", &format!("{directory}/fifo"), &["bind"]);
    bundle.mount("/etc/passwd", "bind", &file, &["bind"]);
    let report = test
        .report_paths(bundle, &["/made/for/file", "/made/for/directory", "/made/for/fifo", "/etc/passwd", "/made"])?;
    check_eq!(report.path("/made/for/file")["read"], "content", "a file");
    check_eq!(report.path("/made/for/directory")["list"], json!(["fifo", "file"]), "a directory");
    check_eq!(report.path("/made/for/fifo")["type"], "fifo", "a fifo");
    check_eq!(report.path("/etc/passwd")["read"], "content", "over an existing file");
    check_eq!(report.path("/made")["mode"], "755", "a directory that was made");
    let rootfs = test.folder.join("bundle/rootfs");
    check!(fs::metadata(rootfs.join("made/for/file"))?.is_file(), "the mount point for a file is no file");
    check_eq!(fs::metadata(rootfs.join("made/for/file"))?.len(), 0, "the mount point's size");
    Ok(())
}

fn relative_source(test: &Test) -> Outcome {
    let mut bundle = test.bundle()?;
    fs::create_dir(bundle.path.join("data"))?;
    fs::write(bundle.path.join("data/file"), "x")?;
    bundle.mount("/data", "bind", "data", &["bind"]);
    bundle.mount("/data2", "bind", "./data/../data", &["bind"]);
    let report = test.report_paths(bundle, &["/data", "/data2"])?;
    check_eq!(report.path("/data")["list"], json!(["file"]), "a source relative to the bundle");
    check_eq!(report.path("/data2")["list"], json!(["file"]), "a source relative to the bundle, with ..");
    Ok(())
}

fn relative_destination(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    let mut bundle = test.bundle()?;
    bundle.mount("relative/to/root", "bind", &source, &["bind"]);
    let report = test.report(&bundle)?;
    check_eq!(report.mount("/relative/to/root")["point"], "/relative/to/root", "the mount");
    Ok(())
}

fn source_is_missing(test: &Test) -> Outcome {
    let mut bundle = test.bundle()?;
    bundle.mount("/x", "bind", "/nonexistent/source", &["bind"]);
    let said = test.run_refused(&bundle, "/nonexistent/source")?;
    check!(test.runtime.name != "runtime" || said.contains("/mounts/7"), "no JSON pointer: {said}");
    check!(said.to_lowercase().contains("no such file"), "no reason: {said}");
    let mut bundle = test.bundle()?;
    bundle.mount("/x", "bind", "", &["bind"]);
    test.run_refused(&bundle, "")?;
    Ok(())
}

fn no_type(test: &Test) -> Outcome {
    for kind in ["", "none", "bind", "nonexistent"] {
        let mut bundle = test.bundle()?;
        bundle.mount("/x", kind, "/tmp", &["ro"]);
        let said = test.run_refused(&bundle, "")?;
        check!(test.runtime.name != "runtime" || said.contains("/mounts/7"), "no JSON pointer: {said}");
    }
    Ok(())
}

fn unknown_option(test: &Test) -> Outcome {
    let mut bundle = test.bundle()?;
    bundle.mount("/x", "tmpfs", "x", &["nosiud"]);
    test.run_refused(&bundle, "")?;
    if test.runtime.name == "runtime" {
        let said = test.run_refused(&bundle, "nosiud")?;
        check!(said.contains("/mounts/7") && said.contains("did you mean"), "neither place nor suggestion: {said}");
    }
    Ok(())
}

fn data_on_a_bind(test: &Test) -> Outcome {
    let mut bundle = test.bundle()?;
    bundle.mount("/x", "bind", "/tmp", &["bind", "uid=1"]);
    test.run_refused(&bundle, "filesystem-specific")?;
    Ok(())
}

/// Lists written for binds and tmpfs alike; runc refuses them since 1.2.
fn what_a_tmpfs_is_made_with_goes_by_on_a_bind(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    fs::set_permissions(&source, fs::Permissions::from_mode(0o711))?;
    let mut bundle = test.bundle()?;
    bundle.mount("/x", "", &source, &["nosuid", "mode=755", "size=1k", "bind", "ro"]);
    let output = test.run(&bundle)?;
    check!(output.code == 0, "{}", output.stderr);
    let mode = fs::metadata(&source)?.permissions().mode() & 0o777;
    check!(mode == 0o711, "the source has mode {mode:o} now");
    if test.runtime.is_ours() {
        check!(output.stderr.contains("/mounts/7/options/1"), "no warning: {}", output.stderr);
        check!(output.stderr.contains("/mounts/7/options/2"), "no warning: {}", output.stderr);
    }
    Ok(())
}

/// Who takes mounts away from the last to the first, as mountinfo lists them, must not meet one that is mounted on.
fn binds_are_listed_after_what_they_are_mounted_on(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    let mut bundle = test.bundle()?;
    bundle.mount("/a", "tmpfs", "a", &[]);
    bundle.mount("/a/b", "", &source, &["rbind"]);
    bundle.mount("/a/b/c", "tmpfs", "c", &[]);
    bundle.mount("/a/b/c/d", "", &source, &["bind"]);
    if !bundle.busybox(&["cut"])? {
        return skip("no static busybox");
    }
    bundle.set("/process/args", json!(["/bin/cut", "-d", " ", "-f", "5", "/proc/self/mountinfo"]));
    let said = test.run_ok(&bundle)?;
    let ours: Vec<&str> = said.lines().filter(|line| line.starts_with("/a")).collect();
    check_eq!(ours, ["/a", "/a/b", "/a/b/c", "/a/b/c/d"], "the order of mountinfo");
    Ok(())
}

fn propagation_modes(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    let mut bundle = test.bundle()?;
    let table: [(&str, &[&str], &str, &str); 9] = [
        ("/private", &["private"], "", "master:"),
        ("/rprivate", &["rprivate"], "", ""),
        ("/slave", &["slave"], "master:", "master:"),
        ("/rslave", &["rslave"], "master:", "master:"),
        ("/shared", &["shared"], "shared:", "master:"),
        ("/rshared", &["rshared"], "shared:", "shared:"),
        ("/unbindable", &["unbindable"], "unbindable", "master:"),
        ("/runbindable", &["runbindable"], "unbindable", "unbindable"),
        ("/two", &["private", "shared"], "shared:", "master:"),
    ];
    for (at, options, ..) in table {
        bundle.mount(at, "bind", &source, &[&["rbind"], options].concat());
    }
    let tree =
        "mount -t tmpfs x source; mkdir source/sub; mount -t tmpfs y source/sub; mount --make-rshared source; \"$@\"";
    let report = report_within(test, tree, &bundle)?;
    for (at, _, top, sub) in table {
        for (at, wanted) in [(at.to_owned(), top), (format!("{at}/sub"), sub)] {
            let found = report.mount(&at)["optional"].to_string();
            let right = if wanted.is_empty() { found == "[]" } else { found.contains(wanted) };
            check!(right, "{at}: {found}, wanted {wanted:?}");
        }
    }
    Ok(())
}

fn tmpfs_options(test: &Test) -> Outcome {
    let mut bundle = test.bundle()?;
    bundle.mount("/t", "tmpfs", "name", &["nosuid", "size=1m", "mode=1750", "uid=7", "gid=8", "nr_inodes=99"]);
    bundle.mount("/list", "tmpfs", "name", &["size=2m,mode=701"]);
    let report = test.report_paths(bundle, &["/t", "/list"])?;
    let about = report.path("/t");
    check_eq!((&about["mode"], &about["uid"], &about["gid"]), (&json!("1750"), &json!(7), &json!(8)), "the root of /t");
    for option in ["size=1024k", "nr_inodes=99", "nosuid"] {
        check!(report.mounted_with("/t", option), "lacks {option}: {}", report.mount("/t"));
    }
    check_eq!(report.mount("/t")["source"], "name", "the source");
    check!(report.mounted_with("/list", "size=2048k"), "several in one: {}", report.mount("/list"));
    check_eq!(report.path("/list")["mode"], "701", "several in one");
    Ok(())
}

fn tmpfs_mode(test: &Test) -> Outcome {
    let mut bundle = test.bundle()?;
    let there = bundle.rootfs().join("there");
    fs::create_dir(&there)?;
    fs::set_permissions(&there, fs::Permissions::from_mode(0o1715))?;
    bundle.mount("/there", "tmpfs", "x", &[]);
    bundle.mount("/new", "tmpfs", "x", &[]);
    let report = test.report_paths(bundle, &["/there", "/new"])?;
    check_eq!(report.path("/there")["mode"], "1715", "mode of an existing directory");
    check_eq!(report.path("/new")["mode"], "1777", "mode of a new one");
    Ok(())
}

fn readonly_tmpfs_takes_mounts(test: &Test) -> Outcome {
    let mut bundle = test.bundle()?;
    bundle.mount("/t", "tmpfs", "x", &["ro"]);
    bundle.mount("/t/below/this", "tmpfs", "x", &[]);
    bundle.mount("/covered", "tmpfs", "x", &["ro"]);
    bundle.mount("/covered", "tmpfs", "x", &[]);
    let report = test.report_paths(bundle, &["/t", "/t/below/this", "/covered"])?;
    check_eq!(report.path("/t")["create"], libc::EROFS, "writing to the read-only tmpfs");
    check_eq!(report.path("/t/below/this")["create"], 0, "writing to the one below");
    check_eq!(report.path("/covered")["create"], 0, "writing to the one that covers a read-only one");
    Ok(())
}

fn tmpcopyup(test: &Test) -> Outcome {
    let mut bundle = test.bundle()?;
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
    let report = test.report_paths(bundle, &paths)?;
    check_eq!(report.mount("/up")["type"], "tmpfs", "the mount");
    check_eq!(report.path("/up")["mode"], "751", "mode of the directory");
    check_eq!(report.path("/up")["list"], json!(["a", "fifo", "link"]), "entries");
    let a = report.path("/up/a");
    check_eq!((&a["mode"], &a["uid"], &a["gid"]), (&json!("2755"), &json!(3), &json!(4)), "a directory");
    check_eq!(report.path("/up/a/b/file")["mode"], "4640", "mode of a file");
    check_eq!(report.path("/up/a/b/file")["read"].as_str().map(str::len), Some(65_536), "a file (as far as is shown)");
    check_eq!(report.path("/up/link")["link"], "/etc/passwd", "a link");
    check_eq!(report.path("/up/fifo")["type"], "fifo", "a fifo");
    let mut bundle = test.bundle_named("second")?;
    bundle.mount("/up", "bind", "/tmp", &["bind", "tmpcopyup"]);
    bundle.save()?;
    test.fails(&["run", "--bundle", &bundle.path.to_string_lossy(), &format!("{}b", test.id)], "")?;
    Ok(())
}

fn superblock_flags(test: &Test) -> Outcome {
    let mut bundle = test.bundle()?;
    bundle.mount("/sync", "tmpfs", "x", &["sync", "dirsync"]);
    bundle.mount("/async", "tmpfs", "x", &["sync", "async"]);
    bundle.mount(
        "/quiet",
        "tmpfs",
        "x",
        &["silent", "loud", "iversion", "noiversion", "defaults", "nomand", "nolazytime"],
    );
    bundle.mount("/lazy", "tmpfs", "x", &["lazytime"]);
    let report = test.report(&bundle)?;
    check!(
        report.mounted_with("/sync", "sync") && report.mounted_with("/sync", "dirsync"),
        "{}",
        report.mount("/sync")
    );
    check!(!report.mounted_with("/async", "sync"), "{}", report.mount("/async"));
    check!(report.mounted_with("/lazy", "lazytime"), "{}", report.mount("/lazy"));
    check_eq!(report.mount("/quiet")["type"], "tmpfs", "options without effect");
    Ok(())
}

fn remount(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    let mut bundle = test.bundle()?;
    bundle.mount("/bound", "bind", &source, &["bind", "nosuid"]);
    bundle.mount("/bound", "bind", &source, &["bind", "remount", "ro", "nodev"]);
    bundle.mount("/t", "tmpfs", "x", &["size=1m"]);
    bundle.mount("/t", "tmpfs", "x", &["remount", "size=2m", "noexec"]);
    let report = test.report(&bundle)?;
    let found = options(report.mount("/bound"));
    check!(found.contains(&"ro".to_owned()) && found.contains(&"nodev".to_owned()), "{found:?}");
    let count = report.at("/mounts").as_array().map(|l| l.iter().filter(|m| m["point"] == "/bound").count());
    check_eq!(count, Some(1), "mounts at /bound");
    check!(report.mounted_with("/t", "size=2048k") && report.mounted_with("/t", "noexec"), "{}", report.mount("/t"));
    // What is no mount cannot be remounted.
    let mut bundle = test.bundle()?;
    bundle.mount("/etc", "bind", "", &["bind", "remount", "ro"]);
    test.run_refused(&bundle, "invalid argument")?;
    Ok(())
}

fn overlay(test: &Test) -> Outcome {
    let mut lower = Vec::new();
    for index in 0..12 {
        let path = folder(test, &format!("lower-with-a-long-name-{index}"))?;
        fs::write(format!("{path}/{index}"), "x")?;
        lower.push(path);
    }
    let (upper, work) = (folder(test, "upper")?, folder(test, "work")?);
    let option = format!("lowerdir={}", lower.join(":"));
    check!(option.len() > 256, "the test itself: short option");
    let mut bundle = test.bundle()?;
    bundle.mount("/o", "overlay", "overlay", &[&option, &format!("upperdir={upper}"), &format!("workdir={work}")]);
    let report = test.report_paths(bundle, &["/o"])?;
    check_eq!(report.path("/o")["list"].as_array().map(Vec::len), Some(12), "entries");
    check_eq!(report.path("/o")["create"], 0, "writing");
    Ok(())
}

fn over_the_root(test: &Test) -> Outcome {
    for destination in ["/", "//", "/.", "/a/.."] {
        let mut bundle = test.bundle()?;
        bundle.mount(destination, "tmpfs", "x", &[]);
        test.run_refused(&bundle, "")?;
    }
    let mut bundle = test.bundle()?;
    symlink("/", bundle.rootfs().join("link"))?;
    bundle.mount("/link", "tmpfs", "x", &[]);
    test.run_refused(&bundle, "")?;
    Ok(())
}

/// What is mounted through a link covers the folder of its neighbours, and the next of them lies in what covers it.
/// crun's options: a link at the end of a path is mounted, covered or made anew itself.
fn links_themselves(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    fs::write(format!("{source}/file"), "x")?;
    symlink("file", format!("{source}/link"))?;
    let link = format!("{source}/link");
    let mut bundle = test.bundle()?;
    symlink("nowhere", bundle.rootfs().join("covered"))?;
    symlink("nowhere", bundle.rootfs().join("covered-by-a-link"))?;
    symlink("proc", bundle.rootfs().join("leads-there"))?;
    bundle.mount("/covered", "bind", &link, &["bind", "dest-nofollow"]);
    bundle.mount("/covered-by-a-link", "bind", &link, &["bind", "dest-nofollow", "src-nofollow"]);
    bundle.mount("/a/copy", "bind", &link, &["rbind", "copy-symlink"]);
    bundle.mount(
        "/no/link",
        "bind",
        &format!("{source}/file"),
        &["bind", "copy-symlink", "src-nofollow", "dest-nofollow"],
    );
    let paths = ["/covered", "/covered-by-a-link", "/a/copy", "/no/link"];
    let mut words = vec!["report"];
    words.extend(paths.iter().flat_map(|path| ["--path", *path]));
    let mut bundle = bundle.probe(&words);
    let report = test.report(&bundle)?;
    check_eq!(report.path("/covered")["type"], "file", "what covers the link");
    check_eq!(report.path("/covered-by-a-link")["link"], "file", "the link that covers");
    check_eq!(report.path("/a/copy")["link"], "file", "the copy");
    check_eq!(report.path("/no/link")["type"], "file", "a source that is no link");
    check!(report.mount("/a/copy").is_null(), "a mount in place of a copy");
    bundle.mount("/leads-there/self", "bind", &link, &["bind", "dest-nofollow", "src-nofollow"]);
    test.run_refused(&bundle, "inside /proc")?;
    let mut bundle = test.bundle()?;
    bundle.mount("/probe", "bind", &link, &["bind", "copy-symlink"]);
    test.run_refused(&bundle, "exists")?;
    Ok(())
}

fn link_to_its_own_folder(test: &Test) -> Outcome {
    let mut bundle = test.bundle()?;
    fs::create_dir(bundle.rootfs().join("d"))?;
    symlink("/d", bundle.rootfs().join("d/link"))?;
    for destination in ["/d/first", "/d/link", "/d/second"] {
        bundle.mount(destination, "tmpfs", "x", &[]);
    }
    let report = test.report_paths(bundle, &["/d", "/d/second"])?;
    check_eq!(report.path("/d")["list"], json!(["second"]), "entries of the folder");
    Ok(())
}

fn in_proc(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    let file = format!("{source}/file");
    fs::write(&file, "mine")?;
    let mut bundle = test.bundle()?;
    let files = [
        "/proc/cpuinfo",
        "/proc/diskstats",
        "/proc/meminfo",
        "/proc/stat",
        "/proc/swaps",
        "/proc/uptime",
        "/proc/loadavg",
    ];
    files.iter().for_each(|at| bundle.mount(at, "bind", &file, &["bind"]));
    let report = test.report_paths(bundle, &files)?;
    for at in files {
        check_eq!(report.path(at)["read"], "mine", "{at}");
    }
    for at in
        ["/proc/self", "/proc/1", "/proc/sys", "/proc/sys/kernel/hostname", "/proc/self/attr/exec", "/proc/cpuinfo/x"]
    {
        let mut bundle = test.bundle()?;
        bundle.mount(at, "bind", &file, &["bind"]);
        test.run_refused(&bundle, "")?;
        let mut bundle = test.bundle()?;
        bundle.mount(at, "tmpfs", "x", &[]);
        test.run_refused(&bundle, "")?;
    }
    // By way of a link.
    let mut bundle = test.bundle()?;
    symlink("/proc/sys", bundle.rootfs().join("innocent"))?;
    bundle.mount("/innocent/kernel/hostname", "bind", &file, &["bind"]);
    test.run_refused(&bundle, "inside /proc")?;
    Ok(())
}

fn proc_is_procfs(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    for (kind, from, options) in
        [("tmpfs", "x", &[][..]), ("bind", source.as_str(), &["bind"]), ("bind", "/proc/sys", &["bind"])]
    {
        let mut bundle = test.bundle()?;
        bundle.drop_mount("/proc");
        bundle.mount("/proc", kind, from, options);
        test.run_refused(&bundle, "")?;
    }
    let mut bundle = test.bundle()?;
    bundle.drop_mount("/proc");
    bundle.drop_namespace("pid");
    bundle.mount("/proc", "bind", "/proc", &["rbind"]);
    let report = test.report(&bundle)?;
    check_eq!(report.mount("/proc")["type"], "proc", "a bind of the host's procfs");
    Ok(())
}

fn ordinary_directories(test: &Test) -> Outcome {
    for name in ["proc", "sys"] {
        for target in ["etc", "/etc", "../..", "/nonexistent", ".."] {
            let bundle = test.bundle()?;
            let path = bundle.rootfs().join(name);
            let _ = fs::remove_dir(&path);
            let _ = fs::remove_file(&path);
            symlink(target, &path)?;
            test.run_refused(&bundle, "")?;
            fs::remove_file(&path)?;
            fs::create_dir(&path)?;
        }
        let bundle = test.bundle()?;
        let path = bundle.rootfs().join(name);
        fs::remove_dir(&path)?;
        fs::write(&path, "")?;
        test.run_refused(&bundle, "")?;
        fs::remove_file(&path)?;
        let report = test.report(&bundle)?;
        check_eq!(report.mount(&format!("/{name}"))["point"], format!("/{name}"), "made where it is missing");
    }
    Ok(())
}

fn links_on_the_way(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    fs::write(test.folder.join("source/file"), "x")?;
    let mut bundle = test.bundle()?;
    let root = bundle.rootfs();
    fs::create_dir_all(root.join("real/deep"))?;
    symlink("/real", root.join("absolute"))?;
    symlink("../../../../real", root.join("climbing"))?;
    symlink("nowhere/yet", root.join("dangling"))?;
    symlink("../run/systemd/resolv.conf", root.join("etc/resolv.conf"))?;
    symlink("climbing", root.join("chain"))?;
    bundle.mount("/absolute/deep", "bind", &source, &["bind"]);
    bundle.mount("/climbing/new", "bind", &source, &["bind"]);
    bundle.mount("/dangling/below", "bind", &source, &["bind"]);
    bundle.mount("/etc/resolv.conf", "bind", &format!("{source}/file"), &["bind"]);
    bundle.mount("/chain/end", "bind", &source, &["bind"]);
    let report = test.report(&bundle)?;
    for at in ["/real/deep", "/real/new", "/nowhere/yet/below", "/run/systemd/resolv.conf", "/real/end"] {
        check_eq!(report.mount(at)["point"], at, "the mount");
    }
    // Links that never end, and links of procfs, which lead out of every root.
    for target in ["loop", "/proc/self/root", "/proc/1/cwd", "/proc/self/fd/0"] {
        let mut bundle = test.bundle()?;
        let _ = fs::remove_file(bundle.rootfs().join("loop"));
        symlink(target, bundle.rootfs().join("loop"))?;
        bundle.mount("/loop/x", "bind", &source, &["bind"]);
        test.run_refused(&bundle, "")?;
    }
    Ok(())
}

fn below_a_readonly_bind(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    fs::create_dir(test.folder.join("source/there"))?;
    let mut bundle = test.bundle()?;
    bundle.mount("/ro", "bind", &source, &["bind", "ro"]);
    bundle.mount("/ro/there", "tmpfs", "x", &[]);
    let report = test.report_paths(bundle, &["/ro", "/ro/there"])?;
    check_eq!(report.path("/ro")["create"], libc::EROFS, "writing to the bind");
    check_eq!(report.path("/ro/there")["create"], 0, "writing below");
    let mut bundle = test.bundle()?;
    bundle.mount("/ro", "bind", &source, &["bind", "ro"]);
    bundle.mount("/ro/missing", "tmpfs", "x", &[]);
    test.run_refused(&bundle, "read-only file system")?;
    check!(!test.folder.join("source/missing").exists(), "made in a read-only source");
    Ok(())
}

fn order(test: &Test) -> Outcome {
    let mut bundle = test.bundle()?;
    bundle.mount("/a", "tmpfs", "first", &[]);
    bundle.mount("/a/b", "tmpfs", "hidden", &[]);
    bundle.mount("/a", "tmpfs", "second", &[]);
    bundle.mount("/a/c", "tmpfs", "seen", &[]);
    let report = test.report_paths(bundle, &["/a"])?;
    check_eq!(report.mount("/a")["source"], "second", "the mount on top");
    check_eq!(report.path("/a")["list"], json!(["c"]), "what is below");
    Ok(())
}

fn cgroup_v1(test: &Test) -> Outcome {
    if !crate::runtime::hybrid() || test.runtime.v2_view {
        return skip("no cgroup v1 hierarchies are seen");
    }
    let report = test.report_paths(test.bundle()?, &["/sys/fs/cgroup"])?;
    let base = report.mount("/sys/fs/cgroup");
    check_eq!(base["type"], "tmpfs", "the base");
    check!(report.mounted_with("/sys/fs/cgroup", "ro"), "{base}");
    for name in ["memory", "pids", "devices", "systemd"] {
        let at = format!("/sys/fs/cgroup/{name}");
        check_eq!(report.mount(&at)["type"], "cgroup", "{name}");
        check!(report.mounted_with(&at, "ro") && report.mounted_with(&at, "nosuid"), "{}", report.mount(&at));
        let root = report.mount(&at)["root"].as_str().unwrap_or_default();
        check!(root.ends_with(&test.id), "{name} shows {root}, not the container's own");
    }
    Ok(())
}

fn cgroup_v1_namespace(test: &Test) -> Outcome {
    if !crate::runtime::hybrid() || test.runtime.v2_view {
        return skip("no cgroup v1 hierarchies are seen");
    }
    let mut bundle = test.bundle()?;
    bundle.namespace("cgroup", "");
    let report = test.report(&bundle)?;
    for name in ["memory", "pids", "systemd"] {
        let at = format!("/sys/fs/cgroup/{name}");
        check_eq!(report.mount(&at)["type"], "cgroup", "{name}");
        check_eq!(report.mount(&at)["root"], "/", "the root of {name}");
    }
    Ok(())
}

/// Only cgroup2 is to be seen.
const V2: &str = "umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; \"$@\"";

fn cgroup_v2(test: &Test) -> Outcome {
    let mut bundle = test.bundle()?;
    bundle.remove("/linux/resources");
    let there = test.runtime.v2_view || crate::runtime::unified();
    let view = if there { "\"$@\"" } else { V2 };
    let report = report_within(test, view, &bundle)?;
    check_eq!(report.mount("/sys/fs/cgroup")["type"], "cgroup2", "without a namespace");
    check!(report.mounted_with("/sys/fs/cgroup", "ro"), "{}", report.mount("/sys/fs/cgroup"));
    bundle.namespace("cgroup", "");
    let report = report_within(test, view, &bundle)?;
    check_eq!(report.mount("/sys/fs/cgroup")["type"], "cgroup2", "with a namespace");
    check_eq!(report.mount("/sys/fs/cgroup")["root"], "/", "its root");
    // In a user namespace without a cgroup namespace the kernel does not mount it: the container's own is bound.
    bundle.drop_namespace("cgroup");
    bundle.map_ids(100_000, 65_536);
    std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000))?;
    let report = report_within(test, view, &bundle)?;
    let mount = report.mount("/sys/fs/cgroup");
    check_eq!(mount["type"], "cgroup2", "in a user namespace");
    check!(mount["root"].as_str().is_some_and(|root| root.ends_with(&test.id)), "shows {mount}");
    check!(report.mounted_with("/sys/fs/cgroup", "ro"), "{mount}");
    Ok(())
}

/// A tmpfs whose files belong to ids 0 and 5; a mount on a folder of it as well.
const OWNED: &str = "mount -t tmpfs x source; mkdir source/sub; mount -t tmpfs y source/sub; \
                     touch source/zero source/five source/sub/zero; chown 5:6 source/five; \"$@\"";

fn idmap(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    let map = json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
    let mount = |at: &str, options: Value| json!({ "destination": at, "type": "bind", "source": source, "options": options, "uidMappings": map, "gidMappings": map });
    let mut bundle = test.bundle()?;
    bundle.set("/mounts/-", mount("/mapped", json!(["rbind", "idmap"])));
    bundle.set("/mounts/-", mount("/implied", json!(["rbind"])));
    bundle.set("/mounts/-", mount("/all", json!(["rbind", "ridmap", "ro"])));
    bundle.mount("/plain", "bind", &source, &["rbind"]);
    let paths = [
        "/mapped/zero",
        "/mapped/five",
        "/mapped/sub/zero",
        "/implied/five",
        "/all/five",
        "/all/sub/zero",
        "/plain/five",
        "/all",
    ];
    let mut words = vec!["report"];
    words.extend(paths.iter().flat_map(|path| ["--path", *path]));
    let report = report_within(test, OWNED, &bundle.probe(&words))?;
    let owner = |path: &str| (report.path(path)["uid"].as_u64(), report.path(path)["gid"].as_u64());
    check_eq!(owner("/mapped/zero"), (Some(1000), Some(1000)), "id 0");
    check_eq!(owner("/mapped/five"), (Some(1005), Some(1006)), "ids 5 and 6");
    check_eq!(owner("/mapped/sub/zero"), (Some(0), Some(0)), "below, not recursive");
    check_eq!(owner("/implied/five"), (Some(1005), Some(1006)), "mappings without the option");
    check_eq!(owner("/all/five"), (Some(1005), Some(1006)), "recursive");
    check_eq!(owner("/all/sub/zero"), (Some(1000), Some(1000)), "below, recursive");
    check_eq!(owner("/plain/five"), (Some(5), Some(6)), "not mapped");
    check!(report.mounted_with("/all", "ro"), "{}", report.mount("/all"));
    Ok(())
}

/// crun's ranges in the option itself; "@" is about the container's own ids.
fn idmap_of_the_option(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    let mut bundle = test.bundle()?;
    bundle.map_ids(100_000, 65_536);
    std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000))?;
    bundle.mount("/mapped", "bind", &source, &["bind", "idmap=uids=0-100000-3#5-100007-1;gids=0-100020-10"]);
    bundle.mount("/own", "bind", &source, &["bind", "idmap=uids=@0-1-10;gids=@0-2-10"]);
    let words = ["report", "--path", "/mapped/five", "--path", "/own/five"];
    let report = report_within(test, OWNED, &bundle.probe(&words))?;
    let owner = |path: &str| (report.path(path)["uid"].as_u64(), report.path(path)["gid"].as_u64());
    check_eq!(owner("/mapped/five"), (Some(7), Some(26)), "ids 5 and 6");
    check_eq!(owner("/own/five"), (Some(6), Some(8)), "ids 5 and 6 by the container's own mapping");
    for bad in ["idmap=", "idmap=uids=0-1-1", "idmap=uids=0-1;gids=0-1-1", "ridmap=uids=@70000-1-1;gids=0-1-1"] {
        let mut bundle = test.bundle()?;
        bundle.map_ids(100_000, 65_536);
        bundle.mount("/x", "bind", "/tmp", &["bind", bad]);
        test.run_refused(&bundle, "")?;
    }
    Ok(())
}

fn idmap_of_the_container(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    let mut bundle = test.bundle()?;
    bundle.map_ids(100_000, 65_536);
    std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000))?;
    bundle.mount("/mapped", "bind", &source, &["bind", "idmap"]);
    bundle.mount("/plain", "bind", &source, &["bind"]);
    let words = ["report", "--path", "/mapped/five", "--path", "/plain/five", "--path", "/mapped"];
    let report = report_within(test, OWNED, &bundle.probe(&words))?;
    check_eq!(report.path("/mapped/five")["uid"], 5, "on disk as in the container");
    check_eq!(report.path("/plain/five")["uid"], 65_534, "not mapped: nobody");
    check_eq!(report.path("/mapped")["create"], 0, "writing to it");
    Ok(())
}

fn idmap_errors(test: &Test) -> Outcome {
    let map = json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
    let entries = [
        json!({ "destination": "/x", "type": "bind", "source": "/tmp", "options": ["bind", "idmap"] }),
        json!({ "destination": "/x", "type": "bind", "source": "/tmp", "options": ["bind"], "uidMappings": map }),
        json!({ "destination": "/x", "type": "tmpfs", "source": "x", "uidMappings": map, "gidMappings": map }),
        // procfs cannot be mapped.
        json!({ "destination": "/x", "type": "bind", "source": "/proc", "options": ["bind"], "uidMappings": map, "gidMappings": map }),
    ];
    for entry in entries {
        let mut bundle = test.bundle()?;
        bundle.set("/mounts/-", entry.clone());
        let said = test.run_refused(&bundle, "")?;
        check!(test.runtime.name != "runtime" || said.contains("/mounts/7"), "no JSON pointer: {said}");
    }
    check!(fs::metadata("/tmp")?.uid() == 0, "/tmp changed");
    Ok(())
}

/// A kernel before 5.12 has no mount_setattr(2).
fn without_mount_setattr(test: &Test) -> Outcome {
    let Some(strace) = crate::runtime::in_path("strace") else { return skip("no strace") };
    let old = format!(
        "{} -f -o strace.log -e trace=mount_setattr -e inject=mount_setattr:error=ENOSYS \"$@\"",
        strace.display()
    );
    let source = folder(test, "source")?;
    let mut bundle = test.bundle()?;
    bundle.mount("/plain", "bind", &source, &["rbind"]);
    bundle.mount("/private", "bind", &source, &["rbind", "rprivate", "ro", "nosuid"]);
    bundle.mount("/late", "tmpfs", "x", &["ro", "nodev", "noatime"]);
    bundle.mount("/late/below", "tmpfs", "x", &["rshared"]);
    fs::create_dir(bundle.rootfs().join("masked"))?;
    fs::write(bundle.rootfs().join("masked/file"), "secret")?;
    bundle.set("/linux/maskedPaths", json!(["/masked/file"]));
    bundle.set("/linux/readonlyPaths", json!(["/proc/sys"]));
    bundle.set("/linux/rootfsPropagation", json!("shared"));
    bundle = bundle.probe(&["report", "--path", "/proc/sys/kernel/hostname", "--path", "/masked/file", "--path", "/"]);
    let script = format!(
        "mount --bind . .; cd \"$PWD\"; mount -t tmpfs -o noexec x source; mount --make-rshared .; mount --make-shared source; {old}; grep -q ENOSYS strace.log"
    );
    let report = report_within(test, &script, &bundle)?;
    check_eq!(options(report.mount("/plain")), ["rw", "noexec", "relatime"], "a bind without options");
    check_eq!(options(report.mount("/private")), ["ro", "nosuid", "relatime"], "a bind with options");
    check_eq!(report.mount("/private")["optional"], json!([]), "propagation of a private bind");
    check_eq!(options(report.mount("/late")), ["ro", "nodev", "noatime"], "a tmpfs that is made read-only late");
    check!(report.mount("/late/below")["optional"].to_string().contains("shared:"), "{}", report.mount("/late/below"));
    check!(report.mount("/")["optional"].to_string().contains("shared:"), "{}", report.mount("/"));
    check!(report.mounted_with("/", "ro") && report.mounted_with("/proc/sys", "ro"), "not read-only");
    check_eq!(report.path("/proc/sys/kernel/hostname")["write"], libc::EROFS, "writing below /proc/sys");
    check_eq!(report.path("/masked/file")["read"], "", "a masked file");
    // What only the new call can do is an error.
    let mut bundle = test.bundle()?;
    bundle.mount("/x", "bind", &source, &["rbind", "rro"]);
    let output = within(test, &old, &bundle)?;
    check!(output.code != 0 && output.stdout.is_empty(), "rro was ignored: {}", output.stdout);
    Ok(())
}

fn idmap_of_a_joined_namespace(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    let mut bundle = test.bundle()?;
    bundle.namespace("user", &test.folder.join("ns").to_string_lossy());
    std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000))?;
    bundle.mount("/mapped", "bind", &source, &["bind", "idmap"]);
    let joined = "unshare -U sleep 20 & P=$!; while [ \"$(readlink /proc/$P/ns/user)\" = \"$(readlink /proc/self/ns/user)\" ]; do :; done; \
                  echo 0 100000 65536 > /proc/$P/uid_map; echo 0 100000 65536 > /proc/$P/gid_map; touch ns; \
                  mount --bind /proc/$P/ns/user ns; kill $P; ";
    let script = format!("{joined}{OWNED}");
    let report = report_within(test, &script, &bundle.probe(&["report", "--path", "/mapped/five"]))?;
    check_eq!(report.path("/mapped/five")["uid"], 5, "on disk as in the container");
    Ok(())
}

/// In a user namespace the flags of a mount that came from outside are locked: they stay, or it is an error.
fn locked_flags(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    let nested = "mount -t tmpfs -o nosuid,nodev,noexec,noatime x source; unshare -U -r -m \"$@\"";
    let mut bundle = test.bundle()?;
    bundle.remove("/linux/resources");
    bundle.remove("/process/rlimits");
    // Group 5 is not mapped there.
    bundle.set("/mounts/2/options", json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]));
    bundle.mount("/ro", "bind", &source, &["rbind", "ro"]);
    bundle.mount("/plain", "bind", &source, &["rbind"]);
    bundle.mount("/plain", "bind", "", &["bind", "remount", "ro"]);
    let report = report_within(test, nested, &bundle)?;
    for at in ["/ro", "/plain"] {
        for option in ["ro", "nosuid", "nodev", "noexec"] {
            check!(report.mounted_with(at, option), "{at} lacks {option}: {}", report.mount(at));
        }
    }
    for option in ["suid", "dev", "exec", "strictatime", "rsuid"] {
        bundle.drop_mount("/ro");
        bundle.mount("/ro", "bind", &source, &["rbind", option]);
        let output = within(test, nested, &bundle)?;
        check!(output.code != 0 && output.stdout.is_empty(), "{option} was ignored: {}", output.stdout);
        check!(output.stderr.to_lowercase().contains("not permitted"), "{option}: {}", output.stderr);
    }
    Ok(())
}

/// Kubernetes mounts some dozens, tests of engines hundreds.
fn many(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    let mut bundle = test.bundle()?;
    for index in 0..400 {
        bundle.mount(&format!("/many/{index}"), "bind", &source, &["rbind", "rprivate", "ro"]);
    }
    let report = test.report(&bundle)?;
    for index in 0..400 {
        let at = format!("/many/{index}");
        check!(report.mounted_with(&at, "ro"), "{at}: {}", report.mount(&at));
    }
    Ok(())
}

/// The parent clones the source where nothing is locked; what would be locked in the user namespace stays all the same.
fn locked_flags_of_what_the_parent_cloned(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    let flagged = "mount -t tmpfs x source; mount -o remount,bind,ro,nosuid,noexec,nosymfollow,noatime source; \"$@\"";
    let mapped = |options: &[&str]| -> Outcome<Bundle> {
        let mut bundle = test.bundle()?;
        bundle.map_ids(100_000, 65_536);
        std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000))?;
        bundle.mount("/bound", "bind", &source, options);
        Ok(bundle)
    };
    let report = report_within(test, flagged, &mapped(&["bind", "nodev"])?)?;
    let found = options(report.mount("/bound"));
    for option in ["ro", "nosuid", "noexec", "nodev", "noatime"] {
        check!(found.iter().any(|o| o == option), "{option} is lost: {found:?}");
    }
    for option in ["rw", "suid", "exec", "strictatime", "relatime"] {
        fs::remove_dir_all(test.folder.join("bundle"))?;
        let output = within(test, flagged, &mapped(&["bind", option])?)?;
        check!(output.code != 0 && output.stdout.is_empty(), "{option} was granted: {}", output.stdout);
        let said = "error during container init: error mounting";
        check!(!test.runtime.is_ours() || output.stderr.contains(said), "{option}: {}", output.stderr);
        check!(output.stderr.to_lowercase().contains("not permitted"), "{option}: {}", output.stderr);
    }
    Ok(())
}

/// As with mount(2): one option of access times replaces them all, and what only takes one back changes nothing.
fn times_stay(test: &Test) -> Outcome {
    let source = folder(test, "source")?;
    let flagged = "mount -t tmpfs x source; mount -o remount,bind,noatime source; \"$@\"";
    let table: [(&str, &[&str], &[&str]); 5] = [
        ("/plain", &["bind"], &["noatime"]),
        ("/atime", &["bind", "atime"], &["noatime"]),
        ("/norelatime", &["bind", "norelatime"], &["noatime"]),
        ("/relatime", &["bind", "relatime"], &["relatime"]),
        ("/nodiratime", &["bind", "nodiratime"], &["nodiratime", "relatime"]),
    ];
    let mut bundle = test.bundle()?;
    for (at, options, _) in table {
        bundle.mount(at, "bind", &source, options);
    }
    let report = report_within(test, flagged, &bundle)?;
    for (at, _, wanted) in table {
        let mut times = options(report.mount(at));
        times.retain(|option| option.contains("atime"));
        times.sort_unstable();
        check_eq!(times, wanted, "{at}");
    }
    Ok(())
}

/// A source below the root filesystem is what is there by then, mounts included; a destination may be named by its path
/// on the host.
fn source_in_the_container(test: &Test) -> Outcome {
    inner_source(test, false)
}

fn mapped_source_in_the_container(test: &Test) -> Outcome {
    inner_source(test, true)
}

fn inner_source(test: &Test, mapped: bool) -> Outcome {
    let source = folder(test, "source")?;
    fs::create_dir_all(test.folder.join("source/below"))?;
    fs::write(test.folder.join("source/below/file"), "inner")?;
    for user_namespace in [false, true] {
        let mut bundle = test.bundle()?;
        if user_namespace {
            bundle.map_ids(100_000, 65_536);
            std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000))?;
        }
        let rootfs = bundle.rootfs().to_string_lossy().into_owned();
        bundle.mount("/mnt", "bind", &source, &["rbind", "rprivate"]);
        bundle.mount(&format!("{rootfs}/final"), "bind", &format!("{rootfs}/mnt"), &["rbind", "rprivate"]);
        if mapped {
            let map =
                json!([{ "containerID": 0, "hostID": if user_namespace { 100_000 } else { 1000 }, "size": 65_536 }]);
            bundle.set("/mounts/8/uidMappings", map.clone());
            bundle.set("/mounts/8/gidMappings", map);
        }
        let report = test.report_paths(bundle, &["/final/below/file"])?;
        let file = report.path("/final/below/file");
        check!(file["read"].to_string().contains("inner"), "user namespace {user_namespace}: {file}");
        if mapped {
            check_eq!(file["uid"], if user_namespace { 0 } else { 1000 }, "owner, user namespace {user_namespace}");
        }
        fs::remove_dir_all(test.folder.join("bundle"))?;
    }
    Ok(())
}
