//! Runs every case with every runtime, two at a time, and says what came out.

use crate::cases;
use crate::expect;
use crate::isolate;
use crate::leak;
use crate::rootfs;
use crate::runtime::Runtime;
use crate::test::{Failure, Outcome, Test};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
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

enum Verdict {
    Passed,
    /// A listed difference that is still there.
    Expected(String),
    Skipped(String),
    Failed(String),
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

struct Tally {
    passed: usize,
    failed: Vec<String>,
    skipped: usize,
    expected: usize,
}

fn run(options: &Options, chosen: &[Case], runtimes: &[Runtime], missing: &[(String, String)]) -> i32 {
    let folder = std::env::temp_dir().join(format!("conformance-{}", std::process::id()));
    let mounts = leak::mounts();
    let tally = Mutex::new(Tally { passed: 0, failed: Vec::new(), skipped: 0, expected: 0 });
    for (name, why) in missing {
        println!("skipped  {name}: {} cases: {why}", chosen.len());
        lock(&tally).skipped += chosen.len();
    }
    let mut differences = BTreeMap::new();
    for runtime in runtimes {
        match expect::differences(&runtime.name) {
            Ok(list) => drop(differences.insert(runtime.name.clone(), list)),
            Err(e) => lock(&tally).failed.push(format!("expect/{}.toml: {e}", runtime.name)),
        }
    }
    stale(&differences, &tally);
    // Case by case, all runtimes in turn: what one runtime does slowly is not all at the end.
    let work: Vec<(&Case, &Runtime)> = chosen.iter().flat_map(|c| runtimes.iter().map(move |r| (c, r))).collect();
    let next = AtomicUsize::new(0);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                while let Some((case, runtime)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if options.within.is_some_and(|within| begin.elapsed() > within) {
                        let late = Verdict::Skipped("out of time".into());
                        tell(case, runtime, &late, "", Duration::ZERO, &tally, false);
                        continue;
                    }
                    let expected = differences.get(&runtime.name).and_then(|l| l.get(case.name));
                    let start = Instant::now();
                    let mut done = one(case, runtime, &folder, options.all, expected);
                    if !runtime.is_ours() && matches!(done.0, Verdict::Failed(_)) {
                        // A control is there to show that a case is right, not that the peer always is. Ours has one try.
                        done = one(case, runtime, &folder, options.all, expected);
                        done.1.push("this is the second try".into());
                    }
                    let (verdict, remarks, transcript) = done;
                    tell(case, runtime, &verdict, &transcript, start.elapsed(), &tally, options.verbose);
                    remarks.iter().for_each(|line| println!("         {}: {line}", runtime.name));
                }
            });
        }
    });
    if leak::mounts_under(&folder).is_empty() {
        let _ = std::fs::remove_dir_all(&folder);
    }
    end(&tally, &mounts, runtimes.iter().any(Runtime::is_ours))
}

/// A listed difference of a case that does not exist is a mistake in the list.
fn stale(differences: &BTreeMap<String, BTreeMap<String, String>>, tally: &Mutex<Tally>) {
    let known: Vec<&str> = cases::all().iter().map(|c| c.name).collect();
    for (runtime, list) in differences {
        for case in list.keys().filter(|c| !known.contains(&c.as_str())) {
            lock(tally).failed.push(format!("expect/{runtime}.toml names {case}, which does not exist"));
        }
    }
}

fn lock(tally: &Mutex<Tally>) -> std::sync::MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// One case with one runtime, and the look at what it left.
fn one(
    case: &Case,
    runtime: &Runtime,
    folder: &Path,
    all: bool,
    expected: Option<&String>,
) -> (Verdict, Vec<String>, String) {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let id = format!("cf{}-{}x", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let place = folder.join(&id);
    // There is no point in waiting long for what is known to take for ever.
    let hangs = expected.is_some_and(|reason| reason.contains("for ever"));
    let test = match Test::new(runtime, id, place.clone(), all) {
        Ok(mut test) => {
            test.limit = if hangs { crate::machine::patient(Duration::from_secs(2)) } else { test.limit };
            test
        }
        Err(e) => return (Verdict::Failed(format!("the test itself: {e}")), Vec::new(), String::new()),
    };
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (case.run)(&test)));
    let mut outcome = outcome.unwrap_or_else(|_| Err(Failure::Fail("the test itself panicked".into())));
    if matches!(outcome, Err(Failure::Fail(_))) {
        // It stopped half way: what the runtime itself cannot take away is a leak, the rest only noise.
        let _ = test.rt(&["delete", "--force", &test.id]);
    }
    let left = leak::left(&test.id, &place, &test.state);
    if !left.is_empty() {
        let left = format!("left behind: {}", left.join("; "));
        outcome = match outcome {
            Ok(()) => Err(Failure::Fail(left)),
            Err(Failure::Fail(why)) => Err(Failure::Fail(format!("{why}\n    {left}"))),
            Err(Failure::Skip(why)) => Err(Failure::Fail(format!("skipped ({why}), yet {left}"))),
        };
        leak::clean(&test.id, &place);
    }
    if leak::mounts_under(&place).is_empty() {
        let _ = std::fs::remove_dir_all(&place);
    }
    let verdict = match (outcome, expected) {
        (Ok(()), None) => Verdict::Passed,
        (Ok(()), Some(reason)) if reason.starts_with(expect::SOMETIMES) => Verdict::Passed,
        (Ok(()), Some(reason)) => {
            Verdict::Failed(format!("passes, but is listed as an expected difference ({reason})"))
        }
        (Err(Failure::Skip(why)), _) => Verdict::Skipped(why),
        (Err(Failure::Fail(_)), Some(reason)) => Verdict::Expected(reason.clone()),
        (Err(Failure::Fail(why)), None) => Verdict::Failed(why),
    };
    (verdict, test.remarks(), test.transcript())
}

fn tell(
    case: &Case,
    runtime: &Runtime,
    verdict: &Verdict,
    transcript: &str,
    took: Duration,
    tally: &Mutex<Tally>,
    verbose: bool,
) {
    let mut tally = lock(tally);
    let name = format!("{:<10} {:<56} {:>6} ms", runtime.name, case.name, took.as_millis());
    match verdict {
        Verdict::Passed => {
            tally.passed += 1;
            println!("passed   {name}");
        }
        Verdict::Expected(reason) => {
            tally.expected += 1;
            println!("differs  {name}  {reason}");
        }
        Verdict::Skipped(why) => {
            tally.skipped += 1;
            println!("skipped  {name}  {why}");
        }
        Verdict::Failed(why) => {
            tally.failed.push(format!("{} {}: {why}", runtime.name, case.name));
            println!("FAILED   {name}\n    {why}");
        }
    }
    if verbose || matches!(verdict, Verdict::Failed(_)) {
        transcript.lines().for_each(|l| println!("      {l}"));
    }
}

/// The mounts of the whole machine are compared once, at the end: other tests' containers come and go in between. What peers
/// alone have changed is only told: on a host with nsdelegate, runc takes that flag from the whole cgroup hierarchy
/// (opencontainers/runc#5258).
fn end(tally: &Mutex<Tally>, before: &[String], with_ours: bool) -> i32 {
    let mut tally = lock(tally);
    let after = leak::mounts();
    let changed = after.iter().filter(|m| !before.contains(m)).chain(before.iter().filter(|m| !after.contains(m)));
    let changed: Vec<String> = changed.map(|m| format!("the host's mounts changed: {m}")).collect();
    match with_ours {
        true => tally.failed.extend(changed),
        false => changed.iter().for_each(|line| println!("         {line}")),
    }
    if !tally.failed.is_empty() {
        println!("\nfailures:");
        tally.failed.iter().for_each(|f| println!("  {f}"));
    }
    if tally.expected > 0 {
        println!("\n{} expected differences (conformance/expect/)", tally.expected);
    }
    println!("\n{} passed, {} failed, {} skipped", tally.passed, tally.failed.len(), tally.skipped);
    i32::from(!tally.failed.is_empty())
}
