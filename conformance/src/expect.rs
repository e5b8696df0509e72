//! Expected differences: `"case" = "reason"` lines in expect/RUNTIME.toml. A listed case must fail; one that passes is news.

use std::collections::BTreeMap;

/// How the reason of a race that is not always lost begins: such a case may pass as well.
pub const SOMETIMES: &str = "sometimes: ";

/// The list of a runtime; empty for one we have no list of.
pub fn differences(runtime: &str) -> Result<BTreeMap<String, String>, String> {
    let text = match runtime {
        "runc" => include_str!("../expect/runc.toml"),
        "crun" => include_str!("../expect/crun.toml"),
        "runtime" => include_str!("../expect/runtime.toml"),
        crate::runtime::IN_PROCESS => {
            concat!(include_str!("../expect/runtime.toml"), "\n", include_str!("../expect/in-process.toml"))
        }
        _ => "",
    };
    parse(text)
}

pub fn parse(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut all = BTreeMap::new();
    for (n, line) in text.lines().enumerate().map(|(n, l)| (n + 1, l.trim())) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let pair = line.split_once('=').and_then(|(k, v)| Some((quoted(k)?, quoted(v)?)));
        let (case, reason) = pair.ok_or_else(|| format!("line {n}: not \"case\" = \"reason\": {line}"))?;
        if reason.is_empty() {
            return Err(format!("line {n}: a difference needs a reason"));
        }
        if all.insert(case.into(), reason.into()).is_some() {
            return Err(format!("line {n}: {case} is listed twice"));
        }
    }
    Ok(all)
}

fn quoted(text: &str) -> Option<&str> {
    text.trim().strip_prefix('"')?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reads_pairs_and_refuses_the_rest() {
        let all = parse("# c\n\n\"a::b\" = \"why = how\"\n").unwrap();
        assert_eq!(all["a::b"], "why = how");
        assert!(parse("\"a\" = \"\"").is_err());
        assert!(parse("\"a\" = \"x\"\n\"a\" = \"y\"").is_err());
        assert!(parse("a = b").is_err());
    }
}
