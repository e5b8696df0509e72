//! Runs every case with every runtime, two at a time, and says what came out.

use crate::attempt::{Attempt, Verdict};
use crate::cases;
use crate::expect;
use crate::isolate;
use crate::leak;
use crate::rootfs;
use crate::runtime::Runtime;
use crate::tally::Tally;
use crate::test::{Outcome, Test};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One behaviour, named `noun::what`.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    pub run: fn(&Test) -> Outcome,
}

/// A table row from a function of the same name: `cases!["mount": binds_are_rw, tmpfs_size]`.
#[macro_export]
macro_rules! cases {
    ($noun:literal: $($function:ident),+ $(,)?) => {
        pub const CASES: &[$crate::harness::Case] = &[
            $($crate::harness::Case { name: concat!($noun, "::", stringify!($function)), run: $function }),+
        ];
    };
}

#[derive(Debug, Default)]
struct Options {
    runtimes: Vec<PathBuf>,
    filters: Vec<String>,
    all: bool,
    list: bool,
    jobs: usize,
    verbose: bool,
    /// Of the default runtimes, only these.
    only: Vec<String>,
    /// What has not begun by then is skipped.
    within: Option<Duration>,
}

/// `conformance test …`; the exit status.
pub fn main(args: &[String]) -> i32 {
    let options = match parse(args) {
        Ok(options) => options,
        Err(e) => {
            eprintln!("{e}");
            return 2;
        }
    };
    let chosen: Vec<Case> = cases::all().into_iter().filter(|c| options.wants(c.name)).collect();
    if options.list {
        chosen.iter().for_each(|c| println!("{}", c.name));
        return 0;
    }
    if let Err(e) = isolated(&options, &chosen) {
        eprintln!("{e}: no runtime was started");
        return 1;
    }
    let (mut runtimes, mut missing) = match options.runtimes.is_empty() {
        true => Runtime::defaults(),
        false => (options.runtimes.iter().map(|p| Runtime::new(p)).collect(), Vec::new()),
    };
    if !options.only.is_empty() {
        runtimes.retain(|runtime| options.only.contains(&runtime.name));
        missing.retain(|(name, _)| options.only.contains(name));
    }
    run(&options, &chosen, &runtimes, &missing)
}

/// From here on nothing of the host can be written to. A root filesystem that is not there yet is made on the way.
fn isolated(options: &Options, chosen: &[Case]) -> Result<(), String> {
    let visible: Vec<&Path> = options.runtimes.iter().map(PathBuf::as_path).collect();
    if !chosen.iter().any(|case| case.name.contains("::debian_")) {
        return isolate::enter(&[], &visible);
    }
    let cache = rootfs::cache()?;
    isolate::enter(&[&cache], &visible)?;
    rootfs::prepare(&cache);
    if crate::machine::disposable() {
        return Ok(());
    }
    isolate::close(&cache)?;
    isolate::prove(&[])
}

fn parse(args: &[String]) -> Result<Options, String> {
    let mut options = Options { jobs: 2, all: std::env::var_os("CONFORMANCE_ALL").is_some(), ..Options::default() };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().cloned().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--runtime" => options.runtimes.push(value()?.into()),
            "--jobs" | "--test-threads" => options.jobs = value()?.parse().map_err(|e| format!("{arg}: {e}"))?,
            "--within" => options.within = Some(seconds(&value()?)?),
            "--only" => options.only.push(value()?),
            "--all" => options.all = true,
            "--list" => options.list = true,
            "--verbose" => options.verbose = true,
            "--nocapture" | "--quiet" | "-q" => {}
            flag if flag.starts_with('-') => return Err(format!("unknown option {flag}")),
            filter => options.filters.push(filter.into()),
        }
    }
    Ok(options)
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_secs).map_err(|e| format!("--within: {e}"))
}

impl Options {
    /// A filter with `::` begins with the whole noun: `process::` is not for `attack_process::` too.
    fn wants(&self, name: &str) -> bool {
        let fits = |filter: &String| match filter.contains("::") {
            true => name.starts_with(filter.as_str()),
            false => name.contains(filter.as_str()),
        };
        self.filters.is_empty() || self.filters.iter().any(fits)
    }
}

type Differences = BTreeMap<String, BTreeMap<String, String>>;

/// All cases with all runtimes under way.
struct Run<'a> {
    options: &'a Options,
    folder: PathBuf,
    begin: Instant,
    differences: Differences,
    tally: Mutex<Tally>,
}

fn run(options: &Options, chosen: &[Case], runtimes: &[Runtime], missing: &[(String, String)]) -> i32 {
    let mounts = leak::mounts();
    let mut tally = Tally::default();
    missing.iter().for_each(|(name, why)| tally.missing(name, why, chosen.len()));
    let differences = differences(runtimes, &mut tally);
    let folder = std::env::temp_dir().join(format!("conformance-{}", std::process::id()));
    let run = Run { options, folder, begin: Instant::now(), differences, tally: Mutex::new(tally) };
    // Case by case, all runtimes in turn: what one runtime does slowly is not all at the end.
    let work: Vec<(&Case, &Runtime)> = chosen.iter().flat_map(|c| runtimes.iter().map(move |r| (c, r))).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                while let Some((case, runtime)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run.one(case, runtime);
                }
            });
        }
    });
    if leak::mounts_under(&run.folder).is_empty() {
        let _ = std::fs::remove_dir_all(&run.folder);
    }
    let mut tally = run.tally();
    look_at_mounts(&mut tally, &mounts, runtimes.iter().any(Runtime::is_ours));
    tally.end()
}

impl Run<'_> {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn one(&self, case: &Case, runtime: &Runtime) {
        let start = Instant::now();
        if self.options.within.is_some_and(|within| self.begin.elapsed() > within) {
            self.tally().tell(case, runtime, &Verdict::Skipped("out of time".into()), Duration::ZERO);
            return;
        }
        let expected = self.differences.get(&runtime.name).and_then(|list| list.get(case.name));
        let attempt = || Attempt::new(case, runtime, &self.folder, self.options.all, expected);
        let mut done = attempt();
        if !runtime.is_ours() && done.failed() {
            // A control is there to show that a case is right, not that the peer always is. Ours has one try.
            done = attempt();
            done.remarks.push("this is the second try".into());
        }
        // What belongs together is printed together.
        let mut tally = self.tally();
        tally.tell(case, runtime, &done.verdict, start.elapsed());
        if self.options.verbose || done.failed() {
            done.transcript.lines().for_each(|line| println!("      {line}"));
        }
        done.remarks.iter().for_each(|line| println!("         {}: {line}", runtime.name));
    }
}

/// The listed ones of every runtime. One of a case that does not exist is a mistake in the list.
fn differences(runtimes: &[Runtime], tally: &mut Tally) -> Differences {
    let known: Vec<&str> = cases::all().iter().map(|c| c.name).collect();
    let mut all = Differences::new();
    for name in runtimes.iter().map(|runtime| &runtime.name) {
        match expect::differences(name) {
            Err(e) => tally.fail(format!("expect/{name}.toml: {e}")),
            Ok(list) => {
                for case in list.keys().filter(|case| !known.contains(&case.as_str())) {
                    tally.fail(format!("expect/{name}.toml names {case}, which does not exist"));
                }
                all.insert(name.clone(), list);
            }
        }
    }
    all
}

/// The mounts of the whole machine are compared once, at the end: other tests' containers come and go in between. What peers
/// alone have changed is only told: on a host with nsdelegate, runc takes that flag from the whole cgroup hierarchy
/// (opencontainers/runc#5258).
fn look_at_mounts(tally: &mut Tally, before: &[String], with_ours: bool) {
    let after = leak::mounts();
    let changed = after.iter().filter(|m| !before.contains(m)).chain(before.iter().filter(|m| !after.contains(m)));
    for line in changed.map(|m| format!("the host's mounts changed: {m}")) {
        match with_ours {
            true => tally.fail(line),
            false => println!("         {line}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_filter_with_colons_is_a_whole_noun() {
        let wants = |filter: &str, name: &str| parse(&[filter.to_owned()]).is_ok_and(|options| options.wants(name));
        assert!(wants("process::", "process::cwd_is_made") && wants("process::cwd", "process::cwd_is_made"));
        assert!(!wants("process::", "attack_process::cwd_is_made_inside"));
        assert!(wants("cwd", "attack_process::cwd_is_made_inside") && !wants("cwd", "mount::order"));
    }
}
