//! `features`: prints the features document, with no need of rights or of a state directory.

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::print;

/// Prints it, indented by four, as runc does.
pub fn print() -> Result<(), String> {
    let mut text = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"    "));
    runtime_core::verb::features::features().serialize(&mut serializer).map_err(|error| error.to_string())?;
    text.push(b'\n');
    print::result(&String::from_utf8_lossy(&text))
}
