//! Device rules → a BPF program of type `BPF_PROG_TYPE_CGROUP_DEVICE`. Pure.
//!
//! What the ordered list says about a device, the last rule deciding each bit of the access, is worked out here, so that
//! the program only finds the device: by kind, by major, by minor. At the end of each way stands the set of
//! accesses that are allowed. Few conditions matter: the kernel checks the program at every start of a
//! container, and pays for each.
//!
//! Context (`struct bpf_cgroup_dev_ctx`): access bits << 16 | type, major, minor; three 32-bit words.

use super::device::{Kind, Rule, access};

/// `BPF_DEVCG_DEV_BLOCK`; anything else is a character device.
const BLOCK: i32 = 1;

/// Registers: result, context, then what is compared.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

/// Operation codes (linux/bpf_common.h, linux/bpf.h); all 32 bits wide.
const LOAD_WORD: u8 = 0x61; // LDX | MEM | W
const MOVE_IMM: u8 = 0xb4; // ALU | MOV | K
const MOVE_REG: u8 = 0xbc; // ALU | MOV | X
const AND_IMM: u8 = 0x54; // ALU | AND | K
const SHIFT_LEFT_REG: u8 = 0x6c; // ALU | LSH | X
const SHIFT_RIGHT: u8 = 0x74; // ALU | RSH | K
const JUMP: u8 = 0x05; // JMP | JA
const JUMP_EQUAL: u8 = 0x16; // JMP32 | JEQ | K
const JUMP_OTHER: u8 = 0x56; // JMP32 | JNE | K
const JUMP_ABOVE: u8 = 0x26; // JMP32 | JGT | K
const EXIT: u8 = 0x95; // JMP | EXIT

/// `struct bpf_insn` as one word in the machine's byte order.
fn insn(code: u8, target: u8, source: u8, offset: i16, imm: i32) -> u64 {
    // The two registers are bit fields of one byte, which the compiler of a big-endian kernel swaps.
    let registers = if cfg!(target_endian = "little") { source << 4 | target } else { target << 4 | source };
    let [o0, o1] = offset.to_ne_bytes();
    let [i0, i1, i2, i3] = imm.to_ne_bytes();
    u64::from_ne_bytes([code, registers, o0, o1, i0, i1, i2, i3])
}

/// Bits of the access that are allowed.
type Mask = u8;

/// What is said about the devices of one kind, or of one kind and major: some numbers apart, and all the others.
#[derive(Debug, PartialEq, Eq)]
struct Split<T> {
    apart: Vec<(u32, T)>,
    others: T,
}

impl<T: PartialEq> Split<T> {
    fn new(mut numbers: Vec<u32>, say: impl Fn(Option<u32>) -> T) -> Self {
        numbers.sort_unstable();
        numbers.dedup();
        let others = say(None);
        let apart = numbers.into_iter().map(|number| (number, say(Some(number)))).filter(|(_, said)| *said != others);
        Self { apart: apart.collect(), others }
    }
}

/// By minor.
type Minors = Split<Mask>;
/// By major, then by minor.
type Majors = Split<Minors>;

/// What the list says about devices of `kind`.
fn majors(rules: &[Rule], kind: Kind) -> Majors {
    let rules: Vec<&Rule> = rules.iter().filter(|rule| rule.kind.is_none_or(|its| its == kind)).collect();
    Split::new(rules.iter().filter_map(|rule| rule.major).collect(), |major| minors(&rules, major))
}

/// What it says about one major, or about all that no rule names.
fn minors(rules: &[&Rule], major: Option<u32>) -> Minors {
    let rules: Vec<&Rule> =
        rules.iter().copied().filter(|rule| rule.major.is_none_or(|its| Some(its) == major)).collect();
    Split::new(rules.iter().filter_map(|rule| rule.minor).collect(), |minor| {
        let about = rules.iter().filter(|rule| rule.minor.is_none_or(|its| Some(its) == minor));
        about.fold(0, |mask, rule| if rule.allow { mask | rule.access } else { mask & !rule.access })
    })
}

/// The program for an ordered list whose first rule is about everything; `None`: it would jump too far.
pub(super) fn program(rules: &[Rule]) -> Option<Vec<u64>> {
    let mut code = Code::default();
    code.push(insn(LOAD_WORD, KIND, CONTEXT, 0, 0));
    code.push(insn(MOVE_REG, ACCESS, KIND, 0, 0));
    code.push(insn(SHIFT_RIGHT, ACCESS, 0, 0, 16));
    code.push(insn(LOAD_WORD, MAJOR, CONTEXT, 4, 0));
    code.push(insn(LOAD_WORD, MINOR, CONTEXT, 8, 0));
    let (char, block) = (majors(rules, Kind::Char), majors(rules, Kind::Block));
    if char == block {
        code.by_major(&char);
    } else {
        code.push(insn(AND_IMM, KIND, 0, 0, 0xffff));
        let elsewhere = code.label();
        code.jump(JUMP_EQUAL, KIND, BLOCK, elsewhere);
        code.by_major(&char);
        code.bind(elsewhere);
        code.by_major(&block);
    }
    code.finish()
}

/// A place in the program, known before it is reached.
#[derive(Clone, Copy)]
struct Label(usize);

/// The first labels: what becomes of an access when this set is allowed.
const fn verdict(mask: Mask) -> Label {
    Label(mask as usize)
}

/// A program under construction.
struct Code {
    words: Vec<u64>,
    /// Where each label stands.
    labels: Vec<Option<usize>>,
    /// Jumps by their place, operation, register, operand and aim.
    jumps: Vec<(usize, u8, u8, i32, Label)>,
}

impl Default for Code {
    fn default() -> Self {
        Self { words: Vec::new(), labels: vec![None; usize::from(access::ALL) + 1], jumps: Vec::new() }
    }
}

impl Code {
    fn push(&mut self, word: u64) {
        self.words.push(word);
    }

    fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    fn bind(&mut self, label: Label) {
        self.labels[label.0] = Some(self.words.len());
    }

    /// All jumps go forward, so the verifier needs one pass.
    fn jump(&mut self, operation: u8, register: u8, operand: i32, aim: Label) {
        self.jumps.push((self.words.len(), operation, register, operand, aim));
        self.words.push(0);
    }

    fn by_major(&mut self, split: &Majors) {
        let ways: Vec<(Label, &Minors)> = split
            .apart
            .iter()
            .map(|(major, said)| {
                let way = if said.apart.is_empty() { verdict(said.others) } else { self.label() };
                // The jump compares 32 bits, so a number above i32::MAX keeps its bits in the signed operand.
                self.jump(JUMP_EQUAL, MAJOR, major.cast_signed(), way);
                (way, said)
            })
            .collect();
        self.by_minor(&split.others);
        for (way, said) in ways.into_iter().filter(|(_, said)| !said.apart.is_empty()) {
            self.bind(way);
            self.by_minor(said);
        }
    }

    fn by_minor(&mut self, split: &Minors) {
        for mask in 0..=access::ALL {
            let numbers: Vec<u32> = split.apart.iter().filter(|(_, its)| *its == mask).map(|(n, _)| *n).collect();
            let (low, high): (Vec<u32>, Vec<u32>) = numbers.into_iter().partition(|n| *n < u32::BITS);
            // Two conditions for a set of small numbers, else one for each.
            if low.len() > 2 {
                self.one_of(low.iter().fold(0, |set, n| set | 1 << n), verdict(mask));
            }
            let single = if low.len() > 2 { &[][..] } else { &low };
            for number in single.iter().chain(&high) {
                self.jump(JUMP_EQUAL, MINOR, number.cast_signed(), verdict(mask));
            }
        }
        self.jump(JUMP, 0, 0, verdict(split.others));
    }

    /// Jumps if the minor is in a set of numbers below 32.
    fn one_of(&mut self, set: u32, aim: Label) {
        let past = self.label();
        self.jump(JUMP_ABOVE, MINOR, 31, past);
        self.push(insn(MOVE_IMM, SCRATCH, 0, 0, 1));
        self.push(insn(SHIFT_LEFT_REG, SCRATCH, MINOR, 0, 0));
        self.push(insn(AND_IMM, SCRATCH, 0, 0, set.cast_signed()));
        self.jump(JUMP_OTHER, SCRATCH, 0, aim);
        self.bind(past);
    }

    /// Adds the verdicts that are aimed at, and fills in how far each jump goes.
    fn finish(mut self) -> Option<Vec<u64>> {
        // The verifier refuses what nothing leads to. A set that is not everything leads to the two that are last.
        for mask in (1..=access::ALL).chain([0]) {
            if !self.jumps.iter().any(|jump| jump.4.0 == verdict(mask).0) {
                continue;
            }
            self.bind(verdict(mask));
            if matches!(mask, 0 | access::ALL) {
                self.push(insn(MOVE_IMM, RESULT, 0, 0, i32::from(mask == access::ALL)));
                self.push(insn(EXIT, 0, 0, 0, 0));
            } else {
                self.push(insn(AND_IMM, ACCESS, 0, 0, i32::from(access::ALL & !mask)));
                self.jump(JUMP_EQUAL, ACCESS, 0, verdict(access::ALL));
                self.jump(JUMP, 0, 0, verdict(0));
            }
        }
        for (at, operation, register, operand, aim) in self.jumps {
            let offset = i16::try_from(self.labels[aim.0]? - at - 1).ok()?;
            self.words[at] = insn(operation, register, 0, offset, operand);
        }
        Some(self.words)
    }
}

#[cfg(test)]
mod tests {
    use super::super::device::tests::{for_many_lists, rules};
    use super::*;

    const CHAR: i32 = 2;

    /// Runs a program as the kernel would.
    fn run(code: &[u64], kind: Kind, major: u32, minor: u32, access: u8) -> bool {
        let kind = if kind == Kind::Block { BLOCK } else { CHAR } as u32;
        let context = [u32::from(access) << 16 | kind, major, minor];
        let (mut registers, mut at) = ([0u32; 10], 0);
        loop {
            let [op, regs, o0, o1, imm @ ..] = code[at].to_ne_bytes();
            let (target, source) = ((regs & 15) as usize, (regs >> 4) as usize);
            let (offset, imm) = (i16::from_ne_bytes([o0, o1]) as usize, u32::from_ne_bytes(imm));
            at += 1;
            match op {
                LOAD_WORD => registers[target] = context[offset / 4],
                MOVE_IMM => registers[target] = imm,
                MOVE_REG => registers[target] = registers[source],
                AND_IMM => registers[target] &= imm,
                SHIFT_RIGHT => registers[target] >>= imm,
                SHIFT_LEFT_REG => registers[target] <<= registers[source],
                JUMP => at += offset,
                JUMP_ABOVE if registers[target] > imm => at += offset,
                JUMP_EQUAL if registers[target] == imm => at += offset,
                JUMP_OTHER if registers[target] != imm => at += offset,
                JUMP_EQUAL | JUMP_OTHER | JUMP_ABOVE => {}
                EXIT => return registers[RESULT as usize] == 1,
                other => panic!("unknown operation {other:#x}"),
            }
        }
    }

    #[test]
    fn the_program_decides_as_the_list() {
        for_many_lists(|list, short, (kind, major, minor, access), allowed| {
            assert_eq!(run(&program(list).expect("short"), kind, major, minor, access), allowed, "{list:?}");
            assert_eq!(run(&program(short).expect("short"), kind, major, minor, access), allowed, "{short:?}");
        });
    }

    #[test]
    fn the_default_program() {
        let code = program(&rules(&[])).expect("short");
        assert!(run(&code, Kind::Char, 1, 3, access::ALL));
        assert!(run(&code, Kind::Char, 136, 77, access::READ | access::WRITE));
        assert!(run(&code, Kind::Block, 8, 0, access::MKNOD));
        assert!(!run(&code, Kind::Block, 8, 0, access::READ));
        assert!(!run(&code, Kind::Block, 1, 3, access::READ));
        assert!(!run(&code, Kind::Char, 1, 1, access::MKNOD | access::READ));
        assert!(code.len() < 40, "{} instructions", code.len());
    }
}
