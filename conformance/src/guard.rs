//! The last look at a command line before any runtime gets it.

/// A word that a runtime which does not check ids would take as a way out of its state directory. crun 1.8.1 deleted
/// the host's root when a test of ours gave it `delete /`: such ids may only be tried in a disposable guest.
/// `words` are the runtime's arguments.
pub fn dangerous<S: AsRef<str>>(words: &[S]) -> Option<&str> {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    let deletes = words.contains(&"delete");
    let verb = words.iter().position(|word| !word.starts_with("--") && !word.contains('/')).map_or(0, |at| at + 1);
    words.into_iter().skip(verb).find(|word| {
        let climbs = word.split('/').any(|part| part == "..");
        climbs || matches!(*word, "" | "/" | ".") || (deletes && word.contains('/'))
    })
}

/// As [`dangerous`], for a command in which the runtime's path is one of the words; the error says why it is not run.
pub fn check<S: AsRef<str>>(command: &[S], runtime: &str) -> Result<(), String> {
    let from = command.iter().position(|word| word.as_ref() == runtime).map_or(0, |at| at + 1);
    match dangerous(&command[from..]) {
        Some(word) => Err(format!("refused to start {runtime}: {word:?} as an id could destroy this host")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{check, dangerous};

    #[test]
    fn hostile_ids_reach_no_runtime() {
        let refused = |line: &str| dangerous(&line.split(' ').collect::<Vec<_>>()).is_some();
        for id in ["/", ".", "..", "../x", "a/b", "/etc"] {
            assert!(refused(&format!("--root /tmp/state delete {id}")), "{id}");
            assert!(refused(&format!("--root /tmp/state delete --force {id}")), "{id}");
        }
        assert!(refused("--root /tmp/state run .."));
        assert!(!refused("--root /tmp/state delete --force cf1-2x"));
        assert!(!refused("--root /tmp/state create --bundle /tmp/bundle cf1-2x"));
    }

    #[test]
    fn the_wrapper_in_front_does_not_count() {
        assert!(check(&["strace", "-o", "/tmp/x", "/usr/bin/crun", "delete", "x"], "/usr/bin/crun").is_ok());
        assert!(check(&["strace", "-o", "/tmp/x", "/usr/bin/crun", "delete", "/"], "/usr/bin/crun").is_err());
    }
}
