//! Commands that failed for good: looked at, tried again, thrown away, moved elsewhere.

use std::collections::HashSet;
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
use crate::storage::{DeadLetterFilter, DeadLetterRecord, Settlement, Storage, StoredOutcome};

/// How many letters of a lane are retried at once, at most.
const BATCH: usize = 256;

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

    /// Retries every letter that `filter` means, those of a lane oldest first; one that cannot be retried keeps no other back. A
    /// letter that another call has in hand is left to it.
    ///
    /// Up to 256 letters of a lane go into its storage at once, in one [`revive_dead_letters`](Storage::revive_dead_letters): when
    /// that fails, none of them does.
    ///
    /// # Errors
    ///
    /// Of the whole call: see [`DeadLetters`]. Of each letter: as [`retry`](Self::retry).
    ///
    /// # Cancel safety
    ///
    /// As `retry`, for the letters that go together; those before them are done, those behind them are untouched.
    pub async fn retry_all(&self, filter: &DeadLetterFilter) -> Result<Vec<Retried>> {
        let (letters, _claims) = self.take_in_hand(filter).await?;
        let letters = DeadLetterRecord::newest(letters);
        let ids: Vec<String> = letters.iter().map(|it| it.command_id.clone()).collect();
        let mut lanes: Vec<Vec<(usize, DeadLetterRecord)>> = Vec::new();
        for (place, letter) in letters.into_iter().enumerate() {
            // Together with those before it, unless the batch is full.
            let mut open = lanes.iter_mut().rev();
            let batch = open.find(|batch| batch[0].1.lane_id == letter.lane_id);
            match batch.filter(|batch| batch.len() < BATCH) {
                Some(batch) => batch.push((place, letter)),
                None => lanes.push(vec![(place, letter)]),
            }
        }
        let mut answers: Vec<_> = ids.iter().map(|_| None).collect();
        for batch in lanes {
            let (places, letters): (Vec<usize>, Vec<_>) = batch.into_iter().unzip();
            let retried = self.submit_again(letters, None).await;
            for (place, answer) in places.into_iter().zip(retried) {
                answers[place] = Some(answer);
            }
        }
        Ok(ids.into_iter().zip(answers.into_iter().flatten()).collect())
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
        let mut answers = self.submit_again(vec![letter], payload).await;
        answers.pop().expect("one answer for one letter")
    }

    /// Submits the commands of letters of one lane that the caller has in hand, with their own payloads or this one.
    async fn submit_again(
        &self,
        letters: Vec<DeadLetterRecord>,
        payload: Option<Value>,
    ) -> Vec<Result<CommandHandle>> {
        let now = Utc::now();
        let mut commands = Vec::with_capacity(letters.len());
        let rebuilt: Vec<Result<()>> = letters
            .iter()
            .map(|letter| {
                let command = self.rebuild(letter, payload.as_ref())?;
                let mut options = letter.options.clone().again(now);
                options.id = Some(letter.command_id.clone());
                options.revives = Some(letter.command_type.as_str().into());
                commands.push((command, options));
                Ok(())
            })
            .collect();
        let lane_id = letters
            .first()
            .map_or_else(String::new, |letter| letter.lane_id.clone());
        let engine = self.queue.engine();
        let mut submitted = engine
            .submit_many(&lane_id, commands, |_, _| {})
            .await
            .into_iter();
        let answers: Vec<Result<CommandHandle>> = rebuilt
            .into_iter()
            .map(|rebuilt| {
                rebuilt?;
                let answer = submitted.next().expect("one answer for one command");
                Ok(answer?)
            })
            .collect();
        self.tidy_up(&lane_id, letters, &answers).await;
        answers
    }

    /// Makes the storage agree with what became of letters.
    async fn tidy_up(
        &self,
        lane_id: &str,
        letters: Vec<DeadLetterRecord>,
        answers: &[Result<CommandHandle>],
    ) {
        let Some(storage) = self.queue.storage() else {
            return;
        };
        let with_answers = letters.into_iter().zip(answers);
        let (retried, refused): (Vec<_>, Vec<_>) =
            with_answers.partition(|(_, answer)| answer.is_ok());
        if !self.queue.engine().stores(lane_id) {
            // Of a lane without storage nothing has told the storage.
            let ids: Vec<String> = retried.into_iter().map(|(it, _)| it.command_id).collect();
            if !ids.is_empty()
                && let Err(error) = storage.remove_dead_letters(&ids).await
            {
                tracing::error!(?ids, %error, "failed to remove dead letters of commands that run again");
            }
            return;
        }
        for (letter, _) in refused {
            let id = letter.command_id.clone();
            if let Err(error) = put_back(&**storage, letter).await {
                tracing::error!(command_id = %id, %error, "failed to look whether a command that was refused is a dead letter still");
            }
        }
    }

    /// A command that does what the one of a dead letter did.
    fn rebuild(
        &self,
        letter: &DeadLetterRecord,
        payload: Option<&Value>,
    ) -> Result<Box<dyn Command>> {
        let (command_id, command_type) = (&letter.command_id, letter.command_type.as_str());
        let Some(payload) = payload.or(letter.payload.as_ref()).cloned() else {
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

/// A command that its storage has taken out of the dead letters, and that its lane has refused after that, as the queue has ended
/// meanwhile, is a dead letter again.
async fn put_back(storage: &dyn Storage, letter: DeadLetterRecord) -> Result<()> {
    let id = &letter.command_id;
    if !storage.has_command(id).await? {
        return Ok(());
    }
    let of_it = DeadLetterFilter::of(id).with_limit(1);
    if !storage.find_dead_letters(&of_it).await?.is_empty() {
        // Its letter was never touched: another command has its id.
        return Ok(());
    }
    let outcome = StoredOutcome::Failed {
        code: letter.code.clone(),
        error: letter.error.clone(),
    };
    let mut settlement = Settlement::new(
        id.as_str(),
        letter.command_type.as_str(),
        letter.lane_id.as_str(),
        outcome,
    );
    settlement.settled_at = letter.failed_at;
    settlement.letter = Some(letter.into());
    storage.settle_commands(vec![settlement]).await
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
