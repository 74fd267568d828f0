//! The two files and how they change; everything here blocks.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{StoredCommand, StoredDeadLetter};

type Outcome<T> = Result<T, String>;

const DEFAULT_MAX_DEAD_LETTERS: usize = 10_000;

pub(super) enum Change {
    SaveCommand(StoredCommand),
    RemoveCommand(String),
    SaveDeadLetter(StoredDeadLetter),
    ClearDeadLetters,
    ClearAll,
}

#[derive(Clone)]
pub(super) struct Files {
    pub(super) directory: PathBuf,
    pub(super) max_dead_letters: usize,
}

impl Files {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            max_dead_letters: DEFAULT_MAX_DEAD_LETTERS,
        }
    }

    pub(super) fn create_directory(&self) -> Outcome<()> {
        fs::create_dir_all(&self.directory)
            .map_err(|error| failed("create", &self.directory, &error))
    }

    pub(super) fn read_commands(&self) -> Outcome<Vec<StoredCommand>> {
        read(&self.commands_path())
    }

    pub(super) fn read_dead_letters(&self) -> Outcome<Vec<StoredDeadLetter>> {
        read(&self.dead_letters_path())
    }

    /// Makes all changes, in order, with at most one write per file; one outcome per change.
    pub(super) fn apply(&self, changes: Vec<Change>) -> Vec<Outcome<()>> {
        let touched: Vec<_> = changes.iter().map(Touched::of).collect();
        let _lock = match self.lock() {
            Ok(lock) => lock,
            Err(text) => return touched.iter().map(|_| Err(text.clone())).collect(),
        };
        let mut commands = Table::<CommandRows>::new(self.commands_path());
        let mut letters = Table::<Vec<StoredDeadLetter>>::new(self.dead_letters_path());
        for change in changes {
            match change {
                Change::SaveCommand(command) => commands.update(|rows| rows.save(command)),
                Change::RemoveCommand(id) => commands.update(|rows| rows.remove(&id)),
                Change::SaveDeadLetter(letter) => {
                    letters.update(|rows| {
                        rows.push(letter);
                        let surplus = rows.len().saturating_sub(self.max_dead_letters);
                        rows.drain(..surplus);
                        true
                    });
                }
                Change::ClearDeadLetters => letters.clear(),
                Change::ClearAll => {
                    commands.clear();
                    letters.clear();
                }
            }
        }
        let is_changed = commands.is_changed() || letters.is_changed();
        let (commands, letters) = (commands.write(), letters.write());
        let synced = if is_changed {
            sync_directory(&self.directory)
        } else {
            Ok(())
        };
        touched
            .into_iter()
            .map(|touched| touched.outcome(&commands, &letters).and(synced.clone()))
            .collect()
    }

    fn commands_path(&self) -> PathBuf {
        self.directory.join("commands.json")
    }

    fn dead_letters_path(&self) -> PathBuf {
        self.directory.join("dead_letters.json")
    }

    /// Waits until no other handle or process writes; released when the file is dropped.
    fn lock(&self) -> Outcome<File> {
        let path = self.directory.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| failed("open", &path, &error))?;
        match file.lock() {
            // Some network file systems have no locks: there the directory must have one writer.
            Err(error) if error.kind() != ErrorKind::Unsupported => {
                Err(failed("lock", &path, &error))
            }
            _ => Ok(file),
        }
    }
}

/// Which file a change concerns, so that it reports the errors of that file only.
enum Touched {
    Commands,
    DeadLetters,
    Both,
}

impl Touched {
    fn of(change: &Change) -> Self {
        match change {
            Change::SaveCommand(_) | Change::RemoveCommand(_) => Self::Commands,
            Change::SaveDeadLetter(_) | Change::ClearDeadLetters => Self::DeadLetters,
            Change::ClearAll => Self::Both,
        }
    }

    fn outcome(&self, commands: &Outcome<()>, letters: &Outcome<()>) -> Outcome<()> {
        match self {
            Self::Commands => commands.clone(),
            Self::DeadLetters => letters.clone(),
            Self::Both => commands.clone().and(letters.clone()),
        }
    }
}

/// One file while a batch of changes is made: read on first need, written once at the end.
struct Table<R> {
    path: PathBuf,
    rows: State<R>,
}

enum State<R> {
    Untouched,
    Same(R),
    Changed(R),
    Cleared,
    Failed(String),
}

/// What the rows of a file are kept in while they change.
trait Rows: Sized {
    type Row: Serialize + DeserializeOwned;

    fn from_rows(rows: Vec<Self::Row>) -> Self;
    fn to_rows(&self) -> Vec<&Self::Row>;
}

impl<R: Rows> Table<R> {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            rows: State::Untouched,
        }
    }

    /// Changes the rows; `change` says whether it changed anything.
    fn update(&mut self, change: impl FnOnce(&mut R) -> bool) {
        let (mut rows, was_changed) = match std::mem::replace(&mut self.rows, State::Cleared) {
            State::Untouched => match read(&self.path) {
                Ok(rows) => (R::from_rows(rows), false),
                Err(text) => {
                    self.rows = State::Failed(text);
                    return;
                }
            },
            State::Same(rows) => (rows, false),
            State::Changed(rows) => (rows, true),
            State::Cleared => (R::from_rows(Vec::new()), true),
            State::Failed(text) => {
                self.rows = State::Failed(text);
                return;
            }
        };
        let changed = change(&mut rows) || was_changed;
        self.rows = if changed {
            State::Changed(rows)
        } else {
            State::Same(rows)
        };
    }

    /// Drops the rows, and with them whatever was wrong with the file.
    fn clear(&mut self) {
        self.rows = State::Cleared;
    }

    fn is_changed(&self) -> bool {
        matches!(self.rows, State::Changed(_) | State::Cleared)
    }

    fn write(self) -> Outcome<()> {
        match self.rows {
            State::Untouched | State::Same(_) => Ok(()),
            State::Changed(rows) => replace(&self.path, &rows.to_rows())
                .map_err(|error| failed("write", &self.path, &error)),
            State::Cleared => match fs::remove_file(&self.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Err(failed("remove", &self.path, &error))
                }
                _ => Ok(()),
            },
            State::Failed(text) => Err(text),
        }
    }
}

/// Commands with an index by id; a removed one leaves a gap so that the others keep their place.
struct CommandRows {
    rows: Vec<Option<StoredCommand>>,
    index_by_id: HashMap<String, usize>,
}

impl CommandRows {
    fn save(&mut self, command: StoredCommand) -> bool {
        match self.index_by_id.get(&command.id) {
            Some(&index) => self.rows[index] = Some(command),
            None => {
                self.index_by_id.insert(command.id.clone(), self.rows.len());
                self.rows.push(Some(command));
            }
        }
        true
    }

    fn remove(&mut self, id: &str) -> bool {
        match self.index_by_id.remove(id) {
            Some(index) => self.rows[index].take().is_some(),
            None => false,
        }
    }
}

impl Rows for CommandRows {
    type Row = StoredCommand;

    fn from_rows(rows: Vec<StoredCommand>) -> Self {
        let mut commands = Self {
            rows: Vec::with_capacity(rows.len()),
            index_by_id: HashMap::with_capacity(rows.len()),
        };
        for command in rows {
            commands.save(command);
        }
        commands
    }

    fn to_rows(&self) -> Vec<&StoredCommand> {
        self.rows.iter().flatten().collect()
    }
}

impl Rows for Vec<StoredDeadLetter> {
    type Row = StoredDeadLetter;

    fn from_rows(rows: Vec<StoredDeadLetter>) -> Self {
        rows
    }

    fn to_rows(&self) -> Vec<&StoredDeadLetter> {
        self.iter().collect()
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Outcome<Vec<T>> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text)
            .map_err(|error| format!("{} is damaged: {error}", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed("read", path, &error)),
    }
}

/// Puts the new rows in the place of the old file at one stroke.
fn replace<T: Serialize>(path: &Path, rows: &[T]) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(rows)?;
    let beside = path.with_extension("json.new");
    let written = write_durably(&beside, &text).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // On a full disk the half-written file would only make things worse; the first error is the one to report.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn write_durably(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text)?;
    file.sync_all()
}

/// Makes renames and removals durable.
#[cfg(unix)]
fn sync_directory(directory: &Path) -> Outcome<()> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| failed("sync", directory, &error))
}

/// Directories cannot be synced here; the file system journals renames by itself.
#[cfg(not(unix))]
fn sync_directory(_directory: &Path) -> Outcome<()> {
    Ok(())
}

fn failed(action: &str, path: &Path, error: &io::Error) -> String {
    format!("failed to {action} {}: {error}", path.display())
}
