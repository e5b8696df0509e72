//! What a program of the suite says, in the Test Anything Protocol.

/// What a program made of a runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub passed: usize,
    /// The first words of each failure.
    pub failed: Vec<String>,
    /// Why it ended early: a time limit, an exit status.
    pub end: Option<String>,
}

impl Verdict {
    pub fn failed(why: &str) -> Self {
        Self { passed: 0, failed: Vec::new(), end: Some(why.into()) }
    }

    /// Reads its output. `exit` is its exit status, and `error` what it wrote to stderr.
    pub fn read(text: &str, error: &str, exit: i32) -> Self {
        let mut verdict = Self { passed: 0, failed: Vec::new(), end: None };
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("not ok ") {
                verdict.failed.push(rest.split_once(" - ").map_or(rest, |(_, what)| what).to_owned());
            } else if line.starts_with("ok ") && !line.to_lowercase().contains("# skip") {
                verdict.passed += 1;
            }
        }
        if exit != 0 {
            let told = |line: &&str| !line.is_empty() && !line.starts_with("exit status");
            let said = error.lines().rev().map(str::trim).find(told).unwrap_or_default();
            verdict.end = Some(format!("exit {exit}: {}", said.chars().take(200).collect::<String>()));
        }
        verdict
    }

    /// At least one point, none lost, and it came to its end.
    pub fn is_pass(&self) -> bool {
        self.passed > 0 && self.failed.is_empty() && self.end.is_none()
    }

    /// It ended well but said nothing.
    fn is_silent(&self) -> bool {
        self.passed == 0 && self.failed.is_empty() && self.end.is_none()
    }

    /// A cell of the table.
    pub fn word(&self) -> String {
        match self.end {
            None if self.is_pass() => "pass".into(),
            None if self.is_silent() => "no verdict".into(),
            None => format!("fail ({} of {})", self.failed.len(), self.failed.len() + self.passed),
            Some(_) => "fail (ends early)".into(),
        }
    }

    /// What it complained about, on one line.
    pub fn complaint(&self) -> String {
        let all: Vec<&str> = self.failed.iter().map(String::as_str).take(3).chain(self.end.as_deref()).collect();
        all.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict;

    #[test]
    fn verdicts() {
        let read = |text: &str, exit| Verdict::read(text, "why\nexit status 1\n", exit);
        assert!(read("TAP version 13\nok 1 - a\nok 2 # skip b\n1..2\n", 0).is_pass());
        let lost = read("ok 1 - a\nnot ok 2 - b is c\n1..2\n", 0);
        assert!(!lost.is_pass());
        assert_eq!((lost.word().as_str(), lost.complaint().as_str()), ("fail (1 of 2)", "b is c"));
        assert!(read("TAP version 13\n1..0\n", 0).is_silent());
        assert!(!read("1..0 # SKIP no such machine\nok 1 # SKIP x\n", 0).is_pass());
        let early = read("ok 1 - a\n", 1);
        assert!(!early.is_pass() && !early.is_silent());
        assert_eq!(early.complaint(), "exit 1: why");
    }
}
