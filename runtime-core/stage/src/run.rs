//! The straight line: from a fresh process to the container's program.

use crate::fail::{Fail, Result, Step};
use crate::io::{Block, Io, message};
use crate::process::Home;
use crate::sys::{self, errno, word};
use crate::wire::{KEEP, NO_SLOT, Plan, Z, flag};
use crate::{
    affinity, caps, cgroup, device, hook, ids, label, lo, mask, mount, namespace, netdev, path, priority, process,
    rlimit, root,
};
use crate::{seccomp, session, sysctl, tty, uts};

/// Exit code of a stage that failed after it could say why.
pub const EXIT_FAILED: i32 = 125;
/// Exit code of a stage that found no plan.
pub const EXIT_NO_PLAN: i32 = 124;
/// Exit code of a panic, which no path leads to.
pub const EXIT_PANIC: i32 = 123;

/// Carries out the plan in `block`. Ends as the container's program, or exits.
pub fn stage(block: Block) -> ! {
    let io = Io::new(block);
    let mut status = None;
    let fail = match Plan::new(block.plan()) {
        Ok(plan) => match line(&plan, &io, &mut status) {
            Err(fail) | Ok(fail) => fail,
        },
        Err(fail) => fail,
    };
    io.report(fail, status);
    sys::exit(EXIT_FAILED)
}

/// The table of contents of "create". `Ok` carries execve's failure.
fn line(plan: &Plan<'_>, io: &Io, status: &mut Option<i32>) -> Result<Fail> {
    io.enter(Step::Begin, 0);
    begin(plan)?;
    process::streams(plan, io)?;
    affinity::initial(plan, io)?;
    cgroup::enter(plan, io)?;
    affinity::last(plan, io)?;
    namespace::join(plan, io)?;
    ids::become_root(plan, io)?;
    namespace::unshare(plan, io)?;
    namespace::offset_clocks(plan, io)?;
    namespace::fork_into_pid(plan, io)?;
    session::new(plan, io)?;
    lo::up(plan, io)?;
    netdev::move_in(plan, io)?;

    let tree = if plan.header.flags & flag::EXEC == 0 { filesystem(plan, io)? } else { inside(plan, io)? };

    uts::set(plan, io)?;
    label::on_exec(plan, io)?;
    sysctl::all(plan, io)?;
    mask::all(plan, io, tree)?;
    ids::own_stdio(plan, io)?;
    let again = process::make_directory(plan, io, tree)?;
    let mut home = Home::new();
    home.look_up(plan, io, tree);
    if plan.header.umask != KEEP {
        sys::umask(plan.header.umask);
    }

    priority::all(plan, io)?;
    rlimit::all(plan, io)?;
    caps::no_new_privileges(plan, io)?;
    // No filter has to allow these three for our sake.
    outlive_parent()?;
    process::reset_signals(io);
    process::end_on_signals(plan);
    process::close_fds(plan, io)?;
    seccomp::early(plan, io)?;
    caps::drop_bounding(plan, io)?;
    ids::become_user(plan, io)?;
    process::enter_directory(plan, io, again)?;
    caps::set(plan, io)?;
    let program = process::look_up(plan, io)?;
    seccomp::late(plan, io)?;

    gate(plan, io, status)?;
    hook::start_container(plan, io, &home)?;
    Ok(process::exec(plan, io, program, &home))
}

const PR_SET_PDEATHSIG: u32 = 1;

fn begin(plan: &Plan<'_>) -> Result<()> {
    sys::set_name(Z::new(b"runtime:stage\0"));
    if plan.header.flags & flag::EXEC == 0 {
        sys::umask(0);
    }
    if plan.header.flags & flag::FORK == 0 {
        // If the runtime dies before it is done, so do we. (A change of ids clears this; from then on the
        // closed socket tells.)
        const SIGKILL: u64 = 9;
        sys::prctl(PR_SET_PDEATHSIG, SIGKILL, 0)?;
    }
    sys::unblock_signals()
}

/// Takes back what [`begin`] did, before a filter may forbid it. From now on the closed socket tells: without a
/// parent nobody hears that we are ready.
fn outlive_parent() -> Result<()> {
    sys::prctl(PR_SET_PDEATHSIG, 0, 0).map(drop)
}

/// Builds the tree and moves into it; the descriptor of its root comes back.
fn filesystem(plan: &Plan<'_>, io: &Io) -> Result<i32> {
    io.enter(Step::PrepareRoot, 0);
    let tree = root::prepare(plan, io)?;
    let mut folder = path::Folder::new();
    let late = mount::all(plan, io, tree, &mut folder)?;
    device::all(plan, io, tree, folder)?;
    if plan.header.flags & flag::HOST_HOOKS != 0 {
        io.enter(Step::HostHooks, 0);
        io.ask(message::HOST_HOOKS)?;
    }
    hook::create_container(plan, io, tree)?;
    io.enter(Step::EnterRoot, 0);
    root::enter(plan, io, tree)?;
    tty::open(plan, io, tree)?;
    process::make_directory_in_time(plan, io, tree, &late)?;
    mount::seal(plan, io, tree, &late)?;
    io.enter(Step::SealRoot, 0);
    root::seal(plan, io, tree)?;
    Ok(tree)
}

/// The root of a container that was joined: "/" already, unless its mount namespace is not its own; the descriptor of
/// it comes back.
fn inside(plan: &Plan<'_>, io: &Io) -> Result<i32> {
    io.enter(Step::EnterRoot, 0);
    if plan.header.flags & flag::CALLERS_MOUNTS != 0 {
        sys::fchdir(io.slot(plan.header.root_slot)?)?;
        sys::chroot_here()?;
    }
    let tree = sys::openat(sys::AT_FDCWD, Z::new(b"/\0"), sys::O_PATH | sys::O_DIRECTORY, 0)?;
    tty::open(plan, io, tree)?;
    Ok(tree)
}

/// Reports that all is set up and waits for the runtime's word, unless it was given already. It comes when our pid is on
/// record: a runtime that dies before leaves no process that nobody knows of. Then waits for `start`, a byte in the fifo.
fn gate(plan: &Plan<'_>, io: &Io, status: &mut Option<i32>) -> Result<()> {
    io.enter(Step::Ready, 0);
    if io.block.get(word::MAY_BEGIN) == 0 {
        io.tell(message::READY, 0)?;
        io.wait_plainly()?;
    }
    io.enter(Step::Gate, 0);
    if plan.header.gate == NO_SLOT {
        return Ok(());
    }
    *status = Some(io.slot(plan.header.status)?);
    let mut byte = [0];
    loop {
        match sys::read(io.slot(plan.header.gate)?, &mut byte) {
            Err(fail) if fail.is(errno::EINTR) => {}
            result => return result.map(drop),
        }
    }
}
