//! Batches are stored at once.

use std::sync::Arc;

use a3s_lane::{
    Command, CommandHandle, CommandQueue, EventEmitter, JsonCommand, Lane, LaneConfig, LaneError,
    LaneOptions, OnConflict, Overflow, QueueManager, Refused, SubmitOptions, Unique,
};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::{builder_on, drained, job, running, waiting_on, writes};
use crate::support::shelf::Shelf;
use crate::support::vault::Vault;
use crate::support::{Gate, Log, builder_with, nothing, outcome, settled, submit_with};

type Batch = Vec<(Box<dyn Command>, SubmitOptions)>;

fn batch(count: usize) -> Batch {
    let one = |number: usize| -> (Box<dyn Command>, _) { (job(number), SubmitOptions::new()) };
    (0..count).map(one).collect()
}

async fn submit_all(manager: &QueueManager, batch: Batch) {
    for answer in manager.submit_many("only", batch).await {
        answer.expect("it is accepted");
    }
}

#[tokio::test]
async fn a_batch_is_stored_in_one_call_and_in_its_order() {
    let vault = Vault::new();
    let log = Log::default();
    let manager = running(builder_on(vault.clone()), &log).await;
    submit_all(&manager, batch(5)).await;
    drained(&manager).await;
    let saves = vault.log.entries();
    let saves: Vec<_> = saves
        .iter()
        .filter(|call| call.starts_with("save"))
        .collect();
    assert_eq!(saves, ["save 5"]);
    assert_eq!(log.entries(), ["0", "1", "2", "3", "4"]);
}

/// The stored command was acknowledged: another with its id must not take its place, before the start or where it has no
/// handler.
#[tokio::test]
async fn the_id_of_a_stored_command_is_taken() {
    let vault = Vault::new();
    let log = Log::default();
    let before = waiting_on(vault.clone()).await;
    submit_with(
        &before,
        "only",
        job("old"),
        SubmitOptions::new().with_id("a"),
    )
    .await;
    let other = Box::new(JsonCommand::new("other", json!("unclaimed")));
    submit_with(&before, "only", other, SubmitOptions::new().with_id("b")).await;
    drop(before);
    let built = builder_on(vault.after_crash()).with_handler("job", writes(&log));
    let manager = built.build().await.expect("the settings are right");
    let with_id = |payload: &str, id: &str| -> (Box<dyn Command>, _) {
        (job(payload), SubmitOptions::new().with_id(id))
    };
    let batch = || vec![with_id("a", "a"), with_id("new", "c"), with_id("b", "b")];
    let codes = |answers: Vec<Result<_, Refused>>| -> Vec<&'static str> {
        let code = |answer: Result<CommandHandle, Refused>| {
            answer.map_or_else(|refused| refused.error().code(), |_| "accepted")
        };
        answers.into_iter().map(code).collect()
    };
    let answers = manager.submit_many("only", batch()).await;
    assert_eq!(codes(answers), ["DUPLICATE", "accepted", "DUPLICATE"]);
    manager.start().await.expect("the storage can be read");
    drained(&manager).await;
    assert_eq!(log.entries(), [r#""old""#, r#""new""#]);
    // The first two have settled; the third is stored still.
    let answers = manager.submit_many("only", batch()).await;
    assert_eq!(codes(answers), ["accepted", "accepted", "DUPLICATE"]);
    let unclaimed = manager.unclaimed().await.expect("the storage can be read");
    assert_eq!(unclaimed.len(), 1);
}

#[tokio::test]
async fn the_dates_of_a_batch_tell_its_order() {
    let vault = Vault::new();
    let manager = waiting_on(vault.clone()).await;
    submit_all(&manager, batch(100)).await;
    let dates: Vec<_> = vault
        .records()
        .iter()
        .map(|record| record.command.created_at)
        .collect();
    assert!(dates.is_sorted_by(|a, b| a < b));
}

#[tokio::test]
async fn a_batch_that_cannot_be_stored_is_given_back() {
    let vault = Vault::new();
    let log = Log::default();
    let manager = running(builder_on(vault.clone()), &log).await;
    vault.set_fault("save", true);
    let answers = manager.submit_many("only", batch(3)).await;
    for (number, answer) in answers.into_iter().enumerate() {
        let refused = answer.expect_err("the disk is full");
        let (error, command) = refused.into_parts();
        assert!(matches!(error, LaneError::Storage(_)), "{error}");
        assert_eq!(command.payload(), Some(number.into()));
    }
    drained(&manager).await;
    assert!(log.entries().is_empty());
    // Ids and keys are free again.
    vault.set_fault("save", false);
    let options = || {
        SubmitOptions::new()
            .with_id("a")
            .with_unique(Unique::new("k"))
    };
    vault.set_fault("save", true);
    manager
        .submit_with("only", job(1), options())
        .await
        .expect_err("the disk is full");
    vault.set_fault("save", false);
    submit_with(&manager, "only", job(1), options()).await;
}

/// Each has its own answer, and its own command.
#[tokio::test]
async fn a_batch_with_taken_ids_that_cannot_be_stored_is_given_back() {
    let with_id =
        |id: &str| -> (Box<dyn Command>, _) { (job(id), SubmitOptions::new().with_id(id)) };
    let vault = Vault::new();
    let before = waiting_on(vault.clone()).await;
    submit_all(&before, vec![with_id("a"), with_id("b")]).await;
    drop(before);
    let vault = vault.after_crash();
    let built = builder_on(vault.clone()).build().await;
    let manager = built.expect("the settings are right");
    vault.set_fault("save", true);
    let batch: Batch = ["a", "c", "b"].map(with_id).into();
    let answers = manager.submit_many("only", batch).await;
    let told: Vec<_> = answers
        .into_iter()
        .map(|answer| {
            let (error, command) = answer.expect_err("the disk is full").into_parts();
            (error.code(), command.payload())
        })
        .collect();
    let expected = [
        ("DUPLICATE", "a"),
        ("STORAGE_ERROR", "c"),
        ("DUPLICATE", "b"),
    ];
    assert_eq!(
        told,
        expected.map(|(code, payload)| (code, Some(payload.into())))
    );
}

#[tokio::test]
async fn one_refused_command_keeps_no_other_out() {
    let vault = Vault::new();
    let manager = waiting_on(vault.clone()).await;
    let mut batch = batch(3);
    batch[1].1 = SubmitOptions::new().with_id("");
    let answers = manager.submit_many("only", batch).await;
    let accepted: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(accepted, [true, false, true]);
    assert_eq!(vault.log.entries(), ["save 2"]);
}

/// Whoever joins a command that is then not stored learns that.
#[tokio::test]
async fn who_joined_a_command_that_cannot_be_stored_is_told() {
    let vault = Vault::new();
    vault.set_fault("save", true);
    let manager = waiting_on(vault).await;
    let unique = || Unique::new("k").on_conflict(OnConflict::Join);
    let one = || -> (Box<dyn Command>, _) { (job(1), SubmitOptions::new().with_unique(unique())) };
    let mut answers = manager.submit_many("only", [one(), one()]).await;
    let joined = answers.pop().expect("two").expect("it joined the first");
    answers.pop().expect("one").expect_err("the disk is full");
    let error = settled(&joined).await.expect_err("there is no command");
    assert!(matches!(error, LaneError::Storage(_)), "{error}");
}

/// In a lane that lets submitters wait, those behind one that waits wait too.
#[tokio::test]
async fn a_batch_that_has_to_wait_for_room_keeps_its_order() {
    let vault = Vault::new();
    let log = Log::default();
    let options = LaneOptions::new()
        .with_max_pending(2)
        .with_overflow(Overflow::Wait);
    let manager = builder_with(&[("only", LaneConfig::new(0, 1), 0)])
        .with_lane_options("only", options)
        .with_storage(vault.clone())
        .with_handler("job", writes(&log))
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    let manager = Arc::new(manager);
    submit_all(&manager, batch(6)).await;
    drained(&manager).await;
    assert_eq!(log.entries(), ["0", "1", "2", "3", "4", "5"]);
    assert_eq!(vault.log.entries()[1], "save 2");
}

/// What was stored and then refused would run after a restart.
#[tokio::test]
async fn a_command_that_is_refused_in_the_end_does_not_stay_stored() {
    let vault = Vault::new();
    let lane = Lane::with_storage("own", LaneConfig::default(), 0, vault.clone());
    let lane = Arc::new(lane);
    let queue = CommandQueue::new(EventEmitter::new(1));
    queue.register_lane(Arc::clone(&lane)).await;
    let mut submitting = Box::pin(lane.enqueue(job(1)));
    assert!(futures::poll!(&mut submitting).is_pending());
    drop(queue);
    let refused = outcome(submitting.await).await;
    assert_eq!(
        refused.expect_err("the queue is gone").code(),
        "QUEUE_ERROR"
    );
    assert_eq!(vault.log.entries(), ["save 1", "remove"]);
    assert!(vault.records().is_empty());
}

fn replacing(number: i32) -> (Box<dyn Command>, SubmitOptions) {
    let unique = Unique::new("u").on_conflict(OnConflict::Replace);
    (job(number), SubmitOptions::new().with_unique(unique))
}

/// Also while it is on its way into its storage.
#[tokio::test]
async fn a_command_of_a_batch_is_replaced_by_a_later_one() {
    let (vault, log) = (Vault::new(), Log::default());
    let manager = running(builder_on(vault.clone()), &log).await;
    let batch = [replacing(1), replacing(2)];
    let answers = manager.submit_many("only", batch).await;
    let handles: Vec<CommandHandle> = answers
        .into_iter()
        .map(|answer| answer.expect("it is accepted"))
        .collect();
    let error = settled(&handles[0]).await.expect_err("it was replaced");
    assert_eq!(error.code(), "CANCELLED");
    settled(&handles[1]).await.expect("it runs");
    drained(&manager).await;
    assert_eq!(log.entries(), ["2"]);
    assert!(vault.records().is_empty());
}

#[tokio::test]
async fn a_command_that_is_being_stored_is_replaced_by_a_later_one() {
    let (gate, log) = (Gate::new(), Log::default());
    let shelf = Shelf::with_saves_behind(&gate);
    let manager = running(builder_on(shelf.clone()), &log).await;
    let submit = |number| {
        let (command, options) = replacing(number);
        Box::pin(manager.submit_with("only", command, options))
    };
    let (mut first, mut second) = (submit(1), submit(2));
    assert!(futures::poll!(&mut first).is_pending());
    assert!(futures::poll!(&mut second).is_pending());
    gate.open();
    let first = first.await.expect("it is accepted");
    second.await.expect("it is accepted");
    let error = settled(&first).await.expect_err("it was replaced");
    assert_eq!(error.code(), "CANCELLED");
    drained(&manager).await;
    assert_eq!(log.entries(), ["2"]);
    assert!(shelf.stored().is_empty());
}

/// What one of a batch has brought about is done before the batch waits for anything.
#[tokio::test(start_paused = true)]
async fn a_batch_that_is_dropped_while_it_waits_leaves_nothing_undone() {
    let gate = Gate::new();
    let config = LaneConfig::new(0, 1);
    let manager = builder_with(&[("only", config.clone(), 0)])
        .with_lane_options("only", LaneOptions::new().with_max_pending(1))
        .build()
        .await
        .expect("the settings are right");
    let dropping = LaneOptions::new()
        .with_max_pending(1)
        .with_overflow(Overflow::DropOldest);
    manager
        .set_lane("only", config.clone(), dropping, 0)
        .expect("the settings are right");
    let shelf = Shelf::with_saves_behind(&gate);
    let lane = Lane::with_storage("stored", config, 1, shelf);
    manager.queue().register_lane(Arc::new(lane)).await;
    let joining = || {
        let unique = Unique::new("u").on_conflict(OnConflict::Join);
        SubmitOptions::new().with_unique(unique)
    };
    let mut first = Box::pin(manager.submit_with("stored", nothing("a"), joining()));
    assert!(futures::poll!(&mut first).is_pending());
    let old = submit_with(&manager, "only", nothing("old"), SubmitOptions::new()).await;
    let batch = [
        (nothing("joins"), joining()),
        (nothing("new"), SubmitOptions::new()),
    ];
    let mut batch = Box::pin(manager.submit_many("only", batch));
    assert!(futures::poll!(&mut batch).is_pending());
    drop(batch);
    drop(first);
    let error = settled(&old).await.expect_err("it was dropped");
    assert_eq!(error.code(), "LANE_FULL");
    gate.open();
    manager.start().await.expect("starts");
    drained(&manager).await;
}

/// A command whose destructor panics.
struct Bomb;

#[async_trait]
impl Command for Bomb {
    async fn execute(&self) -> a3s_lane::Result<Value> {
        Ok(Value::Null)
    }

    fn command_type(&self) -> &str {
        "bomb"
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("as the test wants it");
    }
}

#[tokio::test(start_paused = true)]
async fn destructors_that_panic_in_a_dropped_batch_leave_no_place_taken() {
    let gate = Gate::new();
    let manager = builder_on(Shelf::with_saves_behind(&gate))
        .build()
        .await
        .expect("the settings are right");
    let bomb = || -> (Box<dyn Command>, _) { (Box::new(Bomb), SubmitOptions::new()) };
    let mut bombs = Box::pin(manager.submit_many("only", vec![bomb(), bomb(), bomb()]));
    assert!(futures::poll!(&mut bombs).is_pending());
    drop(bombs);
    gate.open();
    manager.start().await.expect("starts");
    drained(&manager).await;
}

#[tokio::test]
async fn a_live_lane_keeps_its_storage() {
    let (vault, log) = (Vault::new(), Log::default());
    let config = LaneConfig::new(0, 1);
    let manager = builder_with(&[("other", config.clone(), 1)])
        .with_handler("job", writes(&log))
        .build()
        .await
        .expect("the settings are right");
    let lane = Lane::with_storage("only", config.clone(), 0, vault.clone());
    manager.queue().register_lane(Arc::new(lane)).await;
    submit_all(&manager, batch(1)).await;
    manager
        .set_lane("only", config, LaneOptions::new(), 0)
        .expect("the settings are right");
    submit_all(&manager, batch(1)).await;
    assert_eq!(vault.records().len(), 2);
    manager.start().await.expect("starts");
    drained(&manager).await;
    assert!(vault.records().is_empty());
}
