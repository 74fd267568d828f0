//! The directory in which commands outlive a run.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use a3s_lane::storage::Retention;
use a3s_lane::{Durability, LocalStorage};

use crate::args::{DurabilityChoice, Kept};

/// Exit status when what was asked for could not be done.
const EXIT_UNUSABLE: u8 = 2;
/// What makes a directory one of a storage: its file, or those that the file was made of in 0.4.
const FILES: [&str; 3] = ["lanes.db", "commands.json", "dead_letters.json"];

/// Opens a storage that is there.
pub(crate) async fn open_existing(path: &Path) -> Result<LocalStorage, String> {
    check(path)?;
    open_any(path).await
}

/// Opens a storage, and makes one where there is none.
pub(crate) async fn open(
    path: &Path,
    durability: DurabilityChoice,
    kept: &Kept,
) -> Result<LocalStorage, String> {
    let storage = open_any(path).await?;
    let storage = storage.with_durability(match durability {
        DurabilityChoice::Full => Durability::Full,
        DurabilityChoice::Relaxed => Durability::Relaxed,
    });
    // What has ended is known by them when its line comes again.
    let retention = Retention::new()
        .with_max_age(kept.keep_results_for.unwrap_or(Duration::MAX))
        .with_max_count(kept.keep_results.unwrap_or(usize::MAX));
    Ok(storage.with_results(retention))
}

/// An application may keep more letters than the library does by default: none of them is deleted here unasked.
async fn open_any(path: &Path) -> Result<LocalStorage, String> {
    let storage = LocalStorage::new(path.to_owned()).await;
    let storage = storage.map_err(|error| error.to_string())?;
    Ok(storage.with_max_dead_letters(usize::MAX))
}

/// A typo in a path must not make an empty storage.
pub(crate) fn check(path: &Path) -> Result<(), String> {
    if FILES.iter().any(|file| path.join(file).is_file()) {
        return Ok(());
    }
    Err(format!("there is no storage in {}", path.display()))
}

/// Runs what needs a runtime and nothing else.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    runtime.block_on(work)
}

/// Tells why nothing could be done; returns the exit status.
pub(crate) fn unusable(message: &str) -> u8 {
    let _closed = writeln!(io::stderr(), "error: {message}");
    EXIT_UNUSABLE
}
