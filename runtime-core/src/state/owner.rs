//! User names for the OWNER column of `list`.

use std::collections::BTreeMap;

/// Names of /etc/passwd by uid. The file is read here and not through NSS, which would load shared libraries
/// into a static program and may ask the network.
pub(crate) struct Owners(BTreeMap<u32, String>);

impl Owners {
    /// Reads /etc/passwd; without one, every owner is shown by number.
    pub(crate) fn read() -> Self {
        Self::parse(&std::fs::read("/etc/passwd").unwrap_or_default())
    }

    /// The first entry of a uid counts, as in getpwuid(3).
    fn parse(passwd: &[u8]) -> Self {
        let mut names = BTreeMap::new();
        for line in passwd.split(|&b| b == b'\n') {
            let mut fields = line.split(|&b| b == b':');
            let (Some(name), Some(_), Some(uid)) = (fields.next(), fields.next(), fields.next()) else { continue };
            let Some(uid) = std::str::from_utf8(uid).ok().and_then(|uid| uid.parse().ok()) else { continue };
            if !name.is_empty() {
                names.entry(uid).or_insert_with(|| String::from_utf8_lossy(name).into_owned());
            }
        }
        Self(names)
    }

    /// The user's name, or `#uid`.
    pub(crate) fn name(&self, uid: u32) -> String {
        self.0.get(&uid).cloned().unwrap_or_else(|| format!("#{uid}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_names_and_survives_nonsense() {
        let owners = Owners::parse(b"root:x:0:0:r:/root:/bin/sh\ntoor:x:0:0\n:x:5:\nbad\nx:y:z\n\xff:x:9:9\n");
        assert_eq!(owners.name(0), "root");
        assert_eq!(owners.name(5), "#5");
        assert_eq!(owners.name(9), "\u{fffd}");
        assert_eq!(owners.name(77), "#77");
    }
}
