//! Commands that failed for good: looked at, tried again, thrown away, moved elsewhere.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use chrono::Utc;
use serde_json::Value;

use super::QueueManager;
use crate::command::{Command, JsonCommand};
use crate::dlq::{Claim, DeadLetterQueue, from_lines, to_lines, without_payload};
use crate::error::{LaneError, Result};
use crate::event::{CommandName, What};
use crate::handle::CommandHandle;
use crate::queue::CommandQueue;
use crate::storage::{DeadLetterFilter, DeadLetterRecord, Storage};

impl QueueManager {
    /// The commands that failed for good.
    pub fn dead_letters(&self) -> DeadLetters {
        DeadLetters {
            queue: Arc::clone(&self.queue),
        }
    }
}

/// The dead letters of a manager: those in its storage or, without one, those in the queue of
/// [`with_dlq`](crate::QueueManagerBuilder::with_dlq).
///
/// Both hold a bounded number and drop the oldest for a new one. Letters are listed oldest first. A command may have left
/// several, when its id was used again; they go together, and the newest is the one that is tried again. A clone is another
/// handle to the same letters; like [`queue`](QueueManager::queue) it keeps the queue alive.
///
/// A storage that keeps only what 0.4 did gives letters without payload, which can be retried with one
/// ([`retry_with`](Self::retry_with)) and else not.
///
/// # Errors
///
/// All methods: [`LaneError::ConfigError`] when the manager has neither, [`LaneError::Storage`] when the storage fails.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> a3s_lane::Result<()> {
/// use a3s_lane::{
///     CommandContext, DeadLetterFilter, EventEmitter, JsonCommand, LaneError, QueueManagerBuilder,
/// };
/// use serde_json::{Value, json};
///
/// async fn send(payload: Value, _context: CommandContext) -> a3s_lane::Result<Value> {
///     match payload["to"].as_str() {
///         Some(to) => Ok(json!(format!("sent to {to}"))),
///         None => Err(LaneError::CommandError("nobody to send to".into())),
///     }
/// }
///
/// let manager = QueueManagerBuilder::new(EventEmitter::new(16))
///     .with_default_lanes()
///     .with_handler("mail", send)
///     .with_dlq(100)
///     .build()
///     .await?;
/// manager.start().await?;
/// let mail = Box::new(JsonCommand::new("mail", json!({"subject": "hello"})));
/// assert!(manager.submit("skill", mail).await?.await.expect("the queue is alive").is_err());
///
/// let letters = manager.dead_letters();
/// let failed = letters.list(&DeadLetterFilter::all().with_command_type("mail")).await?;
/// assert_eq!(failed[0].error, "Command execution error: nobody to send to");
/// let handle = letters
///     .retry_with(&failed[0].command_id, json!({"to": "Ann"}))
///     .await?;
/// assert_eq!(handle.await?, "sent to Ann");
/// assert!(letters.list(&DeadLetterFilter::all()).await?.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DeadLetters {
    queue: Arc<CommandQueue>,
}

/// What a call gets of each letter that it retries: the command's id, and its handle or why it is still a dead letter.
pub type Retried = (String, Result<CommandHandle>);

impl DeadLetters {
    /// The letters that `filter` means, oldest first.
    ///
    /// # Errors
    ///
    /// See [`DeadLetters`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn list(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetterRecord>> {
        self.shelf()?.find(filter).await
    }

    /// Puts the command of a dead letter back into its lane, with its old id and options, from its first attempt on and without
    /// the delay and the time to live that it had. The letter is gone when the command is in, in one step for a storage whose
    /// [`revive_dead_letter`](crate::Storage::revive_dead_letter) is one. A command that fails again leaves a new letter.
    ///
    /// Waits as [`submit_with`](QueueManager::submit_with). Of several calls at once for one letter, one succeeds.
    ///
    /// # Errors
    ///
    /// After any error the letter is still there. [`LaneError::CommandNotFound`] without such a letter;
    /// [`LaneError::Duplicate`] when another call has it in hand, or when another command has its id or unique key;
    /// [`LaneError::ConfigError`] when the letter has no payload (its `Command` has no
    /// [`payload`](crate::Command::payload)) or its type has neither a handler nor a factory, or the factory's error; and those of `submit_with`, such as
    /// [`LaneError::LaneNotFound`].
    ///
    /// # Cancel safety
    ///
    /// As `submit_with`: a call that is dropped while it waits has done nothing, or with a storage may have made the letter a
    /// stored command that runs after the next start.
    pub async fn retry(&self, command_id: &str) -> Result<CommandHandle> {
        self.retry_one(command_id, None).await
    }

    /// As [`retry`](Self::retry), with this payload instead of the old one.
    ///
    /// # Errors
    ///
    /// As `retry`, but a letter without payload is as good as any.
    ///
    /// # Cancel safety
    ///
    /// As `retry`.
    pub async fn retry_with(&self, command_id: &str, payload: Value) -> Result<CommandHandle> {
        self.retry_one(command_id, Some(payload)).await
    }

    /// Retries every letter that `filter` means, oldest first; one that cannot be retried keeps no other back. A letter that
    /// another call has in hand is left to it.
    ///
    /// # Errors
    ///
    /// Of the whole call: see [`DeadLetters`]. Of each letter: as [`retry`](Self::retry).
    ///
    /// # Cancel safety
    ///
    /// As `retry`; the letters before the one that waits are done, those behind it are untouched.
    pub async fn retry_all(&self, filter: &DeadLetterFilter) -> Result<Vec<Retried>> {
        let (letters, _claims) = self.take_in_hand(filter).await?;
        let mut retried = Vec::new();
        for letter in newest(letters) {
            let id = letter.command_id.clone();
            retried.push((id, self.submit_again(letter, None).await));
        }
        Ok(retried)
    }

    /// Throws away the letters that `filter` means, and with each the other letters of its command; returns how many. A letter
    /// that another call has in hand is left to it.
    ///
    /// # Errors
    ///
    /// See [`DeadLetters`]; after one, letters may still be there.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped may have thrown them away.
    pub async fn discard(&self, filter: &DeadLetterFilter) -> Result<usize> {
        let (letters, _claims) = self.take_in_hand(filter).await?;
        let ids: Vec<String> = letters.iter().map(|it| it.command_id.clone()).collect();
        let discarded = self.shelf()?.remove(&ids).await?;
        for letter in letters {
            self.queue.engine().emitter().report(|| {
                What::LetterDiscarded(
                    letter.lane_id.into(),
                    CommandName::Given(letter.command_id.into()),
                    letter.command_type.into(),
                )
            });
        }
        Ok(discarded)
    }

    /// The letters that `filter` means as text: one [`DeadLetterRecord`] as a JSON object a line, oldest first. They stay.
    ///
    /// # Errors
    ///
    /// See [`DeadLetters`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn export(&self, filter: &DeadLetterFilter) -> Result<String> {
        to_lines(&self.list(filter).await?)
    }

    /// Keeps letters that [`export`](Self::export) has written, behind those that are there; returns how many are new. A letter
    /// that is there already, of the same command and time, is not kept twice.
    ///
    /// # Errors
    ///
    /// [`LaneError::ConfigError`] with the number of a line that is no dead letter, and those of [`DeadLetters`]: nothing, or
    /// after an error of a storage that keeps letter by letter a part, is imported.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped may have imported them.
    pub async fn import(&self, lines: &str) -> Result<usize> {
        let mut letters = from_lines(lines)?;
        let shelf = self.shelf()?;
        let same = |letter: &DeadLetterRecord| (letter.command_id.clone(), letter.failed_at);
        let known = shelf.find(&DeadLetterFilter::all()).await?;
        let mut known: HashSet<_> = known.iter().map(same).collect();
        letters.retain(|letter| known.insert(same(letter)));
        let imported = letters.len();
        shelf.import(letters).await?;
        Ok(imported)
    }

    async fn retry_one(&self, command_id: &str, payload: Option<Value>) -> Result<CommandHandle> {
        let shelf = self.shelf()?;
        let Some(_claim) = self.queue.claims().claim(command_id) else {
            let text =
                format!("dead letter of command {command_id} is in the hand of another call");
            return Err(LaneError::Duplicate(text));
        };
        let letters = shelf.find(&DeadLetterFilter::of(command_id)).await?;
        let Some(letter) = letters.into_iter().next_back() else {
            let text = format!("no dead letter of a command {command_id:?}");
            return Err(LaneError::CommandNotFound(text));
        };
        self.submit_again(letter, payload).await
    }

    /// Submits the command of a letter that the caller has in hand.
    async fn submit_again(
        &self,
        letter: DeadLetterRecord,
        payload: Option<Value>,
    ) -> Result<CommandHandle> {
        let engine = self.queue.engine();
        let command = self.rebuild(
            &letter.command_id,
            &letter.command_type,
            payload.or(letter.payload),
        )?;
        let mut options = letter.options.again(Utc::now());
        options.id = Some(letter.command_id.clone());
        options.revives = Some(letter.command_type.into());
        let handle = engine
            .submit_with(&letter.lane_id, command, options)
            .await?;
        if let Some(storage) = self.queue.storage()
            && !engine.stores(&letter.lane_id)
        {
            // Of a lane without storage nothing has told the storage.
            storage.remove_dead_letters(&[letter.command_id]).await?;
        }
        Ok(handle)
    }

    /// A command that does what the one of a dead letter did.
    fn rebuild(
        &self,
        command_id: &str,
        command_type: &str,
        payload: Option<Value>,
    ) -> Result<Box<dyn Command>> {
        let Some(payload) = payload else {
            return Err(without_payload(command_id, command_type));
        };
        let engine = self.queue.engine();
        if let Some(factory) = engine.restoring().factories().get(command_type) {
            return factory(payload);
        }
        // Without a handler it would return its payload, and count as done.
        if engine.handlers().get(command_type).is_none() {
            return Err(LaneError::ConfigError(format!(
                "dead letter of command {command_id}: type {command_type:?} has no handler and no factory"
            )));
        }
        Ok(Box::new(JsonCommand::new(command_type, payload)))
    }

    /// The letters that `filter` means and that no other call has in hand.
    async fn take_in_hand(
        &self,
        filter: &DeadLetterFilter,
    ) -> Result<(Vec<DeadLetterRecord>, Vec<Claim>)> {
        let shelf = self.shelf()?;
        let mut in_hand = HashSet::new();
        let mut claims = Vec::new();
        for letter in shelf.find(filter).await? {
            if !in_hand.contains(&letter.command_id)
                && let Some(claim) = self.queue.claims().claim(&letter.command_id)
            {
                claims.push(claim);
                in_hand.insert(letter.command_id);
            }
        }
        // Again, as another call may have taken some away before they were claimed.
        let mut letters = shelf.find(filter).await?;
        letters.retain(|letter| in_hand.contains(&letter.command_id));
        Ok((letters, claims))
    }

    fn shelf(&self) -> Result<Shelf<'_>> {
        let memory = self.queue.dlq();
        match (self.queue.storage(), memory) {
            (Some(storage), _) => Ok(Shelf::Storage(&**storage, memory)),
            (None, Some(memory)) => Ok(Shelf::Memory(memory)),
            (None, None) => Err(LaneError::ConfigError(
                "dead letters: none are kept; build the manager with with_storage or with_dlq"
                    .to_owned(),
            )),
        }
    }
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters").finish_non_exhaustive()
    }
}

/// Of several letters of a command only the newest, where its oldest stood.
fn newest(letters: Vec<DeadLetterRecord>) -> Vec<DeadLetterRecord> {
    let mut places = HashMap::new();
    let mut newest: Vec<DeadLetterRecord> = Vec::with_capacity(letters.len());
    for letter in letters {
        match places.get(&letter.command_id) {
            Some(&place) => newest[place] = letter,
            None => {
                places.insert(letter.command_id.clone(), newest.len());
                newest.push(letter);
            }
        }
    }
    newest
}

/// Where the letters are.
enum Shelf<'a> {
    /// In a storage, and the newest in memory too, if the manager keeps some there.
    Storage(&'a dyn Storage, Option<&'a DeadLetterQueue>),
    Memory(&'a DeadLetterQueue),
}

impl Shelf<'_> {
    async fn find(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetterRecord>> {
        match self {
            Self::Storage(storage, _) => storage.find_dead_letters(filter).await,
            Self::Memory(memory) => Ok(memory.find_now(filter)),
        }
    }

    async fn import(&self, letters: Vec<DeadLetterRecord>) -> Result<()> {
        match self {
            Self::Storage(storage, _) => storage.import_dead_letters(letters).await,
            Self::Memory(memory) => {
                letters
                    .into_iter()
                    .for_each(|letter| memory.push_now(letter));
                Ok(())
            }
        }
    }

    async fn remove(&self, ids: &[String]) -> Result<usize> {
        match self {
            Self::Storage(storage, memory) => {
                let removed = storage.remove_dead_letters(ids).await?;
                if let Some(memory) = memory {
                    memory.remove_now(ids);
                }
                Ok(removed)
            }
            Self::Memory(memory) => Ok(memory.remove_now(ids)),
        }
    }
}
