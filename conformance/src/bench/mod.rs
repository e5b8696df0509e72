//! The benchmark: ours against every runtime that is found, and against the kernel's floor.
//!
//! All runtimes take turns in every round, so that noise of the machine hits all of them alike: compare
//! ratios within one table, never milliseconds of two runs. Everything happens in a mount namespace of its
//! own with a plain cgroup2 view (crun refuses hybrid hosts) and leaves nothing behind.

mod bundle;
mod cgroup;
mod filter;
mod host;
mod measure;
mod option;
mod peer;
mod program;
mod report;
mod result;
mod trace;
mod verb;

use std::io::Write;

use option::Options;

/// Why the benchmark cannot go on, in one line.
type Result<T> = std::result::Result<T, String>;

/// Runs the benchmark with the arguments after its name; returns the exit status of the process.
pub fn main(args: &[String]) -> i32 {
    let done = Options::parse(args).and_then(|options| match options.help {
        true => {
            say(option::HELP);
            Ok(0)
        }
        false => inside(&options).map(|()| 0),
    });
    done.unwrap_or_else(|error| {
        note(&format!("bench: {error}"));
        1
    })
}

/// The benchmark proper; it first goes into its own mount namespace, for good.
fn inside(options: &Options) -> Result<()> {
    // Opened while the host can still be written to.
    let json = options.json.as_deref().map(|path| (path, std::fs::File::create(path)));
    let named: Vec<&std::path::Path> = options.runtimes.iter().map(|(path, _)| path.as_path()).collect();
    crate::isolate::enter(&[&program::directory()?], &named)?;
    let programs = program::build()?;
    let peers = peer::find(options, &programs)?;
    let host = host::prepare()?;
    if options.cgroups {
        let line = cgroup::compare(&programs, options.rounds, host.path());
        host.leave();
        say(&line?);
        return Ok(());
    }
    bundle::write(&host.path().join(verb::FULL), true)?;
    bundle::write(&host.path().join(verb::NO_RULES), false)?;
    let mut bench = verb::Bench::new(options, &programs, &peers, host.path());
    let table = bench.run();
    host.leave();
    say(&report::markdown(&peers, &table, bench.notes(), options));
    if let Some((path, file)) = json {
        let text = report::json(&peers, &table, options).to_string();
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

/// A line of the result.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A line of progress.
fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
