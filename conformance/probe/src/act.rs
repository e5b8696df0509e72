//! The things a test wants a container process to *do*.

use std::io::Write;

/// Does `verb`; the exit status.
pub fn act(verb: &str, args: &[&str]) -> i32 {
    match (verb, args) {
        ("exit", [n]) => n.parse().unwrap_or(99),
        ("sleep", rest) => sleep(rest.first().and_then(|s| s.parse().ok()).unwrap_or(600)),
        ("headless", []) => headless(),
        ("signal-self", [n]) => signal_self(n.parse().unwrap_or(0)),
        ("write-file", [path, text]) => status(std::fs::write(path, text)),
        ("trap", [signal]) => trap(signal.parse().unwrap_or(libc::SIGTERM)),
        ("spawn-sleeper", rest) => spawn_sleeper(rest.first().copied()),
        ("open-write", [path]) => status(std::fs::OpenOptions::new().write(true).open(path).map(drop)),
        ("write-exes", [seconds, path]) => write_exes(seconds.parse().unwrap_or(1), path),
        ("fake-input", []) => crate::sys::fake_input(),
        ("copy", []) => copy(),
        ("kernel", []) => {
            println!("{}", crate::sys::kernel());
            0
        }
        ("without", [call, program, rest @ ..]) => without(call.parse().unwrap_or(0), program, rest),
        ("write-fds", [path]) => status(std::fs::write(path, crate::report::descriptors().to_string())),
        ("notify", [message, then @ ..]) => notify(message, then),
        ("echo", words) => {
            let mut out = std::io::stdout();
            status(out.write_all(format!("{}\n", words.join(" ")).as_bytes()).and_then(|()| out.flush()))
        }
        _ => {
            eprintln!("probe: unknown: {verb} {args:?}");
            98
        }
    }
}

/// Becomes a program for which a system call is missing.
fn without(call: u32, program: &str, args: &[&str]) -> i32 {
    use std::os::unix::process::CommandExt;
    if !crate::sys::without(call) {
        return 96;
    }
    status(Err(std::process::Command::new(program).args(args).exec()))
}

/// 0, or the errno of the failure (so that a test sees which).
fn status(result: std::io::Result<()>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(e) => e.raw_os_error().unwrap_or(97),
    }
}

/// Tries for a while to write to every other process's program, directly and through a descriptor kept from reading.
/// Writes how often it tried, and what it saw and could write to.
fn write_exes(seconds: u64, path: &str) -> i32 {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
    let (mut tried, mut found) = (0_u64, std::collections::BTreeSet::new());
    let mut kept: Vec<std::fs::File> = Vec::new();
    let own = std::process::id().to_string();
    let name = |path: &str| std::fs::read_link(path).map(|t| t.to_string_lossy().into_owned()).unwrap_or_default();
    while std::time::Instant::now() < end {
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry.file_name().to_string_lossy().into_owned();
            let exe = format!("/proc/{pid}/exe");
            let target = name(&exe);
            if pid == own || !pid.bytes().all(|b| b.is_ascii_digit()) || target == "/probe" {
                continue;
            }
            tried += 1;
            found.insert(format!("saw {target}"));
            if overwrite(&exe) {
                found.insert(format!("wrote {target}"));
            }
            if kept.len() < 100 {
                kept.extend(std::fs::File::open(&exe));
            }
        }
        for file in &kept {
            let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file));
            let target = name(&again);
            if target != "/probe" && overwrite(&again) {
                found.insert(format!("wrote {target} later"));
            }
        }
    }
    let lines: Vec<String> = found.into_iter().collect();
    status(std::fs::write(path, format!("tried {tried}\n{}", lines.join("\n"))))
}

/// Writes the byte that is there already: the first of every ELF file.
fn overwrite(path: &str) -> bool {
    std::fs::OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(b"\x7f")).is_ok()
}

/// Says `message` as sd_notify(3) does, then acts on.
fn notify(message: &str, then: &[&str]) -> i32 {
    let Ok(path) = std::env::var("NOTIFY_SOCKET") else { return 92 };
    let said = std::os::unix::net::UnixDatagram::unbound().and_then(|socket| socket.send_to(message.as_bytes(), path));
    match (said, then) {
        (Ok(_), [verb, args @ ..]) => act(verb, args),
        (said, _) => status(said.map(drop)),
    }
}

/// Standard input to standard output, and how much it was to standard error.
fn copy() -> i32 {
    let mut out = std::io::stdout();
    match std::io::copy(&mut std::io::stdin(), &mut out).and_then(|count| out.flush().map(|()| count)) {
        Ok(count) => {
            eprintln!("copied {count}");
            0
        }
        Err(e) => e.raw_os_error().unwrap_or(93),
    }
}

fn sleep(seconds: u64) -> i32 {
    println!("ready");
    let _ = std::io::stdout().flush();
    std::thread::sleep(std::time::Duration::from_secs(seconds));
    0
}

/// Lives on without its first thread.
fn headless() -> i32 {
    std::thread::spawn(|| sleep(600));
    crate::sys::end_thread()
}

fn signal_self(signal: i32) -> i32 {
    let _ = crate::sys::kill_self(signal);
    std::thread::sleep(std::time::Duration::from_secs(5));
    96
}

/// Blocks the signal, says so, waits for it, and names it. A pid namespace's init would not die of it anyway.
fn trap(signal: i32) -> i32 {
    let Some(set) = crate::sys::block(signal) else { return 95 };
    println!("ready");
    let _ = std::io::stdout().flush();
    let got = crate::sys::wait_for(&set);
    println!("got {got}");
    i32::from(got != signal)
}

/// Leaves a child behind that sleeps, in the same cgroup, then ends (or waits, with `stay`).
fn spawn_sleeper(stay: Option<&str>) -> i32 {
    let child =
        std::process::Command::new("/proc/self/exe").args(["sleep", "600"]).stdout(std::process::Stdio::null()).spawn();
    match (child, stay) {
        (Err(e), _) => e.raw_os_error().unwrap_or(94),
        (Ok(_), Some(_)) => sleep(600),
        (Ok(child), None) => {
            println!("{}", child.id());
            0
        }
    }
}
