//! `annotations`.

use crate::cases;
use crate::check_eq;
use crate::test::{Outcome, Test};
use serde_json::json;

cases!["annotation": shown_by_state, without_a_name_is_refused];

fn shown_by_state(t: &Test) -> Outcome {
    t.create_ok(&t.bundle()?.with("/annotations", json!({ "org.example.a": "b", "org.example.empty": "" })))?;
    let state = t.state()?;
    t.delete()?;
    check_eq!(state["annotations"]["org.example.a"], "b", "annotation");
    check_eq!(state["annotations"]["org.example.empty"], "", "empty annotation");
    Ok(())
}

fn without_a_name_is_refused(t: &Test) -> Outcome {
    t.run_refused(&t.bundle()?.with("/annotations", json!({ "": "x" })), "annotation").map(drop)
}
