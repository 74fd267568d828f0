//! What a3s-lane 0.4 has left in a directory: two JSON files.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::engine::{Outcome, failed};
use super::{StoredCommand, StoredDeadLetter};

const COMMANDS: &str = "commands.json";
const DEAD_LETTERS: &str = "dead_letters.json";

/// The contents of the two files, if there are any.
pub(super) struct Legacy {
    pub(super) commands: Vec<StoredCommand>,
    pub(super) dead_letters: Vec<StoredDeadLetter>,
    found: Vec<PathBuf>,
}

impl Legacy {
    /// Reads what is there. A file that cannot be understood is an error, and stays as it is.
    pub(super) fn read(directory: &Path) -> Outcome<Self> {
        let mut found = Vec::new();
        let mut commands: Vec<StoredCommand> = read(directory.join(COMMANDS), &mut found)?;
        // 0.4 wrote a map: in any order.
        commands.sort_by_key(|command| command.created_at);
        let dead_letters = read(directory.join(DEAD_LETTERS), &mut found)?;
        Ok(Self {
            commands,
            dead_letters,
            found,
        })
    }

    pub(super) fn is_there(&self) -> bool {
        !self.found.is_empty()
    }

    /// Renames the files, so that they are read once.
    pub(super) fn set_aside(&self) -> Outcome<()> {
        for path in &self.found {
            let mut aside = path.clone().into_os_string();
            aside.push(".imported");
            fs::rename(path, aside).map_err(|error| failed("rename", path, &error))?;
        }
        Ok(())
    }
}

fn read<T: DeserializeOwned>(path: PathBuf, found: &mut Vec<PathBuf>) -> Outcome<Vec<T>> {
    match fs::read(&path) {
        Ok(text) => {
            let rows = serde_json::from_slice(&text)
                .map_err(|error| format!("{} is damaged: {error}", path.display()))?;
            found.push(path);
            Ok(rows)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed("read", &path, &error)),
    }
}
