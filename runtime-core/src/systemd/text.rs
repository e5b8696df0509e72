//! Values in GVariant text format (GLib, "GVariant Text Format Strings"), as annotations give them. Pure.

use super::wire::Value;

/// The value a text stands for.
pub(super) fn parse(text: &str) -> Option<Value> {
    let mut parser = Parser { text: text.trim() };
    let value = parser.value(0)?;
    parser.text.trim().is_empty().then_some(value)
}

struct Parser<'a> {
    text: &'a str,
}

/// Numbers may carry their type in front.
const TYPES: [(&str, u8); 13] = [
    ("boolean", b'b'),
    ("byte", b'y'),
    ("int16", b'n'),
    ("uint16", b'q'),
    ("int32", b'i'),
    ("uint32", b'u'),
    ("int64", b'x'),
    ("uint64", b't'),
    ("double", b'd'),
    ("string", b's'),
    ("objectpath", b'o'),
    ("signature", b'g'),
    ("handle", b'i'),
];

impl<'a> Parser<'a> {
    fn skip(&mut self, token: &str) -> bool {
        self.text = self.text.trim_start();
        match self.text.strip_prefix(token) {
            Some(rest) => {
                self.text = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> &'a str {
        self.text = self.text.trim_start();
        let end = self
            .text
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_')))
            .unwrap_or(self.text.len());
        let (word, rest) = self.text.split_at(end);
        self.text = rest;
        word
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > 8 {
            return None;
        }
        self.text = self.text.trim_start();
        match self.text.bytes().next()? {
            b'\'' | b'"' => self.string().map(Value::Text),
            b'[' => self.array(depth),
            b'(' => self.tuple(depth),
            b'<' => {
                self.skip("<");
                let inner = self.value(depth + 1)?;
                self.skip(">").then(|| Value::Variant(Box::new(inner)))
            }
            b'@' => self.annotated(depth),
            _ => self.plain(depth),
        }
    }

    /// `@t 5`, `@as []`.
    fn annotated(&mut self, depth: usize) -> Option<Value> {
        self.skip("@");
        let end = self.text.find(char::is_whitespace)?;
        let (signature, rest) = self.text.split_at(end);
        self.text = rest;
        match signature.as_bytes() {
            [kind] => self.typed(*kind, depth),
            [b'a', kind] => {
                let Value::Array(of, items) = self.array_of(Some(*kind), depth)? else { return None };
                Some(Value::Array(of, items))
            }
            _ => None,
        }
    }

    fn plain(&mut self, depth: usize) -> Option<Value> {
        let word = self.word();
        if let Some((_, kind)) = TYPES.iter().find(|(name, _)| *name == word) {
            return self.typed(*kind, depth);
        }
        match word {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ if word.contains('.') => word.parse().ok().map(Value::Double),
            _ => integer(word).and_then(|number| i32::try_from(number).ok()).map(Value::I32),
        }
    }

    /// A value of a known basic type.
    fn typed(&mut self, kind: u8, depth: usize) -> Option<Value> {
        match kind {
            b's' => self.value(depth + 1).filter(|value| matches!(value, Value::Text(_))),
            b'o' => Some(Value::Path(self.quoted()?)),
            b'g' => Some(Value::Signature(self.quoted()?)),
            b'b' => match self.word() {
                "true" => Some(Value::Bool(true)),
                "false" => Some(Value::Bool(false)),
                _ => None,
            },
            b'd' => self.word().parse().ok().map(Value::Double),
            _ => {
                let number = integer(self.word())?;
                Some(match kind {
                    b'y' => Value::Byte(number.try_into().ok()?),
                    b'n' => Value::I16(number.try_into().ok()?),
                    b'q' => Value::U16(number.try_into().ok()?),
                    b'i' => Value::I32(number.try_into().ok()?),
                    b'u' => Value::U32(number.try_into().ok()?),
                    b'x' => Value::I64(number.try_into().ok()?),
                    b't' => Value::U64(number.try_into().ok()?),
                    _ => return None,
                })
            }
        }
    }

    fn quoted(&mut self) -> Option<String> {
        self.text = self.text.trim_start();
        self.string()
    }

    fn string(&mut self) -> Option<String> {
        let mut letters = self.text.char_indices();
        let (_, quote) = letters.next().filter(|(_, c)| matches!(c, '\'' | '"'))?;
        let mut out = String::new();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '\\' => out.push(match letters.next()?.1 {
                    'n' => '\n',
                    't' => '\t',
                    other => other,
                }),
                _ if letter == quote => {
                    self.text = self.text.get(at + quote.len_utf8()..)?;
                    return Some(out);
                }
                _ => out.push(letter),
            }
        }
        None
    }

    fn array(&mut self, depth: usize) -> Option<Value> {
        self.array_of(None, depth)
    }

    /// An array whose items, where `kind` is given, are of that type. The first item decides otherwise.
    fn array_of(&mut self, kind: Option<u8>, depth: usize) -> Option<Value> {
        if !self.skip("[") {
            return None;
        }
        let mut items: Vec<Value> = Vec::new();
        while !self.skip("]") {
            if !items.is_empty() && !self.skip(",") {
                return None;
            }
            let item = match kind {
                Some(kind) => self.typed(kind, depth + 1),
                None => self.value(depth + 1),
            }?;
            items.push(item);
        }
        let of = match (kind, items.first()) {
            (Some(kind), _) => char::from(kind).to_string(),
            (None, first) => first?.signature(),
        };
        items.iter().all(|item| item.signature() == of).then_some(Value::Array(of, items))
    }

    fn tuple(&mut self, depth: usize) -> Option<Value> {
        self.skip("(");
        let mut members = Vec::new();
        while !self.skip(")") {
            if !members.is_empty() && !self.skip(",") {
                return None;
            }
            // A tuple of one has a comma behind it.
            if !members.is_empty() && self.skip(")") {
                break;
            }
            members.push(self.value(depth + 1)?);
        }
        (!members.is_empty()).then_some(Value::Struct(members))
    }
}

/// Decimal, hexadecimal with `0x`, octal with a leading 0.
fn integer(word: &str) -> Option<i128> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let number = if let Some(hex) = digits.strip_prefix("0x") {
        i128::from_str_radix(hex, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        i128::from_str_radix(digits, 8)
    } else {
        digits.parse()
    };
    number.ok().map(|number| if negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let text = |t: &str| Value::text(t);
        for (written, wanted) in [
            ("true", Value::Bool(true)),
            ("5", Value::I32(5)),
            ("-5", Value::I32(-5)),
            ("0x1f", Value::I32(31)),
            ("017", Value::I32(15)),
            ("uint64 123456789", Value::U64(123_456_789)),
            ("@t 5", Value::U64(5)),
            ("byte 255", Value::Byte(255)),
            ("1.5", Value::Double(1.5)),
            ("'it\\'s'", text("it's")),
            ("\"a b\"", text("a b")),
            ("['a', 'b']", Value::Array("s".into(), vec![text("a"), text("b")])),
            ("@as []", Value::Array("s".into(), vec![])),
            ("('a', 5)", Value::Struct(vec![text("a"), Value::I32(5)])),
            ("[('a', uint64 5)]", Value::Array("(st)".into(), vec![Value::Struct(vec![text("a"), Value::U64(5)])])),
            ("objectpath '/a'", Value::Path("/a".into())),
            ("<'x'>", Value::Variant(Box::new(text("x")))),
        ] {
            assert_eq!(parse(written), Some(wanted), "{written}");
        }
        for written in
            ["", "x", "'a", "['a', 5]", "[]", "5 6", "byte 256", "uint32 -1", "(", "99999999999", "@q", "--5"]
        {
            assert_eq!(parse(written), None, "{written}");
        }
        assert_eq!(parse(&"[".repeat(100_000)), None);
    }
}
