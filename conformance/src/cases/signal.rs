//! signal: what `kill` is asked for.

use crate::cases;
use crate::check_eq;
use crate::test::{Outcome, Test};

cases!["signal":
    no_name_is_term,
];

/// A script whose `$SIGNAL` is empty.
fn no_name_is_term(t: &Test) -> Outcome {
    t.needs("kill")?;
    t.sleeper(t.bundle()?)?;
    // Said by the shell: the guard of the harness takes an empty word for an id.
    let output = t.finish(t.command(&["sh", "-c", "exec \"$@\" ''", "sh"], &["kill", &t.id]))?;
    t.delete()?;
    check_eq!(output.code, 0, "exit status: {}", output.stderr);
    Ok(())
}
