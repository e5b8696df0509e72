//! The tables: Markdown for people, JSON for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use super::measure::Sample;
use super::option::Options;
use super::peer::Peer;
use super::result::{Cell, Spread, Table};
use super::verb::Figure;

/// The columns with their headings.
fn columns(options: &Options) -> Vec<(Figure, String)> {
    vec![
        (Figure::Run, "run".into()),
        (Figure::RunFilter, "run + seccomp".into()),
        (Figure::Create, "create".into()),
        (Figure::Start, "start".into()),
        (Figure::Delete, "delete".into()),
        (Figure::Lifecycle, "create+start+delete".into()),
        (Figure::Exec, "exec".into()),
        (Figure::State, "state".into()),
        (Figure::List, format!("list of {}", options.list)),
        (Figure::Parallel, format!("{} in parallel", options.parallel)),
    ]
}

/// All tables, and what was left out.
pub fn markdown(peers: &[Peer], table: &Table, notes: &[String], options: &Options) -> String {
    let used = |figure: Figure| table.keys().any(|(known, _)| *known == figure);
    let columns: Vec<_> = columns(options).into_iter().filter(|(figure, _)| used(*figure)).collect();
    let get = |figure: Figure, index: usize| table.get(&(figure, index));
    let mut text = format!("{} interleaved rounds; × is the multiple of the floor.\n", options.rounds);

    heading(&mut text, "wall ms, median", &columns);
    body(&mut text, peers, &columns, |f, i| ratio(get(f, i), get(f, 0), |sample| sample.wall, 1e6));
    heading(&mut text, "wall ms, p95", &columns);
    body(&mut text, peers, &columns, |f, i| {
        get(f, i)?.spread(|sample| sample.wall).map(|spread| format!("{:.2}", spread.p95 / 1e6))
    });
    heading(&mut text, "CPU ms, median", &columns);
    body(&mut text, peers, &columns, |f, i| ratio(get(f, i), get(f, 0), |sample| sample.cpu, 1e3));
    heading(&mut text, "peak RSS, MiB", &columns);
    body(&mut text, peers, &columns, |f, i| {
        get(f, i)?.spread(|sample| sample.rss).map(|spread| format!("{:.1}", spread.median / 1024.0))
    });
    heading(&mut text, "system calls", &columns);
    body(&mut text, peers, &columns, |f, i| get(f, i)?.calls.map(|calls| calls.to_string()));

    let _ = writeln!(text);
    for peer in peers.iter().filter(|peer| !peer.version.is_empty()) {
        let _ = writeln!(text, "- {}: {} ({})", peer.name, peer.version, peer.program.display());
    }
    for note in notes {
        let _ = writeln!(text, "- {note}");
    }
    for ((figure, index), cell) in table {
        if let Some(reason) = &cell.skipped {
            let _ = writeln!(text, "- {}: {figure:?} left out: {reason}", peers[*index].name);
        } else if cell.failures > 0 {
            let _ = writeln!(text, "- {}: {figure:?} failed {} times", peers[*index].name, cell.failures);
        }
    }
    text
}

fn heading(text: &mut String, name: &str, columns: &[(Figure, String)]) {
    let _ = write!(text, "\n| {name} |");
    for (_, column) in columns {
        let _ = write!(text, " {column} |");
    }
    let _ = writeln!(text, "\n|---|{}", "---|".repeat(columns.len()));
}

fn body(
    text: &mut String,
    peers: &[Peer],
    columns: &[(Figure, String)],
    cell: impl Fn(Figure, usize) -> Option<String>,
) {
    for (index, peer) in peers.iter().enumerate() {
        let _ = write!(text, "| {} |", peer.name);
        for (figure, _) in columns {
            let _ = write!(text, " {} |", cell(*figure, index).unwrap_or_else(|| "–".to_owned()));
        }
        text.push('\n');
    }
}

/// A median in `unit`s, with its multiple of the floor's.
fn ratio(cell: Option<&Cell>, floor: Option<&Cell>, pick: fn(&Sample) -> u64, unit: f64) -> Option<String> {
    let value = cell?.spread(pick)?.median;
    let text = format!("{:.2}", value / unit);
    match floor.and_then(|floor| floor.spread(pick)) {
        Some(floor) if floor.median > 0.0 => Some(format!("{text} ({:.2} ×)", value / floor.median)),
        _ => Some(text),
    }
}

/// Every figure, times in microseconds.
pub fn json(peers: &[Peer], table: &Table, options: &Options) -> Value {
    let runtimes: Vec<Value> = peers
        .iter()
        .enumerate()
        .map(|(index, peer)| {
            let figures: serde_json::Map<String, Value> = columns(options)
                .into_iter()
                .filter_map(|(figure, name)| Some((name, figures(table.get(&(figure, index))?))))
                .collect();
            json!({ "name": peer.name, "version": peer.version, "program": peer.program, "figures": figures })
        })
        .collect();
    json!({ "rounds": options.rounds, "runtimes": runtimes })
}

fn figures(cell: &Cell) -> Value {
    let spread = |pick: fn(&Sample) -> u64, unit: f64| {
        cell.spread(pick).map(|Spread { median, p95 }| json!({ "median": median / unit, "p95": p95 / unit }))
    };
    json!({
        "samples": cell.samples.len(),
        "failures": cell.failures,
        "skipped": cell.skipped,
        "wall_us": spread(|sample| sample.wall, 1e3),
        "cpu_us": spread(|sample| sample.cpu, 1.0),
        "rss_kib": spread(|sample| sample.rss, 1.0),
        "faults": spread(|sample| sample.faults, 1.0),
        "syscalls": cell.calls,
    })
}
