//! What was measured, on what.

use std::process::Command;

use serde_json::{Value, json};

/// The number of cores that this process may use: also the number of workers of every runtime in a contest.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Facts that a reader of the results needs.
pub(crate) fn facts() -> Value {
    json!({
        "cores": cores(),
        "cpu": cpu_model(),
        "system": command("uname", &["-srm"]),
        "load_average": load_average(),
        "rustc": env!("BENCH_RUSTC"),
        "tokio": env!("BENCH_TOKIO"),
        "commit": command("git", &["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"]),
    })
}

/// How busy the machine was in the last minute, by its own account.
pub(crate) fn load_average() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

fn cpu_model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn command(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
