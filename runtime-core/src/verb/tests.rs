//! state, list, kill and delete on made-up containers with real processes.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cgroup::Cgroup;
use crate::state::tests::{Sleeper, TempRoot, plant, record};
use crate::state::{Dir, FIFO, GATE, Root, STATUS, State, Status};
use crate::sys::pidfd;
use crate::{ErrorKind, ExitStatus};

fn status(root: &TempRoot, id: &str) -> Status {
    root.runtime().container(id).unwrap().state().unwrap().status
}

#[test]
fn status_follows_from_process_and_gate() {
    let (root, mut init) = (TempRoot::new(), Sleeper::new());
    plant(&root, &record("c", Some(&init)));
    assert_eq!(status(&root, "c"), Status::Running);
    for name in [GATE, STATUS] {
        std::fs::write(root.file("c", name), "").unwrap();
    }
    assert_eq!(status(&root, "c"), Status::Creating);
    std::fs::rename(root.file("c", GATE), root.file("c", FIFO)).unwrap();
    assert_eq!(status(&root, "c"), Status::Created);
    // In the middle of a start.
    std::fs::remove_file(root.file("c", FIFO)).unwrap();
    assert_eq!(status(&root, "c"), Status::Running);
    std::fs::remove_file(root.file("c", STATUS)).unwrap();
    assert_eq!(status(&root, "c"), Status::Running);
    // Ended and not reaped: the pid is still there, the container is not.
    init.0.kill().unwrap();
    let end = Instant::now() + Duration::from_secs(5);
    while status(&root, "c") != Status::Stopped {
        assert!(Instant::now() < end);
    }
    assert!(crate::sys::proc::stat(init.pid()).is_ok());
    init.0.wait().unwrap();
    let state = root.runtime().container("c").unwrap().state().unwrap();
    assert_eq!((state.status, state.pid), (Status::Stopped, None));
}

#[test]
fn document_is_that_of_runc() {
    let (root, init) = (TempRoot::new(), Sleeper::new());
    let mut made = record("c", Some(&init));
    made.created = "2026-01-02T03:04:05Z".into();
    made.annotations.insert("k".into(), "v".into());
    plant(&root, &made);
    let state = root.runtime().container("c").unwrap().state().unwrap();
    let expected = format!(
        r#"{{"ociVersion":"1.3.0","id":"c","pid":{},"status":"running","bundle":"/b","rootfs":"/b/rootfs","created":"2026-01-02T03:04:05Z","annotations":{{"k":"v"}},"owner":""}}"#,
        init.pid()
    );
    assert_eq!(serde_json::to_string(&state).unwrap(), expected);
}

#[test]
fn a_pid_that_came_back_is_somebody_else() {
    let (root, stranger) = (TempRoot::new(), Sleeper::new());
    let good = record("c", Some(&stranger));
    let mut other_start = good.clone();
    other_start.init_process_start -= 1;
    let mut no_start = good.clone();
    no_start.init_process_start = 0;
    let mut other_boot = good.clone();
    other_boot.boot_id = "00000000-0000-0000-0000-000000000000".into();
    for record in [other_start, no_start, other_boot] {
        plant(&root, &record);
        let container = root.runtime().container("c").unwrap();
        let state = container.state().unwrap();
        assert_eq!((state.status, state.pid), (Status::Stopped, None));
        assert_eq!(container.kill(libc::SIGKILL).unwrap_err().to_string(), "container not running");
        assert!(container.pidfd().is_none());
        container.delete(true).unwrap();
        assert!(stranger.is_alive());
        assert!(!root.0.join("c").exists());
    }
}

#[test]
fn a_pid_that_came_back_as_a_thread_is_somebody_else() {
    let root = TempRoot::new();
    let stop = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let stop = &stop;
        scope.spawn(move || {
            tell.send(nix::unistd::gettid().as_raw()).unwrap();
            stop.wait();
        });
        let mut made = record("c", None);
        made.init_process_pid = told.recv().unwrap();
        made.init_process_start = 1;
        for inode in [0, 1] {
            made.init_process_inode = inode;
            plant(&root, &made);
            assert_eq!(status(&root, "c"), Status::Stopped);
            root.runtime().delete("c", false).unwrap();
        }
        stop.wait();
    });
}

/// Where the kernel numbers processes for good, the number on record decides, not the start time.
#[test]
fn a_pid_that_came_back_has_another_number() {
    let (root, mut init) = (TempRoot::new(), Sleeper::new());
    let pidfd = pidfd::open(init.pid()).unwrap();
    if !pidfd::is_unique(pidfd.as_fd()) {
        return;
    }
    let mut good = record("c", Some(&init));
    good.init_process_inode = pidfd::inode(pidfd.as_fd()).unwrap();
    let mut other = good.clone();
    other.init_process_inode -= 1;
    let mut unknown = good.clone();
    unknown.init_process_inode = 0;
    for (record, wanted) in [(&other, Status::Stopped), (&unknown, Status::Running), (&good, Status::Running)] {
        std::fs::remove_dir_all(root.0.join("c")).ok();
        plant(&root, record);
        assert_eq!(status(&root, "c"), wanted);
        assert_eq!(root.runtime().state("c").unwrap().status, wanted);
        let found = root.runtime().container("c").unwrap();
        assert_eq!(
            (found.pidfd().is_some(), found.kill(0).is_ok()),
            (wanted == Status::Running, wanted == Status::Running)
        );
    }
    // As if the kernel did not.
    let older = Arc::new(Root::open(&root.0).unwrap());
    older.pidfs().set(false).unwrap();
    assert_eq!(super::state::document(&older, &other.brief(), String::new()).unwrap().status, Status::Running);
    init.0.kill().unwrap();
    let end = Instant::now() + Duration::from_secs(5);
    while status(&root, "c") != Status::Stopped {
        assert!(Instant::now() < end, "an unreaped process has ended");
    }
    init.0.wait().unwrap();
    assert_eq!(status(&root, "c"), Status::Stopped);
}

/// However the record is read, and whatever stands beside it.
#[test]
fn all_states_are_those_of_the_handles() {
    let (root, init) = (TempRoot::new(), Sleeper::new());
    let mut odd = record("odd", Some(&init));
    odd.bundle = "/b \"\u{1}\u{e9}\\".into();
    odd.annotations.insert("\"config\":".into(), "\n".into());
    let mut long = record("long", Some(&init));
    long.annotations.insert("a".into(), "x".repeat(crate::state::GLANCE));
    let mut bare = record("bare", Some(&init));
    bare.config.clear();
    for record in [odd, long, bare, record("ended", None), record("plain", Some(&init))] {
        plant(&root, &record);
    }
    // As one by hand, without the place of the config.
    let by_hand = serde_json::to_string(&record("by-hand", Some(&init))).unwrap();
    plant(&root, &record("by-hand", None));
    std::fs::write(root.file("by-hand", "state.json"), by_hand).unwrap();
    plant(&root, &record("broken", None));
    std::fs::write(root.file("broken", "state.json"), "{").unwrap();
    std::fs::create_dir(root.0.join("not an id")).unwrap();
    let text = |state: crate::Result<State>| match state {
        Ok(state) => serde_json::to_string(&state).unwrap(),
        Err(error) => error.to_string(),
    };
    let runtime = root.runtime();
    let handles = runtime.list().unwrap().into_iter().map(|entry| entry.and_then(|container| container.state()));
    let handles: Vec<String> = handles.map(text).collect();
    let states: Vec<String> = runtime.states().unwrap().into_iter().map(text).collect();
    assert_eq!(states, handles);
    assert_eq!(states.len(), 8);
    assert!(states.iter().filter(|state| state.contains("running")).count() == 5, "{states:?}");
    // `state` has no owner.
    let mut state = runtime.state("odd").unwrap();
    assert_eq!(state.owner, "");
    state.owner = crate::state::Owners::read().name(0);
    assert!(states.contains(&text(Ok(state))));
}

/// A look at the record just before create comes to its end.
#[test]
fn a_create_that_ends_under_the_look_is_seen() {
    let (root, init) = (TempRoot::new(), Sleeper::new());
    plant(&root, &record("c", Some(&init)));
    let opened = Arc::new(Root::open(&root.0).unwrap());
    let early = record("c", None);
    let state = super::state::document(&opened, &early.brief(), String::new()).unwrap();
    assert_eq!((state.status, state.pid), (Status::Running, Some(init.pid())));
}

#[test]
fn an_intent_without_a_process_is_creating_while_locked_and_stopped_after() {
    let root = TempRoot::new();
    let creator = Dir::create(&root.0, "c").unwrap();
    assert_eq!(root.runtime().container("c").err().unwrap().to_string(), "container does not exist");
    assert!(root.runtime().list().unwrap().is_empty(), "one that is being made is no error");
    creator.write(&record("c", None)).unwrap();
    assert_eq!(status(&root, "c"), Status::Creating);
    // The handle is older than the process, and sees it all the same.
    let container = root.runtime().container("c").unwrap();
    let init = Sleeper::new();
    creator.write(&record("c", Some(&init))).unwrap();
    assert_eq!(container.state().unwrap().pid, Some(init.pid()));
    container.kill(0).unwrap();
    creator.write(&record("c", None)).unwrap();
    drop(creator);
    assert_eq!(status(&root, "c"), Status::Stopped);
    root.runtime().delete("c", false).unwrap();
}

#[test]
fn kill_reaches_the_process_and_wait_tells_how_it_ended() {
    let (root, init) = (TempRoot::new(), Sleeper::new());
    plant(&root, &record("c", Some(&init)));
    let container = root.runtime().container("c").unwrap();
    container.kill(0).unwrap();
    assert_eq!(container.kill(9999).unwrap_err().errno(), Some(libc::EINVAL));
    assert!(init.is_alive());
    container.kill(libc::SIGRTMIN() + 2).unwrap();
    assert_eq!(container.wait().unwrap(), ExitStatus::Signal(libc::SIGRTMIN() + 2));
    for signal in [0, libc::SIGTERM, libc::SIGKILL] {
        let error = container.kill(signal).unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::WrongState, "container not running".into()));
    }
    assert_eq!(container.wait().unwrap_err().errno(), Some(libc::ECHILD));
}

#[test]
fn delete_wants_a_stopped_container_or_force() {
    let (root, init) = (TempRoot::new(), Sleeper::new());
    plant(&root, &record("c", Some(&init)));
    let runtime = root.runtime();
    let error = runtime.delete("c", false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongState);
    assert_eq!(error.to_string(), "cannot delete container c that is not stopped: running");
    assert!(init.is_alive());
    runtime.delete("c", true).unwrap();
    assert!(!init.is_alive());
    runtime.delete("c", true).unwrap();
    assert_eq!(runtime.delete("c", false).unwrap_err().to_string(), "container does not exist");
}

#[test]
fn delete_takes_a_created_container() {
    let (root, init) = (TempRoot::new(), Sleeper::new());
    plant(&root, &record("c", Some(&init)));
    for name in [FIFO, STATUS] {
        std::fs::write(root.file("c", name), "").unwrap();
    }
    root.runtime().delete("c", false).unwrap();
    assert!(!init.is_alive());
    assert!(!root.0.join("c").exists());
}

#[test]
fn delete_cleans_up_a_directory_without_a_record() {
    let root = TempRoot::new();
    drop(Dir::create(&root.0, "c").unwrap());
    assert!(root.runtime().list().unwrap().is_empty(), "its creator may be about to lock it");
    let old = std::time::SystemTime::now() - Duration::from_secs(60);
    std::fs::File::open(root.0.join("c")).unwrap().set_modified(old).unwrap();
    let list = root.runtime().list().unwrap();
    assert!(list[0].as_ref().err().unwrap().to_string().starts_with("load container c: "));
    assert_eq!(root.runtime().delete("c", false).unwrap_err().to_string(), "container does not exist");
    assert!(!root.0.join("c").exists());
    drop(Dir::create(&root.0, "c").unwrap());
    root.runtime().delete("c", true).unwrap();
    assert!(!root.0.join("c").exists());
}

#[test]
fn delete_waits_for_the_creator() {
    let root = TempRoot::new();
    let creator = Dir::create(&root.0, "c").unwrap();
    std::thread::scope(|scope| {
        let delete = scope.spawn(|| root.runtime().delete("c", false));
        std::thread::sleep(Duration::from_millis(50));
        assert!(root.0.join("c").exists());
        creator.write(&record("c", None)).unwrap();
        drop(creator);
        delete.join().unwrap().unwrap();
    });
    assert!(!root.0.join("c").exists());
}

#[test]
fn a_record_of_a_newer_build_still_names_the_process_to_a_delete_by_force() {
    let (root, init) = (TempRoot::new(), Sleeper::new());
    let mut newer = record("c", Some(&init));
    newer.version = 2;
    plant(&root, &newer);
    let error = root.runtime().container("c").err().unwrap();
    assert!(error.to_string().contains("version 2 is newer"), "{error}");
    root.runtime().delete("c", true).unwrap();
    assert!(!init.is_alive());
}

#[test]
fn a_record_under_another_id_kills_nobody() {
    let (root, init) = (TempRoot::new(), Sleeper::new());
    plant(&root, &record("a", Some(&init)));
    drop(Dir::create(&root.0, "b").unwrap());
    std::fs::copy(root.file("a", "state.json"), root.file("b", "state.json")).unwrap();
    root.runtime().delete("b", true).unwrap();
    assert!(init.is_alive());
    assert_eq!(status(&root, "a"), Status::Running);
}

/// A cgroup with a process of somebody else in it, removed at the end.
struct Foreign {
    placement: crate::cgroup::Placement,
    process: Sleeper,
}

impl Foreign {
    /// `None` where there are no cgroups to be had.
    fn new(name: &str) -> Option<Self> {
        let layout = crate::host::cgroup::probe(true).unwrap();
        if !nix::unistd::geteuid().is_root() || layout.hierarchies.is_empty() {
            return None;
        }
        let path = format!("/rt-foreign-{}-{name}", std::process::id());
        let placement = crate::cgroup::place(&layout, Some(&path), "x").unwrap();
        Cgroup::create(&placement, &[], &crate::cgroup::Devices::None).unwrap();
        let process = Sleeper::new();
        for place in &placement.dirs {
            std::fs::write(format!("{}/cgroup.procs", place.absolute()), process.pid().to_string()).unwrap();
        }
        Some(Self { placement, process })
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let cgroup = Cgroup::open(&self.placement).unwrap();
        let _ = cgroup.kill_all();
        let _ = self.process.0.wait();
        let _ = cgroup.remove(Duration::from_secs(5));
    }
}

#[test]
fn an_intent_kills_nobody_in_a_cgroup_it_only_planned() {
    let (root, Some(foreign)) = (TempRoot::new(), Foreign::new("intent")) else { return };
    let mut intent = record("c", None);
    intent.cgroup = Some(foreign.placement.clone());
    plant(&root, &intent);
    let container = root.runtime().container("c").unwrap();
    assert_eq!(container.kill(libc::SIGKILL).unwrap_err().to_string(), "container not running");
    root.runtime().delete("c", true).unwrap();
    assert!(foreign.process.is_alive());
    assert!(Cgroup::open(&foreign.placement).unwrap().pids().unwrap().contains(&foreign.process.pid()));
    assert!(!root.0.join("c").exists());
}

#[test]
fn a_cgroup_of_another_boot_is_somebody_elses() {
    let (root, Some(foreign)) = (TempRoot::new(), Foreign::new("boot")) else { return };
    let mut old = record("c", Some(&foreign.process));
    old.cgroup = Some(foreign.placement.clone());
    old.boot_id = "00000000-0000-0000-0000-000000000000".into();
    plant(&root, &old);
    root.runtime().delete("c", true).unwrap();
    assert!(foreign.process.is_alive());
    assert!(!root.0.join("c").exists());
}

/// The opposite of the two above: with a pid on record the cgroup is the container's, whoever is left in it.
#[test]
fn a_recorded_process_makes_the_cgroup_the_containers() {
    let (root, Some(left)) = (TempRoot::new(), Foreign::new("own")) else { return };
    let mut init = Sleeper::new();
    let mut made = record("c", Some(&init));
    init.0.kill().unwrap();
    init.0.wait().unwrap();
    made.cgroup = Some(left.placement.clone());
    plant(&root, &made);
    root.runtime().delete("c", false).unwrap();
    assert!(!left.process.is_alive());
    assert!(Cgroup::open(&left.placement).unwrap().is_gone());
}

#[test]
fn a_planned_cgroup_that_is_empty_goes() {
    let (root, Some(mut foreign)) = (TempRoot::new(), Foreign::new("empty")) else { return };
    let mut intent = record("c", None);
    intent.cgroup = Some(foreign.placement.clone());
    plant(&root, &intent);
    foreign.process.0.kill().unwrap();
    foreign.process.0.wait().unwrap();
    root.runtime().delete("c", true).unwrap();
    assert!(Cgroup::open(&foreign.placement).unwrap().is_gone());
}

#[test]
fn a_handle_deletes_only_its_own_container() {
    let root = TempRoot::new();
    plant(&root, &record("c", None));
    let old = root.runtime().container("c").unwrap();
    root.runtime().delete("c", false).unwrap();
    assert_eq!(old.state().unwrap_err().kind(), ErrorKind::NotFound);
    let init = Sleeper::new();
    plant(&root, &record("c", Some(&init)));
    old.delete(true).unwrap();
    assert!(init.is_alive());
    assert_eq!(status(&root, "c"), Status::Running);
}

#[test]
fn list_is_sorted_and_names_owners() {
    let root = TempRoot::new();
    assert!(root.runtime().list().unwrap().is_empty());
    for id in ["b", "a", "c"] {
        let mut made = record(id, None);
        made.owner = if id == "a" { 0 } else { 4_000_000 };
        plant(&root, &made);
    }
    std::fs::write(root.0.join("file"), "").unwrap();
    std::fs::write(root.file("b", "state.json"), "{").unwrap();
    let list = root.runtime().list().unwrap();
    let ids: Vec<_> = list.iter().map(|entry| entry.as_ref().map_or("?", |c| c.id())).collect();
    assert_eq!(ids, ["a", "?", "c"]);
    let owner = |at: usize| list[at].as_ref().ok().unwrap().state().unwrap().owner;
    assert_eq!((owner(0).as_str(), owner(2).as_str()), ("root", "#4000000"));
}

#[test]
fn list_stands_comings_and_goings() {
    let root = TempRoot::new();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for worker in 0..3 {
            let (root, stop) = (&root, &stop);
            scope.spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let id = format!("c{worker}");
                    plant(root, &record(&id, None));
                    root.runtime().delete(&id, true).unwrap();
                }
            });
        }
        let end = Instant::now() + Duration::from_secs(1);
        let mut bad = Vec::new();
        while Instant::now() < end {
            bad.extend(root.runtime().list().unwrap().into_iter().filter_map(Result::err).map(|e| e.to_string()));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(bad.is_empty(), "{bad:?}");
    });
}
