//! Containers for the tests: scratch root filesystems with one static program in them, our own runtime only.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use runtime_core::{Container, Create, Entry, ExitStatus, Options, ReportTo, Result, Runtime, Stdio};
use serde_json::{Value, json};

/// Says that nothing was tested, on the real standard error; an error where everything is to be tested.
pub fn skipped(test: &str, why: &str) {
    assert!(std::env::var_os("RUNTIME_TEST_ALL").is_none(), "{test}: {why}");
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}

/// The probe for one ABI; `None` where it cannot be built.
pub fn probe(flag: &str) -> Option<PathBuf> {
    static BUILT: OnceLock<Vec<(String, Option<PathBuf>)>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seccomp/probe.c");
        ["-m64", "-m32", "-mx32"]
            .map(|flag| {
                let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("probe{flag}"));
                let built = Command::new("cc")
                    .args([flag, "-static", "-O1", "-o"])
                    .arg(&program)
                    .arg(&source)
                    .arg("-lpthread")
                    .output();
                (flag.to_owned(), built.is_ok_and(|output| output.status.success()).then_some(program))
            })
            .to_vec()
    });
    built.iter().find(|(of, _)| of == flag)?.1.clone()
}

/// A directory for bundles and state, gone afterwards.
pub struct Bed {
    name: String,
    pub directory: PathBuf,
    pub runtime: Runtime,
}

/// What a container did.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub status: ExitStatus,
    pub output: String,
}

/// A container to be.
#[derive(Clone)]
pub struct Case<'a> {
    pub id: &'a str,
    pub program: &'a Path,
    pub args: &'a [&'a str],
    pub no_new_privileges: bool,
    pub seccomp: Value,
    pub report: Option<ReportTo>,
}

impl Bed {
    /// `None`, said aloud, where containers cannot be made.
    pub fn new(test: &str) -> Option<Bed> {
        Self::with_entry(test, Entry::Sealed)
    }

    pub fn with_entry(test: &str, entry: Entry) -> Option<Bed> {
        // SAFETY: geteuid(2) has no preconditions.
        if unsafe { libc::geteuid() } != 0 {
            skipped(test, "needs root");
            return None;
        }
        if probe("-m64").is_none() {
            skipped(test, "no C compiler");
            return None;
        }
        let name = format!("bed-{test}-{}", std::process::id());
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name);
        std::fs::create_dir_all(&directory).unwrap();
        let mut options = Options::new(directory.join("state"));
        options.entry = entry;
        Some(Bed { name, runtime: Runtime::new(options), directory })
    }

    /// Writes the bundle.
    pub fn bundle(&self, case: &Case<'_>) -> PathBuf {
        let bundle = self.directory.join(case.id);
        let rootfs = bundle.join("rootfs");
        std::fs::create_dir_all(&rootfs).unwrap();
        std::fs::copy(case.program, rootfs.join("probe")).unwrap();
        let args: Vec<&str> = std::iter::once("/probe").chain(case.args.iter().copied()).collect();
        let namespaces: Vec<Value> = ["pid", "mount", "ipc", "uts"].iter().map(|kind| json!({"type": kind})).collect();
        let config = json!({
            "ociVersion": "1.2.0",
            "process": {
                "args": args, "cwd": "/", "env": ["PATH=/"], "user": {"uid": 1000, "gid": 1000},
                "noNewPrivileges": case.no_new_privileges,
                "capabilities": {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"]},
            },
            "root": {"path": "rootfs"},
            "annotations": {"test": "seccomp"},
            "linux": {"namespaces": namespaces, "seccomp": case.seccomp,
                      "cgroupsPath": format!("/runtime-{}-{}", self.name, case.id)},
        });
        std::fs::write(bundle.join("config.json"), config.to_string()).unwrap();
        bundle
    }

    /// A child of another test may hold the copy of the program open for writing, until its own execve(2).
    fn run_when_written(&self, request: &Create<'_>) -> Result<Container> {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            match self.runtime.run(request) {
                Err(error) if error.errno() == Some(libc::ETXTBSY) && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                result => return result,
            }
        }
    }

    /// Creates and starts the container, by `run` or in two steps.
    pub fn start(&self, case: &Case<'_>, by_run: bool) -> Result<Container> {
        let bundle = self.bundle(case);
        let output = File::create(bundle.join("output")).unwrap();
        let null = File::open("/dev/null").unwrap();
        let request = Create {
            id: case.id,
            bundle: Some(&bundle),
            stdio: Stdio::Fds([null.as_fd(), output.as_fd(), output.as_fd()]),
            seccomp_report: case.report.clone(),
            ..Create::default()
        };
        if by_run {
            return self.run_when_written(&request);
        }
        let container = self.runtime.create(&request)?;
        match container.start() {
            Ok(()) => Ok(container),
            Err(error) => {
                container.wait().unwrap();
                self.runtime.delete(case.id, true).unwrap();
                Err(error)
            }
        }
    }

    /// The whole life of a container. After an error nothing is left of it.
    pub fn run(&self, case: &Case<'_>) -> Result<Outcome> {
        self.run_by(case, true)
    }

    pub fn run_by(&self, case: &Case<'_>, by_run: bool) -> Result<Outcome> {
        let outcome = self.start(case, by_run).map(|container| {
            let status = container.wait().unwrap();
            container.delete(true).unwrap();
            let output = std::fs::read_to_string(self.directory.join(case.id).join("output")).unwrap();
            Outcome { status, output }
        });
        assert!(!self.directory.join("state").join(case.id).exists(), "state is left");
        outcome
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        // No mount of a container is visible here, and its name is ours alone.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A profile that allows everything but `rule`.
pub fn except(rule: &Value) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [rule],
    })
}

/// Runs `body` on a thread on which the calls of `profile` behave as on another kernel.
pub fn under<T: Send>(profile: Value, body: impl FnOnce() -> T + Send) -> T {
    let profile = serde_json::from_value(profile).unwrap();
    let filter = runtime_core::seccomp::compile(&profile, runtime_core::seccomp::Arch::native()).unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let bytes = filter.bytes();
            let program =
                libc::sock_fprog { len: filter.program.len() as u16, filter: bytes.as_ptr().cast_mut().cast() };
            // SAFETY: the program outlives the call, which reads it; only this thread gets the filter.
            let loaded = unsafe { libc::syscall(libc::SYS_seccomp, 1_u64, 0_u64, &raw const program) };
            assert_eq!(loaded, 0, "{}", std::io::Error::last_os_error());
            body()
        });
        thread.join().unwrap()
    })
}
