//! The table at the end.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use a3s_lane::{DeadLetter, HistogramStats, MetricsSnapshot, metric_names};
use comfy_table::{CellAlignment, Table, presets};

use crate::board::LaneCounts;
use crate::quantity;

const HEADER: [&str; 11] = [
    "lane",
    "done",
    "failed",
    "timed out",
    "expected",
    "retried",
    "not run",
    "wait p50",
    "wait p99",
    "run p50",
    "run p99",
];
/// Printed for a percentile of nothing.
const NONE: &str = "-";

/// One row per lane and, with several lanes, their sum.
pub(crate) fn table(lanes: &[LaneCounts], metrics: &MetricsSnapshot) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(HEADER);
    for lane in lanes {
        let wait = histogram(metrics, metric_names::COMMAND_WAIT_TIME, &lane.name);
        let run = histogram(metrics, metric_names::COMMAND_LATENCY, &lane.name);
        table.add_row(row(&quantity::one_line(&lane.name, 40), lane, wait, run));
    }
    if lanes.len() > 1 {
        let mut total = LaneCounts::default();
        lanes.iter().for_each(|lane| total.add(lane));
        let of_all = |name: &str| metrics.histograms.get(name);
        let (wait, run) = (
            of_all(metric_names::COMMAND_WAIT_TIME),
            of_all(metric_names::COMMAND_LATENCY),
        );
        table.add_row(row("total", &total, wait, run));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let lines: Vec<_> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}

fn histogram<'a>(
    metrics: &'a MetricsSnapshot,
    name: &str,
    lane: &str,
) -> Option<&'a HistogramStats> {
    metrics.histograms.get(&format!("{name}.{lane}"))
}

fn row(
    name: &str,
    lane: &LaneCounts,
    wait: Option<&HistogramStats>,
    run: Option<&HistogramStats>,
) -> Vec<String> {
    let percentile = |stats: Option<&HistogramStats>, of: fn(&HistogramStats) -> f64| match stats {
        Some(stats) if stats.count > 0 => quantity::millis(of(stats)),
        _ => NONE.to_owned(),
    };
    vec![
        name.to_owned(),
        lane.done.to_string(),
        lane.failed.to_string(),
        lane.timed_out.to_string(),
        lane.expected.to_string(),
        lane.retried.to_string(),
        lane.not_run.to_string(),
        percentile(wait, |stats| stats.percentiles.p50),
        percentile(wait, |stats| stats.percentiles.p99),
        percentile(run, |stats| stats.percentiles.p50),
        percentile(run, |stats| stats.percentiles.p99),
    ]
}

/// The numbers of a run that belong to no lane.
#[derive(Debug, Default)]
pub(crate) struct Summary<'a> {
    pub(crate) refused_lines: u64,
    pub(crate) elapsed: Duration,
    /// The run ended before the end of the input; holds the last line read.
    pub(crate) stopped_after_line: Option<u64>,
    /// The run was interrupted; holds what was left.
    pub(crate) left: Option<Left>,
    /// Commands of an earlier run that this one has gone on with.
    pub(crate) resumed: usize,
    /// Stored commands of a lane or type that this run does not have.
    pub(crate) unclaimed: usize,
    /// Lines whose command is stored, or has ended before.
    pub(crate) known_lines: u64,
    /// Where commands are stored.
    pub(crate) storage: Option<&'a Path>,
}

/// Commands that the end of a run kept from their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// They ran.
    pub(crate) stopped: u64,
    /// They waited: for their start, or for a retry.
    pub(crate) pending: u64,
}

/// What stands below the table.
pub(crate) fn closing(lanes: &[LaneCounts], summary: &Summary<'_>) -> String {
    let mut total = LaneCounts::default();
    lanes.iter().for_each(|lane| total.add(lane));
    let elapsed = quantity::millis(summary.elapsed.as_secs_f64() * 1e3);
    let ended = total.ended() - total.not_run;
    let mut parts = vec![format!(
        "{ended} {} in {elapsed}",
        plural(ended, "command", "commands")
    )];
    let unexpected = total.failed + total.timed_out;
    parts.push(match unexpected {
        0 if total.expected == 0 => "all completed".to_owned(),
        0 => format!(
            "all ended as expected, {} of them in failure",
            total.expected
        ),
        _ => format!("{unexpected} did not end as expected"),
    });
    if total.not_run > 0 {
        parts.push(format!("{} not run", total.not_run));
    }
    if summary.refused_lines > 0 {
        let lines = plural(summary.refused_lines, "line", "lines");
        parts.push(format!("{} {lines} refused", summary.refused_lines));
    }
    if summary.resumed > 0 {
        parts.push(format!("{} resumed", summary.resumed));
    }
    if summary.known_lines > 0 {
        let lines = plural(summary.known_lines, "line", "lines");
        parts.push(format!("{} {lines} known already", summary.known_lines));
    }
    if summary.unclaimed > 0 {
        let text = "left in the storage, of lanes or types that are not here";
        parts.push(format!("{} {text}", summary.unclaimed));
    }
    if let Some(line) = summary.stopped_after_line {
        parts.push(format!("input not read past line {line}"));
    }
    if ended == 0 {
        parts.remove(1);
    }
    let mut text = parts.join("; ");
    if let Some(left) = summary.left {
        text.push_str(&match left {
            Left {
                stopped: 0,
                pending: 0,
            } => "\ninterrupted: nothing was left".to_owned(),
            Left { stopped, pending } => {
                format!("\ninterrupted: {stopped} stopped, {pending} pending")
            }
        });
        if let (Some(path), true) = (summary.storage, left != Left::default()) {
            let path = path.display();
            text.push_str(&format!(
                "\nthey are kept: a3s-lane run --storage {path} goes on with them"
            ));
        }
    }
    text
}

fn plural(count: u64, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}

/// The newest dead letters, those of a storage with their ids, without those whose ids are unlisted.
pub(crate) fn failures(
    letters: &[DeadLetter],
    unlisted: &HashSet<String>,
    is_stored: bool,
) -> String {
    let listed: Vec<_> = letters
        .iter()
        .filter(|letter| !unlisted.contains(&letter.command_id))
        .collect();
    if listed.is_empty() {
        return String::new();
    }
    let mut text = "latest failures:".to_owned();
    for letter in listed {
        let attempts = u64::from(letter.attempts);
        let id = if is_stored {
            format!(" {}", quantity::one_line(&letter.command_id, 40))
        } else {
            String::new()
        };
        text.push_str(&format!(
            "\n  {}  {}{id}  {attempts} {}: {}",
            letter.lane_id,
            letter.command_type,
            plural(attempts, "attempt", "attempts"),
            quantity::one_line(&letter.error, 200),
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use a3s_lane::QueueMetrics;

    use super::*;

    fn lane(name: &str) -> LaneCounts {
        LaneCounts {
            name: name.to_owned(),
            done: 3,
            expected: 1,
            ..LaneCounts::default()
        }
    }

    #[tokio::test]
    async fn percentiles_come_from_the_metrics_of_the_lane() {
        let metrics = QueueMetrics::local();
        metrics.record_wait_time("a", 2.0).await;
        metrics.record_complete("a", 1_500.0).await;
        let text = table(&[lane("a"), lane("b")], &metrics.snapshot().await);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(rows.len(), 4, "{text}");
        assert_eq!(
            rows[1],
            [
                "a", "3", "0", "0", "1", "0", "0", "2.0", "ms", "2.0", "ms", "1.50", "s", "1.50",
                "s"
            ]
        );
        assert_eq!(
            rows[2],
            ["b", "3", "0", "0", "1", "0", "0", "-", "-", "-", "-"]
        );
        assert_eq!(rows[3][..7], ["total", "6", "0", "0", "2", "0", "0"]);
    }

    #[test]
    fn the_closing_line_tells_what_matters() {
        let summary = Summary {
            elapsed: Duration::from_millis(1_230),
            ..Summary::default()
        };
        assert_eq!(
            closing(&[lane("a")], &summary),
            "4 commands in 1.23 s; all ended as expected, 1 of them in failure"
        );
        let mut bad = lane("a");
        bad.expected = 0;
        bad.timed_out = 2;
        bad.not_run = 7;
        let mut summary = Summary {
            refused_lines: 1,
            stopped_after_line: Some(30),
            left: Some(Left::default()),
            ..summary
        };
        let text = "5 commands in 1.23 s; 2 did not end as expected; 7 not run; 1 line refused; input not read past line 30";
        assert_eq!(
            closing(&[bad.clone()], &summary),
            format!("{text}\ninterrupted: nothing was left")
        );
        summary.left = Some(Left {
            stopped: 2,
            pending: 7,
        });
        assert_eq!(
            closing(&[bad], &summary),
            format!("{text}\ninterrupted: 2 stopped, 7 pending")
        );
    }
}
