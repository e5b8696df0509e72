//! Bytes to [`Spec`], with every problem found at once.
//!
//! The fast path is one pass of serde_json over the bytes. Only when that fails is the offending value looked up
//! by the position of the error, noted with its JSON pointer, taken out, and the rest tried again, until nothing
//! more is wrong.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Spec, locate};

/// One thing wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// JSON pointer (RFC 6901) of the offending value; empty for the document itself.
    pub pointer: String,
    /// What is wrong, in one line.
    pub message: String,
}

impl Problem {
    /// A problem at `pointer`.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pointer.as_str() {
            "" => f.write_str(&self.message),
            pointer => write!(f, "{pointer}: {}", self.message),
        }
    }
}

/// More problems than this are not looked for: the document is not a config.
const MOST_PROBLEMS: usize = 64;

/// Parses `config.json`. Unknown members are ignored, as config.md asks; duplicated known ones are errors.
pub fn parse(bytes: &[u8]) -> Result<Spec, Vec<Problem>> {
    parse_as(bytes)
}

/// Parses any object of the spec (`process.json` of exec, the resources of update, …).
pub fn parse_as<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Vec<Problem>> {
    serde_json::from_slice(bytes).map_err(|first| explain::<T>(bytes, &first))
}

/// Finds every offending node of a document that did not parse as `T`.
fn explain<T: DeserializeOwned>(bytes: &[u8], first: &serde_json::Error) -> Vec<Problem> {
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(bytes) {
        return vec![Problem::new("", format!("invalid JSON: {error}"))];
    }
    let mut problems: Vec<Problem> = Vec::new();
    let mut text = bytes.to_vec();
    while problems.len() < MOST_PROBLEMS {
        let Err(error) = serde_json::from_slice::<T>(&text) else { break };
        let message = plain(&error);
        let pointer = locate::pointer_at(&text, locate::offset_of(&text, &error));
        if problems.last().is_none_or(|last| last.pointer != pointer) {
            problems.push(Problem::new(pointer.clone(), message.clone()));
        }
        let Ok(mut tree) = serde_json::from_slice::<Value>(&text) else { break };
        // A duplicated member vanishes when the document becomes a tree; anything else is taken out.
        if !message.starts_with("duplicate") && !remove(&mut tree, &pointer) {
            break;
        }
        let Ok(next) = serde_json::to_vec(&tree) else { break };
        text = next;
    }
    if problems.is_empty() {
        problems.push(Problem::new("", plain(first)));
    }
    problems
}

/// serde_json's message without its position, which the pointer says better.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// One member name as RFC 6901 writes it.
pub fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn unescape(name: &str) -> String {
    name.replace("~1", "/").replace("~0", "~")
}

/// Takes the node at `pointer` out of `tree`; array elements become an empty object or null in place so
/// that the indices of later problems stay true.
fn remove(tree: &mut Value, pointer: &str) -> bool {
    let Some((parent, last)) = pointer.rsplit_once('/') else { return false };
    match tree.pointer_mut(parent) {
        Some(Value::Object(members)) => members.remove(&unescape(last)).is_some(),
        Some(Value::Array(items)) => {
            let Some(item) = last.parse::<usize>().ok().and_then(|i| items.get_mut(i)) else { return false };
            let blank = [Value::Object(serde_json::Map::new()), Value::String(String::new()), Value::from(0)];
            let next = match blank.iter().position(|b| b == item) {
                None => blank.into_iter().next(),
                Some(at) => blank.into_iter().nth(at + 1),
            };
            match next {
                Some(next) => *item = next,
                None => return false,
            }
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(text: &str) -> Vec<String> {
        parse(text.as_bytes()).unwrap_err().into_iter().map(|p| p.pointer).collect()
    }

    #[test]
    fn reports_every_problem_with_its_pointer() {
        let text =
            r#"{"process":{"cwd":3,"user":{"uid":-1},"args":["a",7]},"mounts":[{"options":"ro"},{"destination":[]}]}"#;
        let mut found = pointers(text);
        found.sort();
        assert_eq!(
            found,
            ["/mounts/0/options", "/mounts/1/destination", "/process/args/1", "/process/cwd", "/process/user/uid"]
        );
    }

    #[test]
    fn duplicates_are_errors_and_unknown_members_are_not() {
        assert_eq!(pointers(r#"{"hostname":"a","hostname":"b"}"#).len(), 1);
        assert_eq!(pointers(r#"{"annotations":{"x":"1","x":"2"}}"#), ["/annotations"]);
        assert!(parse(br#"{"unheard":1,"of":{"x":[]}}"#).is_ok());
    }

    #[test]
    fn an_array_is_no_object() {
        assert_eq!(pointers(r#"{"root":["rootfs"],"process":[],"linux":{"seccomp":["SCMP_ACT_ALLOW"]}}"#).len(), 3);
        assert_eq!(pointers("[]"), [""]);
    }

    #[test]
    fn names_are_those_of_the_spec() {
        let text = r#"{"ociVersion":"1","process":{"execCPUAffinity":{"final":"1"},"oomScoreAdj":1},"linux":{
            "uidMappings":[{"containerID":1,"hostID":2,"size":3}],"intelRdt":{"closID":"a","l3CacheSchema":"b"},
            "resources":{"memory":{"disableOOMKiller":true,"kernelTCP":1},"blockIO":{"throttleReadIOPSDevice":[]}}}}"#;
        let spec = parse(text.as_bytes()).unwrap();
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_value(&spec).unwrap(), value);
    }

    #[test]
    fn null_is_absent() {
        let text = br#"{"mounts":null,"annotations":null,"linux":{"sysctl":null,"uidMappings":[{"size":null}]},
            "root":{"readonly":null},"process":{"terminal":null,"noNewPrivileges":null}}"#;
        let spec = parse(text).unwrap();
        assert_eq!(spec.process, Some(crate::spec::Process::default()));
        assert_eq!(spec.mounts, None);
        assert_eq!(spec.annotations, None);
    }

    #[test]
    fn broken_json_is_one_problem() {
        let problems = parse(b"{\"root\":").unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].message.starts_with("invalid JSON"), "{problems:?}");
    }
}
