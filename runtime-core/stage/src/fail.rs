//! Failure of a step: small, fixed, and made without a heap. The parent turns it into words.

use crate::sys::Errno;

/// The named steps of [`run`](crate::run), in order of execution. The number crosses to the parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum Step {
    Begin,
    Descriptors,
    EnterCgroup,
    Affinity,
    JoinNamespace,
    Unshare,
    MapIds,
    TimeOffsets,
    ForkIntoPid,
    Session,
    Keyring,
    Loopback,
    NetDevices,
    PrepareRoot,
    Mount,
    Device,
    DeviceLink,
    HostHooks,
    CreateContainerHook,
    EnterRoot,
    Terminal,
    SealMount,
    SealRoot,
    Hostname,
    Domainname,
    Label,
    Sysctl,
    ReadonlyPath,
    MaskedPath,
    Stdio,
    WorkingDirectory,
    Home,
    NoNewPrivileges,
    Seccomp,
    Personality,
    MemoryPolicy,
    Scheduler,
    IoPriority,
    Rlimit,
    BoundingSet,
    Ids,
    Capabilities,
    Lookup,
    CloseDescriptors,
    Ready,
    Gate,
    StartContainerHook,
    Exec,
}

impl Step {
    /// Every step, in order; the index is the number.
    pub const ALL: [Self; 48] = [
        Self::Begin,
        Self::Descriptors,
        Self::EnterCgroup,
        Self::Affinity,
        Self::JoinNamespace,
        Self::Unshare,
        Self::MapIds,
        Self::TimeOffsets,
        Self::ForkIntoPid,
        Self::Session,
        Self::Keyring,
        Self::Loopback,
        Self::NetDevices,
        Self::PrepareRoot,
        Self::Mount,
        Self::Device,
        Self::DeviceLink,
        Self::HostHooks,
        Self::CreateContainerHook,
        Self::EnterRoot,
        Self::Terminal,
        Self::SealMount,
        Self::SealRoot,
        Self::Hostname,
        Self::Domainname,
        Self::Label,
        Self::Sysctl,
        Self::ReadonlyPath,
        Self::MaskedPath,
        Self::Stdio,
        Self::WorkingDirectory,
        Self::Home,
        Self::NoNewPrivileges,
        Self::Seccomp,
        Self::Personality,
        Self::MemoryPolicy,
        Self::Scheduler,
        Self::IoPriority,
        Self::Rlimit,
        Self::BoundingSet,
        Self::Ids,
        Self::Capabilities,
        Self::Lookup,
        Self::CloseDescriptors,
        Self::Ready,
        Self::Gate,
        Self::StartContainerHook,
        Self::Exec,
    ];
}

/// A check of ours that refused to go on, where no system call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Refusal {
    /// The plan's bytes do not decode.
    BadPlan = 1,
    /// The parent closed the channel or told us to stop.
    ParentGone,
    /// `/proc` or `/sys` must be mounted on an ordinary directory, not on a link.
    NotOrdinaryDirectory,
    /// A file that exists at a device's path is not that device.
    DeviceDiffers,
    /// The terminal multiplexer is not devpts' own (CVE-2025-52565).
    NotPtmx,
    /// The working directory lies outside the root (CVE-2024-21626).
    Breakout,
    /// A path resolves to the root itself, which may not be mounted over.
    MountOnRoot,
    /// Too many dangling links on the way to a mount point.
    TooManyLinks,
    /// `args[0]` is not in any directory of PATH.
    NotInPath,
    /// The network, user or other namespace did not change although setns(2) succeeded.
    NotADirectory,
    /// A mount point lies inside /proc, reached through a link (CVE-2019-16884).
    InsideProc,
    /// The source of a bind on /proc is not the root of a procfs.
    NotProcfs,
    /// The host's /dev/null, which covers masked files, is not the null device.
    NotNull,
    /// A directory to be copied is nested too deeply.
    TooDeep,
    /// What was mounted is no longer where it was mounted.
    Moved,
    /// The kernel took only the beginning of a value.
    TakenInPart,
    /// A hook exited with a code other than 0: the detail.
    HookExited,
    /// A signal killed a hook: the detail.
    HookKilled,
    /// A hook ran past its timeout.
    HookTimeout,
}

/// [`Fail::detail`] of an execve(2) that did not find the program's interpreter: what names it.
#[allow(missing_docs)]
pub mod detail {
    /// The program could not be read.
    pub const UNKNOWN: u32 = 0;
    /// The #! line of a script.
    pub const SCRIPT: u32 = 1;
    /// The same, with a carriage return at its end.
    pub const CARRIAGE_RETURN: u32 = 2;
    /// An ELF file, which names its loader.
    pub const LOADER: u32 = 3;
    /// In place of a device there is another kind of file; else the detail is `major << 20 | minor` of what is there.
    pub const NO_DEVICE: u32 = u32::MAX;
}

/// Why a step failed: the system call and its errno, or a refusal. Where it happened is in the recorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fail {
    /// System call number, or `u32::MAX` for a refusal.
    pub call: u32,
    /// errno, or the [`Refusal`].
    pub errno: u32,
    /// What the step wants to add: the index of an option, of a PATH candidate, ….
    pub detail: u32,
}

impl Fail {
    /// A refusal of ours.
    pub const fn refuse(refusal: Refusal) -> Self {
        Self { call: u32::MAX, errno: refusal as u32, detail: 0 }
    }

    /// The same failure with a detail.
    pub const fn detail(self, detail: u32) -> Self {
        Self { detail, ..self }
    }

    /// True if this is `errno` of any system call.
    pub const fn is(self, errno: Errno) -> bool {
        self.call != u32::MAX && self.errno == errno
    }

    /// True if a filter may be what forbade the call, or the kernel has no such call.
    pub const fn is_forbidden(self) -> bool {
        use crate::sys::errno::{ENOSYS, EPERM};
        self.is(EPERM) || self.is(ENOSYS)
    }
}

/// Result of everything in the stage.
pub type Result<T> = core::result::Result<T, Fail>;
