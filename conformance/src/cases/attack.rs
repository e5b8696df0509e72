//! attacks: what an image or a sibling container may try while a container is made (security.md, classes A to F).
//!
//! A canary tree stands for the host. It must be as it was whether the runtime refuses or carries on inside the root.
//! That these cases can see a hole is shown by old runtimes that have it: their failures are listed with the CVE.

use crate::bundle::Bundle;
use crate::canary::Canary;
use crate::cases;
use crate::command::Output;
use crate::report::Report;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

cases!["attack":
    mount_on_a_link, mount_through_links, mount_through_magic_links, mount_destination_climbs, mount_on_a_loop,
    mount_point_is_swapped, bind_point_is_swapped, proc_is_a_link, sys_is_a_link, proc_is_a_file, binds_over_proc,
    mounts_inside_proc, dev_is_a_link, dev_is_a_link_with_devices, dev_is_a_link_with_a_terminal,
    dev_is_a_link_with_cgroups, console_in_the_image_is_a_link, null_in_the_image_is_a_link, ptmx_in_the_image_is_a_link,
    mask_source_is_a_link, mask_source_is_odd, cwd_is_a_leaked_descriptor, cwd_through_a_link_to_a_descriptor,
    program_through_a_descriptor, cwd_is_made_inside, runtime_binary_is_the_program, runtime_binary_cannot_be_written, runtime_binary_is_not_there,
    terminal_input_cannot_be_faked, cgroups_in_a_user_namespace, root_is_swapped_in_a_link, passwd_is_a_link_out,
    nothing_is_left_in_the_image,
];

/// The canary, and a bundle with a writable root: what could go wrong must not fail because of the mode.
fn scene(t: &Test) -> Outcome<(Canary, Bundle)> {
    let canary = Canary::new(&t.folder.join("canary"))?;
    Ok((canary, t.bundle()?.with("/root/readonly", json!(false))))
}

/// Runs it; it may refuse or run, but not hang, crash or touch the canary.
fn harmless(t: &Test, canary: &Canary, bundle: &Bundle, what: &str) -> Outcome<Output> {
    let output = t.run(bundle)?;
    untouched(canary, what)?;
    Ok(output)
}

fn untouched(canary: &Canary, what: &str) -> Outcome {
    let changes = canary.changes()?;
    check!(changes.is_empty(), "{what}: the host changed: {}", changes.join("; "));
    Ok(())
}

/// Replaces a path of the root filesystem by a link.
fn link(bundle: &Bundle, name: &str, target: impl AsRef<Path>) -> Outcome {
    let path = bundle.rootfs().join(name);
    match fs::symlink_metadata(&path) {
        Ok(about) if about.is_dir() => fs::remove_dir_all(&path)?,
        Ok(_) => fs::remove_file(&path)?,
        Err(_) => {}
    }
    Ok(symlink(target, path)?)
}

/// The ways to write the same place outside from inside the root.
fn ways_out(target: &Path) -> [PathBuf; 3] {
    let path = target.display();
    [target.into(), format!("../../../../../../../../../..{path}").into(), format!("/proc/self/root{path}").into()]
}

/// A1, CVE-2019-18837: the destination itself.
fn mount_on_a_link(t: &Test) -> Outcome {
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
fn mount_through_links(t: &Test) -> Outcome {
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
fn mount_through_magic_links(t: &Test) -> Outcome {
    let canary = Canary::new(&t.folder.join("canary"))?;
    let script = format!("exec 7<{}; exec \"$@\"", canary.path.display());
    for target in ["/proc/self/fd/7", "/proc/1/root/tmp", "/proc/self/cwd", "/proc/thread-self/root", "/proc/self/fd/3"]
    {
        let mut bundle = t.bundle()?.with("/root/readonly", json!(false));
        link(&bundle, "a", target)?;
        bundle.mount("/a/b", "tmpfs", "tmpfs", &[]);
        bundle.save()?;
        let path = bundle.path.to_string_lossy().into_owned();
        t.finish(t.command(&["sh", "-c", &script, "sh"], &["run", "--bundle", &path, &t.id]))?;
        untouched(&canary, target)?;
        fs::remove_dir_all(&bundle.path)?;
    }
    Ok(())
}

fn mount_destination_climbs(t: &Test) -> Outcome {
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

fn mount_on_a_loop(t: &Test) -> Outcome {
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
    if crate::runtime::in_path("strace").is_none() {
        return skip("strace is not installed");
    }
    let canary = Canary::new(&t.folder.join("canary"))?;
    let mut bundle = t.bundle()?.with("/root/readonly", json!(false)).probe(&["exit", "0"]);
    mount(&mut bundle);
    bundle.save()?;
    let swapper = Swapper::new(&bundle.rootfs().join("volume"), &canary.path)?;
    let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:delay_enter=2500"));
    let path = bundle.path.to_string_lossy().into_owned();
    let rounds = if t.all { 200 } else { 12 };
    for round in 0..rounds {
        let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
        t.finish(t.command(&strace, &["run", "--bundle", &path, &t.id]))?;
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
fn mount_point_is_swapped(t: &Test) -> Outcome {
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

fn mounts_inside_proc(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.mount("/proc/sys/kernel", "tmpfs", "tmpfs", &[]);
    check_eq!(t.run(&bundle)?.code, 1, "exit status with a tmpfs in /proc/sys");
    // lxcfs does this.
    let source = t.folder.join("uptime");
    fs::write(&source, "1.00 1.00\n")?;
    let mut bundle = Bundle::new(&t.folder.join("second"), &t.id)?;
    if t.runtime.v2_view {
        bundle.remove("/linux/resources");
    }
    bundle.mount("/proc/uptime", "bind", &source.to_string_lossy(), &["bind", "ro"]);
    let report = t.report_paths(bundle, &["/proc/uptime"])?;
    check_eq!(report.path("/proc/uptime")["read"], json!("1.00 1.00\n"), "/proc/uptime");
    Ok(())
}

/// A config without a mount on /dev, whose image has a link there.
fn linked_dev(t: &Test, change: &dyn Fn(&mut Bundle)) -> Outcome {
    let (canary, _) = scene(t)?;
    for way in ways_out(&canary.path) {
        let mut bundle = t.bundle()?.with("/root/readonly", json!(false));
        for mount in ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"] {
            bundle.drop_mount(mount);
        }
        link(&bundle, "dev", &way)?;
        change(&mut bundle);
        harmless(t, &canary, &bundle, &format!("/dev -> {}", way.display()))?;
        fs::remove_dir_all(&bundle.path)?;
    }
    Ok(())
}

/// A4: CVE-2026-41579, CVE-2026-47766.
fn dev_is_a_link(t: &Test) -> Outcome {
    linked_dev(t, &|_| {})
}

fn dev_is_a_link_with_devices(t: &Test) -> Outcome {
    linked_dev(t, &|bundle| {
        bundle.set("/linux/devices", json!([{ "type": "c", "path": "/dev/made", "major": 1, "minor": 3 }]));
        bundle.mount("/dev/shm", "tmpfs", "shm", &[]);
        bundle.mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666"]);
    })
}

/// E2: CVE-2026-88264.
fn dev_is_a_link_with_a_terminal(t: &Test) -> Outcome {
    let (canary, _) = scene(t)?;
    for way in ways_out(&canary.path) {
        let mut bundle = t.bundle()?.with("/root/readonly", json!(false)).with("/process/terminal", json!(true));
        for mount in ["/dev/shm", "/dev/mqueue", "/dev"] {
            bundle.drop_mount(mount);
        }
        link(&bundle, "dev", &way)?;
        with_a_console(t, &bundle)?;
        untouched(&canary, &format!("/dev -> {} with a terminal", way.display()))?;
        fs::remove_dir_all(&bundle.path)?;
    }
    Ok(())
}

/// Creates with a console socket, and deletes.
fn with_a_console(t: &Test, bundle: &Bundle) -> Outcome {
    bundle.save()?;
    let socket = t.folder.join("console.sock");
    let _ = fs::remove_file(&socket);
    let console = crate::console::Console::listen(&socket)?;
    let path = bundle.path.to_string_lossy().into_owned();
    let output = t.rt(&["create", "--bundle", &path, "--console-socket", &socket.to_string_lossy(), &t.id])?;
    drop(console);
    if output.code == 0 {
        t.delete()?;
    }
    Ok(())
}

/// The links that a v1 cgroup mount makes for controllers with several names.
fn dev_is_a_link_with_cgroups(t: &Test) -> Outcome {
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

/// /dev of the image, with nothing mounted on it.
fn image_dev(t: &Test) -> Outcome<Bundle> {
    let mut bundle = t.bundle()?.with("/root/readonly", json!(false));
    for mount in ["/dev/shm", "/dev/mqueue", "/dev"] {
        bundle.drop_mount(mount);
    }
    fs::create_dir_all(bundle.rootfs().join("dev/pts"))?;
    Ok(bundle)
}

/// CVE-2026-88264.
fn console_in_the_image_is_a_link(t: &Test) -> Outcome {
    let (canary, _) = scene(t)?;
    for target in ["console", "missing", "b", "b/missing"] {
        for way in ways_out(&canary.path.join(target)) {
            let bundle = image_dev(t)?.with("/process/terminal", json!(true));
            link(&bundle, "dev/console", &way)?;
            with_a_console(t, &bundle)?;
            untouched(&canary, &format!("/dev/console -> {}", way.display()))?;
            fs::remove_dir_all(&bundle.path)?;
        }
    }
    Ok(())
}

/// CVE-2026-88265: it would be opened again as /dev/null, and given to the user.
fn null_in_the_image_is_a_link(t: &Test) -> Outcome {
    let (canary, _) = scene(t)?;
    for target in ["null", "missing", "file", "b"] {
        for way in ways_out(&canary.path.join(target)) {
            let bundle = image_dev(t)?.with("/process/user/uid", json!(1000));
            link(&bundle, "dev/null", &way)?;
            harmless(t, &canary, &bundle, &format!("/dev/null -> {}", way.display()))?;
            fs::remove_dir_all(&bundle.path)?;
        }
    }
    Ok(())
}

fn ptmx_in_the_image_is_a_link(t: &Test) -> Outcome {
    let (canary, _) = scene(t)?;
    for name in ["ptmx", "fd", "stdin", "core", "tty"] {
        for way in ways_out(&canary.path.join(name)) {
            let bundle = image_dev(t)?;
            link(&bundle, &format!("dev/{name}"), &way)?;
            harmless(t, &canary, &bundle, &format!("/dev/{name} -> {}", way.display()))?;
            fs::remove_dir_all(&bundle.path)?;
        }
    }
    Ok(())
}

/// A caller's /dev, bound, in which `prepare` made a null; /secret is masked.
fn masked_with(t: &Test, prepare: &dyn Fn(&Path) -> std::io::Result<()>) -> Outcome<Output> {
    let dev = t.folder.join("dev");
    let _ = fs::remove_dir_all(&dev);
    for name in ["pts", "shm", "mqueue"] {
        fs::create_dir_all(dev.join(name))?;
    }
    prepare(&dev.join("null"))?;
    let mut bundle = t.bundle()?.with("/linux/maskedPaths", json!(["/secret"]));
    fs::write(bundle.rootfs().join("secret"), "the secret")?;
    fs::write(bundle.rootfs().join("etc/other"), "the attacker's choice")?;
    bundle.drop_mount("/dev");
    let bind = json!({ "destination": "/dev", "type": "bind", "source": dev.to_string_lossy(), "options": ["bind"] });
    if let Some(Value::Array(list)) = bundle.config.pointer_mut("/mounts") {
        list.insert(1, bind);
    }
    let output = t.run(&bundle.probe(&["report", "--path", "/secret"]))?;
    fs::remove_dir_all(t.folder.join("bundle"))?;
    Ok(output)
}

/// Refused, or the masked file is the true null device.
fn is_masked(output: &Output, what: &str) -> Outcome {
    if output.code != 0 {
        return Ok(());
    }
    let report = Report::parse(&output.stdout)?;
    let entry = report.path("/secret");
    check!(entry["rdev"] == json!("1:3") && entry["read"] == json!(""), "{what}: the masked file is {entry}");
    Ok(())
}

/// A3: CVE-2025-31133, CVE-2025-62161.
fn mask_source_is_a_link(t: &Test) -> Outcome {
    for target in ["/etc/other", "/secret", "/proc/self/status"] {
        let output = masked_with(t, &|null| symlink(target, null))?;
        is_masked(&output, &format!("/dev/null -> {target}"))?;
    }
    Ok(())
}

fn mask_source_is_odd(t: &Test) -> Outcome {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    let node = |null: &Path, kind, minor| {
        mknod(null, kind, Mode::from_bits_truncate(0o666), makedev(1, minor)).map_err(std::io::Error::from)
    };
    is_masked(&masked_with(t, &|_| Ok(()))?, "no /dev/null")?;
    is_masked(&masked_with(t, &|null| fs::write(null, "a file"))?, "a file as /dev/null")?;
    is_masked(&masked_with(t, &|null| fs::create_dir(null))?, "a directory as /dev/null")?;
    is_masked(&masked_with(t, &|null| node(null, SFlag::S_IFCHR, 5))?, "zero as /dev/null")?;
    is_masked(&masked_with(t, &|null| node(null, SFlag::S_IFIFO, 0))?, "a fifo as /dev/null")
}

/// Runs with directories of the host open as 7 and 9, inheritable.
fn with_leaks(t: &Test, canary: &Canary, bundle: &Bundle) -> Outcome<Output> {
    bundle.save()?;
    let script = format!("exec 7<{0}/b 9</; exec \"$@\"", canary.path.display());
    let path = bundle.path.to_string_lossy().into_owned();
    t.finish(t.command(&["sh", "-c", &script, "sh"], &["run", "--bundle", &path, &t.id]))
}

/// It ran inside, or not at all.
fn stayed_inside(output: &Output, what: &str) -> Outcome {
    if output.code != 0 {
        return Ok(());
    }
    let report = Report::parse(&output.stdout)?;
    check!(report.at("/cwd").as_str().is_some_and(|cwd| cwd.starts_with('/')), "{what}: cwd {}", report.at("/cwd"));
    check!(report.path("file")["errno"] == json!(2), "{what}: the host is to be seen: {}", report.path("file"));
    check!(report.path("../../canary")["errno"] == json!(2), "{what}: the host is to be seen through ..");
    Ok(())
}

/// C3: CVE-2024-21626.
fn cwd_is_a_leaked_descriptor(t: &Test) -> Outcome {
    let canary = Canary::new(&t.folder.join("canary"))?;
    let last = if t.all { 64 } else { 14 };
    for number in 3..last {
        let cwd = format!("/proc/self/fd/{number}");
        let bundle = t.bundle()?.with("/process/cwd", json!(cwd));
        let bundle = bundle.probe(&["report", "--path", "file", "--path", "../../canary"]);
        stayed_inside(&with_leaks(t, &canary, &bundle)?, &cwd)?;
        fs::remove_dir_all(&bundle.path)?;
    }
    Ok(())
}

fn cwd_through_a_link_to_a_descriptor(t: &Test) -> Outcome {
    let canary = Canary::new(&t.folder.join("canary"))?;
    for target in ["/proc/self/fd/7", "/proc/self/fd/9", "/proc/thread-self/fd/7", "/proc/1/fd/7", "/proc/self/cwd"] {
        let bundle = t.bundle()?.with("/process/cwd", json!("/work"));
        link(&bundle, "work", target)?;
        let bundle = bundle.probe(&["report", "--path", "file", "--path", "../../canary"]);
        stayed_inside(&with_leaks(t, &canary, &bundle)?, target)?;
        fs::remove_dir_all(&bundle.path)?;
    }
    Ok(())
}

/// A program of the host's, reached through a descriptor: it must not run.
fn program_through_a_descriptor(t: &Test) -> Outcome {
    let canary = Canary::new(&t.folder.join("canary"))?;
    for number in 3..14 {
        for way in [format!("/proc/self/fd/{number}/bin/true"), format!("/proc/self/fd/{number}/../bin/true")] {
            let bundle = t.bundle()?.with("/process/args", json!([way]));
            let output = with_leaks(t, &canary, &bundle)?;
            check!(output.code != 0, "{way} ran");
            fs::remove_dir_all(&bundle.path)?;
        }
    }
    Ok(())
}

/// A7: a missing working directory is made, but never outside.
fn cwd_is_made_inside(t: &Test) -> Outcome {
    let (canary, _) = scene(t)?;
    for way in ways_out(&canary.path) {
        let bundle = t.bundle()?.with("/root/readonly", json!(false)).with("/process/cwd", json!("/a/new/deep"));
        link(&bundle, "a", &way)?;
        harmless(t, &canary, &bundle, &format!("cwd below /a -> {}", way.display()))?;
        fs::remove_dir_all(&bundle.path)?;
    }
    Ok(())
}

/// Content and identity of the runtime's binary.
fn fingerprint(t: &Test) -> Outcome<(Vec<u8>, String)> {
    use std::os::unix::fs::MetadataExt;
    let about = fs::metadata(&t.runtime.path)?;
    let line = format!("{} {} {}.{}", about.ino(), about.len(), about.ctime(), about.ctime_nsec());
    Ok((fs::read(&t.runtime.path)?, line))
}

/// The same test with a copy of the runtime's binary that could be written to: the host's own is on a read-only mount.
fn with_a_copy(t: &Test) -> Outcome<Test> {
    let path = t.folder.join(t.runtime.path.file_name().unwrap_or_default());
    fs::copy(&t.runtime.path, &path)?;
    let runtime = crate::runtime::Runtime { path, ..t.runtime.clone() };
    Ok(Test::new(&runtime, t.id.clone(), t.folder.clone(), t.all)?)
}

/// C1, CVE-2019-5736: the entry point is the runtime itself.
fn runtime_binary_is_the_program(t: &Test) -> Outcome {
    let t = &with_a_copy(t)?;
    let before = fingerprint(t)?;
    for way in ["/proc/self/exe", "/link", "/script"] {
        let bundle = t.bundle()?.with("/process/args", json!([way, "--version"]));
        link(&bundle, "link", "/proc/self/exe")?;
        fs::write(bundle.rootfs().join("script"), "#!/proc/self/exe\n")?;
        fs::set_permissions(bundle.rootfs().join("script"), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        t.run(&bundle)?;
        fs::remove_dir_all(&bundle.path)?;
    }
    check!(fingerprint(t)? == before, "the runtime's binary changed");
    Ok(())
}

/// A sibling in the same pid namespace, as in a pod, tries to write what /proc/PID/exe of a process in the making
/// leads to: at once, and later through a descriptor, when no runtime runs any more that would keep it busy.
fn binary_under_attack(t: &Test, caps: &Value) -> Outcome<String> {
    let before = fingerprint(t)?;
    let first = t
        .bundle()?
        .with("/root/readonly", json!(false))
        .with("/process/capabilities", json!({ "bounding": caps, "effective": caps, "permitted": caps }))
        .probe(&["write-exes", "3", "/opened"]);
    t.create_ok(&first)?;
    let pid = t.state()?["pid"].as_i64().unwrap_or(0);
    let second = format!("{}second", t.id);
    let mut bundle = t.bundle_named("second")?.probe(&["exit", "0"]);
    bundle.namespace("pid", &format!("/proc/{pid}/ns/pid"));
    if t.runtime.v2_view {
        bundle.remove("/linux/resources");
    }
    bundle.save()?;
    let path = bundle.path.to_string_lossy().into_owned();
    t.ok(&["start", &t.id])?;
    // Waiting for its start it has its last capabilities, and is not yet the container's program.
    let made = t.rt(&["create", "--bundle", &path, &second])?;
    std::thread::sleep(Duration::from_millis(300));
    let deleted = t.command(&[], &["delete", "--force", &second]).status();
    t.wait_for("the attacker's report", || first.rootfs().join("opened").exists())?;
    // A program that is open for writing cannot be started.
    t.wait_for("the attacker's end", || t.rt(&["delete", "--force", &t.id]).is_ok())?;
    t.ok(&["delete", "--force", &second])?;
    check!(made.code == 0 && deleted.is_ok_and(|status| status.success()), "create and delete: {}", made.stderr);
    let text = fs::read_to_string(first.rootfs().join("opened"))?;
    check!(text.starts_with("tried ") && !text.starts_with("tried 0"), "nothing was tried: {text:?}");
    let same = fingerprint(t)? == before;
    check!(same, "the runtime's binary was written to: {text}");
    Ok(text)
}

fn runtime_binary_cannot_be_written(t: &Test) -> Outcome {
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    binary_under_attack(&with_a_copy(t)?, &caps).map(drop)
}

/// With this capability no process of the namespace is closed to it: what it sees must not be the runtime.
fn runtime_binary_is_not_there(t: &Test) -> Outcome {
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SYS_PTRACE"]);
    let t = &with_a_copy(t)?;
    let text = binary_under_attack(t, &caps)?;
    check!(text.contains("saw /memfd"), "it did not see the waiting process: {text}");
    check!(!text.contains(&*t.runtime.path.to_string_lossy()), "it saw the runtime's binary: {text}");
    Ok(())
}

/// E3: without a terminal of its own the container has the caller's; it must not type for the caller.
fn terminal_input_cannot_be_faked(t: &Test) -> Outcome {
    let bundle = t.bundle()?.probe(&["fake-input"]);
    bundle.save()?;
    let pty = crate::pty::Pty::new(24, 80)?;
    // The caller has it as its controlling terminal.
    let mut command =
        t.command(&["setsid", "--ctty", "--wait"], &["run", "--bundle", &bundle.path.to_string_lossy(), &t.id]);
    command.env("LC_ALL", "C");
    let output = t.wait(t.spawn(command, Some(fs::File::from(pty.slave.try_clone()?)))?)?;
    check_eq!(output.code, 0, "the terminal took faked input: {}{}", output.stdout, output.stderr);
    Ok(())
}

/// F1, CVE-2023-25809.
fn cgroups_in_a_user_namespace(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.map_ids(100_000, 65536);
    std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000))?;
    let path = if t.runtime.v2_view { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/memory" };
    let report = t.report(&bundle.probe(&["report", "--path", path]))?;
    let create = &report.path(path)["create"];
    check!(create == &json!(30) || create == &json!(13), "making a file in {path}: {create}");
    Ok(())
}

/// The root directory is swapped for a link while the container is made: a caller's duty, but never a crash.
fn root_is_swapped_in_a_link(t: &Test) -> Outcome {
    let (canary, bundle) = scene(t)?;
    fs::rename(bundle.rootfs(), bundle.path.join("real"))?;
    symlink("real", bundle.rootfs())?;
    harmless(t, &canary, &bundle, "root/path is a link").map(drop)
}

fn passwd_is_a_link_out(t: &Test) -> Outcome {
    let (canary, bundle) = scene(t)?;
    fs::write(canary.path.join("file"), "root:x:0:0::/from-the-host:/\n")?;
    let canary = Canary::again(&canary.path)?;
    for way in ways_out(&canary.path.join("file")) {
        link(&bundle, "etc/passwd", &way)?;
        let output = harmless(t, &canary, &bundle, "passwd")?;
        check!(!output.stdout.contains("from-the-host"), "HOME came from the host through {}", way.display());
    }
    Ok(())
}

/// A5: a runtime's own file in the image could be a link to somewhere else.
fn nothing_is_left_in_the_image(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/root/readonly", json!(false));
    let before = crate::canary::snapshot(&bundle.rootfs())?;
    t.sleeper(Bundle { path: bundle.path.clone(), config: bundle.config.clone() })?;
    let during = crate::canary::snapshot(&bundle.rootfs())?;
    t.delete()?;
    let made: Vec<_> = during.keys().filter(|path| !before.contains_key(*path)).collect();
    check!(made.is_empty(), "made in the image: {made:?}");
    Ok(())
}
