//! A classic BPF machine with the checks of the kernel (net/core/filter.c bpf_check_classic,
//! kernel/seccomp.c seccomp_check_filter), for programs as bytes. Shared by unit and integration tests.

/// What a filter sees.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call {
    pub nr: u32,
    pub arch: u32,
    pub args: [u64; 6],
}

pub struct Machine {
    program: Vec<(u16, u8, u8, u32)>,
    big_endian: bool,
}

impl Machine {
    /// Refuses what the kernel would refuse.
    pub fn new(bytes: &[u8], big_endian: bool) -> Machine {
        assert!(bytes.len().is_multiple_of(8) && !bytes.is_empty() && bytes.len() <= 4096 * 8, "{} bytes", bytes.len());
        let u16_at = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        let program: Vec<_> =
            (0..bytes.len()).step_by(8).map(|at| (u16_at(at), bytes[at + 2], bytes[at + 3], u32_at(at + 4))).collect();
        for (at, &(code, jt, jf, k)) in program.iter().enumerate() {
            let within =
                |offset: u32| assert!(at + 1 + (offset as usize) < program.len(), "jump out of program at {at}");
            match code {
                0x20 => assert!(k < 64 && k % 4 == 0, "load of {k} at {at}"),
                0x54 | 0x06 => {}
                0x05 => within(k),
                0x15 | 0x25 | 0x35 | 0x45 => {
                    within(jt.into());
                    within(jf.into());
                }
                other => panic!("instruction {other:#x} at {at}"),
            }
        }
        assert_eq!(program.last().unwrap().0, 0x06, "a program ends with a return");
        Machine { program, big_endian }
    }

    pub fn len(&self) -> usize {
        self.program.len()
    }

    pub fn run(&self, call: &Call) -> u32 {
        self.trace(call).0
    }

    /// The result and the number of instructions it took.
    pub fn trace(&self, call: &Call) -> (u32, usize) {
        let (mut a, mut at, mut steps) = (0_u32, 0, 0);
        loop {
            let (code, jt, jf, k) = self.program[at];
            at += 1;
            steps += 1;
            let mut jump = |taken: bool| at += usize::from(if taken { jt } else { jf });
            match code {
                0x20 => a = self.word(call, k),
                0x54 => a &= k,
                0x06 => return (k, steps),
                0x05 => at += k as usize,
                0x15 => jump(a == k),
                0x25 => jump(a > k),
                0x35 => jump(a >= k),
                0x45 => jump(a & k != 0),
                _ => unreachable!(),
            }
        }
    }

    fn word(&self, call: &Call, offset: u32) -> u32 {
        match offset {
            0 => call.nr,
            4 => call.arch,
            8 | 12 => 0,
            _ => {
                let (arg, second) = ((offset - 16) / 8, offset % 8 == 4);
                let value = call.args[arg as usize];
                if second == self.big_endian { value as u32 } else { (value >> 32) as u32 }
            }
        }
    }
}

/// xorshift64*: small, and the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, end: usize) -> usize {
        ((self.next() >> 16) % end as u64) as usize
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}
