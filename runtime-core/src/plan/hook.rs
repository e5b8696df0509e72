//! `hooks`: what runs when, where, and what it is told (config.md, "POSIX-platform Hooks").

use std::collections::BTreeMap;

use runtime_stage::fail::Step;
use serde::Serialize;

use super::Context;
use crate::spec::{self, Map};
use crate::state::{OCI_VERSION, Status};

/// The six kinds, in the order of the lifecycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum HookKind {
    /// In the runtime's namespaces, when the container's exist; deprecated.
    Prestart,
    /// The same, after those.
    CreateRuntime,
    /// In the container's namespaces, before its root is entered.
    CreateContainer,
    /// In the container, as its user, right before the program.
    StartContainer,
    /// In the runtime's namespaces, once the program runs.
    Poststart,
    /// In the runtime's namespaces, once the container is gone.
    Poststop,
}

impl HookKind {
    /// Every kind, in order.
    pub const ALL: [Self; 6] = [
        Self::Prestart,
        Self::CreateRuntime,
        Self::CreateContainer,
        Self::StartContainer,
        Self::Poststart,
        Self::Poststop,
    ];

    /// Its name in `config.json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }

    /// Those of the config.
    pub(crate) fn of(self, hooks: &spec::Hooks) -> &[spec::Hook] {
        let list = match self {
            Self::Prestart => &hooks.prestart,
            Self::CreateRuntime => &hooks.create_runtime,
            Self::CreateContainer => &hooks.create_container,
            Self::StartContainer => &hooks.start_container,
            Self::Poststart => &hooks.poststart,
            Self::Poststop => &hooks.poststop,
        };
        list.as_deref().unwrap_or_default()
    }

    /// What a hook of this kind is told the status is.
    pub(crate) const fn status(self) -> Status {
        match self {
            // By the numbers of the lifecycle (runtime.md) a container is `created` after step 2, and prestart hooks are
            // step 3; the OCI's own suite asks for it. The newer two kinds are told what runc tells them.
            Self::Prestart | Self::StartContainer => Status::Created,
            Self::CreateRuntime | Self::CreateContainer => Status::Creating,
            Self::Poststart => Status::Running,
            Self::Poststop => Status::Stopped,
        }
    }
}

/// One hook.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hook {
    /// Program, an absolute path.
    pub path: String,
    /// argv, never empty.
    pub args: Vec<String>,
    /// All of its environment.
    pub env: Vec<String>,
    /// Seconds it may take; absent: as long as it wants.
    pub timeout: Option<u32>,
}

impl Hook {
    /// As the config has it.
    pub(crate) fn new(hook: &spec::Hook) -> Self {
        let path = hook.path.clone().unwrap_or_default();
        let args = hook.args.clone().filter(|args| !args.is_empty()).unwrap_or_else(|| vec![path.clone()]);
        let timeout = hook.timeout.map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX));
        Self { path, args, env: hook.env.clone().unwrap_or_default(), timeout }
    }
}

/// The hooks that run before the program, and what the stage's are told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hooks {
    /// Run by the parent, in this order: prestart and createRuntime.
    pub host: Vec<(HookKind, usize, Hook)>,
    /// Run by the stage in the container's namespaces.
    pub create_container: Vec<Hook>,
    /// Run by the stage as the program's user.
    pub start_container: Vec<Hook>,
    /// The bundle: where they run, and part of the state.
    pub bundle: String,
    /// Container id.
    pub id: String,
    /// Annotations of the state.
    pub annotations: Map<String>,
}

impl Hooks {
    /// The state for a hook of `kind`, in front of the pid and behind it.
    pub(crate) fn state_around_pid(&self, kind: HookKind) -> (String, String) {
        state_around_pid(&self.id, kind.status(), &self.bundle, &self.annotations)
    }
}

/// The state document of runtime.md, "State", for a hook; only a stopped container has no pid.
pub(crate) fn state(id: &str, status: Status, pid: Option<i32>, bundle: &str, annotations: &Map<String>) -> String {
    let (before, after) = state_around_pid(id, status, bundle, annotations);
    match pid {
        Some(pid) => format!("{before}{pid}{after}"),
        None => before.trim_end_matches("\"pid\":").trim_end_matches(',').to_owned() + &after,
    }
}

fn state_around_pid(id: &str, status: Status, bundle: &str, annotations: &Map<String>) -> (String, String) {
    let text = |value: &str| serde_json::Value::from(value).to_string();
    let before = format!("{{\"ociVersion\":\"{OCI_VERSION}\",\"id\":{},\"status\":\"{status}\",\"pid\":", text(id));
    let mut after = format!(",\"bundle\":{}", text(bundle));
    if !annotations.is_empty() {
        let members: BTreeMap<_, _> = annotations.iter().collect();
        after.push_str(&format!(",\"annotations\":{}", serde_json::json!(members)));
    }
    after.push('}');
    (before, after)
}

pub(super) fn plan(cx: &mut Context<'_>) -> Hooks {
    let Some(hooks) = cx.spec.hooks.as_ref() else { return Hooks::default() };
    let mut plan = Hooks {
        bundle: cx.request.bundle.clone(),
        id: cx.request.id.clone(),
        annotations: cx.spec.annotations.clone().unwrap_or_default(),
        ..Hooks::default()
    };
    for kind in HookKind::ALL {
        for (index, hook) in kind.of(hooks).iter().enumerate() {
            let pointer = format!("/hooks/{}/{index}", kind.name());
            check(cx, &pointer, hook);
            let what = format!("run {} hook #{index}", kind.name());
            let hook = Hook::new(hook);
            match kind {
                HookKind::Prestart | HookKind::CreateRuntime => plan.host.push((kind, index, hook)),
                HookKind::CreateContainer => {
                    cx.origins.note(Step::CreateContainerHook, index, pointer, what);
                    plan.create_container.push(hook);
                }
                HookKind::StartContainer => {
                    cx.origins.note(Step::StartContainerHook, index, pointer, what);
                    plan.start_container.push(hook);
                }
                // Those are kept with the container's record.
                HookKind::Poststart | HookKind::Poststop => {}
            }
        }
    }
    plan
}

fn check(cx: &mut Context<'_>, pointer: &str, hook: &spec::Hook) {
    match hook.path.as_deref() {
        None | Some("") => cx.problem(format!("{pointer}/path"), "path must not be empty"),
        Some(path) if !path.starts_with('/') => {
            cx.problem(format!("{pointer}/path"), format!("{path:?} is not an absolute path"));
        }
        Some(path) => cx.no_nul(format_args!("{pointer}/path"), path),
    }
    for (index, arg) in hook.args.iter().flatten().enumerate() {
        cx.no_nul(format_args!("{pointer}/args/{index}"), arg);
    }
    for (index, entry) in hook.env.iter().flatten().enumerate() {
        let pointer = format!("{pointer}/env/{index}");
        cx.no_nul(&pointer, entry);
        match entry.split_once('=') {
            None => cx.problem(pointer, "invalid environment variable: missing '='"),
            Some(("", _)) => cx.problem(pointer, "invalid environment variable: name cannot be empty"),
            Some(_) => {}
        }
    }
    if hook.timeout.is_some_and(|seconds| seconds <= 0) {
        cx.problem(format!("{pointer}/timeout"), "timeout must be greater than zero");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_has_what_the_spec_says() {
        let annotations = Map::from([("a\"b".to_owned(), "c\\d\n".to_owned())]);
        let document: serde_json::Value =
            serde_json::from_str(&state("x", Status::Creating, Some(7), "/b \"q\"", &annotations)).unwrap();
        assert_eq!(
            document,
            serde_json::json!({"ociVersion": OCI_VERSION, "id": "x", "status": "creating", "pid": 7,
                "bundle": "/b \"q\"", "annotations": {"a\"b": "c\\d\n"}})
        );
        let document: serde_json::Value =
            serde_json::from_str(&state("x", Status::Stopped, None, "/b", &Map::new())).unwrap();
        assert_eq!(
            document,
            serde_json::json!({"ociVersion": OCI_VERSION, "id": "x", "status": "stopped", "bundle": "/b"})
        );
    }

    #[test]
    fn no_arguments_means_the_path() {
        let hook = |args: Option<Vec<String>>| {
            Hook::new(&spec::Hook { path: Some("/bin/x".to_owned()), args, ..Default::default() }).args
        };
        assert_eq!(hook(None), ["/bin/x"]);
        assert_eq!(hook(Some(Vec::new())), ["/bin/x"]);
        assert_eq!(hook(Some(vec!["y".to_owned()])), ["y"]);
    }
}
