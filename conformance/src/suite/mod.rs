//! The OCI runtime-tools' validation suite, with our runtime and with runc, each where the host shows its cgroups as
//! they are, where it shows those of version 1 only, and where it shows cgroup v2 only.
//!
//! `conformance runtime-tools` builds the suite (`runtime-tools/` pins it), runs every program against every runtime and
//! prints a row for each. It fails where a program that runc passes fails for ours, where one fails for ours without a
//! reason in `expect/runtime-tools.toml`, and where a reason is not needed any more.

mod build;
mod job;
mod judge;
mod table;
mod tap;

use crate::isolate;
use crate::runtime::{Runtime, hybrid};
use job::Job;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tap::Verdict;

/// How a program sees /sys/fs/cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// As the host has it.
    Host,
    /// Only the hierarchies of cgroup v1.
    Legacy,
    /// Only cgroup v2.
    Unified,
}

impl View {
    const ALL: [Self; 3] = [Self::Host, Self::Legacy, Self::Unified];

    /// What it is called in the table, and in the names of `expect/runtime-tools.toml`.
    fn title(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Legacy => "v1",
            Self::Unified => "v2",
        }
    }
}

/// A program of the suite, in one view, with each of the runtimes.
#[derive(Debug)]
pub struct Row {
    pub program: String,
    pub view: View,
    /// In the order of the runtimes.
    pub verdicts: Vec<Verdict>,
}

#[derive(Debug, Default)]
struct Options {
    runtimes: Vec<PathBuf>,
    filters: Vec<String>,
    write: Option<PathBuf>,
    jobs: usize,
    verbose: bool,
}

const USAGE: &str =
    "usage: conformance runtime-tools [--runtime PATH]… [--write FILE] [--jobs N] [--verbose] [PROGRAM]…
The first runtime is the one that is judged, the others are what it is compared with.";

/// `conformance runtime-tools …`; the exit status.
pub fn main(args: &[String]) -> i32 {
    match parse(args).and_then(|options| run(&options)) {
        Ok(status) => status,
        Err(e) => {
            eprintln!("{e}");
            2
        }
    }
}

fn parse(args: &[String]) -> Result<Options, String> {
    let mut options = Options { jobs: 3, ..Options::default() };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().cloned().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--runtime" => options.runtimes.push(value()?.into()),
            "--write" => options.write = Some(value()?.into()),
            "--jobs" => options.jobs = value()?.parse().map_err(|e| format!("{arg}: {e}"))?,
            "--verbose" => options.verbose = true,
            flag if flag.starts_with('-') => return Err(USAGE.into()),
            filter => options.filters.push(filter.into()),
        }
    }
    Ok(options)
}

fn run(options: &Options) -> Result<i32, String> {
    let reasons = judge::reasons()?;
    let suite = match build::suite() {
        Ok(suite) => suite,
        Err(why) => {
            println!("skipped  runtime-tools: {why}\n\n0 passed, 0 failed, 1 skipped");
            return Ok(0);
        }
    };
    // Opened while the host can still be written to.
    let table = match &options.write {
        Some(path) => Some(fs::File::create(path).map_err(|e| format!("{}: {e}", path.display()))?),
        None => None,
    };
    let runtimes = runtimes(options)?;
    let visible: Vec<&Path> = options.runtimes.iter().map(PathBuf::as_path).collect();
    isolate::enter(&[], &visible).map_err(|e| format!("{e}: no runtime was started"))?;
    let folder = std::env::temp_dir().join(format!("runtime-tools-{}", std::process::id()));
    let work = job::work(&folder, &suite).map_err(|e| format!("{}: {e}", folder.display()))?;
    let views: &[View] = if hybrid() { &View::ALL } else { &[View::Host] };
    let wanted = |name: &&String| options.filters.is_empty() || options.filters.iter().any(|f| name.contains(f));
    let programs: Vec<String> = suite.programs.iter().filter(wanted).cloned().collect();
    let rows = all(options, views, &programs, &runtimes, (&work, &reasons));
    job::sweep();
    let _ = fs::remove_dir_all(&folder);
    if let Some(mut file) = table {
        let text = table::markdown(&rows, &runtimes, views, &reasons, &suite.version);
        file.write_all(text.as_bytes()).map_err(|e| format!("the table: {e}"))?;
    }
    Ok(judge::tell(&rows, &runtimes, &reasons, options.filters.is_empty()))
}

/// Ours, and what it is compared with.
fn runtimes(options: &Options) -> Result<Vec<Runtime>, String> {
    if !options.runtimes.is_empty() {
        return Ok(options.runtimes.iter().map(|path| Runtime::new(path)).collect());
    }
    let (found, missing) = Runtime::defaults();
    for (name, why) in missing.iter().filter(|(name, _)| name != "crun") {
        println!("skipped  {name}: {why}");
    }
    // Debian's crun refuses the version the suite writes into its configurations.
    let found: Vec<Runtime> = found.into_iter().filter(|r| matches!(r.name.as_str(), "runtime" | "runc")).collect();
    match found.first() {
        Some(first) if first.name == "runtime" => Ok(found),
        _ => Err("there is no runtime to judge".into()),
    }
}

/// A program whose outcome is a race gets some tries to win it once, whosever it is. So does ours where it should
/// pass: several programs hope that a shell has come far enough after a second, which on a busy machine it has not.
fn tries(runtime: &Runtime, reason: Option<&str>) -> usize {
    match reason {
        Some(why) if why.starts_with(crate::expect::SOMETIMES) => 4,
        None if runtime.is_ours() => 3,
        _ => 1,
    }
}

/// Every program in every view with every runtime, a few at a time; the rows in that order.
fn all(
    options: &Options,
    views: &[View],
    programs: &[String],
    runtimes: &[Runtime],
    (work, reasons): (&job::Work, &judge::Reasons),
) -> Vec<Row> {
    let pairs = views.iter().flat_map(|view| programs.iter().map(move |program| (*view, program)));
    let jobs: Vec<Job> = pairs
        .flat_map(|(view, program)| {
            let reason = judge::reason(reasons, program, view);
            let one = move |runtime| Job { view, program, runtime, tries: tries(runtime, reason) };
            runtimes.iter().map(one)
        })
        .collect();
    let results: Mutex<Vec<Option<Verdict>>> = Mutex::new(vec![None; jobs.len()]);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(index) else { return };
                    let verdict = job.run(index, work, options.verbose);
                    let mut results = results.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    results[index] = Some(verdict);
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let lost = || Verdict::failed("the test itself: no result");
    let verdicts: Vec<Verdict> = results.into_iter().map(|verdict| verdict.unwrap_or_else(lost)).collect();
    let chunks = verdicts.chunks(runtimes.len().max(1)).zip(jobs.chunks(runtimes.len().max(1)));
    chunks
        .map(|(verdicts, jobs)| Row {
            program: jobs[0].program.clone(),
            view: jobs[0].view,
            verdicts: verdicts.to_vec(),
        })
        .collect()
}
