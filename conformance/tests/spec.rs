//! docs/spec.md: a row for every property of config.json, and every file and test it names is there; where cases stand.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// How a row says that runc and crun do the same.
const SAME: &str = "none known";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

struct Row {
    property: String,
    files: Vec<String>,
    tests: Vec<String>,
    difference: String,
}

/// What stands in backticks.
fn words(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn rows() -> Vec<Row> {
    let text = fs::read_to_string(root().join("docs/spec.md")).unwrap();
    let lines = text.lines().filter(|line| line.starts_with("| `/"));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            assert_eq!(cells.len(), 4, "cells of {line}");
            Row {
                property: words(cells[0]).concat(),
                files: words(cells[1]),
                tests: words(cells[2]),
                difference: cells[3].to_owned(),
            }
        })
        .collect()
}

fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "docs:\n  {}", wrong.join("\n  "));
}

#[test]
fn each_property_has_one_row() {
    let list = root().join("runtime-core/tests/data/runtime-spec/properties.txt");
    let wanted: Vec<String> = fs::read_to_string(list).unwrap().lines().map(str::to_owned).collect();
    assert!(wanted.len() > 200);
    let found: Vec<String> = rows().into_iter().map(|row| row.property).collect();
    let (set, known): (BTreeSet<_>, BTreeSet<_>) = (found.iter().collect(), wanted.iter().collect());
    let mut wrong: Vec<String> = known.difference(&set).map(|name| format!("no row for {name}")).collect();
    wrong.extend(set.difference(&known).map(|name| format!("the schema has no {name}")));
    if found.len() != set.len() {
        wrong.push("a property has two rows".into());
    }
    none(&wrong);
}

#[test]
fn no_cell_is_empty() {
    let empty = |row: &Row| row.files.is_empty() || row.tests.is_empty() || row.difference.is_empty();
    let wrong: Vec<String> = rows().iter().filter(|row| empty(row)).map(|row| row.property.clone()).collect();
    none(&wrong);
}

#[test]
fn files_are_there() {
    let place = |file: &str| match file.strip_prefix("stage/") {
        Some(rest) => root().join("runtime-core/stage/src").join(rest),
        None => root().join("runtime-core/src").join(file),
    };
    let rows = rows();
    let missing = rows.iter().flat_map(|row| row.files.iter()).filter(|file| !place(file).exists());
    none(&missing.cloned().collect::<Vec<_>>());
}

/// A case of ours, or `path/of/a/file.rs::test`.
fn is_there(test: &str, cases: &BTreeSet<&str>) -> bool {
    let Some((file, name)) = test.split_once(".rs::") else { return cases.contains(test) };
    let text = fs::read_to_string(root().join(format!("{file}.rs"))).unwrap_or_default();
    text.contains(&format!("fn {name}()"))
}

#[test]
fn tests_are_there() {
    let cases: BTreeSet<&str> = conformance::cases::all().iter().map(|case| case.name).collect();
    let rows = rows();
    let missing = rows.iter().flat_map(|row| row.tests.iter()).filter(|test| !is_there(test, &cases));
    none(&missing.cloned().collect::<Vec<_>>());
}

/// One noun, one file: `noun::case` stands in cases/noun.rs.
#[test]
fn a_noun_is_a_file() {
    let wrong = conformance::cases::all().into_iter().filter(|case| {
        let (noun, name) = case.name.split_once("::").unwrap_or_default();
        let path = root().join(format!("conformance/src/cases/{noun}.rs"));
        !fs::read_to_string(path).unwrap_or_default().contains(&format!("fn {name}(t: &Test) -> Outcome {{"))
    });
    none(&wrong.map(|case| case.name.to_owned()).collect::<Vec<_>>());
}

/// A case that runc or crun is known to fail is a difference.
#[test]
fn differences_are_told() {
    let mut known = BTreeSet::new();
    for runtime in ["runc", "crun"] {
        known.extend(conformance::expect::differences(runtime).unwrap().into_keys());
    }
    let silent = |row: &&Row| row.difference == SAME && row.tests.iter().any(|test| known.contains(test));
    none(&rows().iter().filter(silent).map(|row| row.property.clone()).collect::<Vec<_>>());
}

/// docs/cves.md names cases and Rust tests that exist.
#[test]
fn tests_of_weaknesses_are_there() {
    let cases: BTreeSet<&str> = conformance::cases::all().iter().map(|case| case.name).collect();
    let text = fs::read_to_string(root().join("docs/cves.md")).unwrap();
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| id")).collect();
    assert!(rows.len() > 40, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for row in rows.iter().filter(|row| !row.starts_with("| ---")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 4, "cells of {row}");
        let named: Vec<String> = words(cells[2]);
        if named.is_empty() || cells.iter().any(|cell| cell.is_empty()) {
            wrong.push(format!("nothing proves {}", cells[0]));
        }
        wrong.extend(named.into_iter().filter(|test| !is_there(test, &cases)));
    }
    none(&wrong);
}
