//! Argument conditions as a decision graph.
//!
//! A filter can look at one 32-bit word at a time, so a 64-bit comparison is up to three tests. The
//! rules of one call are turned into a graph of such tests: what earlier tests have established is
//! remembered along each path, so a test is never made twice and a rule that cannot match any more
//! costs nothing (five allowed values of personality(2) are one test of the high word and five of the
//! low one). Equal nodes exist once, over all calls and architectures.
//!
//! The first matching rule wins.

use std::collections::BTreeMap;

use super::profile::{Condition, Op};

/// A node of the graph.
pub type Id = u32;

/// Half of an argument, masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word {
    /// Argument, 0 to 5.
    pub arg: u8,
    /// Which half.
    pub high: bool,
    /// Bits that are looked at.
    pub mask: u32,
}

/// What a filter can ask of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Test {
    /// word == k
    Eq,
    /// word > k
    Gt,
    /// word >= k
    Ge,
}

/// A decision, or what is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// The filter returns this.
    Return(u32),
    /// `test` of `word` with `k`, then on to another node.
    Branch {
        /// What is looked at.
        word: Word,
        /// What is asked.
        test: Test,
        /// Constant of the test.
        k: u32,
        /// Next if it is true.
        yes: Id,
        /// Next if not.
        no: Id,
    },
}

/// All nodes of a program; children have smaller ids than their parents.
#[derive(Default)]
pub struct Graph {
    nodes: Vec<Node>,
    ids: BTreeMap<Node, Id>,
}

impl Graph {
    /// The node with this content, new or not.
    pub fn node(&mut self, node: Node) -> Id {
        if let Node::Branch { yes, no, .. } = node
            && yes == no
        {
            return yes;
        }
        let nodes = &mut self.nodes;
        *self.ids.entry(node).or_insert_with(|| {
            nodes.push(node);
            (nodes.len() - 1) as Id
        })
    }

    /// A node by its id.
    pub fn get(&self, id: Id) -> Node {
        self.nodes[id as usize]
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    fn size(&self, root: Id) -> usize {
        let mut seen = vec![false; root as usize + 1];
        seen[root as usize] = true;
        for id in (0..=root).rev() {
            if let (true, Node::Branch { yes, no, .. }) = (seen[id as usize], self.get(id)) {
                seen[yes as usize] = true;
                seen[no as usize] = true;
            }
        }
        seen.into_iter().filter(|&seen| seen).count()
    }
}

/// A conjunction and what it leads to.
pub struct Alternative {
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// Where to go then.
    pub action: Id,
}

/// The graph of `rules`, first match first, `default` if none matches.
pub fn decide(graph: &mut Graph, rules: &[Alternative], default: Id, wide: bool) -> Id {
    let rules = lower(rules, wide);
    let plain = Builder::new(graph, &rules, default, false).build();
    let informed = Builder::new(graph, &rules, default, true).build();
    // Remembering can also unfold a graph; the plain one never grows more than its rules.
    match (plain, informed) {
        (Some(plain), Some(informed)) if graph.size(informed) > graph.size(plain) => plain,
        (_, Some(informed)) => informed,
        (plain, None) => plain.unwrap_or(default),
    }
}

/// Where a step leads within its condition.
#[derive(Clone, Copy)]
enum Go {
    Step(u8),
    Holds,
    Fails,
}

struct Step {
    word: Word,
    /// The last rule that looks at the word.
    until: usize,
    test: Test,
    k: u32,
    yes: Go,
    no: Go,
}

struct Lowered {
    conditions: Vec<Vec<Step>>,
    action: Id,
}

fn lower(rules: &[Alternative], wide: bool) -> Vec<Lowered> {
    let lowered = |rule: &Alternative| {
        let conditions = rule.conditions.iter().map(|condition| steps(condition, wide)).collect();
        Lowered { conditions, action: rule.action }
    };
    let mut rules: Vec<Lowered> = rules.iter().map(lowered).collect();
    let mut last = BTreeMap::new();
    for (at, rule) in rules.iter_mut().enumerate().rev() {
        for step in rule.conditions.iter_mut().flatten() {
            step.until = *last.entry(step.word).or_insert(at);
        }
    }
    rules
}

/// The tests of one condition. On narrow architectures only the low halves count, of the argument and
/// of the constants: what libseccomp does, and what a 32-bit program means by -1.
fn steps(condition: &Condition, wide: bool) -> Vec<Step> {
    use Go::{Fails, Holds, Step as To};
    let arg = condition.arg;
    let [high, low] = [true, false].map(|high| Word { arg, high, mask: u32::MAX });
    let (high_value, low_value) = ((condition.value >> 32) as u32, condition.value as u32);
    let step = |word, test, k, yes, no| Step { word, until: 0, test, k, yes, no };
    let (holds, fails) = match condition.op {
        Op::Ne | Op::Lt | Op::Le => (Fails, Holds),
        _ => (Holds, Fails),
    };
    let last = match condition.op {
        Op::Eq | Op::Ne => Test::Eq,
        Op::Ge | Op::Lt => Test::Ge,
        Op::Gt | Op::Le => Test::Gt,
        Op::Masked => return masked(condition, wide),
    };
    match (wide, last) {
        (false, _) => vec![step(low, last, low_value, holds, fails)],
        (true, Test::Eq) => {
            vec![step(high, Test::Eq, high_value, To(1), fails), step(low, Test::Eq, low_value, holds, fails)]
        }
        (true, _) => vec![
            step(high, Test::Gt, high_value, holds, To(1)),
            step(high, Test::Eq, high_value, To(2), fails),
            step(low, last, low_value, holds, fails),
        ],
    }
}

/// Bits of the value outside the mask are ignored, as in libseccomp.
fn masked(condition: &Condition, wide: bool) -> Vec<Step> {
    let halves = [(true, 32), (false, 0)].map(|(high, shift)| {
        let mask = (condition.value >> shift) as u32;
        (Word { arg: condition.arg, high, mask }, (condition.second >> shift) as u32 & mask)
    });
    let used: Vec<_> = halves.into_iter().filter(|(word, _)| word.mask != 0 && (wide || !word.high)).collect();
    let count = used.len();
    let next = |at: usize| if at + 1 == count { Go::Holds } else { Go::Step(at as u8 + 1) };
    let step = |(at, (word, k))| Step { word, until: 0, test: Test::Eq, k, yes: next(at), no: Go::Fails };
    used.into_iter().enumerate().map(step).collect()
}

/// What is known of a word on a path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Fact {
    word: Word,
    until: usize,
    low: u32,
    high: u32,
    not: Vec<u32>,
}

#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Facts(Vec<Fact>);

impl Facts {
    /// The answer to a test, where it follows from what is known.
    fn answer(&self, step: &Step) -> Option<bool> {
        let fact = self.0.iter().find(|fact| fact.word == step.word);
        let (low, high) = fact.map_or((0, step.word.mask), |fact| (fact.low, fact.high));
        match step.test {
            Test::Eq if step.k < low || step.k > high => Some(false),
            Test::Eq if low == high => Some(true),
            Test::Eq if fact.is_some_and(|fact| fact.not.contains(&step.k)) => Some(false),
            Test::Gt if low > step.k => Some(true),
            Test::Gt if high <= step.k => Some(false),
            Test::Ge if low >= step.k => Some(true),
            Test::Ge if high < step.k => Some(false),
            _ => None,
        }
    }

    /// What is known after `step`, which did not follow before, was answered.
    fn with(&self, step: &Step, answer: bool) -> Facts {
        let mut facts = self.clone();
        let at = facts.0.iter().position(|fact| fact.word >= step.word).unwrap_or(facts.0.len());
        if facts.0.get(at).is_none_or(|fact| fact.word != step.word) {
            facts
                .0
                .insert(at, Fact { word: step.word, until: step.until, low: 0, high: step.word.mask, not: Vec::new() });
        }
        let fact = &mut facts.0[at];
        match (step.test, answer) {
            (Test::Eq, true) => (fact.low, fact.high) = (step.k, step.k),
            (Test::Eq, false) => fact.not.push(step.k),
            (Test::Gt, true) => fact.low = step.k + 1,
            (Test::Gt, false) => fact.high = step.k,
            (Test::Ge, true) => fact.low = step.k,
            (Test::Ge, false) => fact.high = step.k - 1,
        }
        let (low, high) = (fact.low, fact.high);
        if low == high {
            fact.not.clear();
        }
        fact.not.retain(|k| (low..=high).contains(k));
        facts
    }
}

/// Nodes a builder may ask for before it gives up.
const BUDGET: usize = 8192;

struct Builder<'a> {
    graph: &'a mut Graph,
    rules: &'a [Lowered],
    default: Id,
    /// Whether facts survive from one rule to the next.
    remember: bool,
    memo: BTreeMap<(usize, Facts), Id>,
    asked: usize,
}

impl<'a> Builder<'a> {
    fn new(graph: &'a mut Graph, rules: &'a [Lowered], default: Id, remember: bool) -> Self {
        Self { graph, rules, default, remember, memo: BTreeMap::new(), asked: 0 }
    }

    fn build(mut self) -> Option<Id> {
        let root = self.rule(0, Facts::default());
        (self.asked < BUDGET || !self.remember).then_some(root)
    }

    fn rule(&mut self, at: usize, mut facts: Facts) -> Id {
        if at == self.rules.len() {
            return self.default;
        }
        if !self.remember {
            facts = Facts::default();
        }
        // What no later rule looks at must not tell two equal situations apart.
        facts.0.retain(|fact| fact.until >= at);
        let key = (at, facts);
        if let Some(&id) = self.memo.get(&key) {
            return id;
        }
        let id = self.step(at, 0, 0, &key.1);
        self.memo.insert(key, id);
        id
    }

    fn step(&mut self, at: usize, mut condition: usize, mut step: usize, facts: &Facts) -> Id {
        let rules = self.rules;
        loop {
            let Some(steps) = rules[at].conditions.get(condition) else { return rules[at].action };
            let Some(test) = steps.get(step) else {
                (condition, step) = (condition + 1, 0);
                continue;
            };
            let Some(answer) = facts.answer(test) else { return self.branch(at, condition, test, facts) };
            match if answer { test.yes } else { test.no } {
                Go::Step(next) => step = usize::from(next),
                Go::Holds => (condition, step) = (condition + 1, 0),
                Go::Fails => return self.rule(at + 1, facts.clone()),
            }
        }
    }

    fn branch(&mut self, at: usize, condition: usize, test: &Step, facts: &Facts) -> Id {
        self.asked += 1;
        if self.remember && self.asked >= BUDGET {
            return self.default; // thrown away by build()
        }
        let [yes, no] = [(test.yes, true), (test.no, false)].map(|(go, answer)| {
            let facts = facts.with(test, answer);
            match go {
                Go::Step(next) => self.step(at, condition, usize::from(next), &facts),
                Go::Holds => self.step(at, condition + 1, 0, &facts),
                Go::Fails => self.rule(at + 1, facts),
            }
        });
        self.graph.node(Node::Branch { word: test.word, test: test.test, k: test.k, yes, no })
    }
}
