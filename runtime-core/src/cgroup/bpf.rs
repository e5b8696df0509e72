//! Device rules → a BPF program of type `BPF_PROG_TYPE_CGROUP_DEVICE`. Pure.
//!
//! The program walks the rules from the last to the first. It keeps the bits of the access that no rule has
//! decided yet; a denial of one of them ends it with 0, and once none is left it ends with 1. Jumps only go
//! forward, so the verifier needs one pass.
//!
//! What is compared with one number after the other is never narrowed down and compared again: the verifier would
//! follow each outcome by itself. So the kind is asked for once for neighbours of one kind, major and minor together
//! are one number, and neighbours with the same verdict share it. The default rules are verified in a third of the time
//! that a block with three comparisons for each rule takes, and that was a quarter of a millisecond of every start.
//!
//! Context (`struct bpf_cgroup_dev_ctx`): access bits << 16 | type, major, minor; three 32-bit words.

use super::device::{Kind, Rule, access};

/// Bits of a major and of a minor number in the kernel's `dev_t`.
const MAJOR_BITS: u32 = 12;
const MINOR_BITS: u32 = 20;
/// How many rules of one kind are jumped over at once: at most five instructions each, so that 16 bits are enough.
const NEIGHBOURS: usize = 4096;

/// `BPF_DEVCG_DEV_BLOCK` and `BPF_DEVCG_DEV_CHAR`.
const BLOCK: i32 = 1;
const CHAR: i32 = 2;

/// Registers. Result and context, which are needed last and first only, serve for something else in between.
const RESULT: u8 = 0;
const DEVICE: u8 = 0;
const CONTEXT: u8 = 1;
const SCRATCH: u8 = 1;
const KIND: u8 = 2;
const PENDING: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// Operation codes (linux/bpf_common.h, linux/bpf.h); all 32 bits wide.
const LOAD_WORD: u8 = 0x61; // LDX | MEM | W
const MOVE_IMM: u8 = 0xb4; // ALU | MOV | K
const MOVE_REG: u8 = 0xbc; // ALU | MOV | X
const AND_IMM: u8 = 0x54; // ALU | AND | K
const OR_REG: u8 = 0x4c; // ALU | OR | X
const SHIFT_LEFT: u8 = 0x64; // ALU | LSH | K
const SHIFT_RIGHT: u8 = 0x74; // ALU | RSH | K
const JUMP_EQUAL: u8 = 0x16; // JMP32 | JEQ | K
const JUMP_OTHER: u8 = 0x56; // JMP32 | JNE | K
const EXIT: u8 = 0x95; // JMP | EXIT

/// `struct bpf_insn` as one word in the machine's byte order.
fn insn(code: u8, target: u8, source: u8, offset: i16, imm: i32) -> u64 {
    // The two registers are bit fields of one byte, which the compiler of a big-endian kernel swaps.
    let registers = if cfg!(target_endian = "little") { source << 4 | target } else { target << 4 | source };
    let [o0, o1] = offset.to_ne_bytes();
    let [i0, i1, i2, i3] = imm.to_ne_bytes();
    u64::from_ne_bytes([code, registers, o0, o1, i0, i1, i2, i3])
}

/// The program for an ordered list whose first rule is about everything.
pub(super) fn program(rules: &[Rule]) -> Vec<u64> {
    let mut code = vec![
        insn(LOAD_WORD, KIND, CONTEXT, 0, 0),
        insn(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        insn(LOAD_WORD, MINOR, CONTEXT, 8, 0),
        insn(MOVE_REG, PENDING, KIND, 0, 0),
        insn(AND_IMM, KIND, 0, 0, 0xffff),
        insn(SHIFT_RIGHT, PENDING, 0, 0, 16),
        insn(MOVE_REG, DEVICE, MAJOR, 0, 0),
        insn(SHIFT_LEFT, DEVICE, 0, 0, MINOR_BITS as i32),
        insn(OR_REG, DEVICE, MINOR, 0, 0),
    ];
    for kind in backwards(rules).chunk_by(|a, b| a.kind == b.kind) {
        kind.chunks(NEIGHBOURS).for_each(|neighbours| of_one_kind(&mut code, neighbours));
    }
    end(&mut code, rules.first().is_some_and(|rule| rule.allow));
    code
}

/// The rules but the first, last first; two neighbours that differ in the kind alone are one.
fn backwards(rules: &[Rule]) -> Vec<Rule> {
    let mut out: Vec<Rule> = Vec::with_capacity(rules.len());
    for rule in rules.iter().skip(1).rev() {
        let either = Rule { kind: None, ..*rule };
        match out.last_mut() {
            Some(last) if last.kind.is_some() && last.kind != rule.kind && Rule { kind: None, ..*last } == either => {
                *last = either;
            }
            _ => out.push(*rule),
        }
    }
    out
}

/// Rules with the same kind, which is asked for once.
fn of_one_kind(code: &mut Vec<u64>, rules: &[Rule]) {
    let mut body = Vec::new();
    let whole = |rule: &Rule| rule.access == access::ALL;
    for same in rules.chunk_by(|a, b| whole(a) && whole(b) && a.allow == b.allow) {
        match same {
            [rule] if !whole(rule) => part(&mut body, rule),
            _ => verdict(&mut body, same),
        }
    }
    let kind = rules.first().and_then(|rule| rule.kind).map(|kind| match kind {
        Kind::Block => BLOCK,
        Kind::Char => CHAR,
    });
    if let Some(kind) = kind {
        // NEIGHBOURS keeps this within 16 bits.
        code.push(insn(JUMP_OTHER, KIND, 0, body.len() as i16, kind));
    }
    code.extend(body);
}

/// Which devices of its kind a rule is about.
#[derive(Clone, Copy, PartialEq)]
enum Test {
    Every,
    /// The one for which a register has this value.
    Equal(u8, i32),
    /// No device has such a number.
    None,
}

fn test(rule: &Rule) -> Test {
    // The jump compares 32 bits, so a number above i32::MAX keeps its bits in the signed operand.
    match (rule.major, rule.minor) {
        (Some(major), Some(minor)) if major >> MAJOR_BITS == 0 && minor >> MINOR_BITS == 0 => {
            Test::Equal(DEVICE, (major << MINOR_BITS | minor).cast_signed())
        }
        (Some(_), Some(_)) => Test::None,
        (Some(major), None) => Test::Equal(MAJOR, major.cast_signed()),
        (None, Some(minor)) => Test::Equal(MINOR, minor.cast_signed()),
        (None, None) => Test::Every,
    }
}

/// Rules about every access with the same verdict: each jumps to it, the last one past it.
fn verdict(code: &mut Vec<u64>, rules: &[Rule]) {
    let mut tests: Vec<Test> = rules.iter().map(test).filter(|test| *test != Test::None).collect();
    // What comes after a rule about every device is never asked.
    if let Some(every) = tests.iter().position(|test| *test == Test::Every) {
        tests.truncate(every + 1);
    }
    let Some(last) = tests.last().copied() else { return };
    let to_verdict = tests.len() - usize::from(last == Test::Every);
    for (at, test) in tests.iter().enumerate() {
        let Test::Equal(register, value) = *test else { continue };
        code.push(match at + 1 == tests.len() {
            true => insn(JUMP_OTHER, register, 0, 2, value),
            // NEIGHBOURS keeps this within 16 bits.
            false => insn(JUMP_EQUAL, register, 0, (to_verdict - at - 1) as i16, value),
        });
    }
    end(code, rules.first().is_some_and(|rule| rule.allow));
}

/// A rule about some accesses: what it does not decide is left to those before it.
fn part(code: &mut Vec<u64>, rule: &Rule) {
    let some = rule.access;
    let decide = match rule.allow {
        true => vec![insn(AND_IMM, PENDING, 0, 0, i32::from(access::ALL & !some)), insn(JUMP_OTHER, PENDING, 0, 2, 0)],
        false => vec![
            insn(MOVE_REG, SCRATCH, PENDING, 0, 0),
            insn(AND_IMM, SCRATCH, 0, 0, i32::from(some)),
            insn(JUMP_EQUAL, SCRATCH, 0, 2, 0),
        ],
    };
    match test(rule) {
        Test::None => return,
        Test::Every => {}
        Test::Equal(register, value) => code.push(insn(JUMP_OTHER, register, 0, decide.len() as i16 + 2, value)),
    }
    code.extend(decide);
    end(code, rule.allow);
}

fn end(code: &mut Vec<u64>, allow: bool) {
    code.push(insn(MOVE_IMM, RESULT, 0, 0, i32::from(allow)));
    code.push(insn(EXIT, 0, 0, 0, 0));
}

#[cfg(test)]
mod tests {
    use super::super::device::tests::{for_many_lists, rules};
    use super::*;

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
                OR_REG => registers[target] |= registers[source],
                SHIFT_LEFT => registers[target] <<= imm,
                SHIFT_RIGHT => registers[target] >>= imm,
                JUMP_EQUAL if registers[target] == imm => at += offset,
                JUMP_OTHER if registers[target] != imm => at += offset,
                JUMP_EQUAL | JUMP_OTHER => {}
                EXIT => return registers[RESULT as usize] == 1,
                other => panic!("unknown operation {other:#x}"),
            }
        }
    }

    #[test]
    fn the_program_decides_as_the_list() {
        for_many_lists(|list, short, (kind, major, minor, access), allowed| {
            assert_eq!(run(&program(list), kind, major, minor, access), allowed, "{list:?}");
            assert_eq!(run(&program(short), kind, major, minor, access), allowed, "{short:?}");
        });
    }

    #[test]
    fn the_default_program() {
        let code = program(&rules(&[]));
        assert!(run(&code, Kind::Char, 1, 3, access::ALL));
        assert!(run(&code, Kind::Char, 136, 77, access::READ | access::WRITE));
        assert!(run(&code, Kind::Block, 8, 0, access::MKNOD));
        assert!(!run(&code, Kind::Block, 8, 0, access::READ));
        assert!(!run(&code, Kind::Block, 1, 3, access::READ));
        assert!(!run(&code, Kind::Char, 1, 1, access::MKNOD | access::READ));
        assert!(code.len() < 30, "{} instructions", code.len());
    }

    /// More rules than a jump can pass, and numbers that no device has.
    #[test]
    fn many_rules_and_large_numbers() {
        let rule = |major: u32, minor: u32, access: u8| Rule {
            allow: true,
            kind: Some(Kind::Char),
            major: Some(major),
            minor: Some(minor),
            access,
        };
        for bits in [access::ALL, access::READ] {
            let mut list = vec![Rule { allow: false, kind: None, major: None, minor: None, access: access::ALL }];
            list.extend((0..20_000).map(|minor| rule(7, 2 * minor, bits)));
            list.extend([rule(4096 + 7, 1, bits), rule(7, 1 << MINOR_BITS, bits)]);
            let code = program(&list);
            for minor in [0, 2, 8000, 8192, 39_998] {
                assert!(run(&code, Kind::Char, 7, minor, bits), "{minor}");
                assert!(!run(&code, Kind::Block, 7, minor, bits), "{minor}");
                assert!(!run(&code, Kind::Char, 7, minor + 1, bits), "{minor}");
                assert!(!run(&code, Kind::Char, 8, minor, bits), "{minor}");
            }
        }
    }
}
