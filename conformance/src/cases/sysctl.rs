//! linux.sysctl: kernel parameters of the container's namespaces, and of nothing else.

use crate::cases;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::json;
use std::fs;

cases!["sysctl":
    of_new_namespaces, slashes_separate_too, of_a_user_namespace, of_the_host_is_refused,
    without_the_namespace_is_refused, hostname_has_its_own_property, domainname_said_twice, unknown_is_refused,
    bad_values_are_refused, aliases_are_duplicates, in_a_joined_namespace, joining_the_hosts_namespace_is_refused,
    a_fake_proc_in_the_root_changes_nothing,
];

fn content(t: &Test, bundle: crate::bundle::Bundle, name: &str) -> Outcome<String> {
    let path = format!("/proc/sys/{name}");
    let report = t.report_paths(bundle, &[&path])?;
    let words: Vec<&str> = report.path(&path)["read"].as_str().unwrap_or("?").split_whitespace().collect();
    Ok(words.join(" "))
}

fn of_new_namespaces(t: &Test) -> Outcome {
    for (key, file, value) in [
        ("net.ipv4.conf.lo.log_martians", "net/ipv4/conf/lo/log_martians", "1"),
        ("net.core.somaxconn", "net/core/somaxconn", "257"),
        ("kernel.sem", "kernel/sem", "251 32001 33 129"),
        ("kernel.shm_rmid_forced", "kernel/shm_rmid_forced", "1"),
        ("fs.mqueue.msg_max", "fs/mqueue/msg_max", "11"),
        ("kernel.domainname", "kernel/domainname", "example.org"),
    ] {
        let host = fs::read_to_string(format!("/proc/sys/{file}"))?;
        check!(host.trim() != value, "the test itself: {key} of the host is {value} already");
        let bundle = t.bundle()?.with("/linux/sysctl", json!({ key: value }));
        check_eq!(content(t, bundle, file)?, value, "{key} inside");
        check_eq!(fs::read_to_string(format!("/proc/sys/{file}"))?, host, "{key} of the host");
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}

/// Twice the same is no contradiction.
fn domainname_said_twice(t: &Test) -> Outcome {
    let bundle =
        t.bundle()?.with("/domainname", json!("one")).with("/linux/sysctl", json!({ "kernel.domainname": "one" }));
    check_eq!(t.report(&bundle)?.at("/uts/domainname"), &json!("one"), "domain name");
    fs::remove_dir_all(&bundle.path)?;
    let bundle =
        t.bundle()?.with("/domainname", json!("two")).with("/linux/sysctl", json!({ "kernel.domainname": "one" }));
    t.run_refused(&bundle, "domainname").map(drop)
}

fn slashes_separate_too(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/linux/sysctl", json!({ "net/ipv4/conf/lo/log_martians": "1" }));
    check_eq!(content(t, bundle, "net/ipv4/conf/lo/log_martians")?, "1", "net/ipv4/conf/lo/log_martians");
    Ok(())
}

fn of_a_user_namespace(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?.with("/linux/sysctl", json!({ "user.max_mnt_namespaces": "7" }));
    bundle.map_root()?;
    check_eq!(content(t, bundle, "user/max_mnt_namespaces")?, "7", "user.max_mnt_namespaces");
    Ok(())
}

/// What is there already: a control that does not check must not change the machine.
fn of_the_host(key: &str) -> String {
    let path = format!("/proc/sys/{}", key.replace('.', "/"));
    fs::read_to_string(path).map_or_else(|_| "1".to_owned(), |text| text.trim().to_owned())
}

fn of_the_host_is_refused(t: &Test) -> Outcome {
    for key in ["kernel.core_pattern", "vm.swappiness", "kernel.pid_max", "net..core.somaxconn", "net", ""] {
        let said = t.run_refused(&t.bundle()?.with("/linux/sysctl", json!({ key: of_the_host(key) })), key)?;
        check!(said.contains("sysctl"), "names the property: {said}");
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}

fn without_the_namespace_is_refused(t: &Test) -> Outcome {
    for (kind, key) in [("ipc", "kernel.sem"), ("network", "net.ipv4.ip_forward"), ("uts", "kernel.domainname")] {
        let mut bundle = t.bundle()?.with("/linux/sysctl", json!({ key: of_the_host(key) }));
        bundle.drop_namespace(kind);
        if kind == "uts" {
            bundle.remove("/hostname");
        }
        t.run_refused(&bundle, key)?;
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}

fn hostname_has_its_own_property(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/linux/sysctl", json!({ "kernel.hostname": "x" }));
    t.run_refused(&bundle, "conflicts with the OCI \\\"hostname\\\" field").map(drop)
}

fn unknown_is_refused(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/linux/sysctl", json!({ "net.ipv4.no_such_thing": "1" }));
    t.run_refused(&bundle, "no such file").map(drop)
}

fn bad_values_are_refused(t: &Test) -> Outcome {
    for value in ["x", "1 2", "", "99999999999999999999"] {
        t.run_refused(&t.bundle()?.with("/linux/sysctl", json!({ "net.ipv4.ip_forward": value })), "ip_forward")?;
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}

fn aliases_are_duplicates(t: &Test) -> Outcome {
    let both = json!({ "net.ipv4.ip_forward": "1", "net/ipv4/ip_forward": "0" });
    t.run_refused(&t.bundle()?.with("/linux/sysctl", both), "duplicate").map(drop)
}

fn in_a_joined_namespace(t: &Test) -> Outcome {
    let pid = t.sleeper(t.bundle()?)?;
    let mut bundle = t.bundle_named("two")?.with("/linux/sysctl", json!({ "net.ipv4.conf.lo.log_martians": "1" }));
    bundle.namespace("network", &format!("/proc/{pid}/ns/net"));
    t.report_beside(&bundle)?;
    // Through the first container's own view.
    let seen = std::process::Command::new("nsenter")
        .args([&format!("--net=/proc/{pid}/ns/net"), "cat", "/proc/sys/net/ipv4/conf/lo/log_martians"])
        .output()?;
    check_eq!(String::from_utf8_lossy(&seen.stdout).trim(), "1", "log_martians of the shared namespace");
    t.delete().map(drop)
}

/// "The host's" is a namespace of the test's own: a runtime that does not check would change the machine.
fn joining_the_hosts_namespace_is_refused(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?.with("/linux/sysctl", json!({ "net.ipv4.conf.lo.log_martians": "1" }));
    bundle.namespace("network", "/proc/self/ns/net");
    let output = t.run_behind(&["unshare", "--net"], &bundle)?;
    check_eq!(output.code, 1, "exit status: {}", output.stderr);
    check!(output.stderr.contains("not allowed in host network namespace"), "says why: {}", output.stderr);
    Ok(())
}

/// CVE-2025-52881 and its kin: the write goes to the kernel, whatever stands at /proc in the container.
fn a_fake_proc_in_the_root_changes_nothing(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?.with("/linux/sysctl", json!({ "net.ipv4.conf.lo.log_martians": "1" }));
    bundle.drop_mount("/proc");
    bundle.set("/linux/maskedPaths", json!([]));
    bundle.set("/linux/readonlyPaths", json!([]));
    let fake = bundle.rootfs().join("proc/sys/net/ipv4/conf/lo");
    fs::create_dir_all(&fake)?;
    fs::write(fake.join("log_martians"), "fake\n")?;
    let pid = t.sleeper(bundle)?;
    check_eq!(fs::read_to_string(fake.join("log_martians"))?, "fake\n", "the file in the root");
    let seen = std::process::Command::new("nsenter")
        .args([&format!("--net=/proc/{pid}/ns/net"), "cat", "/proc/sys/net/ipv4/conf/lo/log_martians"])
        .output()?;
    check_eq!(String::from_utf8_lossy(&seen.stdout).trim(), "1", "log_martians of the container's namespace");
    t.delete().map(drop)
}
