//! Why a call gets what it gets: the rules as a person would read them, in the compiler's terms.
//!
//! The compiler turns rules into intervals and graphs, where no rule can be found again. This walks the checked
//! profile instead; a test holds the two against each other on random profiles.

use std::fmt;

use serde::Serialize;

use super::profile::{self, Condition, Op, Profile, ret};
use super::table::{self, Name};
use super::{Arch, enosys};
use crate::spec::{Problem, Seccomp};

/// What becomes of one system call on one architecture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// `SCMP_ARCH_…`.
    pub architecture: &'static str,
    /// The call.
    pub syscall: String,
    /// Its number there; `None`: the architecture does not have it, or only behind a multiplexer.
    pub number: Option<u32>,
    /// The possible outcomes, the first that applies counts. One without conditions is the last.
    pub outcomes: Vec<Outcome>,
}

/// One possible outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// `SCMP_ACT_…`.
    pub action: &'static str,
    /// The errno of SCMP_ACT_ERRNO, the message of SCMP_ACT_TRACE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<u32>,
    /// What has to hold, all of it; those the given arguments decide are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<String>,
    /// JSON pointer of the rule or the default.
    pub pointer: String,
    /// Why, in words.
    pub reason: String,
}

/// A rule as it applies to one call.
struct Candidate {
    conditions: Vec<Condition>,
    action: u32,
    pointer: String,
    reason: String,
}

/// What the filter compiled from `profile` does with `syscall`, on the native architecture and each that the profile
/// lists. `args` are the first arguments, as far as they are known.
pub fn explain(profile: &Seccomp, native: Arch, syscall: &str, args: &[u64]) -> Result<Vec<Explanation>, Vec<Problem>> {
    let profile = profile::check(profile, native)?;
    let Some(name) = table::find(syscall) else {
        return Err(vec![Problem::new("", format!("no architecture has a system call {syscall:?}"))]);
    };
    let explain = |&arch: &Arch| Explanation {
        architecture: arch.name(),
        syscall: syscall.to_owned(),
        number: table::number(arch, name),
        outcomes: outcomes(&profile, arch, name, args),
    };
    Ok(profile.arches.iter().map(explain).collect())
}

fn outcomes(profile: &Profile, arch: Arch, name: Name, args: &[u64]) -> Vec<Outcome> {
    let Some(number) = table::number(arch, name) else { return absent(profile, arch, name) };
    if let Some(first) = enosys::first_unknown(profile, arch)
        && (number >= first && !profile.names[usize::from(name)] || enosys::has_setup(arch) && number == 0)
    {
        let reason = format!("newer than the profile, whose largest number is {}", first - 1);
        return vec![outcome(enosys::ENOSYS, Vec::new(), String::new(), reason)];
    }
    let mut candidates = Vec::new();
    own(profile, name, &mut candidates);
    if !candidates.iter().any(|candidate| candidate.conditions.is_empty()) {
        multiplexed(profile, name, &mut candidates);
    }
    select(profile, arch, candidates, args)
}

/// A call the architecture does not have under a number of its own.
fn absent(profile: &Profile, arch: Arch, name: Name) -> Vec<Outcome> {
    let through = table::multiplexed(name).and_then(|(through, call)| Some((table::find(through)?, through, call)));
    match through.filter(|(multiplexer, ..)| table::number(arch, *multiplexer).is_some()) {
        Some((multiplexer, through, call)) => {
            // Its own arguments are behind a pointer, which no filter follows.
            let first = [u64::from(call)];
            let mut outcomes = outcomes(profile, arch, multiplexer, &first);
            for outcome in &mut outcomes {
                outcome.reason = format!("as {through}({call}, ...): {}", outcome.reason);
            }
            outcomes
        }
        None => Vec::new(),
    }
}

fn rule_pointer(profile: &Profile, rule: usize) -> String {
    format!("/linux/seccomp/syscalls/{}", profile.rules[rule].source)
}

/// The rules that name the call: the first without conditions alone, or all of them in order.
fn own(profile: &Profile, name: Name, into: &mut Vec<Candidate>) {
    let mut rules: Vec<usize> = profile.uses.iter().filter(|(used, _)| *used == name).map(|&(_, rule)| rule).collect();
    rules.dedup();
    if let Some(&rule) = rules.iter().find(|&&rule| profile.rules[rule].alternatives.is_empty()) {
        let pointer = rule_pointer(profile, rule);
        let reason = "named without conditions".to_owned();
        into.push(Candidate { conditions: Vec::new(), action: profile.rules[rule].action, pointer, reason });
        return;
    }
    for rule in rules {
        for conditions in &profile.rules[rule].alternatives {
            into.push(Candidate {
                conditions: conditions.clone(),
                action: profile.rules[rule].action,
                pointer: rule_pointer(profile, rule),
                reason: "conditions hold".to_owned(),
            });
        }
    }
}

/// What a multiplexer inherits from the calls it stands for.
fn multiplexed(profile: &Profile, multiplexer: Name, into: &mut Vec<Candidate>) {
    for called in 0..table::COUNT as Name {
        let Some((through, call)) = table::multiplexed(called) else { continue };
        if table::find(through) != Some(multiplexer) {
            continue;
        }
        let mut rules = Vec::new();
        own(profile, called, &mut rules);
        for mut rule in rules {
            rule.conditions.retain(|condition| condition.arg != 0);
            rule.conditions.insert(0, Condition { arg: 0, op: Op::Eq, value: u64::from(call), second: 0 });
            into.push(Candidate { reason: "stands for a call the rule names".to_owned(), ..rule });
        }
    }
}

/// What is left once the known arguments are looked at: everything up to the first rule that surely matches.
fn select(profile: &Profile, arch: Arch, candidates: Vec<Candidate>, args: &[u64]) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let named = !candidates.is_empty();
    for candidate in candidates {
        let width = if arch.is_wide() { u64::MAX } else { u64::from(u32::MAX) };
        let known = |condition: &Condition| {
            args.get(usize::from(condition.arg)).map(|argument| condition.holds(argument & width, width))
        };
        if candidate.conditions.iter().any(|condition| known(condition) == Some(false)) {
            continue;
        }
        let open: Vec<String> = candidate
            .conditions
            .iter()
            .filter(|condition| known(condition).is_none())
            .map(Condition::to_string)
            .collect();
        let sure = open.is_empty();
        outcomes.push(outcome(candidate.action, open, candidate.pointer, candidate.reason));
        if sure {
            return outcomes;
        }
    }
    let reason = match (named, outcomes.is_empty()) {
        (false, _) => "no rule that differs from the default names it",
        (true, true) => "no rule's conditions hold",
        (true, false) => "otherwise",
    };
    outcomes.push(outcome(profile.default, Vec::new(), "/linux/seccomp/defaultAction".to_owned(), reason.to_owned()));
    outcomes
}

fn outcome(action: u32, conditions: Vec<String>, pointer: String, reason: String) -> Outcome {
    let data = action & 0xffff;
    let (name, errno) = match action & ret::ACTION_FULL {
        ret::KILL_PROCESS => ("SCMP_ACT_KILL_PROCESS", None),
        ret::TRAP => ("SCMP_ACT_TRAP", None),
        ret::ERRNO => ("SCMP_ACT_ERRNO", Some(data)),
        ret::NOTIFY => ("SCMP_ACT_NOTIFY", None),
        ret::TRACE => ("SCMP_ACT_TRACE", Some(data)),
        ret::LOG => ("SCMP_ACT_LOG", None),
        ret::ALLOW => ("SCMP_ACT_ALLOW", None),
        _ => ("SCMP_ACT_KILL_THREAD", None),
    };
    Outcome { action: name, errno, conditions, pointer, reason }
}

impl Condition {
    /// Whether it holds for an argument of an architecture of this width.
    fn holds(&self, argument: u64, width: u64) -> bool {
        let value = self.value & width;
        match self.op {
            Op::Ne => argument != value,
            Op::Lt => argument < value,
            Op::Le => argument <= value,
            Op::Eq => argument == value,
            Op::Ge => argument >= value,
            Op::Gt => argument > value,
            Op::Masked => argument & value == self.second & value,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = match self.op {
            Op::Ne => "!=",
            Op::Lt => "<",
            Op::Le => "<=",
            Op::Eq => "==",
            Op::Ge => ">=",
            Op::Gt => ">",
            Op::Masked => {
                return write!(f, "arg{} & {:#x} == {:#x}", self.arg, self.value, self.second & self.value);
            }
        };
        write!(f, "arg{} {op} {:#x}", self.arg, self.value)
    }
}

impl fmt::Display for Outcome {
    /// `SCMP_ACT_ERRNO (EPERM) if arg0 == 0x28: REASON (POINTER)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.action)?;
        match self.errno {
            Some(errno) if self.action == "SCMP_ACT_ERRNO" => {
                write!(f, " ({:?})", nix::errno::Errno::from_raw(i32::try_from(errno).unwrap_or(0)))?;
            }
            Some(data) => write!(f, " ({data})")?,
            None => {}
        }
        if !self.conditions.is_empty() {
            write!(f, " if {}", self.conditions.join(" and "))?;
        }
        write!(f, ": {}", self.reason)?;
        if self.pointer.is_empty() { Ok(()) } else { write!(f, " ({})", self.pointer) }
    }
}

impl fmt::Display for Explanation {
    /// One line where there is one outcome, else one more for each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arch = self.architecture.trim_start_matches("SCMP_ARCH_").to_ascii_lowercase();
        match self.number {
            Some(number) => write!(f, "{} ({arch} {number})", self.syscall)?,
            None => write!(f, "{} ({arch})", self.syscall)?,
        }
        match self.outcomes.as_slice() {
            [] => f.write_str(": this architecture has no such call"),
            [one] => write!(f, ": {one}"),
            several => several.iter().try_fold(f.write_str(":")?, |(), outcome| write!(f, "\n    {outcome}")),
        }
    }
}
