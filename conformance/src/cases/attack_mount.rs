//! Attacks on mounts (security.md, classes A and B): what an image or a sibling container does to the places they stand on.

use super::attack::{harmless, link, scene, untouched, ways_out};
use crate::bundle::Bundle;
use crate::canary::Canary;
use crate::cases;
use crate::report::Report;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

cases!["attack_mount":
    on_a_link, through_links, through_magic_links, destination_climbs, on_a_loop, point_is_swapped,
    bind_point_is_swapped, proc_is_a_link, sys_is_a_link, proc_is_a_file, binds_over_proc, inside_proc,
    sys_is_a_link_with_cgroups, cgroups_in_a_user_namespace,
];

/// A1, CVE-2019-18837: the destination itself.
fn on_a_link(t: &Test) -> Outcome {
    let (canary, _) = scene(t)?;
    for target in ["", "b", "missing", "file"] {
        for way in ways_out(&canary.path.join(target)) {
            let mut bundle = t.bundle()?.with("/root/readonly", json!(false));
            link(&bundle, "a", &way)?;
            bundle.mount("/a", "tmpfs", "tmpfs", &[]);
            harmless(t, &canary, &bundle, &format!("tmpfs on /a -> {}", way.display()))?;
            fs::remove_dir_all(&bundle.path)?;
        }
    }
    Ok(())
}

/// A directory on the way, and a chain of links.
fn through_links(t: &Test) -> Outcome {
    let (canary, _) = scene(t)?;
    for way in ways_out(&canary.path) {
        let mut bundle = t.bundle()?.with("/root/readonly", json!(false));
        link(&bundle, "c", &way)?;
        link(&bundle, "b", "c")?;
        link(&bundle, "a", "/b")?;
        bundle.mount("/a/b", "tmpfs", "tmpfs", &[]);
        bundle.mount("/a/new/deep", "tmpfs", "tmpfs", &[]);
        bundle.mount("/a/new-file", "bind", "/etc/hostname", &["bind"]);
        harmless(t, &canary, &bundle, &format!("mounts below /a -> /b -> c -> {}", way.display()))?;
        fs::remove_dir_all(&bundle.path)?;
    }
    Ok(())
}

/// Magic links jump to places that no root contains.
fn through_magic_links(t: &Test) -> Outcome {
    let canary = Canary::new(&t.folder.join("canary"))?;
    let script = format!("exec 7<{}; exec \"$@\"", canary.path.display());
    for target in ["/proc/self/fd/7", "/proc/1/root/tmp", "/proc/self/cwd", "/proc/thread-self/root", "/proc/self/fd/3"]
    {
        let mut bundle = t.bundle()?.with("/root/readonly", json!(false));
        link(&bundle, "a", target)?;
        bundle.mount("/a/b", "tmpfs", "tmpfs", &[]);
        t.run_behind(&["sh", "-c", &script, "sh"], &bundle)?;
        untouched(&canary, target)?;
        fs::remove_dir_all(&bundle.path)?;
    }
    Ok(())
}

fn destination_climbs(t: &Test) -> Outcome {
    let (canary, _) = scene(t)?;
    for destination in [
        format!("/../../../../../../../../..{}/b", canary.path.display()),
        format!("/tmp/../../../../../../../../../..{}/new", canary.path.display()),
    ] {
        let mut bundle = t.bundle()?.with("/root/readonly", json!(false));
        bundle.mount(&destination, "tmpfs", "tmpfs", &[]);
        harmless(t, &canary, &bundle, &destination)?;
        fs::remove_dir_all(&bundle.path)?;
    }
    Ok(())
}

fn on_a_loop(t: &Test) -> Outcome {
    let (canary, mut bundle) = scene(t)?;
    link(&bundle, "a", "b")?;
    link(&bundle, "b", "/a")?;
    bundle.mount("/a/c", "tmpfs", "tmpfs", &[]);
    let output = harmless(t, &canary, &bundle, "a loop of links")?;
    check_eq!(output.code, 1, "exit status");
    Ok(())
}

/// Exchanges a directory of the root filesystem with a link out of it, over and over (H5).
struct Swapper {
    stop: std::sync::Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<u64>>,
}

impl Swapper {
    fn new(folder: &Path, canary: &Path) -> Outcome<Self> {
        let (one, other) = (folder.join("dir"), folder.join("link"));
        fs::create_dir_all(&one)?;
        symlink(canary, &other)?;
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let flag = std::sync::Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut count = 0;
            while !flag.load(Ordering::Relaxed) {
                let how = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
                if nix::fcntl::renameat2(nix::fcntl::AT_FDCWD, &one, nix::fcntl::AT_FDCWD, &other, how).is_ok() {
                    count += 1;
                }
                std::thread::sleep(Duration::from_micros(700));
            }
            count
        });
        Ok(Self { stop, thread: Some(thread) })
    }

    fn finish(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or(0)
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Rounds of `run` while a sibling swaps the mount point's parent; strace holds the calls that make or mount it, so
/// that a check and its use are far apart.
fn swapped(t: &Test, calls: &str, mount: &dyn Fn(&mut Bundle)) -> Outcome {
    t.needs_strace()?;
    let canary = Canary::new(&t.folder.join("canary"))?;
    let mut bundle = t.bundle()?.with("/root/readonly", json!(false)).probe(&["exit", "0"]);
    mount(&mut bundle);
    let swapper = Swapper::new(&bundle.rootfs().join("volume"), &canary.path)?;
    let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:delay_enter=2500"));
    let rounds = if t.all { 200 } else { 12 };
    for round in 0..rounds {
        let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
        t.run_behind(&strace, &bundle)?;
        untouched(&canary, &format!("round {round}"))?;
        if !crate::leak::mounts_under(&canary.path).is_empty() {
            return Err(format!("round {round}: a mount on the host").into());
        }
    }
    let swaps = swapper.finish();
    check!(swaps > 100, "only {swaps} swaps: nothing was tried");
    Ok(())
}

/// CVE-2024-45310 (and CVE-2021-30465): the directories made for a mount.
fn point_is_swapped(t: &Test) -> Outcome {
    swapped(t, "mkdirat,mkdir,openat2", &|bundle| bundle.mount("/volume/dir/new/deep", "tmpfs", "tmpfs", &[]))
}

fn bind_point_is_swapped(t: &Test) -> Outcome {
    swapped(t, "mkdirat,mkdir,openat2,mount,move_mount", &|bundle| {
        bundle.mount("/volume/dir/new/file", "bind", "/etc/hostname", &["bind"]);
    })
}

/// B1: proc must be where it says, or nowhere.
fn kernel_tree_is_a_link(t: &Test, name: &str, magic: &str) -> Outcome {
    let (canary, _) = scene(t)?;
    let ways = ways_out(&canary.path).into_iter().chain(["/etc".into(), "etc".into(), "../..".into(), "/tmp".into()]);
    for way in ways {
        let bundle = t.bundle()?.with("/root/readonly", json!(false));
        link(&bundle, name, &way)?;
        let output = harmless(t, &canary, &bundle, &format!("/{name} -> {}", way.display()))?;
        if output.code == 0 {
            // It ran: then the link was replaced by nothing but the real one.
            let report = Report::parse(&output.stdout)?;
            check_eq!(report.mount(&format!("/{name}"))["type"], json!(magic), "/{name} -> {}", way.display());
        }
        fs::remove_dir_all(&bundle.path)?;
    }
    Ok(())
}

/// CVE-2019-19921, CVE-2023-27561, CVE-2025-54867.
fn proc_is_a_link(t: &Test) -> Outcome {
    kernel_tree_is_a_link(t, "proc", "proc")
}

fn sys_is_a_link(t: &Test) -> Outcome {
    kernel_tree_is_a_link(t, "sys", "sysfs")
}

fn proc_is_a_file(t: &Test) -> Outcome {
    let bundle = t.bundle()?;
    fs::remove_dir(bundle.rootfs().join("proc"))?;
    fs::write(bundle.rootfs().join("proc"), "")?;
    check_eq!(t.run(&bundle)?.code, 1, "exit status");
    Ok(())
}

/// CVE-2019-16884: an attacker's directory as /proc, into which labels would be written.
fn binds_over_proc(t: &Test) -> Outcome {
    for destination in ["/proc", "/proc/self", "/proc/1", "/proc/sys", "/proc/self/attr", "/proc/../proc/sys"] {
        let mut bundle = t.bundle()?;
        let source = t.folder.join("volume");
        fs::create_dir_all(&source)?;
        bundle.mount(destination, "bind", &source.to_string_lossy(), &["bind"]);
        let output = t.run(&bundle)?;
        check_eq!(output.code, 1, "exit status with a bind on {destination}: {}", output.stderr);
        check!(output.stdout.is_empty(), "something ran with a bind on {destination}");
        fs::remove_dir_all(&bundle.path)?;
    }
    Ok(())
}

fn inside_proc(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.mount("/proc/sys/kernel", "tmpfs", "tmpfs", &[]);
    check_eq!(t.run(&bundle)?.code, 1, "exit status with a tmpfs in /proc/sys");
    // lxcfs does this.
    let source = t.folder.join("uptime");
    fs::write(&source, "1.00 1.00\n")?;
    let mut bundle = t.bundle_named("second")?;
    bundle.mount("/proc/uptime", "bind", &source.to_string_lossy(), &["bind", "ro"]);
    let report = t.report_paths(bundle, &["/proc/uptime"])?;
    check_eq!(report.path("/proc/uptime")["read"], json!("1.00 1.00\n"), "/proc/uptime");
    Ok(())
}

/// The links that a v1 cgroup mount makes for controllers with several names.
fn sys_is_a_link_with_cgroups(t: &Test) -> Outcome {
    let (canary, _) = scene(t)?;
    for way in ways_out(&canary.path) {
        let mut bundle = t.bundle()?.with("/root/readonly", json!(false));
        bundle.drop_mount("/sys");
        bundle.drop_mount("/sys/fs/cgroup");
        link(&bundle, "sys", &way)?;
        bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro"]);
        harmless(t, &canary, &bundle, &format!("/sys -> {}", way.display()))?;
        fs::remove_dir_all(&bundle.path)?;
    }
    Ok(())
}

/// F1, CVE-2023-25809.
fn cgroups_in_a_user_namespace(t: &Test) -> Outcome {
    let bundle = t.mapped_bundle()?;
    let path = if t.runtime.v2_view { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/memory" };
    let report = t.report(&bundle.looking_at(&[path]))?;
    let create = &report.path(path)["create"];
    check!(create == &json!(30) || create == &json!(13), "making a file in {path}: {create}");
    Ok(())
}
