//! `process`: arguments, environment, directory, and where the program may be.

use std::collections::BTreeSet;

use runtime_stage::fail::Step;
use runtime_stage::wire::KEEP;
use serde::Serialize;

use super::Context;

/// The program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Program {
    /// argv.
    pub args: Vec<String>,
    /// Environment, each name once.
    pub env: Vec<String>,
    /// HOME is missing: the stage takes it from the container's /etc/passwd.
    pub home: bool,
    /// Working directory.
    pub cwd: String,
    /// File mode creation mask; 4294967295: the caller's, for an exec.
    #[serde(serialize_with = "super::octal")]
    pub umask: u32,
    /// Files tried in order.
    pub candidates: Vec<String>,
    /// They come from PATH.
    pub from_path: bool,
    /// Descriptors 3 … 3+n it gets.
    pub preserve_fds: u32,
}

/// runc's default; the spec would inherit the caller's.
const UMASK: u32 = 0o022;

pub(super) fn plan(cx: &mut Context<'_>) -> Program {
    let Some(process) = cx.spec.process.as_ref() else {
        cx.problem("/process", "process property must not be empty");
        return Program::default();
    };
    let args = process.args.clone().unwrap_or_default();
    for (index, arg) in args.iter().enumerate() {
        cx.no_nul(format_args!("/process/args/{index}"), arg);
    }
    if args.is_empty() {
        cx.problem("/process/args", "args must not be empty");
    }
    let cwd = cwd(cx, process.cwd.as_deref().unwrap_or_default());
    let (env, home) = environment(cx, process.env.as_deref().unwrap_or_default());
    let program = args.first().map_or("", String::as_str);
    let from_path = !program.contains('/');
    let candidates = if from_path { in_path(&env, program) } else { vec![program.to_owned()] };
    let default = if cx.request.exec.is_some() { KEEP } else { UMASK };
    let umask = process.user.as_ref().and_then(|user| user.umask).unwrap_or(default);
    if umask > 0o777 && umask != KEEP {
        cx.problem("/process/user/umask", format!("{umask:#o} is no file mode creation mask"));
    }
    cx.origins.note_all(Step::Lookup, 0..candidates.len().max(1), "/process/args/0", format!("find {program}"));
    cx.origins.note(Step::Exec, 0, "/process/args/0", format!("execute {program}"));
    cx.origins.note_all(Step::WorkingDirectory, 0..2, "/process/cwd", format!("enter {cwd}"));
    Program { args, env, home, cwd, umask, candidates, from_path, preserve_fds: cx.request.preserve_fds }
}

fn cwd(cx: &mut Context<'_>, cwd: &str) -> String {
    cx.no_nul("/process/cwd", cwd);
    if cwd.is_empty() {
        cx.problem("/process/cwd", "Cwd property must not be empty");
    } else if !cwd.starts_with('/') {
        cx.problem("/process/cwd", "Cwd must be an absolute path");
    }
    cwd.to_owned()
}

/// Each name once, the last value winning, at the place of the last; and whether HOME is missing.
fn environment(cx: &mut Context<'_>, list: &[String]) -> (Vec<String>, bool) {
    let mut env: Vec<String> = Vec::with_capacity(list.len() + 3);
    for (index, entry) in list.iter().enumerate() {
        let pointer = format!("/process/env/{index}");
        if entry.contains('\0') {
            cx.problem(pointer, "invalid environment variable: contains a NUL byte");
            continue;
        }
        match entry.split_once('=') {
            None => cx.problem(pointer, "invalid environment variable: missing '='"),
            Some(("", _)) => cx.problem(pointer, "invalid environment variable: name cannot be empty"),
            Some(_) => env.push(entry.clone()),
        }
    }
    if cx.request.listen_fds > 0 {
        env.push(format!("LISTEN_FDS={}", cx.request.listen_fds));
        env.push("LISTEN_PID=1".to_owned());
    }
    keep_last(&mut env);
    // An empty HOME counts as none.
    env.retain(|entry| entry != "HOME=");
    let home = !env.iter().any(|entry| entry.starts_with("HOME="));
    (env, home)
}

/// Drops every entry whose name comes again later.
fn keep_last(env: &mut Vec<String>) {
    let name = |entry: &str| entry.split_once('=').map_or(entry.len(), |(name, _)| name.len());
    let mut seen = BTreeSet::new();
    let mut last: Vec<bool> = env.iter().rev().map(|entry| seen.insert(&entry[..name(entry)])).collect();
    env.retain(|_| last.pop() == Some(true));
}

/// `program` in each absolute directory of PATH. No PATH: nowhere, as runc has it.
fn in_path(env: &[String], program: &str) -> Vec<String> {
    let path = env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or_default();
    let directories = path.split(':').filter(|directory| directory.starts_with('/'));
    directories.map(|directory| format!("{}/{program}", directory.trim_end_matches('/'))).collect()
}

#[cfg(test)]
mod tests {
    use super::keep_last;

    #[test]
    fn the_last_value_wins_at_its_place() {
        let list = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (given, wanted) in [
            ("A=1 B=2 A=3", "B=2 A=3"),
            ("A=1 A=1", "A=1"),
            ("A= B=x=y A=z C=1 B=", "A=z C=1 B="),
            ("AB=1 A=2 ABC=3", "AB=1 A=2 ABC=3"),
        ] {
            let mut env = list(given);
            keep_last(&mut env);
            assert_eq!(env, list(wanted), "{given}");
        }
    }
}
