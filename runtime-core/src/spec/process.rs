//! `process`: the program to run and what it may do.
use super::object;

object! {
    /// config.md, "Process".
    pub struct Process {
        /// Give it a terminal.
        pub terminal: bool,
        /// Size of that terminal.
        pub console_size: Option<ConsoleSize>,
        /// Ids it runs with.
        pub user: Option<User>,
        /// Program and arguments.
        pub args: Option<Vec<String>>,
        /// Ignored on Linux.
        pub command_line: Option<String>,
        /// Environment, `NAME=value`.
        pub env: Option<Vec<String>>,
        /// Absolute working directory inside the container.
        pub cwd: Option<String>,
        /// Capability sets.
        pub capabilities: Option<Capabilities>,
        /// Resource limits.
        pub rlimits: Option<Vec<Rlimit>>,
        /// Set `PR_SET_NO_NEW_PRIVS`.
        pub no_new_privileges: bool,
        /// AppArmor profile to change to on exec.
        pub apparmor_profile: Option<String>,
        /// OOM killer adjustment.
        pub oom_score_adj: Option<i32>,
        /// CPU scheduling policy.
        pub scheduler: Option<Scheduler>,
        /// SELinux label to change to on exec.
        pub selinux_label: Option<String>,
        /// I/O scheduling class.
        pub io_priority = "ioPriority": Option<IoPriority>,
        /// CPUs an exec'ed process is bound to.
        pub exec_cpu_affinity = "execCPUAffinity": Option<CpuAffinity>,
    }
}

object! {
    /// Terminal size in characters.
    pub struct ConsoleSize {
        /// Rows.
        pub height: u32,
        /// Columns.
        pub width: u32,
    }
}

object! {
    /// Ids inside the container's user namespace.
    pub struct User {
        /// User id.
        pub uid: Option<u32>,
        /// Group id.
        pub gid: Option<u32>,
        /// File mode creation mask.
        pub umask: Option<u32>,
        /// Supplementary groups.
        pub additional_gids: Option<Vec<u32>>,
        /// Ignored on Linux.
        pub username: Option<String>,
    }
}

object! {
    /// The five capability sets (capabilities(7)); names like `CAP_CHOWN`.
    pub struct Capabilities {
        /// Bounding set.
        pub bounding: Option<Vec<String>>,
        /// Effective set.
        pub effective: Option<Vec<String>>,
        /// Inheritable set.
        pub inheritable: Option<Vec<String>>,
        /// Permitted set.
        pub permitted: Option<Vec<String>>,
        /// Ambient set.
        pub ambient: Option<Vec<String>>,
    }
}

object! {
    /// One resource limit (getrlimit(2)).
    pub struct Rlimit {
        /// Name, like `RLIMIT_NOFILE`.
        pub typ = "type": Option<String>,
        /// Value enforced.
        pub soft: Option<u64>,
        /// Ceiling of the soft limit.
        pub hard: Option<u64>,
    }
}

object! {
    /// sched_setattr(2).
    pub struct Scheduler {
        /// Policy, like `SCHED_BATCH`.
        pub policy: Option<String>,
        /// Nice value for the normal policies.
        pub nice: Option<i32>,
        /// Priority for the real-time policies.
        pub priority: Option<i32>,
        /// Flags, like `SCHED_FLAG_RESET_ON_FORK`.
        pub flags: Option<Vec<String>>,
        /// SCHED_DEADLINE runtime, nanoseconds.
        pub runtime: Option<u64>,
        /// SCHED_DEADLINE deadline, nanoseconds.
        pub deadline: Option<u64>,
        /// SCHED_DEADLINE period, nanoseconds.
        pub period: Option<u64>,
    }
}

object! {
    /// ioprio_set(2).
    pub struct IoPriority {
        /// Class, like `IOPRIO_CLASS_BE`.
        pub class: Option<String>,
        /// 0 (highest) to 7.
        pub priority: Option<i32>,
    }
}

object! {
    /// CPU lists for exec'ed processes.
    pub struct CpuAffinity {
        /// Before the process is moved to the container's cgroup.
        pub initial: Option<String>,
        /// After.
        pub last = "final": Option<String>,
    }
}
