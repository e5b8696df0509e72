//! The command line from outside: what engines see of arguments, help, logs and exit statuses.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_runtime");

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("runtime-cli-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn command(line: &str) -> Command {
    let mut command = Command::new(BINARY);
    // An engine may give no environment at all.
    command.args(line.split_whitespace()).env_clear().stdin(Stdio::null());
    command
}

fn run(line: &str) -> (i32, String, String) {
    outcome(command(line).output().unwrap())
}

fn outcome(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// The message of the one error record on standard error.
fn error(stderr: &str) -> String {
    let start = stderr.find(" level=error msg=").unwrap_or_else(|| panic!("no error record in {stderr:?}"));
    assert!(stderr.starts_with("time=\"20") && stderr.lines().count() == 1, "{stderr:?}");
    stderr[start + " level=error msg=".len()..].trim_end().to_owned()
}

#[test]
fn help_needs_nothing_and_succeeds() {
    for line in [
        "",
        "help",
        "h",
        "--help",
        "-h",
        "-help",
        "--root /nonexistent/x help",
        "--root / state -h",
        "start -h",
        "help run",
        "run --help x y z",
        "--log /nonexistent/x list --help",
        "--help bogus",
        "--",
        "create -bundle /x -help",
    ] {
        let (status, stdout, stderr) = run(line);
        assert_eq!((status, stderr.as_str()), (0, ""), "{line}");
        assert!(stdout.contains("Usage: runtime"), "{line}: {stdout}");
    }
    assert!(run("help run").1.contains("Usage: runtime run [OPTIONS] <container-id>"));
    assert!(!run("kill -h").1.contains("--all"), "--all is deprecated and hidden");
}

/// Who calls it runc finds runc's words.
#[test]
fn the_name_it_is_called_by() {
    let scratch = Scratch::new("name");
    let link = scratch.join("runc");
    std::os::unix::fs::symlink(BINARY, &link).unwrap();
    let called = |line: &str| outcome(Command::new(&link).args(line.split_whitespace()).env_clear().output().unwrap());
    for (line, own, runcs) in [
        (
            "--help",
            "   runtime, runc - Open Container Initiative runtime",
            "   runc - Open Container Initiative runtime",
        ),
        ("list -h", "   runtime list, runc list - List the", "   runc list - List the"),
    ] {
        for (stdout, second) in [(run(line).1, own), (called(line).1, runcs)] {
            let lines: Vec<&str> = stdout.lines().collect();
            assert_eq!(lines[0], "NAME:", "{stdout}");
            assert!(lines[1].starts_with(second), "{stdout}");
        }
    }
    let line = format!("run --bundle {} --console-socket /x y", scratch.0.display());
    assert!(called(&line).2.contains("\"runc run failed: "), "{}", called(&line).2);
}

#[test]
fn version_as_go_runc_and_moby_parse_it() {
    for line in ["--version", "-v", "-version", "--root /x --version"] {
        let (status, stdout, stderr) = run(line);
        assert_eq!((status, stderr.as_str()), (0, ""), "{line}");
        let lines: Vec<&str> = stdout.lines().collect();
        let starts = ["runc version 1.", "commit: ", "spec: 1.", "runtime: "];
        assert_eq!(lines.len(), starts.len(), "{stdout}");
        assert!(lines.iter().zip(starts).all(|(line, start)| line.starts_with(start)), "{stdout}");
    }
}

#[test]
fn misuse() {
    let program = format!("{BINARY:?}").trim_matches('"').to_owned();
    for (line, first, message) in [
        ("start", "Incorrect Usage.", format!("\"{program}: \\\"start\\\" requires exactly 1 argument(s)\"")),
        ("kill", "Incorrect Usage.", format!("\"{program}: \\\"kill\\\" requires a minimum of 1 argument(s)\"")),
        ("kill a b c", "Incorrect Usage.", format!("\"{program}: \\\"kill\\\" requires a maximum of 2 argument(s)\"")),
        (
            "run --nope x",
            "Incorrect Usage: flag provided but not defined: -nope",
            "\"flag provided but not defined: -nope\"".to_owned(),
        ),
        ("--root", "Incorrect Usage. flag needs an argument: -root", "\"flag needs an argument: -root\"".to_owned()),
    ] {
        let (status, stdout, stderr) = run(line);
        assert_eq!((status, error(&stderr)), (1, message), "{line}");
        assert!(stdout.starts_with(&format!("{first}\n\n")) && stdout.contains("Usage: runtime"), "{line}: {stdout}");
    }
    for line in ["bogus", "help bogus", "exec-not a"] {
        let (status, stdout, stderr) = run(line);
        assert_eq!((status, stdout.as_str()), (3, ""), "{line}");
        assert!(error(&stderr).starts_with("\"No help topic for '"), "{line}: {stderr}");
    }
}

#[test]
fn wrong_values_are_refused() {
    for (line, message) in [
        ("--root / list", "\"Option --root argument should not be set to /\""),
        ("--root=/x/.. list", "\"Option --root argument should not be set to /\""),
        ("--log-format xml list", "\"invalid log-format: xml\""),
        ("list -f yaml", "\"invalid format option\""),
        ("--root /nonexistent/x list", "\"open /nonexistent/x: no such file or directory (ENOENT)\""),
        ("--log /nonexistent/x list", "\"open /nonexistent/x: no such file or directory (ENOENT)\""),
        ("--rootless perhaps list", r#""invalid --rootless value \"perhaps\": must be true, false or auto""#),
        (
            "run --console-socket /x y",
            "\"runtime run failed: cannot use console socket if runc will not detach or allocate tty\"",
        ),
        ("--root /nonexistent/x state y", "\"container does not exist\""),
        ("--root /nonexistent/x kill y NOSUCH", "\"container does not exist\""),
    ] {
        let (status, stdout, stderr) = run(line);
        assert_eq!((status, stdout.as_str(), error(&stderr).as_str()), (1, "", message), "{line}");
    }
}

#[test]
fn arguments_that_are_not_text() {
    let odd = std::ffi::OsString::from_vec(b"\xff\xfe".to_vec());
    let (status, _, stderr) = outcome(command("--root /nonexistent/x state").arg(&odd).output().unwrap());
    assert_eq!(status, 1);
    error(&stderr);
    let (status, _, stderr) = outcome(command("").arg(&odd).output().unwrap());
    assert_eq!((status, error(&stderr).as_str()), (3, "\"No help topic for '\u{fffd}\u{fffd}'\""));
}

#[test]
fn an_empty_list() {
    let scratch = Scratch::new("list");
    let root = scratch.0.display();
    assert_eq!(
        run(&format!("--root {root} list")).1,
        "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"
    );
    assert_eq!(run(&format!("--root {root} list -f json")).1, "null\n");
    assert_eq!(run(&format!("--root {root} list -q")), (0, String::new(), String::new()));
}

#[test]
fn the_log_file() {
    let scratch = Scratch::new("log");
    let mut json = command("--log log.json --log-format json --root /nonexistent/x state y");
    let (status, stdout, stderr) = outcome(json.current_dir(&scratch.0).output().unwrap());
    assert_eq!((status, stdout.as_str(), stderr.as_str()), (1, "", "container does not exist\n"));
    let (status, ..) = outcome(json.current_dir(&scratch.0).output().unwrap());
    assert_eq!(status, 1);
    let log = fs::read_to_string(scratch.join("log.json")).unwrap();
    assert_eq!(log.lines().count(), 2, "appended, one record for each run: {log}");
    for line in log.lines() {
        let prefix = r#"{"level":"error","msg":"container does not exist","time":"20"#;
        assert!(line.starts_with(prefix) && line.ends_with("Z\"}"), "{line}");
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }

    let (_, _, stderr) = outcome(command("--log log.txt start").current_dir(&scratch.0).output().unwrap());
    assert_eq!(stderr, format!("{BINARY}: \"start\" requires exactly 1 argument(s)\n"));
    assert!(error(&fs::read_to_string(scratch.join("log.txt")).unwrap()).contains("requires exactly"));
}

fn shell(script: &str, directory: &Path) -> (i32, String, String) {
    let mut shell = Command::new("sh");
    let shell = shell.args(["-c", script]).env("RT", BINARY).env("NO", "/nonexistent/x").current_dir(directory);
    outcome(shell.stdin(Stdio::null()).output().unwrap())
}

#[test]
fn hostile_streams() {
    let scratch = Scratch::new("streams");
    for (script, expected) in [
        ("$RT help >&-", 0),
        ("$RT help >/dev/full", 0),
        ("$RT --version >/dev/full", 1),
        ("$RT --root $NO state x >&- 2>&- <&-", 1),
        ("$RT --root $NO state x 2>/dev/full", 1),
        // A pipe without a reader: neither killed by SIGPIPE nor stopped by it.
        ("{ sleep 0.2; $RT --root $NO state x 2>&1; echo $? >status; } | true; sleep 0.5; exit $(cat status)", 1),
        ("{ sleep 0.2; $RT help; echo $? >status; } | true; sleep 0.5; exit $(cat status)", 0),
    ] {
        assert_eq!(shell(script, &scratch.0).0, expected, "{script}");
    }
    // A log file must not become descriptor 2 of anything.
    let (status, ..) = shell("$RT --log log --root $NO state x 2>&- >&- <&-", &scratch.0);
    assert_eq!(status, 1);
    let log = fs::read_to_string(scratch.join("log")).unwrap();
    assert!(log.lines().count() == 1 && log.contains("level=error"), "{log}");
}

#[test]
fn preserved_descriptors_must_be_there() {
    let scratch = Scratch::new("fds");
    let create = "$RT --root $NO create -b /nonexistent/b --preserve-fds";
    let missing = |at: u32, count: u32, fd: u32| {
        format!(
            "\"runtime create failed: unable to stat preserved-fd {at} (of {count}): fcntl({fd}, F_GETFD): bad file \
             descriptor (EBADF)\""
        )
    };
    let (_, _, stderr) = shell(&format!("exec 3</dev/null 4>&-; {create} 2 x"), &scratch.0);
    assert_eq!(error(&stderr), missing(1, 2, 4));
    // Our own log file is not one of them, although it may have their number.
    let (_, _, stderr) = shell("exec 3>&-; $RT --log l --root $NO create -b /b --preserve-fds 1 x", &scratch.0);
    assert!(stderr.contains("unable to stat preserved-fd 0 (of 1)"), "{stderr}");
    let (_, _, stderr) = shell(&format!("exec 3</dev/null 4</dev/null; {create} 2 x"), &scratch.0);
    assert!(!stderr.contains("preserved-fd"), "{stderr}");
}

#[test]
fn socket_activation() {
    let scratch = Scratch::new("listen");
    let create = "exec $RT --root $NO create -b /nonexistent/b x";
    let listen = |pid: &str, fds: &str| {
        shell(&format!("export LISTEN_PID={pid} LISTEN_FDS={fds}; exec 3>&-; {create}"), &scratch.0).2
    };
    assert!(listen("$$", "1").contains("unable to stat listen-fd 0 (of 1)"));
    assert!(!listen("1", "1").contains("listen-fd"), "meant for another process");
    assert!(!listen("$$", "0").contains("listen-fd"));
    for (pid, fds) in [("$$", "1x"), ("$$", "-1"), ("$$", "+1"), ("1x", "1"), ("$$", "99999999999")] {
        assert!(listen(pid, fds).contains("is not a number"), "{pid} {fds}");
    }
}

#[test]
fn spec_never_overwrites() {
    let scratch = Scratch::new("spec");
    assert_eq!(shell("$RT spec", &scratch.0), (0, String::new(), String::new()));
    assert!(scratch.join("config.json").exists());
    fs::write(scratch.join("config.json"), "mine").unwrap();
    let (status, _, stderr) = shell("$RT spec -b .", &scratch.0);
    assert_eq!((status, error(&stderr).as_str()), (1, "\"File config.json exists. Remove it first\""));
    assert_eq!(fs::read_to_string(scratch.join("config.json")).unwrap(), "mine");
    assert_eq!(run("spec -b /nonexistent/x").0, 1);
    assert_eq!(run("spec x").0, 1);
}

#[test]
fn the_directory_of_a_user() {
    let scratch = Scratch::new("xdg");
    // Real root keeps to /run, whatever XDG_RUNTIME_DIR says (podman always sets it).
    let (status, ..) = shell("XDG_RUNTIME_DIR=$PWD USER=me $RT list -q", &scratch.0);
    assert_eq!((status, scratch.join("runtime").exists()), (0, false));
    // Root of a user namespace that does not call itself root.
    let (status, _, stderr) = shell("XDG_RUNTIME_DIR=$PWD USER=me unshare -U -r $RT list -q", &scratch.0);
    assert_eq!((status, stderr.as_str()), (0, ""));
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(scratch.join("runtime")).unwrap().permissions());
    assert_eq!(mode & 0o7777, 0o1700);
    let (status, _, stderr) = shell("XDG_RUNTIME_DIR=/proc/none USER=me unshare -U -r $RT list -q", &scratch.0);
    assert_eq!(status, 1);
    assert!(
        stderr.contains("must be writable by the user: mkdir /proc/none/runtime: no such file or directory (ENOENT)")
    );
}

#[test]
fn a_current_directory_that_is_gone() {
    let scratch = Scratch::new("gone");
    for verb in ["--root rel list", "create x"] {
        let script = format!("mkdir d && cd d && rmdir ../d && $RT {verb}");
        let (status, _, stderr) = shell(&script, &scratch.0);
        assert_eq!(status, 1, "{verb}");
        assert!(stderr.contains("no such file or directory (ENOENT)"), "{verb}: {stderr}");
    }
}
