//! ids: user, group, supplementary groups, HOME, and who owns the standard streams.

use crate::cases;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

cases!["ids":
    user_and_groups, callers_groups_are_dropped, groups_in_a_user_namespace, minus_one_is_no_id, unmapped_gid,
    unmapped_additional_gid, home_is_looked_up_in_the_container, home_given_stays, home_of_an_unknown_user,
    home_without_passwd, home_with_a_fifo_as_passwd, home_with_a_directory_as_passwd, home_through_a_link,
    home_from_a_hostile_passwd, names_in_passwd_are_no_ids, path_decides_the_lookup, no_path_no_lookup,
    nobody_is_root, streams_belong_to_the_user, streams_owned_by_others_of_a_user_namespace,
];

fn user_and_groups(t: &Test) -> Outcome {
    let user = json!({ "uid": 1000, "gid": 1001, "additionalGids": [1_234_567, 5, 20] });
    let report = t.report(&t.bundle()?.with("/process/user", user))?;
    check_eq!(report.status("Uid"), "1000 1000 1000 1000", "uids");
    check_eq!(report.status("Gid"), "1001 1001 1001 1001", "gids");
    check_eq!(report.status("Groups"), "5 20 1234567", "supplementary groups");
    Ok(())
}

/// D4: an empty list is set as well.
fn callers_groups_are_dropped(t: &Test) -> Outcome {
    let report = t.report_behind(&["setpriv", "--groups", "10,20"], &t.bundle()?)?;
    check_eq!(report.status("Groups"), "", "supplementary groups");
    Ok(())
}

fn groups_in_a_user_namespace(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?.with("/process/user", json!({ "uid": 5, "gid": 6, "additionalGids": [7] }));
    bundle.map_ids(100_000, 1000);
    let report = t.report(&bundle)?;
    check_eq!(
        (report.status("Uid"), report.status("Gid"), report.status("Groups")),
        ("5 5 5 5", "6 6 6 6", "7"),
        "ids"
    );
    Ok(())
}

/// D1: setresuid(-1) changes nothing.
fn minus_one_is_no_id(t: &Test) -> Outcome {
    for pointer in ["/process/user/uid", "/process/user/gid"] {
        let output = t.run(&t.bundle()?.with(pointer, json!(4_294_967_295_u32)))?;
        check!(output.code != 0, "{pointer} = 4294967295 ran: {}", output.stdout.chars().take(100).collect::<String>());
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}

fn unmapped_gid(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?.with("/process/user/gid", json!(5000));
    bundle.map_ids(100_000, 1000);
    t.run_refused(&bundle, "gid").or_else(|_| t.run_refused(&bundle, "group")).map(drop)
}

fn unmapped_additional_gid(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?.with("/process/user/additionalGids", json!([5000]));
    bundle.map_ids(100_000, 1000);
    t.run_refused(&bundle, "").map(drop)
}

fn home(t: &Test, uid: u32, passwd: Option<&str>) -> Outcome<String> {
    let bundle = t.bundle()?.with("/process/user/uid", json!(uid));
    let file = bundle.rootfs().join("etc/passwd");
    if let Some(text) = passwd {
        fs::write(&file, text)?;
    }
    let report = t.report(&bundle)?;
    fs::remove_dir_all(&bundle.path)?;
    check_eq!(report.env("HOME").1, 1, "number of HOME variables");
    Ok(report.env("HOME").0.unwrap_or("").to_owned())
}

fn home_is_looked_up_in_the_container(t: &Test) -> Outcome {
    check_eq!(home(t, 1000, None)?, "/home/user", "HOME");
    check_eq!(home(t, 7, Some("a:x:6:6::/six:/\nb:x:7:7::/seven:/bin/sh"))?, "/seven", "HOME of a last line");
    check_eq!(home(t, 7, Some("\n\n#x\nb:x:7:7\nc:x:7:7:gecos:/second::::\n"))?, "/second", "HOME of an odd line");
    Ok(())
}

fn home_given_stays(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.set("/process/env/-", json!("HOME=/given"));
    check_eq!(t.report(&bundle)?.env("HOME"), (Some("/given"), 1), "HOME");
    Ok(())
}

fn home_of_an_unknown_user(t: &Test) -> Outcome {
    check_eq!(home(t, 4242, None)?, "/", "HOME");
    Ok(())
}

fn home_without_passwd(t: &Test) -> Outcome {
    let bundle = t.bundle()?;
    fs::remove_file(bundle.rootfs().join("etc/passwd"))?;
    check_eq!(t.report(&bundle)?.env("HOME"), (Some("/"), 1), "HOME");
    Ok(())
}

/// D5: it must not wait for a writer. That there is a home at all is not promised then, only that nothing hangs.
fn home_with_a_fifo_as_passwd(t: &Test) -> Outcome {
    let bundle = t.bundle()?;
    let file = bundle.rootfs().join("etc/passwd");
    fs::remove_file(&file)?;
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::from_bits_truncate(0o644))?;
    check!(t.run(&bundle)?.code <= 1, "exit status");
    Ok(())
}

fn home_with_a_directory_as_passwd(t: &Test) -> Outcome {
    let bundle = t.bundle()?;
    let file = bundle.rootfs().join("etc/passwd");
    fs::remove_file(&file)?;
    fs::create_dir(&file)?;
    check!(t.run(&bundle)?.code <= 1, "exit status");
    Ok(())
}

/// Absolute, so it must be followed from the container's root.
fn home_through_a_link(t: &Test) -> Outcome {
    let bundle = t.bundle()?;
    let etc = bundle.rootfs().join("etc");
    fs::rename(etc.join("passwd"), etc.join("real"))?;
    symlink("/etc/real", etc.join("passwd"))?;
    check_eq!(t.report(&bundle)?.env("HOME"), (Some("/root"), 1), "HOME");
    Ok(())
}

fn home_from_a_hostile_passwd(t: &Test) -> Outcome {
    let long = format!("root:x:0:0::/{}:/bin/sh\n", "x".repeat(100_000));
    for text in [long.as_str(), "root:x:0:0::/a\0b:/bin/sh\n", "root:x:00000000000000000000:0::/zero:/\n", ":::::\n"] {
        let output = {
            let bundle = t.bundle()?;
            fs::write(bundle.rootfs().join("etc/passwd"), text)?;
            let output = t.run(&bundle)?;
            fs::remove_dir_all(&bundle.path)?;
            output
        };
        check!(output.code <= 1, "exit {} with {:?}…", output.code, text.chars().take(30).collect::<String>());
    }
    Ok(())
}

/// CVE-2016-3697: a numeric name is a name.
fn names_in_passwd_are_no_ids(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/process/user/uid", json!(1000));
    fs::write(bundle.rootfs().join("etc/passwd"), "1000:x:0:0::/evil:/\nuser:x:1000:1000::/good:/\n")?;
    let report = t.report(&bundle)?;
    check_eq!(report.status("Uid"), "1000 1000 1000 1000", "uids");
    check_eq!(report.env("HOME").0, Some("/good"), "HOME");
    Ok(())
}

fn path_decides_the_lookup(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/process/args", json!(["tool", "exit", "7"]));
    for folder in ["first", "second"] {
        fs::create_dir(bundle.rootfs().join(folder))?;
    }
    // The first one found is no program.
    fs::write(bundle.rootfs().join("first/tool"), "text")?;
    fs::copy(bundle.rootfs().join("probe"), bundle.rootfs().join("second/tool"))?;
    let marker = format!("{}={}", crate::leak::MARKER, t.id);
    let output = t.run(&bundle.with("/process/env", json!(["PATH=/missing:/first:/second", marker])))?;
    check_eq!(output.code, 7, "exit status: {}", output.stderr);
    Ok(())
}

fn no_path_no_lookup(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/process/args", json!(["probe", "exit", "7"]));
    let marker = format!("{}={}", crate::leak::MARKER, t.id);
    t.run_refused(
        &bundle.with("/process/env", json!([marker])),
        r#"exec: \"probe\": executable file not found in $PATH"#,
    )
    .map(drop)
}

fn streams_belong_to_the_user(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/process/user", json!({ "uid": 1000, "gid": 1001 }));
    bundle.save()?;
    let log = t.folder.join("log");
    let redirect = format!("exec \"$@\" >{0}", log.display());
    t.finish(t.command(
        &["sh", "-c", &redirect, "sh"],
        &["run", "--detach", "--bundle", &bundle.path.to_string_lossy(), &t.id],
    ))?;
    t.wait_status("stopped")?;
    t.delete()?;
    let about = fs::metadata(&log)?;
    check_eq!((about.uid(), about.gid()), (1000, 0), "owner of the output: the user, and the group it had");
    Ok(())
}

fn streams_owned_by_others_of_a_user_namespace(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?.with("/process/user", json!({ "uid": 5, "gid": 5 }));
    bundle.map_ids(100_000, 1000);
    check_eq!(t.run(&bundle)?.code, 0, "exit status");
    Ok(())
}

/// A user namespace need not have an id 0: the set-up runs as one that is there.
fn nobody_is_root(t: &Test) -> Outcome {
    if !t.runtime.is_ours() {
        return skip("came after runc 1.5");
    }
    let map = json!([{ "containerID": 1000, "hostID": 100_000, "size": 1 }]);
    let mut bundle = t.bundle()?.with("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    bundle.map_ids(100_000, 1);
    bundle.set("/linux/uidMappings", map.clone());
    bundle.set("/linux/gidMappings", map);
    bundle.set("/mounts/2/options", json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]));
    bundle.remove("/linux/resources");
    std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000))?;
    t.sleeper(bundle)?;
    let report = t.ok(&["exec", &t.id, "/probe", "report"]);
    t.delete()?;
    let report = crate::report::Report::parse(&report?.stdout)?;
    check_eq!(report.status("Uid"), "1000 1000 1000 1000", "uids of an exec");
    check_eq!(report.status("Gid"), "1000 1000 1000 1000", "gids of an exec");
    Ok(())
}
