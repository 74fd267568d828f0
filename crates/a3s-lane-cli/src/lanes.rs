//! The `lanes` subcommand.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use a3s_lane::{Jitter, LaneOptions, LimiterConfig};
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
    for lane in &config.lanes {
        if let Some(settings) = further(&lane.options) {
            let _infallible = writeln!(text, "{}: {settings}", one_line(&lane.name, 40));
        }
    }
    if let Some(total) = config.total {
        let _infallible = writeln!(text, "at once over all lanes: {total}");
    }
    for (name, limiter) in &config.limiters {
        let _infallible = writeln!(
            text,
            "limiter {}: {}",
            one_line(name, 40),
            describe_limiter(limiter)
        );
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

/// The settings that have no column, in the words of the file.
fn further(options: &LaneOptions) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(max) = options.max_pending() {
        parts.push(format!("max_pending {max} ({})", options.overflow()));
    }
    if options.preemptible() {
        parts.push("preemptible".to_owned());
    }
    if !options.grace().is_zero() {
        parts.push(format!("grace {}", exact(options.grace())));
    }
    if let Some(limit) = options.progress_timeout() {
        parts.push(format!("progress_timeout {}", exact(limit)));
    }
    if let Some(max) = options.max_concurrency_per_key() {
        parts.push(format!("max_concurrency_per_key {max}"));
    }
    for (key, weight) in options.key_weights() {
        parts.push(format!("weight of {} {weight}", one_line(key, 40)));
    }
    match options.retry_jitter() {
        Jitter::Full => parts.push("retry_jitter full".to_owned()),
        Jitter::Equal => parts.push("retry_jitter equal".to_owned()),
        _ => {}
    }
    for name in options.limiters() {
        parts.push(format!("limiter {}", one_line(name, 40)));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn describe_limiter(limiter: &LimiterConfig) -> String {
    let limit = limiter.limit();
    let mut text = format!("{} per {}", limit.max_commands, exact(limit.window));
    if limiter.is_sliding_window() {
        text.push_str(", sliding window");
    }
    if let Some(burst) = limiter.burst() {
        let _infallible = write!(text, ", burst {burst}");
    }
    if limiter.counts_commands() {
        text.push_str(", counts commands");
    }
    if let Some((amount, urgent_up_to)) = limiter.reserve() {
        let _infallible = write!(text, ", {amount} kept for priorities up to {urgent_up_to}");
    }
    text
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
