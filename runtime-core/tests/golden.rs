//! The plans of known configs on known hosts, as files that a person can read and a change shows up in.
//!
//! `golden/configs` × `golden/hosts` → `golden/plans`. After a wanted change:
//! `GOLDEN=rewrite cargo test -p runtime-core --test golden`, then read the diff.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use runtime_core::host::HostFacts;
use runtime_core::plan::{Receiver, Request, plan};
use runtime_core::spec;
use serde_json::{Value, json};

const WIDTH: usize = 116;

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Names of the files of a directory, without `.json`.
fn names(of: &str) -> BTreeSet<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| {
        let name = entry.expect("entry").file_name().into_string().expect("UTF-8");
        name.strip_suffix(".json").unwrap_or_else(|| panic!("{name}: not .json")).to_owned()
    };
    fs::read_dir(directory(of)).expect(of).map(name).collect()
}

fn read(of: &str, name: &str) -> String {
    let path = directory(of).join(format!("{name}.json"));
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What the caller adds, where a config is about that.
fn request(config: &str) -> Request {
    let request = Request { id: "demo".into(), bundle: "/bundle".into(), ..Request::default() };
    match config {
        "terminal" => Request { console: Receiver::Caller, console_size: Some((24, 80)), ..request },
        "terminal-size" => Request { console: Receiver::Socket, console_size: Some((24, 80)), ..request },
        "no-pivot" => Request { no_pivot: true, no_new_keyring: true, ..request },
        "user" => Request { preserve_fds: 3, listen_fds: 2, ..request },
        _ => request,
    }
}

fn golden(config: &str, facts: &HostFacts) -> String {
    let document = match spec::parse(read("configs", config).as_bytes()) {
        Err(problems) => refused("parse", &problems),
        Ok(spec) => match plan(&spec, facts, &request(config)) {
            Err(problems) => refused("plan", &problems),
            Ok(plan) => serde_json::to_value(plan).expect("a plan is JSON"),
        },
    };
    let mut text = String::new();
    write(&mut text, &tidy(document), 0);
    text.push('\n');
    text
}

fn refused(by: &str, problems: &[spec::Problem]) -> Value {
    json!({ "refusedBy": by, "problems": problems.iter().map(ToString::to_string).collect::<Vec<_>>() })
}

/// Without what says nothing; programs of the kernel's machines by size and sum, for nobody reads them.
fn tidy(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().map(|(name, value)| match (name.as_str(), value) {
                ("code", Value::Array(code)) => (name, program(&code)),
                // Differs by architecture; the compiler has its own tests.
                ("instructions", _) => (name, json!("…")),
                ("rule", value) if value == "must" => (name, Value::Null),
                (_, value) => (name, tidy(value)),
            });
            Value::Object(kept.filter(|(_, value)| !says_nothing(value)).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(tidy).collect()),
        value => value,
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

fn program(code: &[Value]) -> Value {
    let bytes = code.iter().flat_map(|word| word.as_u64().expect("an instruction").to_le_bytes());
    let sum = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    json!(format!("{} instructions, FNV-1a {sum:016x}", code.len()))
}

/// JSON, in which whatever fits stands on one line.
fn write(out: &mut String, value: &Value, indent: usize) {
    let flat = flat(value);
    let margin = "  ".repeat(indent + 1);
    if flat.chars().count() + 2 * indent <= WIDTH && indent > 0 {
        out.push_str(&flat);
        return;
    }
    let (open, close, items): (_, _, Vec<(String, &Value)>) = match value {
        Value::Object(members) => ('{', '}', members.iter().map(|(k, v)| (format!("{}: ", json!(k)), v)).collect()),
        Value::Array(items) => ('[', ']', items.iter().map(|v| (String::new(), v)).collect()),
        _ => return out.push_str(&flat),
    };
    out.push(open);
    for (index, (name, value)) in items.into_iter().enumerate() {
        out.push_str(if index == 0 { "\n" } else { ",\n" });
        out.push_str(&margin);
        out.push_str(&name);
        write(out, value, indent + 1);
    }
    out.push('\n');
    out.push_str(&margin[2..]);
    out.push(close);
}

fn flat(value: &Value) -> String {
    match value {
        Value::Object(members) if !members.is_empty() => {
            let members: Vec<String> = members.iter().map(|(k, v)| format!("{}: {}", json!(k), flat(v))).collect();
            format!("{{ {} }}", members.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(flat).collect::<Vec<_>>().join(", ")),
        value => value.to_string(),
    }
}

#[test]
fn plans_are_as_written_down() {
    let rewrite = std::env::var_os("GOLDEN").is_some_and(|value| value == "rewrite");
    let (configs, hosts) = (names("configs"), names("hosts"));
    assert!(configs.len() >= 12 && hosts.len() >= 3, "{configs:?} {hosts:?}");
    let mut wanted = BTreeSet::new();
    let mut differing = Vec::new();
    for host in &hosts {
        let facts: HostFacts = serde_json::from_str(&read("hosts", host)).expect(host);
        for config in &configs {
            let name = format!("{config}.{host}");
            let text = golden(config, &facts);
            // No JSON that only we can read.
            serde_json::from_str::<Value>(&text).expect(&name);
            let path = directory("plans").join(format!("{name}.json"));
            if rewrite {
                fs::write(&path, &text).expect(&name);
            } else if fs::read_to_string(&path).unwrap_or_default() != text {
                differing.push(difference(&name, &fs::read_to_string(&path).unwrap_or_default(), &text));
            }
            wanted.insert(name);
        }
    }
    let stale: Vec<_> = names("plans").difference(&wanted).cloned().collect();
    assert!(stale.is_empty(), "plans without a config or a host: {stale:?}");
    assert!(
        differing.is_empty(),
        "{}\n{} plans differ; if that is wanted: GOLDEN=rewrite cargo test -p runtime-core --test golden",
        differing.join("\n"),
        differing.len()
    );
}

/// The first line that differs.
fn difference(name: &str, old: &str, new: &str) -> String {
    let lines = old.lines().zip(new.lines()).enumerate().find(|(_, (old, new))| old != new);
    match lines {
        Some((at, (old, new))) => format!("{name}.json, line {}:\n  - {old}\n  + {new}", at + 1),
        None => format!("{name}.json: {} lines, now {}", old.lines().count(), new.lines().count()),
    }
}

/// A plan depends on nothing but its arguments: twice the same gives twice the same.
#[test]
fn planning_is_pure() {
    for host in names("hosts") {
        let facts: HostFacts = serde_json::from_str(&read("hosts", &host)).expect(&host);
        for config in names("configs") {
            assert_eq!(golden(&config, &facts), golden(&config, &facts), "{config} {host}");
        }
    }
}
