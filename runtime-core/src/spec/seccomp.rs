//! `linux.seccomp`: the system call filter.
use super::object;

object! {
    /// config-linux.md, "Seccomp".
    pub struct Seccomp {
        /// What happens to calls no rule names.
        pub default_action: Option<String>,
        /// errno of the default action.
        pub default_errno_ret: Option<u32>,
        /// Architectures beside the native one, `SCMP_ARCH_X86_64` style.
        pub architectures: Option<Vec<String>>,
        /// `SECCOMP_FILTER_FLAG_*`; absent: SPEC_ALLOW, empty: none.
        pub flags: Option<Vec<String>>,
        /// Socket that receives the notification descriptor.
        pub listener_path: Option<String>,
        /// Opaque string passed along.
        pub listener_metadata: Option<String>,
        /// Rules.
        pub syscalls: Option<Vec<SyscallRule>>,
    }
}

object! {
    /// One rule.
    pub struct SyscallRule {
        /// System calls by name.
        pub names: Option<Vec<String>>,
        /// What happens to them.
        pub action: Option<String>,
        /// errno, for SCMP_ACT_ERRNO and SCMP_ACT_TRACE.
        pub errno_ret: Option<u32>,
        /// Conditions on arguments.
        pub args: Option<Vec<SyscallArg>>,
    }
}

object! {
    /// One condition.
    pub struct SyscallArg {
        /// Argument number, 0 to 5.
        pub index: u32,
        /// Compared value; the mask of SCMP_CMP_MASKED_EQ.
        pub value: u64,
        /// Masked value of SCMP_CMP_MASKED_EQ.
        pub value_two: u64,
        /// Operator, `SCMP_CMP_EQ` style.
        pub op: Option<String>,
    }
}
