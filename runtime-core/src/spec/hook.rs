//! `hooks`: programs run at points of the lifecycle.
use super::object;

object! {
    /// config.md, "POSIX-platform Hooks".
    pub struct Hooks {
        /// Deprecated; like `createRuntime`, before it.
        pub prestart: Option<Vec<Hook>>,
        /// In the runtime's namespaces, after the container's exist.
        pub create_runtime: Option<Vec<Hook>>,
        /// In the container's namespaces, before pivot_root.
        pub create_container: Option<Vec<Hook>>,
        /// In the container, before the program.
        pub start_container: Option<Vec<Hook>>,
        /// After the program was started.
        pub poststart: Option<Vec<Hook>>,
        /// After the container was deleted.
        pub poststop: Option<Vec<Hook>>,
    }
}

object! {
    /// One hook.
    pub struct Hook {
        /// Absolute path of the program.
        pub path: Option<String>,
        /// argv, including argv[0].
        pub args: Option<Vec<String>>,
        /// Environment.
        pub env: Option<Vec<String>>,
        /// Seconds before it is killed.
        pub timeout: Option<i64>,
    }
}
