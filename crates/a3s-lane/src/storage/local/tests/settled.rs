//! Settlements that are told twice, and letters that come and go.

use super::records::{full_letter, record};
use super::*;
use crate::storage::{HistoryEvent, StoredOutcome};

/// A call that is dropped before its answer comes may have been made, and is made again.
#[tokio::test]
async fn a_settlement_that_is_told_again_changes_nothing() {
    let directory = directory();
    let storage = open(&directory).await.with_results(Retention::new());
    let storage = storage.with_history(Retention::new());
    storage
        .save_commands(vec![record("a")])
        .await
        .expect("saved");
    let failed = StoredOutcome::Failed {
        code: "TIMEOUT".into(),
        error: "too late".into(),
    };
    let mut first = Settlement::new("a", "mail", "skill", failed);
    first.letter = Some(Box::new(full_letter("a")));
    let counts = async |storage: &LocalStorage| {
        let letters = storage.find_dead_letters(&DeadLetterFilter::of("a")).await;
        let history = storage.load_history(&HistoryFilter::of("a")).await;
        let history = history.expect("readable").into_iter();
        let ends = history.filter(|entry| entry.event == HistoryEvent::Failed);
        (letters.expect("readable").len(), ends.count())
    };
    for _ in 0..2 {
        let told = storage.settle_commands(vec![first.clone()]).await;
        told.expect("settled");
        assert_eq!(counts(&storage).await, (1, 1));
    }
    // Nor in one transaction, nor after one that was taken back.
    let mut second = first.clone();
    second.settled_at += chrono::Duration::nanoseconds(1);
    let told = storage
        .settle_commands(vec![second.clone(), second.clone()])
        .await;
    told.expect("settled");
    assert_eq!(counts(&storage).await, (2, 2));
    ask(&storage, |store| {
        store.settled.end(true);
        let mut third = Settlement::new("a", "mail", "skill", StoredOutcome::Completed(json!(1)));
        third.settled_at = Utc.timestamp_nanos(1);
        assert!(store.settled.is_new(&third));
        store.settled.end(false);
        assert!(store.settled.is_new(&third));
        store.settled.end(true);
        assert!(!store.settled.is_new(&third));
    })
    .await;
}

/// A letter that goes back and forth keeps its time.
#[tokio::test]
async fn a_letter_that_is_put_back_again_and_again_is_there() {
    let directory = directory();
    let storage = open(&directory).await;
    let letter = full_letter("a");
    for _ in 0..3 {
        let failed = StoredOutcome::Failed {
            code: "TIMEOUT".into(),
            error: "too late".into(),
        };
        let mut settlement = Settlement::new("a", "mail", "skill", failed);
        settlement.settled_at = letter.failed_at;
        settlement.letter = Some(Box::new(letter.clone()));
        let told = storage.settle_commands(vec![settlement]).await;
        told.expect("settled");
        let letters = storage.find_dead_letters(&DeadLetterFilter::all()).await;
        assert_eq!(letters.expect("readable"), std::slice::from_ref(&letter));
        assert!(command_ids(&storage).await.is_empty());
        storage
            .revive_dead_letters(vec![record("a")])
            .await
            .expect("revived");
        assert_eq!(command_ids(&storage).await, ["a"]);
    }
}
