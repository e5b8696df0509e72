//! features: the document, and that it promises nothing that is refused (features.md, features-linux.md).

use crate::cases;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use serde_json::{Value, json};

cases!["features":
    needs_neither_rights_nor_environment, is_indented_json, versions_are_accepted, hooks_are_the_six,
    every_mount_option_is_accepted, every_capability_is_known, every_seccomp_name_is_known,
    every_namespace_is_known, annotations_with_an_effect_are_listed,
];

fn text(t: &Test) -> Outcome<String> {
    let output = t.rt(&["features"])?;
    if output.stderr.contains("unknown command") {
        return skip("this runtime has no features");
    }
    check_eq!(output.code, 0, "exit status: {}", output.stderr);
    Ok(output.stdout)
}

fn document(t: &Test) -> Outcome<Value> {
    Ok(serde_json::from_str(&text(t)?)?)
}

fn names(document: &Value, pointer: &str) -> Outcome<Vec<String>> {
    let list = document.pointer(pointer).and_then(Value::as_array);
    let names: Option<Vec<String>> = list.into_iter().flatten().map(|n| n.as_str().map(str::to_owned)).collect();
    let names = names.unwrap_or_default();
    check!(!names.is_empty(), "{pointer} is no list of names");
    Ok(names)
}

/// Daemons ask with hardly any environment, as any user, and a state directory may not even be possible.
fn needs_neither_rights_nor_environment(t: &Test) -> Outcome {
    let document = document(t)?;
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs", "env", "-i"]);
    command.arg(&t.runtime.path).args(["--root", "/proc/no/such/place", "features"]);
    let output = t.finish(command)?;
    check_eq!(output.code, 0, "exit status: {}", output.stderr);
    check!(output.stderr.is_empty(), "{}", output.stderr);
    let unprivileged: Value = serde_json::from_str(&output.stdout)?;
    check_eq!(unprivileged, document, "the document of another user");
    Ok(())
}

fn is_indented_json(t: &Test) -> Outcome {
    let text = text(t)?;
    check!(text.starts_with("{\n    \"ociVersionMin\": \"1.0.0\",\n    \"ociVersionMax\": \"1."), "{text}");
    check!(text.ends_with("}\n"), "the end: {:?}", text.chars().rev().take(5).collect::<String>());
    Ok(())
}

fn versions_are_accepted(t: &Test) -> Outcome {
    let document = document(t)?;
    for name in ["ociVersionMin", "ociVersionMax"] {
        t.run_ok(&t.bundle()?.with("/ociVersion", document[name].clone()).probe(&["exit", "0"]))?;
    }
    Ok(())
}

fn hooks_are_the_six(t: &Test) -> Outcome {
    let six = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    check_eq!(names(&document(t)?, "/hooks")?, six, "hooks");
    Ok(())
}

fn every_mount_option_is_accepted(t: &Test) -> Outcome {
    let options = names(&document(t)?, "/mountOptions")?;
    for wanted in ["rro", "nosymfollow", "rbind", "rslave", "ro", "remount"] {
        check!(options.iter().any(|option| option == wanted), "{wanted} is not listed");
    }
    for option in options {
        let mut bundle = t.bundle()?.probe(&["exit", "0"]);
        match option.as_str() {
            // Those need mappings, and a file system that takes them.
            "idmap" | "ridmap" => continue,
            "bind" | "rbind" => bundle.mount("/tmp", "none", "/etc", &[&option]),
            "copy-symlink" | "src-nofollow" | "dest-nofollow" => {
                bundle.mount("/tmp", "none", "/etc", &["bind", &option])
            }
            "remount" => bundle.mount("/dev/shm", "tmpfs", "tmpfs", &["remount", "ro"]),
            option => bundle.mount("/tmp", "tmpfs", "tmpfs", &[option]),
        }
        let output = t.run(&bundle)?;
        check_eq!(output.code, 0, "mount option {option}: {}", output.stderr);
    }
    Ok(())
}

fn every_capability_is_known(t: &Test) -> Outcome {
    let all = json!(names(&document(t)?, "/linux/capabilities")?);
    let bundle = t.bundle()?.probe(&["exit", "0"]).with("/process/capabilities/bounding", all);
    let output = t.run(&bundle)?;
    check!(output.code == 0 && !output.stderr.contains("unknown"), "exit {}: {}", output.code, output.stderr);
    Ok(())
}

fn every_seccomp_name_is_known(t: &Test) -> Outcome {
    let document = document(t)?;
    let mut rules = Vec::new();
    for operator in names(&document, "/linux/seccomp/operators")? {
        let args = json!([{ "index": 0, "value": 1, "valueTwo": 1, "op": operator }]);
        rules.push(json!({ "names": ["mq_timedsend"], "action": "SCMP_ACT_LOG", "args": args }));
    }
    // One program cannot serve machines of both byte orders; these are there on every machine the tests run on.
    let architectures = names(&document, "/linux/seccomp/archs")?;
    check!(["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"].iter().all(|a| architectures.iter().any(|b| a == b)), "archs");
    let architectures: Vec<&String> = architectures.iter().filter(|name| name.starts_with("SCMP_ARCH_X")).collect();
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": architectures,
        "flags": names(&document, "/linux/seccomp/supportedFlags")?,
        "syscalls": rules,
    });
    t.run_ok(&t.bundle()?.with("/linux/seccomp", profile).probe(&["exit", "0"]))?;
    for action in names(&document, "/linux/seccomp/actions")?.iter().filter(|action| *action != "SCMP_ACT_NOTIFY") {
        let profile =
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["mq_open"], "action": action }] });
        let output = t.run(&t.bundle()?.with("/linux/seccomp", profile).probe(&["exit", "0"]))?;
        // An action for what is allowed anyway is refused by libseccomp.
        check!(output.code == 0 || action == "SCMP_ACT_ALLOW", "{action}: {}", output.stderr);
    }
    Ok(())
}

fn every_namespace_is_known(t: &Test) -> Outcome {
    let mut bundle = t.bundle()?.probe(&["exit", "0"]);
    for kind in names(&document(t)?, "/linux/namespaces")? {
        if kind != "user" {
            bundle.namespace(&kind, "");
        }
    }
    t.run_ok(&bundle)?;
    Ok(())
}

/// features.md: an engine filters annotations by this list, and `[]` says that none does anything.
fn annotations_with_an_effect_are_listed(t: &Test) -> Outcome {
    let document = document(t)?;
    if document.get("potentiallyUnsafeConfigAnnotations").is_none() {
        return skip("this runtime does not say which annotations it looks at");
    }
    let listed = names(&document, "/potentiallyUnsafeConfigAnnotations")?;
    for wanted in ["org.systemd.property.", "run.oci.keep_original_groups", "run.oci.pidfd_receiver"] {
        check!(listed.iter().any(|name| name == wanted), "{wanted} is not listed: {listed:?}");
    }
    Ok(())
}
