//! The `inspect` subcommand.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use a3s_lane::LocalStorage;
use a3s_lane::storage::Inspection;
use chrono::SecondsFormat;
use comfy_table::{CellAlignment, Table, presets};

use crate::args::InspectArgs;
use crate::quantity::one_line;
use crate::storage;

/// Exit status for a damaged storage.
const EXIT_DAMAGED: u8 = 1;

/// Prints what a storage holds; returns the exit status.
pub(crate) fn main(args: &InspectArgs) -> u8 {
    let found = storage::block_on(async {
        storage::check(&args.storage)?;
        let found = LocalStorage::inspect(args.storage.clone()).await;
        found.map_err(|error| error.to_string())
    });
    let found = match found {
        Ok(found) => found,
        Err(message) => return storage::unusable(&message),
    };
    let text = if args.json {
        serde_json::to_string(&found).unwrap_or_default() + "\n"
    } else {
        describe(&found)
    };
    // A reader that closed the pipe has seen enough.
    let _closed = io::stdout().write_all(text.as_bytes());
    exit_code(&found)
}

fn exit_code(found: &Inspection) -> u8 {
    if found.problems.is_empty() {
        0
    } else {
        EXIT_DAMAGED
    }
}

fn describe(found: &Inspection) -> String {
    let mut text = String::new();
    if !found.lanes.is_empty() {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_header(["lane", "pending", "oldest since"]);
        for lane in &found.lanes {
            table.add_row([
                one_line(&lane.lane_id, 40),
                lane.pending.to_string(),
                lane.oldest_created_at
                    .to_rfc3339_opts(SecondsFormat::Secs, true),
            ]);
        }
        for column in table.column_iter_mut().skip(1).take(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        for line in table.lines() {
            let _infallible = writeln!(text, "{}", line.trim_end());
        }
    }
    for (name, number) in [
        ("pending", found.pending),
        ("running", found.running),
        ("dead letters", found.dead_letters),
        ("results", found.results),
        ("format", found.format.into()),
        ("bytes", found.file_bytes + found.log_bytes),
    ] {
        let _infallible = writeln!(text, "{name}: {number}");
    }
    if found.problems.is_empty() {
        text.push_str("integrity: ok\n");
    }
    for problem in &found.problems {
        let _infallible = writeln!(text, "integrity: {}", one_line(problem, 400));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(problems: &[&str]) -> Inspection {
        let found = json!({
            "directory": "store", "format": 2, "pending": 3, "running": 1, "dead_letters": 4, "results": 5, "history": 0,
            "lanes": [{"lane_id": "api", "pending": 3, "oldest_created_at": "2030-01-31T08:00:00.5Z"}],
            "file_bytes": 4096, "log_bytes": 100, "problems": problems,
        });
        serde_json::from_value(found).expect("an inspection")
    }

    #[test]
    fn a_whole_storage_is_described() {
        let found = found(&[]);
        let text = " lane  pending  oldest since
 api         3  2030-01-31T08:00:00Z
pending: 3
running: 1
dead letters: 4
results: 5
format: 2
bytes: 4196
integrity: ok
";
        assert_eq!((describe(&found).as_str(), exit_code(&found)), (text, 0));
    }

    #[test]
    fn damage_is_told() {
        let found = found(&["page 3 is never used", "row 1 missing"]);
        let text = describe(&found);
        let end = "integrity: page 3 is never used\nintegrity: row 1 missing\n";
        assert!(text.ends_with(end), "{text}");
        assert_eq!(exit_code(&found), 1);
    }
}
