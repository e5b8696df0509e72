//! Where a mount may stand: missing directories, links on the way, /proc, and the root itself.

use crate::cases;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;

cases!["mount_point":
    missing_ones_are_made, relative, over_the_root, below_a_readonly_bind, links_on_the_way, links_themselves,
    link_to_its_own_folder, in_proc, proc_is_procfs, proc_and_sys_are_directories,
];

fn missing_ones_are_made(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.mount("/a/b/c", "tmpfs", "tmpfs", &[]);
    let report = t.report_paths(bundle, &["/a", "/a/b"])?;
    check_eq!((&report.path("/a")["mode"], &report.path("/a/b")["mode"]), (&json!("755"), &json!("755")), "modes");
    Ok(())
}

fn relative(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    let mut bundle = t.bundle()?;
    bundle.mount("relative/to/root", "bind", &source, &["bind"]);
    let report = t.report(&bundle)?;
    check_eq!(report.mount("/relative/to/root")["point"], "/relative/to/root", "the mount");
    Ok(())
}

fn over_the_root(t: &Test) -> Outcome {
    for destination in ["/", "//", "/.", "/a/.."] {
        let mut bundle = t.bundle()?;
        bundle.mount(destination, "tmpfs", "x", &[]);
        t.run_refused(&bundle, "")?;
    }
    let mut bundle = t.bundle()?;
    symlink("/", bundle.rootfs().join("link"))?;
    bundle.mount("/link", "tmpfs", "x", &[]);
    t.run_refused(&bundle, "")?;
    Ok(())
}

fn below_a_readonly_bind(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    fs::create_dir(t.folder.join("source/there"))?;
    let mut bundle = t.bundle()?;
    bundle.mount("/ro", "bind", &source, &["bind", "ro"]);
    bundle.mount("/ro/there", "tmpfs", "x", &[]);
    let report = t.report_paths(bundle, &["/ro", "/ro/there"])?;
    check_eq!(report.path("/ro")["create"], libc::EROFS, "writing to the bind");
    check_eq!(report.path("/ro/there")["create"], 0, "writing below");
    let mut bundle = t.bundle()?;
    bundle.mount("/ro", "bind", &source, &["bind", "ro"]);
    bundle.mount("/ro/missing", "tmpfs", "x", &[]);
    t.run_refused(&bundle, "read-only file system")?;
    check!(!t.folder.join("source/missing").exists(), "made in a read-only source");
    Ok(())
}

fn links_on_the_way(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    fs::write(t.folder.join("source/file"), "x")?;
    let mut bundle = t.bundle()?;
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
    let report = t.report(&bundle)?;
    for at in ["/real/deep", "/real/new", "/nowhere/yet/below", "/run/systemd/resolv.conf", "/real/end"] {
        check_eq!(report.mount(at)["point"], at, "the mount");
    }
    // Links that never end, and links of procfs, which lead out of every root.
    for target in ["loop", "/proc/self/root", "/proc/1/cwd", "/proc/self/fd/0"] {
        let mut bundle = t.bundle()?;
        let _ = fs::remove_file(bundle.rootfs().join("loop"));
        symlink(target, bundle.rootfs().join("loop"))?;
        bundle.mount("/loop/x", "bind", &source, &["bind"]);
        t.run_refused(&bundle, "")?;
    }
    Ok(())
}

/// crun's options: a link at the end of a path is mounted, covered or made anew itself.
fn links_themselves(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    fs::write(format!("{source}/file"), "x")?;
    symlink("file", format!("{source}/link"))?;
    let link = format!("{source}/link");
    let mut bundle = t.bundle()?;
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
    let mut bundle = bundle.looking_at(&paths);
    let report = t.report(&bundle)?;
    check_eq!(report.path("/covered")["type"], "file", "what covers the link");
    check_eq!(report.path("/covered-by-a-link")["link"], "file", "the link that covers");
    check_eq!(report.path("/a/copy")["link"], "file", "the copy");
    check_eq!(report.path("/no/link")["type"], "file", "a source that is no link");
    check!(report.mount("/a/copy").is_null(), "a mount in place of a copy");
    bundle.mount("/leads-there/self", "bind", &link, &["bind", "dest-nofollow", "src-nofollow"]);
    t.run_refused(&bundle, "inside /proc")?;
    let mut bundle = t.bundle()?;
    bundle.mount("/probe", "bind", &link, &["bind", "copy-symlink"]);
    t.run_refused(&bundle, "exists")?;
    Ok(())
}

/// What is mounted through a link covers the folder of its neighbours, and the next of them lies in what covers it.
fn link_to_its_own_folder(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    fs::create_dir(bundle.rootfs().join("d"))?;
    symlink("/d", bundle.rootfs().join("d/link"))?;
    for destination in ["/d/first", "/d/link", "/d/second"] {
        bundle.mount(destination, "tmpfs", "x", &[]);
    }
    let report = t.report_paths(bundle, &["/d", "/d/second"])?;
    check_eq!(report.path("/d")["list"], json!(["second"]), "entries of the folder");
    Ok(())
}

fn in_proc(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    let file = format!("{source}/file");
    fs::write(&file, "mine")?;
    let mut bundle = t.bundle()?;
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
    let report = t.report_paths(bundle, &files)?;
    for at in files {
        check_eq!(report.path(at)["read"], "mine", "{at}");
    }
    for at in
        ["/proc/self", "/proc/1", "/proc/sys", "/proc/sys/kernel/hostname", "/proc/self/attr/exec", "/proc/cpuinfo/x"]
    {
        let mut bundle = t.bundle()?;
        bundle.mount(at, "bind", &file, &["bind"]);
        t.run_refused(&bundle, "")?;
        let mut bundle = t.bundle()?;
        bundle.mount(at, "tmpfs", "x", &[]);
        t.run_refused(&bundle, "")?;
    }
    // By way of a link.
    let mut bundle = t.bundle()?;
    symlink("/proc/sys", bundle.rootfs().join("innocent"))?;
    bundle.mount("/innocent/kernel/hostname", "bind", &file, &["bind"]);
    t.run_refused(&bundle, "inside /proc")?;
    Ok(())
}

fn proc_is_procfs(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    for (kind, from, options) in
        [("tmpfs", "x", &[][..]), ("bind", source.as_str(), &["bind"]), ("bind", "/proc/sys", &["bind"])]
    {
        let mut bundle = t.bundle()?;
        bundle.drop_mount("/proc");
        bundle.mount("/proc", kind, from, options);
        t.run_refused(&bundle, "")?;
    }
    let mut bundle = t.bundle()?;
    bundle.drop_mount("/proc");
    bundle.drop_namespace("pid");
    bundle.mount("/proc", "bind", "/proc", &["rbind"]);
    let report = t.report(&bundle)?;
    check_eq!(report.mount("/proc")["type"], "proc", "a bind of the host's procfs");
    Ok(())
}

fn proc_and_sys_are_directories(t: &Test) -> Outcome {
    for name in ["proc", "sys"] {
        for target in ["etc", "/etc", "../..", "/nonexistent", ".."] {
            let bundle = t.bundle()?;
            let path = bundle.rootfs().join(name);
            let _ = fs::remove_dir(&path);
            let _ = fs::remove_file(&path);
            symlink(target, &path)?;
            t.run_refused(&bundle, "")?;
            fs::remove_file(&path)?;
            fs::create_dir(&path)?;
        }
        let bundle = t.bundle()?;
        let path = bundle.rootfs().join(name);
        fs::remove_dir(&path)?;
        fs::write(&path, "")?;
        t.run_refused(&bundle, "")?;
        fs::remove_file(&path)?;
        let report = t.report(&bundle)?;
        check_eq!(report.mount(&format!("/{name}"))["point"], format!("/{name}"), "made where it is missing");
    }
    Ok(())
}
