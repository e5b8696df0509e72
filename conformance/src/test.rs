//! One run of one case with one runtime: its names, its folder, and the verbs as short helpers.

pub use crate::outcome::{Failure, Outcome, skip};

use crate::check;

use crate::bundle::Bundle;
use crate::command::{self, Output, Running};
use crate::guard;
use crate::leak;
use crate::machine::patient;
use crate::report::Report;
use crate::runtime::Runtime;
use serde_json::Value;
use std::cell::RefCell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long one runtime call may take. Generous: the machine is shared, and a hang is what it is for.
pub const LIMIT: Duration = Duration::from_secs(10);
/// How long something that happens after a call may take.
const WAIT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Test {
    pub runtime: Runtime,
    /// Unique on the host: container id, cgroup name and process marker.
    pub id: String,
    pub folder: PathBuf,
    /// The runtime's `--root`.
    pub state: PathBuf,
    /// `--all`: every point instead of a sample.
    pub all: bool,
    /// How long one call of the runtime may take.
    pub limit: Duration,
    transcript: RefCell<Vec<String>>,
    remarks: RefCell<Vec<String>>,
}

impl Test {
    pub fn new(runtime: &Runtime, id: String, folder: PathBuf, all: bool) -> std::io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let state = folder.join("state");
        Ok(Self {
            runtime: runtime.clone(),
            id,
            folder,
            state,
            all,
            limit: patient(LIMIT),
            transcript: RefCell::default(),
            remarks: RefCell::default(),
        })
    }

    pub fn bundle(&self) -> Outcome<Bundle> {
        Ok(self.fitting(Bundle::new(&self.folder.join("bundle"), &self.id)?))
    }

    /// A bundle in a user namespace of its own ([`Bundle::map_root`]).
    pub fn mapped_bundle(&self) -> Outcome<Bundle> {
        let mut bundle = self.bundle()?;
        bundle.map_root()?;
        Ok(bundle)
    }

    /// A folder of the test's own, outside of the root filesystem.
    pub fn subfolder(&self, name: &str) -> Outcome<String> {
        let path = self.folder.join(name);
        fs::create_dir_all(&path)?;
        Ok(path.to_string_lossy().into_owned())
    }

    fn fitting(&self, mut bundle: Bundle) -> Bundle {
        if self.runtime.v2_view {
            // crun raises RLIMIT_MEMLOCK for its eBPF program, which root may not do on every test machine.
            bundle.remove("/linux/resources");
        }
        bundle
    }

    /// Another bundle, for a second container of the same case.
    pub fn bundle_named(&self, name: &str) -> Outcome<Bundle> {
        let bundle = Bundle::new(&self.folder.join(name), &format!("{}{name}", self.id))?;
        Ok(self.fitting(bundle.with("/linux/cgroupsPath", format!("/{}{name}", self.id).into())))
    }

    /// The runtime with `--root`, marked as this test's, in front of which `before` is put (strace and the like).
    pub fn command(&self, before: &[&str], args: &[&str]) -> Command {
        let mut command = self.runtime.command(before);
        command.arg("--root").arg(&self.state).args(args);
        command.env(leak::MARKER, &self.id);
        command.env_remove("XDG_RUNTIME_DIR").env_remove("NOTIFY_SOCKET").env_remove("LISTEN_FDS");
        command
    }

    /// Writes the command down, unless it could harm this host: then it is refused. Every start passes here.
    pub fn allowed(&self, command: &Command) -> Outcome {
        // The wrapper in front of the runtime is always the same; from its path on it is worth reading.
        let words: Vec<String> = command.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
        let from = words.iter().position(|w| Path::new(w) == self.runtime.path).map_or(0, |n| n + 1);
        if let Some(word) = guard::dangerous(&words[from..]) {
            let name = &self.runtime.name;
            return Err(format!("refused to start {name}: {word:?} as an id could destroy this host").into());
        }
        self.transcript.borrow_mut().push(format!("$ {} {}", self.runtime.name, words[from..].join(" ")));
        Ok(())
    }

    /// Starts without waiting.
    pub fn spawn(&self, command: Command, stdin: Option<File>) -> Outcome<Running> {
        self.allowed(&command)?;
        Ok(command::start(command, &self.folder, stdin)?)
    }

    pub fn wait(&self, running: Running) -> Outcome<Output> {
        let output = running.wait(self.limit)?;
        let mut transcript = self.transcript.borrow_mut();
        transcript.push(format!("  exit {} after {:?}", output.code, output.took));
        let head = |s: &str| s.chars().take(600).collect::<String>();
        transcript.extend(
            [("out", &output.stdout), ("err", &output.stderr)]
                .iter()
                .filter(|p| !p.1.is_empty())
                .map(|(n, t)| format!("  {n}: {}", head(t))),
        );
        check!(!output.timed_out, "timed out after {:?}", output.took);
        check!(!output.crashed(), "the runtime crashed (exit {}): {}", output.code, output.stderr);
        Ok(output)
    }

    /// Any command, waited for.
    pub fn finish(&self, command: Command) -> Outcome<Output> {
        let running = self.spawn(command, None)?;
        self.wait(running)
    }

    /// The runtime with these arguments.
    pub fn rt(&self, args: &[&str]) -> Outcome<Output> {
        self.finish(self.command(&[], args))
    }

    /// Skips the case where the runtime has no such verb (`VERB --help` is how engines ask).
    pub fn needs(&self, verb: &str) -> Outcome {
        match self.rt(&[verb, "--help"])?.code {
            0 => Ok(()),
            _ => skip(&format!("this runtime has no {verb}")),
        }
    }

    /// Skips the case where strace(1) is not installed.
    pub fn needs_strace(&self) -> Outcome {
        match crate::runtime::in_path("strace") {
            Some(_) => Ok(()),
            None => skip("strace is not installed"),
        }
    }

    /// [`Bundle::busybox`], without which the case is skipped.
    pub fn busybox(&self, bundle: &Bundle, names: &[&str]) -> Outcome {
        if bundle.busybox(names)? { Ok(()) } else { skip("no static busybox") }
    }

    /// As [`Test::rt`], and it must exit with 0.
    pub fn ok(&self, args: &[&str]) -> Outcome<Output> {
        let output = self.rt(args)?;
        check!(output.code == 0, "{args:?}: exit {}: {}", output.code, output.stderr.trim());
        Ok(output)
    }

    /// As [`Test::rt`], and it must exit with 1 and name `text` (any case).
    pub fn fails(&self, args: &[&str], text: &str) -> Outcome<Output> {
        let output = self.rt(args)?;
        check!(output.code == 1, "{args:?}: exit {}, wanted 1: {}", output.code, output.stderr.trim());
        let said = output.stderr.to_lowercase();
        check!(said.contains(&text.to_lowercase()), "{args:?}: error does not say {text:?}: {}", output.stderr.trim());
        Ok(output)
    }

    /// `run` in the foreground.
    pub fn run(&self, bundle: &Bundle) -> Outcome<Output> {
        self.run_behind(&[], bundle)
    }

    /// As [`Test::run`], with these words in front of the runtime.
    pub fn run_behind(&self, before: &[&str], bundle: &Bundle) -> Outcome<Output> {
        bundle.save()?;
        self.finish(self.command(before, &["run", "--bundle", &bundle.path.to_string_lossy(), &self.id]))
    }

    /// As [`Test::run`], from a script in a mount namespace of its own, in which "$@" is the runtime with its arguments.
    pub fn run_within(&self, script: &str, bundle: &Bundle) -> Outcome<Output> {
        let script = format!("set -e; cd {}; {script}", self.folder.display());
        self.run_behind(&["unshare", "-m", "sh", "-c", &script, "sh"], bundle)
    }

    /// `run` that must succeed; what the container printed.
    pub fn run_ok(&self, bundle: &Bundle) -> Outcome<String> {
        let output = self.run(bundle)?;
        check!(output.code == 0, "run: exit {}: {}", output.code, output.stderr.trim());
        Ok(output.stdout)
    }

    /// `run` that must fail before the container's program starts; the error text.
    pub fn run_refused(&self, bundle: &Bundle, text: &str) -> Outcome<String> {
        let output = self.run(bundle)?;
        check!(
            output.code == 1,
            "run: exit {}, wanted 1; out: {}",
            output.code,
            output.stdout.chars().take(200).collect::<String>()
        );
        check!(output.stdout.is_empty(), "something ran: {:?}", output.stdout.chars().take(200).collect::<String>());
        let said = output.stderr.to_lowercase();
        check!(said.contains(&text.to_lowercase()), "error does not say {text:?}: {}", output.stderr.trim());
        Ok(output.stderr)
    }

    /// Runs the probe and parses its report.
    pub fn report(&self, bundle: &Bundle) -> Outcome<Report> {
        self.report_behind(&[], bundle)
    }

    /// As [`Test::report`], with these words in front of the runtime.
    pub fn report_behind(&self, before: &[&str], bundle: &Bundle) -> Outcome<Report> {
        self.reported(&self.run_behind(before, bundle)?)
    }

    /// As [`Test::report`], by way of [`Test::run_within`].
    pub fn report_within(&self, script: &str, bundle: &Bundle) -> Outcome<Report> {
        self.reported(&self.run_within(script, bundle)?)
    }

    /// As [`Test::report`], of a second container beside the test's own.
    pub fn report_beside(&self, bundle: &Bundle) -> Outcome<Report> {
        bundle.save()?;
        let id = format!("{}second", self.id);
        self.reported(&self.rt(&["run", "--bundle", &bundle.path.to_string_lossy(), &id])?)
    }

    fn reported(&self, output: &Output) -> Outcome<Report> {
        check!(output.code == 0, "run: exit {}: {}", output.code, output.stderr.trim());
        Ok(Report::parse(&output.stdout)?)
    }

    /// Runs the probe, which also looks at these paths.
    pub fn report_paths(&self, bundle: Bundle, paths: &[&str]) -> Outcome<Report> {
        self.report(&bundle.looking_at(paths))
    }

    pub fn create(&self, bundle: &Bundle) -> Outcome<Running> {
        bundle.save()?;
        let args = ["create", "--bundle", &bundle.path.to_string_lossy(), &self.id];
        let running = self.spawn(self.command(&[], &args), None)?;
        Ok(running)
    }

    /// `create` that must succeed.
    pub fn create_ok(&self, bundle: &Bundle) -> Outcome<Output> {
        let running = self.create(bundle)?;
        let output = self.wait(running)?;
        check!(output.code == 0, "create: exit {}: {}", output.code, output.stderr.trim());
        Ok(output)
    }

    /// The state document.
    pub fn state(&self) -> Outcome<Value> {
        Ok(serde_json::from_str(&self.ok(&["state", &self.id])?.stdout)?)
    }

    /// Waits until the status is `wanted`.
    pub fn wait_status(&self, wanted: &str) -> Outcome<Value> {
        let (start, limit) = (Instant::now(), patient(WAIT));
        loop {
            let state = self.state()?;
            if state["status"] == wanted {
                return Ok(state);
            }
            check!(start.elapsed() < limit, "status stays {}, wanted {wanted}", state["status"]);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// `create` and `start`, which must succeed.
    pub fn start(&self, bundle: &Bundle) -> Outcome<Output> {
        self.create_ok(bundle)?;
        self.ok(&["start", &self.id])
    }

    /// Creates and starts `probe sleep`; the container's host pid.
    pub fn sleeper(&self, bundle: Bundle) -> Outcome<i32> {
        self.start(&bundle.probe(&["sleep", "600"]))?;
        let pid = self.wait_status("running")?["pid"].as_i64().unwrap_or(0);
        check!(pid > 1, "no pid in the state");
        Ok(pid as i32)
    }

    /// `delete --force`, which must succeed.
    pub fn delete(&self) -> Outcome<Output> {
        self.ok(&["delete", "--force", &self.id])
    }

    /// Waits until a file exists (or a condition on it holds).
    pub fn wait_for(&self, what: &str, mut condition: impl FnMut() -> bool) -> Outcome {
        let (start, limit) = (Instant::now(), patient(WAIT));
        while !condition() {
            check!(start.elapsed() < limit, "waited {limit:?} for: {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// A file of the test's cgroup; where there is only version 2, the controller does not matter.
    pub fn cgroup_file(&self, controller: &str, file: &str) -> Option<String> {
        fs::read_to_string(self.cgroup(controller).join(file)).ok().map(|s| s.trim().into())
    }

    /// The test's cgroup in the hierarchy of a controller, or in the only one there is.
    pub fn cgroup(&self, controller: &str) -> PathBuf {
        let root = Path::new("/sys/fs/cgroup");
        let root = if crate::runtime::unified() { root.into() } else { root.join(controller) };
        root.join(&self.id)
    }

    /// Skips the case where this runtime does not see cgroups as the host has them.
    pub fn cgroups(&self) -> Outcome {
        if self.runtime.v2_view || !(crate::runtime::hybrid() || crate::runtime::unified()) {
            return skip("the runtime does not see the host's cgroups");
        }
        Ok(())
    }

    /// As [`Test::cgroups`], for what is different on version 2.
    pub fn cgroups_v1(&self) -> Outcome {
        self.cgroups()?;
        if !crate::runtime::hybrid() {
            return skip("the cgroup v1 hierarchies are not to be seen");
        }
        Ok(())
    }

    /// As [`Test::cgroups`], for a host that has version 2 only.
    pub fn cgroups_v2(&self) -> Outcome {
        self.cgroups()?;
        if !crate::runtime::unified() {
            return skip("this host has cgroup v1 (the guest has not)");
        }
        Ok(())
    }

    /// A figure that is printed with the result.
    pub fn remark(&self, line: &str) {
        self.remarks.borrow_mut().push(line.to_owned());
    }

    pub fn remarks(&self) -> Vec<String> {
        self.remarks.take()
    }

    pub fn transcript(&self) -> String {
        self.transcript.borrow().join("\n")
    }
}
