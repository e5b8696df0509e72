//! resctrl: groups of processes with a share of cache and memory bandwidth
//! (Documentation/filesystems/resctrl.rst of the kernel).

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::plan::Rdt;
use crate::{Error, ErrorKind, Result};

#[cfg(test)]
mod tests;

/// Directories that were made for one container, and go with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Made {
    /// Class of service.
    pub group: Option<PathBuf>,
    /// Monitoring group.
    pub monitoring: Option<PathBuf>,
}

/// The groups a container goes into.
#[derive(Debug)]
pub(crate) struct Groups {
    root: PathBuf,
    group: PathBuf,
    monitoring: Option<PathBuf>,
}

/// Makes a directory; the kernel fills it with its files.
type Mkdir = fn(&Path) -> io::Result<()>;

impl Groups {
    /// Makes and fills, or finds and compares, what the plan names. `made` says at every moment what there is to
    /// be removed, whatever is returned.
    pub(crate) fn prepare(plan: &Rdt, made: &mut Made) -> Result<Self> {
        let root = mounted().map_err(|e| Error::io("cannot look for resctrl", "read(/proc/self/mountinfo)", e))?;
        let Some(root) = root else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "intelRdt is specified in config, but no resctrl is mounted",
            )
            .at("/linux/intelRdt")
            .with_hint("needs a processor with RDT or QoS, CONFIG_X86_CPU_RESCTRL, and mount -t resctrl"));
        };
        Self::below(root, plan, made, |path| fs::create_dir(path))
    }

    fn below(root: PathBuf, plan: &Rdt, made: &mut Made, mkdir: Mkdir) -> Result<Self> {
        let group = root.join(&plan.group);
        let mut groups = Self { group, monitoring: None, root };
        let is_new = groups.class(plan, made, mkdir)?;
        if is_new {
            groups.write(plan)?;
        } else {
            groups.compare(plan)?;
        }
        if let Some(name) = &plan.monitoring {
            let path = groups.group.join("mon_groups").join(name);
            mkdir(&path).map_err(|e| {
                groups.explain("cannot make the monitoring group", &format!("mkdir({path:?})"), e).at("/linux/intelRdt")
            })?;
            made.monitoring = Some(path.clone());
            groups.monitoring = Some(path);
        }
        Ok(groups)
    }

    /// True if the class of service was made now.
    fn class(&self, plan: &Rdt, made: &mut Made, mkdir: Mkdir) -> Result<bool> {
        if plan.group.is_empty() {
            return Ok(false);
        }
        if plan.schemata.is_empty() && !plan.own {
            let message = "closID without any schema needs a group that is there";
            return match fs::metadata(&self.group) {
                Ok(found) if found.is_dir() => Ok(false),
                Ok(_) => Err(Error::new(ErrorKind::InvalidConfig, message).at("/linux/intelRdt/closID")),
                Err(e) => Err(Error::io(message, format!("stat({:?})", self.group), e).at("/linux/intelRdt/closID")),
            };
        }
        match mkdir(&self.group) {
            Ok(()) => {
                // One with a name of its own is for others too, and stays.
                if plan.own {
                    made.group = Some(self.group.clone());
                }
                Ok(true)
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && !plan.own => Ok(false),
            Err(e) => {
                let call = format!("mkdir({:?})", self.group);
                Err(self.explain("cannot make the class of service", &call, e).at("/linux/intelRdt"))
            }
        }
    }

    /// One write a line: the kernel stops at the first that it does not take, and says why.
    fn write(&self, plan: &Rdt) -> Result<()> {
        let path = self.group.join("schemata");
        for (at, line) in &plan.schemata {
            put(&path, &format!("{line}\n")).map_err(|e| {
                let call = format!("write({path:?}, {line:?})");
                self.explain("the kernel does not take the schema", &call, e).at(at.as_str())
            })?;
        }
        Ok(())
    }

    /// A group that others may be in is not changed: what is asked for must be so already.
    fn compare(&self, plan: &Rdt) -> Result<()> {
        if plan.schemata.is_empty() {
            return Ok(());
        }
        let path = self.group.join("schemata");
        let found = fs::read_to_string(&path).map_err(|e| {
            Error::io("cannot compare the schemata", format!("read({path:?})"), e).at("/linux/intelRdt")
        })?;
        for (at, line) in &plan.schemata {
            if !covered(line, &found) {
                let message =
                    format!("the group {:?} exists and its schemata differ: {line:?} is asked for", self.group);
                let shown = found.split_whitespace().collect::<Vec<_>>().join(" ");
                return Err(Error::new(ErrorKind::InvalidConfig, message)
                    .at(at.as_str())
                    .with_hint(format!("it has {shown}; leave the schemata out to use it as it is")));
            }
        }
        Ok(())
    }

    /// Moves a process, with the children it will have, into the groups.
    pub(crate) fn join(&self, pid: i32) -> Result<()> {
        for directory in std::iter::once(&self.group).chain(&self.monitoring) {
            let path = directory.join("tasks");
            put(&path, &pid.to_string()).map_err(|e| {
                let call = format!("write({path:?}, {pid})");
                self.explain("cannot enter the class of service", &call, e).at("/linux/intelRdt")
            })?;
        }
        Ok(())
    }

    /// An error with the kernel's own words.
    fn explain(&self, what: &str, call: &str, error: io::Error) -> Error {
        let failed = Error::io(what, call, error);
        let said = fs::read_to_string(self.root.join("info/last_cmd_status")).unwrap_or_default();
        match said.trim() {
            "" | "ok" => failed,
            said => failed.with_hint(said),
        }
    }
}

/// Removes what was made; processes in it fall back to the group above. What is gone is fine.
pub(crate) fn remove(made: &Made) -> Result<()> {
    for path in made.monitoring.iter().chain(&made.group) {
        match fs::remove_dir(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("cannot remove the resctrl group", format!("rmdir({path:?})"), e));
            }
            _ => {}
        }
    }
    Ok(())
}

fn put(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    file.write_all(text.as_bytes())
}

/// Where the calling thread sees resctrl; there is at most one.
fn mounted() -> io::Result<Option<PathBuf>> {
    let text = fs::read_to_string("/proc/thread-self/mountinfo")?;
    Ok(text.lines().find_map(mount_point))
}

/// proc_pid_mountinfo(5): the fifth field, with spaces and the like as octal escapes.
fn mount_point(line: &str) -> Option<PathBuf> {
    let (head, tail) = line.split_once(" - ")?;
    let fstype = tail.split(' ').next()?;
    (fstype == "resctrl").then(|| unescaped(head.split(' ').nth(4).unwrap_or_default()).into())
}

fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

/// True if every value of the line `wanted` is what the schemata file `found` has.
///
/// The kernel writes each resource on its own line, all domains of it, with digits of its own choosing.
fn covered(wanted: &str, found: &str) -> bool {
    let Some((resource, values)) = values(wanted) else { return false };
    let has = found.lines().filter_map(self::values).find(|(name, _)| *name == resource);
    has.is_some_and(|(_, has)| !values.is_empty() && values.iter().all(|value| has.contains(value)))
}

/// The resource, and (domain, value) pairs. Bit masks are hexadecimal, bandwidths decimal.
fn values(line: &str) -> Option<(&str, Vec<(u64, u64)>)> {
    let (resource, rest) = line.trim().split_once(':')?;
    let radix = if resource.ends_with("MB") || resource == "SMBA" { 10 } else { 16 };
    let pair = |text: &str| {
        let (domain, value) = text.split_once('=')?;
        let value = value.trim();
        let digits = if radix == 16 { value.strip_prefix("0x").unwrap_or(value) } else { value };
        Some((domain.trim().parse().ok()?, u64::from_str_radix(digits, radix).ok()?))
    };
    Some((resource.trim(), rest.split(';').map(pair).collect::<Option<_>>()?))
}
