//! The block: the memory parent and stage share for the time of a launch.
//!
//! A page of words (the flight recorder, the descriptor table), the plan's bytes, and scratch room for the
//! pointer vectors of execve(2). The parent fills it before the stage exists; afterwards the stage writes the
//! recorder and the scratch, and the parent only [`word::IGNORED_SIGNALS`].

use core::sync::atomic::{AtomicU32, Ordering};

use super::map_shared;
use crate::fail::{Fail, Refusal, Result};

/// Offsets of the block's words, in bytes.
#[allow(missing_docs)]
pub mod word {
    /// Number of the step being done.
    pub const STEP: usize = 0;
    /// Element of the step's list being done.
    pub const INDEX: usize = 4;
    /// 1 once the three below say why the stage gave up.
    pub const FAILED: usize = 8;
    pub const CALL: usize = 12;
    pub const ERRNO: usize = 16;
    pub const DETAIL: usize = 20;
    /// Signals 1 to 31 the process ignores (bit 0 is signal 1), once bit 31 is set.
    pub const IGNORED_SIGNALS: usize = 24;
    /// Descriptor of the message socket.
    pub const SOCKET: usize = 28;
    /// Descriptor of the block itself, -1 if it is not to be kept.
    pub const SELF: usize = 32;
    /// Number of slots; their descriptors follow at [`SLOTS`].
    pub const SLOT_COUNT: usize = 36;
    /// Where the plan is, and its length.
    pub const PLAN: usize = 40;
    pub const PLAN_LENGTH: usize = 44;
    /// Where the scratch room is, 8-byte aligned, and its length.
    pub const SCRATCH: usize = 48;
    pub const SCRATCH_LENGTH: usize = 52;
    /// Where the [note](super::Block::note) is; 0: there is none.
    pub const NOTE: usize = 56;
    /// 1 once a hook's process says in the three words above why it did not become the hook.
    pub const HOOK_FAILED: usize = 60;
    /// Where the times of steps go; 0: none are taken. And how many were.
    pub const TIMELINE: usize = 64;
    pub const TIMELINE_COUNT: usize = 68;
    /// 1: the program may begin without asking.
    pub const MAY_BEGIN: usize = 72;
    /// The slots' descriptors, one word each.
    pub const SLOTS: usize = 76;
}

/// Most bytes of a [note](Block::note).
pub const NOTE_MOST: usize = 2048;
/// Room a note takes in the block.
pub const NOTE_ROOM: usize = 8 + NOTE_MOST;

/// Bytes of a time: step, index, and nanoseconds of CLOCK_MONOTONIC in two words.
pub const STAMP: usize = 16;
/// Most times that are kept.
pub const STAMPS: usize = 1024;

/// A mapped block.
#[derive(Clone, Copy)]
pub struct Block {
    base: *mut u8,
    length: usize,
}

impl Block {
    /// Maps the block of `length` bytes behind `fd`.
    pub fn map(fd: i32, length: usize) -> Option<Self> {
        let base = map_shared(fd, length).ok()?;
        (length > word::SLOTS).then_some(Self { base, length })
    }

    /// A block that is mapped already.
    ///
    /// # Safety
    /// `base` must point to `length` bytes, page-aligned, mapped for as long as the value is used, which only
    /// this type accesses meanwhile.
    pub const unsafe fn at(base: *mut u8, length: usize) -> Self {
        Self { base, length }
    }

    fn word(&self, at: usize) -> Option<&AtomicU32> {
        if at + 4 > self.length || !at.is_multiple_of(4) {
            return None;
        }
        // SAFETY: the four bytes lie inside the mapping (checked), are aligned (the base is page-aligned, `at`
        // a multiple of four), and are only ever accessed as atomics, by both processes.
        Some(unsafe { AtomicU32::from_ptr(self.base.add(at).cast()) })
    }

    /// Reads a word; 0 outside the block.
    pub fn get(&self, at: usize) -> u32 {
        self.word(at).map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// Writes a word.
    pub fn set(&self, at: usize, value: u32) {
        if let Some(word) = self.word(at) {
            word.store(value, Ordering::Release);
        }
    }

    /// Keeps the time at which a step was begun.
    pub fn stamp(&self, step: u32, index: u32, nanoseconds: u64) {
        let count = self.get(word::TIMELINE_COUNT) as usize;
        if count >= STAMPS {
            return;
        }
        let at = self.get(word::TIMELINE) as usize + count * STAMP;
        let words = [step, index, nanoseconds as u32, (nanoseconds >> 32) as u32];
        for (word, offset) in words.into_iter().zip([0, 4, 8, 12]) {
            self.set(at + offset, word);
        }
        self.set(word::TIMELINE_COUNT, count as u32 + 1);
    }

    /// Leaves the end of a hook's output for the parent: how long the hook took in milliseconds, how many bytes,
    /// and the bytes.
    pub fn note(&self, milliseconds: u32, bytes: impl Iterator<Item = u8>) {
        let at = self.get(word::NOTE) as usize;
        if at == 0 {
            return;
        }
        let (mut length, mut filled) = (0, 0_u32);
        for byte in bytes.take(NOTE_MOST) {
            filled |= u32::from(byte) << (length % 4 * 8);
            self.set(at + 8 + length / 4 * 4, filled);
            length += 1;
            filled = if length.is_multiple_of(4) { 0 } else { filled };
        }
        self.set(at, milliseconds);
        self.set(at + 4, length as u32);
    }

    /// The milliseconds and the length of the note, and its bytes, by index.
    pub fn noted(&self) -> (u32, usize) {
        let at = self.get(word::NOTE) as usize;
        if at == 0 { (0, 0) } else { (self.get(at), (self.get(at + 4) as usize).min(NOTE_MOST)) }
    }

    /// Byte `index` of the note.
    pub fn noted_byte(&self, index: usize) -> u8 {
        let at = self.get(word::NOTE) as usize + 8 + index / 4 * 4;
        (self.get(at) >> (index % 4 * 8)) as u8
    }

    /// The plan's bytes.
    pub fn plan(&self) -> &'static [u8] {
        let (at, length) = (self.get(word::PLAN) as usize, self.get(word::PLAN_LENGTH) as usize);
        if at > self.length || length > self.length - at {
            return &[];
        }
        // SAFETY: the range lies inside the mapping (checked), which lives until execve(2) or exit; nobody
        // writes there once the stage runs.
        unsafe { core::slice::from_raw_parts(self.base.add(at), length) }
    }

    /// Room for `count` pointers in the scratch area, starting `skip` pointers in.
    pub fn pointers(&self, skip: usize, count: usize) -> Result<&'static mut [*const u8]> {
        let at = self.get(word::SCRATCH) as usize + skip * 8;
        let end = at + count * 8;
        let limit = (self.get(word::SCRATCH) + self.get(word::SCRATCH_LENGTH)) as usize;
        if end > limit || limit > self.length || !at.is_multiple_of(8) {
            return Err(Fail::refuse(Refusal::BadPlan));
        }
        // SAFETY: the range lies inside the mapping (checked) and is aligned; argv and envp take disjoint parts
        // of the scratch area, once each, right before execve(2). A hook's process, which shares the mapping, does
        // so while the stage waits for it and uses none of it.
        Ok(unsafe { core::slice::from_raw_parts_mut(self.base.add(at).cast(), count) })
    }
}
