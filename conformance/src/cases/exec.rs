//! exec: another program in a container that is there (contract 2.3).

use crate::cases;
use crate::console::{Console, read_all};
use crate::report::Report;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::json;
use std::fs;
use std::time::Duration;

cases!["exec":
    joins_every_namespace, into_a_user_namespace, into_created, paused_is_refused, ignore_paused_waits,
    process_file_is_all, process_settings_come_from_the_config, capability_without_a_set, groups_and_user,
    sub_cgroup, sub_cgroup_missing_or_twice, terminal_of_the_container, terminal_without_socket_is_refused,
    pidfd_socket, messages_of_failures, streams_unharmed, preserved_descriptors, umask_of_the_container,
    shows_nothing_of_the_runtime, many_at_once,
];

pub(super) fn probe(t: &Test, flags: &[&str]) -> Outcome<Report> {
    let words: Vec<&str> = ["exec"].iter().chain(flags).chain(&[t.id.as_str(), "/probe", "report"]).copied().collect();
    Ok(Report::parse(&t.ok(&words)?.stdout)?)
}

fn joins_every_namespace(t: &Test) -> Outcome {
    t.needs("exec")?;
    let pid = t.sleeper(t.bundle()?)?;
    let report = probe(t, &[]);
    let links: Vec<_> = ["mnt", "pid", "net", "ipc", "uts", "cgroup", "user"]
        .iter()
        .map(|kind| (*kind, fs::read_link(format!("/proc/{pid}/ns/{kind}")).map(|link| link.display().to_string())))
        .collect();
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    t.delete()?;
    let report = report?;
    for (kind, link) in links {
        check_eq!(report.at(&format!("/namespaces/{kind}")), &json!(link?), "{kind} namespace");
    }
    check!(cgroup.contains(&t.id), "the container itself is not in its cgroup: {cgroup}");
    check_eq!(report.descriptors(), [0, 1, 2], "descriptors");
    check_eq!(report.status("CapEff"), "0000000020000420", "capabilities of the config");
    Ok(())
}

fn into_a_user_namespace(t: &Test) -> Outcome {
    t.needs("exec")?;
    let mut bundle = t.bundle()?;
    bundle.map_ids(100_000, 65_536);
    t.sleeper(bundle)?;
    let root = probe(t, &[]);
    let user = probe(t, &["--user", "1000:1000"]);
    t.delete()?;
    let (root, user) = (root?, user?);
    check_eq!(root.status("Uid"), "0 0 0 0", "uid of root");
    check_eq!(root.status("CapEff"), "0000000020000420", "capabilities of root");
    check_eq!(user.status("Uid"), "1000 1000 1000 1000", "uid");
    check_eq!(user.status("CapEff"), "0000000000000000", "capabilities of the user");
    Ok(())
}

fn into_created(t: &Test) -> Outcome {
    t.needs("exec")?;
    t.create_ok(&t.bundle()?.probe(&["sleep", "600"]))?;
    let report = probe(t, &[]);
    let state = t.state()?;
    t.delete()?;
    check_eq!(report?.at("/cwd"), &json!("/"), "cwd");
    check_eq!(state["status"], "created", "status afterwards");
    Ok(())
}

fn paused_is_refused(t: &Test) -> Outcome {
    t.needs("exec")?;
    t.sleeper(t.bundle()?)?;
    t.ok(&["pause", &t.id])?;
    let output = t.rt(&["exec", &t.id, "/probe", "exit", "0"])?;
    t.ok(&["resume", &t.id])?;
    t.delete()?;
    check_eq!(output.code, 255, "exit status");
    check!(output.stderr.contains("cannot exec in a paused container"), "{}", output.stderr);
    Ok(())
}

fn ignore_paused_waits(t: &Test) -> Outcome {
    t.needs("exec")?;
    t.sleeper(t.bundle()?)?;
    t.ok(&["pause", &t.id])?;
    let running = t.spawn(t.command(&[], &["exec", "--ignore-paused", &t.id, "/probe", "exit", "3"]), None)?;
    std::thread::sleep(Duration::from_millis(300));
    t.ok(&["resume", &t.id])?;
    let output = t.wait(running)?;
    t.delete()?;
    check_eq!(output.code, 3, "exit status: {}", output.stderr);
    check!(output.took >= Duration::from_millis(250), "it did not wait: {:?}", output.took);
    Ok(())
}

fn process_file_is_all(t: &Test) -> Outcome {
    t.needs("exec")?;
    t.sleeper(t.bundle()?)?;
    let file = t.folder.join("process.json");
    let process =
        json!({ "args": ["/probe", "report"], "cwd": "/tmp", "env": ["A=1", "A=2"], "user": { "uid": 5, "gid": 6 } });
    fs::write(&file, process.to_string())?;
    let output = t.rt(&["exec", "--env", "B=3", "--user", "9", "--process", &file.to_string_lossy(), &t.id])?;
    t.delete()?;
    check_eq!(output.code, 0, "exit status: {}", output.stderr);
    let report = Report::parse(&output.stdout)?;
    check_eq!(report.at("/env"), &json!(["A=2", "HOME=/"]), "environment");
    check_eq!(report.at("/cwd"), &json!("/tmp"), "cwd");
    check_eq!(report.status("Uid"), "5 5 5 5", "uids");
    check_eq!(report.status("CapBnd"), "0000000020000420", "bounding set, from the container");
    check_eq!(report.status("NoNewPrivs"), "0", "no new privileges, as in the file");
    Ok(())
}

fn process_settings_come_from_the_config(t: &Test) -> Outcome {
    t.needs("exec")?;
    let bundle = t.bundle()?.with("/process/env/-", json!("FROM=config")).with("/process/cwd", json!("/tmp"));
    t.sleeper(bundle)?;
    let report = probe(t, &["--env", "TERM=dumb"]);
    t.delete()?;
    let report = report?;
    check_eq!(report.env("FROM"), (Some("config"), 1), "FROM");
    check_eq!(report.env("TERM"), (Some("dumb"), 1), "TERM");
    check_eq!(report.at("/cwd"), &json!("/tmp"), "cwd");
    check_eq!(report.at("/limits/Max open files/0"), &json!("1024"), "limit of open files");
    Ok(())
}

/// runc 1.5 crashes here: its config has no set to add to.
fn capability_without_a_set(t: &Test) -> Outcome {
    t.needs("exec")?;
    let mut bundle = t.bundle()?;
    bundle.remove("/process/capabilities");
    t.sleeper(bundle)?;
    let report = probe(t, &["--cap", "CAP_KILL"]);
    t.delete()?;
    check_eq!(report?.caps("Eff"), 1 << 5, "effective set");
    Ok(())
}

fn groups_and_user(t: &Test) -> Outcome {
    t.needs("exec")?;
    let bundle = t.bundle()?.with("/process/user", json!({ "uid": 1, "gid": 77, "additionalGids": [3] }));
    t.sleeper(bundle)?;
    let report = probe(t, &["--user", "1000", "--additional-gids", "10", "-g", "11"]);
    let wrong = t.rt(&["exec", "--user", "root", &t.id, "/probe"])?;
    t.delete()?;
    let report = report?;
    check_eq!(report.status("Uid"), "1000 1000 1000 1000", "uids");
    check_eq!(report.status("Gid"), "77 77 77 77", "gids");
    check_eq!(report.status("Groups"), "3 10 11", "groups");
    check_eq!(report.env("HOME"), (Some("/home/user"), 1), "HOME");
    check_eq!(wrong.code, 255, "a name for a user");
    Ok(())
}

fn sub_cgroup(t: &Test) -> Outcome {
    t.needs("exec")?;
    t.cgroups()?;
    t.sleeper(t.bundle()?)?;
    let folder = t.cgroup("pids").join("sub");
    fs::create_dir(&folder)?;
    let named = if crate::runtime::unified() { "sub" } else { "pids:sub" };
    let file = t.folder.join("pid");
    let words =
        ["exec", "--cgroup", named, "--detach", "--pid-file", &file.to_string_lossy(), &t.id, "/probe", "sleep", "600"];
    let output = t.rt(&words)?;
    let pid = fs::read_to_string(&file).unwrap_or_default();
    let members = fs::read_to_string(folder.join("cgroup.procs"))?;
    let json = t.ok(&["ps", "--format", "json", &t.id])?.stdout;
    t.delete()?;
    check_eq!(output.code, 0, "exit status: {}", output.stderr);
    check_eq!(members.trim(), pid, "members of the sub-cgroup");
    let pids: Vec<i32> = serde_json::from_str(&json)?;
    check!(pids.iter().any(|one| one.to_string() == pid), "ps does not list sub-cgroups: {json}");
    Ok(())
}

fn sub_cgroup_missing_or_twice(t: &Test) -> Outcome {
    t.needs("exec")?;
    t.cgroups()?;
    t.sleeper(t.bundle()?)?;
    // Version 2 has one tree for all controllers, and its path no controller in front.
    let v1 = t.cgroups_v2().is_err();
    let nowhere = if v1 { "pids:nowhere" } else { "nowhere" };
    let missing = t.rt(&["exec", "--cgroup", nowhere, &t.id, "/probe", "exit", "0"])?;
    let twice = t.rt(&["exec", "--cgroup", "pids:a", "--cgroup", "pids:b", &t.id, "/probe", "exit", "0"])?;
    t.delete()?;
    check_eq!(missing.code, 255, "exit status");
    if t.runtime.is_ours() {
        check!(
            missing.stderr.contains(" adding pid ") && missing.stderr.contains("no such file"),
            "{}",
            missing.stderr
        );
    }
    check!(twice.stderr.contains("specified multiple times"), "{}", twice.stderr);
    Ok(())
}

fn terminal_of_the_container(t: &Test) -> Outcome {
    t.needs("exec")?;
    t.sleeper(t.bundle()?)?;
    let path = t.folder.join("console");
    let console = Console::listen(&path)?;
    let words = ["exec", "--detach", "--tty", "--console-socket", &path.to_string_lossy(), &t.id, "/probe", "report"];
    let running = t.spawn(t.command(&[], &words), None)?;
    let (name, mut master) = console.receive()?;
    let text = read_all(&mut master, Duration::from_secs(5));
    let output = t.wait(running)?;
    t.delete()?;
    check_eq!(output.code, 0, "exit status: {}", output.stderr);
    check!(!name.is_empty(), "the message has no name");
    let report = Report::parse(text.trim())?;
    check!(report.at("/fds/0").as_str().is_some_and(|fd| fd.starts_with("/dev/pts/")), "stdin: {}", report.at("/fds"));
    Ok(())
}

fn terminal_without_socket_is_refused(t: &Test) -> Outcome {
    t.needs("exec")?;
    t.sleeper(t.bundle()?)?;
    let none = t.rt(&["exec", "--detach", "--tty", &t.id, "/probe", "exit", "0"])?;
    let useless = t.rt(&["exec", "--detach", "--console-socket", "/nowhere", &t.id, "/probe", "exit", "0"])?;
    t.delete()?;
    check_eq!(none.code, 255, "exit status");
    let text = "cannot allocate tty if runc will detach without setting console socket";
    check!(none.stderr.contains(text), "{}", none.stderr);
    let text = "cannot use console socket if runc will not detach or allocate tty";
    check!(useless.stderr.contains(text), "{}", useless.stderr);
    Ok(())
}

fn pidfd_socket(t: &Test) -> Outcome {
    t.needs("exec")?;
    if !t.ok(&["exec", "--help"])?.stdout.contains("pidfd-socket") {
        return crate::test::skip("has no --pidfd-socket");
    }
    t.sleeper(t.bundle()?)?;
    let path = t.folder.join("pidfd");
    let socket = Console::listen(&path)?;
    let file = t.folder.join("pid");
    let words =
        ["exec", "--detach", "--pidfd-socket", &path.to_string_lossy(), "--pid-file", &file.to_string_lossy(), &t.id];
    let running = t.spawn(t.command(&[], &[&words[..], &["/probe", "sleep", "600"]].concat()), None)?;
    let (name, pidfd) = socket.receive()?;
    t.wait(running)?;
    use std::os::fd::AsRawFd;
    let about = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?;
    let pid = fs::read_to_string(&file)?;
    t.delete()?;
    check_eq!(name, "setns", "payload");
    check!(about.lines().any(|line| line == format!("Pid:\t{pid}")), "the pidfd is of another process: {about}");
    Ok(())
}

fn messages_of_failures(t: &Test) -> Outcome {
    t.needs("exec")?;
    let bundle = t.bundle()?;
    let root = bundle.rootfs();
    fs::write(root.join("plain"), "x")?;
    fs::write(root.join("bin/plain"), "x")?;
    let script = |name: &str, text: &str| -> Outcome {
        use std::os::unix::fs::PermissionsExt;
        fs::write(root.join(name), text)?;
        Ok(fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o755))?)
    };
    script("bad", "#!/no/such/interpreter\n")?;
    script("noexec", "x")?;
    t.sleeper(bundle)?;
    let mut said = Vec::new();
    for (program, text) in [
        ("no-such", "exec: \"no-such\": executable file not found in $PATH"),
        ("/no/such", "exec: \"/no/such\": stat /no/such: no such file or directory"),
        ("/plain", "exec: \"/plain\": permission denied"),
        // Of a name it says that there is no such program: what Docker takes for 127, not 126.
        ("plain", "exec: \"plain\": executable file not found in $PATH"),
        ("/bad", "exec /bad: no such file or directory"),
        ("/noexec", "exec /noexec: exec format error"),
    ] {
        let output = t.rt(&["exec", &t.id, program])?;
        if output.code != 255 || !output.stderr.replace('\\', "").contains(text) {
            said.push(format!("{program}: exit {}, wanted 255 and {text:?}: {}", output.code, output.stderr));
        }
    }
    let cwd = t.rt(&["exec", "--cwd", "/nowhere", &t.id, "/probe", "exit", "0"])?;
    t.delete()?;
    check!(said.is_empty(), "{}", said.join("; "));
    check_eq!(cwd.code, 255, "a working directory that is not there");
    check!(cwd.stderr.contains("no such file or directory"), "{}", cwd.stderr);
    Ok(())
}

/// What a program writes and reads is what the caller reads and writes, to the last byte.
fn streams_unharmed(t: &Test) -> Outcome {
    t.needs("exec")?;
    let bundle = t.bundle()?;
    t.busybox(&bundle, &["sh", "cat", "head"])?;
    t.sleeper(bundle)?;
    const SIZE: usize = 20_000_000;
    let bytes: Vec<u8> = (0..SIZE).map(|at| (at * 7 % 251) as u8).collect();
    let file = t.folder.join("input");
    fs::write(&file, &bytes)?;
    let (input, output) = (fs::File::open(&file)?, t.folder.join("output"));
    let mut command = t.command(&["sh", "-c", "exec \"$@\" | cat >\"$OUT\"", "sh"], &["exec", &t.id, "/bin/cat"]);
    command.env("OUT", &output);
    let running = t.spawn(command, Some(input))?;
    t.wait(running)?;
    t.delete()?;
    check!(fs::read(&output)? == bytes, "the bytes differ");
    Ok(())
}

fn preserved_descriptors(t: &Test) -> Outcome {
    t.needs("exec")?;
    t.sleeper(t.bundle()?)?;
    let before = ["sh", "-c", "exec 3</dev/zero 4</etc/passwd 5</etc; exec \"$@\"", "sh"];
    let output = t.finish(t.command(&before, &["exec", "--preserve-fds", "1", &t.id, "/probe", "report"]))?;
    t.delete()?;
    check_eq!(Report::parse(&output.stdout)?.descriptors(), [0, 1, 2, 3], "descriptors");
    Ok(())
}

fn umask_of_the_container(t: &Test) -> Outcome {
    t.needs("exec")?;
    t.sleeper(t.bundle()?.with("/process/user/umask", json!(0o027)))?;
    let report = probe(t, &[]);
    t.delete()?;
    check_eq!(report?.status("Umask"), "0027", "umask");
    Ok(())
}

/// Nothing of the host is open, in the environment or in the session, and only one process was added.
fn shows_nothing_of_the_runtime(t: &Test) -> Outcome {
    t.needs("exec")?;
    t.sleeper(t.bundle()?)?;
    let leak = "exec 3</etc/passwd 4</ 7</proc; SECRET=1 exec \"$@\"";
    let output = t.finish(t.command(&["sh", "-c", leak, "sh"], &["exec", &t.id, "/probe", "report"]))?;
    t.delete()?;
    let report = Report::parse(&output.stdout)?;
    check_eq!(report.descriptors(), [0, 1, 2], "descriptors {}", report.at("/fds"));
    check_eq!(report.env("SECRET"), (None, 0), "the caller's environment");
    check_eq!(report.status("NSsid"), report.status("NSpid"), "a session of its own");
    Ok(())
}

fn many_at_once(t: &Test) -> Outcome {
    t.needs("exec")?;
    t.sleeper(t.bundle()?)?;
    let rounds = if t.all { 60 } else { 3 };
    let mut failed = Vec::new();
    for _ in 0..rounds {
        let batch: Vec<_> = (0..8)
            .map(|number: i32| t.spawn(t.command(&[], &["exec", &t.id, "/probe", "exit", &number.to_string()]), None))
            .collect::<Result<_, _>>()?;
        for (number, running) in batch.into_iter().enumerate() {
            let output = t.wait(running)?;
            if output.code != number as i32 {
                failed.push(format!("exit {}, wanted {number}: {}", output.code, output.stderr));
            }
        }
    }
    let pids: Vec<i32> = serde_json::from_str(&t.ok(&["ps", "--format", "json", &t.id])?.stdout)?;
    t.delete()?;
    check!(failed.is_empty(), "{}", failed.join("; "));
    check_eq!(pids.len(), 1, "processes left in the container: {pids:?}");
    Ok(())
}
