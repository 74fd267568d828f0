//! Dead letters as text: one JSON object a line.

use crate::error::{LaneError, Result};
use crate::storage::DeadLetterRecord;

/// The letters as JSON lines.
pub(crate) fn to_lines(letters: &[DeadLetterRecord]) -> Result<String> {
    let mut text = String::new();
    for letter in letters {
        let line = serde_json::to_string(letter)
            .map_err(|error| LaneError::Other(format!("a dead letter is no JSON: {error}")))?;
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

/// The letters in JSON lines; blank lines are skipped.
pub(crate) fn from_lines(text: &str) -> Result<Vec<DeadLetterRecord>> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|error| {
                let line = index + 1;
                let error = error.to_string();
                // Each line is a document of its own, whose own line number would mislead.
                let cause = error.split(" at line ").next().unwrap_or_default();
                LaneError::ConfigError(format!(
                    "dead letters: line {line} is no dead letter: {cause}"
                ))
            })
        })
        .collect()
}
