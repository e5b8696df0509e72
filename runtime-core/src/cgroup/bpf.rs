//! Device rules → a BPF program of type `BPF_PROG_TYPE_CGROUP_DEVICE`. Pure.
//!
//! The program walks the rules from the last to the first. It keeps the bits of the access that no rule has
//! decided yet; a denial of one of them ends it with 0, and once none is left it ends with 1. Jumps only go
//! forward, so the verifier needs one pass.
//!
//! Context (`struct bpf_cgroup_dev_ctx`): access bits << 16 | type, major, minor; three 32-bit words.

use super::device::{Kind, Rule, access};

/// `BPF_DEVCG_DEV_BLOCK` and `BPF_DEVCG_DEV_CHAR`.
const BLOCK: i32 = 1;
const CHAR: i32 = 2;

/// Registers: result, context, then what is compared.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const PENDING: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

/// Operation codes (linux/bpf_common.h, linux/bpf.h); all 32 bits wide.
const LOAD_WORD: u8 = 0x61; // LDX | MEM | W
const MOVE_IMM: u8 = 0xb4; // ALU | MOV | K
const MOVE_REG: u8 = 0xbc; // ALU | MOV | X
const AND_IMM: u8 = 0x54; // ALU | AND | K
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
        insn(MOVE_REG, PENDING, KIND, 0, 0),
        insn(AND_IMM, KIND, 0, 0, 0xffff),
        insn(SHIFT_RIGHT, PENDING, 0, 0, 16),
        insn(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        insn(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().skip(1).rev() {
        block(&mut code, rule);
    }
    end(&mut code, rules.first().is_some_and(|rule| rule.allow));
    code
}

/// One rule: conditions that jump past the block, then the verdict.
fn block(code: &mut Vec<u64>, rule: &Rule) {
    let mut verdict = Vec::new();
    match (rule.allow, rule.access) {
        (allow, access::ALL) => end(&mut verdict, allow),
        (true, some) => {
            verdict.push(insn(AND_IMM, PENDING, 0, 0, i32::from(access::ALL & !some)));
            verdict.push(insn(JUMP_OTHER, PENDING, 0, 2, 0));
            end(&mut verdict, true);
        }
        (false, some) => {
            verdict.push(insn(MOVE_REG, SCRATCH, PENDING, 0, 0));
            verdict.push(insn(AND_IMM, SCRATCH, 0, 0, i32::from(some)));
            verdict.push(insn(JUMP_EQUAL, SCRATCH, 0, 2, 0));
            end(&mut verdict, false);
        }
    }
    let kind = rule.kind.map(|kind| match kind {
        Kind::Block => BLOCK,
        Kind::Char => CHAR,
    });
    // The jump compares 32 bits, so a number above i32::MAX keeps its bits in the signed operand.
    let number = |n: Option<u32>| n.map(u32::cast_signed);
    let conditions: Vec<(u8, i32)> = [(KIND, kind), (MAJOR, number(rule.major)), (MINOR, number(rule.minor))]
        .into_iter()
        .filter_map(|(register, value)| Some((register, value?)))
        .collect();
    for (at, (register, value)) in conditions.iter().enumerate() {
        let past = conditions.len() - at - 1 + verdict.len();
        // At most 2 conditions and 5 instructions are jumped over.
        code.push(insn(JUMP_OTHER, *register, 0, past as i16, *value));
    }
    code.extend(verdict);
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
        assert!(code.len() < 80, "{} instructions", code.len());
    }
}
