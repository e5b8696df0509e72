//! `root` and `linux.rootfsPropagation`: where "/" comes from, and what of it the host sees.

use crate::bundle::Bundle;
use crate::cases;
use crate::command::Output;
use crate::report::Report;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;

cases!["root":
    readonly, writable, paths, path_through_a_link, path_is_wrong, is_a_mount, is_an_overlay, submounts,
    propagation, unknown_propagation, host_sees_nothing, host_mounts_reach_slaves, shared_reaches_the_host,
    private_by_default, covers_are_cut_loose, no_pivot, no_pivot_hides_the_host, keeps_its_mode,
    through_a_bundle_with_odd_names,
];

fn readonly(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.mount("/t", "tmpfs", "x", &[]);
    let report = t.report_paths(bundle, &["/", "/etc", "/tmp", "/t"])?;
    check!(report.mounted_with("/", "ro"), "{}", report.mount("/"));
    for path in ["/", "/etc", "/tmp"] {
        check_eq!(report.path(path)["create"], libc::EROFS, "making a file in {path}");
    }
    check_eq!(report.path("/t")["create"], 0, "writing to a mount on it");
    Ok(())
}

fn writable(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/root/readonly", json!(false)).probe(&["write-file", "/made", "inside"]);
    check_eq!(t.run(&bundle)?.code, 0, "exit status");
    check_eq!(fs::read_to_string(bundle.rootfs().join("made"))?, "inside", "the file on the host");
    Ok(())
}

fn paths(t: &Test) -> Outcome {
    let bundle = t.bundle()?;
    let absolute = bundle.rootfs().to_string_lossy().into_owned();
    for path in ["rootfs", "./rootfs", "rootfs/", absolute.as_str()] {
        let report = t.report(&t.bundle()?.with("/root/path", json!(path)))?;
        let root = report.mount("/")["root"].as_str().unwrap_or_default();
        check!(root.ends_with("/bundle/rootfs"), "{path}: the root is {root}");
    }
    Ok(())
}

fn path_through_a_link(t: &Test) -> Outcome {
    let bundle = t.bundle()?;
    symlink("rootfs", bundle.path.join("link"))?;
    let report = t.report(&bundle.with("/root/path", json!("link")))?;
    let root = report.mount("/")["root"].as_str().unwrap_or_default();
    check!(root.ends_with("/bundle/rootfs"), "the root is {root}");
    Ok(())
}

fn path_is_wrong(t: &Test) -> Outcome {
    let bundle = t.bundle()?;
    fs::write(bundle.path.join("file"), "")?;
    for path in ["missing", "file", "config.json/x", ""] {
        let said = t.run_refused(&t.bundle()?.with("/root/path", json!(path)), "")?;
        check!(t.runtime.name != "runtime" || said.contains("/root"), "{path}: no JSON pointer: {said}");
    }
    let mut bundle = t.bundle()?;
    bundle.remove("/root");
    t.run_refused(&bundle, "root")?;
    Ok(())
}

/// Copies the root filesystem to a new mount at `root2` first.
const COPIED: &str = "mkdir root2; mount -t tmpfs x root2; cp -a bundle/rootfs/. root2";

fn is_a_mount(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/root/path", json!("../root2"));
    for share in ["private", "shared", "slave"] {
        let script =
            format!("rmdir root2 2>/dev/null || true; {COPIED}; mount --make-{share} root2; \"$@\"; umount root2");
        let report = t.report_within(&script, &bundle)?;
        check_eq!(report.mount("/")["type"], "tmpfs", "the root filesystem ({share})");
    }
    Ok(())
}

fn is_an_overlay(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/root/path", json!("../root2")).with("/root/readonly", json!(false));
    let script = "mkdir -p upper root2; mount -t tmpfs x upper; mkdir upper/u upper/w; \
                  mount -t overlay -o lowerdir=bundle/rootfs,upperdir=upper/u,workdir=upper/w x root2; \"$@\"";
    let report = t.report_within(script, &bundle.looking_at(&["/etc"]))?;
    check_eq!(report.mount("/")["type"], "overlay", "the root filesystem");
    check_eq!(report.path("/etc")["create"], 0, "writing to it");
    Ok(())
}

fn submounts(t: &Test) -> Outcome {
    let script = "mount -t tmpfs -o nosuid sub bundle/rootfs/tmp; \"$@\"";
    let report = t.report_within(script, &t.bundle()?)?;
    check_eq!(report.mount("/tmp")["source"], "sub", "what is mounted below the root filesystem");
    Ok(())
}

/// Everything the host has is shared, as under systemd.
const SHARED: &str =
    "mkdir -p source; mount --bind . .; cd \"$PWD\"; mount --bind source source; mount --make-rshared /";

fn optional(mount: &Value) -> String {
    mount["optional"].to_string()
}

fn propagation(t: &Test) -> Outcome {
    for (name, top) in [
        ("", "[]"),
        ("private", "[]"),
        ("shared", "shared:"),
        ("slave", "master:"),
        ("unbindable", "unbindable"),
        ("rshared", "shared:"),
        ("rprivate", "[]"),
    ] {
        let mut bundle = t.bundle()?;
        if !name.is_empty() {
            bundle.set("/linux/rootfsPropagation", json!(name));
        }
        let report = t.report_within(&format!("{SHARED}; \"$@\""), &bundle)?;
        let found = optional(report.mount("/"));
        check!(found.contains(top), "{name:?}: / is {found}, wanted {top}");
        check!(top == "shared:" || !found.contains("shared:"), "{name:?}: / is {found}");
        let proc = optional(report.mount("/proc"));
        check_eq!(proc.contains("shared:"), name == "rshared", "{name:?}: /proc is {proc}");
    }
    Ok(())
}

fn unknown_propagation(t: &Test) -> Outcome {
    let said = t.run_refused(&t.bundle()?.with("/linux/rootfsPropagation", json!("sharde")), "sharde")?;
    check!(t.runtime.name != "runtime" || said.contains("/linux/rootfsPropagation"), "no JSON pointer: {said}");
    Ok(())
}

/// The host's mounts while the container is there, and after.
const WATCHED: &str = "sort /proc/self/mountinfo > before; \"$@\" > report; sort /proc/self/mountinfo > after";

fn lines(t: &Test, name: &str) -> Outcome<Vec<String>> {
    Ok(fs::read_to_string(t.folder.join(name))?.lines().map(str::to_owned).collect())
}

fn host_sees_nothing(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    for name in ["", "private", "slave", "shared", "unbindable", "rshared"] {
        let mut bundle = t.bundle()?;
        if !name.is_empty() {
            bundle.set("/linux/rootfsPropagation", json!(name));
        }
        bundle.mount("/bound", "bind", &source, &["rbind"]);
        bundle.mount("/bound/below", "tmpfs", "x", &[]);
        // "shared" asks for the bind to stay the host's peer: what is mounted on it is for the host too.
        let below = if name.ends_with("shared") { 1 } else { 0 };
        let output = t.run_within(&format!("{SHARED}; {WATCHED}"), &bundle)?;
        check!(output.code == 0, "{name:?}: exit {}: {}", output.code, output.stderr);
        let before = lines(t, "before")?;
        let new: Vec<_> = lines(t, "after")?.into_iter().filter(|line| !before.contains(line)).collect();
        let foreign = new.iter().filter(|line| !line.contains("/source/below")).count();
        check_eq!((new.len() - foreign > 0, foreign), (below > 0, 0), "{name:?}: new on the host: {new:?}");
    }
    Ok(())
}

/// Creates the container, mounts on the source, then starts it.
fn mounted_between(t: &Test, bundle: &Bundle) -> Outcome<Report> {
    bundle.save()?;
    let script = format!(
        "set -e; cd {}; {SHARED}; \"$@\" create --bundle bundle {} > report < /dev/null; \
         mkdir -p source/late bundle/rootfs/late; mount -t tmpfs late source/late; mount -t tmpfs late bundle/rootfs/late; \
         \"$@\" start {}; sleep 0.4; \"$@\" delete --force {}",
        t.folder.display(),
        t.id,
        t.id,
        t.id
    );
    let output = t.finish(t.command(&["unshare", "-m", "sh", "-c", &script, "sh"], &[]))?;
    check!(output.code == 0, "exit {}: {}", output.code, output.stderr);
    Ok(Report::parse(&fs::read_to_string(t.folder.join("report"))?)?)
}

fn host_mounts_reach_slaves(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    for (name, plain, root) in
        [("", true, false), ("slave", true, true), ("private", false, false), ("shared", true, false)]
    {
        let mut bundle = t.bundle()?;
        if !name.is_empty() {
            bundle.set("/linux/rootfsPropagation", json!(name));
        }
        bundle.mount("/plain", "bind", &source, &["rbind"]);
        bundle.mount("/private", "bind", &source, &["rbind", "rprivate"]);
        let report = mounted_between(t, &bundle)?;
        check_eq!(!report.mount("/plain/late").is_null(), plain, "{name:?}: seen on a bind without options");
        check!(report.mount("/private/late").is_null(), "{name:?}: seen on a private bind");
        check_eq!(!report.mount("/late").is_null(), root, "{name:?}: seen on the root filesystem");
    }
    Ok(())
}

/// A container that mounts on /bound itself.
fn mounter(t: &Test, options: &[&str]) -> Outcome<Bundle> {
    let source = t.subfolder("source")?;
    fs::create_dir_all(t.folder.join("source/sub"))?;
    let mut bundle = t.bundle()?;
    if !bundle.rootfs().join("bin/busybox").exists() {
        t.busybox(&bundle, &["sh", "mount"])?;
    }
    bundle.mount("/bound", "bind", &source, options);
    let caps = json!(["CAP_SYS_ADMIN"]);
    bundle.set("/process/capabilities", json!({ "bounding": caps, "effective": caps, "permitted": caps }));
    bundle.set(
        "/process/args",
        json!(["/bin/sh", "-c", "/bin/mount -t tmpfs inner /bound/sub && /bin/mount -t tmpfs over /dev/shm"]),
    );
    Ok(bundle)
}

fn shared_reaches_the_host(t: &Test) -> Outcome {
    let bundle = mounter(t, &["rbind", "rshared"])?;
    let bundle = bundle.with("/linux/rootfsPropagation", json!("rshared"));
    let output = t.run_within(&format!("{SHARED}; {WATCHED}"), &bundle)?;
    check!(output.code == 0, "exit {}: {}", output.code, output.stderr);
    let new: Vec<_> = lines(t, "after")?.into_iter().filter(|line| line.contains(" inner ")).collect();
    check!(!new.is_empty(), "the host does not see the mount of the container");
    check!(new.iter().all(|line| line.contains("/source/sub")), "{new:?}");
    Ok(())
}

fn private_by_default(t: &Test) -> Outcome {
    for options in [&["rbind"][..], &["bind"], &["rbind", "rshared"], &["rbind", "rslave"], &["rbind", "private"]] {
        let bundle = mounter(t, options)?;
        let output = t.run_within(&format!("{SHARED}; {WATCHED}"), &bundle)?;
        check!(output.code == 0, "exit {}: {}", output.code, output.stderr);
        check_eq!(lines(t, "after")?, lines(t, "before")?, "{options:?}: the host's mounts");
    }
    Ok(())
}

/// What covers masked files, and devices that are bound, are clones of the host's mount of /dev.
fn covers_are_cut_loose(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    let bundle_masks = ["/masked/a", "/masked/b"];
    fs::create_dir(bundle.rootfs().join("masked"))?;
    fs::write(bundle.rootfs().join("masked/a"), "")?;
    fs::write(bundle.rootfs().join("masked/b"), "")?;
    bundle.set("/linux/maskedPaths", json!(bundle_masks));
    let script = format!("{SHARED}; mount --make-shared /dev || true; \"$@\"");
    let report = t.report_within(&script, &bundle)?;
    for at in bundle_masks {
        check_eq!(report.mount(at)["root"], "/null", "the cover of {at}");
        check_eq!(optional(report.mount(at)), "[]", "propagation of {at}");
    }
    bundle.map_root()?;
    let report = t.report_within(&script, &bundle)?;
    for at in ["/dev/null", "/dev/zero", "/dev/tty", "/masked/a", "/masked/b"] {
        let mount = report.mount(at);
        check!(!mount.is_null() && optional(mount) == "[]", "propagation of {at}: {mount}");
    }
    Ok(())
}

fn without_pivot(t: &Test, script: &str, bundle: &Bundle) -> Outcome<Output> {
    let args = ["run", "--no-pivot", "--bundle", &bundle.saved()?, &t.id];
    let script = format!("set -e; cd {}; {script}", t.folder.display());
    t.finish(t.command(&["unshare", "-m", "sh", "-c", &script, "sh"], &args))
}

fn no_pivot(t: &Test) -> Outcome {
    for script in ["\"$@\"", &format!("{SHARED}; \"$@\"")] {
        let bundle = t.bundle()?.looking_at(&["/", "/etc"]);
        let output = without_pivot(t, script, &bundle)?;
        check!(output.code == 0, "exit {}: {}", output.code, output.stderr);
        let report = Report::parse(&output.stdout)?;
        check_eq!(report.path("/etc")["create"], libc::EROFS, "writing to the root");
        check!(report.mount("/proc")["type"] == "proc", "{}", report.mount("/proc"));
    }
    for name in ["private", "rprivate"] {
        let bundle = t.bundle()?.with("/linux/rootfsPropagation", json!(name));
        let output = without_pivot(t, "\"$@\"", &bundle)?;
        check_eq!(output.code, 1, "{name} with --no-pivot");
    }
    Ok(())
}

/// Without pivot_root the host's tree stays below the container's root. Were its procfs still there, a user namespace
/// in the container could mount one of its own, without the masks.
fn no_pivot_hides_the_host(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    t.busybox(&bundle, &["sh", "mount", "unshare"])?;
    // Something of /proc must be covered for the kernel to mind.
    bundle.set("/linux/maskedPaths", json!(["/proc/version"]));
    bundle.set(
        "/process/args",
        json!(["/bin/unshare", "-U", "-r", "-m", "-p", "-f", "/bin/mount", "-t", "proc", "x", "/tmp"]),
    );
    bundle.set("/process/noNewPrivileges", json!(false));
    let caps = json!(["CAP_SETFCAP"]); // to map id 0
    bundle.set("/process/capabilities", json!({ "bounding": caps, "effective": caps, "permitted": caps }));
    let pivoted = t.run(&bundle)?;
    check!(pivoted.code != 0, "with pivot_root: procfs was mounted");
    let output = without_pivot(t, "\"$@\"", &bundle)?;
    check_eq!((output.code, output.stderr), (pivoted.code, pivoted.stderr), "with --no-pivot");
    bundle.set("/linux/maskedPaths", json!([]));
    bundle.set("/linux/readonlyPaths", json!([]));
    check_eq!(t.run(&bundle)?.code, 0, "the test itself: without masks procfs can be mounted");
    Ok(())
}

fn keeps_its_mode(t: &Test) -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    let bundle = t.bundle()?;
    fs::set_permissions(bundle.rootfs(), fs::Permissions::from_mode(0o711))?;
    let report = t.report(&bundle)?;
    check_eq!(report.at("/root/mode"), &json!("711"), "mode of /");
    Ok(())
}

fn through_a_bundle_with_odd_names(t: &Test) -> Outcome {
    let bundle = t.bundle_named("a b,c=d:e\\040%é")?.with("/linux/cgroupsPath", json!(format!("/{}", t.id)));
    check_eq!(t.run(&bundle.probe(&["exit", "3"]))?.code, 3, "exit status");
    Ok(())
}
