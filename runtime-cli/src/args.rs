//! The one definition of the command line. Building every verb costs clap 200 µs, a fifth of a whole `state`, so a
//! verb is built alone when it is run, and all of them only for help.

use clap::{Arg, ArgAction, Command};

/// The name in help texts and of the state directory.
pub const NAME: &str = "runtime";

/// A verb: its name, and its arguments.
type Verb = (&'static str, fn(Command) -> Command);

/// Every verb, as help lists them.
const VERBS: &[Verb] = &[
    ("create", create),
    ("delete", delete),
    ("kill", kill),
    ("list", list),
    ("run", run),
    ("spec", spec),
    ("start", start),
    ("state", state),
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

fn value(name: &'static str, what: &'static str, help: &'static str) -> Arg {
    let parser = clap::builder::OsStringValueParser::new();
    Arg::new(name).long(name).value_name(what).help(help).value_parser(parser)
}

fn positional(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).help(help).required(true).value_parser(clap::builder::OsStringValueParser::new())
}

fn id() -> Arg {
    positional("container-id", "Name of the container, unique under the root directory")
}

fn launch(command: Command) -> Command {
    command
        .arg(value("bundle", "DIR", "Bundle directory [default: current directory]").short('b'))
        .arg(value("console-socket", "PATH", "AF_UNIX socket that is sent the master side of the terminal"))
        .arg(value("pid-file", "FILE", "Write the pid of the container's first process to FILE"))
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

fn create(command: Command) -> Command {
    launch(command.about("Create a container; its program waits for start"))
}

fn run(command: Command) -> Command {
    launch(command.about("Create and start a container, and wait for it"))
        .arg(switch("detach", "Do not wait: leave the container running").short('d'))
        .arg(switch("keep", "Do not delete the container when it has ended"))
        .arg(switch("no-subreaper", "Do not adopt and reap processes the container orphans"))
}

fn start(command: Command) -> Command {
    command.about("Start the program of a created container").arg(id())
}

fn state(command: Command) -> Command {
    command.about("Print the state of a container as JSON").arg(id())
}

fn kill(command: Command) -> Command {
    let signal = positional("signal", "Signal, by name or number [default: TERM]").required(false);
    command
        .about("Send a signal to a container's first process")
        .arg(switch("all", "Succeed even if the container is not running").short('a').hide(true))
        .arg(id())
        .arg(signal)
}

fn delete(command: Command) -> Command {
    command
        .about("Delete a stopped container")
        .arg(switch("force", "Kill the container first; succeed if there is none").short('f'))
        .arg(id())
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
    #[test]
    fn the_definition_is_consistent() {
        super::tree().debug_assert();
    }
}
