//! Instructions of the filter, written from the end to the start.
//!
//! Classic BPF jumps only forwards, at most 255 instructions in a conditional jump. Written backwards,
//! every target exists before the jump to it, and one that has gone out of reach gets a stand-in (a copy
//! of the return, or an unconditional jump, which reaches any distance) close by.

use super::args::{Graph, Id, Node, Test, Word};

/// `struct sock_filter` of linux/filter.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation, BPF_… constants.
    pub code: u16,
    /// Instructions to skip if the test is true.
    pub jt: u8,
    /// Instructions to skip if not.
    pub jf: u8,
    /// Constant of the operation.
    pub k: u32,
}

/// BPF_LD | BPF_W | BPF_ABS
pub const LOAD: u16 = 0x20;
/// BPF_ALU | BPF_AND | BPF_K
pub const AND: u16 = 0x54;
/// BPF_RET | BPF_K
pub const RETURN: u16 = 0x06;
/// BPF_JMP | BPF_JA
pub const JUMP: u16 = 0x05;
/// BPF_JMP | BPF_JEQ | BPF_K
pub const JUMP_EQ: u16 = 0x15;
/// BPF_JMP | BPF_JGT | BPF_K
pub const JUMP_GT: u16 = 0x25;
/// BPF_JMP | BPF_JGE | BPF_K
pub const JUMP_GE: u16 = 0x35;

/// Offsets in `struct seccomp_data`.
pub const NR: u32 = 0;
/// The architecture.
pub const ARCH: u32 = 4;
const ARGS: u32 = 16;

/// Farthest target of a conditional jump.
const REACH: usize = u8::MAX as usize;

/// Something to jump to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// A node of the graph; its word is loaded there.
    Node(Id),
    /// A branch of the graph behind the load of its word.
    Loaded(Id),
    /// An instruction, counted from the end.
    At(usize),
}

/// A program under construction.
pub struct Assembler<'a> {
    graph: &'a Graph,
    big_endian: bool,
    /// Last instruction first.
    reversed: Vec<Instruction>,
    /// Where branches of the graph are: with load, without.
    places: Vec<(usize, usize)>,
    /// The nearest stand-in of each label that needed one.
    near: Vec<(Label, usize)>,
}

impl<'a> Assembler<'a> {
    /// An empty program over a graph.
    pub fn new(graph: &'a Graph, big_endian: bool) -> Self {
        let places = vec![(usize::MAX, usize::MAX); graph.len()];
        Self { graph, big_endian, reversed: Vec::with_capacity(1024), places, near: Vec::new() }
    }

    /// Writes all branches that can be reached from `roots`.
    pub fn branches(&mut self, roots: &[Id]) {
        let mut wanted = vec![Want::No; self.graph.len()];
        for &root in roots {
            wanted[root as usize] = Want::Load;
        }
        for id in (0..self.graph.len()).rev() {
            let (true, Node::Branch { word, yes, no, .. }) = (wanted[id] != Want::No, self.graph.get(id as Id)) else {
                continue;
            };
            for child in [yes, no] {
                let want = if self.word(child) == Some(word) { Want::Jump } else { Want::Load };
                wanted[child as usize] = wanted[child as usize].max(want);
            }
        }
        for (id, &want) in wanted.iter().enumerate() {
            self.write(id as Id, want);
        }
    }

    fn word(&self, id: Id) -> Option<Word> {
        match self.graph.get(id) {
            Node::Branch { word, .. } => Some(word),
            Node::Return(_) => None,
        }
    }

    fn write(&mut self, id: Id, want: Want) {
        let (true, Node::Branch { word, test, k, yes, no }) = (want != Want::No, self.graph.get(id)) else { return };
        let [yes, no] = [yes, no]
            .map(|child| if self.word(child) == Some(word) { Label::Loaded(child) } else { Label::Node(child) });
        let code = match test {
            Test::Eq => JUMP_EQ,
            Test::Gt => JUMP_GT,
            Test::Ge => JUMP_GE,
        };
        let jump = self.branch(code, k, yes, no);
        let mut start = jump;
        if want == Want::Load {
            if word.mask != u32::MAX {
                self.push(AND, 0, 0, word.mask);
            }
            let half = if word.high == self.big_endian { 0 } else { 4 };
            start = self.push(LOAD, 0, 0, ARGS + u32::from(word.arg) * 8 + half);
        }
        self.places[id as usize] = (start, jump);
    }

    /// Writes a load of a word of `seccomp_data` in front of `next`.
    pub fn load(&mut self, offset: u32, next: Label) -> usize {
        if self.place(next) != Some(self.reversed.len().wrapping_sub(1)) {
            self.stand_in(next);
        }
        self.push(LOAD, 0, 0, offset)
    }

    /// Writes a conditional jump.
    pub fn branch(&mut self, code: u16, k: u32, yes: Label, no: Label) -> usize {
        loop {
            let [yes, no] = [yes, no].map(|label| self.reach(label));
            let at = self.reversed.len();
            let [jt, jf] = [yes, no].map(|target| at - target - 1);
            // The stand-in of one may have pushed the other out of reach.
            if let (Ok(jt), Ok(jf)) = (u8::try_from(jt), u8::try_from(jf)) {
                return self.push(code, jt, jf, k);
            }
        }
    }

    /// An instruction within reach of a jump at the present end that does what `label` does.
    fn reach(&mut self, label: Label) -> usize {
        let end = self.reversed.len();
        let reachable = |at: &usize| end - at < REACH + 2 && *at < end;
        if let Some(at) = self.place(label).filter(reachable) {
            return at;
        }
        let stand_in = self.near.iter().find(|(of, _)| *of == label).map(|&(_, at)| at);
        stand_in.filter(reachable).unwrap_or_else(|| self.stand_in(label))
    }

    /// Where a label itself is; returns are only ever stood in for.
    fn place(&self, label: Label) -> Option<usize> {
        match label {
            Label::At(at) => Some(at),
            Label::Node(id) => Some(self.places[id as usize].0).filter(|&at| at != usize::MAX),
            Label::Loaded(id) => Some(self.places[id as usize].1),
        }
    }

    fn stand_in(&mut self, label: Label) -> usize {
        let at = match (self.place(label), label) {
            (Some(target), _) => self.push(JUMP, 0, 0, (self.reversed.len() - target - 1) as u32),
            (None, Label::Node(id) | Label::Loaded(id)) => match self.graph.get(id) {
                Node::Return(value) => self.push(RETURN, 0, 0, value),
                // Not reached: `branches` has written every branch a caller may name. Closed, not open.
                Node::Branch { .. } => self.push(RETURN, 0, 0, super::profile::ret::KILL_PROCESS),
            },
            (None, Label::At(_)) => self.push(RETURN, 0, 0, super::profile::ret::KILL_PROCESS),
        };
        self.near.retain(|(of, _)| *of != label);
        self.near.push((label, at));
        at
    }

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> usize {
        self.reversed.push(Instruction { code, jt, jf, k });
        self.reversed.len() - 1
    }

    /// The program in its proper order.
    pub fn finish(mut self) -> Vec<Instruction> {
        self.reversed.reverse();
        self.reversed
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Want {
    No,
    Jump,
    Load,
}
