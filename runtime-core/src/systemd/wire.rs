//! The D-Bus wire format (dbus-specification, "Type System", "Marshaling" and "Message Protocol"), as far as systemd's
//! manager needs it. Pure. What comes in is untrusted: every length is checked against what is there.

use serde::{Deserialize, Serialize};

/// One value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Value {
    /// `b`
    Bool(bool),
    /// `y`
    Byte(u8),
    /// `n`
    I16(i16),
    /// `q`
    U16(u16),
    /// `i`
    I32(i32),
    /// `u`
    U32(u32),
    /// `x`
    I64(i64),
    /// `t`
    U64(u64),
    /// `d`
    Double(f64),
    /// `s`
    Text(String),
    /// `o`
    Path(String),
    /// `g`
    Signature(String),
    /// `v`
    Variant(Box<Value>),
    /// `a` of what the first member says, also where it is empty.
    Array(String, Vec<Value>),
    /// `(…)`
    Struct(Vec<Value>),
}

impl Value {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// The type, as the specification writes it.
    pub fn signature(&self) -> String {
        match self {
            Self::Bool(_) => "b".into(),
            Self::Byte(_) => "y".into(),
            Self::I16(_) => "n".into(),
            Self::U16(_) => "q".into(),
            Self::I32(_) => "i".into(),
            Self::U32(_) => "u".into(),
            Self::I64(_) => "x".into(),
            Self::U64(_) => "t".into(),
            Self::Double(_) => "d".into(),
            Self::Text(_) => "s".into(),
            Self::Path(_) => "o".into(),
            Self::Signature(_) => "g".into(),
            Self::Variant(_) => "v".into(),
            Self::Array(of, _) => format!("a{of}"),
            Self::Struct(members) => format!("({})", members.iter().map(Value::signature).collect::<String>()),
        }
    }

    /// The text of a string or object path.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Path(text) => Some(text),
            Self::Variant(inner) => inner.as_text(),
            _ => None,
        }
    }
}

/// Byte boundary a type begins at.
fn alignment(kind: u8) -> usize {
    match kind {
        b'n' | b'q' => 2,
        b'b' | b'i' | b'u' | b's' | b'o' | b'a' => 4,
        b'x' | b't' | b'd' | b'(' | b'{' => 8,
        _ => 1,
    }
}

/// Appends values, little-endian.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn put(&mut self, align: usize, bytes: &[u8]) {
        self.align(align);
        self.0.extend_from_slice(bytes);
    }

    fn length(&mut self, length: usize) {
        // No message of ours comes near: the largest is a config of 16 MiB.
        self.put(4, &u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Bool(v) => self.put(4, &u32::from(*v).to_le_bytes()),
            Value::Byte(v) => self.put(1, &[*v]),
            Value::I16(v) => self.put(2, &v.to_le_bytes()),
            Value::U16(v) => self.put(2, &v.to_le_bytes()),
            Value::I32(v) => self.put(4, &v.to_le_bytes()),
            Value::U32(v) => self.put(4, &v.to_le_bytes()),
            Value::I64(v) => self.put(8, &v.to_le_bytes()),
            Value::U64(v) => self.put(8, &v.to_le_bytes()),
            Value::Double(v) => self.put(8, &v.to_le_bytes()),
            Value::Text(text) | Value::Path(text) => {
                self.length(text.len());
                self.put(1, text.as_bytes());
                self.put(1, &[0]);
            }
            Value::Signature(text) => {
                self.put(1, &[u8::try_from(text.len()).unwrap_or(u8::MAX)]);
                self.put(1, text.as_bytes());
                self.put(1, &[0]);
            }
            Value::Variant(inner) => {
                self.value(&Value::Signature(inner.signature()));
                self.value(inner);
            }
            Value::Array(of, items) => self.array(of, items),
            Value::Struct(members) => {
                self.align(8);
                members.iter().for_each(|member| self.value(member));
            }
        }
    }

    /// The length counts neither itself nor the padding before the first item.
    fn array(&mut self, of: &str, items: &[Value]) {
        self.length(0);
        let at = self.0.len() - 4;
        self.align(alignment(of.bytes().next().unwrap_or(b'y')));
        let begin = self.0.len();
        items.iter().for_each(|item| self.value(item));
        let length = u32::try_from(self.0.len() - begin).unwrap_or(u32::MAX);
        self.0[at..at + 4].copy_from_slice(&length.to_le_bytes());
    }
}

/// Message types.
pub const CALL: u8 = 1;
/// A reply.
pub const RETURN: u8 = 2;
/// A reply that is an error.
pub const ERROR: u8 = 3;
/// A signal.
pub const SIGNAL: u8 = 4;

/// One message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// [`CALL`], [`RETURN`], [`ERROR`] or [`SIGNAL`].
    pub kind: u8,
    /// Its number.
    pub serial: u32,
    /// The number of the call it answers.
    pub reply_to: u32,
    /// Object.
    pub path: String,
    /// Interface.
    pub interface: String,
    /// Method or signal.
    pub member: String,
    /// Name of an error.
    pub error: String,
    /// Who it is for.
    pub destination: String,
    /// Who it is from.
    pub sender: String,
    /// Arguments.
    pub body: Vec<Value>,
}

/// The largest message that is read.
const MOST: usize = 8 << 20;
/// How deep values may nest (the specification allows 64).
const DEEPEST: usize = 32;

impl Message {
    /// The bytes to send.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Writer::default();
        self.body.iter().for_each(|value| body.value(value));
        let signature: String = self.body.iter().map(Value::signature).collect();
        let mut fields = Vec::new();
        let mut field = |code: u8, value: Value| {
            fields.push(Value::Struct(vec![Value::Byte(code), Value::Variant(Box::new(value))]));
        };
        if !self.path.is_empty() {
            field(1, Value::Path(self.path.clone()));
        }
        for (code, text) in [(2, &self.interface), (3, &self.member), (4, &self.error), (6, &self.destination)] {
            if !text.is_empty() {
                field(code, Value::text(text.as_str()));
            }
        }
        if self.reply_to != 0 {
            field(5, Value::U32(self.reply_to));
        }
        if !signature.is_empty() {
            field(8, Value::Signature(signature));
        }
        let mut out = Writer(vec![b'l', self.kind, 0, 1]);
        out.length(body.0.len());
        out.put(4, &self.serial.to_le_bytes());
        out.array("(yv)", &fields);
        out.align(8);
        out.0.extend_from_slice(&body.0);
        out.0
    }

    /// How long the message is that begins with these 16 bytes; `None`: not a message.
    pub fn length(head: &[u8; 16]) -> Option<usize> {
        let number = |at: usize| {
            let bytes = head.get(at..at + 4)?.try_into().ok()?;
            usize::try_from(if head[0] == b'l' { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) }).ok()
        };
        if !matches!(head[0], b'l' | b'B') || head[3] != 1 {
            return None;
        }
        let total = 16_usize.checked_add(number(12)?)?.checked_next_multiple_of(8)?.checked_add(number(4)?)?;
        (total <= MOST).then_some(total)
    }

    /// The message in these bytes, all of it.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0, little: bytes.first() == Some(&b'l') };
        let mut message = Self { kind: *bytes.get(1)?, ..Self::default() };
        reader.at = 4;
        let _body = reader.u32()?;
        message.serial = reader.u32()?;
        let Value::Array(_, fields) = reader.value("a(yv)", 0)?.0 else { return None };
        let mut signature = String::new();
        for field in fields {
            let Value::Struct(pair) = field else { return None };
            let [Value::Byte(code), Value::Variant(value)] = pair.as_slice() else { return None };
            let text = || value.as_text().map(str::to_owned);
            match (code, &**value) {
                (1, _) => message.path = text()?,
                (2, _) => message.interface = text()?,
                (3, _) => message.member = text()?,
                (4, _) => message.error = text()?,
                (5, Value::U32(serial)) => message.reply_to = *serial,
                (6, _) => message.destination = text()?,
                (7, _) => message.sender = text()?,
                (8, Value::Signature(text)) => signature.clone_from(text),
                _ => {}
            }
        }
        reader.align(8)?;
        let mut rest = signature.as_str();
        while !rest.is_empty() {
            let (value, left) = reader.value(rest, 0)?;
            message.body.push(value);
            rest = left;
        }
        Some(message)
    }
}

/// Takes values apart.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    little: bool,
}

impl Reader<'_> {
    fn align(&mut self, to: usize) -> Option<()> {
        self.at = self.at.checked_next_multiple_of(to)?;
        (self.at <= self.bytes.len()).then_some(())
    }

    fn take<const N: usize>(&mut self, align: usize) -> Option<[u8; N]> {
        self.align(align)?;
        let mut bytes: [u8; N] = self.bytes.get(self.at..self.at.checked_add(N)?)?.try_into().ok()?;
        self.at += N;
        if !self.little {
            bytes.reverse();
        }
        Some(bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4).map(u32::from_le_bytes)
    }

    fn text(&mut self, length: usize) -> Option<String> {
        let end = self.at.checked_add(length)?;
        let text = std::str::from_utf8(self.bytes.get(self.at..end)?).ok()?.to_owned();
        // And the NUL behind it.
        self.at = end.checked_add(1)?;
        (self.at <= self.bytes.len()).then_some(text)
    }

    /// One value of the type `signature` begins with, and the rest of the signature.
    fn value<'s>(&mut self, signature: &'s str, depth: usize) -> Option<(Value, &'s str)> {
        if depth > DEEPEST {
            return None;
        }
        let kind = *signature.as_bytes().first()?;
        let mut rest = signature.get(1..)?;
        let value = match kind {
            b'y' => Value::Byte(self.take::<1>(1)?[0]),
            b'b' => Value::Bool(self.u32()? != 0),
            b'n' => Value::I16(i16::from_le_bytes(self.take(2)?)),
            b'q' => Value::U16(u16::from_le_bytes(self.take(2)?)),
            b'i' => Value::I32(i32::from_le_bytes(self.take(4)?)),
            b'u' => Value::U32(self.u32()?),
            b'x' => Value::I64(i64::from_le_bytes(self.take(8)?)),
            b't' => Value::U64(u64::from_le_bytes(self.take(8)?)),
            b'd' => Value::Double(f64::from_le_bytes(self.take(8)?)),
            // A descriptor's index.
            b'h' => Value::U32(self.u32()?),
            b's' | b'o' => {
                let length = usize::try_from(self.u32()?).ok()?;
                let text = self.text(length)?;
                if kind == b's' { Value::Text(text) } else { Value::Path(text) }
            }
            b'g' => {
                let length = usize::from(self.take::<1>(1)?[0]);
                Value::Signature(self.text(length)?)
            }
            b'v' => {
                let length = usize::from(self.take::<1>(1)?[0]);
                let inner = self.text(length)?;
                Value::Variant(Box::new(self.value(&inner, depth + 1)?.0))
            }
            b'a' => {
                let of = one(rest)?;
                rest = rest.get(of.len()..)?;
                self.array(of, depth)?
            }
            b'(' | b'{' => {
                self.align(8)?;
                let close = if kind == b'(' { b')' } else { b'}' };
                let mut members = Vec::new();
                while *rest.as_bytes().first()? != close {
                    let (value, left) = self.value(rest, depth + 1)?;
                    members.push(value);
                    rest = left;
                }
                rest = rest.get(1..)?;
                Value::Struct(members)
            }
            _ => return None,
        };
        Some((value, rest))
    }

    fn array(&mut self, of: &str, depth: usize) -> Option<Value> {
        let length = usize::try_from(self.u32()?).ok()?;
        self.align(alignment(*of.as_bytes().first()?))?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len())?;
        let mut items = Vec::new();
        while self.at < end {
            items.push(self.value(of, depth + 1)?.0);
        }
        Some(Value::Array(of.to_owned(), items))
    }
}

/// The first complete type of a signature.
fn one(signature: &str) -> Option<&str> {
    let mut depth = 0_usize;
    for (at, byte) in signature.bytes().enumerate() {
        match byte {
            b'(' | b'{' => depth += 1,
            b')' | b'}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 && byte != b'a' {
            return signature.get(..=at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Message {
        let property =
            |name: &str, value: Value| Value::Struct(vec![Value::text(name), Value::Variant(Box::new(value))]);
        let properties = vec![
            property("Description", Value::text("x")),
            property("Delegate", Value::Bool(true)),
            property("PIDs", Value::Array("u".into(), vec![Value::U32(7)])),
            property("MemoryMax", Value::U64(u64::MAX)),
            property("AllowedCPUs", Value::Array("y".into(), vec![Value::Byte(3)])),
            property("DeviceAllow", Value::Array("(ss)".into(), vec![])),
        ];
        Message {
            kind: CALL,
            serial: 9,
            path: "/a/b".into(),
            interface: "i.f".into(),
            member: "Start".into(),
            destination: "d.e".into(),
            body: vec![
                Value::text("a.scope"),
                Value::text("replace"),
                Value::Array("(sv)".into(), properties),
                Value::Array("(sa(sv))".into(), vec![]),
            ],
            ..Message::default()
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = sample().encode();
        let head: [u8; 16] = bytes[..16].try_into().expect("head");
        assert_eq!(Message::length(&head), Some(bytes.len()));
        assert_eq!(Message::decode(&bytes), Some(sample()));
    }

    #[test]
    fn a_message_as_the_specification_has_it() {
        let hello = Message {
            kind: CALL,
            serial: 1,
            path: "/".into(),
            member: "H".into(),
            body: vec![Value::U32(5)],
            ..Message::default()
        };
        let mut wanted = b"l\x01\x00\x01\x04\0\0\0\x01\0\0\0\x1f\0\0\0".to_vec();
        wanted.extend_from_slice(b"\x01\x01o\0\x01\0\0\0/\0\0\0\0\0\0\0");
        wanted.extend_from_slice(b"\x03\x01s\0\x01\0\0\0H\0\0\0\0\0\0\0");
        wanted.truncate(wanted.len());
        let bytes = hello.encode();
        assert_eq!(bytes[16..48], wanted[16..48], "fields");
        assert_eq!(bytes[bytes.len() - 4..], [5, 0, 0, 0]);
        assert_eq!(bytes.len() % 8, 4);
    }

    #[test]
    fn damaged_messages_are_no_messages() {
        let bytes = sample().encode();
        for length in 0..bytes.len() {
            assert_eq!(Message::decode(&bytes[..length]), None, "{length}");
        }
        let mut seed = 7_u32;
        for _ in 0..20_000 {
            let mut damaged = bytes.clone();
            for _ in 0..3 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = seed as usize % damaged.len();
                damaged[at] = (seed >> 24) as u8;
            }
            // Any answer, but no panic and no endless allocation.
            let _ = Message::decode(&damaged);
        }
    }
}
