//! What a profile denies, counted: the denials of one run are notified to us, and answered as the profile says.
//!
//! The program keeps its shape; only its returns of an errno become notifications. Which errno a call was to get is
//! worked out again by running the original program on it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use serde::Serialize;

use super::bpf::{self, Instruction};
use super::profile::{FLAG_NEW_LISTENER, ret};
use super::{Arch, Filter, X32_BIT, explain, table};
use crate::spec::{Problem, Seccomp};
use crate::sys::notify::{self, Call};

/// Most kinds of denials that are counted: more than there are calls. A program may make up numbers without end.
const MOST: usize = 4096;

/// A system call that was denied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Denied {
    /// Its name, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syscall: Option<&'static str>,
    /// Its number.
    pub number: u32,
    /// `SCMP_ARCH_…` it was made for, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<&'static str>,
    /// The errno it got.
    pub errno: u32,
    /// How often.
    pub count: u64,
}

/// Answers for one container, until nothing in it is left.
pub struct Reporter {
    listener: OwnedFd,
    program: Vec<Instruction>,
}

impl Filter {
    /// The same filter with its denials notified. `profile` is what it was compiled from.
    pub(crate) fn reporting(&self, profile: &Seccomp) -> Result<Filter, Vec<Problem>> {
        let problem = |pointer: &str, message: &str| Err(vec![Problem::new(pointer, message)]);
        if self.notify {
            return problem("/linux/seccomp/listenerPath", "a profile that notifies somebody cannot be reported on");
        }
        // The stage writes once between loading the filter and the moment somebody answers.
        let write = explain(profile, Arch::native(), "write", &[])?;
        if write.iter().flat_map(|on| &on.outcomes).any(|outcome| outcome.action == "SCMP_ACT_ERRNO") {
            return problem("/linux/seccomp/syscalls", "a profile that denies write cannot be reported on");
        }
        let mut filter = self.clone();
        for instruction in &mut filter.program {
            if instruction.code == bpf::RETURN && instruction.k & ret::ACTION_FULL == ret::ERRNO {
                instruction.k = ret::NOTIFY;
            }
        }
        filter.flags |= FLAG_NEW_LISTENER;
        filter.notify = true;
        Ok(filter)
    }
}

impl Reporter {
    pub(crate) fn new(listener: OwnedFd, original: &Filter) -> Self {
        Self { listener, program: original.program.clone() }
    }

    /// Answers until the last process under the filter has ended, and tells what was denied, the most frequent
    /// first. Blocks: for a thread of its own.
    pub fn serve(self) -> io::Result<Vec<Denied>> {
        let mut counts: BTreeMap<(u32, u32, u32), u64> = BTreeMap::new();
        while let Some((id, call)) = notify::next(self.listener.as_fd())? {
            let verdict = verdict(&self.program, &call).unwrap_or(ret::ERRNO | libc::ENOSYS as u32);
            let errno = verdict & !ret::ACTION_FULL;
            let kind = (call.arch, call.nr, errno);
            if counts.len() < MOST || counts.contains_key(&kind) {
                *counts.entry(kind).or_default() += 1;
            }
            notify::deny(self.listener.as_fd(), id, errno)?;
        }
        let denied = |((audit, number, errno), count)| {
            let arch = arch(audit, number);
            let syscall = arch.and_then(|arch| table::name(arch, number));
            Denied { syscall, number, architecture: arch.map(Arch::name), errno, count }
        };
        let mut all: Vec<Denied> = counts.into_iter().map(denied).collect();
        all.sort_by_key(|denied| std::cmp::Reverse(denied.count));
        Ok(all)
    }
}

fn arch(audit: u32, number: u32) -> Option<Arch> {
    let x32 = audit == Arch::X32.audit() && number & X32_BIT != 0;
    Arch::ALL.iter().copied().find(|arch| arch.audit() == audit && (*arch == Arch::X32) == x32)
}

/// Runs the program as the kernel would. `None`: it is not one of ours.
fn verdict(program: &[Instruction], call: &Call) -> Option<u32> {
    let (mut a, mut at) = (0_u32, 0_usize);
    loop {
        let instruction = program.get(at)?;
        let k = instruction.k;
        let jump = |taken: bool| usize::from(if taken { instruction.jt } else { instruction.jf });
        at += 1 + match instruction.code {
            bpf::RETURN => return Some(k),
            bpf::LOAD => {
                a = call.word(k)?;
                0
            }
            bpf::AND => {
                a &= k;
                0
            }
            bpf::JUMP => k as usize,
            bpf::JUMP_EQ => jump(a == k),
            bpf::JUMP_GT => jump(a > k),
            bpf::JUMP_GE => jump(a >= k),
            _ => return None,
        };
    }
}

impl Call {
    /// The word at an offset of `struct seccomp_data`, in this machine's byte order.
    fn word(&self, offset: u32) -> Option<u32> {
        match offset {
            bpf::NR => return Some(self.nr),
            bpf::ARCH => return Some(self.arch),
            _ => {}
        }
        let at = offset.checked_sub(16)?;
        let bytes = self.args.get(at as usize / 8)?.to_ne_bytes();
        let half = if at % 8 == 0 { bytes.first_chunk() } else { bytes.last_chunk() };
        half.map(|half| u32::from_ne_bytes(*half))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::machine::{self, Machine, Random};
    use super::super::tests::random;
    use super::*;

    #[test]
    fn the_verdict_is_that_of_the_test_machine() {
        let mut random = Random(0x5e_9021);
        for _ in 0..200 {
            let profile = random::profile(&mut random, Arch::native());
            let Ok(filter) = super::super::compile(&profile, Arch::native()) else { continue };
            let machine = Machine::new(&filter.bytes(), cfg!(target_endian = "big"));
            for _ in 0..50 {
                let (nr, arch) = (random.below(480) as u32, random.pick(Arch::ALL).audit());
                let args = std::array::from_fn(|_| *random.pick(random::VALUES));
                let expected = machine.run(&machine::Call { nr, arch, args });
                assert_eq!(verdict(&filter.program, &Call { nr, arch, args }), Some(expected));
            }
        }
    }

    #[test]
    fn what_cannot_be_reported_on() {
        let refused = |json: &str| {
            let profile: Seccomp = serde_json::from_str(json).expect("a profile");
            let filter = super::super::compile(&profile, Arch::native()).expect("a filter");
            filter.reporting(&profile).expect_err("refused").remove(0).pointer
        };
        assert_eq!(refused(r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#), "/linux/seccomp/syscalls");
        assert_eq!(
            refused(
                r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/a","syscalls":[{"names":["read"],"action":"SCMP_ACT_NOTIFY"}]}"#
            ),
            "/linux/seccomp/listenerPath"
        );
    }
}
