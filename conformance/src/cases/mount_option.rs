//! Options of mounts: flags, access times, propagation, remounts, and flags that are locked.

use super::mount_bind::TREE;
use crate::bundle::Bundle;
use crate::cases;
use crate::report::Report;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;

cases!["mount_option":
    flags_of_a_bind, bind_keeps_what_the_source_has, bind_with_options_drops_the_rest, access_times,
    access_times_stay, nosymfollow, recursive_attributes, propagation_modes, superblock_flags, unknown,
    locked_flags, locked_flags_of_what_the_parent_cloned,
];

fn flags_of_a_bind(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    let mut bundle = t.bundle()?;
    let all = ["bind", "ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime"];
    bundle.mount("/all", "bind", &source, &all);
    bundle.mount(
        "/taken-back",
        "none",
        &source,
        &["rbind", "ro", "nosuid", "nodev", "noexec", "rw", "suid", "dev", "exec"],
    );
    let report = t.report(&bundle)?;
    for option in &all[1..] {
        check!(report.mounted_with("/all", option), "/all lacks {option}: {}", report.mount("/all"));
    }
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        let found = report.options("/taken-back");
        check!(!found.contains(&option), "/taken-back has {option}: {found:?}");
    }
    Ok(())
}

/// The source is a tmpfs with flags, mounted in the namespace the runtime runs in.
const FLAGGED: &str = "mount -t tmpfs -o nosuid,nodev,noexec,noatime x source; \"$@\"";

fn bind_keeps_what_the_source_has(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    let mut bundle = t.bundle()?;
    bundle.mount("/bound", "bind", &source, &["rbind", "rprivate"]);
    let report = t.report_within(FLAGGED, &bundle)?;
    for option in ["nosuid", "nodev", "noexec", "noatime"] {
        check!(report.mounted_with("/bound", option), "lost {option}: {}", report.mount("/bound"));
    }
    Ok(())
}

fn bind_with_options_drops_the_rest(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    let mut bundle = t.bundle()?;
    bundle.mount("/bound", "bind", &source, &["rbind", "rprivate", "ro"]);
    let report = t.report_within(FLAGGED, &bundle)?;
    let found = report.options("/bound");
    // mount(2) keeps the access times where no option names them.
    check_eq!(found, ["ro", "noatime"], "options of the bind");
    Ok(())
}

/// What the topmost mount at `point` does about access times, in order of the alphabet.
fn times<'a>(report: &'a Report, point: &str) -> Vec<&'a str> {
    let mut found = report.options(point);
    found.retain(|option| option.contains("atime"));
    found.sort_unstable();
    found
}

fn access_times(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    let mut bundle = t.bundle()?;
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
    let report = t.report(&bundle)?;
    for (at, _, wanted) in table {
        for at in [at.to_owned(), format!("{at}-new")] {
            check_eq!(times(&report, &at), wanted, "{at}");
        }
    }
    Ok(())
}

/// As with mount(2): one option of access times replaces them all, and what only takes one back changes nothing.
fn access_times_stay(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    let flagged = "mount -t tmpfs x source; mount -o remount,bind,noatime source; \"$@\"";
    let table: [(&str, &[&str], &[&str]); 5] = [
        ("/plain", &["bind"], &["noatime"]),
        ("/atime", &["bind", "atime"], &["noatime"]),
        ("/norelatime", &["bind", "norelatime"], &["noatime"]),
        ("/relatime", &["bind", "relatime"], &["relatime"]),
        ("/nodiratime", &["bind", "nodiratime"], &["nodiratime", "relatime"]),
    ];
    let mut bundle = t.bundle()?;
    for (at, options, _) in table {
        bundle.mount(at, "bind", &source, options);
    }
    let report = t.report_within(flagged, &bundle)?;
    for (at, _, wanted) in table {
        check_eq!(times(&report, at), wanted, "{at}");
    }
    Ok(())
}

fn nosymfollow(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    fs::write(t.folder.join("source/file"), "x")?;
    symlink("file", t.folder.join("source/link"))?;
    let mut bundle = t.bundle()?;
    bundle.mount("/bound", "bind", &source, &["bind", "nosymfollow"]);
    bundle.mount("/taken-back", "bind", &source, &["bind", "nosymfollow", "symfollow"]);
    let bundle = bundle.probe(&["open-write", "/bound/link"]);
    check_eq!(t.run(&bundle)?.code, libc::ELOOP, "opening through a link");
    let bundle = bundle.probe(&["open-write", "/bound/file"]);
    check_eq!(t.run(&bundle)?.code, 0, "opening the file");
    let bundle = bundle.probe(&["open-write", "/taken-back/link"]);
    check_eq!(t.run(&bundle)?.code, 0, "opening through a link with symfollow");
    Ok(())
}

fn recursive_attributes(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    let mut bundle = t.bundle()?;
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
    let report = t.report_within(TREE, &bundle)?;
    for (option, attribute, set) in table {
        for at in [format!("/{option}"), format!("/{option}/sub")] {
            let found = report.options(&at);
            check_eq!(found.contains(&attribute), set, "{attribute} of {at} ({found:?})");
        }
    }
    check!(report.mounted_with("/ro", "ro") && !report.options("/ro/sub").contains(&"ro"), "ro is not recursive");
    for at in ["/both", "/both/sub"] {
        let found = report.options(at);
        check!(found.contains(&"rw") && !found.iter().any(|o| o.contains("atime")), "{at}: {found:?}");
    }
    Ok(())
}

fn propagation_modes(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    let mut bundle = t.bundle()?;
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
    let report = t.report_within(tree, &bundle)?;
    for (at, _, top, sub) in table {
        for (at, wanted) in [(at.to_owned(), top), (format!("{at}/sub"), sub)] {
            let found = report.mount(&at)["optional"].to_string();
            let right = if wanted.is_empty() { found == "[]" } else { found.contains(wanted) };
            check!(right, "{at}: {found}, wanted {wanted:?}");
        }
    }
    Ok(())
}

fn superblock_flags(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.mount("/sync", "tmpfs", "x", &["sync", "dirsync"]);
    bundle.mount("/async", "tmpfs", "x", &["sync", "async"]);
    bundle.mount(
        "/quiet",
        "tmpfs",
        "x",
        &["silent", "loud", "iversion", "noiversion", "defaults", "nomand", "nolazytime"],
    );
    bundle.mount("/lazy", "tmpfs", "x", &["lazytime"]);
    let report = t.report(&bundle)?;
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

fn unknown(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.mount("/odd-place", "tmpfs", "x", &["nosiud"]);
    t.run_refused(&bundle, "odd-place")?;
    if t.runtime.name == "runtime" {
        let said = t.run_refused(&bundle, "nosiud")?;
        check!(said.contains("/mounts/7") && said.contains("did you mean"), "neither place nor suggestion: {said}");
    }
    Ok(())
}

/// In a user namespace the flags of a mount that came from outside are locked: they stay, or it is an error.
fn locked_flags(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    let nested = "mount -t tmpfs -o nosuid,nodev,noexec,noatime x source; unshare -U -r -m \"$@\"";
    let mut bundle = t.bundle()?;
    bundle.remove("/linux/resources");
    bundle.remove("/process/rlimits");
    // Group 5 is not mapped there.
    bundle.set("/mounts/2/options", json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]));
    bundle.mount("/ro", "bind", &source, &["rbind", "ro"]);
    bundle.mount("/plain", "bind", &source, &["rbind"]);
    bundle.mount("/plain", "bind", "", &["bind", "remount", "ro"]);
    let report = t.report_within(nested, &bundle)?;
    for at in ["/ro", "/plain"] {
        for option in ["ro", "nosuid", "nodev", "noexec"] {
            check!(report.mounted_with(at, option), "{at} lacks {option}: {}", report.mount(at));
        }
    }
    for option in ["suid", "dev", "exec", "strictatime", "rsuid"] {
        bundle.drop_mount("/ro");
        bundle.mount("/ro", "bind", &source, &["rbind", option]);
        let output = t.run_within(nested, &bundle)?;
        check!(output.code != 0 && output.stdout.is_empty(), "{option} was ignored: {}", output.stdout);
        check!(output.stderr.to_lowercase().contains("not permitted"), "{option}: {}", output.stderr);
    }
    Ok(())
}

/// The parent clones the source where nothing is locked; what would be locked in the user namespace stays all the same.
fn locked_flags_of_what_the_parent_cloned(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    let flagged = "mount -t tmpfs x source; mount -o remount,bind,ro,nosuid,noexec,nosymfollow,noatime source; \"$@\"";
    let mapped = |options: &[&str]| -> Outcome<Bundle> {
        let mut bundle = t.mapped_bundle()?;
        bundle.mount("/bound", "bind", &source, options);
        Ok(bundle)
    };
    let report = t.report_within(flagged, &mapped(&["bind", "nodev"])?)?;
    let found = report.options("/bound");
    for option in ["ro", "nosuid", "noexec", "nodev", "noatime"] {
        check!(found.contains(&option), "{option} is lost: {found:?}");
    }
    for option in ["rw", "suid", "exec", "strictatime", "relatime"] {
        fs::remove_dir_all(t.folder.join("bundle"))?;
        let output = t.run_within(flagged, &mapped(&["bind", option])?)?;
        check!(output.code != 0 && output.stdout.is_empty(), "{option} was granted: {}", output.stdout);
        let said = "error during container init: error mounting";
        check!(!t.runtime.is_ours() || output.stderr.contains(said), "{option}: {}", output.stderr);
        check!(output.stderr.to_lowercase().contains("not permitted"), "{option}: {}", output.stderr);
    }
    Ok(())
}
