//! ps: the processes of a container (contract 2.4).

use crate::cases;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::{Value, json};

cases!["ps": table_has_a_header, options, of_stopped, json_is_pids];

fn table_has_a_header(t: &Test) -> Outcome {
    t.needs("ps")?;
    let pid = t.sleeper(t.bundle()?)?;
    let output = t.ok(&["ps", &t.id])?;
    t.delete()?;
    let lines: Vec<Vec<&str>> = output.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    check_eq!(lines.len(), 2, "lines: {}", output.stdout);
    check_eq!(lines[0].get(1), Some(&"PID"), "header");
    check_eq!(lines[1].get(1), Some(&pid.to_string().as_str()), "pid");
    Ok(())
}

fn options(t: &Test) -> Outcome {
    t.needs("ps")?;
    t.sleeper(t.bundle()?)?;
    let chosen = t.ok(&["ps", &t.id, "-o", "pid,comm"])?;
    let without = t.rt(&["ps", &t.id, "-o", "comm"])?;
    let format = t.rt(&["ps", "--format", "xml", &t.id])?;
    t.delete()?;
    check!(chosen.stdout.contains("COMMAND"), "{}", chosen.stdout);
    check_eq!(without.code, 1, "exit status without a column PID");
    check!(without.stderr.contains("couldn't find PID field in ps output"), "{}", without.stderr);
    check_eq!(format.code, 1, "exit status of an unknown format");
    Ok(())
}

fn of_stopped(t: &Test) -> Outcome {
    t.needs("ps")?;
    t.start(&t.bundle()?.probe(&["exit", "0"]))?;
    t.wait_status("stopped")?;
    let output = t.ok(&["ps", "--format", "json", &t.id])?;
    t.delete()?;
    check_eq!(output.stdout.trim(), "null", "processes");
    Ok(())
}

fn json_is_pids(t: &Test) -> Outcome {
    t.needs("ps")?;
    let pid = t.sleeper(t.bundle()?)?;
    let out = t.rt(&["ps", "--format", "json", &t.id])?;
    t.delete()?;
    check_eq!(serde_json::from_str::<Value>(&out.stdout)?, json!([pid]), "pids: {}", out.stderr);
    Ok(())
}
