//! What enters, what does not, and what enters later.

use std::sync::Arc;

use a3s_lane::storage::{CommandRecord, UnclaimedReason};
use a3s_lane::{
    Command, EventLoop, LaneConfig, LaneError, LaneOptions, QueueManager, Result, SubmitOptions,
};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::{
    builder_on, drained, hangs, job, result_of, running, stored, submit_jobs, vault_of, waiting_on,
    writes,
};
use crate::support::trace::Trace;
use crate::support::vault::Vault;
use crate::support::{Gate, Log, eventually, let_others_run, submit_with};

/// A command that is an object, and can be made again of its payload.
struct Mail(String);

#[async_trait]
impl Command for Mail {
    async fn execute(&self) -> Result<Value> {
        Ok(json!(format!("sent to {}", self.0)))
    }
    fn command_type(&self) -> &str {
        "mail"
    }
    fn payload(&self) -> Option<Value> {
        Some(json!({"to": self.0}))
    }
}

fn mail(payload: Value) -> Result<Box<dyn Command>> {
    let to = payload["to"].as_str();
    let to = to.ok_or_else(|| LaneError::CommandError("a mail without `to`".to_owned()))?;
    Ok(Box::new(Mail(to.to_owned())))
}

fn of_type(id: &str, command_type: &str, payload: Value) -> CommandRecord {
    let mut record = stored(id);
    record.command.command_type = command_type.to_owned();
    record.command.payload = payload;
    record
}

/// What is unclaimed: ids and reasons.
async fn unclaimed(manager: &QueueManager) -> Vec<(String, UnclaimedReason)> {
    let unclaimed = manager.unclaimed().await.expect("the storage can be read");
    let unclaimed = unclaimed.into_iter();
    unclaimed
        .map(|unclaimed| (unclaimed.record.command.id, unclaimed.reason))
        .collect()
}

#[tokio::test]
async fn a_type_without_a_handler_waits_until_it_has_one() {
    let other = of_type("other", "other", Value::Null);
    let vault = vault_of([stored("a"), other, stored("b"), stored("c")]);
    let manager = waiting_on(vault.clone()).await;
    manager.start().await.expect("starts");
    drained(&manager).await;
    let missing = |id: &str| (id.to_owned(), UnclaimedReason::NoHandler);
    assert_eq!(
        unclaimed(&manager).await,
        ["a", "other", "b", "c"].map(missing)
    );
    assert_eq!(vault.records().len(), 4, "they stay stored");
    let log = Log::default();
    manager.register_handler("job", writes(&log));
    drained(&manager).await;
    assert_eq!(log.entries(), [r#""a""#, r#""b""#, r#""c""#]);
    assert_eq!(unclaimed(&manager).await, [missing("other")]);
    assert_eq!(vault.types(), ["other"]);
}

/// Without a handler a `JsonCommand` returns its payload. What was stored for a handler must not end like that.
#[tokio::test]
async fn a_restored_command_does_not_complete_without_its_handler() {
    let vault = vault_of([stored("a")]);
    let manager = waiting_on(vault.clone()).await;
    manager.register_handler("job", hangs);
    manager.pause_lane("only").expect("it is there");
    manager.start().await.expect("starts");
    manager.remove_handler("job");
    manager.resume_lane("only").expect("it is there");
    let error = result_of(&manager, "a").await.expect_err("nobody runs it");
    assert_eq!(
        error.to_string(),
        r#"Command execution error: the handler of type "job" was removed"#
    );
    assert_eq!(vault.letters().len(), 1);
}

#[tokio::test]
async fn a_factory_makes_the_commands_of_its_type() {
    for lean in [false, true] {
        for late in [false, true] {
            let vault = Vault::lean(lean);
            let before = waiting_on(vault.clone()).await;
            let options = SubmitOptions::new().with_id("m");
            submit_with(&before, "only", Box::new(Mail("Ann".to_owned())), options).await;
            drop(before);
            let mut builder = builder_on(vault.clone());
            if !late {
                builder = builder.with_factory("mail", mail);
            }
            let manager = builder.build().await.expect("built");
            manager.start().await.expect("starts");
            if late {
                assert_eq!(unclaimed(&manager).await.len(), 1);
                manager.register_factory("mail", mail);
            }
            drained(&manager).await;
            let result = result_of(&manager, "m").await.expect("it runs");
            assert_eq!(result, "sent to Ann", "lean: {lean}, late: {late}");
        }
    }
}

#[tokio::test]
async fn what_its_factory_refuses_stays_stored() {
    let vault = vault_of([of_type("m", "mail", json!({})), stored("a")]);
    let trace = Trace::start();
    let log = Log::default();
    let manager = running(builder_on(vault.clone()).with_factory("mail", mail), &log).await;
    drained(&manager).await;
    assert_eq!(log.entries(), [r#""a""#], "the others run");
    let why = "its factory failed: Command execution error: a mail without `to`";
    let reason = UnclaimedReason::Unreadable(why.to_owned());
    assert_eq!(unclaimed(&manager).await, [("m".to_owned(), reason)]);
    let record = vault.records().remove(0);
    assert_eq!(
        (&*record.command.id, record.command.payload),
        ("m", json!({}))
    );
    let lines = trace.said("a stored command cannot be read and stays stored");
    assert_eq!(lines[0].field("command_id"), "m");
}

/// Its payload is only read at the attempt: the command fails for good and its payload is in the dead letter.
#[tokio::test]
async fn what_its_factory_refuses_at_the_attempt_is_a_dead_letter() {
    let vault = Vault::lean(true);
    vault.put(of_type("m", "mail", json!({"cc": 1})));
    let builder = builder_on(vault.clone()).with_factory("mail", mail);
    let manager = running(builder, &Log::default()).await;
    drained(&manager).await;
    let letter = vault.letters().remove(0);
    assert_eq!(
        (letter.code.as_str(), letter.payload),
        ("UNRECOVERABLE", Some(json!({"cc": 1})))
    );
}

#[tokio::test]
async fn a_lane_that_is_added_later_gets_its_commands() {
    let mut record = stored("a");
    record.command.lane_id = "late".to_owned();
    let vault = vault_of([record]);
    let log = Log::default();
    let manager = running(builder_on(vault.clone()), &log).await;
    assert_eq!(
        unclaimed(&manager).await,
        [("a".to_owned(), UnclaimedReason::NoLane)]
    );
    manager
        .set_lane("late", LaneConfig::new(0, 1), LaneOptions::new(), 3)
        .expect("the settings are right");
    drained(&manager).await;
    assert_eq!(log.entries(), [r#""a""#]);
    assert!(vault.records().is_empty());
}

/// A lane that does not use the storage would never take its commands out of it.
#[tokio::test]
async fn a_lane_without_the_storage_gets_nothing() {
    let mut record = stored("a");
    record.command.lane_id = "own".to_owned();
    let log = Log::default();
    let manager = running(builder_on(vault_of([record])), &log).await;
    let lane = a3s_lane::Lane::new("own", LaneConfig::new(0, 1), 0);
    manager.queue().register_lane(Arc::new(lane)).await;
    drained(&manager).await;
    assert!(log.entries().is_empty());
    assert_eq!(unclaimed(&manager).await.len(), 1);
}

#[tokio::test]
async fn a_handler_that_comes_while_the_storage_is_read_counts() {
    let gate = Gate::new();
    let vault = Vault::behind(&gate);
    vault.put(stored("a"));
    let manager = Arc::new(waiting_on(vault.clone()).await);
    let starting = tokio::spawn({
        let manager = manager.clone();
        async move { manager.start().await }
    });
    eventually("it reads", async || vault.log.entries() == ["page"]).await;
    let log = Log::default();
    // The page that is on its way is looked at with the handler, the generation says to read again all the same.
    manager.register_handler("job", writes(&log));
    gate.open();
    starting.await.expect("no panic").expect("starts");
    drained(&manager).await;
    assert_eq!(log.entries(), [r#""a""#]);
}

#[tokio::test]
async fn a_storage_that_cannot_be_read_fails_the_start() {
    let vault = Vault::with_pages(1, false);
    vault.put(stored("a"));
    vault.set_fault("page", true);
    let log = Log::default();
    let manager = waiting_on(vault.clone()).await;
    manager.register_handler("job", writes(&log));
    submit_jobs(&manager, &["new"]).await;
    let error = manager.start().await.expect_err("it cannot be read");
    assert!(matches!(error, LaneError::Storage(text) if text == "disk full"));
    assert!(!manager.is_started());
    let_others_run().await;
    assert!(log.entries().is_empty(), "nothing runs");
    vault.set_fault("page", false);
    manager.start().await.expect("it can be read now");
    drained(&manager).await;
    assert_eq!(log.entries(), [r#""a""#, r#""new""#]);
}

#[tokio::test]
async fn a_storage_serves_one_manager_at_a_time() {
    let vault = vault_of([stored("a")]);
    let log = Log::default();
    let first = running(builder_on(vault.clone()), &log).await;
    drained(&first).await;
    let second = waiting_on(vault.clone()).await;
    let third = waiting_on(vault.clone()).await;
    let error = second.start().await.expect_err("the first one runs");
    assert_eq!(
        error.to_string(),
        "Storage error: the storage belongs to another manager, which has not ended"
    );
    drop(first);
    second.start().await.expect("the first one is gone");
    third.start().await.expect_err("the second one runs");
    second.shutdown().await;
    drained(&second).await;
    third.start().await.expect("the second one has ended");
    assert_eq!(log.entries(), [r#""a""#]);
}

#[tokio::test]
async fn a_command_that_is_cancelled_before_the_start_is_gone() {
    for given in [false, true] {
        let vault = Vault::new();
        let log = Log::default();
        let manager = waiting_on(vault.clone()).await;
        manager.register_handler("job", writes(&log));
        let mut options = SubmitOptions::new();
        if given {
            options = options.with_id("x");
        }
        let handle = submit_with(&manager, "only", job(1), options).await;
        assert!(handle.cancel());
        manager.start().await.expect("starts");
        drained(&manager).await;
        assert!(log.entries().is_empty());
        assert!(vault.records().is_empty(), "given: {given}");
    }
}

/// L13: the rescuer itself makes duplicates (oban#862, oban#1037, apalis#530). A page may hold a command that settles before the page
/// is looked at.
#[tokio::test]
async fn l13_a_command_that_settles_while_the_storage_is_read_does_not_run_again() {
    let gate = Gate::new();
    let vault = Vault::behind(&gate);
    vault.put(of_type("other", "other", Value::Null));
    let log = Log::default();
    gate.let_through(1);
    let manager = running(builder_on(vault.clone()), &log).await;
    let running = Gate::new();
    manager.register_handler("slow", {
        let (running, log) = (running.clone(), log.clone());
        move |_: Value, _: a3s_lane::CommandContext| {
            let (running, log) = (running.clone(), log.clone());
            async move {
                log.push("slow");
                running.pass().await;
                Ok(Value::Null)
            }
        }
    });
    let slow = Box::new(a3s_lane::JsonCommand::new("slow", Value::Null));
    let handle = submit_with(&manager, "only", slow, SubmitOptions::new().with_id("s")).await;
    eventually("it runs", async || log.entries() == ["slow"]).await;
    // Reads the storage, in which `s` is still.
    manager.register_handler("other", writes(&log));
    eventually("a page is read", async || {
        let asked = vault.log.entries();
        asked.iter().filter(|call| **call == "page").count() == 2
    })
    .await;
    running.open();
    crate::support::settled(&handle).await.expect("it ran");
    gate.open();
    drained(&manager).await;
    assert_eq!(log.entries(), ["slow", "null"], "each once");
}

#[tokio::test]
async fn handlers_of_an_executor_run_there() {
    let (wake, woken) = std::sync::mpsc::channel();
    let event_loop = EventLoop::new(move || _ = wake.send(()));
    let turned = Arc::downgrade(&event_loop);
    let thread = std::thread::spawn(move || {
        while let (Ok(()), Some(event_loop)) = (woken.recv(), turned.upgrade()) {
            event_loop.turn();
        }
    });
    let thread_id = format!("{:?}", thread.thread().id());
    for lean in [false, true] {
        let vault = Vault::lean(lean);
        vault.put(stored("a"));
        let handler = |payload: Value, _: a3s_lane::CommandContext| async move {
            Ok(json!([
                payload,
                format!("{:?}", std::thread::current().id())
            ]))
        };
        let manager = builder_on(vault)
            .with_handler_on("job", handler, event_loop.clone())
            .build()
            .await
            .expect("built");
        manager.start().await.expect("starts");
        let result = result_of(&manager, "a").await.expect("it runs");
        assert_eq!(result, json!(["a", thread_id]), "lean: {lean}");
    }
}

#[tokio::test]
async fn a_settled_command_that_stays_stored_runs_after_the_restart_only() {
    let vault = vault_of([stored("a"), of_type("other", "other", Value::Null)]);
    let log = Log::default();
    vault.set_fault("settle", true);
    let manager = running(builder_on(vault.clone()), &log).await;
    drained(&manager).await;
    // Has the storage read again.
    manager.register_handler("other", writes(&log));
    drained(&manager).await;
    assert_eq!(log.entries(), [r#""a""#, "null"]);
    drop(manager);
    vault.set_fault("settle", false);
    let manager = running(builder_on(vault.clone()), &log).await;
    drained(&manager).await;
    assert_eq!(log.entries()[2..], [r#""a""#], "at least once");
}

/// Nothing has run yet, so nothing belongs to the runtime of the call that failed.
#[test]
fn a_start_that_failed_may_be_repeated_on_another_runtime() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().expect("a runtime")
    };
    let vault = Vault::new();
    let log = Log::default();
    let first = runtime();
    let manager = first.block_on(async {
        let manager = builder_on(vault.clone()).with_handler("job", writes(&log));
        let manager = manager.build().await.expect("the settings are right");
        vault.set_fault("page", true);
        manager.start().await.expect_err("it cannot be read");
        manager
    });
    drop(first);
    vault.set_fault("page", false);
    runtime().block_on(async {
        manager.start().await.expect("it can be read");
        submit_jobs(&manager, &["a"]).await;
        drained(&manager).await;
    });
    assert_eq!(log.entries(), ["\"a\""]);
}
