//! What is measured: each verb of each runtime, in turns.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::measure::{self, Sample};
use super::option::Options;
use super::peer::Peer;
use super::program::Programs;
use super::result::{Cell, Table};
use super::{Result, note, trace};

/// What `--only` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Run,
    RunFilter,
    Lifecycle,
    Exec,
    State,
    List,
    Parallel,
}

impl Verb {
    const ALL: [(Self, &str); 7] = [
        (Self::Run, "run"),
        (Self::RunFilter, "run+seccomp"),
        (Self::Lifecycle, "create+start+delete"),
        (Self::Exec, "exec"),
        (Self::State, "state"),
        (Self::List, "list"),
        (Self::Parallel, "parallel"),
    ];

    pub fn from_name(name: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|(_, known)| *known == name);
        found.map(|(verb, _)| *verb).ok_or_else(|| format!("unknown verb {name}; try --help"))
    }
}

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    Run,
    RunFilter,
    Create,
    Start,
    Delete,
    Lifecycle,
    Exec,
    State,
    List,
    Parallel,
}

impl Verb {
    /// The figure that says whether the verb works at all.
    fn figure(self) -> Figure {
        match self {
            Self::Run => Figure::Run,
            Self::RunFilter => Figure::RunFilter,
            Self::Lifecycle => Figure::Lifecycle,
            Self::Exec => Figure::Exec,
            Self::State => Figure::State,
            Self::List => Figure::List,
            Self::Parallel => Figure::Parallel,
        }
    }
}

/// The container that `exec` and `state` ask about.
const STANDING: &str = "bench-standing";

/// Bundles with the whole config.
pub const FULL: &str = "full";

/// Bundles without device rules, for a runtime that cannot load any here.
pub const NO_RULES: &str = "no-rules";

/// How many containers of `parallel` are under way at once.
const WORKERS: usize = 8;

/// One benchmark under way.
pub struct Bench<'a> {
    options: &'a Options,
    programs: &'a Programs,
    peers: &'a [Peer],
    directory: &'a Path,
    serial: AtomicUsize,
    /// Which bundles each runtime gets.
    bundles: Vec<&'static str>,
    notes: Vec<String>,
}

impl<'a> Bench<'a> {
    /// `directory` is the tmpfs with the bundles.
    pub fn new(options: &'a Options, programs: &'a Programs, peers: &'a [Peer], directory: &'a Path) -> Self {
        let bundles = vec![FULL; peers.len()];
        Self { options, programs, peers, directory, serial: AtomicUsize::new(0), bundles, notes: Vec::new() }
    }

    /// Measures everything; leaves no container, whatever happens.
    pub fn run(&mut self) -> Table {
        let mut table = Table::new();
        self.choose_bundles();
        self.prepare(&mut table);
        self.count_calls(&mut table);
        self.rounds(&mut table);
        self.clean();
        table
    }

    /// What a reader of the table must know.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// crun before 1.9 raises RLIMIT_MEMLOCK before it loads device rules, which needs CAP_SYS_RESOURCE; where
    /// root lacks that it is measured without the rules, and the table says so.
    fn choose_bundles(&mut self) {
        for (index, peer) in self.peers.iter().enumerate() {
            let root = self.root(peer, "state");
            let Err(error) = self.run_once(peer, &root, "true", "bench-probe") else { continue };
            if error.contains("RLIM_MEMLOCK") {
                self.bundles[index] = NO_RULES;
                self.notes.push(format!(
                    "{}: without device rules (the floor's cost about 0.25 ms), which it cannot load here: {error}",
                    peer.name
                ));
            }
        }
    }

    /// The bundle of this name that `peer` can run.
    fn bundle(&self, peer: &Peer, name: &str) -> String {
        let kind = self.peers.iter().position(|known| std::ptr::eq(known, peer)).map_or(FULL, |at| self.bundles[at]);
        self.directory.join(kind).join(name).to_string_lossy().into_owned()
    }

    fn progress(&self, text: &str) {
        if !self.options.quiet {
            note(text);
        }
    }

    /// Makes the containers that are only asked about.
    fn prepare(&self, table: &mut Table) {
        for (index, peer) in self.peers.iter().enumerate() {
            let mut skip = |figures: &[Figure], error: &str| {
                for figure in figures {
                    table.entry((*figure, index)).or_default().skipped = Some(error.to_owned());
                }
            };
            let root = self.root(peer, "state");
            if (self.options.wants(Verb::Exec) || self.options.wants(Verb::State))
                && let Err(error) = self.start_standing(peer, &root)
            {
                skip(&[Figure::Exec, Figure::State], &error);
            }
            if self.options.wants(Verb::List) {
                self.progress(&format!("{}: {} containers for list", peer.name, self.options.list));
                let root = self.root(peer, "list");
                let made = self.in_parallel(self.options.list, |n| {
                    self.create(peer, &root, "sleep", &format!("bench-list-{n}")).map(|(sample, _)| sample)
                });
                if let Err(error) = made {
                    skip(&[Figure::List], &error);
                }
            }
        }
    }

    fn start_standing(&self, peer: &Peer, root: &str) -> Result<()> {
        self.create(peer, root, "sleep", STANDING)?;
        self.call(peer, root, &["start", STANDING]).map(drop)
    }

    fn rounds(&self, table: &mut Table) {
        let wanted = |verb: Verb| self.options.wants(verb);
        let single: Vec<Verb> =
            Verb::ALL.iter().map(|(verb, _)| *verb).filter(|v| wanted(*v) && *v != Verb::Parallel).collect();
        // Round 0 warms the caches and finds out who lacks which verb.
        for round in 0..=self.options.rounds {
            self.progress(&format!("round {round} of {}", self.options.rounds));
            for verb in &single {
                self.turn(table, *verb, round);
            }
        }
        if wanted(Verb::Parallel) {
            for round in 0..=self.options.rounds.div_ceil(8) {
                self.progress(&format!("parallel round {round} of {}", self.options.rounds.div_ceil(8)));
                self.turn(table, Verb::Parallel, round);
            }
        }
    }

    /// Every runtime once, another one first in every round.
    fn turn(&self, table: &mut Table, verb: Verb, round: usize) {
        for at in 0..self.peers.len() {
            let index = (at + round) % self.peers.len();
            let peer = &self.peers[index];
            if table.get(&(verb.figure(), index)).is_some_and(|cell| cell.skipped.is_some()) {
                continue;
            }
            match self.measure(peer, verb) {
                Ok(samples) if round > 0 => {
                    for (figure, sample) in samples {
                        table.entry((figure, index)).or_default().samples.push(sample);
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    let cell: &mut Cell = table.entry((verb.figure(), index)).or_default();
                    self.progress(&format!("{}: {verb:?}: {error}", peer.name));
                    match round {
                        0 => cell.skipped = Some(error),
                        _ => cell.failures += 1,
                    }
                }
            }
        }
    }

    fn measure(&self, peer: &Peer, verb: Verb) -> Result<Vec<(Figure, Sample)>> {
        let root = self.root(peer, "state");
        let id = format!("bench-{}", self.serial.fetch_add(1, Ordering::Relaxed));
        let one = |figure, sample| vec![(figure, sample)];
        match verb {
            Verb::Run => Ok(one(Figure::Run, self.run_once(peer, &root, "true", &id)?)),
            Verb::RunFilter => Ok(one(Figure::RunFilter, self.run_once(peer, &root, "filter", &id)?)),
            Verb::Lifecycle => self.lifecycle(peer, &root, &id),
            Verb::Exec => Ok(one(Figure::Exec, self.call(peer, &root, &["exec", STANDING, "/bin/true"])?)),
            Verb::State => Ok(one(Figure::State, self.call(peer, &root, &["state", STANDING])?)),
            Verb::List => Ok(one(Figure::List, self.call(peer, &self.root(peer, "list"), &["list"])?)),
            Verb::Parallel => {
                let begin = Instant::now();
                let mut sum = self.in_parallel(self.options.parallel, |n| {
                    let parts = self.lifecycle(peer, &root, &format!("{id}-{n}"))?;
                    Ok(parts.iter().find(|(f, _)| *f == Figure::Lifecycle).map_or_else(Sample::default, |p| p.1))
                })?;
                sum.wall = begin.elapsed().as_nanos() as u64;
                Ok(one(Figure::Parallel, sum))
            }
        }
    }

    fn run_once(&self, peer: &Peer, root: &str, bundle: &str, id: &str) -> Result<Sample> {
        let done = self.call(peer, root, &["run", "--bundle", &self.bundle(peer, bundle), id]);
        if done.is_err() {
            let _ = self.call(peer, root, &["delete", "--force", id]);
        }
        done
    }

    /// create, start, and delete once the program has ended; the wait for it is in no figure.
    fn lifecycle(&self, peer: &Peer, root: &str, id: &str) -> Result<Vec<(Figure, Sample)>> {
        let done = self.lifecycle_steps(peer, root, id);
        if done.is_err() {
            let _ = self.call(peer, root, &["delete", "--force", id]);
        }
        done
    }

    fn lifecycle_steps(&self, peer: &Peer, root: &str, id: &str) -> Result<Vec<(Figure, Sample)>> {
        let (create, pid) = self.create(peer, root, "true", id)?;
        let start = self.call(peer, root, &["start", id])?;
        wait_for(pid)?;
        let delete = self.call(peer, root, &["delete", id])?;
        let all = create.then(start).then(delete);
        Ok(vec![(Figure::Create, create), (Figure::Start, start), (Figure::Delete, delete), (Figure::Lifecycle, all)])
    }

    fn create(&self, peer: &Peer, root: &str, bundle: &str, id: &str) -> Result<(Sample, Pid)> {
        let file = format!("{root}.{id}.pid");
        let bundle = self.bundle(peer, bundle);
        let sample = self.call(peer, root, &["create", "--bundle", &bundle, "--pid-file", &file, id])?;
        let text = std::fs::read_to_string(&file).map_err(|e| format!("{file}: {e}"))?;
        let _ = std::fs::remove_file(&file);
        let pid = text.trim().parse().map_err(|_| format!("{file}: not a pid: {text:?}"))?;
        Ok((sample, Pid::from_raw(pid)))
    }

    fn call(&self, peer: &Peer, root: &str, args: &[&str]) -> Result<Sample> {
        let program = peer.program.to_string_lossy();
        let command = [&[program.as_ref(), "--root", root][..], args].concat();
        let log = PathBuf::from(format!("{root}.{}.log", args.last().unwrap_or(&"").replace('/', "_")));
        let done = measure::run(&self.programs.measure, &command, &log);
        let _ = std::fs::remove_file(log);
        done
    }

    /// Runs `work` for every number below `count`, a few at a time; the sum, or the first error.
    fn in_parallel(&self, count: usize, work: impl Fn(usize) -> Result<Sample> + Sync) -> Result<Sample> {
        let next = AtomicUsize::new(0);
        let worker = || {
            let mut sum = Sample::default();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return Ok(sum);
                }
                sum = sum.then(work(n)?);
            }
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
            workers.into_iter().try_fold(Sample::default(), |sum, worker| {
                let part = worker.join().map_err(|_| "a worker panicked".to_owned())?;
                part.map(|part| sum.then(part))
            })
        })
    }

    /// Counts the system calls of the verbs that end by themselves. create is left out: strace would follow
    /// the container.
    fn count_calls(&self, table: &mut Table) {
        for (index, peer) in self.peers.iter().enumerate() {
            let [bundle, filter] = ["true", "filter"].map(|name| self.bundle(peer, name));
            let verbs: [(Verb, &[&str]); 5] = [
                (Verb::Run, &["run", "--bundle", &bundle, "bench-traced"]),
                (Verb::RunFilter, &["run", "--bundle", &filter, "bench-traced"]),
                (Verb::Exec, &["exec", STANDING, "/bin/true"]),
                (Verb::State, &["state", STANDING]),
                (Verb::List, &["list"]),
            ];
            for (verb, args) in verbs.into_iter().filter(|(verb, _)| self.options.wants(*verb)) {
                let root = self.root(peer, if verb == Verb::List { "list" } else { "state" });
                let program = peer.program.to_string_lossy();
                let command = [&[program.as_ref(), "--root", &root][..], args].concat();
                let calls = trace::count(&command, &self.directory.join("trace"));
                if calls.is_none() && matches!(verb, Verb::Run | Verb::RunFilter) {
                    let _ = self.call(peer, &root, &["delete", "--force", "bench-traced"]);
                }
                table.entry((verb.figure(), index)).or_default().calls = calls;
            }
        }
    }

    /// Deletes whatever containers are left, and reaps them.
    fn clean(&self) {
        for peer in self.peers {
            for kind in ["state", "list"] {
                let root = self.root(peer, kind);
                let left: Vec<String> = std::fs::read_dir(&root)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|entry| entry.file_name().to_string_lossy().into_owned())
                    .filter(|name| name.starts_with("bench-"))
                    .collect();
                let _ = self.in_parallel(left.len(), |n| self.call(peer, &root, &["delete", "--force", &left[n]]));
            }
        }
        let end = Instant::now() + Duration::from_secs(5);
        while waitpid(None, Some(WaitPidFlag::WNOHANG)).is_ok() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The state directory of `peer` for `kind`; made here, because the floor does not.
    fn root(&self, peer: &Peer, kind: &str) -> String {
        let path = self.directory.join(format!("{}-{kind}", peer.name));
        let _ = std::fs::create_dir_all(&path);
        path.to_string_lossy().into_owned()
    }
}

/// Waits for a container's first process, which this process inherited; at most 20 s.
fn wait_for(pid: Pid) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(20);
    let mut pause = Duration::from_micros(50);
    loop {
        match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(nix::sys::wait::WaitStatus::StillAlive) if Instant::now() < end => std::thread::sleep(pause),
            Ok(nix::sys::wait::WaitStatus::StillAlive) => return Err(format!("process {pid} does not end")),
            Ok(_) => return Ok(()),
            Err(error) => return Err(format!("waitpid({pid}): {error}")),
        }
        pause = (pause * 2).min(Duration::from_millis(2));
    }
}
