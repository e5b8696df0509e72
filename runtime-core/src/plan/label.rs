//! `process.apparmorProfile` and `process.selinuxLabel`: what execve(2) changes to. `linux.mountLabel`: what the files of
//! the container's filesystems are labelled with.

use runtime_stage::fail::Step;
use serde::Serialize;

use super::Context;

/// Security labels of the program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Labels {
    /// AppArmor profile.
    pub apparmor: Option<String>,
    /// SELinux context.
    pub selinux: Option<String>,
}

impl Labels {
    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.apparmor.is_none() && self.selinux.is_none()
    }
}

/// An empty name is as good as none, as engines send it.
pub(super) fn plan(cx: &mut Context<'_>) -> Labels {
    let Some(process) = cx.spec.process.as_ref() else { return Labels::default() };
    let (apparmor, selinux) = (process.apparmor_profile.as_deref(), process.selinux_label.as_deref());
    let labels = Labels {
        apparmor: name(cx, "/process/apparmorProfile", apparmor),
        selinux: name(cx, "/process/selinuxLabel", selinux),
    };
    if let Some(profile) = &labels.apparmor {
        if !cx.facts.apparmor {
            cx.problem("/process/apparmorProfile", "apparmor: config provided but apparmor not supported");
        }
        cx.origins.note(Step::Label, 0, "/process/apparmorProfile", format!("apply apparmor profile {profile:?}"));
    }
    if let Some(label) = &labels.selinux {
        if !cx.facts.selinux {
            cx.problem("/process/selinuxLabel", DISABLED);
        }
        let whats = ["apply the SELinux label", "label new keys with", "stop labelling keys with"];
        for (index, what) in whats.into_iter().enumerate() {
            cx.origins.note(Step::Label, index + 1, "/process/selinuxLabel", format!("{what} {label:?}"));
        }
    }
    labels
}

const DISABLED: &str = "selinux label is specified in config, but selinux is disabled or not supported";

/// The context of everything mounted, if there is one.
pub(super) fn of_mounts(cx: &mut Context<'_>) -> Option<String> {
    const POINTER: &str = "/linux/mountLabel";
    let label = name(cx, POINTER, cx.spec.linux.as_ref().and_then(|linux| linux.mount_label.as_deref()))?;
    if !cx.facts.selinux {
        cx.problem(POINTER, DISABLED);
    }
    Some(label)
}

/// One line without control characters: the kernel's parser must see exactly one word of it.
fn name(cx: &mut Context<'_>, pointer: &str, name: Option<&str>) -> Option<String> {
    let name = name.filter(|name| !name.is_empty())?;
    if name.contains(char::is_control) {
        cx.problem(pointer, format!("{name:?} contains a control character"));
    }
    // A page is what the attribute file takes.
    if name.len() > 4000 {
        cx.problem(pointer, format!("{} bytes; the kernel takes less than a page", name.len()));
    }
    Some(name.to_owned())
}
