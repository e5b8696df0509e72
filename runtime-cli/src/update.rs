//! `update`: limits from flags or from a resources object.

use std::io::Read;

use clap::ArgMatches;
use runtime_core::Container;
use runtime_core::spec::{self, BlockIo, Cpu, Memory, Pids, Resources};

use crate::{print, text};

/// A larger document is refused unread.
const MOST: u64 = 16 << 20;

/// Changes the limits of a container.
pub fn update(container: &Container, matches: &ArgMatches) -> Result<(), String> {
    let resources = match text(matches, "resources").as_str() {
        "" => from_flags(matches)?,
        "-" => read("standard input", &mut std::io::stdin().lock())?,
        file => {
            let fail = |error: std::io::Error| format!("open {file}: {}", print::cause(&error));
            read(file, &mut std::fs::File::open(file).map_err(fail)?)?
        }
    };
    if ["l3-cache-schema", "mem-bw-schema"].iter().any(|name| !text(matches, name).is_empty()) {
        // Such a configuration is refused at create, so there is none.
        return Err("updating a non-existent Intel RDT configuration is not supported".to_owned());
    }
    container.update(&resources).map_err(|error| error.to_string())
}

fn read(name: &str, from: &mut impl Read) -> Result<Resources, String> {
    let mut bytes = Vec::new();
    from.take(MOST + 1).read_to_end(&mut bytes).map_err(|error| format!("read {name}: {}", print::cause(&error)))?;
    if bytes.len() as u64 > MOST {
        return Err(format!("{name} has more than {MOST} bytes"));
    }
    spec::parse_as(&bytes).map_err(|problems| {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        format!("{name}: {}", all.join("; "))
    })
}

fn from_flags(matches: &ArgMatches) -> Result<Resources, String> {
    let word = |name: &str| Some(text(matches, name)).filter(|value| !value.is_empty());
    fn number<T: std::str::FromStr>(name: &str, word: Option<String>) -> Result<Option<T>, String> {
        let parse = |word: String| word.parse().map_err(|_| format!("invalid value for {name}: {word:?} is no number"));
        word.map(parse).transpose()
    }
    macro_rules! number {
        ($name:literal) => {
            number($name, word($name))?
        };
    }
    let size = |name: &str| -> Result<Option<i64>, String> {
        let parse =
            |word: String| bytes(&word).ok_or_else(|| format!("invalid value for {name}: invalid size: '{word}'"));
        word(name).map(parse).transpose()
    };
    let memory = Memory {
        limit: size("memory")?,
        reservation: size("memory-reservation")?,
        swap: size("memory-swap")?,
        kernel: size("kernel-memory")?,
        kernel_tcp: size("kernel-memory-tcp")?,
        ..Memory::default()
    };
    let cpu = Cpu {
        shares: number!("cpu-share"),
        quota: number!("cpu-quota"),
        burst: number!("cpu-burst"),
        period: number!("cpu-period"),
        realtime_runtime: number!("cpu-rt-runtime"),
        realtime_period: number!("cpu-rt-period"),
        cpus: word("cpuset-cpus"),
        mems: word("cpuset-mems"),
        idle: number!("cpu-idle"),
    };
    let weight: Option<u16> = number!("blkio-weight");
    let pids: Option<i64> = number!("pids-limit");
    Ok(Resources {
        memory: Some(memory).filter(|memory| *memory != Memory::default()),
        cpu: Some(cpu).filter(|cpu| *cpu != Cpu::default()),
        block_io: weight
            .filter(|weight| *weight != 0)
            .map(|weight| BlockIo { weight: Some(weight), ..BlockIo::default() }),
        pids: pids.map(|limit| Pids { limit: Some(limit) }),
        ..Resources::default()
    })
}

/// A size as Docker's units write it: digits, with a fraction, a letter of kmgtp in either case for powers of 1024, and
/// `b` or `ib` behind it; or -1.
fn bytes(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let lower = text.to_ascii_lowercase();
    let end = lower.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let unit = unit.strip_suffix('b').unwrap_or(unit);
    let unit = unit.strip_suffix('i').unwrap_or(unit);
    let power = match unit {
        "" => 0,
        _ if unit.len() == 1 => 1 + "kmgtp".find(unit)?,
        _ => return None,
    };
    let factor = 1_i64 << (10 * power);
    if let Ok(whole) = number.parse::<i64>() {
        return whole.checked_mul(factor);
    }
    let (whole, fraction) = number.split_once('.')?;
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let value = number.parse::<f64>().ok()? * factor as f64;
    (value < i64::MAX as f64).then_some(value as i64)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_with_units() {
        for (text, wanted) in [
            ("0", 0),
            ("42", 42),
            ("-1", -1),
            ("1k", 1024),
            ("1K", 1024),
            ("1kb", 1024),
            ("1KiB", 1024),
            ("1.5m", 3 << 19),
            ("2 GiB", 2 << 30),
            ("3t", 3 << 40),
            ("1P", 1 << 50),
            ("7b", 7),
        ] {
            assert_eq!(bytes(text), Some(wanted), "{text}");
        }
        for text in ["", "k", "-2", "1x", "1kk", "1.", ".5m", "1.2.3", "1e3", "99999999p", "1 k b", "m1"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
