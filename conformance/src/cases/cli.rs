//! cli: options, pid files, logs, list, ps, exec; what engines parse (contract 2.1 to 2.10).

use crate::cases;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::fs;

cases!["cli":
    version_line_names_the_runtime, help_works_without_anything, pid_file_has_no_newline,
    pid_file_absent_after_failure, log_json_one_object_per_line, log_text_to_stderr, bad_log_format, unknown_option,
    wrong_argument_count, list_table, list_json_and_quiet, options_with_equals_sign, root_slash_is_refused,
    exec_exit_code, exec_error_is_255, exec_environment_and_user, exec_in_stopped, exec_detached_pid_file,
    exec_cap_is_not_inheritable, spec_writes_a_config, spec_is_runcs, spec_does_not_overwrite, features_is_json,
    stdout_full, log_in_a_missing_folder, preserve_fds, no_log_is_told_as_json, an_empty_verb_is_help,
];

fn version_line_names_the_runtime(t: &Test) -> Outcome {
    let out = t.ok(&["--version"])?.stdout;
    let first = out.lines().next().unwrap_or("");
    check!(first.contains(" version "), "first line: {first:?}");
    check!(out.lines().any(|l| l.starts_with("spec: 1.")), "no spec line: {out}");
    Ok(())
}

fn help_works_without_anything(t: &Test) -> Outcome {
    for args in [&["--help"][..], &["create", "--help"], &["run", "-h"], &["delete", "--help"]] {
        let output = t.ok(args)?;
        check!(!output.stdout.is_empty(), "{args:?} prints nothing");
    }
    Ok(())
}

fn pid_file_has_no_newline(t: &Test) -> Outcome {
    let bundle = t.bundle()?.probe(&["sleep", "600"]);
    bundle.save()?;
    let file = t.folder.join("pid");
    t.ok(&["create", "--bundle", &bundle.path.to_string_lossy(), "--pid-file", &file.to_string_lossy(), &t.id])?;
    let text = fs::read_to_string(&file)?;
    let state = t.state()?;
    t.delete()?;
    check_eq!(text, state["pid"].to_string(), "content of the pid file");
    let left: Vec<_> = fs::read_dir(&t.folder)?
        .flatten()
        .map(|e| e.file_name())
        .filter(|n| n.to_string_lossy().starts_with(".pid"))
        .collect();
    check!(left.is_empty(), "temporary file left: {left:?}");
    Ok(())
}

fn pid_file_absent_after_failure(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/process/args", json!(["/missing"]));
    bundle.save()?;
    let file = t.folder.join("pid");
    t.fails(
        &["create", "--bundle", &bundle.path.to_string_lossy(), "--pid-file", &file.to_string_lossy(), &t.id],
        "/missing",
    )?;
    check!(!file.exists(), "a failed create wrote the pid file");
    Ok(())
}

fn log_json_one_object_per_line(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/process/args", json!(["/missing"]));
    bundle.save()?;
    let log = t.folder.join("log.json");
    let args = [
        "--log",
        &log.to_string_lossy(),
        "--log-format",
        "json",
        "create",
        "--bundle",
        &bundle.path.to_string_lossy(),
        &t.id,
    ];
    let output = t.fails(&args, "/missing")?;
    let text = fs::read_to_string(&log)?;
    let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
    let errors: Vec<Value> = lines?.into_iter().filter(|l| l["level"] == "error").collect();
    check_eq!(errors.len(), 1, "error lines in {text}");
    let message = errors[0]["msg"].as_str().unwrap_or("");
    check!(message.contains("no such file or directory"), "msg: {message}");
    check!(errors[0]["time"].as_str().is_some_and(|t| t.contains('T')), "time: {}", errors[0]["time"]);
    check_eq!(output.stderr.trim_end(), message, "stderr has the same text as the log");
    check_eq!(output.stdout, "", "stdout");
    Ok(())
}

fn log_text_to_stderr(t: &Test) -> Outcome {
    let output = t.fails(&["state", "missing"], "does not exist")?;
    check!(
        output.stderr.contains("level=error") && output.stderr.contains("msg="),
        "not a log line: {}",
        output.stderr
    );
    check_eq!(output.stderr.lines().count(), 1, "lines on stderr");
    Ok(())
}

fn bad_log_format(t: &Test) -> Outcome {
    t.fails(&["--log-format", "xml", "list"], "invalid log-format").map(drop)
}

fn unknown_option(t: &Test) -> Outcome {
    let output = t.rt(&["create", "--no-such-option", &t.id])?;
    check_eq!(output.code, 1, "exit status");
    Ok(())
}

fn wrong_argument_count(t: &Test) -> Outcome {
    t.fails(&["start"], "requires exactly 1 argument")?;
    t.fails(&["start", "a", "b"], "requires exactly 1 argument").map(drop)
}

fn list_table(t: &Test) -> Outcome {
    let pid = t.sleeper(t.bundle()?)?;
    let out = t.ok(&["list"])?.stdout;
    t.delete()?;
    let mut lines = out.lines();
    let head: Vec<&str> = lines.next().unwrap_or("").split_whitespace().collect();
    check_eq!(head, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"], "header");
    let row: Vec<&str> = lines.next().unwrap_or("").split_whitespace().collect();
    check_eq!(row.get(..3), Some(&[t.id.as_str(), &pid.to_string(), "running"][..]), "row");
    check_eq!(row.last(), Some(&"root"), "owner");
    Ok(())
}

fn list_json_and_quiet(t: &Test) -> Outcome {
    t.sleeper(t.bundle()?)?;
    let (json, quiet) = (t.ok(&["list", "--format", "json"])?.stdout, t.ok(&["list", "--quiet"])?.stdout);
    t.delete()?;
    let list: Value = serde_json::from_str(&json)?;
    check_eq!(list.as_array().map(Vec::len), Some(1), "containers");
    check_eq!(list[0]["id"], t.id.as_str(), "id");
    check_eq!(quiet, format!("{}\n", t.id), "quiet list");
    let none = t.ok(&["list", "--format", "json"])?.stdout;
    check_eq!(none.trim(), "null", "list of nothing");
    t.fails(&["list", "--format", "xml"], "invalid format option").map(drop)
}

fn options_with_equals_sign(t: &Test) -> Outcome {
    let bundle = t.bundle()?.probe(&["exit", "0"]);
    bundle.save()?;
    t.ok(&["--debug=false", "run", &format!("--bundle={}", bundle.path.display()), "--detach=false", &t.id])?;
    let one_dash = t.rt(&["run", "-bundle", &bundle.path.to_string_lossy(), &t.id])?;
    check_eq!(one_dash.code, 0, "-bundle with one dash: {}", one_dash.stderr);
    Ok(())
}

fn root_slash_is_refused(t: &Test) -> Outcome {
    let mut command = t.runtime.command(&[]);
    command.args(["--root", "/", "state", "x"]);
    let output = t.finish(command)?;
    check_eq!(output.code, 1, "exit status");
    check!(output.stderr.contains("--root argument should not be set to /"), "{}", output.stderr);
    Ok(())
}

fn exec_exit_code(t: &Test) -> Outcome {
    t.needs("exec")?;
    t.sleeper(t.bundle()?)?;
    let output = t.rt(&["exec", &t.id, "/probe", "exit", "42"])?;
    t.delete()?;
    check_eq!(output.code, 42, "exit status: {}", output.stderr);
    Ok(())
}

fn exec_error_is_255(t: &Test) -> Outcome {
    t.needs("exec")?;
    t.sleeper(t.bundle()?)?;
    let missing = t.rt(&["exec", &t.id, "no-such-program"])?;
    t.delete()?;
    check_eq!(missing.code, 255, "exit status: {}", missing.stderr);
    check!(missing.stderr.contains("executable file not found in $PATH"), "{}", missing.stderr);
    Ok(())
}

fn exec_environment_and_user(t: &Test) -> Outcome {
    t.needs("exec")?;
    t.sleeper(t.bundle()?)?;
    let output = t.rt(&["exec", "--env", "X=1", "--user", "1000:1001", "--cwd", "/tmp", &t.id, "/probe", "report"])?;
    t.delete()?;
    let report = crate::report::Report::parse(&output.stdout)?;
    check_eq!(report.env("X"), (Some("1"), 1), "X");
    check_eq!(report.status("Uid"), "1000 1000 1000 1000", "uids");
    check_eq!(report.status("Gid"), "1001 1001 1001 1001", "gids");
    check_eq!(report.at("/cwd"), &json!("/tmp"), "cwd");
    check_eq!(report.descriptors(), [0, 1, 2], "descriptors");
    check_eq!(report.status("NoNewPrivs"), "1", "no new privileges, from the config");
    Ok(())
}

fn exec_in_stopped(t: &Test) -> Outcome {
    t.needs("exec")?;
    t.start(&t.bundle()?.probe(&["exit", "0"]))?;
    t.wait_status("stopped")?;
    let output = t.rt(&["exec", &t.id, "/probe"])?;
    t.delete()?;
    check_eq!(output.code, 255, "exit status");
    check!(output.stderr.contains("cannot exec in a stopped container"), "{}", output.stderr);
    Ok(())
}

fn exec_detached_pid_file(t: &Test) -> Outcome {
    t.needs("exec")?;
    t.sleeper(t.bundle()?)?;
    let file = t.folder.join("pid");
    let output = t.rt(&["exec", "--detach", "--pid-file", &file.to_string_lossy(), &t.id, "/probe", "sleep", "600"])?;
    let pid = fs::read_to_string(&file).unwrap_or_default();
    let alive = std::path::Path::new("/proc").join(&pid).exists();
    t.delete()?;
    check_eq!(output.code, 0, "exit status: {}", output.stderr);
    check!(pid.parse::<i32>().is_ok() && alive, "pid file: {pid:?}");
    Ok(())
}

/// CVE-2022-29162, CVE-2025-27612.
fn exec_cap_is_not_inheritable(t: &Test) -> Outcome {
    t.needs("exec")?;
    t.sleeper(t.bundle()?)?;
    let output = t.rt(&["exec", "--cap", "CAP_SYS_PTRACE", &t.id, "/probe", "report"])?;
    t.delete()?;
    let report = crate::report::Report::parse(&output.stdout)?;
    check_eq!((report.caps("Inh"), report.caps("Amb")), (0, 0), "inheritable and ambient");
    check!(report.caps("Eff") & (1 << 19) != 0, "CAP_SYS_PTRACE is missing");
    Ok(())
}

fn spec_writes_a_config(t: &Test) -> Outcome {
    let folder = t.folder.join("spec");
    fs::create_dir(&folder)?;
    t.ok(&["spec", "--bundle", &folder.to_string_lossy()])?;
    let config: Value = serde_json::from_slice(&fs::read(folder.join("config.json"))?)?;
    check_eq!(config["process"]["args"], json!(["sh"]), "args");
    check_eq!(config["process"]["cwd"], "/", "cwd");
    check_eq!(config["root"], json!({ "path": "rootfs", "readonly": true }), "root");
    check!(config["linux"]["namespaces"].as_array().is_some_and(|n| n.len() >= 5), "namespaces");
    Ok(())
}

/// The config of `spec`, also with `--rootless`.
fn written(t: &Test, runtime: &crate::runtime::Runtime, rootless: bool) -> Outcome<Value> {
    let folder = t.folder.join(format!("spec-{}-{rootless}", runtime.name));
    fs::create_dir(&folder)?;
    let mut command = runtime.command(&[]);
    command.args(["spec", "--bundle"]).arg(&folder).args(rootless.then_some("--rootless"));
    let output = t.finish(command)?;
    check_eq!(output.code, 0, "spec: {}", output.stderr);
    Ok(serde_json::from_slice(&fs::read(folder.join("config.json"))?)?)
}

/// What runc 1.5 writes, value by value (contract 2.6).
fn wanted_spec(rootless: bool) -> Value {
    let mut config = crate::bundle::default_config("x");
    config["ociVersion"] = json!("1.3.0");
    config["process"]["terminal"] = json!(true);
    config["process"]["args"] = json!(["sh"]);
    config["process"]["env"] =
        json!(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"]);
    let linux = config["linux"].as_object_mut();
    let Some(linux) = linux else { return config };
    linux.remove("cgroupsPath");
    if rootless {
        linux.remove("resources");
        let kinds = ["pid", "ipc", "uts", "mount", "user"].map(|kind| json!({ "type": kind }));
        linux.insert("namespaces".into(), json!(kinds));
        for map in ["uidMappings", "gidMappings"] {
            linux.insert(map.into(), json!([{ "containerID": 0, "hostID": 0, "size": 1 }]));
        }
        config["mounts"][2]["options"] = json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]);
        config["mounts"][5] = json!({ "destination": "/sys", "type": "none", "source": "/sys",
            "options": ["rbind", "nosuid", "noexec", "nodev", "ro"] });
    }
    config
}

fn spec_is_runcs(t: &Test) -> Outcome {
    if !t.runtime.is_ours() {
        return crate::test::skip("this is about ours");
    }
    for rootless in [false, true] {
        let ours = written(t, &t.runtime, rootless)?;
        check_eq!(ours, wanted_spec(rootless), "spec, rootless {rootless}");
        // The host's runc is older: its version, and the ambient capabilities that later ones left out.
        let Some(path) = crate::runtime::in_path("runc") else { continue };
        let mut theirs = written(t, &crate::runtime::Runtime::new(&path), rootless)?;
        theirs["ociVersion"] = json!("1.3.0");
        if let Some(sets) = theirs["process"]["capabilities"].as_object_mut() {
            sets.remove("ambient");
        }
        check_eq!(ours, theirs, "spec against the host's runc, rootless {rootless}");
    }
    Ok(())
}

fn spec_does_not_overwrite(t: &Test) -> Outcome {
    let folder = t.folder.join("spec");
    fs::create_dir(&folder)?;
    fs::write(folder.join("config.json"), "mine")?;
    t.fails(&["spec", "--bundle", &folder.to_string_lossy()], "exists")?;
    check_eq!(fs::read_to_string(folder.join("config.json"))?, "mine", "the file");
    Ok(())
}

fn features_is_json(t: &Test) -> Outcome {
    t.needs("features")?;
    let features: Value = serde_json::from_str(&t.ok(&["features"])?.stdout)?;
    check!(features["ociVersionMin"].is_string() && features["ociVersionMax"].is_string(), "versions");
    check!(features["linux"]["namespaces"].as_array().is_some_and(|n| n.len() >= 6), "namespaces");
    check!(features["mountOptions"].as_array().is_some_and(|n| n.iter().any(|o| o == "rro")), "rro in mountOptions");
    Ok(())
}

/// ROB-27: a full stdout is an error or nothing, never a panic.
fn stdout_full(t: &Test) -> Outcome {
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", "exec \"$@\" >/dev/full", "sh"])
        .arg(&t.runtime.path)
        .arg("--root")
        .arg(&t.state)
        .arg("--version");
    let output = t.finish(command)?;
    check!(output.code <= 1, "exit {}: {}", output.code, output.stderr);
    Ok(())
}

/// ROB-28: before the container runs.
fn log_in_a_missing_folder(t: &Test) -> Outcome {
    let bundle = t.bundle()?;
    bundle.save()?;
    let log = t.folder.join("missing/log");
    let output = t.rt(&["--log", &log.to_string_lossy(), "run", "--bundle", &bundle.path.to_string_lossy(), &t.id])?;
    check_eq!(output.code, 1, "exit status");
    check_eq!(output.stdout, "", "stdout");
    Ok(())
}

/// Descriptors the caller leaks stay out; those it names come in, from 3 on.
fn preserve_fds(t: &Test) -> Outcome {
    let bundle = t.bundle()?;
    let path = bundle.saved()?;
    let leak = "exec 3</etc/passwd 4</ 5</etc/hostname 9</proc; exec \"$@\"";
    let output =
        t.finish(t.command(&["sh", "-c", leak, "sh"], &["run", "--preserve-fds", "2", "--bundle", &path, &t.id]))?;
    let report = crate::report::Report::parse(&output.stdout)?;
    check_eq!(report.descriptors(), [0, 1, 2, 3, 4], "descriptors with --preserve-fds 2");
    let output = t.run_behind(&["sh", "-c", leak, "sh"], &bundle)?;
    let report = crate::report::Report::parse(&output.stdout)?;
    check_eq!(report.descriptors(), [0, 1, 2], "descriptors without");
    Ok(())
}

/// Who asked for JSON gets it on stderr when the log cannot be opened.
fn no_log_is_told_as_json(t: &Test) -> Outcome {
    let log = t.folder.join("no/such/log").to_string_lossy().into_owned();
    let output = t.fails(&["--log-format", "json", "--log", &log, "list"], "no such file or directory")?;
    let record: Value = serde_json::from_str(&output.stderr)?;
    check_eq!(record["level"], "error", "level");
    check!(record["msg"].as_str().is_some_and(|message| message.contains(&log)), "msg: {}", record["msg"]);
    Ok(())
}

fn an_empty_verb_is_help(t: &Test) -> Outcome {
    check!(t.ok(&[""])?.stdout.contains("--root"), "no help");
    Ok(())
}
