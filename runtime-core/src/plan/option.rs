//! Mount options: what each name means, and what a list of them adds up to.

use runtime_stage::sys::ms;
use serde::{Serialize, Serializer};

/// MOUNT_ATTR_* (mount_setattr(2)).
pub(super) mod attr {
    pub(in crate::plan) const RDONLY: u64 = 0x1;
    pub(in crate::plan) const NOSUID: u64 = 0x2;
    pub(in crate::plan) const NODEV: u64 = 0x4;
    pub(in crate::plan) const NOEXEC: u64 = 0x8;
    pub(in crate::plan) const ATIME: u64 = 0x70;
    pub(in crate::plan) const NOATIME: u64 = 0x10;
    pub(in crate::plan) const STRICTATIME: u64 = 0x20;
    pub(in crate::plan) const NODIRATIME: u64 = 0x80;
    pub(in crate::plan) const NOSYMFOLLOW: u64 = 0x20_0000;
    /// What a bind with options loses when the options do not name it.
    pub(in crate::plan) const REPLACED: u64 = RDONLY | NOSUID | NODEV | NOEXEC | NOSYMFOLLOW;

    const NAMES: [(u64, &str); 6] = [
        (RDONLY, "rdonly"),
        (NOSUID, "nosuid"),
        (NODEV, "nodev"),
        (NOEXEC, "noexec"),
        (NODIRATIME, "nodiratime"),
        (NOSYMFOLLOW, "nosymfollow"),
    ];

    /// For people: a plan is read by them only.
    pub(in crate::plan) fn names<S: serde::Serializer>(set: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        let flags = NAMES.iter().filter(|(bit, _)| set & bit != 0).map(|(_, name)| (*name).to_owned());
        let atime = match set & ATIME {
            0 => None,
            ATIME => Some("atime (all bits)".to_owned()),
            NOATIME => Some("noatime".to_owned()),
            STRICTATIME => Some("strictatime".to_owned()),
            other => Some(format!("{other:#x}")),
        };
        let known = NAMES.iter().fold(ATIME, |all, (bit, _)| all | bit);
        let rest = Some(set & !known).filter(|rest| *rest != 0).map(|rest| format!("{rest:#x}"));
        serializer.collect_seq(flags.chain(atime).chain(rest))
    }
}

/// MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE, with MS_REC for the whole tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propagation(pub u64);

impl Propagation {
    pub(super) const PRIVATE: Self = Self(ms::PRIVATE);
    pub(super) const RPRIVATE: Self = Self(ms::PRIVATE | ms::REC);
    pub(crate) const RSLAVE: Self = Self(ms::SLAVE | ms::REC);

    /// True if nothing that happens on this side is seen on the other from here on.
    pub(super) fn sends_nothing(self) -> bool {
        self.0 & ms::SHARED == 0
    }

    pub(super) fn is_recursive(self) -> bool {
        self.0 & ms::REC != 0
    }
}

impl Serialize for Propagation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = PROPAGATIONS.iter().find(|(_, p)| *p == *self).map_or("", |(name, _)| name);
        serializer.serialize_str(name)
    }
}

const PROPAGATIONS: [(&str, Propagation); 8] = [
    ("shared", Propagation(ms::SHARED)),
    ("slave", Propagation(ms::SLAVE)),
    ("private", Propagation(ms::PRIVATE)),
    ("unbindable", Propagation(ms::UNBINDABLE)),
    ("rshared", Propagation(ms::SHARED | ms::REC)),
    ("rslave", Propagation(ms::SLAVE | ms::REC)),
    ("rprivate", Propagation(ms::PRIVATE | ms::REC)),
    ("runbindable", Propagation(ms::UNBINDABLE | ms::REC)),
];

/// The propagation an option names.
pub(super) fn propagation(name: &str) -> Option<Propagation> {
    PROPAGATIONS.iter().find(|(known, _)| *known == name).map(|(_, propagation)| *propagation)
}

/// When access times are written: one value, not bits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Atime {
    No,
    Strict,
    Relative,
}

/// What is done with a link at the end of a path: crun's options.
#[derive(Clone, Copy)]
enum Link {
    /// That of the source is mounted.
    Source,
    /// That of the destination is covered.
    Target,
    /// That of the source is made anew at the destination.
    Copy,
}

/// What a mount option does.
#[derive(Clone, Copy)]
enum Effect {
    /// Sets attributes of this mount.
    Set(u64),
    /// Clears them.
    Clear(u64),
    /// Chooses how access times are kept.
    Atime(Atime),
    /// Takes a choice back, if it is the one that was made.
    NotAtime(Atime),
    /// Sets and clears attributes of the whole tree: set, clear.
    Recursive(u64, u64),
    /// A flag of the superblock, by the name fsconfig(2) knows.
    Superblock(&'static str),
    /// A bind; with everything below.
    Bind(bool),
    /// Changes the mount that is there.
    Remount,
    /// A tmpfs gets a copy of what it covers.
    CopyUp,
    /// Ids are mapped; with everything below.
    Idmap(bool),
    /// A link at the end of the source or the destination is not followed.
    Itself(Link),
    /// Known, and without effect: the kernel's own default, or only about messages in its log.
    Nothing,
}

/// The option table of config.md, "Linux mount options", and three of crun's. Anything else is the filesystem's own
/// business.
const OPTIONS: &[(&str, Effect)] = {
    use Effect::Superblock as F;
    use Effect::{
        Atime as A, Bind, Clear as C, CopyUp, Idmap, Itself, NotAtime, Nothing, Recursive as R, Remount, Set as S,
    };
    &[
        ("async", F("async")),
        ("atime", NotAtime(Atime::No)),
        ("bind", Bind(false)),
        ("copy-symlink", Itself(Link::Copy)),
        ("defaults", Nothing),
        ("dest-nofollow", Itself(Link::Target)),
        ("dev", C(attr::NODEV)),
        ("diratime", C(attr::NODIRATIME)),
        ("dirsync", F("dirsync")),
        ("exec", C(attr::NOEXEC)),
        ("idmap", Idmap(false)),
        ("iversion", Nothing),
        ("lazytime", F("lazytime")),
        ("loud", Nothing),
        ("mand", F("mand")),
        ("noatime", A(Atime::No)),
        ("nodev", S(attr::NODEV)),
        ("nodiratime", S(attr::NODIRATIME)),
        ("noexec", S(attr::NOEXEC)),
        ("noiversion", Nothing),
        ("nolazytime", F("nolazytime")),
        ("nomand", F("nomand")),
        ("norelatime", NotAtime(Atime::Relative)),
        ("nostrictatime", NotAtime(Atime::Strict)),
        ("nosuid", S(attr::NOSUID)),
        ("nosymfollow", S(attr::NOSYMFOLLOW)),
        ("ratime", R(0, attr::ATIME)),
        ("rbind", Bind(true)),
        ("rdev", R(0, attr::NODEV)),
        ("rdiratime", R(0, attr::NODIRATIME)),
        ("relatime", A(Atime::Relative)),
        ("remount", Remount),
        ("rexec", R(0, attr::NOEXEC)),
        ("ridmap", Idmap(true)),
        ("rnoatime", R(attr::NOATIME, attr::ATIME)),
        ("rnodev", R(attr::NODEV, 0)),
        ("rnodiratime", R(attr::NODIRATIME, 0)),
        ("rnoexec", R(attr::NOEXEC, 0)),
        ("rnorelatime", R(0, attr::ATIME)),
        ("rnostrictatime", R(0, attr::ATIME)),
        ("rnosuid", R(attr::NOSUID, 0)),
        ("rnosymfollow", R(attr::NOSYMFOLLOW, 0)),
        ("ro", S(attr::RDONLY)),
        ("rrelatime", R(0, attr::ATIME)),
        ("rro", R(attr::RDONLY, 0)),
        ("rrw", R(0, attr::RDONLY)),
        ("rstrictatime", R(attr::STRICTATIME, attr::ATIME)),
        ("rsuid", R(0, attr::NOSUID)),
        ("rsymfollow", R(0, attr::NOSYMFOLLOW)),
        ("rw", C(attr::RDONLY)),
        ("silent", Nothing),
        ("src-nofollow", Itself(Link::Source)),
        ("strictatime", A(Atime::Strict)),
        ("suid", C(attr::NOSUID)),
        ("symfollow", C(attr::NOSYMFOLLOW)),
        ("sync", F("sync")),
        ("tmpcopyup", CopyUp),
    ]
};

/// Every name of the table, for `features`.
pub(crate) fn known() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().map(|(name, _)| *name).chain(PROPAGATIONS.iter().map(|(name, _)| *name))
}

/// The option that was probably meant, if any is near.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    known()
        .map(|known| (distance(name, known), known))
        .filter(|(far, known)| *far * 3 <= known.len())
        .min()
        .map(|m| m.1)
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate().take(64) {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let next = (corner + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            corner = row[j + 1];
            row[j + 1] = next;
        }
    }
    row[b.len()].max(a.len().saturating_sub(64))
}

/// A list of options, sorted by what they are about.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Options {
    /// MOUNT_ATTR_* to set on this mount; of the access times at most one.
    pub set: u64,
    /// MOUNT_ATTR_* to clear; of the access times all or none, as the kernel wants it.
    pub clear: u64,
    /// Any of the above was named, so a bind loses what was not.
    pub attributes: bool,
    /// MOUNT_ATTR_* to set on the whole tree.
    pub all_set: u64,
    /// MOUNT_ATTR_* to clear on the whole tree.
    pub all_clear: u64,
    /// Flags of the superblock.
    pub superblock: Vec<&'static str>,
    /// A bind; with everything below.
    pub bind: Option<bool>,
    /// Changes the mount that is there.
    pub remount: bool,
    /// Propagation, in order.
    pub propagation: Vec<Propagation>,
    /// A tmpfs gets a copy of what it covers.
    pub copy_up: bool,
    /// Ids are mapped; with everything below.
    pub idmap: Option<bool>,
    /// How, if the option itself says it, and its index in the list.
    pub idmap_lines: Option<(String, usize)>,
    /// A source that is a link is mounted itself.
    pub source_itself: bool,
    /// A destination that is a link is covered itself.
    pub target_itself: bool,
    /// A source that is a link is made anew at the destination.
    pub copy_link: bool,
    /// The filesystem's own: name, value ("": a flag), index in the list.
    pub data: Vec<(String, String, usize)>,
}

/// Sorts a list. Later options win over earlier ones.
pub(super) fn parse<'a>(list: impl IntoIterator<Item = &'a str>) -> Options {
    let mut options = Options::default();
    let mut atime = None;
    for (index, option) in list.into_iter().enumerate() {
        if let Some(propagation) = propagation(option) {
            options.propagation.push(propagation);
            continue;
        }
        match OPTIONS.iter().find(|(name, _)| *name == option).map(|(_, effect)| *effect) {
            Some(Effect::Set(bits)) => options.change(bits, 0),
            Some(Effect::Clear(bits)) => options.change(0, bits),
            Some(Effect::Atime(choice)) => atime = Some(choice),
            Some(Effect::NotAtime(choice)) => {
                atime = atime.filter(|chosen| *chosen != choice);
                options.attributes = true;
            }
            Some(Effect::Recursive(set, clear)) => {
                options.all_set = options.all_set & !(set | clear) | set;
                options.all_clear = options.all_clear & !set | clear;
            }
            Some(Effect::Superblock(flag)) => options.flag(flag),
            Some(Effect::Bind(recursive)) => options.bind = Some(recursive || options.bind == Some(true)),
            Some(Effect::Remount) => options.remount = true,
            Some(Effect::CopyUp) => options.copy_up = true,
            Some(Effect::Idmap(recursive)) => options.map_ids(recursive),
            Some(Effect::Itself(Link::Source)) => options.source_itself = true,
            Some(Effect::Itself(Link::Target)) => options.target_itself = true,
            Some(Effect::Itself(Link::Copy)) => options.copy_link = true,
            Some(Effect::Nothing) => {}
            None => match option.split_once('=') {
                Some((name @ ("idmap" | "ridmap"), lines)) => {
                    options.map_ids(name == "ridmap");
                    options.idmap_lines = Some((lines.to_owned(), index));
                }
                _ => options.data.extend(data(option).map(|(name, value)| (name, value, index))),
            },
        }
    }
    options.times(atime);
    options
}

impl Options {
    fn change(&mut self, set: u64, clear: u64) {
        self.set = self.set & !clear | set;
        self.clear = self.clear & !set | clear;
        self.attributes = true;
    }

    /// As mount(2): naming one of the time options replaces them all, and what only takes one back changes nothing.
    fn times(&mut self, choice: Option<Atime>) {
        self.clear &= !attr::NODIRATIME;
        let directories = self.set & attr::NODIRATIME;
        if choice.is_none() && directories == 0 {
            return;
        }
        let bits = match choice {
            Some(Atime::No) => attr::NOATIME,
            Some(Atime::Strict) => attr::STRICTATIME,
            Some(Atime::Relative) | None => 0,
        };
        self.change(bits, attr::ATIME | attr::NODIRATIME & !directories);
    }

    fn map_ids(&mut self, recursive: bool) {
        self.idmap = Some(recursive || self.idmap == Some(true));
    }

    /// Adds a flag, in place of its opposite.
    fn flag(&mut self, flag: &'static str) {
        const OPPOSITES: [(&str, &str); 3] = [("sync", "async"), ("lazytime", "nolazytime"), ("mand", "nomand")];
        let opposite =
            OPPOSITES.iter().find_map(|(a, b)| if *a == flag { Some(*b) } else { (*b == flag).then_some(*a) });
        self.superblock.retain(|known| *known != flag && Some(*known) != opposite);
        self.superblock.push(flag);
    }
}

/// What mount(2) would make of one option that is the filesystem's: several, where there are commas. Escaped ones
/// stay (overlay), and those in the quotes of an SELinux context, which lose the quotes.
fn data(option: &str) -> impl Iterator<Item = (String, String)> {
    const CONTEXTS: [&str; 4] = ["context=", "fscontext=", "defcontext=", "rootcontext="];
    let mut parts = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for letter in option.chars() {
        let end = parts.len() - 1;
        let part = &mut parts[end];
        match letter {
            '"' if quoted || CONTEXTS.contains(&part.as_str()) => quoted = !quoted,
            ',' if !quoted && !escaped => parts.push(String::new()),
            letter => part.push(letter),
        }
        escaped = letter == '\\' && !escaped;
    }
    parts.into_iter().filter(|part| !part.is_empty()).map(|part| match part.split_once('=') {
        Some((name, value)) => (name.to_owned(), value.to_owned()),
        None => (part, String::new()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(list: &[&str]) -> Options {
        parse(list.iter().copied())
    }

    #[test]
    fn the_last_option_wins() {
        let options = of(&["ro", "nosuid", "rw", "sync", "async", "mand"]);
        assert_eq!((options.set, options.clear), (attr::NOSUID, attr::RDONLY));
        assert_eq!(options.superblock, ["async", "mand"]);
        let options = of(&["rro", "rrw", "rnoatime", "rstrictatime"]);
        assert_eq!((options.all_set, options.all_clear), (attr::STRICTATIME, attr::RDONLY | attr::ATIME));
    }

    #[test]
    fn access_times_are_one_choice() {
        const ALL: u64 = attr::ATIME | attr::NODIRATIME;
        for (list, set, clear) in [
            (&["noatime"][..], attr::NOATIME, ALL),
            (&["noatime", "strictatime"], attr::STRICTATIME, ALL),
            (&["relatime"], 0, ALL),
            (&["atime"], 0, 0),
            (&["diratime"], 0, 0),
            (&["strictatime", "atime"], attr::STRICTATIME, ALL),
            (&["noatime", "atime"], 0, 0),
            (&["nostrictatime"], 0, 0),
            (&["norelatime", "noatime"], attr::NOATIME, ALL),
            (&["nodiratime"], attr::NODIRATIME, attr::ATIME),
            (&["nodiratime", "strictatime"], attr::NODIRATIME | attr::STRICTATIME, attr::ATIME),
            (&["ro"], attr::RDONLY, 0),
        ] {
            let options = of(list);
            // The kernel refuses a part of the field (EINVAL).
            assert!(matches!(options.clear & attr::ATIME, 0 | attr::ATIME), "{list:?}");
            assert_eq!((options.set, options.clear), (set, clear), "{list:?}");
            assert!(options.attributes);
        }
    }

    #[test]
    fn every_option_of_the_specification_is_known() {
        // config.md, "Linux mount options", in its order.
        let all = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev \
                   nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private \
                   ratime rbind rdev rdiratime relatime remount rexec rnoatime rnodev rnodiratime rnoexec rnorelatime \
                   rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid \
                   rsymfollow runbindable rw shared silent slave strictatime suid symfollow sync tmpcopyup unbindable \
                   idmap ridmap";
        for name in all.split_ascii_whitespace() {
            assert!(known().any(|known| known == name), "{name}");
            assert_eq!(of(&[name]).data, [], "{name}");
        }
        let of_crun = ["copy-symlink", "dest-nofollow", "src-nofollow"];
        assert_eq!(all.split_ascii_whitespace().count() + of_crun.len(), known().count());
    }

    #[test]
    fn options_of_crun() {
        let options = of(&["bind", "copy-symlink", "dest-nofollow", "src-nofollow", "ridmap=uids=0-1-10;gids=0-1-10"]);
        assert!(options.copy_link && options.target_itself && options.source_itself);
        assert_eq!(options.idmap, Some(true));
        assert_eq!(options.idmap_lines, Some(("uids=0-1-10;gids=0-1-10".to_owned(), 4)));
        assert_eq!(options.data, []);
    }

    #[test]
    fn what_is_not_known_is_the_filesystems() {
        let options = of(&["size=1m,mode=700", "context=\"a:b:c0,c1\",x", "noswap", "lowerdir=/a\\,b:/\"c"]);
        let expected = [
            ("size", "1m", 0),
            ("mode", "700", 0),
            ("context", "a:b:c0,c1", 1),
            ("x", "", 1),
            ("noswap", "", 2),
            ("lowerdir", "/a\\,b:/\"c", 3),
        ];
        let found: Vec<_> = options.data.iter().map(|(n, v, i)| (n.as_str(), v.as_str(), *i)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_nearest_name() {
        assert_eq!(nearest("nosiud"), Some("nosuid"));
        assert_eq!(nearest("readonly"), None);
        assert_eq!(nearest("rprivat"), Some("rprivate"));
        assert_eq!(nearest("no-exec"), Some("noexec"));
        assert_eq!(nearest("lowerdir"), None);
    }
}
