//! NOTIFY: the listener reaches the agent, and nothing runs unconfined where it does not.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use runtime_core::Entry;
use serde_json::{Value, json};

use super::bed::{Bed, Outcome, except, probe, under};
use super::{FINE, case};

const NOTIF_RECV: u64 = 0xc050_2100;
const NOTIF_SEND: u64 = 0xc018_2101;
/// SECCOMP_USER_NOTIF_FLAG_CONTINUE.
const CONTINUE: u32 = 1;

/// How the agent behaves.
#[derive(Clone, Copy)]
enum Manner {
    /// Lets every call but getppid(2) go on, and answers that one with 4242, after so many milliseconds.
    Answers(u64),
    /// Takes the listener and drops it.
    Drops,
}

/// What an agent saw.
struct Seen {
    message: Value,
    calls: Vec<i32>,
}

/// An agent for one container.
fn agent(path: &Path, manner: Manner) -> JoinHandle<Seen> {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let (message, fd) = receive(&stream);
        let mut calls = Vec::new();
        if let Manner::Answers(delay) = manner {
            while let Some((id, nr)) = next(&fd) {
                std::thread::sleep(Duration::from_millis(delay));
                answer(&fd, id, nr);
                calls.push(nr);
            }
        }
        Seen { message, calls }
    })
}

fn receive(stream: &UnixStream) -> (Value, OwnedFd) {
    let mut text = vec![0; 65536];
    let mut control = nix::cmsg_space!(i32);
    let (length, fd) = {
        let mut vector = [std::io::IoSliceMut::new(&mut text)];
        let received =
            recvmsg::<()>(stream.as_raw_fd(), &mut vector, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC).unwrap();
        let fd = received.cmsgs().unwrap().find_map(|control| match control {
            ControlMessageOwned::ScmRights(fds) => Some(fds[0]),
            _ => None,
        });
        (received.bytes, fd.expect("a descriptor"))
    };
    // SAFETY: the kernel has just made this descriptor for us.
    (serde_json::from_slice(&text[..length]).unwrap(), unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The next call that waits; `None` once nobody is under the filter.
fn next(fd: &OwnedFd) -> Option<(u64, i32)> {
    loop {
        let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd of ours.
        unsafe { libc::poll(&raw mut poll, 1, -1) };
        if poll.revents & libc::POLLIN == 0 {
            return None;
        }
        // SAFETY: all zeroes is a valid seccomp_notif, and what the call wants to see.
        let mut notification: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one seccomp_notif.
        if unsafe { libc::ioctl(fd.as_raw_fd(), NOTIF_RECV, &raw mut notification) } == 0 {
            return Some((notification.id, notification.data.nr));
        }
    }
}

fn answer(fd: &OwnedFd, id: u64, nr: i32) {
    let tested = i64::from(nr) == libc::SYS_getppid;
    let response = libc::seccomp_notif_resp {
        id,
        val: if tested { 4242 } else { 0 },
        error: 0,
        flags: if tested { 0 } else { CONTINUE },
    };
    // SAFETY: the kernel reads one seccomp_notif_resp. A process that is gone is none of our concern.
    unsafe { libc::ioctl(fd.as_raw_fd(), NOTIF_SEND, &raw const response) };
}

fn notifying(names: &[&str], path: &Path) -> Value {
    let mut profile = except(&json!({"names": names, "action": "SCMP_ACT_NOTIFY"}));
    profile["listenerPath"] = json!(path);
    profile["listenerMetadata"] = json!("some \"metadata\"");
    profile
}

fn gone(pid: i64) -> bool {
    let end = Instant::now() + Duration::from_secs(2);
    while Path::new(&format!("/proc/{pid}")).exists() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

#[test]
fn the_agent_answers() {
    for entry in [Entry::Sealed, Entry::InProcess] {
        let Some(bed) = Bed::with_entry(&format!("notify{entry:?}"), entry) else { return };
        let program = probe("-m64").unwrap();
        for (id, no_new_privileges, by_run) in
            [("a", true, true), ("b", false, true), ("c", true, false), ("d", false, false)]
        {
            let path = bed.directory.join(id.to_owned() + ".sock");
            let agent = agent(&path, Manner::Answers(0));
            let args = ["call:110", "status"];
            let case = case(id, &program, &args, no_new_privileges, notifying(&["getppid"], &path));
            let outcome = bed.run_by(&case, by_run).unwrap();
            let output = format!("call 4242 0\nstatus 2 {}\n", i32::from(no_new_privileges));
            assert_eq!(outcome, Outcome { status: FINE, output });
            let seen = agent.join().unwrap();
            let pid = seen.message["pid"].clone();
            assert!(pid.as_i64().is_some_and(|pid| pid > 1), "{pid}");
            let expected = json!({
                "ociVersion": "1.3.0", "fds": ["seccompFd"], "pid": pid, "metadata": "some \"metadata\"",
                "state": {
                    "ociVersion": "1.3.0", "id": id, "status": "creating", "pid": pid,
                    "bundle": bed.directory.join(id), "annotations": {"test": "seccomp"},
                },
            });
            assert_eq!(seen.message, expected);
            assert_eq!(seen.calls, [libc::SYS_getppid as i32]);
        }
    }
}

/// Whatever the set-up calls under the filter, the agent has the listener by then: only write(2) comes before.
#[test]
fn calls_of_the_set_up_may_be_notified() {
    let Some(bed) = Bed::new("setup") else { return };
    let program = probe("-m64").unwrap();
    let names = [
        "capset",
        "setresuid",
        "setresgid",
        "setgroups",
        "prctl",
        "read",
        "close",
        "close_range",
        "getcwd",
        "openat",
        "execve",
        "recvmsg",
        "sendmsg",
        "fcntl",
        "faccessat2",
        "newfstatat",
        "exit_group",
        "getppid",
    ];
    for (id, no_new_privileges, by_run) in
        [("a", true, true), ("b", false, true), ("c", true, false), ("d", false, false)]
    {
        let path = bed.directory.join(id.to_owned() + ".sock");
        let agent = agent(&path, Manner::Answers(0));
        let case = case(id, &program, &["call:110"], no_new_privileges, notifying(&names, &path));
        let outcome = bed.run_by(&case, by_run).unwrap();
        assert_eq!(outcome, Outcome { status: FINE, output: "call 4242 0\n".into() });
        let calls = agent.join().unwrap().calls;
        let has = |call: libc::c_long| calls.contains(&(call as i32));
        assert!(has(libc::SYS_read) && has(libc::SYS_close) && has(libc::SYS_execve), "{calls:?}");
        assert_eq!(has(libc::SYS_capset), !no_new_privileges, "{calls:?}");
    }
}

#[test]
fn a_slow_agent_is_waited_for() {
    let Some(bed) = Bed::new("slow") else { return };
    let path = bed.directory.join("sock");
    let agent = agent(&path, Manner::Answers(300));
    let program = probe("-m64").unwrap();
    let profile = notifying(&["getppid", "capset"], &path);
    let outcome = bed.run(&case("c", &program, &["call:110"], false, profile)).unwrap();
    assert_eq!(outcome.output, "call 4242 0\n");
    assert_eq!(agent.join().unwrap().calls.len(), 2);
}

/// Once the agent has dropped the listener, the kernel answers ENOSYS: nothing waits for ever, and nothing runs.
#[test]
fn an_agent_that_drops_the_listener() {
    let Some(bed) = Bed::new("drops") else { return };
    let program = probe("-m64").unwrap();
    for (id, no_new_privileges) in [("a", true), ("b", false)] {
        let path = bed.directory.join(id.to_owned() + ".sock");
        let agent = agent(&path, Manner::Drops);
        let case = case(id, &program, &["call:110"], no_new_privileges, notifying(&["getppid"], &path));
        let outcome = bed.run(&case).unwrap();
        assert_eq!(outcome, Outcome { status: FINE, output: "call -38 0\n".into() });
        agent.join().unwrap();
    }
    // In the set-up, and at the very end.
    for (id, name, no_new_privileges) in [("c", "capset", false), ("d", "execve", true), ("e", "execve", false)] {
        for by_run in [true, false] {
            let path = bed.directory.join(format!("{id}{by_run}.sock"));
            let agent = agent(&path, Manner::Drops);
            let case = case(id, &program, &["call:110"], no_new_privileges, notifying(&[name], &path));
            let error = bed.run_by(&case, by_run).unwrap_err();
            assert_eq!(error.errno(), Some(libc::ENOSYS), "{error}");
            assert!(gone(agent.join().unwrap().message["pid"].as_i64().unwrap()));
        }
    }
}

#[test]
fn no_agent() {
    let Some(bed) = Bed::new("absent") else { return };
    let program = probe("-m64").unwrap();
    let absent = bed.directory.join("absent.sock");
    let dead = bed.directory.join("dead.sock");
    drop(UnixListener::bind(&dead).unwrap());
    let file = bed.directory.join("file");
    std::fs::write(&file, "").unwrap();
    let long = bed.directory.join("x".repeat(120));
    for (path, errno) in
        [(&absent, "ENOENT"), (&dead, "ECONNREFUSED"), (&file, "ECONNREFUSED"), (&long, "ENAMETOOLONG")]
    {
        for (no_new_privileges, by_run) in [(true, true), (false, true), (true, false), (false, false)] {
            let case = case("c", &program, &["call:110"], no_new_privileges, notifying(&["getppid"], path));
            let error = bed.run_by(&case, by_run).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("/linux/seccomp/listenerPath") && text.contains(errno), "{text}");
            assert!(text.contains("an agent must listen"), "{text}");
        }
    }
    // Where nothing notifies nobody is asked.
    let mut profile = except(&json!({"names": ["getppid"], "action": "SCMP_ACT_ERRNO"}));
    profile["listenerPath"] = json!(absent);
    assert_eq!(bed.run(&case("c", &program, &["call:110"], true, profile)).unwrap().output, "call -1 0\n");
}

/// An agent whose queue is full is given up on.
#[test]
fn an_agent_that_does_not_accept() {
    let Some(bed) = Bed::new("full") else { return };
    let program = probe("-m64").unwrap();
    let path = bed.directory.join("sock");
    let address = nix::sys::socket::UnixAddr::new(&path).unwrap();
    use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, bind, connect, listen, socket};
    let server = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(server.as_raw_fd(), &address).unwrap();
    listen(&server, Backlog::new(1).unwrap()).unwrap();
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let mut queue = Vec::new();
    loop {
        let client = socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
        if connect(client.as_raw_fd(), &address).is_err() {
            break;
        }
        queue.push(client);
    }
    let begin = Instant::now();
    let error = bed.run(&case("c", &program, &["call:110"], true, notifying(&["getppid"], &path))).unwrap_err();
    assert_eq!(error.errno(), Some(libc::ETIMEDOUT), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(30));
}

#[test]
fn the_listener_cannot_be_fetched() {
    let Some(bed) = Bed::new("fetch") else { return };
    let program = probe("-m64").unwrap();
    let path = bed.directory.join("sock");
    let forbidden = except(&json!({"names": ["pidfd_getfd"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EPERM}));
    let case = case("c", &program, &["call:110"], true, notifying(&["getppid"], &path));
    let error = under(forbidden, || bed.run(&case).unwrap_err().to_string());
    assert!(error.contains("pidfd_getfd") && error.contains("EPERM") && error.contains("ptrace_scope"), "{error}");
}

/// There can be only one listener: a runtime that is itself notified about is told so.
#[test]
fn a_runtime_under_a_filter_that_notifies() {
    let Some(bed) = Bed::new("nested") else { return };
    let program = probe("-m64").unwrap();
    let path = bed.directory.join("sock");
    let busy = except(&json!({"names": ["seccomp"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EBUSY}));
    let case = case("c", &program, &["call:110"], true, notifying(&["getppid"], &path));
    let error = under(busy, || bed.run(&case).unwrap_err().to_string());
    assert!(error.contains("EBUSY") && error.contains("there can only be one"), "{error}");
}

#[test]
fn what_would_deadlock_is_refused() {
    let Some(bed) = Bed::new("deadlock") else { return };
    let program = probe("-m64").unwrap();
    let path = bed.directory.join("sock");
    let mut default = except(&json!({"names": ["getppid"], "action": "SCMP_ACT_ALLOW"}));
    default["defaultAction"] = json!("SCMP_ACT_NOTIFY");
    default["listenerPath"] = json!(path);
    let mut nowhere = notifying(&["getppid"], &path);
    nowhere["listenerPath"] = json!("");
    for (profile, pointer) in [
        (notifying(&["write"], &path), "/linux/seccomp/syscalls/0/names/0"),
        (default, "/linux/seccomp/defaultAction"),
        (nowhere, "/linux/seccomp/listenerPath"),
    ] {
        let error = bed.run(&case("c", &program, &[], true, profile)).unwrap_err().to_string();
        assert!(error.contains(pointer), "{error}");
    }
}

/// Every exec loads the filter anew, and the agent gets another listener, of a running container.
#[test]
fn exec_is_notified_too() {
    let Some(bed) = Bed::new("exec") else { return };
    let program = probe("-m64").unwrap();
    let path = bed.directory.join("sock");
    let listener = UnixListener::bind(&path).unwrap();
    let agent = std::thread::spawn(move || {
        let answering = |(message, fd): (Value, OwnedFd)| {
            let thread = std::thread::spawn(move || {
                while let Some((id, nr)) = next(&fd) {
                    answer(&fd, id, nr);
                }
            });
            (message, thread)
        };
        let (first, serving) = answering(receive(&listener.accept().unwrap().0));
        let (second, serving_exec) = answering(receive(&listener.accept().unwrap().0));
        serving_exec.join().unwrap();
        serving.join().unwrap();
        (first, second)
    });
    let container = bed.start(&case("c", &program, &["call:34"], true, notifying(&["getppid"], &path)), false).unwrap();
    let output = std::fs::File::create(bed.directory.join("exec")).unwrap();
    let null = std::fs::File::open("/dev/null").unwrap();
    let process: runtime_core::spec::Process = serde_json::from_value(json!({
        "args": ["/probe", "call:110", "status"], "cwd": "/", "env": ["PATH=/"], "noNewPrivileges": true,
        "user": {"uid": 1000, "gid": 1000},
    }))
    .unwrap();
    let request = runtime_core::Exec {
        process: Some(&process),
        stdio: runtime_core::Stdio::Fds([null.as_fd(), output.as_fd(), output.as_fd()]),
        ..Default::default()
    };
    let program = container.exec(&request).unwrap();
    let pid = program.pid();
    assert_eq!(program.wait().unwrap(), FINE);
    assert_eq!(std::fs::read_to_string(bed.directory.join("exec")).unwrap(), "call 4242 0\nstatus 2 1\n");
    let init = container.pid().unwrap();
    container.kill(libc::SIGKILL).unwrap();
    container.wait().unwrap();
    container.delete(true).unwrap();
    let (first, second) = agent.join().unwrap();
    assert_eq!((&first["state"]["status"], &first["pid"]), (&json!("creating"), &json!(init)));
    assert_eq!(second["state"]["status"], "running");
    assert_eq!((&second["pid"], &second["state"]["pid"]), (&json!(pid), &json!(init)));
    assert_eq!(second["state"]["id"], "c");
    assert_eq!(second["metadata"], "some \"metadata\"");
}

/// The kernel's newest flag, where there is a listener for it to act on.
#[test]
fn wait_killable() {
    let Some(bed) = Bed::new("killable") else { return };
    let program = probe("-m64").unwrap();
    let path = bed.directory.join("sock");
    let agent = agent(&path, Manner::Answers(0));
    let mut profile = notifying(&["getppid"], &path);
    profile["flags"] = json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_TSYNC"]);
    let outcome = bed.run(&case("c", &program, &["call:110"], true, profile.clone())).unwrap();
    assert_eq!(outcome.output, "call 4242 0\n");
    agent.join().unwrap();
    // Before 5.19 the kernel does not know it: an error, and not a filter without it.
    let old = json!({"names": ["seccomp"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EINVAL,
                     "args": [{"index": 1, "value": 32, "valueTwo": 32, "op": "SCMP_CMP_MASKED_EQ"}]});
    let case = case("c", &program, &[], true, profile);
    let error = under(except(&old), || bed.run(&case).unwrap_err().to_string());
    assert!(error.contains("EINVAL") && error.contains("/linux/seccomp/flags"), "{error}");
}
