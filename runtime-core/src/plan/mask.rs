//! `maskedPaths` and `readonlyPaths`.

use std::collections::BTreeSet;

use runtime_stage::fail::Step;
use serde::Serialize;

use super::{Context, InRoot, Source};

/// Paths covered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Masks {
    /// Made read-only, first.
    pub readonly: Vec<InRoot>,
    /// Made empty, after.
    pub masked: Vec<InRoot>,
    /// The host's /dev/null, for masked files.
    pub null: Option<Source>,
    /// SELinux context of the directory behind masked directories.
    pub label: Option<String>,
}

pub(super) fn plan(cx: &mut Context<'_>) -> Masks {
    let Some(linux) = cx.spec.linux.as_ref() else { return Masks::default() };
    let (readonly, masked) = (linux.readonly_paths.as_deref(), linux.masked_paths.as_deref());
    let readonly =
        paths(cx, "/linux/readonlyPaths", "make read-only", Step::ReadonlyPath, readonly.unwrap_or_default());
    let masked = paths(cx, "/linux/maskedPaths", "mask", Step::MaskedPath, masked.unwrap_or_default());
    let null = (!masked.is_empty()).then(|| cx.host("/dev/null".to_owned(), false));
    Masks { readonly, masked, null, label: cx.mount_label.clone() }
}

fn paths(cx: &mut Context<'_>, pointer: &str, verb: &str, step: Step, list: &[String]) -> Vec<InRoot> {
    let mut paths: Vec<InRoot> = Vec::new();
    let mut known = BTreeSet::new();
    for (index, path) in list.iter().enumerate() {
        let at = format!("{pointer}/{index}");
        cx.no_nul(&at, path);
        if !path.starts_with('/') {
            cx.problem(at, format!("{path:?} is not absolute"));
            continue;
        }
        let path = InRoot::new(path);
        if path.0.is_empty() {
            cx.problem(at, format!("cannot {verb} the root itself; see /root/readonly"));
            continue;
        }
        if known.insert(path.0.clone()) {
            cx.origins.note(step, paths.len(), at, format!("{verb} /{}", path.0));
            paths.push(path);
        }
    }
    paths
}
