//! The state directory on a real file system, with races, rubbish and a full disk.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::{Options, Runtime};

/// A state directory of its own, removed at the end.
pub(crate) struct TempRoot(pub(crate) PathBuf);

impl TempRoot {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("runtime-state-{}-{number}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Self(path)
    }

    pub(crate) fn runtime(&self) -> Runtime {
        Runtime::new(Options::new(&self.0))
    }

    pub(crate) fn file(&self, id: &str, name: &str) -> PathBuf {
        self.0.join(id).join(name)
    }
}

impl Drop for TempRoot {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A sleeping child, the first process of a made-up container.
pub(crate) struct Sleeper(pub(crate) Child);

impl Sleeper {
    pub(crate) fn new() -> Self {
        Self(Command::new("sleep").arg("60").spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    pub(crate) fn is_alive(&self) -> bool {
        crate::sys::proc::stat(self.pid()).is_ok_and(|stat| stat.is_alive())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The record of a container whose first process is `init`; without one, create has not come so far.
pub(crate) fn record(id: &str, init: Option<&Sleeper>) -> Record {
    Record {
        version: VERSION,
        id: id.into(),
        bundle: "/b".into(),
        rootfs: "/b/rootfs".into(),
        created: now(),
        boot_id: crate::sys::proc::boot_id().unwrap(),
        init_process_pid: init.map_or(0, Sleeper::pid),
        init_process_start: init.map_or(0, |init| crate::sys::proc::stat(init.pid()).unwrap().start),
        own_pid_namespace: true,
        config: b"{\"ociVersion\": \"1.3.0\"}".to_vec(),
        ..Record::default()
    }
}

/// Makes a container's directory with this record, as a create that has come to its end.
pub(crate) fn plant(root: &TempRoot, record: &Record) {
    Dir::create(&root.0, &record.id).unwrap().write(record).unwrap();
}

#[test]
fn makes_directories_of_the_right_mode() {
    let root = TempRoot::new();
    let deep = root.0.join("a/b");
    let dir = Dir::create(&deep, "c").unwrap();
    dir.write(&record("c", None)).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&deep), mode(&deep.join("c")), mode(&deep.join("c/state.json"))), (0o700, 0o711, 0o600));
    assert_eq!(Dir::create(&deep, "c").err().unwrap().to_string(), "container with given ID already exists");
    assert_eq!(Dir::open(&deep, "d").err().unwrap().to_string(), "container does not exist");
    assert_eq!(Dir::open(&root.0.join("none"), "d").err().unwrap().to_string(), "container does not exist");
}

#[test]
fn record_survives_the_disk_and_keeps_the_config_as_text() {
    let root = TempRoot::new();
    let mut written = record("c", None);
    written.annotations.insert("a".into(), "b".into());
    plant(&root, &written);
    let read = Dir::open(&root.0, "c").unwrap().read().unwrap().unwrap();
    assert_eq!(read.config, b"{\"ociVersion\": \"1.3.0\"}");
    assert_eq!(format!("{read:?}"), format!("{written:?}"));
    assert!(!root.file("c", "state.json.tmp").exists());
    // The file as a whole is JSON, too.
    let whole: serde_json::Value =
        serde_json::from_slice(&std::fs::read(root.file("c", "state.json")).unwrap()).unwrap();
    assert_eq!((&whole["id"], &whole["config"]["ociVersion"]), (&"c".into(), &"1.3.0".into()));
}

#[test]
fn refuses_a_root_others_can_write() {
    let root = TempRoot::new();
    for (mode, good) in [(0o777, false), (0o770, false), (0o702, false), (0o1777, true), (0o755, true), (0o700, true)] {
        std::fs::set_permissions(&root.0, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(Root::open(&root.0).is_ok(), good, "{mode:o}");
    }
    let link = root.0.join("link");
    std::fs::create_dir(root.0.join("target")).unwrap();
    symlink("target", &link).unwrap();
    assert!(Root::open(&link).is_ok(), "a link above or at the root may lead there");
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(&root.0, Some(12345), None).unwrap();
        let error = Root::open(&root.0).err().unwrap();
        assert!(error.to_string().contains("belongs to user 12345"), "{error}");
        std::os::unix::fs::chown(&root.0, Some(0), None).unwrap();
    }
}

#[test]
fn does_not_follow_a_link_in_place_of_a_container() {
    let root = TempRoot::new();
    plant(&root, &record("real", None));
    symlink("real", root.0.join("fake")).unwrap();
    std::fs::write(root.0.join("file"), "x").unwrap();
    for id in ["fake", "file"] {
        assert_eq!(Dir::open(&root.0, id).err().unwrap().kind(), ErrorKind::BadState, "{id}");
        assert_eq!(root.runtime().container(id).err().unwrap().kind(), ErrorKind::BadState, "{id}");
        assert!(root.runtime().delete(id, true).is_err(), "{id}");
    }
    assert!(root.file("real", "state.json").exists());
}

#[test]
fn one_of_many_creators_wins() {
    let root = TempRoot::new();
    for round in 0..50 {
        let id = format!("c{round}");
        let (barrier, winners) = (Barrier::new(8), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    barrier.wait();
                    match Dir::create(&root.0, &id).and_then(|dir| dir.write_first(&record(&id, None))) {
                        Ok(()) => drop(winners.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Exists, "{error}"),
                    }
                });
            }
        });
        assert_eq!(winners.into_inner(), 1);
    }
}

/// Whoever holds a directory from create is alone with it, whatever deletes come in between.
#[test]
fn deletes_do_not_take_a_directory_from_its_creator() {
    let root = TempRoot::new();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let end = Instant::now() + Duration::from_secs(30);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    root.runtime().delete("c", true).unwrap();
                }
            });
        }
        let creators: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut made = 0;
                    while made < 50 && Instant::now() < end {
                        let Ok(dir) = Dir::create(&root.0, "c") else { continue };
                        let mine = record("c", None);
                        match dir.write_first(&mine) {
                            Err(error) if error.kind() == ErrorKind::Exists => continue,
                            result => result.unwrap(),
                        }
                        made += 1;
                        std::thread::yield_now();
                        assert_eq!(dir.read().unwrap().unwrap().created, mine.created);
                        assert!(root.file("c", "state.json").exists());
                    }
                    assert_eq!(made, 50);
                })
            })
            .collect();
        let results: Vec<_> = creators.into_iter().map(|creator| creator.join()).collect();
        stop.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok));
    });
}

#[test]
fn a_held_lock_is_waited_for_and_then_reported() {
    let root = TempRoot::new();
    let holder = Dir::create(&root.0, "c").unwrap();
    let mut other = Dir::open(&root.0, "c").unwrap();
    assert!(other.is_held().unwrap());
    let start = Instant::now();
    let error = other.lock_within(Duration::from_millis(100)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(start.elapsed() >= Duration::from_millis(100));
    drop(holder);
    other.lock_within(Duration::ZERO).unwrap();
    // A deleted directory cannot be locked, also not when another one has its name.
    let mut stale = Dir::open(&root.0, "c").unwrap();
    other.remove().unwrap();
    drop(other);
    assert_eq!(stale.lock().unwrap_err().kind(), ErrorKind::NotFound);
    let _new = Dir::create(&root.0, "c").unwrap();
    assert_eq!(stale.lock().unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_lock_is_not_inherited_by_programs() {
    let root = TempRoot::new();
    let dir = Dir::create(&root.0, "c").unwrap();
    let _hook = Sleeper::new();
    drop(dir);
    assert!(!Dir::open(&root.0, "c").unwrap().is_held().unwrap());
}

#[test]
fn rubbish_is_an_error_at_once() {
    let good = serde_json::to_string(&record("c", None)).unwrap();
    let of_other = serde_json::to_string(&record("other", None)).unwrap();
    let newer = good.replace("\"version\":1", "\"version\":2");
    let cases = ["", &good[..good.len() / 2], "[]", "null", "{}", "\0\0\0\0", "{\"version\":\"x\"}", &newer, &of_other];
    for text in cases {
        let root = TempRoot::new();
        plant(&root, &record("c", None));
        std::fs::write(root.file("c", "state.json"), text).unwrap();
        refused(&root, text);
    }
    type Make = fn(&Path);
    let odd: [(&str, Make); 4] = [
        ("directory", |path| std::fs::create_dir(path).unwrap()),
        ("link", |path| symlink("/etc/passwd", path).unwrap()),
        ("fifo", |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap()),
        ("huge", |path| std::fs::File::create(path).unwrap().set_len(1 << 30).unwrap()),
    ];
    for (what, make) in odd {
        let root = TempRoot::new();
        plant(&root, &record("c", None));
        std::fs::remove_file(root.file("c", "state.json")).unwrap();
        make(&root.file("c", "state.json"));
        refused(&root, what);
    }
}

/// Everything but a delete by force refuses the record of `c`, and that leaves nothing.
fn refused(root: &TempRoot, what: &str) {
    let runtime = root.runtime();
    let error = runtime.container("c").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::BadState, "{what}: {error}");
    let list = runtime.list().unwrap();
    assert!(list[0].as_ref().err().unwrap().to_string().starts_with("load container c: "), "{what}");
    let error = runtime.delete("c", false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadState, "{what}: {error}");
    assert!(!error.to_string().contains('\n'));
    runtime.delete("c", true).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(!root.0.join("c").exists(), "{what}");
}

#[test]
fn removes_unknown_files_but_no_tree_and_follows_no_link() {
    let (root, other) = (TempRoot::new(), TempRoot::new());
    std::fs::write(other.0.join("precious"), "x").unwrap();
    plant(&root, &record("c", None));
    std::fs::create_dir_all(root.file("c", "notify/deep")).unwrap();
    symlink(&other.0, root.file("c", "exec.fifo")).unwrap();
    symlink(&other.0, root.file("c", "link")).unwrap();
    let error = root.runtime().delete("c", false).unwrap_err();
    assert_eq!(error.errno(), Some(libc::ENOTEMPTY), "{error}");
    assert!(root.file("c", "notify/deep").exists());
    assert!(other.0.join("precious").exists());
    // What it is stays known, so that it can be deleted once the obstacle is gone.
    let error = root.runtime().delete("c", true).unwrap_err();
    assert_eq!(error.errno(), Some(libc::ENOTEMPTY), "{error}");
    std::fs::remove_dir(root.file("c", "notify/deep")).unwrap();
    root.runtime().delete("c", false).unwrap();
    assert!(!root.0.join("c").exists());
}

/// Runs the next test again in a mount namespace with a full file system, which needs root.
#[test]
fn a_full_disk_stops_create_but_not_delete() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let root = TempRoot::new();
    let script = "mount -t tmpfs -o size=16k,nr_inodes=8 none \"$FULL_ROOT\" && \"$0\" --ignored --exact \"$1\"";
    let mut unshare = Command::new("unshare");
    unshare.args(["-m", "--propagation", "private", "sh", "-c", script]).arg(std::env::current_exe().unwrap());
    let done = unshare.arg("state::tests::on_a_full_disk").env("FULL_ROOT", &root.0).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    assert!(String::from_utf8_lossy(&done.stdout).contains("1 passed"));
}

#[test]
#[ignore = "run by a_full_disk_stops_create_but_not_delete"]
fn on_a_full_disk() {
    let Some(path) = std::env::var_os("FULL_ROOT") else { return };
    let root = TempRoot(path.into());
    std::fs::set_permissions(&root.0, std::fs::Permissions::from_mode(0o700)).unwrap();
    let init = Sleeper::new();
    plant(&root, &record("old", Some(&init)));
    let new = Dir::create(&root.0, "new").unwrap();
    let _ = std::fs::write(root.0.join("fill"), vec![0; 1 << 16]);
    let error = new.write(&record("new", None)).unwrap_err();
    assert_eq!(error.errno(), Some(libc::ENOSPC), "{error}");
    assert!(!root.file("new", "state.json.tmp").exists());
    drop(new);
    let runtime = root.runtime();
    assert_eq!(runtime.container("old").unwrap().state().unwrap().status, Status::Running);
    runtime.delete("new", true).unwrap();
    runtime.delete("old", true).unwrap();
    assert!(!init.is_alive());
    assert!(!root.0.join("old").exists() && !root.0.join("new").exists());
}

/// What is written is read by the short way.
#[test]
fn a_glance_takes_what_create_writes() {
    let root = TempRoot::new();
    let mut written = record("c", None);
    written.annotations.insert("a".into(), "b".into());
    written.init_process_inode = u64::MAX;
    plant(&root, &written);
    let opened = Root::open(&root.0).unwrap();
    let mut buffer = vec![0; GLANCE];
    let brief = opened.glance("c", &mut buffer).unwrap();
    assert_eq!((&*brief.id, &*brief.bundle, brief.init_process_inode), ("c", "/b", u64::MAX));
    assert_eq!(brief.annotations["a"], "b");
    // Anything else takes the long one, which says what is wrong.
    std::fs::rename(root.0.join("c"), root.0.join("d")).unwrap();
    assert!(opened.glance("d", &mut buffer).is_none(), "another container's");
    assert!(opened.glance("c", &mut buffer).is_none(), "none");
    let text = std::fs::read_to_string(root.file("d", "state.json")).unwrap();
    std::fs::write(root.file("d", "state.json"), text.replace("\"version\":1", "\"version\":2")).unwrap();
    assert!(opened.glance("d", &mut buffer).is_none(), "newer");
}
