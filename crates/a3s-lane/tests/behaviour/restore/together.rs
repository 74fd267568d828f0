//! Submissions that come at about the same time are stored at once.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use a3s_lane::{LaneConfig, LaneError, LaneOptions, QueueManager, Result};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::drained;
use crate::support::vault::Vault;
use crate::support::{
    Gate, Log, builder_with, eventually, let_others_run, nothing, outcome, within,
};

type Receiver = oneshot::Receiver<Result<Value>>;
type Submitting = Pin<Box<dyn Future<Output = Result<Receiver>> + Send>>;

async fn manager_of(vault: &Arc<Vault>, slots: usize) -> Arc<QueueManager> {
    let builder = builder_with(&[("only", LaneConfig::new(0, slots), 0)]);
    let built = builder.with_storage(vault.clone()).build().await;
    let manager = built.expect("the settings are right");
    manager.start().await.expect("the storage can be read");
    Arc::new(manager)
}

/// A submission of a command that writes its type.
fn submitting(manager: &Arc<QueueManager>, log: &Log, name: &str) -> Submitting {
    let (manager, command) = (Arc::clone(manager), log.command(name));
    Box::pin(async move { manager.submit("only", command).await })
}

/// A manager with one slot, and what runs there.
async fn one_slot(vault: &Arc<Vault>) -> (Arc<QueueManager>, Log) {
    (manager_of(vault, 1).await, Log::default())
}

/// Is accepted and runs.
async fn runs(submitting: Submitting) {
    let receiver = within(submitting).await.expect("accepted");
    outcome(receiver).await.expect("it ran");
}

async fn run_all<const N: usize>(all: [Submitting; N]) {
    for submitting in all {
        runs(submitting).await;
    }
}

/// Waits until the storage has them.
async fn is_asked_to_save(vault: &Vault) {
    eventually("they are asked for", async || {
        !asked(vault, "save").is_empty()
    })
    .await;
}

/// Polls each once.
fn begin(all: &mut [&mut Submitting]) {
    for one in all {
        assert!(futures::FutureExt::now_or_never(one).is_none());
    }
}

/// What the storage was asked of this kind.
fn asked(vault: &Vault, call: &str) -> Vec<String> {
    let calls = vault.log.entries().into_iter();
    calls.filter(|it| it.starts_with(call)).collect()
}

/// Those who submit in tasks of a runtime with one thread go together: whoever polls them drives it.
async fn in_a_task(test: impl Future<Output = ()> + 'static) {
    let tasks = tokio::task::LocalSet::new();
    let task = tasks.spawn_local(test);
    let ended = tasks.run_until(task).await;
    if let Err(error) = ended {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Polls each once in a task of a runtime of its own, which stands still then.
fn begin_elsewhere<const N: usize>(
    mut all: [Submitting; N],
) -> (tokio::runtime::Runtime, [Submitting; N]) {
    let there = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("a runtime");
        let begun = runtime.block_on(async {
            let begun = tokio::spawn(async move {
                begin(&mut all.each_mut());
                all
            });
            begun.await.expect("it does not panic")
        });
        (runtime, begun)
    });
    there.join().expect("it does not panic")
}

fn end(runtime: tokio::runtime::Runtime) {
    runtime.shutdown_background();
}

#[tokio::test]
async fn they_are_stored_in_one_call_and_enter_in_their_order() {
    in_a_task(async {
        let vault = Vault::new();
        let (manager, log) = one_slot(&vault).await;
        let names: Vec<String> = (0..40).map(|number| number.to_string()).collect();
        let all = names.iter().map(|name| submitting(&manager, &log, name));
        for receiver in within(futures::future::join_all(all)).await {
            outcome(receiver.expect("accepted")).await.expect("it ran");
        }
        assert_eq!(log.entries(), names);
        assert_eq!(asked(&vault, "save"), ["save 40"]);
    })
    .await;
}

/// As the storage is asked in this order, so are the dates: a restart goes by them where a storage has no order of its own.
#[tokio::test]
async fn their_dates_are_in_their_order() {
    in_a_task(async {
        let vault = Vault::new();
        let manager = builder_with(&[("only", LaneConfig::new(0, 1), 0)]);
        let built = manager.with_storage(vault.clone()).build().await;
        let manager = Arc::new(built.expect("the settings are right"));
        let log = Log::default();
        let all = (0..40).map(|number| submitting(&manager, &log, &number.to_string()));
        for receiver in within(futures::future::join_all(all)).await {
            drop(receiver.expect("accepted"));
        }
        let records = vault.records();
        let numbers: Vec<String> = (0..40).map(|number| number.to_string()).collect();
        assert_eq!(vault.types(), numbers);
        let dates = records.iter().map(|record| record.command.created_at);
        assert!(dates.is_sorted_by(|one, next| one < next));
    })
    .await;
}

#[tokio::test]
async fn only_the_one_that_a_storage_cannot_save_is_refused() {
    in_a_task(async {
        let vault = Vault::new();
        vault.fail_to_save("bad", false);
        let (manager, log) = one_slot(&vault).await;
        let all = ["first", "one", "bad", "two"].map(|name| submitting(&manager, &log, name));
        let mut answers = within(futures::future::join_all(all)).await;
        let error = answers.remove(2).expect_err("it cannot be saved");
        assert!(matches!(error, LaneError::Storage(text) if text == "too large"));
        for receiver in answers {
            outcome(receiver.expect("accepted")).await.expect("it ran");
        }
        drained(&manager).await;
        assert_eq!(log.entries(), ["first", "one", "two"]);
        let saves = ["save 4", "save 1", "save 1", "save 1", "save 1"];
        assert_eq!(asked(&vault, "save"), saves);
        assert!(vault.records().is_empty());
    })
    .await;
}

/// Storages may save some of several before they fail.
#[tokio::test]
async fn one_that_is_refused_after_its_group_is_not_stored() {
    in_a_task(async {
        let vault = Vault::new();
        vault.fail_to_save("bad", false);
        let (manager, log) = one_slot(&vault).await;
        let all = ["one", "bad", "two"].map(|name| submitting(&manager, &log, name));
        let answers = within(futures::future::join_all(all)).await;
        assert!(answers[1].is_err());
        assert_eq!(asked(&vault, "remove").len(), 1);
        drained(&manager).await;
    })
    .await;
}

#[tokio::test]
async fn the_only_one_of_a_group_is_refused_after_one_call() {
    in_a_task(async {
        let vault = Vault::new();
        vault.fail_to_save("bad", false);
        let (manager, log) = one_slot(&vault).await;
        let answer = within(submitting(&manager, &log, "bad")).await;
        answer.expect_err("it cannot be saved");
        drained(&manager).await;
        assert_eq!(asked(&vault, "save"), ["save 1"]);
    })
    .await;
}

#[tokio::test]
async fn a_storage_that_panics_at_one_panics_at_its_submitter() {
    in_a_task(async {
        let vault = Vault::new();
        vault.fail_to_save("bad", true);
        let (manager, log) = one_slot(&vault).await;
        let all = ["first", "one", "bad", "two"].map(|name| submitting(&manager, &log, name));
        let all = all.map(tokio::spawn);
        let mut panics = Vec::new();
        for one in all {
            panics.push(within(one).await.is_err());
        }
        assert_eq!(panics, [false, false, true, false]);
        drained(&manager).await;
        let mut ran = log.entries();
        ran.sort();
        assert_eq!(ran, ["first", "one", "two"]);
    })
    .await;
}

#[tokio::test]
async fn one_that_is_dropped_before_the_storage_is_asked_is_not_stored() {
    in_a_task(async {
        let vault = Vault::new();
        let (manager, log) = one_slot(&vault).await;
        let [mut first, mut one, mut dropped] =
            ["first", "one", "dropped"].map(|name| submitting(&manager, &log, name));
        begin(&mut [&mut first, &mut one, &mut dropped]);
        drop(dropped);
        run_all([first, one]).await;
        drained(&manager).await;
        assert_eq!(log.entries(), ["first", "one"]);
        assert_eq!(asked(&vault, "save"), ["save 2"]);
    })
    .await;
}

#[tokio::test]
async fn one_that_is_dropped_while_it_is_stored_does_not_run() {
    in_a_task(async {
        let gate = Gate::new();
        let vault = Vault::with_saves_behind(&gate);
        let (manager, log) = one_slot(&vault).await;
        let [mut first, mut one, mut dropped] =
            ["first", "one", "dropped"].map(|name| submitting(&manager, &log, name));
        begin(&mut [&mut first, &mut one, &mut dropped]);
        is_asked_to_save(&vault).await;
        drop(dropped);
        // What the storage is told now would come before what it was asked for.
        let_others_run().await;
        gate.open();
        run_all([first, one]).await;
        drained(&manager).await;
        assert_eq!(log.entries(), ["first", "one"]);
        assert_eq!(asked(&vault, "save"), ["save 3"]);
        assert!(vault.records().is_empty(), "the storage was told of it");
    })
    .await;
}

/// Whoever gives up leaves the place to others at once, whenever the storage answers.
#[tokio::test]
async fn one_that_is_dropped_while_it_is_stored_leaves_its_place() {
    in_a_task(async {
        let gate = Gate::new();
        let vault = Vault::with_saves_behind(&gate);
        let options = LaneOptions::new().with_max_pending(3);
        let builder = builder_with(&[("only", LaneConfig::new(0, 1), 0)]);
        let builder = builder.with_lane_options("only", options);
        let built = builder.with_storage(vault.clone()).build().await;
        let manager = Arc::new(built.expect("the settings are right"));
        manager.start().await.expect("the storage can be read");
        let log = Log::default();
        let [mut first, mut one, mut dropped, mut more] =
            ["first", "one", "dropped", "more"].map(|name| submitting(&manager, &log, name));
        begin(&mut [&mut first, &mut one, &mut dropped]);
        is_asked_to_save(&vault).await;
        drop(dropped);
        begin(&mut [&mut more]);
        gate.open();
        run_all([first, one, more]).await;
        drained(&manager).await;
        assert_eq!(log.entries(), ["first", "one", "more"]);
    })
    .await;
}

/// Each is taken out of the storage again, whoever waits for it.
#[tokio::test]
async fn those_that_are_refused_when_they_enter_do_not_stay_stored() {
    in_a_task(async {
        let gate = Gate::new();
        let vault = Vault::with_saves_behind(&gate);
        let (manager, log) = one_slot(&vault).await;
        let [mut first, mut one, mut two] =
            ["first", "one", "two"].map(|name| submitting(&manager, &log, name));
        begin(&mut [&mut first, &mut one, &mut two]);
        is_asked_to_save(&vault).await;
        let options = LaneOptions::new().with_max_pending(1);
        manager
            .set_lane("only", LaneConfig::new(0, 1), options, 0)
            .expect("the settings are right");
        gate.open();
        let receiver = within(first).await.expect("accepted");
        for submitting in [one, two] {
            let error = within(submitting).await.expect_err("there is no room");
            assert_eq!(error.code(), "LANE_FULL");
        }
        assert_eq!(asked(&vault, "remove").len(), 2);
        outcome(receiver).await.expect("it ran");
        drained(&manager).await;
        assert_eq!(log.entries(), ["first"]);
        assert!(vault.records().is_empty());
    })
    .await;
}

/// It has entered, and its submitter does not know yet.
#[tokio::test]
async fn one_that_is_dropped_before_it_is_answered_is_cancelled() {
    in_a_task(async {
        let vault = Vault::new();
        let (manager, log) = one_slot(&vault).await;
        let gate = Gate::new();
        let receiver = manager.submit("only", gate.command("holds the slot")).await;
        let holds = receiver.expect("accepted");
        let [mut first, mut one, mut dropped] =
            ["first", "one", "dropped"].map(|name| submitting(&manager, &log, name));
        begin(&mut [&mut first, &mut one, &mut dropped]);
        let first = within(first).await.expect("accepted");
        eventually("they have entered", async || {
            let stats = manager.stats().await.expect("never fails");
            stats.total_pending == 3
        })
        .await;
        drop(dropped);
        let_others_run().await;
        let stats = manager.stats().await.expect("never fails");
        assert_eq!(stats.total_pending, 2);
        gate.open();
        outcome(holds).await.expect("it ran");
        outcome(first).await.expect("it ran");
        runs(one).await;
        drained(&manager).await;
        assert_eq!(log.entries(), ["first", "one"]);
        assert!(vault.records().is_empty(), "the storage was told of it");
    })
    .await;
}

/// A runtime that stands still holds nobody up but its own submitters.
#[tokio::test]
async fn submissions_from_another_runtime_go_alone() {
    in_a_task(async {
        let vault = Vault::new();
        let (manager, log) = one_slot(&vault).await;
        let all = ["first", "one"].map(|name| submitting(&manager, &log, name));
        let (runtime, [first, one]) = begin_elsewhere(all);
        let mut other = submitting(&manager, &log, "other");
        begin(&mut [&mut other]);
        let receiver = within(other).await.expect("accepted");
        outcome(receiver).await.expect("it ran");
        assert_eq!(log.entries(), ["other"]);
        end(runtime);
        drop((first, one));
        drained(&manager).await;
    })
    .await;
}

/// Their runtime is known, and nobody drives it: they are polled from outside.
#[test]
fn submitters_do_not_need_their_runtime_to_be_driven() {
    let driven = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("a runtime");
    let idle = tokio::runtime::Builder::new_current_thread().build();
    let idle = idle.expect("a runtime");
    let vault = Vault::new();
    let log = Log::default();
    let manager = driven.block_on(manager_of(&vault, 1));
    let [mut first, mut one] = ["first", "one"].map(|name| submitting(&manager, &log, name));
    {
        let _entered = idle.enter();
        begin(&mut [&mut first, &mut one]);
    }
    let threads = [first, one].map(|submitting| {
        let handle = idle.handle().clone();
        std::thread::spawn(move || handle.block_on(submitting))
    });
    let receivers = threads.map(|thread| thread.join().expect("it does not panic"));
    driven.block_on(async {
        for receiver in receivers {
            outcome(receiver.expect("accepted")).await.expect("it ran");
        }
        drained(&manager).await;
    });
}

/// As before, and the first one is held by its owner, or dropped.
#[test]
fn submitters_do_not_need_the_first_one() {
    let driven = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("a runtime");
    let idle = tokio::runtime::Builder::new_current_thread().build();
    let idle = idle.expect("a runtime");
    for is_dropped in [false, true] {
        let vault = Vault::new();
        let log = Log::default();
        let manager = driven.block_on(manager_of(&vault, 1));
        let [mut first, mut one, later] =
            ["first", "one", "later"].map(|name| submitting(&manager, &log, name));
        {
            let _entered = idle.enter();
            begin(&mut [&mut first, &mut one]);
        }
        let held = (!is_dropped).then_some(first);
        for submitting in [one, later] {
            let handle = idle.handle().clone();
            let thread = std::thread::spawn(move || handle.block_on(submitting));
            let receiver = thread.join().expect("it does not panic");
            let outcome = driven.block_on(outcome(receiver.expect("accepted")));
            outcome.expect("it ran");
        }
        drop(held);
        driven.block_on(drained(&manager));
        assert!(vault.records().is_empty());
    }
}

/// A body blocks the thread that the group would run on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_blocks_its_thread_holds_no_submission_up() {
    let vault = Vault::new();
    let manager = manager_of(&vault, 2).await;
    let log = Log::default();
    for _ in 0..20 {
        let (blocks, goes_on) = std::sync::mpsc::channel::<()>();
        let [mut first, mut one, mut two] =
            ["first", "one", "two"].map(|name| submitting(&manager, &log, name));
        let blocked = tokio::spawn(async move {
            begin(&mut [&mut first, &mut one, &mut two]);
            let others = tokio::spawn(futures::future::join_all([first, one, two]));
            // As such a body does.
            goes_on.recv().expect("it is told");
            others.await.expect("they do not panic")
        });
        eventually("they are stored", async || {
            asked(&vault, "save") == ["save 3"]
        })
        .await;
        blocks.send(()).expect("it waits");
        for receiver in within(blocked).await.expect("it does not panic") {
            outcome(receiver.expect("accepted")).await.expect("it ran");
        }
        drained(&manager).await;
        vault.log.clear();
    }
}

#[tokio::test]
async fn an_end_goes_on_with_those_of_a_runtime_that_stands_still() {
    in_a_task(async {
        let vault = Vault::new();
        let (manager, log) = one_slot(&vault).await;
        let all = ["first", "one", "two"].map(|name| submitting(&manager, &log, name));
        let (runtime, [first, one, two]) = begin_elsewhere(all);
        let drained = manager.drain(Duration::from_secs(60)).await;
        drained.expect("it goes on with them");
        let mut ran = log.entries();
        ran.sort();
        assert_eq!(ran, ["first", "one", "two"]);
        run_all([first, one, two]).await;
        end(runtime);
    })
    .await;
}

#[tokio::test]
async fn when_their_runtime_ends_each_goes_on_alone() {
    in_a_task(async {
        let gate = Gate::new();
        let vault = Vault::with_saves_behind(&gate);
        let (manager, log) = one_slot(&vault).await;
        let all = ["first", "one", "two"].map(|name| submitting(&manager, &log, name));
        let (runtime, [first, one, two]) = begin_elsewhere(all);
        end(runtime);
        gate.open();
        run_all([first, one, two]).await;
        drained(&manager).await;
        assert_eq!(log.entries(), ["first", "one", "two"]);
        let saves = ["save 3", "save 1", "save 1", "save 1"];
        assert_eq!(asked(&vault, "save"), saves);
        assert!(vault.records().is_empty());
    })
    .await;
}

/// They are held, and nobody polls them any more.
#[tokio::test]
async fn an_end_goes_on_with_those_that_go_on_alone() {
    in_a_task(async {
        let vault = Vault::new();
        let (manager, log) = one_slot(&vault).await;
        let all = ["first", "one", "two"].map(|name| submitting(&manager, &log, name));
        let (runtime, [first, one, two]) = begin_elsewhere(all);
        end(runtime);
        let report = within(manager.shutdown_within(Duration::from_secs(60))).await;
        // They have entered; nothing starts in the end.
        assert_eq!((report.pending.len(), log.entries().len()), (3, 0));
        drop((first, one, two));
        assert_eq!(vault.records().len(), 3, "they stay stored");
    })
    .await;
}

#[tokio::test]
async fn a_command_that_panics_when_it_is_asked_panics_at_its_submitter() {
    struct Bad;

    #[async_trait::async_trait]
    impl a3s_lane::Command for Bad {
        async fn execute(&self) -> Result<Value> {
            Ok(json!(null))
        }

        fn command_type(&self) -> &str {
            "bad"
        }

        fn payload(&self) -> Option<Value> {
            panic!("a bad command")
        }
    }

    let vault = Vault::new();
    let (manager, log) = one_slot(&vault).await;
    let mut first = submitting(&manager, &log, "first");
    begin(&mut [&mut first]);
    let own = Arc::clone(&manager);
    let bad = tokio::spawn(async move { own.submit("only", Box::new(Bad)).await.is_ok() });
    assert!(within(bad).await.expect_err("a panic").is_panic());
    runs(first).await;
    outcome(
        manager
            .submit("only", nothing("t"))
            .await
            .expect("accepted"),
    )
    .await
    .expect("it ran");
    drained(&manager).await;
}

/// Neither by the group nor by who has gone on with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_kept_of_them() {
    let vault = Vault::new();
    for count in [1, 2, 40] {
        let (manager, log) = one_slot(&vault).await;
        let names: Vec<String> = (0..count).map(|number| number.to_string()).collect();
        let all = names
            .iter()
            .map(|name| tokio::spawn(submitting(&manager, &log, name)));
        for receiver in futures::future::join_all(all.collect::<Vec<_>>()).await {
            let receiver = receiver.expect("it does not panic").expect("accepted");
            outcome(receiver).await.expect("it ran");
        }
        drained(&manager).await;
        drop(manager);
        eventually("only the test has the storage", async || {
            Arc::strong_count(&vault) == 1
        })
        .await;
    }
}
