//! The results as a table for people.

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};

use super::contest::Series;
use super::line::{Line, Unit};
use super::stats::median;

const HEADER: [&str; 10] = [
    "row", "what", "ours", "floor", "0.5.1", "x floor", "min..max", "x 0.5.1", "budget", "verdict",
];

/// The table of all lines.
pub(crate) fn table(lines: &[Line]) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(HEADER);
    for column in table.column_iter_mut().skip(2).take(6) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for line in lines {
        table.add_row(cells(line));
    }
    table.to_string()
}

/// How many budgets hold, and which do not.
pub(crate) fn summary(lines: &[Line]) -> String {
    let verdicts: Vec<_> = lines
        .iter()
        .filter_map(|line| Some((line, line.verdict()?)))
        .collect();
    let met = verdicts.iter().filter(|(_, verdict)| verdict.met).count();
    let mut text = format!("{met} of {} budgets met", verdicts.len());
    for (line, verdict) in verdicts.iter().filter(|(_, verdict)| !verdict.met) {
        text += &format!(
            "\n  not met: {}: {}: {}, got {}",
            line.row, line.label, verdict.budget, verdict.got
        );
    }
    text
}

fn cells(line: &Line) -> Vec<String> {
    let ratio = |other| {
        line.ratio(other)
            .map_or("-".into(), |ratio| format!("{ratio:.2}"))
    };
    let verdict = line.verdict();
    vec![
        line.row.into(),
        line.label.clone(),
        value(line.unit, Some(&line.ours)),
        value(line.unit, line.floor.as_ref()),
        value(line.unit, line.peer.as_ref()),
        ratio(line.floor.as_ref()),
        line.floor_spread().map_or("-".into(), |spread| {
            format!("{:.2}..{:.2}", spread.min, spread.max)
        }),
        ratio(line.peer.as_ref()),
        verdict
            .as_ref()
            .map_or("-".into(), |verdict| verdict.budget.clone()),
        verdict.map_or("-".into(), |verdict| {
            format!(
                "{} {}",
                if verdict.met { "met" } else { "NOT MET" },
                verdict.got
            )
        }),
    ]
}

/// The median; a star says that this contestant got fewer commands per sample.
fn value(unit: Unit, series: Option<&Series>) -> String {
    series.map_or("-".into(), |series| {
        let star = if series.scaled { " *" } else { "" };
        format!("{}{star}", unit.show(median(&series.values)))
    })
}
