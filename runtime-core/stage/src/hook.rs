//! Hooks that run in the container's namespaces: createContainer and startContainer.
//!
//! A hook's standard input is an anonymous file that holds the state, so nobody waits for one who does not read;
//! its output goes to a pipe of which the end is kept for the error.

use crate::arch::SYS_EXECVE;
use crate::fail::{Fail, Refusal, Result, Step};
use crate::io::Io;
use crate::process::{self, Home};
use crate::sys::{self, NOTE_MOST, errno, word};
use crate::wire::{Hook, Plan, Text, Z};

const SIGKILL: u32 = 9;
/// What a createContainer hook's files are made with; the stage's own mask is 0.
const UMASK: u32 = 0o022;
/// Reads after a hook's end, of output that others it left behind may go on writing.
const LAST_READS: u32 = 64;

/// Where a hook runs.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// In the root filesystem, `tree`, that is not entered yet.
    Outside { tree: i32 },
    /// As the program would.
    Inside(&'a Home),
}

/// Runs the createContainer hooks. Their programs are the host's: the host's tree is still "/".
pub fn create_container(plan: &Plan<'_>, io: &Io, tree: i32) -> Result<()> {
    for (index, hook) in plan.items(plan.header.create_container) {
        io.enter(Step::CreateContainerHook, index);
        run(plan, io, &hook?, plan.header.hook_creating, Place::Outside { tree })?;
    }
    Ok(())
}

/// Runs the startContainer hooks, with all the limits and the ids of the program.
pub fn start_container(plan: &Plan<'_>, io: &Io, home: &Home) -> Result<()> {
    for (index, hook) in plan.items(plan.header.start_container) {
        io.enter(Step::StartContainerHook, index);
        run(plan, io, &hook?, plan.header.hook_created, Place::Inside(home))?;
    }
    Ok(())
}

/// Runs one hook to its end.
fn run(plan: &Plan<'_>, io: &Io, hook: &Hook, state: Text, place: Place<'_>) -> Result<()> {
    let start = sys::milliseconds()?;
    let stdin = state_file(plan, state)?;
    let (output, end) = sys::pipe()?;
    let mut pidfd = -1;
    io.block.set(word::HOOK_FAILED, 0);
    let pid = sys::plain_fork(&mut pidfd)? as i32;
    if pid == 0 {
        become_hook(plan, io, hook, place, [stdin, end, end]);
    }
    sys::close_now(stdin);
    sys::close_now(end);
    let mut tail = Tail::new();
    let deadline = if hook.timeout == 0 { None } else { Some(start + u64::from(hook.timeout) * 1000) };
    let ended = watch(pidfd, output, deadline, &mut tail);
    if !matches!(ended, Ok(true)) {
        // Its whole group; it leads one of its own as soon as it has begun.
        let _ = sys::kill(-pid, SIGKILL);
        let _ = sys::kill(pid, SIGKILL);
    }
    let status = sys::wait(pid);
    tail.drain(output);
    sys::close_now(output);
    sys::close_now(pidfd);
    let took = sys::milliseconds().unwrap_or(start).wrapping_sub(start);
    let result = verdict(io, ended, status);
    if result.is_err() {
        io.block.note(took as u32, tail.bytes());
    }
    result
}

fn verdict(io: &Io, ended: Result<bool>, status: Result<i32>) -> Result<()> {
    if !ended? {
        return Err(Fail::refuse(Refusal::HookTimeout));
    }
    let status = status?;
    if io.block.get(word::HOOK_FAILED) != 0 {
        let [call, errno, detail] = [word::CALL, word::ERRNO, word::DETAIL].map(|at| io.block.get(at));
        return Err(Fail { call, errno, detail });
    }
    match (status & 0x7f, status >> 8 & 0xff) {
        (0, 0) => Ok(()),
        (0, code) => Err(Fail::refuse(Refusal::HookExited).detail(code as u32)),
        (signal, _) => Err(Fail::refuse(Refusal::HookKilled).detail(signal as u32)),
    }
}

/// An anonymous file with the state document, read from its start. The pid is ours, as the container sees it.
fn state_file(plan: &Plan<'_>, before: Text) -> Result<i32> {
    let file = sys::memfd(Z::new(b"state\0"))?;
    let mut digits = [0; 10];
    let (before, after) = (plan.text(before)?, plan.text(plan.header.hook_rest)?);
    for mut part in [before.bytes(), decimal(sys::getpid(), &mut digits), after.bytes()] {
        while !part.is_empty() {
            let written = sys::write(file, part)?;
            part = part.get(written..).unwrap_or(&[]);
        }
    }
    sys::rewind(file).map(|()| file)
}

fn decimal(mut number: u32, digits: &mut [u8; 10]) -> &[u8] {
    let mut length = 0;
    for room in digits.iter_mut().rev() {
        *room = b'0' + (number % 10) as u8;
        number /= 10;
        length += 1;
        if number == 0 {
            break;
        }
    }
    digits.get(10 - length..).unwrap_or(&[])
}

/// The hook's process: its streams, its place, and nothing else of ours.
fn become_hook(plan: &Plan<'_>, io: &Io, hook: &Hook, place: Place<'_>, streams: [i32; 3]) -> ! {
    let fail = match prepare(plan, place, streams) {
        Ok(()) => execute(plan, io, hook, place).unwrap_or_else(|fail| fail),
        Err(fail) => fail,
    };
    io.block.set(word::CALL, fail.call);
    io.block.set(word::ERRNO, fail.errno);
    io.block.set(word::DETAIL, fail.detail);
    io.block.set(word::HOOK_FAILED, 1);
    sys::exit(127)
}

fn prepare(plan: &Plan<'_>, place: Place<'_>, streams: [i32; 3]) -> Result<()> {
    sys::setsid()?;
    if let Place::Outside { tree } = place {
        sys::umask(UMASK);
        sys::fchdir(tree)?;
    }
    for (to, from) in streams.into_iter().enumerate() {
        sys::dup3(from, to as i32, 0)?;
    }
    match sys::close_range(3, u32::MAX) {
        // All but the preserved ones close themselves.
        Err(fail) if matches!(place, Place::Inside(_)) && fail.is_forbidden() => {
            (3..3 + plan.header.preserved.count as i32).for_each(sys::close_now);
        }
        result => result?,
    }
    Ok(())
}

/// Comes back with execve's failure.
fn execute(plan: &Plan<'_>, io: &Io, hook: &Hook, place: Place<'_>) -> Result<Fail> {
    process::reset_signals(io);
    let skip = hook.args.count as usize + 1;
    let args = process::vector(plan, io, hook.args, 0, None)?;
    let env = match place {
        Place::Inside(home) if hook.env.count == 0 => process::environment(plan, io, skip, home)?,
        _ => process::vector(plan, io, hook.env, skip, None)?,
    };
    let fail = sys::execve(plan.text(hook.path)?, args, env);
    Ok(Fail { call: SYS_EXECVE as u32, ..fail })
}

/// Collects output until the process ends: true, or until the deadline: false.
fn watch(pidfd: i32, output: i32, deadline: Option<u64>, tail: &mut Tail) -> Result<bool> {
    let mut output = output;
    loop {
        let left = match deadline {
            None => None,
            Some(deadline) => match deadline.checked_sub(sys::milliseconds()?) {
                None | Some(0) => return Ok(false),
                left => left,
            },
        };
        let [ended, more] = sys::poll([pidfd, output], left)?;
        if ended {
            return Ok(true);
        }
        if more && !tail.read(output) {
            output = -1;
        }
    }
}

/// The last bytes of what a hook wrote.
struct Tail {
    ring: [u8; NOTE_MOST],
    total: usize,
}

impl Tail {
    fn new() -> Self {
        Self { ring: [0; NOTE_MOST], total: 0 }
    }

    /// Takes what can be read; false at the end of it.
    fn read(&mut self, fd: i32) -> bool {
        let mut chunk = [0; 1024];
        match sys::read(fd, &mut chunk) {
            Ok(0) => false,
            Ok(length) => {
                for byte in chunk.iter().take(length) {
                    if let Some(room) = self.ring.get_mut(self.total % NOTE_MOST) {
                        *room = *byte;
                    }
                    self.total = self.total.wrapping_add(1);
                }
                true
            }
            Err(fail) => fail.is(errno::EINTR),
        }
    }

    /// Takes what is left without waiting for more.
    fn drain(&mut self, fd: i32) {
        for _ in 0..LAST_READS {
            if !matches!(sys::poll([-1, fd], Some(0)), Ok([_, true])) || !self.read(fd) {
                return;
            }
        }
    }

    fn bytes(&self) -> impl Iterator<Item = u8> {
        let first = self.total.saturating_sub(NOTE_MOST);
        (first..self.total).filter_map(|at| self.ring.get(at % NOTE_MOST).copied())
    }
}
