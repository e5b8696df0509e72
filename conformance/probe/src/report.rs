//! The report: everything the kernel will tell a process about itself. A missing /proc makes values null, never an error.

use crate::{path, sys};
use serde_json::{Map, Value, json};
use std::fs;
use std::net::UdpSocket;
use std::os::unix::ffi::OsStrExt;

/// Prints the report; `args` are `--path P` pairs to look at as well.
pub fn print(args: &[&str]) -> i32 {
    // First, so that nothing opened for the rest is counted.
    let descriptors = descriptors();
    let mut paths = Map::new();
    for pair in args.chunks(2) {
        if let ["--path", p] = pair {
            paths.insert((*p).into(), path::examine(p));
        }
    }
    let report = json!({
        "fds": descriptors,
        "args": std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>(),
        "env": environment(),
        "cwd": sys::getcwd(),
        "uts": sys::uts(),
        "ids": sys::process_ids(),
        "scheduling": sys::scheduling(),
        "status": status(),
        "limits": limits(),
        "mounts": mounts(),
        "namespaces": namespaces(),
        "cgroup": lines("/proc/self/cgroup"),
        "uid_map": lines("/proc/self/uid_map"),
        "gid_map": lines("/proc/self/gid_map"),
        "setgroups": text("/proc/self/setgroups"),
        "oom_score_adj": text("/proc/self/oom_score_adj"),
        "personality": text("/proc/self/personality"),
        "attr": text("/proc/self/attr/current"),
        "timens_offsets": lines("/proc/self/timens_offsets"),
        "terminal": [sys::terminal(0), sys::terminal(1), sys::terminal(2)],
        "keyring": sys::session_keyring(),
        "dumpable": sys::prctl(libc::PR_GET_DUMPABLE),
        "keepcaps": sys::prctl(libc::PR_GET_KEEPCAPS),
        "securebits": sys::prctl(libc::PR_GET_SECUREBITS),
        "lo_up": lo_up(),
        "dev": devices(),
        "root": path::examine("/"),
        "paths": paths,
    });
    println!("{report}");
    0
}

fn text(file: &str) -> Value {
    fs::read(file).map_or(Value::Null, |b| json!(String::from_utf8_lossy(&b).trim_end_matches(['\n', '\0'])))
}

fn lines(file: &str) -> Value {
    fs::read_to_string(file).map_or(Value::Null, |t| {
        json!(t.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>())
    })
}

/// The environment block in its order, duplicates included.
fn environment() -> Vec<String> {
    if let Ok(block) = fs::read("/proc/self/environ") {
        return block
            .split(|b| *b == 0)
            .filter(|e| !e.is_empty())
            .map(|e| String::from_utf8_lossy(e).into_owned())
            .collect();
    }
    let shown = |s: &std::ffi::OsStr| String::from_utf8_lossy(s.as_bytes()).into_owned();
    std::env::vars_os().map(|(k, v)| format!("{}={}", shown(&k), shown(&v))).collect()
}

/// Open descriptors and what they are, without the one used to look.
pub fn descriptors() -> Value {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return Value::Null };
    let own = format!("/proc/{}/fd", std::process::id());
    let mut found = Map::new();
    for entry in entries.flatten() {
        let target = fs::read_link(entry.path()).map(|t| t.to_string_lossy().into_owned()).unwrap_or_default();
        if target != own {
            found.insert(entry.file_name().to_string_lossy().into_owned(), json!(target));
        }
    }
    Value::Object(found)
}

fn status() -> Value {
    let Ok(text) = fs::read_to_string("/proc/self/status") else { return Value::Null };
    let pairs = text.lines().filter_map(|l| l.split_once(':'));
    Value::Object(
        pairs.map(|(k, v)| (k.to_string(), json!(v.split_whitespace().collect::<Vec<_>>().join(" ")))).collect(),
    )
}

/// `/proc/self/limits` as name → [soft, hard], the numbers as the kernel prints them.
fn limits() -> Value {
    let Ok(text) = fs::read_to_string("/proc/self/limits") else { return Value::Null };
    let mut out = Map::new();
    for line in text.lines().skip(1) {
        let (Some(name), Some(rest)) = (line.get(..26), line.get(26..)) else { continue };
        let values: Vec<&str> = rest.split_whitespace().take(2).collect();
        out.insert(name.trim().into(), json!(values));
    }
    Value::Object(out)
}

fn mounts() -> Value {
    let Ok(text) = fs::read_to_string("/proc/self/mountinfo") else { return Value::Null };
    let list = |s: &str| json!(s.split(',').collect::<Vec<_>>());
    let parse = |line: &str| {
        let (head, tail) = line.split_once(" - ")?;
        let head: Vec<&str> = head.split(' ').collect();
        let tail: Vec<&str> = tail.split(' ').collect();
        Some(json!({
            "id": head.first()?, "parent": head.get(1)?, "dev": head.get(2)?, "root": head.get(3)?, "point": head.get(4)?,
            "options": list(head.get(5)?), "optional": head.get(6..)?, "type": tail.first()?, "source": tail.get(1)?,
            "super": list(tail.get(2)?),
        }))
    };
    Value::Array(text.lines().filter_map(parse).collect())
}

fn namespaces() -> Value {
    let mut out = Map::new();
    for name in ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"] {
        let link = fs::read_link(format!("/proc/self/ns/{name}"));
        out.insert(name.into(), link.map_or(Value::Null, |l| json!(l.to_string_lossy())));
    }
    Value::Object(out)
}

/// Whether loopback carries a datagram.
fn lo_up() -> bool {
    UdpSocket::bind("127.0.0.1:0").and_then(|s| s.send_to(b"x", s.local_addr()?)).is_ok()
}

fn devices() -> Value {
    let Ok(entries) = fs::read_dir("/dev") else { return Value::Null };
    let stat =
        |e: fs::DirEntry| (e.file_name().to_string_lossy().into_owned(), path::stat(&e.path().to_string_lossy()));
    Value::Object(entries.flatten().map(stat).collect())
}
