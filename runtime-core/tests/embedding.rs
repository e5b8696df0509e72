//! The library in a big, busy, multi-threaded host: the host is the same afterwards.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::hint::black_box;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::Bundle;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use runtime_core::{Create, Entry, Exec, ExitStatus, Options, Runtime, Stdio};

fn main() -> ExitCode {
    common::main(
        &[
            ("preserved_descriptors_stay_in_their_places", preserved_descriptors_stay_in_their_places),
            ("a_thousand_containers_leave_the_host_as_it_was", a_thousand_containers_leave_the_host_as_it_was),
            ("the_in_process_entry_leaves_the_host_as_it_was", the_in_process_entry_leaves_the_host_as_it_was),
            ("the_other_verbs_leave_the_host_as_it_was", the_other_verbs_leave_the_host_as_it_was),
        ],
        &[],
    )
}

/// What must not change, by name; for each thread what belongs to it.
fn snapshot() -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let file = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let link = |name: &str| fs::read_link(format!("/proc/self/{name}")).unwrap_or_default().display().to_string();
    for name in
        ["limits", "oom_score_adj", "cgroup", "environ", "mountinfo", "personality", "timerslack_ns", "sessionid"]
    {
        all.insert(name.to_owned(), file(name));
    }
    for name in [
        "cwd",
        "root",
        "exe",
        "ns/mnt",
        "ns/pid",
        "ns/pid_for_children",
        "ns/net",
        "ns/uts",
        "ns/ipc",
        "ns/user",
        "ns/cgroup",
    ] {
        all.insert(name.to_owned(), link(name));
    }
    all.insert("dumpable".into(), format!("{:?}", nix::sys::prctl::get_dumpable()));
    all.insert("child subreaper".into(), format!("{:?}", nix::sys::prctl::get_child_subreaper()));
    all.insert("parent's death signal".into(), format!("{:?}", nix::sys::prctl::get_pdeathsig()));
    all.insert("environment".into(), format!("{:?}", std::env::vars_os().collect::<BTreeMap<_, _>>()));
    for entry in fs::read_dir("/proc/self/fd").unwrap().map(Result::unwrap) {
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        if target.to_string_lossy().ends_with("/fd") {
            continue;
        }
        let number = entry.file_name().into_string().unwrap();
        let flags = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
        let flags = flags.lines().find(|line| line.starts_with("flags:")).unwrap_or_default().to_owned();
        all.insert(format!("descriptor {number}"), format!("{} {flags}", target.display()));
    }
    for entry in fs::read_dir("/proc/self/task").unwrap().map(Result::unwrap) {
        let id = entry.file_name().into_string().unwrap();
        let read = |name: &str| fs::read_to_string(entry.path().join(name)).unwrap();
        all.insert(format!("thread {id} status"), steady(&read("status")));
        all.insert(format!("thread {id} children"), read("children"));
    }
    all
}

/// `/proc/PID/status` without what always moves: memory, switches, pending work, room for descriptors.
fn steady(status: &str) -> String {
    let moves =
        ["Vm", "Rss", "HugetlbPages", "voluntary_", "nonvoluntary_", "State", "SigQ", "Threads", "FDSize", "x86_"];
    let lines = status.lines().filter(|line| !moves.iter().any(|name| line.starts_with(name)));
    lines.collect::<Vec<_>>().join("\n")
}

fn assert_same(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) {
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let differs = |name: &String| (before.get(name) != after.get(name)).then(|| difference(name, before, after));
    let changed: Vec<String> = names.into_iter().filter_map(differs).collect();
    let shown = changed.iter().take(10).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(changed.is_empty(), "{} differences:\n{shown}", changed.len());
}

/// The lines that only one of them has.
fn difference(name: &String, before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> String {
    let lines = |of: &BTreeMap<String, String>| -> BTreeSet<String> {
        of.get(name).map_or_else(BTreeSet::new, |text| text.lines().map(str::to_owned).collect())
    };
    let (before, after) = (lines(before), lines(after));
    let [gone, new] = [before.difference(&after).collect::<Vec<_>>(), after.difference(&before).collect()];
    format!("{name}: was {gone:?}, is {new:?}")
}

/// A host with much memory and many threads that allocate, lock and change signal masks all the time.
struct Host {
    memory: Vec<u8>,
    stop: AtomicBool,
    work: AtomicUsize,
}

impl Host {
    const THREADS: usize = 64;

    fn run(bytes: usize, body: impl FnOnce()) {
        let host = Self { memory: vec![1; bytes], stop: AtomicBool::new(false), work: AtomicUsize::new(0) };
        let ready = std::sync::Barrier::new(Self::THREADS + 1);
        std::thread::scope(|scope| {
            let (host, ready) = (&host, &ready);
            for number in 0..Self::THREADS {
                scope.spawn(move || host.work(number, ready));
            }
            ready.wait();
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
            host.stop.store(true, Ordering::Relaxed);
            if let Err(panic) = result {
                std::panic::resume_unwind(panic);
            }
        });
        assert!(host.work.into_inner() >= Self::THREADS, "they were busy");
    }

    fn work(&self, number: usize, ready: &std::sync::Barrier) {
        // Each has a mask of its own, which must stay.
        let mut mask = SigSet::empty();
        let signals = [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGWINCH, Signal::SIGHUP];
        signals.iter().enumerate().filter(|(bit, _)| number >> bit & 1 == 1).for_each(|(_, signal)| mask.add(*signal));
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&mask), None).unwrap();
        ready.wait();
        let mut at = number;
        while !self.stop.load(Ordering::Relaxed) {
            let words: Vec<String> = (0..100).map(|n| n.to_string()).collect();
            at = (at * 31 + words.concat().len()) % self.memory.len();
            black_box(self.memory[at]);
            self.work.fetch_add(1, Ordering::Relaxed);
            // Half a core for all of them: on two cores they would else starve what is tested.
            std::thread::sleep(Duration::from_millis(4));
        }
        assert_eq!(SigSet::thread_get_mask().unwrap(), mask);
    }
}

/// One container from create to delete.
fn one(runtime: &Runtime, bundle: &Bundle, id: &str, null: &File) {
    let request = Create {
        id,
        bundle: Some(&bundle.path),
        stdio: Stdio::Fds([null.as_fd(), null.as_fd(), null.as_fd()]),
        ..Create::default()
    };
    let before = SigSet::thread_get_mask().unwrap();
    let container = if id.ends_with(['0', '2', '4', '6', '8']) {
        let container = runtime.create(&request).unwrap();
        container.start().unwrap();
        container
    } else {
        runtime.run(&request).unwrap()
    };
    assert_eq!(container.wait().unwrap(), ExitStatus::Code(0), "{id}");
    container.delete(false).unwrap();
    assert_eq!(SigSet::thread_get_mask().unwrap(), before);
}

/// `count` containers from `threads` threads, in a host of `bytes`.
fn launch(scratch: &Path, entry: Entry, bytes: usize, threads: usize, count: usize) {
    let mut bundle = Bundle::new(&scratch.join("bundle"), &["/bin/true"]);
    // One cgroup each: the path is that of the id.
    bundle.config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
    bundle.write();
    let prefix = format!("rt-embed-{}", std::process::id());
    Host::run(bytes, || {
        let before = snapshot();
        let begin = Instant::now();
        {
            let null = File::options().read(true).write(true).open("/dev/null").unwrap();
            let runtime = Runtime::new(Options { entry, ..Options::new(scratch.join("state")) });
            let next = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        while let number @ 0.. = next.fetch_add(1, Ordering::Relaxed)
                            && number < count
                        {
                            one(&runtime, &bundle, &format!("{prefix}-{number}"), &null);
                        }
                    });
                }
            });
            assert!(runtime.list().unwrap().is_empty());
        }
        let took = begin.elapsed();
        // The kernel takes a moment to take the last threads off the list.
        common::within(Duration::from_secs(5), || {
            fs::read_dir("/proc/self/task").unwrap().count() == Host::THREADS + 1
        });
        assert_same(&before, &snapshot());
        println!("{count} containers by {threads} threads in {:.1} s", took.as_secs_f32());
    });
    let left: Vec<_> = fs::read_dir(scratch.join("state")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

fn a_thousand_containers_leave_the_host_as_it_was(scratch: &Path) {
    launch(scratch, Entry::Sealed, 1 << 30, 8, 1000);
}

/// Fewer and from less memory: this entry copies the page tables.
fn the_in_process_entry_leaves_the_host_as_it_was(scratch: &Path) {
    launch(scratch, Entry::InProcess, 64 << 20, 8, 64);
}

/// `--preserve-fds` as the command line has them: 3 and 4, already where the program gets them; and the other way
/// round, so that each is in the other's place.
fn preserved_descriptors_stay_in_their_places(scratch: &Path) {
    let files = ["three", "four", "out"].map(|name| scratch.join(name));
    fs::write(&files[0], "three").unwrap();
    fs::write(&files[1], "four").unwrap();
    let (three, four) = (File::open(&files[0]).unwrap(), File::open(&files[1]).unwrap());
    assert_eq!((three.as_raw_fd(), four.as_raw_fd()), (3, 4), "the harness closes what is above 2");
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    let script = "cat <&3; echo; cat <&4; echo; cd /proc/self/fd; echo *";
    let bundle = Bundle::new(&scratch.join("bundle"), &["/bin/sh", "-c", script]);
    for entry in [Entry::Sealed, Entry::InProcess] {
        let runtime = Runtime::new(Options { entry, ..Options::new(scratch.join("state")) });
        for (fds, said) in [
            (vec![three.as_fd(), four.as_fd()], "three\nfour\n"),
            (vec![four.as_fd(), three.as_fd()], "four\nthree\n"),
            // One open file, so its end has been reached.
            (vec![four.as_fd(), four.as_fd()], "four\n\n"),
            (vec![three.as_fd(), null.as_fd()], "three\n\n"),
        ] {
            let out = File::create(&files[2]).unwrap();
            let request = Create {
                id: "fds",
                bundle: Some(&bundle.path),
                stdio: Stdio::Fds([null.as_fd(), out.as_fd(), out.as_fd()]),
                preserve_fds: fds,
                ..Create::default()
            };
            // The offset belongs to the open file, which all containers share.
            for mut file in [&three, &four] {
                std::io::Seek::rewind(&mut file).unwrap();
            }
            let container = runtime.run(&request).unwrap();
            assert_eq!(container.wait().unwrap(), ExitStatus::Code(0));
            container.delete(false).unwrap();
            let mut text = String::new();
            File::open(&files[2]).unwrap().read_to_string(&mut text).unwrap();
            assert!(text.starts_with(said), "{text:?} {said:?}");
            // The last one is the directory that `echo *` reads, 5; nothing else is open.
            assert_eq!(text.lines().last(), Some("0 1 2 3 4 5"), "{text:?}");
        }
    }
}

/// Hooks of every kind, a filter that notifies an agent, execs that run and that fail, pause, update and kill, and a create
/// that fails.
fn the_other_verbs_leave_the_host_as_it_was(scratch: &Path) {
    const THREADS: usize = 4;
    const ROUNDS: usize = 12;
    let agent = std::os::unix::net::UnixListener::bind(scratch.join("agent")).unwrap();
    let mut bundle = Bundle::new(&scratch.join("bundle"), &["/bin/sleep", "1000"]);
    bundle.config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
    let hook = serde_json::json!([{ "path": "/bin/true", "args": ["true"] }]);
    bundle.config["hooks"] = serde_json::json!({
        "prestart": hook, "createRuntime": hook, "createContainer": hook, "startContainer": hook, "poststart": hook, "poststop": hook
    });
    bundle.config["linux"]["seccomp"] = serde_json::json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": scratch.join("agent"),
        "syscalls": [{ "names": ["reboot"], "action": "SCMP_ACT_NOTIFY" }]
    });
    bundle.write();
    let mut broken = Bundle::new(&scratch.join("broken"), &["/bin/true"]);
    broken.config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
    broken.config["hooks"] = serde_json::json!({ "createRuntime": [{ "path": "/bin/false" }] });
    broken.write();
    // The agent is a part of the host: it hears everybody out, and keeps nothing.
    std::thread::spawn(move || {
        agent.incoming().for_each(|caller| drop(caller.unwrap().read_to_end(&mut Vec::new())));
    });
    Host::run(64 << 20, || {
        let before = snapshot();
        let null = File::options().read(true).write(true).open("/dev/null").unwrap();
        let runtime = Runtime::new(Options::new(scratch.join("state")));
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (runtime, bundle, broken, null) = (&runtime, &bundle, &broken, &null);
                scope.spawn(move || {
                    let mask = SigSet::thread_get_mask().unwrap();
                    for round in 0..ROUNDS {
                        let id = format!("rt-verbs-{}-{thread}-{round}", std::process::id());
                        every_verb(runtime, bundle, broken, &id, null);
                        assert_eq!(SigSet::thread_get_mask().unwrap(), mask);
                    }
                });
            }
        });
        drop((runtime, null));
        common::within(Duration::from_secs(5), || {
            fs::read_dir("/proc/self/task").unwrap().count() == Host::THREADS + 2
        });
        assert_same(&before, &snapshot());
    });
    let left: Vec<_> = fs::read_dir(scratch.join("state")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

fn every_verb(runtime: &Runtime, bundle: &Bundle, broken: &Bundle, id: &str, null: &File) {
    let stdio = || Stdio::Fds([null.as_fd(), null.as_fd(), null.as_fd()]);
    let create = |bundle: &Bundle| {
        runtime.create(&Create { id, bundle: Some(&bundle.path), stdio: stdio(), ..Create::default() })
    };
    assert!(create(broken).is_err(), "a failing hook");
    let container = create(bundle).unwrap();
    container.start().unwrap();
    let process = |program: &str| -> runtime_core::spec::Process {
        serde_json::from_value(serde_json::json!({ "args": [program], "cwd": "/", "user": { "uid": 0, "gid": 0 } }))
            .unwrap()
    };
    let exec =
        |program: &str| container.exec(&Exec { process: Some(&process(program)), stdio: stdio(), ..Exec::default() });
    for _ in 0..2 {
        assert_eq!(exec("/bin/true").unwrap().wait().unwrap(), ExitStatus::Code(0));
    }
    assert!(exec("/nowhere").is_err());
    container.pause().unwrap();
    container.resume().unwrap();
    container.update(&serde_json::from_str(r#"{"pids":{"limit":100}}"#).unwrap()).unwrap();
    assert_eq!(container.processes().unwrap().len(), 1);
    container.kill(nix::libc::SIGKILL).unwrap();
    assert_eq!(container.wait().unwrap(), ExitStatus::Signal(nix::libc::SIGKILL));
    container.delete(false).unwrap();
}
