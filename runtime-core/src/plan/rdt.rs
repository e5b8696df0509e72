//! `linux.intelRdt`: the container's class of service and monitoring group in resctrl.

use serde::Serialize;

use super::Context;

/// Cache and memory bandwidth of the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rdt {
    /// Directory of the group below the root of resctrl; empty: the root itself.
    pub group: String,
    /// It is the container's own: made now, removed with it.
    pub own: bool,
    /// What goes into its `schemata`, line by line, each with where it comes from.
    pub schemata: Vec<(String, String)>,
    /// Name of the monitoring group in it.
    pub monitoring: Option<String>,
}

/// Names that resctrl has given away already, in the root or in every group.
const RESERVED: [&str; 3] = ["info", "mon_groups", "mon_data"];

pub(super) fn plan(cx: &mut Context<'_>) -> Option<Rdt> {
    let wanted = cx.spec.linux.as_ref()?.intel_rdt.as_ref()?;
    let id = cx.request.id.clone();
    let named = wanted.clos_id.as_deref().filter(|name| !name.is_empty());
    if named.is_some_and(|name| name != "/" && !valid(name)) {
        cx.problem("/linux/intelRdt/closID", format!("invalid intelRdt.ClosID {:?}", named.unwrap_or_default()));
    }
    if (named.is_none() || wanted.enable_monitoring) && !valid(&id) {
        cx.problem("/linux/intelRdt", format!("no group of resctrl can be called {id:?}, like the container"));
    }
    let l3 = wanted.l3_cache_schema.as_deref().unwrap_or_default();
    let bandwidth = wanted.mem_bw_schema.as_deref().unwrap_or_default();
    if !bandwidth.is_empty() && (!bandwidth.starts_with("MB:") || bandwidth.trim_end().contains('\n')) {
        cx.problem("/linux/intelRdt/memBwSchema", "must be one line that begins with \"MB:\"");
    }
    let mut schemata = Vec::new();
    for line in lines(l3) {
        // config-linux.md: bandwidth lines in l3CacheSchema give way to memBwSchema.
        if bandwidth.is_empty() || !line.starts_with("MB:") {
            schemata.push(("/linux/intelRdt/l3CacheSchema".to_owned(), line.to_owned()));
        }
    }
    schemata.extend(lines(bandwidth).map(|line| ("/linux/intelRdt/memBwSchema".to_owned(), line.to_owned())));
    for (index, entry) in wanted.schemata.iter().flatten().enumerate() {
        let at = format!("/linux/intelRdt/schemata/{index}");
        schemata.extend(lines(entry).map(|line| (at.clone(), line.to_owned())));
    }
    for (at, line) in &schemata {
        if line.contains(char::is_control) || !line.contains(':') {
            cx.problem(at.as_str(), format!("{line:?} is no line of a schemata file, like \"L3:0=ff\""));
        }
    }
    Some(Rdt {
        group: named.unwrap_or(&id).trim_matches('/').to_owned(),
        own: named.is_none(),
        schemata,
        monitoring: wanted.enable_monitoring.then_some(id),
    })
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').map(str::trim).filter(|line| !line.is_empty())
}

fn valid(name: &str) -> bool {
    let odd = |c: char| c == '/' || c.is_control();
    !name.is_empty() && !matches!(name, "." | "..") && !name.contains(odd) && !RESERVED.contains(&name)
}
