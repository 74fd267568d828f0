//! The results as JSON: medians, ratios, verdicts and every sample.

use serde_json::{Value, json};

use super::contest::Series;
use super::line::Line;
use super::stats::median;

/// The whole report.
pub(crate) fn report(machine: &Value, rounds: usize, quick: bool, lines: &[Line]) -> Value {
    json!({
        "taken_at": chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        "machine": machine,
        "rounds": rounds,
        "quick": quick,
        "lines": lines.iter().map(line_json).collect::<Vec<_>>(),
    })
}

fn line_json(line: &Line) -> Value {
    let spread = line.floor_spread();
    let verdict = line.verdict();
    json!({
        "row": line.row,
        "label": line.label,
        "unit": line.unit.key(),
        "ours": series_json(&line.ours),
        "floor": line.floor.as_ref().map(series_json),
        "published": line.peer.as_ref().map(series_json),
        "ours_to_floor": line.ratio(line.floor.as_ref()),
        "ours_to_floor_by_round": spread.map(|s| json!({ "min": s.min, "median": s.median, "max": s.max })),
        "ours_to_published": line.ratio(line.peer.as_ref()),
        "budget": verdict.as_ref().map(|v| &v.budget),
        "got": verdict.as_ref().map(|v| &v.got),
        "met": verdict.as_ref().map(|v| v.met),
    })
}

fn series_json(series: &Series) -> Value {
    json!({
        "contestant": series.name,
        "commands": series.commands,
        "fewer_commands": series.scaled,
        "median": median(&series.values),
        "samples": series.values,
    })
}
