//! A seccomp profile as a linear BPF program, for the floor: what a runtime would load at best if it knew the
//! profile when it was built and compared one number after the other.
//!
//! Only what the benchmark's own profile uses: ALLOW and ERRNO, and EQ, NE and MASKED_EQ on arguments. The
//! numbers come from the kernel's headers.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use super::Result;

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const EQUAL: u16 = 0x15;
const ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

const AT_NUMBER: u32 = 0;
const AT_ARCH: u32 = 4;
const AT_ARGUMENTS: u32 = 16;

const ARCH_X86_64: u32 = 0xC000_003E;
const ARCH_X86: u32 = 0x4000_0003;
const X32_BIT: u32 = 0x4000_0000;

const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const KILL: u32 = 0x8000_0000;

/// Comparisons that share one RETURN; a conditional jump reaches 255 instructions.
const CHUNK: usize = 200;

/// One instruction: code, jump if true, jump if false, constant.
type Step = (u16, u8, u8, u32);
type Numbers = BTreeMap<String, u32>;

/// The C header that the floor program includes.
pub fn header(profile: &Value) -> Result<String> {
    let program = match cfg!(target_arch = "x86_64") {
        true => program(profile, numbers)?,
        // Elsewhere the floor of run+seccomp is one instruction: a bound that nobody reaches, but not wrong.
        false => vec![(RETURN, 0, 0, ALLOW)],
    };
    let mut text = format!("#define FILTER_LENGTH {}\n", program.len());
    text.push_str("static const struct sock_filter filter[FILTER_LENGTH] = {\n");
    for (code, yes, no, constant) in program {
        let _ = writeln!(text, "{{{code}, {yes}, {no}, {constant}u}},");
    }
    text.push_str("};\n");
    Ok(text)
}

/// The profile for x86_64, x32 and x86. `numbers` gives the system calls of a table of the kernel's headers.
fn program(profile: &Value, numbers: impl Fn(&str) -> Result<Numbers>) -> Result<Vec<Step>> {
    let native = table(profile, &numbers("64")?, true)?;
    let x32 = table(profile, &numbers("x32")?, true)?;
    let x86 = table(profile, &numbers("32")?, false)?;
    let mut all = vec![(LOAD, 0, 0, AT_ARCH), (EQUAL, 1, 0, ARCH_X86_64)];
    all.push((JUMP, 0, 0, length(&[&native, &x32]) + 3));
    all.extend([(LOAD, 0, 0, AT_NUMBER), (ANY_BIT, 0, 1, X32_BIT), (JUMP, 0, 0, length(&[&native]))]);
    all.extend(native);
    all.extend(x32);
    all.extend([(EQUAL, 1, 0, ARCH_X86), (RETURN, 0, 0, KILL), (LOAD, 0, 0, AT_NUMBER)]);
    all.extend(x86);
    Ok(all)
}

fn length(parts: &[&Vec<Step>]) -> u32 {
    parts.iter().map(|part| part.len() as u32).sum()
}

/// The rules for one table of numbers; the number is in the accumulator at its start.
fn table(profile: &Value, numbers: &Numbers, wide: bool) -> Result<Vec<Step>> {
    let rules = profile["syscalls"].as_array().ok_or("the profile has no syscalls")?;
    let mut plain = Vec::new();
    let mut others = Vec::new();
    for rule in rules {
        let names = rule["names"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let known = names.filter_map(|name| numbers.get(name).copied());
        if rule["args"].is_null() && rule["action"] == "SCMP_ACT_ALLOW" {
            plain.extend(known);
            continue;
        }
        let body = body(rule, wide)?;
        for number in known {
            others.extend([(LOAD, 0, 0, AT_NUMBER), (EQUAL, 0, body.len() as u8, number)]);
            others.extend(&body);
        }
    }
    plain.sort_unstable();
    let mut all = Vec::new();
    for chunk in plain.chunks(CHUNK) {
        let count = chunk.len();
        all.extend(chunk.iter().enumerate().map(|(at, number)| (EQUAL, (count - at) as u8, 0, *number)));
        all.extend([(JUMP, 0, 0, 1), (RETURN, 0, 0, ALLOW)]);
    }
    all.extend(others);
    all.push((RETURN, 0, 0, action(&profile["defaultAction"], &profile["defaultErrnoRet"])?));
    Ok(all)
}

/// Compares the arguments of one rule, then returns its action; falls off the end where they differ.
fn body(rule: &Value, wide: bool) -> Result<Vec<Step>> {
    let mut words = Vec::new();
    for arg in rule["args"].as_array().into_iter().flatten() {
        words.extend(comparison(arg, wide)?);
    }
    let mut body = vec![(RETURN, 0, 0, action(&rule["action"], &rule["errnoRet"])?)];
    // From the end, so that every comparison knows how far the end is.
    for (offset, mask, value, equal) in words.into_iter().rev() {
        let out = body.len() as u8;
        let (yes, no) = if equal { (0, out) } else { (out, 0) };
        body.insert(0, (EQUAL, yes, no, value));
        body.insert(0, (AND, 0, 0, mask));
        body.insert(0, (LOAD, 0, 0, offset));
    }
    Ok(body)
}

/// The 32-bit comparisons of one argument: offset, mask, value, whether they must be equal.
fn comparison(arg: &Value, wide: bool) -> Result<Vec<(u32, u32, u32, bool)>> {
    let number = |name: &str| arg[name].as_u64().unwrap_or(0);
    let (mask, value, equal) = match arg["op"].as_str() {
        Some("SCMP_CMP_EQ") => (u64::MAX, number("value"), true),
        Some("SCMP_CMP_MASKED_EQ") => (number("value"), number("valueTwo"), true),
        // An int is passed in the low word; one word is enough to tell it from a constant.
        Some("SCMP_CMP_NE") => (u64::from(u32::MAX), number("value"), false),
        other => return Err(format!("the floor's filter has no {other:?}")),
    };
    let offset = AT_ARGUMENTS + 8 * number("index") as u32;
    let mut words = vec![(offset, mask as u32, value as u32, equal)];
    if wide && equal {
        words.push((offset + 4, (mask >> 32) as u32, (value >> 32) as u32, true));
    }
    Ok(words)
}

fn action(name: &Value, errno: &Value) -> Result<u32> {
    match name.as_str() {
        Some("SCMP_ACT_ALLOW") => Ok(ALLOW),
        Some("SCMP_ACT_ERRNO") => Ok(ERRNO | errno.as_u64().unwrap_or(1) as u32),
        other => Err(format!("the floor's filter has no {other:?}")),
    }
}

/// System calls of `asm/unistd_{table}.h`.
fn numbers(table: &str) -> Result<Numbers> {
    let paths = ["/usr/include/x86_64-linux-gnu/asm", "/usr/include/asm"];
    let read = |path: &&str| std::fs::read_to_string(format!("{path}/unistd_{table}.h")).ok();
    let text =
        paths.iter().find_map(read).ok_or_else(|| format!("asm/unistd_{table}.h is missing (linux-libc-dev)"))?;
    Ok(text.lines().filter_map(definition).collect())
}

/// `#define __NR_read 0`, or with x32's bit `#define __NR_read (__X32_SYSCALL_BIT + 0)`.
fn definition(line: &str) -> Option<(String, u32)> {
    let (name, value) = line.strip_prefix("#define __NR_")?.split_once(' ')?;
    let value = match value.strip_prefix("(__X32_SYSCALL_BIT + ") {
        Some(rest) => rest.trim_end_matches(')').parse::<u32>().ok()? | X32_BIT,
        None => value.trim().parse().ok()?,
    };
    Some((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would answer.
    fn decide(program: &[Step], arch: u32, number: u32, first: u64) -> u32 {
        let (mut at, mut word) = (0, 0);
        loop {
            let (code, yes, no, constant) = program[at];
            at += 1;
            match code {
                LOAD => {
                    word = match constant {
                        AT_NUMBER => number,
                        AT_ARCH => arch,
                        AT_ARGUMENTS => first as u32,
                        20 => (first >> 32) as u32,
                        other => panic!("load of {other}"),
                    }
                }
                AND => word &= constant,
                JUMP => at += constant as usize,
                EQUAL => at += usize::from(if word == constant { yes } else { no }),
                ANY_BIT => at += usize::from(if word & constant != 0 { yes } else { no }),
                RETURN => return constant,
                other => panic!("code {other}"),
            }
        }
    }

    #[test]
    fn decides_like_the_profile() {
        let names = ["read", "clone", "clone3", "socket", "personality", "mount"];
        let program = program(&super::super::bundle::profile().unwrap(), |table| {
            let bit = if table == "x32" { X32_BIT } else { 0 };
            Ok(names.iter().zip(0..).map(|(name, n)| ((*name).to_owned(), n | bit)).collect())
        })
        .unwrap();
        for (arch, bit) in [(ARCH_X86_64, 0), (ARCH_X86_64, X32_BIT), (ARCH_X86, 0)] {
            let ask = |name: &str, first| {
                decide(&program, arch, names.iter().position(|n| *n == name).unwrap() as u32 | bit, first)
            };
            assert_eq!(ask("read", 0), ALLOW);
            assert_eq!(ask("mount", 0), ERRNO | 1);
            assert_eq!(ask("clone3", 0), ERRNO | 38);
            assert_eq!(ask("clone", 17), ALLOW);
            assert_eq!(ask("clone", 0x1000_0000), ERRNO | 1);
            assert_eq!(ask("socket", 1), ALLOW);
            assert_eq!(ask("socket", 40), ERRNO | 1);
            assert_eq!(ask("personality", 0x20008), ALLOW);
            assert_eq!(ask("personality", 1), ERRNO | 1);
        }
        assert_eq!(decide(&program, 0x4000_0028, 0, 0), KILL);
    }

    #[test]
    fn numbers_of_the_headers() {
        assert_eq!(definition("#define __NR_read 0"), Some(("read".into(), 0)));
        assert_eq!(definition("#define __NR_x (__X32_SYSCALL_BIT + 5)"), Some(("x".into(), X32_BIT | 5)));
        assert_eq!(definition("#define __NR_syscalls"), None);
    }
}
