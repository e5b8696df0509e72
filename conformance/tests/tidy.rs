//! The rules of this tree that a machine can judge. Sizes are only printed: they are a question, not a rule.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a test that prints sizes")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where `unsafe` may stand; what ends in `/` is a folder.
const UNSAFE: &[&str] = &[
    "runtime-core/src/sys/",
    "runtime-core/src/launch/spawn.rs",
    "runtime-core/stage/src/arch/",
    "runtime-core/stage/src/main.rs",
    "runtime-core/stage/src/mem.rs",
    "runtime-core/stage/src/sys.rs",
    "runtime-core/stage/src/sys/",
    "runtime-core/tests/",
    "runtime-cli/src/main.rs",
    "runtime-cli/src/sys.rs",
    "conformance/probe/src/main.rs",
    "conformance/probe/src/sys.rs",
    "conformance/src/console.rs",
    "conformance/src/isolate.rs",
    "conformance/src/pty.rs",
    "fuzz/",
];

/// What the library never does: it would be seen in the host process, or end it.
const BANNED_IN_THE_LIBRARY: &[&str] = &[
    "println!",
    "print!(",
    "eprintln!",
    "eprint!(",
    "process::exit",
    "process::abort",
    "env::set_var",
    "env::remove_var",
    "set_current_dir",
    "umask(",
    "thread::spawn",
    "panic!(",
    "todo!(",
    "unimplemented!(",
    ".unwrap()",
    "catch_unwind",
    "set_hook(",
    // Their default hasher panics where getrandom fails; and what we print must not depend on it.
    "HashMap",
    "HashSet",
];

/// What the stage never does: it has no allocator and no panic path. (A test of the library looks at its symbols.)
const BANNED_IN_THE_STAGE: &[&str] = &[
    "extern crate",
    "alloc::",
    "std::",
    "Vec<",
    "String",
    "Box<",
    "format!",
    "panic!(",
    "unreachable!(",
    "todo!(",
    ".unwrap()",
    ".expect(",
    " assert!(",
    " assert_eq!(",
];

/// A line of code, without its comment and without what stands in quotes.
struct Line {
    file: String,
    number: usize,
    code: String,
    test: bool,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn sources() -> Vec<PathBuf> {
    let mut open: Vec<PathBuf> =
        ["runtime-core", "runtime-cli", "conformance", "fuzz"].iter().map(|name| root().join(name)).collect();
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && entry.file_name() != "target" {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn lines() -> Vec<Line> {
    sources().iter().flat_map(|path| lines_of(path)).collect()
}

/// Lines of a file. From `#[cfg(test)]` on, and in files of tests, they are tests.
fn lines_of(path: &Path) -> Vec<Line> {
    let file = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    let text = fs::read_to_string(path).unwrap();
    let only_tests = file.contains("/tests/") || file.ends_with("tests.rs") || text.contains("#![cfg(test)]");
    let only_tests = only_tests || is_test_module(path);
    let start = text.lines().position(|line| line.trim() == "#[cfg(test)]" && !line.starts_with(' '));
    let in_tests = |at: usize| only_tests || start.is_some_and(|start| at >= start && ends_the_file(&text, start));
    let line =
        |(at, line): (usize, &str)| Line { file: file.clone(), number: at + 1, code: code(line), test: in_tests(at) };
    text.lines().enumerate().map(line).collect()
}

/// Whether the module declares this file as `#[cfg(test)] mod NAME;`.
fn is_test_module(path: &Path) -> bool {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let folder = path.parent().unwrap();
    let parent = folder.parent().unwrap().join(format!("{}.rs", folder.file_name().unwrap().to_string_lossy()));
    [folder.join("mod.rs"), folder.join("lib.rs"), folder.join("main.rs"), parent].iter().any(|module| {
        let text = fs::read_to_string(module).unwrap_or_default();
        text.contains(&format!("#[cfg(test)]\nmod {name};")) || text.contains(&format!("#[cfg(test)]\npub mod {name};"))
    })
}

/// Whether the test module that starts there is inline, so that it is the rest of the file.
fn ends_the_file(text: &str, start: usize) -> bool {
    text.lines().nth(start + 1).is_some_and(|line| line.contains("mod ") && line.ends_with('{'))
}

fn code(line: &str) -> String {
    let (mut out, mut quoted, mut previous) = (String::new(), false, ' ');
    for c in line.chars() {
        if c == '"' && previous != '\\' && previous != '\'' {
            quoted = !quoted;
        } else if !quoted {
            if c == '/' && previous == '/' {
                out.pop();
                break;
            }
            out.push(c);
        }
        previous = c;
    }
    out
}

fn word(code: &str, wanted: &str) -> bool {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == wanted)
}

fn fail(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

#[test]
fn unsafe_stands_where_it_may() {
    let allowed =
        |file: &str| UNSAFE.iter().any(|place| file == *place || (place.ends_with('/') && file.starts_with(place)));
    let found: Vec<String> = lines()
        .iter()
        .filter(|line| word(&line.code, "unsafe") && !allowed(&line.file))
        .map(|line| format!("{}:{}: {}", line.file, line.number, line.code.trim()))
        .collect();
    fail(&found, "unsafe outside the named places (conformance/tests/tidy.rs)");
}

#[test]
fn every_place_for_unsafe_is_there() {
    let gone: Vec<String> =
        UNSAFE.iter().filter(|place| !root().join(place).exists()).map(|place| (*place).to_owned()).collect();
    fail(&gone, "places for unsafe that do not exist");
}

#[test]
fn unsafe_has_a_reason() {
    let mut found = Vec::new();
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        let all: Vec<&str> = text.lines().collect();
        for (at, line) in all.iter().enumerate() {
            let code = code(line);
            if !(code.contains("unsafe {") || code.contains("unsafe impl") || code.contains("#[unsafe(")) {
                continue;
            }
            let near = &all[at.saturating_sub(8)..=at];
            if !near.iter().any(|line| line.contains("SAFETY:") || line.contains("# Safety")) {
                found.push(format!("{}:{}", path.strip_prefix(root()).unwrap().display(), at + 1));
            }
        }
    }
    fail(&found, "unsafe without a SAFETY comment");
}

fn banned(folder: &str, calls: &[&str], rule: &str) {
    let found: Vec<String> = lines()
        .iter()
        .filter(|line| line.file.starts_with(folder) && !line.test)
        .filter_map(|line| {
            let call = calls.iter().find(|call| line.code.contains(**call))?;
            Some(format!("{}:{}: {call}", line.file, line.number))
        })
        .collect();
    fail(&found, rule);
}

#[test]
fn the_library_leaves_its_host_alone() {
    banned("runtime-core/src/", BANNED_IN_THE_LIBRARY, "banned in the library");
}

#[test]
fn the_stage_has_no_allocator_and_no_panics() {
    banned("runtime-core/stage/src/", BANNED_IN_THE_STAGE, "banned in the stage");
}

#[test]
fn nothing_is_left_to_do() {
    let marks = ["TODO", "FIXME", "XXX", "unimplemented!(", "todo!("];
    let mut found = Vec::new();
    for path in sources().iter().filter(|path| !path.ends_with("tests/tidy.rs")) {
        for (at, line) in fs::read_to_string(path).unwrap().lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                found.push(format!("{}:{}: {}", path.strip_prefix(root()).unwrap().display(), at + 1, line.trim()));
            }
        }
    }
    fail(&found, "things to do belong into the issues");
}

/// The names in the `[dependencies]` of a Cargo.toml that are not our own.
fn dependencies(file: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(file).unwrap();
    let rows = text.lines().skip_while(|line| line.trim() != "[dependencies]").skip(1);
    rows.take_while(|line| !line.starts_with('['))
        .filter(|line| line.contains('=') && !line.contains("path ="))
        .filter_map(|line| line.split(['.', ' ', '=']).next().map(str::to_owned))
        .collect()
}

#[test]
fn every_dependency_has_a_row() {
    let rows = fs::read_to_string(root().join("docs/dependencies.md")).unwrap();
    let linked = rows.split("## What is not linked").next().unwrap_or_default();
    let mut found = Vec::new();
    for package in ["runtime-core", "runtime-cli"] {
        for name in dependencies(&root().join(package).join("Cargo.toml")) {
            if !linked.lines().any(|row| row.starts_with('|') && word(&row.replace('-', "_"), &name.replace('-', "_")))
            {
                found.push(format!("{package}: {name}"));
            }
        }
    }
    assert!(dependencies(&root().join("runtime-core/stage/Cargo.toml")).is_empty(), "the stage has dependencies");
    fail(&found, "dependencies without a row in docs/dependencies.md");
}

#[test]
fn sizes() {
    let mut count = 0;
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        let length = text.lines().count();
        count += length;
        if length > 500 {
            println!("{name}: {length} lines");
        }
        let mut start = None;
        for (at, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            if start.is_none() && word(&code(line), "fn") && line.trim_end().ends_with('{') {
                start = Some((at, indent, line.trim().to_owned()));
            } else if let Some((from, depth, head)) = &start
                && line.trim_end() == format!("{}}}", " ".repeat(*depth))
            {
                if at - from > 70 {
                    println!("{name}:{}: {} lines: {head}", from + 1, at - from + 1);
                }
                start = None;
            }
        }
    }
    println!("{count} lines in all");
}
