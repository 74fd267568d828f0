//! The results file.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::outcome::Record;

/// Writes a JSON object per command as soon as it ends.
pub(crate) struct Results {
    sink: Box<dyn Write + Send>,
    name: String,
}

impl Results {
    /// Creates or empties the file; `-` is standard output. Refuses to overwrite the input.
    pub(crate) fn create(path: &Path, input: &Path) -> Result<Self, String> {
        if path.as_os_str() == "-" {
            return Ok(Self {
                sink: Box::new(io::stdout()),
                name: "standard output".to_owned(),
            });
        }
        let name = path.display().to_string();
        if let (Ok(output), Ok(input)) = (fs::canonicalize(path), fs::canonicalize(input))
            && output == input
        {
            return Err(format!("cannot write {name}: it is the input"));
        }
        let file = File::create(path).map_err(|error| format!("cannot write {name}: {error}"))?;
        Ok(Self {
            sink: Box::new(file),
            name,
        })
    }

    /// Writes one line in one piece and flushes it, so that a reader never waits for a finished command.
    pub(crate) fn write(&mut self, record: &Record<'_>) -> Result<(), String> {
        let mut line = serde_json::to_vec(record)
            .map_err(|error| format!("cannot write {}: {error}", self.name))?;
        line.push(b'\n');
        self.sink
            .write_all(&line)
            .and_then(|()| self.sink.flush())
            .map_err(|error| format!("cannot write {}: {error}", self.name))
    }
}
