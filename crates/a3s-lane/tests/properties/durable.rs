//! What a storage says after a queue has played on it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use a3s_lane::storage::{
    DeadLetterFilter, Durability, HistoryEvent, HistoryFilter, LocalStorage, Retention, Storage,
};
use proptest::prelude::*;
use tokio::runtime::{Builder, Runtime};

use crate::plan::{End, Plan};
use crate::play::{Played, play_on};

/// What is found when the queue is gone.
pub(crate) struct Left {
    /// The ids of what waits for the next process.
    pending: HashSet<String>,
    /// How often each id that was submitted has settled.
    ends: HashMap<String, usize>,
    completed: usize,
    letters: usize,
    running: u64,
}

pub(crate) fn play_durably(plan: &Plan) -> Result<(Played, Left), TestCaseError> {
    let directory = tempfile::tempdir().unwrap();
    let runtime = Builder::new_current_thread().build().unwrap();
    let open = || {
        let storage = LocalStorage::new(directory.path().to_owned());
        let storage = runtime.block_on(storage).unwrap();
        storage
            .with_durability(Durability::Relaxed)
            .with_history(Retention::new())
    };
    let storage = Arc::new(open());
    let played = play_on(plan, Some(storage.clone()))?;
    // Its runtime is gone; what it has asked for is done.
    runtime.block_on(storage.close()).unwrap();
    let found = runtime.block_on(LocalStorage::inspect(directory.path().to_owned()));
    let mut left = look(&runtime, &open());
    left.running = found.unwrap().running;
    Ok((played, left))
}

fn look(runtime: &Runtime, storage: &LocalStorage) -> Left {
    runtime.block_on(async {
        let commands = storage.load_commands().await.unwrap();
        let letters = storage.find_dead_letters(&DeadLetterFilter::all()).await;
        let mut left = Left {
            pending: commands.into_iter().map(|command| command.id).collect(),
            ends: HashMap::new(),
            completed: 0,
            letters: letters.unwrap().len(),
            running: 0,
        };
        for entry in storage.load_history(&HistoryFilter::all()).await.unwrap() {
            match entry.event {
                HistoryEvent::Submitted => {
                    let known = left.ends.insert(entry.command_id, 0);
                    assert_eq!(known, None, "it was submitted twice");
                }
                HistoryEvent::Completed | HistoryEvent::Failed => {
                    left.completed += usize::from(entry.event == HistoryEvent::Completed);
                    *left.ends.get_mut(&entry.command_id).unwrap() += 1;
                }
                _ => {}
            }
        }
        left
    })
}

/// Each accepted command has settled once or waits for the next process; after a drain none waits.
pub(crate) fn settles_or_stays(
    plan: &Plan,
    played: &Played,
    left: &Left,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(left.ends.len(), played.settled.len(), "all were stored");
    for (id, ends) in &left.ends {
        let expected = usize::from(!left.pending.contains(id));
        prop_assert_eq!(*ends, expected, "how often {} has settled", id);
    }
    let ended = left.ends.values().sum::<usize>();
    prop_assert_eq!(left.pending.len() + ended, played.settled.len());
    let ok = |settled: &&crate::play::Settled| settled.outcome == Some(Ok(()));
    prop_assert!(left.completed >= played.settled.iter().filter(ok).count());
    prop_assert!(left.letters <= ended - left.completed);
    if plan.end == End::Drain {
        prop_assert!(left.pending.is_empty(), "{:?}", left.pending);
        prop_assert_eq!(left.letters, ended - left.completed);
        prop_assert_eq!(left.running, 0, "slots that say it runs");
    }
    Ok(())
}
