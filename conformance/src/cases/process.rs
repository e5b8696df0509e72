//! process: arguments, environment, working directory, umask, descriptors, signals, noNewPrivileges, the session and
//! its keyring.

use crate::cases;
use crate::machine::own_nice;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::json;

cases!["process":
    exit_code_is_the_programs, killed_by_signal_is_128_plus_n, arguments_arrive_unchanged,
    env_gets_home_and_keeps_order, env_home_empty_counts_as_unset, cwd_is_used, cwd_is_made,
    cwd_is_made_in_a_read_only_root, umask_default_is_0022, umask_is_applied, only_stdio_is_open,
    signal_masks_are_clean, hostile_signal_masks_are_reset, is_a_session_leader_and_pid_1,
    looked_up_in_the_containers_path, nothing_odd_is_left, no_new_privileges, session_keyring_is_the_containers, arguments_the_kernel_does_not_take, directory_is_no_descriptor, directory_of_an_exec_is_no_descriptor,
];

fn exit_code_is_the_programs(t: &Test) -> Outcome {
    let output = t.run(&t.bundle()?.probe(&["exit", "43"]))?;
    check_eq!(output.code, 43, "exit status of run");
    check!(output.stderr.is_empty(), "nothing went wrong, yet stderr has {}", output.stderr);
    Ok(())
}

fn killed_by_signal_is_128_plus_n(t: &Test) -> Outcome {
    // In the host's pid namespace: as pid 1 of its own the probe would survive its own signal.
    let mut bundle = t.bundle()?.probe(&["signal-self", "15"]);
    bundle.drop_namespace("pid");
    check_eq!(t.run(&bundle)?.code, 143, "exit status of run");
    Ok(())
}

fn arguments_arrive_unchanged(t: &Test) -> Outcome {
    let args = json!(["/probe", "report", "", " a b ", "ä\n\t\"'\\", "--root", "-"]);
    let report = t.report(&t.bundle()?.with("/process/args", args.clone()))?;
    check_eq!(report.at("/args"), &args, "argv");
    Ok(())
}

fn env_gets_home_and_keeps_order(t: &Test) -> Outcome {
    let bundle = t
        .bundle()?
        .with("/process/env", json!(["B=1", format!("{}={}", crate::leak::MARKER, t.id), "A=2", "C=", "D=x=y"]));
    let report = t.report(&bundle)?;
    check_eq!(report.env("HOME"), (Some("/root"), 1), "HOME from the container's passwd");
    let names: Vec<&str> = report
        .at("/env")
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|v| v.as_str())
        .filter(|e| !e.starts_with("HOME") && !e.starts_with("CONF"))
        .collect();
    check_eq!(names, ["B=1", "A=2", "C=", "D=x=y"], "environment");
    Ok(())
}

fn env_home_empty_counts_as_unset(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?;
    bundle.set("/process/env/-", json!("HOME="));
    let report = t.report(&bundle)?;
    check_eq!(report.env("HOME"), (Some("/root"), 1), "HOME");
    let report = t.report(&bundle.with("/process/user/uid", json!(4711)))?;
    check_eq!(report.env("HOME"), (Some("/"), 1), "HOME of a uid that passwd does not know");
    Ok(())
}

fn cwd_is_used(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?.with("/process/cwd", json!("/tmp")))?;
    check_eq!(report.at("/cwd"), &json!("/tmp"), "cwd");
    Ok(())
}

fn cwd_is_made(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/process/cwd", json!("/new/er/dir")).with("/root/readonly", json!(false));
    let report = t.report_paths(bundle, &["/new/er"])?;
    check_eq!(report.at("/cwd"), &json!("/new/er/dir"), "cwd");
    check_eq!(report.path("/new/er")["mode"], "755", "mode of the made directory");
    Ok(())
}

/// It is made before the root is sealed, and so is one in a tmpfs that is.
fn cwd_is_made_in_a_read_only_root(t: &Test) -> Outcome {
    for cwd in ["/new/dir", "/sealed/dir"] {
        let mut bundle = t.bundle()?.with("/process/cwd", json!(cwd)).with("/root/readonly", json!(true));
        bundle.mount("/sealed", "tmpfs", "tmpfs", &["ro", "mode=755"]);
        check_eq!(t.report(&bundle)?.at("/cwd"), &json!(cwd), "cwd");
    }
    Ok(())
}

fn umask_default_is_0022(t: &Test) -> Outcome {
    check_eq!(t.report(&t.bundle()?)?.status("Umask"), "0022", "umask");
    Ok(())
}

fn umask_is_applied(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?.with("/process/user/umask", json!(0o027)))?;
    check_eq!(report.status("Umask"), "0027", "umask");
    Ok(())
}

fn only_stdio_is_open(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?)?;
    check_eq!(report.descriptors(), [0, 1, 2], "open descriptors {}", report.at("/fds"));
    Ok(())
}

/// glibc's posix_spawn, which starts the runtime, ignores its two internal signals (32 and 33) in the child.
const SPAWNED: u64 = 0x1_8000_0000;

fn signal_masks_are_clean(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?)?;
    for mask in ["SigBlk", "SigIgn", "SigPnd", "SigCgt"] {
        let bits = u64::from_str_radix(report.status(mask), 16).unwrap_or(u64::MAX) & !SPAWNED;
        check_eq!(bits, 0, "{mask} {:#x}", bits);
    }
    Ok(())
}

/// ROB-62: what the caller ignores or blocks is not the container's business.
fn hostile_signal_masks_are_reset(t: &Test) -> Outcome {
    let before = ["env", "--ignore-signal=TERM,PIPE,CHLD", "--block-signal=USR1"];
    let report = t.report_behind(&before, &t.bundle()?)?;
    for mask in ["SigBlk", "SigIgn"] {
        let bits = u64::from_str_radix(report.status(mask), 16).unwrap_or(u64::MAX) & !SPAWNED;
        check_eq!(bits, 0, "{mask} {:#x}", bits);
    }
    Ok(())
}

fn is_a_session_leader_and_pid_1(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?)?;
    check_eq!(report.at("/ids/pid"), &json!(1), "pid");
    check_eq!(report.at("/ids/sid"), &json!(1), "session");
    check_eq!(report.at("/ids/pgid"), &json!(1), "process group");
    check_eq!(report.at("/ids/ppid"), &json!(0), "parent");
    Ok(())
}

fn looked_up_in_the_containers_path(t: &Test) -> Outcome {
    let bundle = t.bundle()?;
    std::fs::rename(bundle.rootfs().join("probe"), bundle.rootfs().join("bin/inner-probe"))?;
    let report = t.report(&bundle.with("/process/args", json!(["inner-probe", "report"])))?;
    check_eq!(report.at("/args/0"), &json!("inner-probe"), "argv[0]");
    Ok(())
}

/// One of 200,000 bytes; the kernel takes 131,072. It has nothing to do with memory.
fn arguments_the_kernel_does_not_take(t: &Test) -> Outcome {
    let output = t.run(&t.bundle()?.probe(&["exit", "0", &"x".repeat(200_000)]))?;
    check!(output.code != 0, "exit status 0");
    check!(output.stderr.to_lowercase().contains("argument list too long"), "{}", output.stderr);
    check!(!output.stderr.contains("memory"), "{}", output.stderr);
    Ok(())
}

/// The runtime's own descriptors lead to what is covered: /proc/sys below its read-only mount, which is the host's to set, and
/// what masks hide. A working directory is the word of whoever made the image.
fn directory_is_no_descriptor(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?.with("/root/readonly", json!(false)).probe(&["exit", "0"]);
    // Read-only as well, so that the directory would be made before, by other means.
    bundle.drop_mount("/sys/fs/cgroup");
    std::os::unix::fs::symlink("/proc/self/fd", bundle.rootfs().join("fd"))?;
    for place in ["/proc/self/fd", "/fd"] {
        for number in 3..64 {
            bundle.set("/process/cwd", json!(format!("{place}/{number}")));
            check!(t.run(&bundle)?.code != 0, "{place}/{number} is a working directory");
        }
    }
    Ok(())
}

fn directory_of_an_exec_is_no_descriptor(t: &Test) -> Outcome {
    t.needs("exec")?;
    t.sleeper(t.bundle()?)?;
    let mut entered = Vec::new();
    for number in 3..40 {
        let cwd = format!("/proc/self/fd/{number}");
        let output = t.rt(&["exec", "--cwd", &cwd, &t.id, "/probe", "exit", "0"])?;
        entered.extend((output.code == 0).then_some(number));
    }
    t.delete()?;
    check_eq!(entered, Vec::<i32>::new(), "descriptors that are a working directory");
    Ok(())
}

fn nothing_odd_is_left(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?)?;
    check_eq!(report.at("/keepcaps"), &json!(0), "PR_SET_KEEPCAPS");
    check_eq!(report.at("/securebits"), &json!(0), "securebits");
    check_eq!(report.at("/dumpable"), &json!(1), "dumpable");
    check_eq!(report.status("Seccomp"), "0", "seccomp mode");
    check_eq!(report.status("TracerPid"), "0", "tracer");
    check_eq!(report.at("/scheduling/nice"), &json!(own_nice()?), "nice value");
    Ok(())
}

fn no_new_privileges(t: &Test) -> Outcome {
    for (wanted, shown) in [(json!(true), "1"), (json!(false), "0")] {
        let report = t.report(&t.bundle()?.with("/process/noNewPrivileges", wanted))?;
        check_eq!(report.status("NoNewPrivs"), shown, "NoNewPrivs");
    }
    let mut bundle = t.bundle()?;
    bundle.remove("/process/noNewPrivileges");
    check_eq!(t.report(&bundle)?.status("NoNewPrivs"), "0", "without");
    Ok(())
}

fn session_keyring_is_the_containers(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?)?;
    let described = report.at("/keyring").as_str().unwrap_or_default().to_owned();
    check!(described.ends_with(&format!(";_ses.{}", t.id)), "session keyring: {described}");
    check!(described.contains(";3f1b0000;"), "its permissions: {described}");
    let bundle = t.bundle()?;
    let output = t.ok(&["run", "--no-new-keyring", "--bundle", &bundle.saved()?, &t.id])?;
    let report = crate::report::Report::parse(&output.stdout)?;
    check!(!report.at("/keyring").to_string().contains(&t.id), "kept keyring: {}", report.at("/keyring"));
    Ok(())
}
