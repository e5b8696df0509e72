//! The hooks of later verbs: poststart in start and run, poststop wherever a container is destroyed.

use std::time::Duration;

use super::kill::kill;
use crate::launch::hook::{self, Scene};
use crate::plan::hook::state;
use crate::plan::{Hook, HookKind};
use crate::spec::Hooks;
use crate::state::{Dir, Record};
use crate::{Container, Error, Level, Log, Result};

/// What a poststop hook without a timeout may take when the container is deleted by force, so that nothing can hold
/// up a forced delete for ever.
const FORCED: Duration = Duration::from_secs(60);

/// Runs the poststart hooks in turn. The first that fails ends it, and the container with it (runtime.md,
/// "Lifecycle", step 9).
pub(super) fn poststart(container: &Container, dir: Option<&Dir>) -> Result<()> {
    let record = &container.record;
    let hooks = HookKind::Poststart.of(&record.hooks);
    let scene = Scene { bundle: &record.bundle, dir, log: container.log.as_ref(), limit: None };
    for (index, hook) in hooks.iter().enumerate() {
        let kind = HookKind::Poststart;
        let pid = Some(record.init_process_pid);
        let state = state(&record.id, kind.status(), pid, &record.bundle, &record.annotations);
        if let Err(error) = hook::run(kind, index, &Hook::new(hook), &state, scene) {
            // Gone already is as well.
            let _ = kill(container, libc::SIGKILL);
            return Err(error);
        }
    }
    Ok(())
}

/// Runs the poststop hooks of a container that is gone. One that fails is told, and the rest still run (step 13).
pub(super) fn poststop(record: &Record, log: Option<&Log>, forced: bool) {
    let scene = Scene { bundle: &record.bundle, dir: None, log, limit: forced.then_some(FORCED) };
    for (index, hook) in HookKind::Poststop.of(&record.hooks).iter().enumerate() {
        let kind = HookKind::Poststop;
        let state = state(&record.id, kind.status(), None, &record.bundle, &record.annotations);
        if let Err(error) = hook::run(kind, index, &Hook::new(hook), &state, scene) {
            warn(log, &error);
        }
    }
}

fn warn(log: Option<&Log>, error: &Error) {
    if let Some(log) = log {
        log(Level::Warning, &error.to_string());
    }
}

/// Whether there are none of any kind.
pub(super) fn none(hooks: Option<&Hooks>) -> bool {
    hooks.is_none_or(|hooks| HookKind::ALL.iter().all(|kind| kind.of(hooks).is_empty()))
}

/// Those the record keeps.
pub(super) fn kept(hooks: Option<&Hooks>) -> Hooks {
    let some = |list: &Option<Vec<_>>| list.clone().filter(|list| !list.is_empty());
    hooks.map_or_else(Hooks::default, |hooks| Hooks {
        poststart: some(&hooks.poststart),
        poststop: some(&hooks.poststop),
        ..Hooks::default()
    })
}
