//! `hostname` and `domainname`.

use runtime_stage::fail::Step;

use super::{Context, Kind, Namespaces};

/// The kernel's limit (sethostname(2)).
const LONGEST: usize = 64;

pub(super) fn hostname(cx: &mut Context<'_>, namespaces: &Namespaces) -> Option<String> {
    let name = cx.spec.hostname.clone()?;
    check(cx, namespaces, &name, "hostname", Step::Hostname)
}

pub(super) fn domainname(cx: &mut Context<'_>, namespaces: &Namespaces) -> Option<String> {
    let name = cx.spec.domainname.clone()?;
    check(cx, namespaces, &name, "domainname", Step::Domainname)
}

fn check(cx: &mut Context<'_>, namespaces: &Namespaces, name: &str, property: &str, step: Step) -> Option<String> {
    if name.is_empty() {
        return None;
    }
    let pointer = format!("/{property}");
    cx.no_nul(&pointer, name);
    if name.len() > LONGEST {
        cx.problem(pointer.as_str(), format!("{} bytes; the kernel takes {LONGEST}", name.len()));
    }
    if !namespaces.is_private(Kind::Uts) {
        cx.problem(pointer.as_str(), format!("unable to set {property} without a private UTS namespace"));
    }
    cx.origins.note(step, 0, pointer, format!("set the {property} to {name:?}"));
    Some(name.to_owned())
}
