//! Which value of a JSON document a byte offset points at, as a JSON pointer (RFC 6901).
//!
//! serde_json says at which byte it stopped, but not in which value. Tracking the path while parsing would
//! answer that, at the price of a second copy of every parser in the binary; a walk over the text costs nothing
//! until something is wrong.

use super::parse::escape;

/// The pointer of the innermost value that ends at `offset` or around it; of the one that begins there, if that is
/// an array or object; of the member, where its name ends there. `text` must be valid JSON.
pub(super) fn pointer_at(text: &[u8], offset: usize) -> String {
    let mut walk = Walk { text, at: 0, offset, path: Vec::new(), found: String::new() };
    walk.value();
    walk.found
}

/// The byte offset of a serde_json error.
pub(super) fn offset_of(text: &[u8], error: &serde_json::Error) -> usize {
    let before = text.split_inclusive(|byte| *byte == b'\n').take(error.line().saturating_sub(1));
    before.map(<[u8]>::len).sum::<usize>() + error.column()
}

struct Walk<'a> {
    text: &'a [u8],
    at: usize,
    offset: usize,
    path: Vec<String>,
    found: String,
}

impl Walk<'_> {
    fn peek(&mut self) -> u8 {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.text.get(self.at).copied().unwrap_or(b' ')
    }

    /// Notes the current path; a deeper one noted later wins.
    fn note(&mut self) {
        self.found = self.path.iter().map(|name| format!("/{}", escape(name))).collect();
    }

    fn value(&mut self) {
        let kind = self.peek();
        let start = self.at;
        let opens = matches!(kind, b'{' | b'[');
        if opens && (self.offset == start || self.offset == start + 1) {
            self.note();
        }
        match kind {
            b'{' => self.members(),
            b'[' => self.items(),
            b'"' => drop(self.string()),
            _ => {
                while self.text.get(self.at).is_some_and(|byte| !b",]} \t\r\n".contains(byte)) {
                    self.at += 1;
                }
            }
        }
        if !opens && start < self.offset && self.offset <= self.at || opens && self.offset == self.at {
            self.note();
        }
    }

    fn items(&mut self) {
        self.at += 1;
        let mut index = 0;
        while self.peek() != b']' && self.at < self.text.len() {
            self.path.push(index.to_string());
            self.value();
            self.path.pop();
            index += 1;
            if self.peek() == b',' {
                self.at += 1;
            }
        }
        self.at += 1;
    }

    fn members(&mut self) {
        self.at += 1;
        while self.peek() == b'"' {
            let name = self.string();
            self.path.push(name);
            if self.at == self.offset {
                self.note();
            }
            if self.peek() == b':' {
                self.at += 1;
            }
            self.value();
            self.path.pop();
            if self.peek() == b',' {
                self.at += 1;
            }
        }
        self.at += 1;
    }

    fn string(&mut self) -> String {
        let start = self.at;
        self.at += 1;
        while let Some(byte) = self.text.get(self.at) {
            self.at += 1;
            match byte {
                b'"' => break,
                b'\\' => self.at += 1,
                _ => {}
            }
        }
        let raw = self.text.get(start..self.at).unwrap_or_default();
        serde_json::from_slice(raw).unwrap_or_else(|_| String::from_utf8_lossy(raw).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_value_around_an_offset() {
        let text = br#"{ "a": [1, "two", {"b/c": null}], "d": {"e": -3.5} , "f":[]}"#;
        let end_of = |part: &str| {
            let text = std::str::from_utf8(text).unwrap();
            text.find(part).unwrap() + part.len()
        };
        for (part, pointer) in [
            ("1", "/a/0"),
            ("\"two\"", "/a/1"),
            ("\"b/c\"", "/a/2/b~1c"),
            ("null", "/a/2/b~1c"),
            ("-3.5", "/d/e"),
            ("\"d\"", "/d"),
            ("\"d\": ", "/d"),
            ("\"f\":", "/f"),
        ] {
            assert_eq!(pointer_at(text, end_of(part)), pointer, "{part}");
        }
        assert_eq!(pointer_at(text, text.len()), "");
    }
}
