//! docs/cli.md against the program: every verb and flag, both ways, and every test it names.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

const BINARY: &str = env!("CARGO_BIN_EXE_runtime");

/// Flags of one verb, long and short, with their dashes.
type Flags = BTreeSet<String>;

/// One row of the table.
struct Row {
    verb: String,
    flags: Flags,
    takes_value: bool,
    hidden: bool,
    test: String,
}

fn source() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn document() -> String {
    fs::read_to_string(source().join("docs/cli.md")).unwrap()
}

/// Cells of every line of a table that has five, without the head.
fn rows() -> Vec<Row> {
    let text = document();
    let tables = text.lines().filter(|line| line.starts_with('|'));
    let cells = tables.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>());
    let cells = cells.filter(|cells| cells.len() == 5 && cells[0] != "Verb");
    let rows: Vec<Row> = cells
        .map(|cells| {
            assert!(cells.iter().all(|cell| !cell.is_empty()), "an empty cell: {cells:?}");
            let words = cells[1].split(", ").map(|flag| flag.trim_matches('`'));
            let flags = words.clone().filter_map(|flag| Some(flag.split(' ').next()?.to_owned()));
            Row {
                verb: cells[0].to_owned(),
                flags: flags.filter(|flag| flag.starts_with('-')).collect(),
                takes_value: words.clone().any(|flag| flag.contains(' ')),
                hidden: cells[3].starts_with("hidden") || cells[2].starts_with("hidden"),
                test: cells[4].trim_matches('`').to_owned(),
            }
        })
        .collect();
    assert!(rows.len() > 100, "the table was not found");
    rows
}

/// Standard output of the program, which must succeed.
fn said(args: &[&str]) -> String {
    let output = Command::new(BINARY).args(args).env_clear().output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What a help text lists under `Options:`.
fn listed(help: &str) -> Flags {
    let lines = help.lines().skip_while(|line| *line != "Options:").skip(1);
    let options = lines.filter(|line| line.starts_with("  ") && line.trim_start().starts_with('-'));
    let words = options.flat_map(|line| line.split_whitespace().take(2));
    let flags = words.filter(|word| word.starts_with('-'));
    flags.map(|word| word.trim_end_matches(',').split(['[', '=']).next().unwrap().to_owned()).collect()
}

/// The verbs of the main help text.
fn verbs() -> Vec<String> {
    let help = said(&["--help"]);
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let verbs = lines.take_while(|line| line.starts_with("  "));
    verbs.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

#[test]
fn flags_are_those_of_the_table() {
    let (mut wanted, mut everywhere): (BTreeMap<String, Flags>, Flags) = Default::default();
    for row in rows().into_iter().filter(|row| !row.hidden) {
        match row.verb.as_str() {
            "(every)" => everywhere.extend(row.flags),
            _ => wanted.entry(row.verb).or_default().extend(row.flags),
        }
    }
    let verbs = verbs();
    assert!(verbs.len() > 15, "no verbs in the help: {verbs:?}");
    let mut found = BTreeMap::from([("(global)".to_owned(), listed(&said(&["--help"])))]);
    for verb in verbs {
        let flags = if verb == "help" { everywhere.clone() } else { listed(&said(&[&verb, "--help"])) };
        found.insert(verb, flags);
    }
    for flags in wanted.values_mut() {
        flags.extend(everywhere.clone());
    }
    let names = |map: &BTreeMap<String, Flags>| map.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&wanted), "verbs of the program and of docs/cli.md");
    for (verb, flags) in found {
        assert_eq!(flags, wanted[&verb], "flags of {verb}, in its help and in docs/cli.md");
    }
}

/// Hidden ones too: a flag that is not known is an error, help or not.
#[test]
fn every_flag_is_taken() {
    for row in rows() {
        for flag in &row.flags {
            let value = if row.takes_value && flag.starts_with("--") { "=1" } else { "" };
            let flag = format!("{flag}{value}");
            let line: Vec<&str> = match row.verb.as_str() {
                _ if flag.starts_with("-h") || flag.starts_with("--help") => vec![&flag],
                "(global)" | "(every)" => vec![&flag, "--help"],
                verb if row.takes_value && value.is_empty() => vec![verb, &flag, "1", "--help"],
                verb => vec![verb, &flag, "--help"],
            };
            said(&line);
        }
    }
}

/// `noun::case` of the conformance suite, or `file.rs::function` beside this file.
#[test]
fn every_test_is_there() {
    let text = document();
    let mut names: Flags = rows().into_iter().map(|row| row.test).collect();
    // The last column of the other table.
    let others = text.lines().filter(|line| line.starts_with('|') && line.split(" | ").count() == 4);
    let others = others.filter_map(|line| line.trim_end_matches('|').trim().rsplit(" | ").next());
    names.extend(others.map(|name| name.trim_matches('`').to_owned()).filter(|name| name.contains("::")));
    for name in names {
        let (place, function) = name.split_once("::").unwrap_or_else(|| panic!("{name:?} names no test"));
        let (path, listed) = match place.strip_suffix(".rs") {
            Some(_) => (source().join("runtime-cli/tests").join(place), true),
            None => (source().join(format!("conformance/src/cases/{place}.rs")), false),
        };
        let code = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {path:?}: {error}"));
        assert!(code.contains(&format!("fn {function}(")), "{name}: no such function in {path:?}");
        // A case counts once it is registered.
        let cases = code.split("cases![").nth(1).and_then(|rest| rest.split("];").next()).unwrap_or_default();
        let mut words = cases.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
        assert!(listed || words.any(|word| word == function), "{name}: not in the list of cases");
    }
}
