//! Messages as the programs that call runc read them: logrus' text or one JSON object per line, in a file or on
//! standard error. A failed run leaves exactly one record of level error, its last.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::IsTerminal;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::print;
use crate::sys;

/// Form of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `time="…" level=… msg="…"`.
    #[default]
    Text,
    /// `{"level":"…","msg":"…","time":"…"}`.
    Json,
}

/// Weight of a record; the words are logrus'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Only with `--debug`.
    Debug,
    /// Worth knowing.
    Info,
    /// Something was not done as asked.
    Warning,
    /// Why the run failed.
    Error,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl From<runtime_core::Level> for Level {
    fn from(level: runtime_core::Level) -> Self {
        match level {
            runtime_core::Level::Debug => Self::Debug,
            runtime_core::Level::Info => Self::Info,
            runtime_core::Level::Warning => Self::Warning,
        }
    }
}

/// Where messages go. The default is text on standard error.
#[derive(Debug, Default)]
pub struct Logger {
    format: Format,
    debug: bool,
    file: Option<File>,
}

impl Logger {
    /// A logger for `--log-format` and `--debug`, still on standard error.
    pub fn new(format: &str, debug: bool) -> Result<Self, String> {
        let format = match format {
            "text" | "" => Format::Text,
            "json" => Format::Json,
            _ => return Err(format!("invalid log-format: {format}")),
        };
        Ok(Self { format, debug, file: None })
    }

    /// Sends records to the file `path` as well. O_SYNC: the record of a failure is there even if we are killed next.
    pub fn open(&mut self, path: &Path) -> Result<(), String> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o644).custom_flags(libc::O_SYNC | libc::O_NOCTTY);
        let file = options.open(path).map_err(|error| {
            let cause = print::cause(&error);
            format!("open {}: {cause}", path.display())
        })?;
        self.file = Some(file);
        Ok(())
    }

    /// Logs a message that is not the run's failure.
    pub fn log(&self, level: Level, message: &str) {
        if level > Level::Debug || self.debug {
            self.record(level, message);
        }
    }

    /// Logs why the run failed. With a log file the bare message is printed too: conmon shows what stderr says.
    pub fn fail(&self, message: &str) {
        self.record(Level::Error, message);
        if self.file.is_some() {
            print::error_line(message);
        }
    }

    /// Nothing can be done if a message cannot be written: the run goes on, its exit status tells.
    fn record(&self, level: Level, message: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if let Some(file) = &self.file {
            let _ = std::io::Write::write_all(&mut &*file, self.line(level, message, now).as_bytes());
        } else if self.format == Format::Text && sys::stream(2).is_terminal() {
            let _ = print::write_all(2, short(level, message).as_bytes());
        } else {
            let _ = print::write_all(2, self.line(level, message, now).as_bytes());
        }
    }

    fn line(&self, level: Level, message: &str, now: u64) -> String {
        let (word, time) = (level.word(), timestamp(now));
        match self.format {
            Format::Text => format!("time=\"{time}\" level={word} msg={}\n", quoted(message)),
            Format::Json => {
                let message = serde_json::Value::from(message);
                format!("{{\"level\":\"{word}\",\"msg\":{message},\"time\":\"{time}\"}}\n")
            }
        }
    }
}

/// logrus' short form for people.
fn short(level: Level, message: &str) -> String {
    let (colour, word) = match level {
        Level::Debug => (37, "DEBU"),
        Level::Info => (36, "INFO"),
        Level::Warning => (33, "WARN"),
        Level::Error => (31, "ERRO"),
    };
    format!("\x1b[{colour}m{word}\x1b[0m[0000] {message}\n")
}

/// A text value as logrus writes it: bare if every byte is harmless, else quoted as by Go's %q.
fn quoted(text: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/@^+".contains(&byte);
    if text.bytes().all(bare) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0b' => out.push_str("\\v"),
            '\x0c' => out.push_str("\\f"),
            '\0'..='\x1f' | '\x7f' => drop(write!(out, "\\x{:02x}", u32::from(letter))),
            '\u{80}'..='\u{9f}' => drop(write!(out, "\\u{:04x}", u32::from(letter))),
            _ => out.push(letter),
        }
    }
    out.push('"');
    out
}

/// RFC 3339 in UTC of `seconds` since 1970: the proleptic Gregorian calendar, counted in eras of 400 years that
/// start in March, so that the leap day is the last of its year.
fn timestamp(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + carry;
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_as_logrus_does() {
        for (text, expected) in [
            ("", ""),
            ("a-b._/@^+Z9", "a-b._/@^+Z9"),
            ("a b", "\"a b\""),
            ("x=y", "\"x=y\""),
            ("say \"hi\" \\", r#""say \"hi\" \\""#),
            ("a\nb\tc\x1b[1m\0", r#""a\nb\tc\x1b[1m\x00""#),
            ("naïve — →", "\"naïve — →\""),
            ("\u{85}", r#""\u0085""#),
        ] {
            assert_eq!(quoted(text), expected, "{text:?}");
        }
    }

    #[test]
    fn lines() {
        let text = Logger::default();
        assert_eq!(text.line(Level::Error, "a b", 0), "time=\"1970-01-01T00:00:00Z\" level=error msg=\"a b\"\n");
        let json = Logger::new("json", false).unwrap();
        let line = json.line(Level::Warning, "a \"b\"\n\u{1}", 0);
        assert_eq!(
            line,
            "{\"level\":\"warning\",\"msg\":\"a \\\"b\\\"\\n\\u0001\",\"time\":\"1970-01-01T00:00:00Z\"}\n"
        );
        assert_eq!(Logger::new("xml", false).unwrap_err(), "invalid log-format: xml");
    }

    #[test]
    fn dates() {
        for (seconds, expected) in [
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_704_067_199, "2023-12-31T23:59:59Z"),
            (1_767_323_045, "2026-01-02T03:04:05Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(timestamp(seconds), expected);
        }
    }
}
