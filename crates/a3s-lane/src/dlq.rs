//! Keeps a record of commands that failed for good.

mod claims;
mod filter;
mod lines;
mod revival;

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::command::{CommandId, LaneId};
use crate::storage::{DeadLetterFilter, DeadLetterRecord, StoredDeadLetter};

pub(crate) use claims::{Claim, Claims};
pub(crate) use lines::{from_lines, to_lines};
pub(crate) use revival::without_payload;

/// The record of one command that failed for good.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The command's unique name.
    pub command_id: CommandId,
    /// What kind of work it was.
    pub command_type: String,
    /// The lane it ran in.
    pub lane_id: LaneId,
    /// The error of its last attempt.
    pub error: String,
    /// How often it ran: its retries plus one.
    pub attempts: u32,
    /// When its last attempt failed.
    pub failed_at: DateTime<Utc>,
}

impl From<DeadLetter> for DeadLetterRecord {
    /// A letter without payload, options and earlier failures.
    fn from(letter: DeadLetter) -> Self {
        Self::from(StoredDeadLetter {
            command_id: letter.command_id,
            command_type: letter.command_type,
            lane_id: letter.lane_id,
            error: letter.error,
            attempts: letter.attempts,
            failed_at: letter.failed_at,
        })
    }
}

impl From<DeadLetterRecord> for DeadLetter {
    fn from(record: DeadLetterRecord) -> Self {
        Self {
            command_id: record.command_id,
            command_type: record.command_type,
            lane_id: record.lane_id,
            error: record.error,
            attempts: record.attempts,
            failed_at: record.failed_at,
        }
    }
}

/// A bounded queue of dead letters, oldest first; a full queue drops its oldest letter for a new one.
///
/// A clone is another handle to the same queue. Nothing is kept beyond the life of the process.
///
/// # Cancel safety
///
/// No method waits, so a call that was polled once has done its work.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use a3s_lane::{DeadLetter, DeadLetterQueue};
///
/// let queue = DeadLetterQueue::new(100);
/// queue
///     .push(DeadLetter {
///         command_id: "1".into(),
///         command_type: "mail".into(),
///         lane_id: "skill".into(),
///         error: "no route to host".into(),
///         attempts: 3,
///         failed_at: chrono::Utc::now(),
///     })
///     .await;
/// assert_eq!(queue.list().await[0].attempts, 3);
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct DeadLetterQueue {
    max_size: usize,
    letters: Arc<Mutex<VecDeque<DeadLetterRecord>>>,
}

impl DeadLetterQueue {
    /// A queue that keeps the newest `max_size` letters; with 0 it keeps none.
    pub fn new(max_size: usize) -> Self {
        Self {
            max_size,
            letters: Arc::default(),
        }
    }

    /// Adds a letter, dropping the oldest when the queue is full.
    pub async fn push(&self, letter: DeadLetter) {
        self.push_now(letter.into());
    }

    /// Takes the oldest letter.
    pub async fn pop(&self) -> Option<DeadLetter> {
        self.lock().pop_front().map(DeadLetter::from)
    }

    /// Copies of all letters, oldest first.
    pub async fn list(&self) -> Vec<DeadLetter> {
        let letters = self.lock();
        letters.iter().cloned().map(DeadLetter::from).collect()
    }

    /// Drops all letters.
    pub async fn clear(&self) {
        self.lock().clear();
    }

    /// How many letters the queue holds.
    pub async fn len(&self) -> usize {
        self.len_now()
    }

    /// Whether the queue holds no letter.
    pub async fn is_empty(&self) -> bool {
        self.len_now() == 0
    }

    /// [`push`](Self::push) for code that is not async, with all that is known of the command.
    pub(crate) fn push_now(&self, letter: DeadLetterRecord) {
        if self.max_size == 0 {
            return;
        }
        let mut letters = self.lock();
        // Held until the lock is released: the user's strings are freed outside it.
        let _oldest = if letters.len() >= self.max_size {
            letters.pop_front()
        } else {
            None
        };
        letters.push_back(letter);
        drop(letters);
    }

    /// The letters that `filter` means, with all that is known of their commands, oldest first.
    pub(crate) fn find_now(&self, filter: &DeadLetterFilter) -> Vec<DeadLetterRecord> {
        filter.apply_to(self.lock().iter())
    }

    /// Drops the letters of these commands; returns how many there were.
    pub(crate) fn remove_now(&self, ids: &[String]) -> usize {
        let ids: HashSet<&str> = ids.iter().map(String::as_str).collect();
        let mut letters = self.lock();
        let before = letters.len();
        letters.retain(|letter| !ids.contains(letter.command_id.as_str()));
        before - letters.len()
    }

    /// [`len`](Self::len) for code that is not async.
    pub(crate) fn len_now(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<DeadLetterRecord>> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(id: usize) -> DeadLetter {
        DeadLetter {
            command_id: id.to_string(),
            command_type: "type".into(),
            lane_id: "lane".into(),
            error: "boom".into(),
            attempts: 1,
            failed_at: Utc::now(),
        }
    }

    async fn ids(queue: &DeadLetterQueue) -> Vec<String> {
        let letters = queue.list().await;
        letters
            .into_iter()
            .map(|letter| letter.command_id)
            .collect()
    }

    #[tokio::test]
    async fn letters_come_out_oldest_first() {
        let queue = DeadLetterQueue::new(10);
        assert!(queue.is_empty().await);
        for id in 0..3 {
            queue.push(letter(id)).await;
        }
        assert_eq!(ids(&queue).await, ["0", "1", "2"]);
        assert_eq!((queue.len().await, queue.is_empty().await), (3, false));
        let oldest = queue.pop().await.expect("three letters");
        assert_eq!(oldest.command_id, "0");
        assert_eq!(ids(&queue).await, ["1", "2"]);
        queue.clear().await;
        assert!(queue.pop().await.is_none());
    }

    #[tokio::test]
    async fn a_full_queue_drops_its_oldest() {
        let queue = DeadLetterQueue::new(2);
        for id in 0..5 {
            queue.push(letter(id)).await;
        }
        assert_eq!(ids(&queue).await, ["3", "4"]);
    }

    #[tokio::test]
    async fn capacity_zero_keeps_nothing() {
        let queue = DeadLetterQueue::new(0);
        queue.push(letter(1)).await;
        assert_eq!((queue.len().await, queue.len_now()), (0, 0));
    }

    #[tokio::test]
    async fn no_limit_allocates_nothing_up_front() {
        let queue = DeadLetterQueue::new(usize::MAX);
        queue.push(letter(1)).await;
        assert_eq!(queue.len().await, 1);
    }

    #[tokio::test]
    async fn clones_share_their_letters() {
        let queue = DeadLetterQueue::new(2);
        queue.clone().push_now(letter(1).into());
        assert_eq!(queue.len().await, 1);
    }
}
