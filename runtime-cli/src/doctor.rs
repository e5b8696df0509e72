//! `doctor`: what this host can do, and what to do about the rest.

use std::fs;
use std::path::Path;

use runtime_core::cgroup::Mode;
use runtime_core::host::HostFacts;

use crate::print;

/// What a check came to.
enum Verdict {
    /// As it should be, with what was found.
    Good(String),
    /// Containers run, some things do not: what, and what to do.
    Limited(String, &'static str),
    /// No container can run: why, and what to do.
    Bad(String, &'static str),
}

use Verdict::{Bad, Good, Limited};

/// Prints every check; the exit status says whether a container can run at all.
pub fn doctor() -> Result<i32, String> {
    let facts = HostFacts::probe(true).map_err(|error| error.to_string())?;
    let checks: [(&str, Verdict); 9] = [
        ("kernel", kernel()),
        ("caller", caller(&facts)),
        ("cgroups", cgroups(&facts)),
        ("sealed stage", memfd()),
        ("user namespaces", user_namespaces()),
        ("id maps", id_maps(&facts)),
        ("seccomp", seccomp()),
        ("security modules", modules()),
        ("keyrings", keyrings(&facts)),
    ];
    let mut text = String::new();
    let mut status = 0;
    for (name, verdict) in checks {
        let (mark, found, remedy) = match verdict {
            Good(found) => ("ok", found, ""),
            Limited(found, remedy) => ("limited", found, remedy),
            Bad(found, remedy) => {
                status = 1;
                ("FAILED", found, remedy)
            }
        };
        text.push_str(&format!("{mark:<8} {name:<17} {found}\n"));
        if !remedy.is_empty() {
            text.push_str(&format!("{:<26} -> {remedy}\n", ""));
        }
    }
    print::result(&text)?;
    Ok(status)
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn number(path: &str) -> Option<i64> {
    read(path)?.parse().ok()
}

/// Linux 5.7 has CLONE_INTO_CGROUP, 5.8 setns(2) by pidfd, 5.9 close_range(2), 5.12 mount_setattr(2), 5.14 cgroup.kill.
fn kernel() -> Verdict {
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut parts = release.split(|letter: char| !letter.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    match version {
        (0..=4, _) | (5, 0..=8) => Bad(format!("Linux {release}"), "Linux 5.9 or newer is needed"),
        (5, 9..=11) => Limited(format!("Linux {release}"), "recursive mount options need Linux 5.12"),
        (5, 12..=13) => Limited(format!("Linux {release}"), "killing a whole cgroup at once needs Linux 5.14"),
        _ => Good(format!("Linux {release}")),
    }
}

fn caller(facts: &HostFacts) -> Verdict {
    let uid = facts.euid;
    match (facts.privileged(), facts.user_namespace) {
        (true, false) => Good(format!("user {uid}, with the rights of the host's root")),
        (true, true) => Limited(
            format!("user {uid}, root of a user namespace"),
            "devices are bound from the host, and limits need a delegated cgroup",
        ),
        (false, _) => Limited(
            format!("user {uid}, without rights"),
            "containers need a user namespace in their config: runtime spec --rootless",
        ),
    }
}

fn cgroups(facts: &HostFacts) -> Verdict {
    let layout = &facts.cgroup;
    match layout.mode {
        Mode::None => {
            Limited("none mounted".into(), "mount -t cgroup2 cgroup2 /sys/fs/cgroup; without, there are no limits")
        }
        Mode::V2 => {
            let controllers = read("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
            let missing: Vec<&str> =
                ["cpu", "io", "memory", "pids"].into_iter().filter(|name| !controllers.contains(name)).collect();
            match missing.is_empty() {
                true => Good(format!("version 2: {controllers}")),
                false => Limited(
                    format!("version 2, without {}", missing.join(", ")),
                    "limits of these controllers will be refused; see cgroup_disable= of the kernel, and delegation",
                ),
            }
        }
        mode => {
            let names: Vec<&str> = layout.hierarchies.iter().map(|hierarchy| hierarchy.name.as_str()).collect();
            let mode = if mode == Mode::V1 { "version 1" } else { "versions 1 and 2" };
            Good(format!("{mode}: {}", names.join(", ")))
        }
    }
}

fn memfd() -> Verdict {
    match number("/proc/sys/vm/memfd_noexec") {
        Some(2..) => Limited(
            "vm.memfd_noexec is 2: anonymous files cannot be executed".into(),
            "launches fork the runtime itself, which is slower; sysctl vm.memfd_noexec=1",
        ),
        _ => Good("anonymous files can be executed".into()),
    }
}

fn user_namespaces() -> Verdict {
    if !Path::new("/proc/self/ns/user").exists() {
        return Limited("not in this kernel".into(), "needs CONFIG_USER_NS");
    }
    let off = |path: &str| number(path) == Some(0);
    if off("/proc/sys/user/max_user_namespaces") {
        return Limited("none allowed".into(), "sysctl user.max_user_namespaces=15000");
    }
    if off("/proc/sys/kernel/unprivileged_userns_clone") {
        return Limited("only for root".into(), "sysctl kernel.unprivileged_userns_clone=1");
    }
    if number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == Some(1) {
        let remedy = "an AppArmor profile with the rule userns for this program";
        return Limited("only for root, or by an AppArmor profile".into(), remedy);
    }
    Good(format!("at most {}", number("/proc/sys/user/max_user_namespaces").unwrap_or(0)))
}

fn id_maps(facts: &HostFacts) -> Verdict {
    if facts.maps_ids() {
        return Good("the caller may map any ids".into());
    }
    let places = ["/usr/bin", "/bin", "/usr/local/bin"];
    let there = |name: &str| places.iter().any(|place| Path::new(place).join(name).exists());
    match there("newuidmap") && there("newgidmap") {
        true => Good("by newuidmap and newgidmap".into()),
        false => Limited("only the caller's own id".into(), "install newuidmap and newgidmap (package uidmap)"),
    }
}

fn seccomp() -> Verdict {
    match read("/proc/sys/kernel/seccomp/actions_avail") {
        Some(actions) => Good(actions),
        None => Limited("not in this kernel".into(), "needs CONFIG_SECCOMP_FILTER; configs with a filter are refused"),
    }
}

fn modules() -> Verdict {
    Good(match read("/sys/kernel/security/lsm") {
        Some(list) => list,
        None => "not known: securityfs is not mounted".into(),
    })
}

fn keyrings(facts: &HostFacts) -> Verdict {
    let (Some(most), Some(root)) =
        (number("/proc/sys/kernel/keys/maxkeys"), number("/proc/sys/kernel/keys/root_maxkeys"))
    else {
        return Good("not in this kernel: nothing to share".into());
    };
    if facts.euid != 0 && most < 1000 {
        let remedy = "many containers of one user need more: sysctl kernel.keys.maxkeys=2000, or --no-new-keyring";
        return Limited(format!("{most} for a user, {root} for root"), remedy);
    }
    Good(format!("{most} for a user, {root} for root"))
}
