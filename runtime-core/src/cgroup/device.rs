//! `linux.resources.devices` → what may be opened and created. Pure.
//!
//! The list starts with "deny all", then come the config's rules, then those every container gets
//! ([`DEFAULTS`]), so that a config cannot take `/dev/null` away by denying everything (as in runc). Each bit of
//! an access is decided by the last rule that covers it. Version 1 gets this as writes to `devices.allow` and
//! `devices.deny`, version 2 as a BPF program.

use serde::{Deserialize, Serialize};

use super::write::{Rule as OnRefusal, Write};
use super::{Placement, bpf};
use crate::spec::{DeviceRule, Problem};

/// Access bits, as the kernel numbers them (`BPF_DEVCG_ACC_*`).
pub(super) mod access {
    pub const MKNOD: u8 = 1;
    pub const READ: u8 = 2;
    pub const WRITE: u8 = 4;
    pub const ALL: u8 = 7;
}
use access::{ALL, MKNOD, READ, WRITE};

/// Block or character device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Block,
    Char,
}

/// One rule with everything spelled out; `None` is any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub allow: bool,
    pub kind: Option<Kind>,
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub access: u8,
}

const fn allow(kind: Kind, major: Option<u32>, minor: Option<u32>, access: u8) -> Rule {
    Rule { allow: true, kind: Some(kind), major, minor, access }
}

/// What every container may do: make any node, use null, zero, full, random, urandom, tty, ptmx, tun and ptys.
const DEFAULTS: [Rule; 11] = [
    allow(Kind::Char, None, None, MKNOD),
    allow(Kind::Block, None, None, MKNOD),
    allow(Kind::Char, Some(1), Some(3), ALL),
    allow(Kind::Char, Some(1), Some(5), ALL),
    allow(Kind::Char, Some(1), Some(7), ALL),
    allow(Kind::Char, Some(1), Some(8), ALL),
    allow(Kind::Char, Some(1), Some(9), ALL),
    allow(Kind::Char, Some(5), Some(0), ALL),
    allow(Kind::Char, Some(5), Some(2), ALL),
    allow(Kind::Char, Some(10), Some(200), ALL),
    allow(Kind::Char, Some(136), None, ALL),
];

impl Rule {
    /// True if everything `other` is about, this one is about too (access apart).
    fn covers(&self, other: &Rule) -> bool {
        fn wider<T: PartialEq>(mine: Option<T>, other: Option<T>) -> bool {
            mine.is_none() || mine == other
        }
        wider(self.kind, other.kind) && wider(self.major, other.major) && wider(self.minor, other.minor)
    }

    /// True if some device and some access fall under both.
    fn meets(&self, other: &Rule) -> bool {
        fn shared<T: PartialEq>(mine: Option<T>, other: Option<T>) -> bool {
            mine.is_none() || other.is_none() || mine == other
        }
        shared(self.kind, other.kind)
            && shared(self.major, other.major)
            && shared(self.minor, other.minor)
            && self.access & other.access != 0
    }

    /// True for a rule about everything.
    fn is_reset(&self) -> bool {
        *self == Rule { allow: self.allow, kind: None, major: None, minor: None, access: ALL }
    }

    /// The line version 1 takes.
    fn line(&self) -> String {
        let kind = match self.kind {
            Some(Kind::Block) => 'b',
            Some(Kind::Char) => 'c',
            None => 'a',
        };
        let number = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
        let letters: String = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')]
            .iter()
            .filter(|(bit, _)| self.access & bit != 0)
            .map(|(_, letter)| letter)
            .collect();
        format!("{kind} {}:{} {letters}", number(self.major), number(self.minor))
    }
}

/// The device rules of one container, ready to be applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Devices {
    /// No rules: everything is allowed, or a user namespace makes them pointless.
    #[default]
    None,
    /// Version 1 writes.
    Writes(Vec<Write>),
    /// A version 2 program.
    Program {
        /// Index into [`Placement::dirs`].
        place: usize,
        /// BPF instructions, one word each.
        code: Vec<u64>,
    },
}

/// The rules in force for a container. `userns`: it has a user namespace, where the kernel lets nobody make or
/// use foreign nodes anyway, and the rules are left out (as in runc).
pub fn devices(placement: &Placement, rules: Option<&[DeviceRule]>, userns: bool) -> Result<Devices, Vec<Problem>> {
    if userns {
        return Ok(Devices::None);
    }
    let rules = effective(&parse(rules.unwrap_or_default())?);
    if rules.iter().all(|rule| rule.allow) && rules.first().is_some_and(Rule::is_reset) {
        return Ok(Devices::None);
    }
    match placement.of("devices") {
        Some(place) if placement.dirs[place].v2 => Ok(Devices::Program { place, code: bpf::program(&rules) }),
        Some(place) => Ok(Devices::Writes(lines(place, &rules).map_err(|problem| vec![problem])?)),
        None => Err(vec![Problem::new(POINTER, "this host has no cgroup that could enforce device rules")]),
    }
}

const POINTER: &str = "/linux/resources/devices";
/// Most rules: version 1 compares each new one with all before it, and so do we.
const MOST_RULES: usize = 4096;

/// The config's rules between the first "deny all" and the defaults.
fn parse(rules: &[DeviceRule]) -> Result<Vec<Rule>, Vec<Problem>> {
    let mut out = vec![Rule { allow: false, kind: None, major: None, minor: None, access: ALL }];
    let mut problems = Vec::new();
    if rules.len() > MOST_RULES {
        return Err(vec![Problem::new(
            POINTER,
            format!("{} device rules; at most {MOST_RULES} are taken", rules.len()),
        )]);
    }
    for (at, rule) in rules.iter().enumerate() {
        match parse_one(rule, at) {
            Ok(rule) => out.push(rule),
            Err(problem) => problems.push(problem),
        }
    }
    out.extend(DEFAULTS);
    if problems.is_empty() { Ok(out) } else { Err(problems) }
}

fn parse_one(rule: &DeviceRule, at: usize) -> Result<Rule, Problem> {
    let problem = |member: &str, message: String| Problem::new(format!("{POINTER}/{at}/{member}"), message);
    let kind = match rule.typ.as_deref() {
        None | Some("a" | "") => None,
        Some("b") => Some(Kind::Block),
        Some("c") => Some(Kind::Char),
        Some(other) => return Err(problem("type", format!("{other:?} is not one of a, b, c"))),
    };
    let number = |value: Option<i64>, member: &str| match value {
        None | Some(-1) => Ok(None),
        Some(value) => {
            u32::try_from(value).map(Some).map_err(|_| problem(member, format!("{value} is not a device number")))
        }
    };
    let mut access = 0;
    for letter in rule.access.as_deref().unwrap_or_default().chars() {
        access |= match letter {
            'r' => READ,
            'w' => WRITE,
            'm' => MKNOD,
            // In no specification, but about: to deny less than was meant would be worse.
            'a' if !rule.allow => ALL,
            other => return Err(problem("access", format!("{other:?} is not one of r, w, m"))),
        };
    }
    if access == 0 {
        return Err(problem("access", format!("device access at {at} field cannot be empty")));
    }
    let (major, minor) = (number(rule.major, "major")?, number(rule.minor, "minor")?);
    Ok(Rule { allow: rule.allow, kind, major, minor, access })
}

/// The same decisions with fewer rules: without what comes before the last reset, and what a later rule covers.
fn effective(rules: &[Rule]) -> Vec<Rule> {
    let mut kept: Vec<Rule> = Vec::new();
    for rule in rules.iter().rev() {
        if !kept.iter().any(|later| later.covers(rule) && rule.access & !later.access == 0) {
            kept.push(*rule);
        }
        if rule.is_reset() {
            break;
        }
    }
    // What is like its default and meets no exception from before decides nothing.
    let mut kept: Vec<Rule> = kept.into_iter().rev().collect();
    let default = kept.first().is_some_and(|rule| rule.is_reset() && rule.allow);
    let mut at = 1;
    while at < kept.len() {
        let rule = kept[at];
        let idle = rule.allow == default && !kept[1..at].iter().any(|r| r.allow != default && r.meets(&rule));
        if idle {
            kept.remove(at);
        } else {
            at += 1;
        }
    }
    kept
}

/// Version 1: a default and exceptions to it, all of one sense. A rule that would need an exception from an
/// exception cannot be expressed, and is an error: the kernel would ignore it and leave more open than asked.
fn lines(place: usize, rules: &[Rule]) -> Result<Vec<Write>, Problem> {
    let default = rules.first().is_some_and(|rule| rule.is_reset() && rule.allow);
    let mut exceptions: Vec<Rule> = Vec::new();
    for rule in rules.iter().skip(1) {
        if rule.allow != default {
            exceptions.push(*rule);
            continue;
        }
        for exception in exceptions.iter_mut().filter(|exception| exception.meets(rule)) {
            if !rule.covers(exception) {
                let message =
                    format!("cgroup v1 cannot make \"{}\" an exception from \"{}\"", rule.line(), exception.line());
                return Err(Problem::new(POINTER, message));
            }
            exception.access &= !rule.access;
        }
        exceptions.retain(|exception| exception.access != 0);
    }
    let (all, others) = match default {
        true => ("devices.allow", "devices.deny"),
        false => ("devices.deny", "devices.allow"),
    };
    let write = |file: &str, value: String| Write {
        place,
        file: file.into(),
        value,
        pointer: POINTER.into(),
        rule: OnRefusal::Must,
    };
    let mut out = vec![write(all, "a".into())];
    for exception in exceptions {
        // "a" means everything to the kernel whatever numbers follow, so an exception for both kinds is two.
        let kinds = exception.kind.map_or(vec![Kind::Block, Kind::Char], |kind| vec![kind]);
        out.extend(kinds.into_iter().map(|kind| write(others, Rule { kind: Some(kind), ..exception }.line())));
    }
    Ok(out)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::Place;
    use super::*;

    fn rule(text: &str) -> DeviceRule {
        let parts: Vec<&str> = text.split(' ').collect();
        let number = |text: &str| if text == "*" { None } else { text.parse().ok() };
        let (major, minor) = parts[2].split_once(':').expect("major:minor");
        DeviceRule {
            allow: parts[0] == "allow",
            typ: Some(parts[1].into()),
            major: number(major),
            minor: number(minor),
            access: Some(parts[3].into()),
        }
    }

    pub(in super::super) fn rules(texts: &[&str]) -> Vec<Rule> {
        parse(&texts.iter().map(|text| rule(text)).collect::<Vec<_>>()).expect("rules")
    }

    fn placement(v2: bool) -> Placement {
        let controllers = if v2 { vec![] } else { vec!["devices".to_owned()] };
        Placement { dirs: vec![Place { controllers, v2, ..Place::default() }], ..Placement::default() }
    }

    fn v1(texts: &[&str]) -> Result<Vec<String>, Vec<Problem>> {
        let rules: Vec<DeviceRule> = texts.iter().map(|text| rule(text)).collect();
        match devices(&placement(false), Some(&rules), false)? {
            Devices::Writes(writes) => Ok(writes.iter().map(|w| format!("{} {}", &w.file[8..], w.value)).collect()),
            other => panic!("{other:?}"),
        }
    }

    const DEFAULT_LINES: [&str; 12] = [
        "deny a",
        "allow c *:* m",
        "allow b *:* m",
        "allow c 1:3 rwm",
        "allow c 1:5 rwm",
        "allow c 1:7 rwm",
        "allow c 1:8 rwm",
        "allow c 1:9 rwm",
        "allow c 5:0 rwm",
        "allow c 5:2 rwm",
        "allow c 10:200 rwm",
        "allow c 136:* rwm",
    ];

    #[test]
    fn nothing_asked_is_deny_all_and_the_defaults() {
        assert_eq!(v1(&[]).expect("lines"), DEFAULT_LINES);
        assert_eq!(v1(&["deny a *:* rwm"]).expect("lines"), DEFAULT_LINES);
        // Docker's list ends in a denial of what was never allowed.
        assert_eq!(v1(&["deny a *:* rwm", "allow c 1:3 rwm", "deny c 10:229 rwm"]).expect("lines"), DEFAULT_LINES);
    }

    #[test]
    fn version_1_exceptions() {
        assert_eq!(v1(&["allow b 8:* r"]).expect("lines")[1], "allow b 8:* r");
        assert_eq!(v1(&["allow a 8:0 r"]).expect("lines")[1..3], ["allow b 8:0 r", "allow c 8:0 r"]);
        assert_eq!(v1(&["allow b 8:0 rw", "deny b 8:* w"]).expect("lines")[1], "allow b 8:0 r");
        assert_eq!(v1(&["allow b 8:0 rw", "deny a *:* rwm"]).expect("lines"), DEFAULT_LINES);
        assert_eq!(v1(&["allow a *:* rwm", "deny b 8:0 w"]).expect("lines"), ["allow a", "deny b 8:0 w"]);
        // As an access in a denial, `a` is everything.
        assert_eq!(v1(&["allow b 8:0 rw", "deny b 8:0 ra"]).expect("lines"), DEFAULT_LINES);
        let problems = v1(&["allow b 8:* rw", "deny b 8:0 w"]).expect_err("finer than a wildcard");
        assert_eq!(problems[0].pointer, "/linux/resources/devices");
    }

    #[test]
    fn rules_that_are_refused() {
        for (rule, pointer) in [
            (DeviceRule { access: None, ..rule("allow c 1:1 r") }, "0/access"),
            (DeviceRule { access: Some("rx".into()), ..rule("allow c 1:1 r") }, "0/access"),
            (DeviceRule { access: Some("a".into()), ..rule("allow c 1:1 r") }, "0/access"),
            (DeviceRule { typ: Some("u".into()), ..rule("allow c 1:1 r") }, "0/type"),
            (DeviceRule { major: Some(-2), ..rule("allow c 1:1 r") }, "0/major"),
            (DeviceRule { minor: Some(1 << 32), ..rule("allow c 1:1 r") }, "0/minor"),
        ] {
            let problems = devices(&placement(true), Some(&[rule]), false).expect_err(pointer);
            assert_eq!(problems[0].pointer, format!("/linux/resources/devices/{pointer}"));
        }
        assert!(devices(&Placement::default(), None, false).is_err(), "nothing could enforce them");
    }

    #[test]
    fn left_out_where_pointless() {
        assert_eq!(devices(&placement(true), None, true).expect("userns"), Devices::None);
        let all = [rule("deny b 8:0 r"), rule("allow a *:* rwm")];
        assert_eq!(devices(&placement(true), Some(&all), false).expect("all"), Devices::None);
        assert!(matches!(devices(&placement(true), None, false).expect("v2"), Devices::Program { place: 0, .. }));
    }

    /// What the ordered list says about one access: the last rule that covers a bit decides it.
    fn naive(rules: &[Rule], kind: Kind, major: u32, minor: u32, access: u8) -> bool {
        let asked = Rule { allow: true, kind: Some(kind), major: Some(major), minor: Some(minor), access: 0 };
        [MKNOD, READ, WRITE].into_iter().filter(|bit| access & bit != 0).all(|bit| {
            rules.iter().rev().find(|rule| rule.access & bit != 0 && rule.covers(&asked)).is_some_and(|r| r.allow)
        })
    }

    /// Calls `check` with many lists and what each says about every access to a few devices.
    pub(in super::super) fn for_many_lists(check: impl Fn(&[Rule], &[Rule], (Kind, u32, u32, u8), bool)) {
        let mut seed = 42u32;
        let mut random = move |below: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 16) % below
        };
        for _ in 0..300 {
            let mut list = vec![Rule { allow: false, kind: None, major: None, minor: None, access: ALL }];
            for _ in 0..random(8) {
                let kind = [None, Some(Kind::Block), Some(Kind::Char)][random(3) as usize];
                let number = |n: u32| (n != 0).then_some(n);
                let (major, minor) = (number(random(3)), number(random(3)));
                let access = if random(2) == 0 { ALL } else { 1 + random(7) as u8 };
                list.push(Rule { allow: random(2) == 0, kind, major, minor, access });
            }
            let short = effective(&list);
            for (kind, major, minor) in [Kind::Block, Kind::Char]
                .into_iter()
                .flat_map(|k| (1..4).flat_map(move |a| (1..4).map(move |i| (k, a, i))))
            {
                for access in 1..=ALL {
                    let allowed = naive(&list, kind, major, minor, access);
                    check(&list, &short, (kind, major, minor, access), allowed);
                }
            }
        }
    }

    #[test]
    fn the_short_list_decides_the_same() {
        for_many_lists(|list, short, (kind, major, minor, access), allowed| {
            assert_eq!(naive(short, kind, major, minor, access), allowed, "{list:?} → {short:?}");
        });
    }

    #[test]
    fn version_1_decides_the_same_or_refuses() {
        for_many_lists(|list, short, (kind, major, minor, access), allowed| {
            let Ok(writes) = lines(0, short) else { return };
            let default = writes[0].file == "devices.allow";
            let mut state = vec![Rule { allow: default, kind: None, major: None, minor: None, access: ALL }];
            state.extend(writes[1..].iter().map(|w| {
                let word = if w.file == "devices.allow" { "allow" } else { "deny" };
                parse_one(&rule(&format!("{word} {}", w.value)), 0).expect("a line")
            }));
            assert_eq!(naive(&state, kind, major, minor, access), allowed, "{list:?} → {writes:?}");
        });
    }
}
