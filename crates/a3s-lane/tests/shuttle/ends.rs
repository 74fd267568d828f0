//! Completed commands of a lane with a storage: it is told of each once, and a receiver learns of it after that, whatever the
//! storage says and whenever the runtime ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use a3s_lane::storage::{
    CommandRecord, Settlement, StoredCommand, StoredDeadLetter, StoredOutcome,
};
use a3s_lane::testing::{begin_runtime, end_runtime};
use a3s_lane::{CommandQueue, EventEmitter, Lane, LaneConfig, LaneError, Result, Storage};
use async_trait::async_trait;
use serde_json::{Value, json};
use shuttle::future::yield_now;
use shuttle::sync::Mutex;
use tokio::sync::oneshot::Receiver;

use crate::command::{Attempt, LANE, Scripted, Seen, answer, check, submit};

/// What a storage was told of a command, by the value that it has returned.
#[derive(Debug, Default, Clone, Copy)]
struct Told {
    taken_down: usize,
    refused_alone: usize,
}

/// A storage that takes its time, and keeps only ids.
#[derive(Default)]
pub(crate) struct Ledger {
    told: Mutex<BTreeMap<u64, Told>>,
    stored: Mutex<Vec<String>>,
    /// So many of the next settlements are refused.
    refusals: AtomicUsize,
    largest: AtomicUsize,
    /// So many of the next saves are refused.
    save_refusals: AtomicUsize,
    largest_save: AtomicUsize,
}

impl Ledger {
    fn refusing(times: usize) -> Arc<Self> {
        let ledger = Self::default();
        ledger.refusals.store(times, Ordering::SeqCst);
        Arc::new(ledger)
    }

    pub(crate) fn refusing_saves(times: usize) -> Arc<Self> {
        let ledger = Self::default();
        ledger.save_refusals.store(times, Ordering::SeqCst);
        Arc::new(ledger)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.stored.lock().unwrap().is_empty()
    }

    pub(crate) fn largest_save(&self) -> usize {
        self.largest_save.load(Ordering::SeqCst)
    }

    fn told(&self, value: usize) -> Told {
        let told = self.told.lock().unwrap();
        told.get(&(value as u64)).copied().unwrap_or_default()
    }

    fn note(&self, settlements: &[Settlement], refused: bool) {
        let mut told = self.told.lock().unwrap();
        for settlement in settlements {
            let StoredOutcome::Completed(value) = &settlement.outcome else {
                continue;
            };
            let told = told.entry(value.as_u64().unwrap()).or_default();
            told.taken_down += usize::from(!refused);
            told.refused_alone += usize::from(refused && settlements.len() == 1);
        }
    }

    /// Each of these was taken down once, and nothing is stored.
    fn has_all(&self, values: usize) {
        for value in 0..values {
            assert_eq!(self.told(value).taken_down, 1, "{value}");
        }
        assert!(self.stored.lock().unwrap().is_empty());
    }
}

#[async_trait]
impl Storage for Ledger {
    async fn save_command(&self, command: StoredCommand) -> Result<()> {
        yield_now().await;
        self.stored.lock().unwrap().push(command.id);
        Ok(())
    }

    async fn load_commands(&self) -> Result<Vec<StoredCommand>> {
        Ok(Vec::new())
    }

    async fn remove_command(&self, id: &str) -> Result<()> {
        self.stored.lock().unwrap().retain(|stored| stored != id);
        Ok(())
    }

    async fn save_dead_letter(&self, _: StoredDeadLetter) -> Result<()> {
        Ok(())
    }

    async fn load_dead_letters(&self) -> Result<Vec<StoredDeadLetter>> {
        Ok(Vec::new())
    }

    async fn clear_dead_letters(&self) -> Result<()> {
        Ok(())
    }

    async fn clear_all(&self) -> Result<()> {
        Ok(())
    }

    async fn save_commands(&self, records: Vec<CommandRecord>) -> Result<()> {
        self.largest_save.fetch_max(records.len(), Ordering::SeqCst);
        let left = |left: usize| left.checked_sub(1);
        let refusals = &self.save_refusals;
        let refused = refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left);
        if refused.is_ok() {
            yield_now().await;
            return Err(LaneError::Storage("as the model wants it".into()));
        }
        for record in records {
            self.save_command(record.command).await?;
        }
        Ok(())
    }

    async fn settle_commands(&self, settlements: Vec<Settlement>) -> Result<()> {
        self.largest.fetch_max(settlements.len(), Ordering::SeqCst);
        yield_now().await;
        let left = |left: usize| left.checked_sub(1);
        let refused = self
            .refusals
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left)
            .is_ok();
        self.note(&settlements, refused);
        if refused {
            return Err(LaneError::Storage("as the model wants it".into()));
        }
        let mut stored = self.stored.lock().unwrap();
        stored.retain(|id| settlements.iter().all(|settled| settled.id != *id));
        Ok(())
    }
}

/// A started queue with one lane that is stored there.
pub(crate) async fn queue(slots: usize, ledger: &Arc<Ledger>) -> Arc<CommandQueue> {
    let queue = Arc::new(CommandQueue::new(EventEmitter::new(64)));
    let storage: Arc<dyn Storage> = ledger.clone();
    let lane = Lane::with_storage(LANE, LaneConfig::new(1, slots), 1, storage);
    queue.register_lane(Arc::new(lane)).await;
    Arc::clone(&queue).start_scheduler().await;
    queue
}

/// Submits commands that return these values, and awaits the answers.
fn submitter(
    queue: &Arc<CommandQueue>,
    ledger: &Arc<Ledger>,
    seen: &Arc<Seen>,
    values: std::ops::Range<usize>,
) -> shuttle::future::JoinHandle<()> {
    let (queue, ledger, seen) = (Arc::clone(queue), Arc::clone(ledger), Arc::clone(seen));
    shuttle::future::spawn(async move {
        let mut receivers = Vec::new();
        for value in values {
            let attempt = Attempt::Yield(value % 2);
            receivers.push((
                value,
                submit(&queue, Scripted::new(value, &[attempt], &seen)).await,
            ));
        }
        for (value, receiver) in receivers {
            assert_eq!(answer(receiver).await.unwrap(), json!(value));
            let told = ledger.told(value);
            assert!(
                told.taken_down + told.refused_alone > 0,
                "{value}: {told:?}"
            );
        }
    })
}

/// The storage is told of each once, before its receiver.
#[test]
fn each_is_told_once_and_before_its_receiver() {
    let largest = Arc::new(AtomicUsize::new(0));
    for slots in [2, 8] {
        let largest = Arc::clone(&largest);
        check(500, move || {
            let largest = Arc::clone(&largest);
            async move {
                let ledger = Arc::<Ledger>::default();
                let queue = queue(slots, &ledger).await;
                let seen = Arc::new(Seen::default());
                let one = submitter(&queue, &ledger, &seen, 0..3);
                let two = submitter(&queue, &ledger, &seen, 3..6);
                one.await.unwrap();
                two.await.unwrap();
                queue.drain(Duration::from_secs(1)).await.unwrap();
                assert!(seen.most.load(Ordering::SeqCst) <= slots);
                ledger.has_all(6);
                largest.fetch_max(ledger.largest.load(Ordering::SeqCst), Ordering::SeqCst);
            }
        });
    }
    let largest = largest.load(Ordering::SeqCst);
    assert!(largest > 1, "no schedule had a group");
}

/// Of a group that the storage refuses each is told alone, and what it refuses alone when it takes something down again.
#[test]
fn a_storage_that_fails_is_told_all_the_same() {
    for refusals in [1, 2, 4] {
        check(500, move || async move {
            let ledger = Ledger::refusing(refusals);
            let queue = queue(8, &ledger).await;
            let seen = Arc::new(Seen::default());
            let one = submitter(&queue, &ledger, &seen, 0..3);
            let two = submitter(&queue, &ledger, &seen, 3..5);
            one.await.unwrap();
            two.await.unwrap();
            ledger.refusals.store(0, Ordering::SeqCst);
            submitter(&queue, &ledger, &seen, 5..6).await.unwrap();
            queue.drain(Duration::from_secs(1)).await.unwrap();
            assert_eq!(queue.status().await[LANE].active, 0);
            ledger.has_all(6);
        });
    }
}

/// What has completed when the runtime ends settles: with its value only if the storage was told, with an error otherwise.
#[test]
fn the_end_of_the_runtime_settles_what_waits_for_the_storage() {
    for refusals in [0, 1] {
        check(1_000, move || async move {
            begin_runtime();
            let ledger = Ledger::refusing(refusals);
            let queue = queue(8, &ledger).await;
            let seen = Arc::new(Seen::default());
            let mut receivers: Vec<(usize, Receiver<Result<Value>>)> = Vec::new();
            for value in 0..4 {
                let command = Scripted::new(value, &[Attempt::Yield(1)], &seen);
                receivers.push((value, submit(&queue, command).await));
            }
            let ending = shuttle::future::spawn(async {
                for _ in 0..3 {
                    yield_now().await;
                }
                end_runtime();
            });
            for (value, receiver) in receivers {
                let answered = answer(receiver).await;
                let told = ledger.told(value);
                assert!(told.taken_down <= 1, "{value}: {told:?}");
                match answered {
                    Ok(returned) => {
                        assert_eq!(returned, json!(value));
                        assert!(
                            told.taken_down + told.refused_alone > 0,
                            "{value}: {told:?}"
                        );
                    }
                    Err(error) => assert!(matches!(error, LaneError::QueueError(_)), "{error}"),
                }
            }
            ending.await.unwrap();
            assert_eq!(queue.status().await[LANE].active, 0, "no slot is kept");
        });
    }
}
