//! From the stage's numbers to words.

use std::time::Duration;

use runtime_stage::fail::{Refusal, Step, detail};
use runtime_stage::io::{Block, REPORT};
use runtime_stage::sys::word;

use super::hook::{self, End, How, Name};
use crate::plan::{Hook, HookKind, MountKind, Plan, option};
use crate::seccomp::syscall_name;
use crate::{Error, ErrorKind, ExitStatus, error};

/// What runc says before everything that goes wrong inside; engines look for parts of it.
fn prefix(plan: &Plan) -> &'static str {
    match plan.exec {
        true => "unable to start container process",
        false => "unable to start container process: error during container init",
    }
}

/// A failure as the stage reports it.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    step: u32,
    index: u32,
    call: u32,
    errno: u32,
    detail: u32,
    /// How long a hook took, and the end of its output.
    milliseconds: u32,
    output: Vec<u8>,
}

impl Report {
    /// From the recorder.
    pub(crate) fn of(block: &Block) -> Self {
        let [step, index, call, errno, detail] =
            [word::STEP, word::INDEX, word::CALL, word::ERRNO, word::DETAIL].map(|at| block.get(at));
        let (milliseconds, length) = block.noted();
        let output = (0..length).map(|index| block.noted_byte(index)).collect();
        Self { step, index, call, errno, detail, milliseconds, output }
    }

    /// From the record a started stage wrote to its status fifo.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (words, output) = bytes.split_at_checked(REPORT)?;
        let mut words = words.chunks_exact(4).map(|word| word.try_into().map(u32::from_le_bytes));
        let mut next = || words.next()?.ok();
        Some(Self {
            step: next()?,
            index: next()?,
            call: next()?,
            errno: next()?,
            detail: next()?,
            milliseconds: next()?,
            output: output.to_vec(),
        })
    }

    /// The kind and number of the hook that failed, if one did.
    pub(crate) fn hook(&self) -> Option<(HookKind, usize)> {
        let kind = match step(self.step) {
            Step::CreateContainerHook => HookKind::CreateContainer,
            Step::StartContainerHook => HookKind::StartContainer,
            _ => return None,
        };
        Some((kind, self.index as usize))
    }

    /// The failure of `hook`.
    pub(crate) fn hook_error(self, kind: HookKind, hook: &Hook) -> Error {
        let how = match (self.call, self.errno) {
            (u32::MAX, errno) if errno == Refusal::HookExited as u32 => How::Exit(ExitStatus::Code(self.detail as i32)),
            (u32::MAX, errno) if errno == Refusal::HookKilled as u32 => {
                How::Exit(ExitStatus::Signal(self.detail as i32))
            }
            (u32::MAX, _) => How::Timeout(Duration::from_secs(hook.timeout.unwrap_or(0).into())),
            (call, errno) => How::NotRun(syscall_name(call).unwrap_or("a system call"), errno as i32),
        };
        let took = Duration::from_millis(self.milliseconds.into());
        let name = Name { kind, index: self.index as usize, path: &hook.path };
        hook::failure(name, &End { how, took, output: self.output })
    }

    /// What failed, in words, for the program `program`.
    pub(crate) fn exec_error(&self, program: &str) -> Error {
        let errno = self.errno as i32;
        let error = Error::new(ErrorKind::Init, format!("exec {program}: {}", error::text(errno)))
            .with_errno(errno)
            .in_step("exec");
        match errno {
            libc::ENOENT => error.with_hint(match self.detail {
                detail::SCRIPT => "the file exists, but the interpreter its #! line names does not",
                detail::CARRIAGE_RETURN => "the file's lines end in CR LF, so it asks for an interpreter with a carriage return in its name; convert it (dos2unix)",
                detail::LOADER => "the file exists, but the loader it was linked for does not: was it built for another C library?",
                _ => "the file exists, so its interpreter (#! line or ELF loader) does not",
            }),
            libc::ENOEXEC => error.with_hint("not a program for this machine, and no #! line"),
            // SELinux answers so to a label it would give but for no_new_privs (process2:nnp_transition).
            libc::EPERM => error.with_hint("a security policy forbids it, or its label with noNewPrivileges"),
            _ => error,
        }
    }
}

fn step(number: u32) -> Step {
    Step::ALL.get(number as usize).copied().unwrap_or(Step::Begin)
}

/// The stage gave up and said why.
pub(crate) fn failure(plan: &Plan, report: Report) -> Error {
    if let Some((kind, index)) = report.hook() {
        let hooks = &plan.hooks;
        let list = if kind == HookKind::CreateContainer { &hooks.create_container } else { &hooks.start_container };
        let hook = list.get(index).cloned().unwrap_or_default();
        return report.hook_error(kind, &hook);
    }
    let step = step(report.step);
    let refusal = report.call == u32::MAX;
    if let Some(error) = known(plan, step, &report, refusal) {
        return error;
    }
    let origin = plan.origins.of(step, report.index).or_else(|| plan.origins.of(step, 0));
    let what = origin.map_or_else(|| default_text(step).to_owned(), |origin| origin.what.to_string());
    let pointer = origin.map(|origin| origin.pointer.to_string()).unwrap_or_default();
    let message = match step {
        _ if pointer.is_empty() => what,
        Step::Mount | Step::SealMount => format!("{what}: {pointer}"),
        _ => format!("{pointer}: {what}"),
    };
    let mut error = Error::new(ErrorKind::Init, format!("{}: {message}", prefix(plan))).in_step(format!("{step:?}"));
    error = error.located(pointer);
    if refusal {
        return error.with_reason(&differs(plan, step, &report).unwrap_or_else(|| refused(report.errno).to_owned()));
    }
    error = error.with_call(call(plan, step, &report), report.errno as i32);
    match option_hint(plan, step, &report) {
        Some(hint) => error.with_hint(hint),
        None => match hint(step, report.errno as i32) {
            Some(hint) => error.with_hint(hint),
            None => error,
        },
    }
}

/// A mount option that the filesystem does not take may be one of ours, misspelt.
fn option_hint(plan: &Plan, step: Step, report: &Report) -> Option<String> {
    if step != Step::Mount || report.detail == 0 {
        return None;
    }
    let options = match &plan.mounts.get(report.index as usize)?.kind {
        MountKind::Filesystem { options, .. } | MountKind::Remount { options } => options,
        _ => return None,
    };
    let (name, _) = options.get(report.detail as usize - 1)?;
    if name == "context" {
        return Some("a mount label needs SELinux, and a filesystem that takes it".to_owned());
    }
    if matches!(name.as_str(), "uid" | "gid") && report.errno as i32 == libc::EINVAL {
        return Some("the id is not mapped in the user namespace".to_owned());
    }
    option::nearest(name)
        .map(|near| format!("{name:?} is neither an option we know nor one of the filesystem; did you mean {near:?}?"))
}

/// The failures whose words engines match.
fn known(plan: &Plan, step: Step, report: &Report, refusal: bool) -> Option<Error> {
    let program = plan.program.args.first().map_or("", String::as_str);
    let errno = if refusal { libc::ENOENT } else { report.errno as i32 };
    let text = error::text(errno);
    // A search that found nothing is just that to engines (exit status 127), although something was out of reach:
    // a directory of PATH that is another's may come before a name that nobody has.
    let searched = step == Step::Lookup && errno == libc::EACCES && plan.program.from_path;
    let beyond = plan.program.candidates.get(report.detail as usize).filter(|_| searched);
    let (pointer, message) = match step {
        Step::Lookup if refusal || beyond.is_some() => ("/process/args/0", format!("exec: {program:?}: executable file not found in $PATH")),
        // Docker 20.10 knows no other words for exit status 126.
        Step::Lookup if errno == libc::EISDIR => {
            ("/process/args/0", format!("exec: {program:?}: is a directory: permission denied"))
        }
        Step::Lookup if errno == libc::EACCES => ("/process/args/0", format!("exec: {program:?}: permission denied")),
        Step::Lookup => ("/process/args/0", format!("exec: {program:?}: stat {program}: {text}")),
        Step::Exec => return Some(report.exec_error(program)),
        Step::WorkingDirectory if refusal => (
            "/process/cwd",
            "current working directory is outside of container mount namespace root -- possible container breakout detected".to_owned(),
        ),
        Step::WorkingDirectory => {
            ("/process/cwd", format!("chdir to cwd ({:?}) set in config.json failed: {text}", plan.program.cwd))
        }
        _ => return None,
    };
    let error = Error::new(ErrorKind::Init, format!("{}: {message}", prefix(plan))).located(pointer.to_owned());
    let error = error.with_errno(errno).in_step(format!("{step:?}"));
    Some(match beyond {
        Some(place) => error.with_hint(format!("this user may not reach or execute {place:?}")),
        None => error,
    })
}

fn default_text(step: Step) -> &'static str {
    match step {
        Step::EnterCgroup => "enter the cgroup",
        Step::Unshare => "make new namespaces",
        Step::MapIds => "map the ids of the user namespace",
        Step::ForkIntoPid => "enter the pid namespace",
        Step::Session => "make a session",
        Step::Loopback => "bring the loopback device up",
        Step::Device => "make a default device",
        Step::DeviceLink => "make the links in /dev",
        Step::Stdio => "give the standard streams to the user",
        Step::Home => "look the user up in /etc/passwd",
        Step::BoundingSet | Step::Capabilities => "set the capabilities",
        Step::Ids => "take the user's ids",
        Step::CloseDescriptors => "close descriptors",
        _ => "set the container up",
    }
}

/// The system call with what is known of its arguments.
fn call(plan: &Plan, step: Step, report: &Report) -> String {
    let name = syscall_name(report.call).map_or_else(|| format!("system call {}", report.call), str::to_owned);
    let arguments = match step {
        Step::Mount => plan.mounts.get(report.index as usize).map(|mount| match (&mount.kind, name.as_str()) {
            (MountKind::Filesystem { options, .. }, "fsconfig") if report.detail > 0 => options
                .get(report.detail as usize - 1)
                .map_or_else(String::new, |(key, value)| format!("{key:?}, {value:?}")),
            (MountKind::Filesystem { fstype, .. }, "fsopen" | "fsconfig" | "fsmount") => format!("{fstype:?}"),
            _ => format!("\"/{}\"", mount.target.0),
        }),
        Step::Device => plan
            .devices
            .get(report.index as usize)
            .map(|node| format!("\"/{}\", {}:{}", node.path.0, node.major, node.minor)),
        Step::ReadonlyPath => plan.masks.readonly.get(report.index as usize).map(|path| format!("\"/{}\"", path.0)),
        Step::MaskedPath => plan.masks.masked.get(report.index as usize).map(|path| format!("\"/{}\"", path.0)),
        Step::Sysctl => plan.sysctls.get(report.index as usize).map(|s| match name.as_str() {
            "write" => format!("{:?}", s.value),
            _ => format!("\"/proc/{}\"", s.path),
        }),
        Step::TimeOffsets => Some("\"/proc/self/timens_offsets\"".to_owned()),
        Step::Label => {
            Some(["attr/apparmor/exec", "attr/exec"].get(report.index as usize).unwrap_or(&"attr/keycreate"))
                .map(|file| format!("\"/proc/self/{file}\""))
        }
        Step::Rlimit => {
            plan.rlimits.get(report.index as usize).map(|l| format!("{}, {}, {}", l.resource, l.soft, l.hard))
        }
        Step::Ids => Some(match report.index {
            0 => format!("{:?}", plan.user.groups),
            1 => plan.user.gid.to_string(),
            _ => plan.user.uid.to_string(),
        }),
        Step::BoundingSet | Step::Capabilities => Some(report.index.to_string()),
        _ => None,
    };
    format!("{name}({})", arguments.unwrap_or_default())
}

/// What is there in place of a device, in runc's words.
fn differs(plan: &Plan, step: Step, report: &Report) -> Option<String> {
    if step != Step::Device || report.errno != Refusal::DeviceDiffers as u32 {
        return None;
    }
    let node = plan.devices.get(report.index as usize)?;
    let path = &node.path.0;
    if report.detail == detail::NO_DEVICE {
        return Some(format!("/{path} has incorrect ftype: another file is there already"));
    }
    let found = format!("{}:{}", report.detail >> 20, report.detail & 0xf_ffff);
    let wanted = format!("{}:{}", node.major, node.minor);
    Some(format!("/{path} has incorrect major:minor: {found} doesn't match expected {wanted}"))
}

fn refused(number: u32) -> &'static str {
    const ALL: [(Refusal, &str); 16] = [
        (Refusal::BadPlan, "the plan does not decode (a bug of ours)"),
        (Refusal::ParentGone, "the runtime went away"),
        (Refusal::NotOrdinaryDirectory, "must be mounted on ordinary directory"),
        (Refusal::DeviceDiffers, "another file is there already"),
        (Refusal::NotPtmx, "/dev/pts/ptmx is not devpts' own multiplexer; mount devpts on /dev/pts"),
        (Refusal::Breakout, "outside of the container's root"),
        (Refusal::MountOnRoot, "nothing may be mounted over the root"),
        (Refusal::TooManyLinks, "too many symbolic links lead nowhere"),
        (Refusal::NotInPath, "executable file not found in $PATH"),
        (Refusal::NotADirectory, "not a directory"),
        (Refusal::InsideProc, "cannot be mounted because it is inside /proc (a link leads there)"),
        (Refusal::NotProcfs, "\"/proc\" cannot be mounted because it is not of type proc"),
        (Refusal::NotNull, "the host's /dev/null is not the null device (character device 1:3)"),
        (Refusal::Moved, "somebody moved the mount point meanwhile"),
        (Refusal::TooDeep, "tmpcopyup: directories are nested too deeply"),
        (Refusal::TakenInPart, "the kernel took only the beginning of the value; more was given than it has room for"),
    ];
    ALL.iter().find(|(refusal, _)| *refusal as u32 == number).map_or("refused", |(_, text)| text)
}

/// The host problems people meet most, and what to do.
fn hint(step: Step, errno: i32) -> Option<&'static str> {
    Some(match (step, errno) {
        (Step::Keyring, libc::EDQUOT) => "too many keys: raise kernel.keys.maxkeys, or use --no-new-keyring",
        (Step::Mount, libc::EPERM) => {
            "in a user namespace procfs and sysfs can only be mounted where the host's are fully visible"
        }
        (Step::Seccomp, libc::EACCES) => "without noNewPrivileges, loading a filter needs CAP_SYS_ADMIN",
        (Step::Seccomp, libc::EINVAL) => {
            "the kernel does not know a flag (see /linux/seccomp/flags), or has no CONFIG_SECCOMP_FILTER"
        }
        (Step::Seccomp, libc::EBUSY) => "the runtime itself is under a filter that notifies: there can only be one",
        (Step::Seccomp, libc::ENOMEM) => "the filters the runtime is under and this one are too long together",
        (Step::Mount, libc::EROFS) => "the mount point does not exist and cannot be made in a read-only filesystem",
        (Step::Mount, libc::ENOTDIR) => "a directory can only be mounted on a directory, a file on a file",
        (Step::Mount, libc::ELOOP) => "the destination leads through a link that never ends, or one of procfs",
        (Step::Mount, libc::ENODEV) => "the kernel does not know this filesystem",
        (Step::Mount, libc::EINVAL) => "the kernel or the filesystem does not take this option",
        (Step::PrepareRoot, libc::ENOTDIR) => "the root filesystem must be a directory",
        (Step::EnterRoot, libc::EINVAL) => "if / is on an initramfs, use --no-pivot",
        (Step::Unshare, libc::EINVAL) => "the kernel lacks one of these kinds of namespace",
        (Step::TimeOffsets, libc::ERANGE) => "a clock would be below zero, or too far in the future",
        (Step::TimeOffsets, libc::ENOENT) => "the kernel has no time namespaces",
        (Step::Sysctl, libc::ENOENT) => "the kernel has no such parameter, or its module is not loaded",
        (Step::Sysctl, libc::EINVAL) => "the kernel does not take this value",
        (Step::Sysctl, libc::EXDEV) | (Step::Label, libc::EXDEV) => "something is mounted over this file of /proc",
        (Step::Sysctl, libc::EACCES | libc::EPERM) => "this parameter may not be changed from this user namespace",
        (Step::Label, libc::ENOENT) => "the policy loaded on the host has no such label or profile",
        (Step::Label, libc::EINVAL) => "the security module does not take this label",
        (Step::Scheduler, libc::EPERM) => {
            "needs CAP_SYS_NICE; real-time policies need resources.cpu.realtimeRuntime on cgroup v1; process \
             scheduler can't be used together with AllowedCPUs (resources.cpu.cpus)"
        }
        (Step::Scheduler, libc::EINVAL) => "the kernel does not know this policy or takes other values for it",
        (Step::Scheduler, libc::EOPNOTSUPP) => "the kernel is built without utilisation clamping",
        (Step::Scheduler, libc::EBUSY) => "there is not enough CPU time left for this deadline",
        (Step::IoPriority, libc::EPERM) => "IOPRIO_CLASS_RT needs CAP_SYS_ADMIN or CAP_SYS_NICE",
        (Step::MemoryPolicy, libc::EINVAL) => "a node does not exist, is not allowed, or the flags exclude each other",
        (Step::MemoryPolicy, libc::ENOSYS) => "the kernel is built without NUMA",
        (Step::Rlimit, libc::EPERM) => "raising a hard limit needs CAP_SYS_RESOURCE",
        (Step::Ids, libc::EINVAL) => "the id is not mapped in the user namespace",
        (Step::Terminal, libc::ENOENT) => "mount devpts on /dev/pts",
        (Step::Terminal, libc::ENOSPC) => "no pseudo-terminal is left: raise kernel.pty.max",
        (Step::Device, libc::EPERM) => "the device cgroup of the runtime itself may forbid mknod",
        _ => return None,
    })
}

/// The stage died without saying anything: the recorder knows where.
pub(crate) fn death(plan: &Plan, block: &Block, status: Option<ExitStatus>) -> Error {
    let step = step(block.get(word::STEP));
    let how = match status {
        Some(ExitStatus::Signal(signal)) => format!("killed by signal {signal}"),
        Some(ExitStatus::Code(code)) => format!("exited with code {code}"),
        None => "went away".to_owned(),
    };
    let origin = plan.origins.of(step, block.get(word::INDEX));
    let what = origin.map_or_else(|| default_text(step).to_owned(), |origin| origin.what.to_string());
    let error = Error::new(ErrorKind::Init, format!("{}: {how} while trying to {what}", prefix(plan)))
        .in_step(format!("{step:?}"));
    match status {
        Some(ExitStatus::Signal(libc::SIGKILL)) => {
            error.with_hint("container init was OOM-killed (memory limit too low?), or somebody killed it")
        }
        Some(ExitStatus::Signal(libc::SIGSYS)) => error.with_hint("the seccomp profile kills a call the set-up needs"),
        _ => error,
    }
}
