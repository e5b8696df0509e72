//! The runner, with real programs of this machine.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::sys::proc;

/// A directory for what a hook writes.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("runtime-hook-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn shell(script: &str) -> Hook {
    let args = ["sh", "-c", script].map(str::to_owned).into();
    Hook { path: "/bin/sh".to_owned(), args, env: vec!["ONLY=this".to_owned()], timeout: None }
}

fn run_in(cwd: &Path, hook: &Hook, state: &str) -> Result<()> {
    let scene = Scene { bundle: cwd.to_str().unwrap(), dir: None, log: None, limit: None };
    run(HookKind::CreateRuntime, 3, hook, state, scene)
}

fn error(hook: &Hook) -> String {
    run_in(Path::new("/"), hook, "{}").unwrap_err().to_string()
}

#[test]
fn gets_the_state_its_environment_its_directory_and_nothing_else() {
    let place = Place::new();
    // A descriptor that a careless caller has open without close-on-exec.
    let leak = File::open("/dev/null").unwrap();
    nix::fcntl::fcntl(&leak, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let script = "cat >state; pwd >cwd; cat /proc/self/environ >environ; ls -l /proc/$$/fd >fds; cat /proc/$$/stat >stat; \
                  grep Sig /proc/self/status >signals";
    run_in(&place.0, &shell(script), "the state").unwrap();
    assert_eq!(place.read("state"), "the state");
    assert_eq!(place.read("cwd").trim(), place.0.to_str().unwrap());
    let environ = place.read("environ");
    let names: Vec<&str> = environ.split_terminator('\0').filter(|e| !e.starts_with("PWD=")).collect();
    assert_eq!(names, ["ONLY=this"], "the shell adds PWD");
    let fds = place.read("fds");
    let numbers: Vec<&str> = fds
        .lines()
        .filter_map(|line| line.split(" -> ").next()?.split(' ').next_back())
        .filter(|n| *n != "0")
        .collect();
    assert!(fds.contains("/memfd:state"), "{fds}");
    // 1 is the redirection of ls; dash keeps the old one above.
    assert!(numbers.iter().all(|number| ["1", "2", "10"].contains(number) || number.parse::<u8>().is_err()), "{fds}");
    let stat = place.read("stat");
    let words: Vec<&str> = stat.split(' ').collect();
    assert_eq!((words[0], words[0]), (words[4], words[5]), "leads a group and a session: {stat}");
    assert!(place.read("signals").contains("SigBlk:\t0000000000000000"), "{}", place.read("signals"));
    // Rust programs ignore SIGPIPE; hooks must not.
    assert!(place.read("signals").contains("SigIgn:\t0000000000000000"), "{}", place.read("signals"));
}

#[test]
fn a_directory_that_is_gone_is_no_obstacle() {
    let place = Place::new();
    let script = format!("pwd > {}/cwd", place.0.display());
    run_in(Path::new("/nowhere/at/all"), &shell(&script), "").unwrap();
    assert_eq!(place.read("cwd").trim(), "/");
}

#[test]
fn a_failure_says_all_there_is_to_know() {
    let text = error(&shell("echo to stdout; echo to stderr >&2; exit 3"));
    assert!(text.contains("error running createRuntime hook #3: /bin/sh: exit status 3 after "), "{text}");
    assert!(text.starts_with("/hooks/createRuntime/3: "), "{text}");
    assert!(text.contains("output: to stdout to stderr"), "{text}");
    let text = error(&shell("kill -SEGV $$"));
    assert!(text.contains("killed by SIGSEGV after "), "{text}");
    assert!(!text.contains("output"), "{text}");
}

#[test]
fn a_program_that_cannot_run_is_explained() {
    let place = Place::new();
    let write = |name: &str, text: &str, mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        let path = place.0.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        Hook { args: vec!["x".to_owned()], path: path.to_str().unwrap().to_owned(), ..Hook::default() }
    };
    let missing = Hook { path: "/no/such/hook".to_owned(), args: vec!["x".to_owned()], ..Hook::default() };
    let text = error(&missing);
    assert!(text.contains("/no/such/hook: execve: no such file or directory (ENOENT) — the path"), "{text}");
    let text = error(&write("script", "#!/no/such/interpreter\n", 0o755));
    assert!(text.contains("(ENOENT) — the file exists, so its interpreter"), "{text}");
    let text = error(&write("plain", "x", 0o644));
    assert!(text.contains("permission denied (EACCES)"), "{text}");
    let text = error(&write("text", "echo x\n", 0o755));
    assert!(text.contains("(ENOEXEC)"), "{text}");
}

#[test]
fn a_timeout_takes_the_whole_tree() {
    let place = Place::new();
    // A child in the group, one in a session of its own, and a shell that ignores what can be ignored.
    let script = "trap '' TERM INT HUP; sleep 300 & echo $! >pids; setsid sh -c 'echo $$ >>pids; sleep 300; true' & \
                  while [ $(wc -l <pids) -lt 2 ]; do :; done; echo waiting; wait; sleep 300";
    let hook = Hook { timeout: Some(1), ..shell(script) };
    let start = Instant::now();
    let text = run_in(&place.0, &hook, "").unwrap_err().to_string();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(text.contains("hook ran past specified timeout of 1.0s, output: waiting"), "{text}");
    let pids = place.read("pids");
    assert_eq!(pids.lines().count(), 2, "{pids}");
    for pid in pids.lines().map(|line| line.trim().parse::<i32>().unwrap()) {
        let end = Instant::now() + Duration::from_secs(2);
        while proc::stat(pid).is_ok_and(|stat| stat.is_alive()) {
            assert!(Instant::now() < end, "{pid} lives on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn what_a_hook_leaves_running_holds_nobody_up() {
    let place = Place::new();
    let start = Instant::now();
    run_in(&place.0, &shell("sleep 20 & echo $! >pid"), "").unwrap();
    assert!(start.elapsed() < Duration::from_secs(10));
    let pid = place.read("pid").trim().parse().unwrap();
    assert!(proc::stat(pid).is_ok_and(|stat| stat.is_alive()), "a hook may start a daemon");
    kill_tree(pid);
}

#[test]
fn a_huge_state_that_nobody_reads_and_endless_output_block_nothing() {
    let state = "x".repeat(4 << 20);
    let start = Instant::now();
    run_in(Path::new("/"), &shell("exec <&-; head -c 3000000 /dev/zero"), &state).unwrap();
    run_in(Path::new("/"), &shell("[ $(wc -c) = 4194304 ]"), &state).unwrap();
    let text = error(&shell("head -c 3000000 /dev/zero | tr '\\0' z; echo end; exit 1"));
    assert!(text.ends_with("zzend") && text.len() < TAIL + 300, "{}", text.len());
    let text = error(&Hook { timeout: Some(1), ..shell("yes") });
    assert!(text.contains("ran past specified timeout"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(20));
}
