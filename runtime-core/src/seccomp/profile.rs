//! A profile's strings checked and turned into what the kernel understands; every problem at once.

use super::Arch;
use super::table::{self, Name};
use crate::spec::{Problem, Seccomp, SyscallArg, SyscallRule};

/// Return values of a filter and flags of its load: linux/seccomp.h.
pub mod ret {
    #![allow(missing_docs)]
    pub const KILL_PROCESS: u32 = 0x8000_0000;
    pub const KILL_THREAD: u32 = 0;
    pub const TRAP: u32 = 0x0003_0000;
    pub const ERRNO: u32 = 0x0005_0000;
    pub const NOTIFY: u32 = 0x7fc0_0000;
    pub const TRACE: u32 = 0x7ff0_0000;
    pub const LOG: u32 = 0x7ffc_0000;
    pub const ALLOW: u32 = 0x7fff_0000;
    pub const ACTION_FULL: u32 = 0xffff_0000;
}

/// Every action name a profile may use.
pub const ACTIONS: &[&str] = &[
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

/// Every comparison operator a profile may use.
pub const OPERATORS: &[&str] =
    &["SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"];

/// Every filter flag a profile may use.
pub const FLAGS: &[&str] = &[
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

const FLAG_LOG: u32 = 1 << 1;
const FLAG_SPEC_ALLOW: u32 = 1 << 2;
/// Makes seccomp(2) return a listener.
pub const FLAG_NEW_LISTENER: u32 = 1 << 3;
const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// Calls that may not be notified: between the load of the filter and the moment the listener is with
/// its agent, the container's process must still be able to report to its parent.
pub const NEVER_NOTIFIED: &[&str] = &["write"];

/// Larger values are capped by the kernel (MAX_ERRNO), so the profile would not get what it says.
const MAX_ERRNO: u32 = 4095;

/// Conditions on one system call; more would not fit into a program in any useful way, and the limit
/// bounds the recursion of [`super::args`].
pub const MOST_CONDITIONS: usize = 512;

/// How an argument is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// !=
    Ne,
    /// <, unsigned as all of these
    Lt,
    /// <=
    Le,
    /// ==
    Eq,
    /// >=
    Ge,
    /// >
    Gt,
    /// (argument & `value`) == `second`
    Masked,
}

/// One comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Argument, 0 to 5.
    pub arg: u8,
    /// How.
    pub op: Op,
    /// With what; the mask of [`Op::Masked`].
    pub value: u64,
    /// The masked value of [`Op::Masked`].
    pub second: u64,
}

/// One rule: all conditions of one of the alternatives, or no alternatives for every call.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its index in `syscalls`.
    pub source: usize,
    /// Return value of the filter.
    pub action: u32,
    /// Conditions, a disjunction of conjunctions.
    pub alternatives: Vec<Vec<Condition>>,
}

/// A checked profile.
pub struct Profile {
    /// Return value for calls no rule matches.
    pub default: u32,
    /// Native one first, no duplicates.
    pub arches: Vec<Arch>,
    /// Argument of seccomp(2).
    pub flags: u32,
    /// Whether some rule notifies.
    pub notify: bool,
    /// Which names the profile mentions, in whatever rule.
    pub names: Vec<bool>,
    /// Names no architecture has.
    pub unknown: Vec<String>,
    /// The rules that change something.
    pub rules: Vec<Rule>,
    /// Which rule applies to which name, in the order of the profile.
    pub uses: Vec<(Name, usize)>,
}

/// Checks a whole profile.
pub fn check(profile: &Seccomp, native: Arch) -> Result<Profile, Vec<Problem>> {
    let mut checker = Checker { problems: Vec::new() };
    let default =
        checker.action("", "defaultAction", "defaultErrnoRet", &profile.default_action, profile.default_errno_ret);
    if default == Some(ret::NOTIFY) {
        checker.problem("/defaultAction", "SCMP_ACT_NOTIFY cannot be used as default action");
    }
    let mut checked = Profile {
        default: default.unwrap_or(ret::KILL_PROCESS),
        arches: checker.arches(profile, native),
        flags: checker.flags(profile),
        notify: false,
        names: vec![false; table::COUNT],
        unknown: Vec::new(),
        rules: Vec::new(),
        uses: Vec::new(),
    };
    for (at, rule) in profile.syscalls.iter().flatten().enumerate() {
        checker.rule(at, rule, &mut checked);
    }
    checker.listener(profile);
    checked.flags = if checked.notify {
        checked.flags | FLAG_NEW_LISTENER
    } else {
        // The kernel refuses the flag without a listener; without one it means nothing.
        checked.flags & !FLAG_WAIT_KILLABLE_RECV
    };
    if checker.problems.is_empty() { Ok(checked) } else { Err(checker.problems) }
}

struct Checker {
    problems: Vec<Problem>,
}

impl Checker {
    fn problem(&mut self, at: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(format!("/linux/seccomp{at}"), message));
    }

    fn unknown(&mut self, at: &str, what: &str, given: &str, known: &[&str]) {
        self.problem(at, format!("unknown {what} {given:?} (known: {})", known.join(", ")));
    }

    /// The return value of an action with its errno.
    fn action(
        &mut self,
        at: &str,
        name: &str,
        errno: &str,
        action: &Option<String>,
        value: Option<u32>,
    ) -> Option<u32> {
        let at_name = || format!("{at}/{name}");
        let at_errno = || format!("{at}/{errno}");
        let Some(action) = action else {
            self.problem(&at_name(), format!("{name} is required"));
            return None;
        };
        let (code, most) = match action.as_str() {
            "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => (ret::KILL_THREAD, None),
            "SCMP_ACT_KILL_PROCESS" => (ret::KILL_PROCESS, None),
            "SCMP_ACT_TRAP" => (ret::TRAP, None),
            "SCMP_ACT_ERRNO" => (ret::ERRNO, Some(MAX_ERRNO)),
            "SCMP_ACT_TRACE" => (ret::TRACE, Some(u32::from(u16::MAX))),
            "SCMP_ACT_ALLOW" => (ret::ALLOW, None),
            "SCMP_ACT_LOG" => (ret::LOG, None),
            "SCMP_ACT_NOTIFY" => (ret::NOTIFY, None),
            other => {
                self.unknown(&at_name(), "seccomp action", other, ACTIONS);
                return None;
            }
        };
        match (most, value) {
            (Some(most), Some(value)) if value > most => {
                self.problem(&at_errno(), format!("{value} is out of range for {action} (0 to {most})"));
                None
            }
            (Some(_), value) => Some(code | value.unwrap_or(libc::EPERM as u32)),
            (None, Some(_)) => {
                self.problem(&at_errno(), format!("{action} has no errno"));
                None
            }
            (None, None) => Some(code),
        }
    }

    fn arches(&mut self, profile: &Seccomp, native: Arch) -> Vec<Arch> {
        let mut arches = vec![native];
        for (at, name) in profile.architectures.iter().flatten().enumerate() {
            let at = format!("/architectures/{at}");
            match Arch::from_name(name) {
                None => self.unknown(&at, "architecture", name, super::ARCHITECTURES),
                Some(arch) if arch.is_big_endian() != native.is_big_endian() => {
                    let native = native.name();
                    self.problem(&at, format!("{name} has the other byte order than {native}, which this runs on"));
                }
                Some(arch) if arches.contains(&arch) => {}
                Some(arch) => arches.push(arch),
            }
        }
        arches
    }

    fn flags(&mut self, profile: &Seccomp) -> u32 {
        let Some(flags) = &profile.flags else { return FLAG_SPEC_ALLOW };
        let mut bits = 0;
        for (at, flag) in flags.iter().enumerate() {
            bits |= match flag.as_str() {
                // The process that loads the filter has one thread: nothing to synchronise.
                "SECCOMP_FILTER_FLAG_TSYNC" => 0,
                "SECCOMP_FILTER_FLAG_LOG" => FLAG_LOG,
                "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => FLAG_SPEC_ALLOW,
                "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => FLAG_WAIT_KILLABLE_RECV,
                other => {
                    self.unknown(&format!("/flags/{at}"), "seccomp flag", other, FLAGS);
                    0
                }
            };
        }
        bits
    }

    fn rule(&mut self, at: usize, rule: &SyscallRule, into: &mut Profile) {
        let here = format!("/syscalls/{at}");
        let action = self.action(&here, "action", "errnoRet", &rule.action, rule.errno_ret);
        let alternatives = self.args(&here, rule);
        let names = rule.names.as_deref().unwrap_or_default();
        if names.is_empty() {
            self.problem(&format!("{here}/names"), "a rule must name at least one system call");
        }
        let skipped = action.is_none_or(|action| action == into.default);
        let mut near = None;
        for (which, name) in names.iter().enumerate() {
            if name.is_empty() {
                self.problem(&format!("{here}/names/{which}"), "the name of a system call is empty");
                continue;
            }
            if action == Some(ret::NOTIFY) && NEVER_NOTIFIED.contains(&name.as_str()) {
                let message = format!("SCMP_ACT_NOTIFY cannot be used for the {name} syscall");
                self.problem(&format!("{here}/names/{which}"), message);
            }
            let Some(known) = table::find_after(near, name) else {
                into.unknown.push(name.clone());
                continue;
            };
            near = Some(known);
            into.names[usize::from(known)] = true;
            if !skipped {
                into.notify |= action == Some(ret::NOTIFY);
                into.uses.push((known, into.rules.len()));
            }
        }
        if let (Some(action), false) = (action, skipped) {
            into.rules.push(Rule { source: at, action, alternatives });
        }
    }

    /// Conditions on different arguments must all hold. As in runc, two on the same argument turn the
    /// whole list into alternatives: that is what profiles written before the former rule mean.
    fn args(&mut self, at: &str, rule: &SyscallRule) -> Vec<Vec<Condition>> {
        let args = rule.args.as_deref().unwrap_or_default();
        if args.len() > MOST_CONDITIONS {
            self.problem(&format!("{at}/args"), format!("more than {MOST_CONDITIONS} conditions"));
            return Vec::new();
        }
        let mut seen = 0_u32;
        let mut repeated = false;
        let mut conditions = Vec::with_capacity(args.len());
        for (which, arg) in args.iter().enumerate() {
            let Some(condition) = self.condition(&format!("{at}/args/{which}"), arg) else { continue };
            repeated |= seen & 1 << condition.arg != 0;
            seen |= 1 << condition.arg;
            conditions.push(condition);
        }
        match (conditions.is_empty(), repeated) {
            (true, _) => Vec::new(),
            (false, true) => conditions.into_iter().map(|condition| vec![condition]).collect(),
            (false, false) => vec![conditions],
        }
    }

    fn condition(&mut self, at: &str, arg: &SyscallArg) -> Option<Condition> {
        let op = match arg.op.as_deref() {
            Some("SCMP_CMP_NE") => Some(Op::Ne),
            Some("SCMP_CMP_LT") => Some(Op::Lt),
            Some("SCMP_CMP_LE") => Some(Op::Le),
            Some("SCMP_CMP_EQ") => Some(Op::Eq),
            Some("SCMP_CMP_GE") => Some(Op::Ge),
            Some("SCMP_CMP_GT") => Some(Op::Gt),
            Some("SCMP_CMP_MASKED_EQ") => Some(Op::Masked),
            Some(other) => {
                self.unknown(&format!("{at}/op"), "operator", other, OPERATORS);
                None
            }
            None => {
                self.problem(&format!("{at}/op"), "op is required");
                None
            }
        };
        if arg.index > 5 {
            self.problem(&format!("{at}/index"), format!("{} is out of range (0 to 5)", arg.index));
            return None;
        }
        Some(Condition { arg: arg.index as u8, op: op?, value: arg.value, second: arg.value_two })
    }

    fn listener(&mut self, profile: &Seccomp) {
        let path = profile.listener_path.as_deref().unwrap_or_default();
        if path.is_empty() && profile.listener_metadata.as_ref().is_some_and(|metadata| !metadata.is_empty()) {
            self.problem("/listenerMetadata", "listenerMetadata is set without listenerPath");
        }
        let mut rules = profile.syscalls.iter().flatten();
        if path.is_empty() && rules.any(|rule| rule.action.as_deref() == Some("SCMP_ACT_NOTIFY")) {
            self.problem("/listenerPath", "seccomp listenerPath is not set, but a rule uses SCMP_ACT_NOTIFY");
        }
    }
}
