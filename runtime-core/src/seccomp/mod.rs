//! From a seccomp profile to a BPF program.
//!
//! Pure: no system calls, no global state. One program covers all architectures of the profile:
//!
//! ```text
//! load arch; native? other? … else kill the thread        (libseccomp's "bad arch" action)
//! load nr;   balanced tree over intervals of numbers       tree.rs, enosys.rs
//!            -> return | argument tests -> return          args.rs
//! ```
//!
//! docs/seccomp.md has the semantics (what wins when rules overlap, what differs from runc and
//! libseccomp) and the measurements.

mod arch;
mod args;
mod bpf;
mod enosys;
mod explain;
mod profile;
mod report;
mod table;
mod tree;

#[cfg(test)]
mod tests;

pub use arch::{ARCHITECTURES, Arch, X32_BIT};
pub use bpf::Instruction;
pub use explain::{Explanation, Outcome, explain};
pub use profile::{ACTIONS, FLAGS, NEVER_NOTIFIED, OPERATORS};
pub use report::{Denied, Reporter};

use args::{Alternative, Graph, Id, Node};
use profile::{Condition, Op, Profile, ret};
use table::Name;
use tree::Interval;

use crate::spec::{Problem, Seccomp};

/// BPF_MAXINSNS of linux/bpf_common.h: the kernel takes no longer program.
pub const MOST_INSTRUCTIONS: usize = 4096;

/// A compiled profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The program, 1 to [`MOST_INSTRUCTIONS`] long.
    pub program: Vec<Instruction>,
    /// SECCOMP_FILTER_FLAG_… for seccomp(2), SECCOMP_FILTER_FLAG_NEW_LISTENER included where needed.
    pub flags: u32,
    /// Whether the program notifies: seccomp(2) returns a listener, to be sent to `listenerPath`.
    pub notify: bool,
    /// Names of the profile that no architecture has: skipped, worth a line in a debug log.
    pub unknown: Vec<String>,
}

impl serde::Serialize for Filter {
    /// Size and flags: the instructions themselves tell a reader nothing.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut filter = serializer.serialize_struct("Filter", 3)?;
        filter.serialize_field("instructions", &self.program.len())?;
        filter.serialize_field("flags", &self.flags)?;
        filter.serialize_field("notify", &self.notify)?;
        filter.end()
    }
}

impl Filter {
    /// The program as `sock_fprog.filter` points to it: eight bytes per instruction, native byte order.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.program.len() * 8);
        for instruction in &self.program {
            bytes.extend_from_slice(&instruction.code.to_ne_bytes());
            bytes.extend_from_slice(&[instruction.jt, instruction.jf]);
            bytes.extend_from_slice(&instruction.k.to_ne_bytes());
        }
        bytes
    }
}

/// The name of a system call of this machine, for messages.
pub fn syscall_name(number: u32) -> Option<&'static str> {
    table::name(Arch::native(), number)
}

/// Compiles a profile for a kernel of the `native` architecture, which is always part of the filter.
///
/// The result depends on nothing but the arguments. Every problem of the profile is reported, with JSON
/// pointers from the root of `config.json`; there is no filter then.
pub fn compile(profile: &Seccomp, native: Arch) -> Result<Filter, Vec<Problem>> {
    let profile = profile::check(profile, native)?;
    let too_large = |message: String| vec![Problem::new("/linux/seccomp/syscalls", message)];
    let mut graph = Graph::default();
    let groups = Rules::new(&profile, &mut graph)
        .and_then(|mut rules| {
            audit_groups(&profile.arches).map(|group| rules.intervals(&group)).collect::<Result<Vec<_>, _>>()
        })
        .map_err(too_large)?;
    let program = assemble(&mut graph, &groups, native);
    if program.len() > MOST_INSTRUCTIONS {
        let length = program.len();
        return Err(too_large(format!(
            "the profile needs {length} instructions, the kernel takes {MOST_INSTRUCTIONS}"
        )));
    }
    Ok(Filter { program, flags: profile.flags, notify: profile.notify, unknown: profile.unknown })
}

/// Architectures that share an audit value (x86_64 and x32), together; the native one first.
fn audit_groups(arches: &[Arch]) -> impl Iterator<Item = Vec<Arch>> {
    let first_of = |at: &usize| arches[..*at].iter().all(|arch| arch.audit() != arches[*at].audit());
    let group = |at: usize| arches.iter().copied().filter(|arch| arch.audit() == arches[at].audit()).collect();
    (0..arches.len()).filter(first_of).map(group).collect::<Vec<_>>().into_iter()
}

struct Group {
    audit: u32,
    intervals: Vec<Interval>,
}

fn assemble(graph: &mut Graph, groups: &[Group], native: Arch) -> Vec<Instruction> {
    let killed = graph.node(Node::Return(ret::KILL_THREAD));
    let mut program = bpf::Assembler::new(graph, native.is_big_endian());
    let roots: Vec<Id> = groups.iter().flat_map(|group| group.intervals.iter().map(|&(_, id)| id)).collect();
    program.branches(&roots);
    let mut trees = Vec::with_capacity(groups.len());
    for group in groups.iter().rev() {
        let root = tree::write(&mut program, &group.intervals);
        trees.push((group.audit, program.load(bpf::NR, root)));
    }
    let mut next = bpf::Label::Node(killed);
    for (audit, root) in trees {
        next = bpf::Label::At(program.branch(bpf::JUMP_EQ, audit, bpf::Label::At(root), next));
    }
    program.load(bpf::ARCH, next);
    program.finish()
}

/// What becomes of single numbers of one architecture. They come in the order of names, and nearly all are small:
/// a place for each is quicker than sorting.
#[derive(Default)]
struct Points {
    /// Where the architecture's numbers start.
    start: u32,
    small: Vec<Option<Id>>,
    others: Vec<Interval>,
}

impl Points {
    const SMALL: usize = 1024;

    /// Of two for one number the later one counts.
    fn set(&mut self, nr: u32, id: Id) {
        self.small.resize(Self::SMALL, None);
        match self.small.get_mut(nr.wrapping_sub(self.start) as usize) {
            Some(room) => *room = Some(id),
            None => self.others.push((nr, id)),
        }
    }

    /// Appends them, the small ones in ascending order, and is empty then.
    fn drain_into(&mut self, points: &mut Vec<Interval>) {
        let start = self.start;
        points.extend(self.small.iter().zip(start..).filter_map(|(id, nr)| Some((nr, (*id)?))));
        points.append(&mut self.others);
        self.small.clear();
    }
}

/// The rules, by system call.
struct Rules<'a> {
    profile: &'a Profile,
    graph: &'a mut Graph,
    /// Return nodes of the rules.
    actions: Vec<Id>,
    default: Id,
    /// By name: the first rule without conditions. It wins over all that have some, as in libseccomp.
    always: Vec<Option<usize>>,
    /// Rules with conditions of names without such a rule, by name, each in the order of the profile.
    conditional: Vec<(Name, Vec<usize>)>,
    /// Graphs made so far, by rules and width.
    made: Vec<(Vec<usize>, bool, Id)>,
}

impl<'a> Rules<'a> {
    fn new(profile: &'a Profile, graph: &'a mut Graph) -> Result<Self, String> {
        let default = graph.node(Node::Return(profile.default));
        let actions = profile.rules.iter().map(|rule| graph.node(Node::Return(rule.action))).collect();
        let mut always = vec![None; table::COUNT];
        for &(name, rule) in &profile.uses {
            let first = &mut always[usize::from(name)];
            if first.is_none() && profile.rules[rule].alternatives.is_empty() {
                *first = Some(rule);
            }
        }
        let mut uses: Vec<_> = profile.uses.iter().filter(|(name, _)| always[usize::from(*name)].is_none()).collect();
        uses.sort();
        let mut conditional: Vec<(Name, Vec<usize>)> = Vec::new();
        for &&(name, rule) in &uses {
            match conditional.last_mut() {
                Some((last, rules)) if *last == name => rules.push(rule),
                _ => conditional.push((name, vec![rule])),
            }
        }
        for (_, rules) in &mut conditional {
            rules.dedup();
            let count = |&rule: &usize| profile.rules[rule].alternatives.iter().map(Vec::len).sum::<usize>();
            if rules.iter().map(count).sum::<usize>() > profile::MOST_CONDITIONS {
                return Err(format!("more than {} conditions on one system call", profile::MOST_CONDITIONS));
            }
        }
        Ok(Self { profile, graph, actions, default, always, conditional, made: Vec::new() })
    }

    /// What becomes of every number under one audit value.
    fn intervals(&mut self, arches: &[Arch]) -> Result<Group, String> {
        let mut regions = Vec::new();
        let mut points = Vec::with_capacity(1024);
        let mut here = Points::default();
        let enosys = self.graph.node(Node::Return(enosys::ENOSYS));
        for &arch in arches {
            let start = if arch == Arch::X32 { X32_BIT } else { 0 };
            regions.push((start, self.default));
            here.start = start;
            if let Some(first) = enosys::first_unknown(self.profile, arch) {
                regions.push((first, enosys));
                if enosys::has_setup(arch) {
                    here.set(enosys::S390_SETUP, enosys);
                }
                for nr in enosys::private(self.profile, arch) {
                    here.set(nr, self.default);
                }
            }
            self.points(arch, &mut here)?;
            here.drain_into(&mut points);
        }
        self.x32_borders(arches, &mut regions);
        regions.sort_by_key(|&(start, _)| start);
        // Stable: of two points of one number the later one counts.
        points.sort_by_key(|&(nr, _)| nr);
        Ok(Group { audit: arches[0].audit(), intervals: tree::intervals(&regions, &points) })
    }

    /// x32 calls where the profile does not list x32, or x86_64 ones where it lists nothing else, come
    /// from an architecture the profile does not have. -1 is a call a tracer skips: never killed.
    fn x32_borders(&mut self, arches: &[Arch], regions: &mut Vec<Interval>) {
        if arches[0].audit() != Arch::X32.audit() {
            return;
        }
        let killed = self.graph.node(Node::Return(ret::KILL_THREAD));
        if !arches.contains(&Arch::X86_64) {
            regions.push((0, killed));
        }
        if !arches.contains(&Arch::X32) {
            regions.push((X32_BIT, killed));
            regions.push((u32::MAX, self.default));
        }
    }

    fn points(&mut self, arch: Arch, points: &mut Points) -> Result<(), String> {
        for name in 0..table::COUNT as Name {
            if let (Some(rule), Some(nr)) = (self.always[usize::from(name)], table::number(arch, name)) {
                points.set(nr, self.actions[rule]);
            }
        }
        for at in 0..self.conditional.len() {
            let Some(nr) = table::number(arch, self.conditional[at].0) else { continue };
            points.set(nr, self.decision(at, arch.is_wide()));
        }
        for multiplexer in 0..table::MULTIPLEXERS.len() {
            self.multiplexer(arch, multiplexer, points)?;
        }
        Ok(())
    }

    /// The graph of one name's rules.
    fn decision(&mut self, at: usize, wide: bool) -> Id {
        let rules = self.conditional[at].1.clone();
        if let Some(&(_, _, id)) = self.made.iter().find(|made| made.0 == rules && made.1 == wide) {
            return id;
        }
        let alternatives: Vec<Alternative> = rules.iter().flat_map(|&rule| self.alternatives(rule)).collect();
        let id = args::decide(self.graph, &alternatives, self.default, wide);
        self.made.push((rules, wide, id));
        id
    }

    fn alternatives(&self, rule: usize) -> Vec<Alternative> {
        let action = self.actions[rule];
        let alternatives = self.profile.rules[rule].alternatives.iter();
        alternatives.map(|conditions| Alternative { conditions: conditions.clone(), action }).collect()
    }

    /// socketcall(2) and ipc(2), where an architecture has them: a rule on socket(2) also applies to
    /// socketcall(1, …). The other arguments are behind a pointer there, so conditions on the first one
    /// are lost; libseccomp does the same, and profiles are written for it.
    fn multiplexer(&mut self, arch: Arch, multiplexer: usize, points: &mut Points) -> Result<(), String> {
        let Some(name) = table::find(table::MULTIPLEXERS[multiplexer]) else { return Ok(()) };
        let Some(nr) = table::number(arch, name).filter(|_| self.always[usize::from(name)].is_none()) else {
            return Ok(());
        };
        let own = self.conditional.iter().find(|(conditional, _)| *conditional == name);
        let mut rules: Vec<Alternative> =
            own.iter().flat_map(|(_, rules)| rules).flat_map(|&rule| self.alternatives(rule)).collect();
        let mut through: Vec<(Name, u32)> = table::through(multiplexer).collect();
        through.sort_unstable();
        for (called, call) in through {
            self.multiplexed(called, call, &mut rules);
        }
        if rules.iter().map(|rule| rule.conditions.len()).sum::<usize>() > profile::MOST_CONDITIONS {
            let multiplexer = table::MULTIPLEXERS[multiplexer];
            return Err(format!("more than {} conditions on {multiplexer}", profile::MOST_CONDITIONS));
        }
        if !rules.is_empty() {
            points.set(nr, args::decide(self.graph, &rules, self.default, arch.is_wide()));
        }
        Ok(())
    }

    fn multiplexed(&self, called: Name, call: u32, rules: &mut Vec<Alternative>) {
        let selected = Condition { arg: 0, op: Op::Eq, value: u64::from(call), second: 0 };
        if let Some(rule) = self.always[usize::from(called)] {
            rules.push(Alternative { conditions: vec![selected], action: self.actions[rule] });
            return;
        }
        let own = self.conditional.iter().find(|(name, _)| *name == called);
        for mut rule in own.iter().flat_map(|(_, rules)| rules).flat_map(|&rule| self.alternatives(rule)) {
            rule.conditions.retain(|condition| condition.arg != 0);
            rule.conditions.insert(0, selected);
            rules.push(rule);
        }
    }
}
