//! Attacks on /dev and on what covers masked paths (security.md, classes A and E).

use super::attack::{harmless, link, scene, untouched, ways_out};
use super::dev::{bind_dev, plain};
use super::terminal::create_and_delete;
use crate::bundle::Bundle;
use crate::cases;
use crate::check;
use crate::command::Output;
use crate::report::Report;
use crate::test::{Outcome, Test};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

cases!["attack_dev":
    is_a_link, is_a_link_with_devices, is_a_link_with_a_terminal, console_in_the_image_is_a_link,
    null_in_the_image_is_a_link, ptmx_in_the_image_is_a_link, mask_source_is_a_link, mask_source_is_odd,
];

/// A config without a mount on /dev, whose image has a link there.
fn linked_dev(t: &Test, change: &dyn Fn(&mut Bundle)) -> Outcome {
    let (canary, _) = scene(t)?;
    for way in ways_out(&canary.path) {
        let mut bundle = plain(t)?;
        link(&bundle, "dev", &way)?;
        change(&mut bundle);
        harmless(t, &canary, &bundle, &format!("/dev -> {}", way.display()))?;
        fs::remove_dir_all(&bundle.path)?;
    }
    Ok(())
}

/// A4: CVE-2026-41579, CVE-2026-47766.
fn is_a_link(t: &Test) -> Outcome {
    linked_dev(t, &|_| {})
}

fn is_a_link_with_devices(t: &Test) -> Outcome {
    linked_dev(t, &|bundle| {
        bundle.set("/linux/devices", json!([{ "type": "c", "path": "/dev/made", "major": 1, "minor": 3 }]));
        bundle.mount("/dev/shm", "tmpfs", "shm", &[]);
        bundle.mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666"]);
    })
}

/// E2: CVE-2026-88264.
fn is_a_link_with_a_terminal(t: &Test) -> Outcome {
    let (canary, _) = scene(t)?;
    for way in ways_out(&canary.path) {
        let mut bundle = t.bundle()?.with("/root/readonly", json!(false)).with("/process/terminal", json!(true));
        for mount in ["/dev/shm", "/dev/mqueue", "/dev"] {
            bundle.drop_mount(mount);
        }
        link(&bundle, "dev", &way)?;
        create_and_delete(t, &bundle)?;
        untouched(&canary, &format!("/dev -> {} with a terminal", way.display()))?;
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
            create_and_delete(t, &bundle)?;
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
    bind_dev(&mut bundle, &dev);
    let output = t.run(&bundle.looking_at(&["/secret"]))?;
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
