//! User names for the OWNER column of `list`.

use std::collections::BTreeMap;

/// Names of /etc/passwd by uid. The file is read here and not through NSS, which would load shared libraries
/// into a static program and may ask the network.
pub(crate) struct Owners {
    passwd: Vec<u8>,
    /// Those that were asked for.
    names: BTreeMap<u32, String>,
}

impl Owners {
    /// Reads /etc/passwd; without one, every owner is shown by number.
    pub(crate) fn read() -> Self {
        Self::of(std::fs::read("/etc/passwd").unwrap_or_default())
    }

    fn of(passwd: Vec<u8>) -> Self {
        Self { passwd, names: BTreeMap::new() }
    }

    /// The user's name, or `#uid`.
    pub(crate) fn name(&mut self, uid: u32) -> String {
        let find = || find(&self.passwd, uid).unwrap_or_else(|| format!("#{uid}"));
        self.names.entry(uid).or_insert_with(find).clone()
    }
}

/// The first entry of a uid counts, as in getpwuid(3).
fn find(passwd: &[u8], wanted: u32) -> Option<String> {
    passwd.split(|&b| b == b'\n').find_map(|line| {
        let mut fields = line.split(|&b| b == b':');
        let (name, uid) = (fields.next()?, fields.nth(1)?);
        let same = std::str::from_utf8(uid).is_ok_and(|uid| uid.parse() == Ok(wanted));
        (same && !name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_names_and_survives_nonsense() {
        let passwd = b"root:x:0:0:r:/root:/bin/sh\ntoor:x:0:0\n:x:5:\nbad\nx:y:z\n\xff:x:9:9\n";
        let mut owners = Owners::of(passwd.to_vec());
        assert_eq!(owners.name(0), "root");
        assert_eq!(owners.name(0), "root");
        assert_eq!(owners.name(5), "#5");
        assert_eq!(owners.name(9), "\u{fffd}");
        assert_eq!(owners.name(77), "#77");
    }
}
