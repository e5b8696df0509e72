//! `Runtime`: where containers live and how they are launched. Every verb starts here.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::state::State;
use crate::{Container, Result};

/// How grave a message of the library is; the words are those of runc's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For developers.
    Debug,
    /// Worth knowing.
    Info,
    /// Something was not done as asked, in a way the spec allows.
    Warning,
}

/// Receives the library's messages; there is no global logger.
pub type Log = Arc<dyn Fn(Level, &str) + Send + Sync>;

/// Which way into the stage a launch takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Entry {
    /// The sealed memfd, and the in-process entry where the host refuses to execute one.
    #[default]
    Auto,
    /// Only the sealed memfd.
    Sealed,
    /// Only the in-process entry.
    InProcess,
}

/// Settings of a [`Runtime`].
#[derive(Clone)]
pub struct Options {
    /// State directory, one sub-directory per container.
    pub root: PathBuf,
    /// Use systemd to make cgroups.
    pub systemd_cgroup: bool,
    /// Make no cgroups: containers stay in the caller's, and limits are an error (crun's `--cgroup-manager=disabled`).
    pub no_cgroups: bool,
    /// Ignore lacking rights on cgroups; `None`: decide by the caller's ids (runc's `--rootless auto`).
    pub rootless: Option<bool>,
    /// Way into the stage.
    pub entry: Entry,
    /// Receiver of messages.
    pub log: Option<Log>,
}

impl Options {
    /// Defaults, with `root` as the state directory.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            systemd_cgroup: false,
            no_cgroups: false,
            rootless: None,
            entry: Entry::default(),
            log: None,
        }
    }
}

/// What a launch needs of a [`Runtime`]; its containers hold it too.
#[derive(Clone, Default)]
pub(crate) struct Launcher {
    pub(crate) entry: Entry,
    log: Option<Log>,
    /// The sealed stage, made on the first launch; `None` where the host refuses to execute one.
    pub(crate) stage: Arc<OnceLock<Option<OwnedFd>>>,
}

impl Launcher {
    pub(crate) fn log(&self, level: Level, message: &str) {
        if let Some(log) = &self.log {
            log(level, message);
        }
    }
}

/// Launches containers and finds those there are. `Send + Sync`; holds no lock and no thread.
pub struct Runtime {
    pub(crate) options: Options,
    pub(crate) launcher: Launcher,
}

impl Runtime {
    /// A runtime over `options.root`, which need not exist yet.
    pub fn new(options: Options) -> Self {
        let launcher = Launcher { entry: options.entry, log: options.log.clone(), stage: Arc::default() };
        Self { options, launcher }
    }

    /// The state directory.
    pub fn root(&self) -> &Path {
        &self.options.root
    }

    /// Creates a container: everything of the config applied, the program waiting for [`Container::start`].
    pub fn create(&self, request: &crate::Create<'_>) -> Result<Container> {
        crate::verb::create::create(self, request)
    }

    /// Creates and starts a container in one go.
    pub fn run(&self, request: &crate::Create<'_>) -> Result<Container> {
        crate::verb::create::run(self, request)
    }

    /// What `create` would do, step by step; nothing is done.
    pub fn plan(&self, request: &crate::Create<'_>) -> Result<crate::plan::Plan> {
        crate::verb::create::plan_only(self, request).map(|(plan, _)| plan)
    }

    /// What is wrong with a bundle, all at once, as far as it can be known without running it: the config, and what it
    /// names on this host. Nothing wrong: an empty list. An error: there is no config to be read.
    pub fn check(&self, request: &crate::Create<'_>) -> Result<Vec<crate::spec::Problem>> {
        match crate::verb::create::plan_only(self, request) {
            Ok((_, missing)) => Ok(missing),
            Err(error) if !error.all_problems().is_empty() => Ok(error.all_problems().to_vec()),
            Err(error) => Err(error),
        }
    }

    /// What the seccomp profile of a bundle does with a system call, on each architecture it is for, and why; `args` are
    /// the call's first arguments, as far as they are known. `None`: the config has no profile.
    pub fn explain_seccomp(
        &self,
        request: &crate::Create<'_>,
        call: &str,
        args: &[u64],
    ) -> Result<Option<Vec<crate::seccomp::Explanation>>> {
        crate::verb::explain::explain(request, call, args)
    }

    /// The container called `id`. Error [`NotFound`](crate::ErrorKind::NotFound) if there is none.
    pub fn container(&self, id: &str) -> Result<Container> {
        crate::verb::state::load(self, id)
    }

    /// The state of the container called `id`: [`Container::state`], without a handle.
    pub fn state(&self, id: &str) -> Result<State> {
        crate::verb::state::state_of(self, id)
    }

    /// The state of every container under the root, sorted by id. An entry that cannot be read is an error in its place.
    pub fn states(&self) -> Result<Vec<Result<State>>> {
        crate::verb::state::states(self)
    }

    /// Every container under the root. An entry that cannot be read is an error in its place.
    pub fn list(&self) -> Result<Vec<Result<Container>>> {
        crate::verb::state::list(self)
    }

    /// Deletes `id`, also when it was only half made. With `force` it is killed first, and its absence is
    /// no error.
    pub fn delete(&self, id: &str, force: bool) -> Result<()> {
        crate::verb::delete::delete(self, id, force)
    }

    pub(crate) fn log(&self, level: Level, message: &str) {
        self.launcher.log(level, message);
    }
}
