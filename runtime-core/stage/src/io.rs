//! Talking to the parent: the flight recorder, the message socket, the slots.

use crate::fail::{Fail, Refusal, Result, Step};
pub use crate::sys::Block;
use crate::sys::{self, NOTE_MOST, errno, word};
use crate::wire::NO_SLOT;

/// Kinds of message. Each is one packet of [`LENGTH`] bytes: kind, then two words of payload.
#[allow(missing_docs)]
pub mod message {
    /// Bytes of a packet.
    pub const LENGTH: usize = 16;
    /// To the parent: write my id maps.
    pub const MAP_IDS: u32 = 1;
    /// To the parent: everything is mounted, run the host's hooks.
    pub const HOST_HOOKS: u32 = 2;
    /// To the parent: the terminal's master, attached; the payload is its number.
    pub const CONSOLE: u32 = 3;
    /// To the parent: I continue in a child; its pidfd is attached, the payload is its pid.
    pub const FORKED: u32 = 4;
    /// To the parent: set the resource limits, I may not.
    pub const RLIMITS: u32 = 5;
    /// To the parent: a descriptor of the host's /proc is needed.
    pub const PROC: u32 = 6;
    /// To the parent: ready, waiting at the gate.
    pub const READY: u32 = 7;
    /// To the parent: the recorder says what went wrong.
    pub const FAILED: u32 = 8;
    /// To the parent: my network namespace is ready, move the devices in.
    pub const NET_DEVICES: u32 = 9;
    /// To the parent: the filter is loaded; the payload is my descriptor of its listener.
    pub const LISTENER: u32 = 10;
    /// To the parent: map the ids of the mount attached; the payload is its number.
    pub const MAP_MOUNT: u32 = 11;
    /// To the parent: it is this mount's turn, the payload is its number; the clone of its source is needed.
    pub const BIND: u32 = 12;
    /// To the stage: done, go on.
    pub const GO: u32 = 100;
}

/// Bytes of the report in the status fifo, before the note: step, index, call, errno, detail, milliseconds.
pub const REPORT: usize = 24;
/// Most bytes of the whole record: one atomic write (PIPE_BUF).
pub const RECORD: usize = REPORT + NOTE_MOST;

/// The stage's side of the launch.
pub struct Io {
    /// Memory shared with the parent.
    pub block: Block,
    /// Times are taken.
    timed: bool,
}

impl Io {
    /// Over a mapped block.
    pub fn new(block: Block) -> Self {
        Self { block, timed: block.get(word::TIMELINE) != 0 }
    }

    /// The message socket.
    pub fn socket(&self) -> i32 {
        self.block.get(word::SOCKET) as i32
    }

    /// Notes what is about to be done, before it is done.
    pub fn enter(&self, step: Step, index: u32) {
        self.block.set(word::INDEX, index);
        self.block.set(word::STEP, step as u32);
        if self.timed {
            self.block.stamp(step as u32, index, sys::monotonic());
        }
    }

    /// The descriptor in a slot.
    pub fn slot(&self, slot: u32) -> Result<i32> {
        if slot == NO_SLOT || slot >= self.block.get(word::SLOT_COUNT) {
            return Err(Fail::refuse(Refusal::BadPlan));
        }
        Ok(self.block.get(word::SLOTS + 4 * slot as usize) as i32)
    }

    /// Tells the parent something.
    pub fn tell(&self, kind: u32, payload: u64) -> Result<()> {
        sys::write(self.socket(), &packet(kind, payload)).map(drop)
    }

    /// Tells the parent something, with a descriptor.
    pub fn hand_over(&self, kind: u32, payload: u64, fd: i32) -> Result<()> {
        sys::send_descriptor(self.socket(), &packet(kind, payload), fd)
    }

    /// Waits for GO; the descriptor that came with it, or -1.
    pub fn wait(&self) -> Result<i32> {
        let mut packet = [0; message::LENGTH];
        loop {
            match sys::receive(self.socket(), &mut packet) {
                Ok((message::LENGTH, fd)) if packet.starts_with(&message::GO.to_le_bytes()) => return Ok(fd),
                Ok(_) => return Err(Fail::refuse(Refusal::ParentGone)),
                Err(fail) if fail.is(errno::EINTR) => {}
                Err(fail) => return Err(fail),
            }
        }
    }

    /// Waits for GO without a descriptor, and with no system call but read(2): the filter is in force by now.
    pub fn wait_plainly(&self) -> Result<()> {
        let mut packet = [0; message::LENGTH];
        loop {
            match sys::read(self.socket(), &mut packet) {
                Ok(message::LENGTH) if packet.starts_with(&message::GO.to_le_bytes()) => return Ok(()),
                Ok(_) => return Err(Fail::refuse(Refusal::ParentGone)),
                Err(fail) if fail.is(errno::EINTR) => {}
                Err(fail) => return Err(fail),
            }
        }
    }

    /// Asks the parent for something and waits until it is done.
    pub fn ask(&self, kind: u32) -> Result<i32> {
        self.ask_for(kind, 0)
    }

    /// The same, of one thing among several.
    pub fn ask_for(&self, kind: u32, payload: u64) -> Result<i32> {
        self.tell(kind, payload)?;
        self.wait()
    }

    /// Records why the stage gives up, and tells the parent: through `status` after a `start`, else by message.
    pub fn report(&self, fail: Fail, status: Option<i32>) {
        self.block.set(word::CALL, fail.call);
        self.block.set(word::ERRNO, fail.errno);
        self.block.set(word::DETAIL, fail.detail);
        self.block.set(word::FAILED, 1);
        let _ = match status {
            None => self.tell(message::FAILED, 0),
            Some(fd) => {
                let mut record = [0; RECORD];
                let words =
                    [self.block.get(word::STEP), self.block.get(word::INDEX), fail.call, fail.errno, fail.detail];
                let (milliseconds, length) = self.block.noted();
                let words = words.into_iter().chain([milliseconds]).flat_map(u32::to_le_bytes);
                let bytes = words.chain((0..length).map(|index| self.block.noted_byte(index)));
                let mut used = 0;
                for (room, byte) in record.iter_mut().zip(bytes) {
                    *room = byte;
                    used += 1;
                }
                sys::write(fd, record.get(..used).unwrap_or(&[])).map(drop)
            }
        };
    }
}

fn packet(kind: u32, payload: u64) -> [u8; message::LENGTH] {
    let [a, b, c, d] = kind.to_le_bytes();
    let [i, j, k, l, m, n, o, p] = payload.to_le_bytes();
    [a, b, c, d, 0, 0, 0, 0, i, j, k, l, m, n, o, p]
}
