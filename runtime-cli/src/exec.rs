//! `exec`: another program in a container, from a process object or from flags on top of the bundle's.

use std::path::Path;

use clap::ArgMatches;
use runtime_core::spec::{self, Capabilities, Process, User};
use runtime_core::{Console, Container, Exec, Runtime};

use crate::attend::{attend, block_signals, failed};
use crate::log::Logger;
use crate::timeline::Record;
use crate::{choice, flag, launch, path, print, terminal, text, texts};

/// What runc exits with where it, and not the program, failed.
const FAILURE: i32 = 255;
/// A larger process object is refused unread.
const MOST: u64 = 16 << 20;

/// Runs the program; its exit status, or 255.
pub fn exec(runtime: &Runtime, matches: &ArgMatches, log: &Logger) -> i32 {
    run(runtime, matches).unwrap_or_else(|message| {
        log.fail(&format!("exec failed: {message}"));
        FAILURE
    })
}

fn run(runtime: &Runtime, matches: &ArgMatches) -> Result<i32, String> {
    let container = runtime.container(&text(matches, "container-id")).map_err(|error| error.to_string())?;
    let process = process(&container, matches)?;
    let paths = ["console-socket", "pidfd-socket", "pid-file"].map(|name| path(matches, name));
    let [console_socket, pidfd_socket, pid_file] = paths;
    let (console_socket, pidfd_socket, pid_file) = (console_socket?, pidfd_socket?, pid_file?);
    let groups = cgroups(&texts(matches, "cgroup"))?;
    let preserve = *matches.try_get_one::<u32>("preserve-fds").ok().flatten().unwrap_or(&0);
    let detach = flag(matches, "detach");
    if console_socket.is_some() && !(detach && process.terminal) {
        return Err("cannot use console socket if runc will not detach or allocate tty".to_owned());
    }
    let console = match &console_socket {
        Some(path) => Console::Socket(path),
        None if detach => Console::None,
        None => Console::Keep,
    };
    let times = Record::new(matches)?;
    let mut request = Exec {
        process: Some(&process),
        console,
        preserve_fds: launch::descriptors(0, preserve)?,
        pid_file: pid_file.as_deref(),
        pidfd_socket: pidfd_socket.as_deref(),
        cgroups: groups.iter().map(|(controller, path)| (controller.as_str(), path.as_str())).collect(),
        timeline: times.timeline(),
        ignore_paused: flag(matches, "ignore-paused"),
        ..Exec::default()
    };
    if detach {
        return container.exec(&request).map(|_| 0).map_err(|error| error.to_string());
    }
    let signals = block_signals().map_err(|errno| failed("signalfd4", errno))?;
    request.console_size = Some(&terminal::size);
    let program = container.exec(&request).map_err(|error| error.to_string())?;
    attend(&program, &signals)
}

/// The process object of `--process` as it is; else the bundle's with what flags change.
fn process(container: &Container, matches: &ArgMatches) -> Result<Process, String> {
    if let Some(file) = path(matches, "process")? {
        return read(&file);
    }
    let mut process = container.bundle_process().map_err(|error| error.to_string())?;
    process.args = Some(texts(matches, "command"));
    process.terminal = flag(matches, "tty");
    let set = |name: &str| Some(text(matches, name)).filter(|value| !value.is_empty());
    process.cwd = set("cwd").or(process.cwd);
    process.apparmor_profile = set("apparmor").or(process.apparmor_profile);
    process.selinux_label = set("process-label").or(process.selinux_label);
    process.no_new_privileges = choice(matches, "no-new-privs").unwrap_or(process.no_new_privileges);
    process.env.get_or_insert_default().extend(texts(matches, "env"));
    let user = process.user.get_or_insert_default();
    if let Some(wanted) = set("user") {
        become_user(user, &wanted)?;
    }
    for group in texts(matches, "additional-gids") {
        let number = group.parse().map_err(|_| format!("additional-gids must be a positive number {group}"))?;
        user.additional_gids.get_or_insert_default().push(number);
    }
    let more = texts(matches, "cap");
    if !more.is_empty() {
        add(process.capabilities.get_or_insert_default(), &more);
    }
    Ok(process)
}

fn read(file: &Path) -> Result<Process, String> {
    use std::io::Read;
    let fail = |error: std::io::Error| {
        let cause = print::cause(&error);
        format!("open {}: {cause}", file.display())
    };
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).map_err(fail)?;
    opened.take(MOST + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > MOST {
        return Err(format!("{} is larger than {MOST} bytes", file.display()));
    }
    spec::parse_as(&bytes).map_err(|problems| {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        format!("{}: {}", file.display(), all.join("; "))
    })
}

/// `uid` or `uid:gid`; without a group, the config's stays.
fn become_user(user: &mut User, wanted: &str) -> Result<(), String> {
    let (uid, gid) = wanted.split_once(':').map_or((wanted, None), |(uid, gid)| (uid, Some(gid)));
    let number = |text: &str, what: &str| -> Result<u32, String> {
        let digits = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        digits
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| format!("parsing {text:?} as int for {what} failed: invalid syntax"))
    };
    if let Some(gid) = gid {
        user.gid = Some(number(gid, "gid")?);
    }
    user.uid = Some(number(uid, "uid")?);
    Ok(())
}

/// Never to the inheritable set (CVE-2022-29162); the ambient set takes nothing that is not inheritable.
fn add(sets: &mut Capabilities, more: &[String]) {
    for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
        set.get_or_insert_default().extend_from_slice(more);
    }
    if sets.inheritable.is_some() {
        sets.ambient.get_or_insert_default().extend_from_slice(more);
    }
}

/// `[CONTROLLER[,CONTROLLER…]:]PATH`, as pairs; no controller is an empty name.
fn cgroups(given: &[String]) -> Result<Vec<(String, String)>, String> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for text in given {
        let (controllers, path) = match text.split_once(':') {
            None if given.len() > 1 => {
                return Err(format!("invalid --cgroup argument: {text} (missing <controller>: prefix)"));
            }
            None => ("", text.as_str()),
            Some((_, path)) if path.contains(':') => return Err(format!("invalid --cgroup argument: {text}")),
            Some(halves) => halves,
        };
        for controller in controllers.split(',') {
            if pairs.iter().any(|(known, _)| known == controller) {
                let message = format!("controller {controller} specified multiple times");
                return Err(format!("invalid --cgroup argument(s): {message}"));
            }
            pairs.push((controller.to_owned(), path.to_owned()));
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_by_controller() {
        let parse = |words: &[&str]| cgroups(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(parse(&["sub"]), Ok(vec![pair("", "sub")]));
        assert_eq!(
            parse(&["cpu,memory:a", "pids:b"]),
            Ok(vec![pair("cpu", "a"), pair("memory", "a"), pair("pids", "b")])
        );
        assert!(parse(&["cpu:a", "memory,cpu:b"]).unwrap_err().contains("specified multiple times"));
        assert!(parse(&["a", "b"]).is_err());
        assert!(parse(&["a:b:c"]).is_err());
    }

    #[test]
    fn users_by_number() {
        let parse = |text: &str| {
            let mut user = User { gid: Some(7), ..User::default() };
            become_user(&mut user, text).map(|()| (user.uid, user.gid))
        };
        assert_eq!(parse("5"), Ok((Some(5), Some(7))));
        assert_eq!(parse("5:6"), Ok((Some(5), Some(6))));
        for text in ["", "root", "5:", ":6", "-1", "+5", "5:+6", "5 ", "0x5", "4294967296", "5:6:7"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn more_capabilities_are_never_inheritable() {
        let mut sets = Capabilities::default();
        add(&mut sets, &["CAP_KILL".to_owned()]);
        assert_eq!(sets.permitted, Some(vec!["CAP_KILL".to_owned()]));
        assert_eq!((&sets.inheritable, &sets.ambient), (&None, &None));
        sets.inheritable = Some(Vec::new());
        add(&mut sets, &["CAP_CHOWN".to_owned()]);
        assert_eq!(sets.inheritable, Some(Vec::new()));
        assert_eq!(sets.ambient, Some(vec!["CAP_CHOWN".to_owned()]));
    }
}
