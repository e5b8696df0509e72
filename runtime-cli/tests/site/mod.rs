//! A bundle, a state directory and a cgroup of its own, and what must not be left in them.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Bundle, Cgroups, processes, within};
use crate::trace::{Action, Outcome, Point, trace};

const BINARY: &str = env!("CARGO_BIN_EXE_runtime");
const ID: &str = "demo";
/// `delete --force` has this long.
const LIMIT: Duration = Duration::from_secs(10);

pub struct Site {
    scratch: PathBuf,
    bundle: Bundle,
    cgroups: Cgroups,
    /// What was there before.
    processes: BTreeSet<i32>,
    mounts: String,
    /// Holds the namespaces that the container joins.
    holder: Option<Child>,
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(holder) = &mut self.holder {
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}

/// The default config.
pub fn default(scratch: &Path) -> Site {
    Site::new(scratch, "default", None, |_| {})
}

/// The default config, of which the program stays.
pub fn sleeping(scratch: &Path) -> Site {
    Site::new(scratch, "sleeping", None, |config| {
        config["process"]["args"] = serde_json::json!(["/bin/sleep", "1000"]);
    })
}

/// One that maps ids, runs as a user and filters system calls.
pub fn user_namespace(scratch: &Path) -> Site {
    Site::new(scratch, "user", None, |config| {
        let map = serde_json::json!([{ "containerID": 0, "hostID": 0, "size": 65536 }]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
        config["linux"]["namespaces"].as_array_mut().unwrap().push(serde_json::json!({ "type": "user" }));
        config["process"]["user"] = serde_json::json!({ "uid": 1000, "gid": 1000 });
        config["linux"]["seccomp"] = serde_json::json!({ "defaultAction": "SCMP_ACT_ALLOW" , "syscalls": [
            { "names": ["reboot"], "action": "SCMP_ACT_ERRNO" }] });
    })
}

/// One whose first process is a child of the stage.
pub fn joined(scratch: &Path) -> Site {
    let holder = Command::new("unshare").args(["--pid", "--fork", "--kill-child", "sleep", "1000"]).spawn().unwrap();
    let file = format!("/proc/{}/ns/pid_for_children", holder.id());
    assert!(within(LIMIT, || fs::read_link(&file).is_ok_and(|ns| ns != fs::read_link("/proc/self/ns/pid").unwrap())));
    std::thread::sleep(Duration::from_millis(100));
    Site::new(scratch, "joined", Some(holder), |config| {
        for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
            if namespace["type"] == "pid" {
                namespace["path"] = file.as_str().into();
            }
        }
    })
}

/// The default config where no anonymous file may be executed: from now on, in this pid namespace.
pub fn in_process(scratch: &Path) -> Site {
    if fs::write("/proc/sys/vm/memfd_noexec", "2").is_err() {
        crate::common::skip("no vm.memfd_noexec before Linux 6.3");
    }
    default(scratch)
}

impl Site {
    fn new(scratch: &Path, name: &str, holder: Option<Child>, change: impl Fn(&mut serde_json::Value)) -> Self {
        let mut bundle = Bundle::new(&scratch.join("bundle"), &["/bin/true"]);
        change(&mut bundle.config);
        let cgroups = bundle.in_cgroup(&format!(
            "{name}-{}",
            std::env::var("RUNTIME_TEST_SCRATCH").unwrap().replace(|c: char| !c.is_ascii_digit(), "")
        ));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        Self { scratch: scratch.to_owned(), bundle, cgroups, processes: processes(), mounts, holder }
    }

    fn state(&self) -> PathBuf {
        self.scratch.join("state")
    }

    /// The command line of a verb, for this container.
    fn arguments(&self, verb: &str) -> Vec<String> {
        let text = |path: PathBuf| path.into_os_string().into_string().unwrap();
        let mut all = vec![BINARY.to_owned(), "--root".to_owned(), text(self.state())];
        match verb {
            "create" | "run" => {
                all.extend([verb, "--bundle"].map(str::to_owned));
                all.push(text(self.bundle.path.clone()));
                all.push("--pid-file".to_owned());
                all.push(text(self.scratch.join("pid")));
            }
            "delete" => all.extend([verb, "--force"].map(str::to_owned)),
            "update" => all.extend([verb, "--pids-limit", "100"].map(str::to_owned)),
            _ => all.push(verb.to_owned()),
        }
        all.push(ID.to_owned());
        match verb {
            "exec" => all.push("/bin/true".to_owned()),
            "kill" => all.push("KILL".to_owned()),
            _ => {}
        }
        all
    }

    /// Runs a verb to its end. `Err`: what went wrong.
    fn run(&self, verb: &str) -> Result<(), String> {
        let arguments = self.arguments(verb);
        let begin = Instant::now();
        let stderr = self.scratch.join("plain-stderr");
        let mut child = Command::new(&arguments[0])
            .args(&arguments[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        let ended =
            within(LIMIT, || fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap().contains(") Z "));
        if !ended {
            child.kill().unwrap();
        }
        let status = child.wait().unwrap();
        if status.success() {
            return Ok(());
        }
        let said = fs::read_to_string(&stderr).unwrap();
        Err(format!("{verb}: {status} after {:.1} s: {}", begin.elapsed().as_secs_f32(), said.trim()))
    }

    /// What has to be done before a verb.
    pub fn prepare(&self, verb: &str) {
        let before: &[&str] = match verb {
            "create" | "run" => &[],
            "start" => &["create"],
            "resume" => &["create", "start", "pause"],
            _ => &["create", "start"],
        };
        before.iter().for_each(|verb| self.run(verb).unwrap());
    }

    /// The verbs that only look must end, whatever they find; what is wrong with them.
    pub fn look(&self) -> Option<String> {
        ["state", "ps"].iter().find_map(|verb| {
            let error = self.run(verb).err()?;
            (!error.contains("exit status: 1 ") || error.ends_with(": ")).then_some(error)
        })
    }

    /// One verb under the eyes of a tracer.
    pub fn traced(&self, verb: &str, point: Point, action: Action) -> Outcome {
        let arguments = self.arguments(verb);
        trace(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), point, action, &self.scratch)
    }

    /// The calls each process makes when nothing is done to them. The first time, mount points are made.
    pub fn count(&self, verb: &str) -> Vec<Vec<u64>> {
        let nowhere = Point { process: 0, call: usize::MAX };
        let mut calls = Vec::new();
        for _ in 0..2 {
            self.prepare(verb);
            let outcome = self.traced(verb, nowhere, Action::Look);
            assert_eq!(outcome.code, 0, "{}", outcome.stderr);
            assert_eq!(self.delete_and_look(), None);
            calls = outcome.calls;
        }
        calls
    }

    /// Deletes by force; what is wrong then.
    pub fn delete_and_look(&self) -> Option<String> {
        self.run("delete").err().or_else(|| self.left())
    }

    /// The id is good for another container, from create to delete.
    pub fn use_again(&self) -> Option<String> {
        self.run("create").and_then(|()| self.run("start")).err().or_else(|| self.delete_and_look())
    }

    /// What is left of the container; dying takes a moment.
    pub fn left(&self) -> Option<String> {
        let others = || processes().difference(&self.processes).copied().collect::<Vec<_>>();
        if !within(Duration::from_secs(3), || others().is_empty()) {
            let name = |pid: &i32| {
                let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
                format!("{pid} {} in {}", comm.trim(), call.split(' ').next().unwrap_or_default().trim())
            };
            return Some(format!("processes are left: {:?}", others().iter().map(name).collect::<Vec<_>>()));
        }
        let states: Vec<_> =
            fs::read_dir(self.state()).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
        if !states.is_empty() {
            return Some(format!("state is left: {states:?}"));
        }
        let cgroups = self.cgroups.left();
        if !cgroups.is_empty() {
            return Some(format!("cgroups are left: {cgroups:?}"));
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        (mounts != self.mounts).then(|| "mounts are left".to_owned())
    }

    /// After a failure: what is left is not the next one's.
    pub fn start_over(&self) {
        for pid in processes().difference(&self.processes) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), nix::sys::signal::Signal::SIGKILL);
        }
        within(Duration::from_secs(3), || processes().difference(&self.processes).count() == 0);
        for path in self.cgroups.left() {
            let _ = fs::remove_dir(path);
        }
        let _ = fs::remove_dir_all(self.state());
        let _ = fs::remove_file(self.scratch.join("pid"));
    }
}

/// At most `most` of them, spread evenly, others in each run; all with `POINTS=all`.
pub fn sample<T: Copy>(points: &[T], most: usize) -> Vec<T> {
    if std::env::var("POINTS").is_ok_and(|value| value == "all") {
        return points.to_vec();
    }
    let step = points.len().div_ceil(most).max(1);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as usize;
    points.iter().copied().skip(now % step).step_by(step).collect()
}
