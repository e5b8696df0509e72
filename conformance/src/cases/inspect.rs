//! inspect: what runc does not have: plan, check, doctor, --timeline. They change nothing and run nothing.

use crate::cases;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

cases!["inspect":
    plan_as_text, plan_as_json, plan_runs_nothing, plan_of_a_bad_bundle, plan_explains_seccomp,
    plan_without_a_profile, check_of_a_good_bundle, check_names_every_problem, check_names_what_is_missing,
    check_without_a_config, doctor_looks_at_the_host, timeline_of_a_run, timeline_of_a_create, timeline_of_an_exec,
    timeline_of_a_failure, timeline_with_nowhere_to_go,
];

fn plan_as_text(t: &Test) -> Outcome {
    t.needs("plan")?;
    let path = t.bundle()?.with("/hostname", json!("planned")).saved()?;
    let text = t.ok(&["plan", "--bundle", &path, &t.id])?.stdout;
    let lines: Vec<&str> = text.lines().collect();
    for wanted in ["hostname: planned", "mounts:", "  args:", "capabilities:", "cgroup:"] {
        check!(lines.iter().any(|line| line.starts_with(wanted)), "no line {wanted:?} in {text}");
    }
    // In the order of the config.
    let at = |what: &str| lines.iter().position(|line| line.trim() == what);
    let places = ["target: proc", "target: dev", "target: dev/pts", "target: sys"].map(at);
    check!(places.iter().all(Option::is_some) && places.is_sorted(), "the mounts: {places:?} in {text}");
    check!(text.contains(&format!("/{}", t.id)), "the cgroup of {} is not named in {text}", t.id);
    let punctuated = |line: &&&str| line.contains(['{', '[', ',']) || line.trim_start().starts_with('"');
    check_eq!(lines.iter().find(punctuated), None, "punctuation of JSON");
    check!(!text.contains("false"), "what is not done is named: {text}");
    Ok(())
}

fn plan_as_json(t: &Test) -> Outcome {
    t.needs("plan")?;
    let path = t.bundle()?.probe(&["exit", "7"]).saved()?;
    let text = t.ok(&["plan", "--bundle", &path, "--format", "json"])?.stdout;
    let plan: Value = serde_json::from_str(&text)?;
    check_eq!(plan["program"]["args"], json!(["/probe", "exit", "7"]), "arguments");
    let targets: Vec<&str> =
        plan["mounts"].as_array().into_iter().flatten().filter_map(|m| m["target"].as_str()).collect();
    // One of cgroup becomes several on a hybrid host.
    check_eq!(targets.get(..6), Some(&["proc", "dev", "dev/pts", "dev/shm", "dev/mqueue", "sys"][..]), "{targets:?}");
    check_eq!(plan["noNewPrivileges"], json!(true), "no new privileges");
    check_eq!(plan["rlimits"].as_array().map(Vec::len), Some(1), "limits");
    t.fails(&["plan", "--bundle", &path, "--format", "yaml"], "invalid format option").map(drop)
}

/// No state, no cgroup, no mount, and no program: the id is free afterwards.
fn plan_runs_nothing(t: &Test) -> Outcome {
    t.needs("plan")?;
    let bundle = t.bundle()?.probe(&["write-file", "/tmp/ran", "x"]).with("/root/readonly", json!(false));
    let path = bundle.saved()?;
    for format in ["text", "json"] {
        t.ok(&["plan", "--bundle", &path, "--format", format, &t.id])?;
    }
    check!(!t.state.join(&t.id).exists(), "a state directory");
    check!(crate::leak::cgroups(&t.id).is_empty(), "a cgroup");
    check!(!bundle.rootfs().join("tmp/ran").exists(), "the program ran");
    t.run_ok(&bundle)?;
    Ok(())
}

fn plan_of_a_bad_bundle(t: &Test) -> Outcome {
    t.needs("plan")?;
    let bundle = t.bundle()?.with("/process/cwd", json!("relative")).with("/linux/namespaces/0/type", json!("moon"));
    let output = t.fails(&["plan", "--bundle", &bundle.saved()?], "/process/cwd")?;
    check!(output.stderr.contains("/linux/namespaces/0"), "only one problem is named: {}", output.stderr);
    check_eq!(output.stdout, "", "stdout");
    Ok(())
}

/// The verdict of `plan --seccomp` is what the kernel does.
fn plan_explains_seccomp(t: &Test) -> Outcome {
    t.needs("plan")?;
    let rules = json!([
        { "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13 },
        { "names": ["personality"], "action": "SCMP_ACT_ERRNO",
          "args": [{ "index": 0, "value": 8, "op": "SCMP_CMP_EQ" }] },
    ]);
    let profile =
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": rules });
    let mut bundle = t.bundle()?.with("/linux/seccomp", profile);
    let path = bundle.saved()?;
    let explain = |call: &str| -> Outcome<String> { Ok(t.ok(&["plan", "--bundle", &path, "--seccomp", call])?.stdout) };
    if !cfg!(target_arch = "x86_64") {
        return crate::test::skip("the numbers are those of x86_64");
    }
    check_eq!(
        explain("mkdir")?,
        "SCMP_ARCH_X86_64 mkdir (83)\n  SCMP_ACT_ERRNO 13 (named without conditions, /linux/seccomp/syscalls/0)\n",
        "mkdir"
    );
    let open = explain("personality")?;
    let outcomes: Vec<&str> = open.lines().skip(1).collect();
    check!(
        outcomes.len() == 2
            && outcomes[0].starts_with("  if ")
            && outcomes[0].contains("SCMP_ACT_ERRNO 1 ")
            && outcomes[0].contains("/linux/seccomp/syscalls/1")
            && outcomes[1].starts_with("  SCMP_ACT_ALLOW"),
        "without an argument both outcomes: {open}"
    );
    let hit = explain("personality,8")?;
    check!(hit.lines().count() == 2 && hit.contains("  SCMP_ACT_ERRNO 1 "), "personality(8): {hit}");
    let missed = explain("personality,0x9")?;
    check!(missed.lines().count() == 2 && missed.contains("  SCMP_ACT_ALLOW"), "personality(9): {missed}");
    let json = t.ok(&["plan", "--bundle", &path, "--format", "json", "--seccomp", "mkdir"])?.stdout;
    let json: Value = serde_json::from_str(&json)?;
    check_eq!(json[0]["outcomes"][0]["errno"], json!(13), "as JSON: {json}");
    t.fails(&["plan", "--bundle", &path, "--seccomp", "no_such_call"], "no_such_call")?;
    t.fails(&["plan", "--bundle", &path, "--seccomp", "mkdir,x"], "is not a number")?;
    // The kernel agrees.
    if bundle.busybox(&["sh", "mkdir"])? {
        bundle.set("/process/args", json!(["/bin/mkdir", "/tmp/x"]));
        bundle.set("/root/readonly", json!(false));
        let output = t.run(&bundle)?;
        check!(output.code != 0 && output.stderr.contains("Permission denied"), "mkdir: {}", output.stderr);
    }
    Ok(())
}

fn plan_without_a_profile(t: &Test) -> Outcome {
    t.needs("plan")?;
    let path = t.bundle()?.saved()?;
    let text = t.ok(&["plan", "--bundle", &path, "--seccomp", "mkdir"])?.stdout;
    check!(text.contains("no seccomp profile"), "{text}");
    check_eq!(t.ok(&["plan", "-b", &path, "--format=json", "--seccomp", "mkdir"])?.stdout, "null\n", "as JSON");
    Ok(())
}

fn check_of_a_good_bundle(t: &Test) -> Outcome {
    t.needs("check")?;
    let path = t.bundle()?.saved()?;
    check_eq!(t.ok(&["check", "--bundle", &path])?.stdout, "", "text");
    check_eq!(t.ok(&["check", "--bundle", &path, "--format", "json"])?.stdout, "[]\n", "JSON");
    let other = Path::new(&path).join("other.json");
    fs::rename(Path::new(&path).join("config.json"), other)?;
    check_eq!(t.ok(&["check", "--bundle", &path, "--config", "other.json"])?.stdout, "", "another file");
    let plan = t.ok(&["plan", "--bundle", &path, "-f", "other.json"])?.stdout;
    check!(plan.contains("hostname: runc"), "plan of another file: {plan}");
    Ok(())
}

/// All at once, each with its place, and exit status 1.
fn check_names_every_problem(t: &Test) -> Outcome {
    t.needs("check")?;
    let bundle = t
        .bundle()?
        .with("/process/cwd", json!("relative"))
        .with("/process/rlimits/0/type", json!("RLIMIT_MOON"))
        .with("/mounts/2/options/-", json!("size=nothing,\u{0}"))
        .with("/linux/namespaces/0/type", json!("moon"))
        .with("/linux/sysctl", json!({ "kernel.moon": "1" }));
    let path = bundle.saved()?;
    let text = t.rt(&["check", "--bundle", &path])?;
    let json = t.rt(&["check", "--bundle", &path, "--format", "json"])?;
    check_eq!((text.code, json.code), (1, 1), "exit status: {}{}", text.stderr, json.stderr);
    let problems: Vec<Value> = serde_json::from_str(&json.stdout)?;
    for pointer in
        ["/process/cwd", "/process/rlimits/0", "/mounts/2/options", "/linux/namespaces/0", "/linux/sysctl/kernel.moon"]
    {
        let named = |problem: &&Value| problem["pointer"].as_str().is_some_and(|place| place.starts_with(pointer));
        check!(problems.iter().find(named).is_some(), "nothing about {pointer} in {}", json.stdout);
        check!(text.stdout.lines().any(|line| line.contains(pointer)), "nothing about {pointer} in {}", text.stdout);
    }
    check_eq!(text.stdout.lines().count(), problems.len(), "lines");
    Ok(())
}

/// What is right in itself, but not on this host.
fn check_names_what_is_missing(t: &Test) -> Outcome {
    t.needs("check")?;
    let mut bundle = t.bundle()?;
    bundle.mount("/data", "bind", "/nowhere/at/all", &["bind"]);
    bundle.namespace("network", "/nowhere/net");
    let output = t.rt(&["check", "--bundle", &bundle.saved()?])?;
    check_eq!(output.code, 1, "exit status");
    for wanted in ["/nowhere/at/all", "/nowhere/net", "/mounts/7"] {
        check!(output.stdout.contains(wanted), "nothing about {wanted} in {}", output.stdout);
    }
    Ok(())
}

fn check_without_a_config(t: &Test) -> Outcome {
    t.needs("check")?;
    let folder = t.folder.join("empty");
    fs::create_dir(&folder)?;
    t.fails(&["check", "--bundle", &folder.to_string_lossy()], "config.json not found").map(drop)
}

fn doctor_looks_at_the_host(t: &Test) -> Outcome {
    t.needs("doctor")?;
    let text = t.ok(&["doctor"])?.stdout;
    for subject in ["kernel", "caller", "cgroups", "user namespaces", "id maps", "seccomp", "keyrings"] {
        let found = text.lines().find(|line| line.get(9..).is_some_and(|rest| rest.starts_with(subject)));
        let mark = found.and_then(|line| line.split_whitespace().next());
        check!(matches!(mark, Some("ok" | "limited")), "{subject}: {found:?} in {text}");
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    check!(text.contains(&format!("Linux {}", release.trim())), "not this kernel: {text}");
    // What is limited comes with what to do about it.
    let lines: Vec<&str> = text.lines().collect();
    for pair in lines.windows(2).filter(|pair| pair[0].starts_with("limited")) {
        check!(pair[1].trim_start().starts_with("-> "), "no remedy behind {:?}", pair[0]);
    }
    Ok(())
}

/// The lines of a timeline: microseconds, step, element.
fn moments(path: &Path) -> Outcome<Vec<(f64, String, u32)>> {
    let text = fs::read_to_string(path)?;
    let mut moments = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        check_eq!(words.len(), 3, "words of {line:?}");
        let (Ok(at), Ok(index)) = (words[0].parse(), words[2].parse()) else {
            return Err(format!("no numbers in {line:?}").into());
        };
        moments.push((at, words[1].to_owned(), index));
    }
    Ok(moments)
}

/// It begins with the process, ends when the launch is over, goes up, and each step is in it.
fn timed(path: &Path, steps: &[&str]) -> Outcome {
    let moments = moments(path)?;
    let names: Vec<&str> = moments.iter().map(|moment| moment.1.as_str()).collect();
    check_eq!((names.first(), names.last()), (Some(&"Clone"), Some(&"Done")), "first and last of {names:?}");
    check!(moments.is_sorted_by(|a, b| a.0 <= b.0), "times go back: {moments:?}");
    check!(moments.last().is_some_and(|last| last.0 > 0.0 && last.0 < 10e6), "the last: {:?}", moments.last());
    for step in steps {
        check!(names.contains(step), "no step {step} in {names:?}");
    }
    Ok(())
}

fn ours(t: &Test) -> Outcome {
    if t.runtime.is_ours() { Ok(()) } else { crate::test::skip("--timeline is ours alone") }
}

fn timeline_of_a_run(t: &Test) -> Outcome {
    ours(t)?;
    let (path, file) = (t.bundle()?.probe(&["exit", "3"]).saved()?, t.folder.join("times"));
    let output = t.rt(&["run", "--timeline", &file.to_string_lossy(), "--bundle", &path, &t.id])?;
    check_eq!(output.code, 3, "exit status: {}", output.stderr);
    timed(&file, &["Mount", "Hostname", "Capabilities"])?;
    let mounts = moments(&file)?.iter().filter(|moment| moment.1 == "Mount").map(|moment| moment.2).max();
    check!(mounts.is_some_and(|last| last >= 6), "number of the last mount: {mounts:?}");
    Ok(())
}

fn timeline_of_a_create(t: &Test) -> Outcome {
    ours(t)?;
    let (path, file) = (t.bundle()?.probe(&["exit", "0"]).saved()?, t.folder.join("times"));
    t.ok(&["create", "--timeline", &file.to_string_lossy(), "--bundle", &path, &t.id])?;
    t.delete()?;
    timed(&file, &["Mount", "Hostname"])
}

fn timeline_of_an_exec(t: &Test) -> Outcome {
    ours(t)?;
    let file = t.folder.join("times");
    t.sleeper(t.bundle()?)?;
    let output = t.rt(&["exec", "--timeline", &file.to_string_lossy(), &t.id, "/probe", "exit", "4"])?;
    t.delete()?;
    check_eq!(output.code, 4, "exit status: {}", output.stderr);
    timed(&file, &["Capabilities"])?;
    check!(moments(&file)?.iter().all(|moment| moment.1 != "Mount"), "an exec mounts nothing");
    Ok(())
}

/// The last step is the one that failed.
fn timeline_of_a_failure(t: &Test) -> Outcome {
    ours(t)?;
    let bundle = t.bundle()?.with("/process/args", json!(["/nowhere"]));
    let (path, file) = (bundle.saved()?, t.folder.join("times"));
    t.fails(&["run", "--timeline", &file.to_string_lossy(), "--bundle", &path, &t.id], "/nowhere")?;
    let moments = moments(&file)?;
    check!(moments.iter().any(|moment| moment.1 == "Mount"), "{moments:?}");
    Ok(())
}

fn timeline_with_nowhere_to_go(t: &Test) -> Outcome {
    ours(t)?;
    let path = t.bundle()?.probe(&["echo", "ran"]).saved()?;
    let output = t.fails(&["run", "--timeline", "/nowhere/times", "--bundle", &path, &t.id], "/nowhere/times")?;
    check_eq!(output.stdout, "", "the program ran");
    Ok(())
}
