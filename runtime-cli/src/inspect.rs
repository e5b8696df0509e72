//! `plan` and `check`: what create would do, and what is wrong with a bundle, without running anything.

use clap::ArgMatches;
use runtime_core::seccomp::{Explanation, Outcome};
use runtime_core::{Config, Console, Create, Runtime};

use crate::{launch, os, print, text};

/// Name of the container a plan is for, if none is given.
const NAME: &str = "plan";

/// Prints the plan of a bundle.
pub fn plan(runtime: &Runtime, matches: &ArgMatches) -> Result<(), String> {
    if let Some(call) = os(matches, "seccomp") {
        return explain(runtime, matches, &call.to_string_lossy());
    }
    let plan = with_request(matches, |request| runtime.plan(request))?.map_err(|error| error.to_string())?;
    let json = serde_json::to_string_pretty(&plan).map_err(|error| error.to_string())?;
    match text(matches, "format").as_str() {
        "json" => print::result(&(json + "\n")),
        "text" => print::result(&plain(&json)),
        _ => Err("invalid format option".to_owned()),
    }
}

/// Prints what the seccomp profile does with `call`: a name, and arguments behind commas.
fn explain(runtime: &Runtime, matches: &ArgMatches, call: &str) -> Result<(), String> {
    let mut words = call.split(',').map(str::trim);
    let name = words.next().unwrap_or_default();
    let args: Vec<u64> = words.map(number).collect::<Result<_, _>>()?;
    let explained = with_request(matches, |request| runtime.explain_seccomp(request, name, &args))?;
    let explained = explained.map_err(|error| error.to_string())?;
    match text(matches, "format").as_str() {
        "json" => {
            let json = serde_json::to_string_pretty(&explained).map_err(|error| error.to_string())?;
            print::result(&(json + "\n"))
        }
        "text" => match explained {
            None => print::result("the config has no seccomp profile: every system call is allowed\n"),
            Some(explained) => print::result(&explained.iter().map(verdict).collect::<String>()),
        },
        _ => Err("invalid format option".to_owned()),
    }
}

/// Decimal or, behind 0x, hexadecimal; a negative number is what the kernel sees of it.
fn number(text: &str) -> Result<u64, String> {
    let number = match (text.strip_prefix("0x"), text.starts_with('-')) {
        (Some(digits), _) => u64::from_str_radix(digits, 16).ok(),
        (None, true) => text.parse::<i64>().ok().map(i64::cast_unsigned),
        (None, false) => text.parse().ok(),
    };
    number.ok_or_else(|| format!("{text:?} is not a number: --seccomp takes CALL[,ARG…]"))
}

fn verdict(explained: &Explanation) -> String {
    let Explanation { architecture, syscall, number, outcomes } = explained;
    let number = number.map_or_else(|| "no such call".to_owned(), |number| number.to_string());
    let mut text = format!("{architecture} {syscall} ({number})\n");
    for outcome in outcomes {
        let condition = match outcome.conditions.is_empty() {
            true => String::new(),
            false => format!("if {}: ", outcome.conditions.join(" and ")),
        };
        let errno = outcome.errno.map_or_else(String::new, |errno| format!(" {errno}"));
        let Outcome { action, reason, pointer, .. } = outcome;
        let place = if pointer.is_empty() { String::new() } else { format!(", {pointer}") };
        text.push_str(&format!("  {condition}{action}{errno} ({reason}{place})\n"));
    }
    text
}

/// Prints everything that is wrong with a bundle; the exit status says whether anything is.
pub fn check(runtime: &Runtime, matches: &ArgMatches) -> Result<i32, String> {
    let problems = with_request(matches, |request| runtime.check(request))?.map_err(|error| error.to_string())?;
    match text(matches, "format").as_str() {
        "json" => {
            let json = serde_json::to_string_pretty(&problems).map_err(|error| error.to_string())?;
            print::result(&(json + "\n"))?;
        }
        "text" => print::result(&problems.iter().map(|problem| format!("{problem}\n")).collect::<String>())?,
        _ => return Err("invalid format option".to_owned()),
    }
    Ok(i32::from(!problems.is_empty()))
}

fn with_request<T>(matches: &ArgMatches, act: impl FnOnce(&Create<'_>) -> T) -> Result<T, String> {
    let folder = launch::bundle(matches)?;
    let config = os(matches, "config").filter(|file| !file.is_empty()).map(|file| folder.join(file));
    let id = Some(text(matches, "container-id")).filter(|id| !id.is_empty()).unwrap_or_else(|| NAME.to_owned());
    Ok(act(&Create {
        id: &id,
        bundle: Some(&folder),
        config: config.as_deref().map_or(Config::Bundle, Config::File),
        // A terminal is no problem of the bundle.
        console: Console::Keep,
        ..Create::default()
    }))
}

/// Indented JSON without its punctuation: names and values, a dash in front of each element of a list.
fn plain(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for line in json.lines() {
        let content = line.trim_start();
        // Everything is inside the outermost braces.
        let indent = (line.len() - content.len()).saturating_sub(2);
        let content = content.strip_suffix(',').unwrap_or(content);
        let text = match content {
            "{" | "[" if line == content => continue,
            "{" | "[" => "-".to_owned(),
            "}" | "]" => continue,
            _ => match member(content) {
                Some((name, "{" | "[")) => format!("{name}:"),
                // What is not done takes no line.
                Some((_, "null" | "[]" | "{}" | "false" | "\"\"")) => continue,
                Some((name, value)) => format!("{name}: {}", bare(value)),
                None => format!("- {}", bare(content)),
            },
        };
        out.push_str(&" ".repeat(indent));
        out.push_str(&text);
        out.push('\n');
    }
    out
}

/// Name and value of `"name": value`.
fn member(content: &str) -> Option<(&str, &str)> {
    let rest = content.strip_prefix('"')?;
    let (name, value) = rest.split_once("\": ")?;
    (!name.contains(['"', '\\'])).then_some((name, value))
}

/// A string without its quotes, where nothing in it needs them.
fn bare(value: &str) -> &str {
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.filter(|inner| !inner.is_empty() && !inner.contains(['"', '\\'])).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_of_arguments() {
        for (text, wanted) in [("40", 40), ("0x7e020000", 0x7e02_0000), ("-1", u64::MAX), ("0", 0)] {
            assert_eq!(super::number(text), Ok(wanted));
        }
        for text in ["", "x", "0x", "1 2", "-", "0xg"] {
            assert!(super::number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn json_without_punctuation() {
        let value = serde_json::json!({
            "args": ["sh", "a \"b\""], "cwd": "/", "empty": [], "none": "", "not": false, "mounts": [{ "target": "proc", "flags": [] }], "uid": 0,
        });
        let json = serde_json::to_string_pretty(&value).unwrap();
        let text = "args:\n  - sh\n  - \"a \\\"b\\\"\"\ncwd: /\nmounts:\n  -\n    target: proc\nuid: 0\n";
        assert_eq!(super::plain(&json), text);
    }
}
