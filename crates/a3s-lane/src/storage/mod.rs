//! Keeps pending commands and dead letters beyond the life of the process.

#[cfg(feature = "local-storage")]
mod history;
#[cfg(feature = "local-storage")]
mod local;
mod record;
#[cfg(feature = "local-storage")]
mod retention;
mod unclaimed;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::Result;

#[cfg(feature = "local-storage")]
pub use history::{HistoryEntry, HistoryEvent, HistoryFilter};
#[cfg(feature = "local-storage")]
pub use local::{Durability, Inspection, LaneInspection, LocalStorage};
#[cfg(feature = "local-storage")]
pub(crate) use local::{Held, hold};
pub use record::{
    CommandPage, CommandRecord, DeadLetterFilter, DeadLetterRecord, FailedAttempt, RetryNote,
    Settlement, StoredOptions, StoredOutcome, StoredResult, StoredUnique,
};
#[cfg(feature = "local-storage")]
pub use retention::Retention;
pub use unclaimed::{Unclaimed, UnclaimedReason};

/// The unique name of a stored command.
pub type StoredCommandId = String;

/// What a storage keeps of a pending command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredCommand {
    /// The command's unique name.
    pub id: StoredCommandId,
    /// What kind of work it is.
    pub command_type: String,
    /// The lane it waits in.
    pub lane_id: String,
    /// The data from which it can be rebuilt.
    pub payload: serde_json::Value,
    /// How many retries it has had.
    pub retry_count: u32,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
    /// When it last ran, if ever.
    pub last_attempt_at: Option<DateTime<Utc>>,
}

/// What a storage keeps of a command that failed for good.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredDeadLetter {
    /// The command's unique name.
    pub command_id: String,
    /// What kind of work it was.
    pub command_type: String,
    /// The lane it ran in.
    pub lane_id: String,
    /// The error of its last attempt.
    pub error: String,
    /// How often it ran: its retries plus one.
    pub attempts: u32,
    /// When its last attempt failed.
    pub failed_at: DateTime<Utc>,
}

/// A place where pending commands and dead letters survive the process.
///
/// An implementation may be called from many tasks at once. What a call has reported as done must be visible to every later
/// call, and should survive a crash.
#[async_trait]
pub trait Storage: Send + Sync {
    /// Keeps a command, in place of one with the same id.
    ///
    /// # Errors
    ///
    /// Any error means that the command may not be kept.
    async fn save_command(&self, command: StoredCommand) -> Result<()>;

    /// All kept commands, in any order.
    ///
    /// # Errors
    ///
    /// Any error means that what is kept is not known; it never stands for "nothing".
    async fn load_commands(&self) -> Result<Vec<StoredCommand>>;

    /// Forgets a command; does nothing when there is none with this id.
    ///
    /// # Errors
    ///
    /// Any error means that the command may still be kept.
    async fn remove_command(&self, id: &str) -> Result<()>;

    /// Keeps a dead letter.
    ///
    /// # Errors
    ///
    /// Any error means that the letter may not be kept.
    async fn save_dead_letter(&self, letter: StoredDeadLetter) -> Result<()>;

    /// All kept dead letters, oldest first.
    ///
    /// # Errors
    ///
    /// Any error means that what is kept is not known; it never stands for "nothing".
    async fn load_dead_letters(&self) -> Result<Vec<StoredDeadLetter>>;

    /// Forgets all dead letters.
    ///
    /// # Errors
    ///
    /// Any error means that letters may still be kept.
    async fn clear_dead_letters(&self) -> Result<()>;

    /// Forgets all commands and all dead letters.
    ///
    /// # Errors
    ///
    /// Any error means that something may still be kept.
    async fn clear_all(&self) -> Result<()>;

    /// A number that tells the place where this storage keeps things from every other one in the process: two handles on one
    /// place have the same. A manager refuses to start on the place of another one that runs, as both would run its commands.
    ///
    /// Default: the address of this object.
    fn identity(&self) -> usize {
        std::ptr::from_ref(self).cast::<()>().addr()
    }

    /// Keeps commands with their options, each in place of one with the same id: all of them or, after an error, none.
    ///
    /// Called once for all that are submitted to a lane at about the same time. After an error each of several is tried alone, so one that
    /// was kept all the same may come again.
    ///
    /// Default: [`save_command`](Self::save_command) for each, without the options; not atomic.
    ///
    /// # Errors
    ///
    /// Any error means that commands may not be kept.
    async fn save_commands(&self, records: Vec<CommandRecord>) -> Result<()> {
        for record in records {
            self.save_command(record.command).await?;
        }
        Ok(())
    }

    /// The next at most `limit` kept commands in the order in which they came, from the beginning or from where the page before
    /// has ended ([`CommandPage::next`]). Payloads may be left out, see [`CommandRecord::without_payload`].
    ///
    /// Commands that are saved or removed in between change no other page.
    ///
    /// Default: all at once, oldest first.
    ///
    /// # Errors
    ///
    /// As [`load_commands`](Self::load_commands).
    async fn load_page(&self, from: Option<u64>, limit: usize) -> Result<CommandPage> {
        let _ = limit;
        if from.is_some() {
            return Ok(CommandPage::default());
        }
        let mut commands = self.load_commands().await?;
        commands.sort_by_key(|command| command.created_at);
        let records = commands.into_iter().map(CommandRecord::from).collect();
        Ok(CommandPage::new(records, None))
    }

    /// One kept command with its payload.
    ///
    /// Default: looks for it among all.
    ///
    /// # Errors
    ///
    /// As [`load_commands`](Self::load_commands).
    async fn load_command(&self, id: &str) -> Result<Option<CommandRecord>> {
        let commands = self.load_commands().await?;
        let command = commands.into_iter().find(|command| command.id == id);
        Ok(command.map(CommandRecord::from))
    }

    /// Whether a command with this id is kept.
    ///
    /// Default: asks [`load_command`](Self::load_command).
    ///
    /// # Errors
    ///
    /// As [`load_commands`](Self::load_commands).
    async fn has_command(&self, id: &str) -> Result<bool> {
        Ok(self.load_command(id).await?.is_some())
    }

    /// Notes that an attempt of a kept command begins, before it does: should the process end during it, the attempt counts as
    /// one of the command's [`crashes`](CommandRecord::crashes) and in its `retry_count`.
    ///
    /// The note ends with the next [`retry_command`](Self::retry_command), [`requeue_command`](Self::requeue_command) or
    /// [`settle_commands`](Self::settle_commands) of the command. Default: nothing is noted, and no crash is counted.
    ///
    /// # Errors
    ///
    /// Any error means that a crash may go uncounted; the command runs all the same.
    async fn start_command(&self, id: &str, attempt: u32) -> Result<()> {
        let _ = (id, attempt);
        Ok(())
    }

    /// Notes that an attempt was stopped and does not count: the command was preempted, or its queue was shut down. It has begun
    /// all the same, so `last_attempt_at` is not absent any more for one that [can expire](StoredOptions::expires_at): that is for
    /// commands that have not begun.
    ///
    /// Default: nothing to do, as [`start_command`](Self::start_command) has noted nothing.
    ///
    /// # Errors
    ///
    /// Any error means that the attempt may count.
    async fn requeue_command(&self, id: &str) -> Result<()> {
        let _ = id;
        Ok(())
    }

    /// Notes that an attempt has failed and that the command will run again.
    ///
    /// Default: saves the command with its new `retry_count` and `last_attempt_at`, without the failure and the due time.
    ///
    /// # Errors
    ///
    /// Any error means that after a restart the attempt may not count.
    async fn retry_command(&self, note: RetryNote) -> Result<()> {
        let Some(record) = self.load_command(&note.id).await? else {
            return Ok(());
        };
        let mut command = record.command;
        command.retry_count = note.failure.attempt;
        command.last_attempt_at = Some(note.failure.failed_at);
        self.save_command(command).await
    }

    /// Takes settled commands out of the pending ones, keeps their dead letters and, if the storage is told to keep results,
    /// their outcomes: all of it or, after an error, nothing.
    ///
    /// A settlement whose call was dropped before it returned is told again, the same with its `settled_at`: one that was taken
    /// should leave no second letter.
    ///
    /// Default: [`save_dead_letter`](Self::save_dead_letter), then [`remove_command`](Self::remove_command); not atomic.
    ///
    /// # Errors
    ///
    /// Any error means that commands may still be kept as pending ones.
    async fn settle_commands(&self, settlements: Vec<Settlement>) -> Result<()> {
        for settlement in settlements {
            if let Some(letter) = settlement.letter {
                self.save_dead_letter((*letter).into()).await?;
            }
            self.remove_command(&settlement.id).await?;
        }
        Ok(())
    }

    /// The kept outcome of a command.
    ///
    /// Default: none is kept.
    ///
    /// # Errors
    ///
    /// Any error means that what is kept is not known.
    async fn load_result(&self, id: &str) -> Result<Option<StoredResult>> {
        let _ = id;
        Ok(None)
    }

    /// The kept dead letters that `filter` means, oldest first.
    ///
    /// Default: of [`load_dead_letters`](Self::load_dead_letters), without payloads.
    ///
    /// # Errors
    ///
    /// As [`load_dead_letters`](Self::load_dead_letters).
    async fn find_dead_letters(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetterRecord>> {
        let letters = self.load_dead_letters().await?;
        Ok(filter.apply(letters.into_iter().map(DeadLetterRecord::from)))
    }

    /// How many dead letters are kept.
    ///
    /// Default: counts those of [`load_dead_letters`](Self::load_dead_letters).
    ///
    /// # Errors
    ///
    /// As [`load_dead_letters`](Self::load_dead_letters).
    async fn count_dead_letters(&self) -> Result<usize> {
        self.load_dead_letters().await.map(|letters| letters.len())
    }

    /// Keeps dead letters that were exported from another queue.
    ///
    /// Default: [`save_dead_letter`](Self::save_dead_letter) for each, without payloads.
    ///
    /// # Errors
    ///
    /// Any error means that letters may not be kept.
    async fn import_dead_letters(&self, letters: Vec<DeadLetterRecord>) -> Result<()> {
        for letter in letters {
            self.save_dead_letter(letter.into()).await?;
        }
        Ok(())
    }

    /// Forgets the dead letters of these commands; returns how many there were.
    ///
    /// Default: clears all and saves the others again; not atomic.
    ///
    /// # Errors
    ///
    /// Any error means that letters may still be kept.
    async fn remove_dead_letters(&self, ids: &[String]) -> Result<usize> {
        let letters = self.load_dead_letters().await?;
        let before = letters.len();
        let kept: Vec<_> = letters
            .into_iter()
            .filter(|letter| !ids.contains(&letter.command_id))
            .collect();
        let removed = before - kept.len();
        if removed > 0 {
            self.clear_dead_letters().await?;
            for letter in kept {
                self.save_dead_letter(letter).await?;
            }
        }
        Ok(removed)
    }

    /// Makes a dead letter a pending command again: keeps `record` and forgets the letters of its command, in one step.
    ///
    /// Default: the one after the other; a crash in between leaves both.
    ///
    /// # Errors
    ///
    /// Any error means that the command may not be kept as a pending one; its letter is then still there.
    async fn revive_dead_letter(&self, record: CommandRecord) -> Result<()> {
        let id = record.command.id.clone();
        self.save_commands(vec![record]).await?;
        self.remove_dead_letters(&[id]).await.map(drop)
    }

    /// Makes dead letters pending commands again, as [`revive_dead_letter`](Self::revive_dead_letter): all of them or, after an
    /// error, none.
    ///
    /// Default: `revive_dead_letter` for each; not atomic.
    ///
    /// # Errors
    ///
    /// Any error means that some may not be kept as pending ones; their letters are then still there.
    async fn revive_dead_letters(&self, records: Vec<CommandRecord>) -> Result<()> {
        for record in records {
            self.revive_dead_letter(record).await?;
        }
        Ok(())
    }

    /// Ends the use of the place where this storage keeps things: everything that was asked for before is done, and another
    /// process can have the place when this returns. Later calls fail, this one again changes nothing.
    ///
    /// Default: nothing to do.
    ///
    /// # Errors
    ///
    /// Any error means that another process may not be able to have the place yet.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
