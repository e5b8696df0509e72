//! `runtime`: the command line of the library runtime-core, compatible with runc's.
//!
//! One run is one straight line: global flags, log, verb, one result or one error.
#![cfg_attr(not(test), no_main)]
#![cfg_attr(test, allow(dead_code, clippy::unwrap_used, clippy::panic))]
#![deny(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod args;
mod argv;
mod attend;
mod doctor;
mod events;
mod exec;
mod features;
mod inspect;
mod launch;
mod log;
mod notify;
mod print;
mod ps;
mod relay;
mod root;
mod run;
mod spec;
mod sys;
mod table;
mod terminal;
mod timeline;
mod update;

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind as IoErrorKind;
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::sync::Arc;

use clap::ArgMatches;
use clap::builder::Resettable;
use runtime_core::{Container, Entry, ErrorKind, Options, Runtime};

use argv::{Misuse, Parsed};
use launch::Launch;
use log::Logger;
use print::ListFormat;
use run::Manner;

/// musl's is slow.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

const FAILURE: i32 = 1;
/// What runc's argument parser exits with for a command it does not know.
const UNKNOWN_COMMAND: i32 = 3;

/// Runs the command line `argv` (with the program's name) and returns the exit status.
fn main(argv: Vec<OsString>) -> i32 {
    let mut argv = argv.into_iter();
    let program = argv.next().unwrap_or_else(|| args::NAME.into());
    args::called(&program);
    let (global, mut words) = match argv::split(args::global(), argv.collect()) {
        Ok((Parsed::Matches(global), words)) => (global, words.into_iter()),
        Ok((Parsed::Help, _)) => return help(None, &Logger::default()),
        Err(misuse) => {
            let (Misuse::Flag(message) | Misuse::Count(message)) = misuse;
            print::help(&format!("Incorrect Usage. {message}\n\n{}", whole_help()));
            return fail(&Logger::default(), &message);
        }
    };
    if flag(&global, "version") {
        return finish(print::version().map(|()| 0), &Logger::default());
    }
    let verb = match words.next() {
        None => return help(None, &Logger::default()),
        Some(word) if word.is_empty() => return help(None, &Logger::default()),
        Some(word) => word.to_string_lossy().into_owned(),
    };
    if verb == "help" || verb == "h" {
        return help(words.next(), &Logger::default());
    }
    let parsed = args::verb(&verb).map(|definition| argv::parse(definition, words.collect()));
    if let Some(Ok(Parsed::Help)) = parsed {
        return help(Some(verb.into()), &Logger::default());
    }
    let mut log = match Logger::new(&text(&global, "log-format"), flag(&global, "debug")) {
        Ok(log) => log,
        Err(message) => return fail(&Logger::default(), &message),
    };
    // Before anything else: relative to the directory we were started in, and there for every error that follows.
    if let Some(path) = os(&global, "log").filter(|path| !path.is_empty())
        && let Err(message) = log.open(path.as_ref())
    {
        return fail(&log, &message);
    }
    let log = Arc::new(log);
    match parsed {
        None => help(Some(verb.into()), &log),
        Some(Err(misuse)) => misused(&program, &verb, misuse, &log),
        Some(Ok(Parsed::Help)) => 0,
        Some(Ok(Parsed::Matches(matches))) => finish(act(&verb, &global, &matches, &log), &log),
    }
}

fn finish(outcome: Result<i32, String>, log: &Logger) -> i32 {
    outcome.unwrap_or_else(|message| fail(log, &message))
}

fn fail(log: &Logger, message: &str) -> i32 {
    log.fail(message);
    FAILURE
}

/// Prints help: for everything, or for one verb.
fn help(topic: Option<OsString>, log: &Logger) -> i32 {
    let Some(topic) = topic else {
        print::help(&whole_help());
        return 0;
    };
    let topic = topic.to_string_lossy();
    match verb_help(&topic) {
        Some(text) => print::help(&text),
        None => {
            log.fail(&format!("No help topic for '{topic}'"));
            return UNKNOWN_COMMAND;
        }
    }
    0
}

fn whole_help() -> String {
    args::title(None, "Open Container Initiative runtime") + &args::tree().render_long_help().to_string()
}

fn verb_help(name: &str) -> Option<String> {
    let mut tree = args::tree();
    tree.build();
    let verb = tree.find_subcommand_mut(name)?;
    let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
    let mut rest = verb.clone().about(Resettable::Reset);
    Some(args::title(Some(name), &about) + &rest.render_long_help().to_string())
}

fn misused(program: &OsStr, verb: &str, misuse: Misuse, log: &Logger) -> i32 {
    let text = verb_help(verb).unwrap_or_default();
    let message = match misuse {
        Misuse::Flag(message) => {
            print::help(&format!("Incorrect Usage: {message}\n\n{text}"));
            message
        }
        Misuse::Count(rule) => {
            print::help(&format!("Incorrect Usage.\n\n{text}"));
            format!("{}: \"{verb}\" requires {rule} argument(s)", program.to_string_lossy())
        }
    };
    fail(log, &message)
}

fn act(verb: &str, global: &ArgMatches, matches: &ArgMatches, log: &Arc<Logger>) -> Result<i32, String> {
    if verb == "spec" {
        return spec::write(&launch::bundle(matches)?, flag(matches, "rootless")).map(|()| 0);
    }
    if verb == "features" {
        return features::print().map(|()| 0);
    }
    let root = root::find(os(global, "root"))?;
    let mut options = Options::new(root.path);
    options.systemd_cgroup = flag(global, "systemd-cgroup");
    options.rootless = rootless(&text(global, "rootless"))?;
    options.no_cgroups = match text(global, "cgroup-manager").as_str() {
        "" | "cgroupfs" => false,
        "disabled" => true,
        // crun's word for runc's flag.
        "systemd" => {
            options.systemd_cgroup = true;
            false
        }
        other => return Err(format!("invalid --cgroup-manager value {other:?}: must be cgroupfs or disabled")),
    };
    options.entry = entry(&text(global, "entry"))?;
    let sink = Arc::clone(log);
    options.log = Some(Arc::new(move |level, message| sink.log(level.into(), message)));
    // The end of the process closes what it holds.
    let runtime = ManuallyDrop::new(Runtime::new(options));
    let id = text(matches, "container-id");
    let container = || runtime.container(&id).map_err(|error| error.to_string());
    match verb {
        "create" => create(&runtime, matches)?,
        "run" => return run(&runtime, matches, log),
        "exec" => return Ok(exec::exec(&runtime, matches, log)),
        "plan" => inspect::plan(&runtime, matches)?,
        "check" => return inspect::check(&runtime, matches),
        "doctor" => return doctor::doctor(),
        "events" => events::events(&container()?, matches)?,
        "pause" => container()?.pause().map_err(|error| error.to_string())?,
        "resume" => container()?.resume().map_err(|error| error.to_string())?,
        "ps" => ps::ps(&container()?, &text(matches, "format"), words(matches, "options"))?,
        "update" => update::update(&container()?, matches)?,
        "checkpoint" | "restore" => return Err(format!("{verb} is not supported by this version of {}", args::NAME)),
        "start" => start(&container()?, log)?,
        "state" => print::state(&runtime.state(&id).map_err(|error| error.to_string())?)?,
        "kill" => each(&runtime, &id, matches, |id| kill(&runtime, id, matches))?,
        "delete" => each(&runtime, &id, matches, |id| {
            runtime.delete(id, flag(matches, "force")).map_err(|error| error.to_string())
        })?,
        _ => list(&runtime, matches, root.explicit)?,
    }
    Ok(0)
}

fn create(runtime: &Runtime, matches: &ArgMatches) -> Result<(), String> {
    let create = || {
        let launch = Launch::new(matches)?;
        runtime.create(&launch.detached()).map_err(|error| error.to_string())
    };
    create().map(drop).map_err(|message| format!("{} create failed: {message}", args::name()))
}

fn run(runtime: &Runtime, matches: &ArgMatches, log: &Logger) -> Result<i32, String> {
    let run = || {
        let launch = Launch::new(matches)?;
        let seccomp_report = path(matches, "seccomp-report")?;
        if flag(matches, "detach") {
            if seccomp_report.is_some() {
                return Err("--seccomp-report needs a runtime that stays: it cannot be used with --detach".to_owned());
            }
            let container = runtime.run(&launch.detached()).map_err(|error| error.to_string())?;
            if let Some(manager) = launch.manager() {
                let socket = container.notify_socket().map_err(|error| error.to_string())?;
                notify::wait(&container, socket, manager, log);
            }
            return Ok(0);
        }
        let manner = Manner { keep: flag(matches, "keep"), subreaper: !flag(matches, "no-subreaper"), seccomp_report };
        run::foreground(runtime, &launch, manner, log)
    };
    run().map_err(|message| format!("{} run failed: {message}", args::name()))
}

/// Starts a container that may have something to tell the service manager, see [`notify`].
fn start(container: &Container, log: &Logger) -> Result<(), String> {
    let said = |error: runtime_core::Error| error.to_string();
    let Some(manager) = notify::manager() else { return container.start().map_err(said) };
    // Before the program, which may look for it at once.
    let socket = container.notify_socket().map_err(said)?;
    container.start().map_err(said)?;
    notify::wait(container, socket, &manager, log);
    Ok(())
}

/// Does it with the container `id`, or by `--regex` with every one that it matches, whatever becomes of the others.
fn each(
    runtime: &Runtime,
    id: &str,
    matches: &ArgMatches,
    act: impl Fn(&str) -> Result<(), String>,
) -> Result<(), String> {
    if !flag(matches, "regex") {
        return act(id);
    }
    let pattern = sys::Pattern::new(id).map_err(|error| format!("invalid regular expression {id:?}: {error}"))?;
    let mut failed = Vec::new();
    for entry in runtime.list().map_err(|error| error.to_string())? {
        match entry {
            Ok(container) if !pattern.matches(container.id()) => {}
            Ok(container) => {
                failed.extend(act(container.id()).err().map(|error| format!("{}: {error}", container.id())));
            }
            Err(error) => failed.push(error.to_string()),
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
}

fn kill(runtime: &Runtime, id: &str, matches: &ArgMatches) -> Result<(), String> {
    // In this order: engines probe for "container does not exist", whatever the signal.
    let container = runtime.container(id).map_err(|error| error.to_string())?;
    let name = os(matches, "signal").filter(|name| !name.is_empty());
    let name = name.map_or_else(|| "SIGTERM".into(), OsStr::to_string_lossy);
    let signal = runtime_core::parse_signal(&name).ok_or_else(|| format!("unknown signal {name:?}"))?;
    match container.kill(signal) {
        // The one effect `--all` has left in runc.
        Err(error) if error.kind() == ErrorKind::WrongState && flag(matches, "all") => Ok(()),
        outcome => outcome.map_err(|error| error.to_string()),
    }
}

fn list(runtime: &Runtime, matches: &ArgMatches, explicit: bool) -> Result<(), String> {
    let format = match text(matches, "format").as_str() {
        _ if flag(matches, "quiet") => ListFormat::Quiet,
        "table" => ListFormat::Table,
        "json" => ListFormat::Json,
        _ => return Err("invalid format option".to_owned()),
    };
    let mut states = Vec::new();
    match std::fs::symlink_metadata(runtime.root()) {
        // A root nobody made holds nothing; one that was named is a mistake.
        Err(error) if error.kind() == IoErrorKind::NotFound && !explicit => return print::list(&[], format),
        Err(error) => {
            let cause = print::cause(&error);
            return Err(format!("open {}: {cause}", runtime.root().display()));
        }
        Ok(_) => {}
    }
    let found = runtime.states().map_err(|error| error.to_string())?;
    states.reserve(found.len());
    for entry in found {
        match entry {
            Ok(state) => states.push(state),
            Err(error) => print::error_line(&error.to_string()),
        }
    }
    print::list(&states, format)
}

/// `--rootless`: whether lacking rights on cgroups is forgiven; `None`: decided by the library.
fn rootless(value: &str) -> Result<Option<bool>, String> {
    match value {
        "" | "auto" => Ok(None),
        "true" | "1" => Ok(Some(true)),
        "false" | "0" => Ok(Some(false)),
        _ => Err(format!("invalid --rootless value {value:?}: must be true, false or auto")),
    }
}

/// `--entry`: the way into the stage.
fn entry(value: &str) -> Result<Entry, String> {
    match value {
        "" | "auto" => Ok(Entry::Auto),
        "sealed" => Ok(Entry::Sealed),
        "in-process" => Ok(Entry::InProcess),
        _ => Err(format!("invalid --entry value {value:?}: must be auto, sealed or in-process")),
    }
}

/// Value of `name`; absent and unknown are the same here, so that a slip in this file is no crash of the program.
fn os<'a>(matches: &'a ArgMatches, name: &str) -> Option<&'a OsStr> {
    matches.try_get_one::<OsString>(name).ok().flatten().map(OsString::as_os_str)
}

/// Value of `name` as text. What is not text becomes no valid id, signal or format, and is refused as such.
fn text(matches: &ArgMatches, name: &str) -> String {
    os(matches, name).unwrap_or_default().to_string_lossy().into_owned()
}

/// Every value of `name`.
fn words(matches: &ArgMatches, name: &str) -> Vec<OsString> {
    matches.try_get_many::<OsString>(name).ok().flatten().unwrap_or_default().cloned().collect()
}

/// Every value of `name`, as text.
fn texts(matches: &ArgMatches, name: &str) -> Vec<String> {
    words(matches, name).iter().map(|value| value.to_string_lossy().into_owned()).collect()
}

fn flag(matches: &ArgMatches, name: &str) -> bool {
    choice(matches, name).unwrap_or(false)
}

/// A switch that may also be absent.
fn choice(matches: &ArgMatches, name: &str) -> Option<bool> {
    matches.try_get_one::<bool>(name).ok().flatten().copied()
}

/// A path given as `name`, made absolute; an empty one is none, as in runc.
fn path(matches: &ArgMatches, name: &str) -> Result<Option<PathBuf>, String> {
    os(matches, name).filter(|path| !path.is_empty()).map(|path| root::absolute(path.as_ref())).transpose()
}
