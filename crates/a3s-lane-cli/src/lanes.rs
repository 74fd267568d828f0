//! The `lanes` subcommand.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use comfy_table::{CellAlignment, Table, presets};

use crate::args::LanesArgs;
use crate::config::{Config, LaneSetup};
use crate::default_lanes;
use crate::quantity::{exact, one_line};

/// Prints the lanes; returns the exit status.
pub(crate) fn main(args: &LanesArgs) -> u8 {
    let text = if args.toml {
        default_lanes::TEXT.to_owned()
    } else {
        match Config::load(args.config.as_deref()) {
            Ok(config) => describe(&config),
            Err(message) => {
                eprintln!("error: {message}");
                return 2;
            }
        }
    };
    // A reader that closed the pipe has seen enough.
    let _closed = io::stdout().write_all(text.as_bytes());
    0
}

fn describe(config: &Config) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "lane",
        "priority",
        "min",
        "max",
        "timeout",
        "retry",
        "rate limit",
        "pressure",
        "boost",
    ]);
    for lane in &config.lanes {
        table.add_row(row(lane));
    }
    for column in table.column_iter_mut().skip(1).take(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = String::new();
    for line in table.lines() {
        let _infallible = writeln!(text, "{}", line.trim_end());
    }
    let _infallible = writeln!(text, "dead letters kept: {}", config.dlq_size);
    text
}

fn row(lane: &LaneSetup) -> Vec<String> {
    let config = &lane.config;
    let none = || "-".to_owned();
    let retry = &config.retry_policy;
    let retry = if retry.max_retries == 0 {
        none()
    } else {
        let (first, cap) = (exact(retry.initial_delay), exact(retry.max_delay));
        format!(
            "{} x, {first} * {} up to {cap}",
            retry.max_retries, retry.multiplier
        )
    };
    let boost = config.priority_boost.as_ref().filter(|boost| boost.enabled);
    vec![
        one_line(&lane.name, 40),
        lane.priority.to_string(),
        config.min_concurrency.to_string(),
        config.max_concurrency.to_string(),
        config.default_timeout.map_or_else(none, exact),
        retry,
        rate_limit(lane).unwrap_or_else(none),
        config
            .pressure_threshold
            .map_or_else(none, |threshold| threshold.to_string()),
        boost.map_or_else(none, |boost| format!("within {}", exact(boost.deadline))),
    ]
}

fn rate_limit(lane: &LaneSetup) -> Option<String> {
    let limit = lane.config.rate_limit.as_ref()?;
    let burst = lane
        .options
        .burst()
        .map_or_else(String::new, |burst| format!(", burst {burst}"));
    Some(format!(
        "{} per {}{burst}",
        limit.max_commands,
        exact(limit.window)
    ))
}
