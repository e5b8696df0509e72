//! The one definition of the command line. Building every verb costs clap 200 µs, a fifth of a whole `state`, so a
//! verb is built alone when it is run, and all of them only for help.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Arg, ArgAction, Command};

/// The name in help texts and of the state directory.
pub const NAME: &str = "runtime";
/// Whose command line this is.
const RUNC: &str = "runc";

static CALLED_RUNC: AtomicBool = AtomicBool::new(false);

/// Remembers how the program was called: installed in the place of runc, it says what runc's callers match on.
pub fn called(program: &OsStr) {
    let name = Path::new(program).file_name();
    CALLED_RUNC.store(name == Some(OsStr::new(RUNC)), Ordering::Relaxed);
}

/// The name to fail under.
pub fn name() -> &'static str {
    if CALLED_RUNC.load(Ordering::Relaxed) { RUNC } else { NAME }
}

/// The first lines of a help text as callers of runc know them: every name it goes by, and what it is for.
pub fn title(verb: Option<&str>, about: &str) -> String {
    let names: &[&str] = if name() == RUNC { &[RUNC] } else { &[NAME, RUNC] };
    let names: Vec<String> =
        names.iter().map(|name| [name, verb.unwrap_or_default()].join(" ").trim_end().to_owned()).collect();
    format!("NAME:\n   {} - {about}\n\n", names.join(", "))
}

/// A verb: its name, and its arguments.
type Verb = (&'static str, fn(Command) -> Command);

/// Every verb, as help lists them.
const VERBS: &[Verb] = &[
    ("check", check),
    ("checkpoint", checkpoint),
    ("create", create),
    ("delete", delete),
    ("doctor", doctor),
    ("events", events),
    ("exec", exec),
    ("features", features),
    ("kill", kill),
    ("list", list),
    ("pause", pause),
    ("plan", plan),
    ("ps", ps),
    ("restore", restore),
    ("resume", resume),
    ("run", run),
    ("spec", spec),
    ("start", start),
    ("state", state),
    ("update", update),
];

/// The verb called `name`, alone.
pub fn verb(name: &str) -> Option<Command> {
    VERBS.iter().find(|(known, _)| *known == name).map(|(name, build)| build(bare(name)))
}

/// The whole command line.
pub fn tree() -> Command {
    let help = Command::new("help").visible_alias("h").about("Show the help of the program or of one command");
    let help = help.arg(positional("command", "Command to explain").required(false));
    let verbs = VERBS.iter().map(|(name, build)| build(bare(name)));
    global().subcommands(verbs).subcommand(help).subcommand_value_name("COMMAND")
}

/// The flags that stand before the verb.
pub fn global() -> Command {
    bare(NAME)
        .about("Low-level OCI container runtime")
        .long_about(
            "Low-level OCI container runtime: starts a container from a bundle (a directory with config.json and a \
             root filesystem).\nThe command line is that of runc; containers are kept apart from runc's.\nEvery flag \
             may be written with one dash or two, and may follow the arguments.",
        )
        .arg(switch("debug", "Log more, for developers"))
        .arg(value("log", "FILE", "Append messages to FILE instead of writing them to standard error"))
        .arg(value("log-format", "FORMAT", "Format of messages: text or json").default_value("text"))
        .arg(value(
            "root",
            "DIR",
            "Directory of the state of containers [default: /run/runtime, or $XDG_RUNTIME_DIR/runtime for a user \
             other than root]",
        ))
        .arg(switch("systemd-cgroup", "Let systemd make cgroups; cgroupsPath is then slice:prefix:name"))
        .arg(value("rootless", "WHEN", "Ignore lacking rights on cgroups: true, false or auto").default_value("auto"))
        // For tests: which way into the stage is taken.
        .arg(
            value("cgroup-manager", "WAY", "cgroupfs, or disabled: containers stay in the caller's cgroups")
                .default_value("cgroupfs"),
        )
        .arg(value("entry", "WAY", "auto, sealed or in-process").default_value("auto").hide(true))
        .arg(switch("version", "Print the version").short('v'))
}

fn bare(name: &'static str) -> Command {
    // Help is a flag like any other: whether it is asked for is decided before clap runs.
    let help = switch("help", "Print this help").short('h');
    Command::new(name).no_binary_name(true).disable_help_flag(true).disable_help_subcommand(true).arg(help)
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}

/// A switch whose absence, truth and falsehood are three things: `--name`, `--name=true`, `--name=false`.
fn choice(name: &'static str, help: &'static str) -> Arg {
    let arg = Arg::new(name).long(name).value_name("BOOL").help(help).num_args(0..=1).require_equals(true);
    arg.default_missing_value("true").value_parser(clap::builder::BoolValueParser::new())
}

fn value(name: &'static str, what: &'static str, help: &'static str) -> Arg {
    let parser = clap::builder::OsStringValueParser::new();
    Arg::new(name).long(name).value_name(what).help(help).value_parser(parser)
}

fn positional(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).help(help).required(true).value_parser(clap::builder::OsStringValueParser::new())
}

fn values(name: &'static str, what: &'static str, help: &'static str) -> Arg {
    value(name, what, help).action(ArgAction::Append)
}

fn id() -> Arg {
    positional("container-id", "Name of the container, unique under the root directory")
}

fn launch(command: Command) -> Command {
    command
        .arg(value("bundle", "DIR", "Bundle directory [default: current directory]").short('b'))
        .arg(value("config", "FILE", "Config, seen from the bundle directory [default: config.json]").short('f'))
        .arg(value("console-socket", "PATH", "AF_UNIX socket that is sent the master side of the terminal"))
        .arg(value("pidfd-socket", "PATH", "AF_UNIX socket that is sent a pidfd of the container's first process"))
        .arg(value("pid-file", "FILE", "Write the pid of the container's first process to FILE"))
        .arg(value("timeline", "FILE", "Write to FILE when each step of the launch began"))
        .arg(switch("no-pivot", "Do not use pivot_root(2), for a root filesystem on a ramdisk"))
        .arg(switch("no-new-keyring", "Keep the caller's session keyring"))
        .arg(
            value("preserve-fds", "N", "Pass N more descriptors, from 3 on, to the program")
                .value_parser(count)
                .default_value("0"),
        )
        .arg(id())
}

fn count(text: &str) -> Result<u32, &'static str> {
    text.parse().map_err(|_| "parse error")
}

fn interval(text: &str) -> Result<Duration, &'static str> {
    duration(text).ok_or("parse error")
}

/// Go's syntax of durations: `1h2m3.5s`, `100ms`. A negative one counts as none.
fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    if let Some(rest) = text.strip_prefix('-') {
        return duration(rest).map(|_| Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (value, after) = rest.split_at_checked(number)?;
        let unit = after.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit)?;
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(value.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(part)?;
        rest = after;
    }
    Some(total)
}

fn create(command: Command) -> Command {
    launch(command.about("Create a container; its program waits for start"))
}

fn run(command: Command) -> Command {
    launch(command.about("Create and start a container, and wait for it"))
        .arg(switch("detach", "Do not wait: leave the container running").short('d'))
        .arg(switch("keep", "Do not delete the container when it has ended"))
        .arg(switch("no-subreaper", "Do not adopt and reap processes the container orphans"))
        .arg(value("seccomp-report", "FILE", "Write the system calls that the seccomp profile denies here, as JSON"))
}

fn start(command: Command) -> Command {
    command.about("Start the program of a created container").arg(id())
}

fn state(command: Command) -> Command {
    command.about("Print the state of a container as JSON").arg(id())
}

/// crun's.
fn regex(help: &'static str) -> Arg {
    switch("regex", help).short('r')
}

fn kill(command: Command) -> Command {
    let signal = positional("signal", "Signal, by name or number [default: TERM]").required(false);
    command
        .about("Send a signal to a container's first process")
        .arg(switch("all", "Succeed even if the container is not running").short('a').hide(true))
        .arg(regex("Signal every container whose id matches the extended regular expression given as container-id"))
        .arg(id())
        .arg(signal)
}

fn delete(command: Command) -> Command {
    command
        .about("Delete a stopped container")
        .arg(switch("force", "Kill the container first; succeed if there is none").short('f'))
        .arg(regex("Delete every container whose id matches the extended regular expression given as container-id"))
        .arg(id())
}

fn exec(command: Command) -> Command {
    command
        .about("Run another program in a container")
        .arg(value("console-socket", "PATH", "AF_UNIX socket that is sent the master side of the terminal"))
        .arg(value("pidfd-socket", "PATH", "AF_UNIX socket that is sent a pidfd of the program"))
        .arg(value("cwd", "DIR", "Working directory in the container"))
        .arg(values("env", "NAME=VALUE", "Set a variable of the environment").short('e'))
        .arg(switch("tty", "Give the program a terminal").short('t'))
        .arg(value("user", "UID[:GID]", "User, and group, by number").short('u'))
        .arg(values("additional-gids", "GID", "Supplementary group, by number").short('g'))
        .arg(value("process", "FILE", "process object to run; flags that change a process are then ignored").short('p'))
        .arg(switch("detach", "Do not wait: leave the program running").short('d'))
        .arg(value("pid-file", "FILE", "Write the pid of the program to FILE"))
        .arg(value("process-label", "LABEL", "SELinux label of the program"))
        .arg(value("apparmor", "PROFILE", "AppArmor profile of the program"))
        .arg(choice("no-new-privs", "Do not let the program gain privileges; false: let it, whatever the config says"))
        .arg(values("cap", "NAME", "Add a capability").short('c'))
        .arg(
            value("preserve-fds", "N", "Pass N more descriptors, from 3 on, to the program")
                .value_parser(count)
                .default_value("0"),
        )
        .arg(values("cgroup", "[CONTROLLER,…:]PATH", "Run in this cgroup below the container's"))
        .arg(value("timeline", "FILE", "Write to FILE when each step of the launch began"))
        .arg(switch("ignore-paused", "Go on although the container is paused; waits until it is resumed"))
        .arg(id())
        .arg(positional("command", "Program and arguments").required(false).action(ArgAction::Append).num_args(0..))
}

fn plan(command: Command) -> Command {
    bundle(command.about("Print what create would do, step by step, without doing it"))
        .arg(value("format", "FORMAT", "text or json").default_value("text"))
        .arg(value(
            "seccomp",
            "CALL[,ARG…]",
            "Say instead what the seccomp profile does with a system call, given its first arguments as far as they \
             are known, and which rule decides",
        ))
        .arg(positional("container-id", "Name of the container [default: plan]").required(false))
}

fn check(command: Command) -> Command {
    bundle(
        command.about(
            "Check a bundle: everything that is wrong, with its place in the config; exit status 1 if anything is",
        ),
    )
    .arg(value("format", "FORMAT", "text or json").default_value("text"))
}

fn doctor(command: Command) -> Command {
    command.about("Say what this host can do, and what to do about the rest; exit status 1 if no container can run")
}

fn bundle(command: Command) -> Command {
    command
        .arg(value("bundle", "DIR", "Bundle directory [default: current directory]").short('b'))
        .arg(value("config", "FILE", "Config, seen from the bundle directory [default: config.json]").short('f'))
}

fn events(command: Command) -> Command {
    command
        .about("Print statistics of a container, and when its memory runs out")
        .arg(value("interval", "TIME", "Time between statistics").value_parser(interval).default_value("5s"))
        .arg(switch("stats", "Print statistics once"))
        .arg(id())
}

fn pause(command: Command) -> Command {
    command.about("Stop every process of a container until resume").arg(id())
}

fn resume(command: Command) -> Command {
    command.about("Let a paused container run").arg(id())
}

fn ps(command: Command) -> Command {
    command
        .about("List the processes of a container")
        .arg(value("format", "FORMAT", "table or json").short('f').default_value("table"))
        .arg(id())
        .arg(
            positional("options", "Options of ps(1) [default: -ef]")
                .required(false)
                .action(ArgAction::Append)
                .num_args(0..),
        )
}

fn update(command: Command) -> Command {
    let bytes = "BYTES";
    command
        .about("Change the limits of a container")
        .arg(
            value(
                "resources",
                "FILE",
                "resources object to apply, - for standard input; limits given as flags are then ignored",
            )
            .short('r'),
        )
        .arg(value("blkio-weight", "N", "Weight of block I/O, 10 to 1000"))
        .arg(value("cpu-period", "US", "Length of a period of the CPU quota, in microseconds"))
        .arg(value("cpu-quota", "US", "CPU time in a period, in microseconds; -1: no limit"))
        .arg(value("cpu-burst", "US", "CPU time that may be saved up, in microseconds"))
        .arg(value("cpu-share", "N", "Weight of CPU time; 1024 is normal"))
        .arg(value("cpu-rt-period", "US", "Length of a period of real-time CPU time, in microseconds"))
        .arg(value("cpu-rt-runtime", "US", "Real-time CPU time in a period, in microseconds"))
        .arg(value("cpuset-cpus", "LIST", "CPUs to use, as 0-3,7"))
        .arg(value("cpuset-mems", "LIST", "Memory nodes to use"))
        .arg(value("kernel-memory", bytes, "Ignored: Linux has no such limit any more").hide(true))
        .arg(value("kernel-memory-tcp", bytes, "Ignored: Linux has no such limit any more").hide(true))
        .arg(value("memory", bytes, "Memory, as 512m or 2GiB; -1: no limit"))
        .arg(value("cpu-idle", "N", "1: run only when no one else wants the CPU"))
        .arg(value("memory-reservation", bytes, "Memory that is not taken away while others have more"))
        .arg(value("memory-swap", bytes, "Memory and swap together; -1: no limit"))
        .arg(value("pids-limit", "N", "Number of tasks; -1: no limit"))
        .arg(value("l3-cache-schema", "TEXT", "Schema of Intel RDT/CAT"))
        .arg(value("mem-bw-schema", "TEXT", "Schema of Intel RDT/MBA"))
        .arg(id())
}

fn checkpoint(command: Command) -> Command {
    images(command.about("Write a container's state to disk (not supported yet)"))
        .arg(value("parent-path", "DIR", "Earlier images this checkpoint builds on"))
        .arg(switch("leave-running", "Leave the container running"))
        .arg(switch("tcp-skip-in-flight", "Leave out TCP connections that are not established yet"))
        .arg(switch("link-remap", "Remap links of files that were removed"))
        .arg(value("status-fd", "N", "Descriptor that is written to when pages can be asked for"))
        .arg(value("page-server", "ADDRESS:PORT", "Send memory there"))
        .arg(switch("pre-dump", "Write memory only, and leave the container running"))
        .arg(id())
}

fn restore(command: Command) -> Command {
    images(command.about("Start a container from a checkpoint (not supported yet)"))
        .arg(value("console-socket", "PATH", "AF_UNIX socket that is sent the master side of the terminal"))
        .arg(value("bundle", "DIR", "Bundle directory [default: current directory]").short('b'))
        .arg(switch("detach", "Do not wait: leave the container running").short('d'))
        .arg(value("pid-file", "FILE", "Write the pid of the container's first process to FILE"))
        .arg(switch("no-subreaper", "Do not adopt and reap processes the container orphans"))
        .arg(switch("no-pivot", "Do not use pivot_root(2), for a root filesystem on a ramdisk"))
        .arg(switch("tcp-close", "Close TCP connections of the checkpoint"))
        .arg(value("lsm-profile", "TYPE:NAME", "Security profile to use instead of the checkpoint's"))
        .arg(value("lsm-mount-context", "CONTEXT", "Security context of mounts instead of the checkpoint's"))
        .arg(id())
}

fn images(command: Command) -> Command {
    command
        .arg(value("image-path", "DIR", "Directory of the images"))
        .arg(value("work-path", "DIR", "Directory of logs and work files"))
        .arg(switch("tcp-established", "Keep established TCP connections"))
        .arg(switch("ext-unix-sk", "Allow connected unix sockets to the outside"))
        .arg(switch("shell-job", "Allow a terminal of the outside"))
        .arg(switch("lazy-pages", "Move memory when it is asked for"))
        .arg(switch("file-locks", "Keep file locks"))
        .arg(value("manage-cgroups-mode", "MODE", "soft, full, strict or ignore"))
        .arg(value("empty-ns", "NAMESPACE", "Leave a namespace empty: network"))
        .arg(switch("auto-dedup", "Remove memory from images that is in later ones"))
}

fn features(command: Command) -> Command {
    command.about("Print what this build can do, as JSON")
}

fn list(command: Command) -> Command {
    command
        .about("List the containers under the root directory")
        .arg(value("format", "FORMAT", "table or json").short('f').default_value("table"))
        .arg(switch("quiet", "Print only ids").short('q'))
}

fn spec(command: Command) -> Command {
    command
        .about("Write a default config.json")
        .arg(value("bundle", "DIR", "Directory to write it to [default: current directory]").short('b'))
        .arg(switch("rootless", "Write one for a user other than root"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        tree().debug_assert();
    }

    #[test]
    fn durations_of_go() {
        for (text, milliseconds) in
            [("5s", 5000), ("100ms", 100), ("1m30s", 90_000), ("1.5h", 5_400_000), ("0", 0), ("-3s", 0), ("+1s", 1000)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "s", "1x", "1s2", "-", "1..5s", "99999999999999999999h"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
