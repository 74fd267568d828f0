use std::sync::{Arc, Mutex};
use std::time::Duration;

use a3s_lane::{
    CommandStatus, JsonCommand, LaneConfig, LaneError, LaneOptions, QueueManager, Result,
    RetryPolicy, Storage, StoredCommand, StoredDeadLetter, SubmitOptions,
};
use async_trait::async_trait;
use serde_json::json;

use crate::support::vault::Vault;
use crate::support::{
    Gate, Log, builder_with, endless, eventually, failing, let_others_run, nothing, outcome,
    reaches, settled, submit, submit_with, within,
};

/// What a storage must do wrong.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    RefuseSaves,
    RefuseRemovals,
    PanicOnSave,
    PanicOnRemoval,
}

/// Remembers what it was asked.
struct Spy {
    fault: Fault,
    log: Log,
    commands: Mutex<Vec<StoredCommand>>,
    letters: Mutex<Vec<StoredDeadLetter>>,
    /// Removals pass it.
    gate: Option<Gate>,
}

impl Spy {
    fn new(fault: Fault) -> Arc<Self> {
        Arc::new(Self {
            fault,
            log: Log::default(),
            commands: Mutex::default(),
            letters: Mutex::default(),
            gate: None,
        })
    }

    fn commands(&self) -> Vec<StoredCommand> {
        self.commands.lock().expect("not poisoned").clone()
    }

    fn letters(&self) -> Vec<StoredDeadLetter> {
        self.letters.lock().expect("not poisoned").clone()
    }
}

fn refused() -> Result<()> {
    Err(LaneError::Storage("disk full".to_owned()))
}

#[async_trait]
impl Storage for Spy {
    async fn save_command(&self, command: StoredCommand) -> Result<()> {
        self.log.push(format!("save {}", command.command_type));
        tokio::task::yield_now().await;
        match self.fault {
            Fault::RefuseSaves => return refused(),
            Fault::PanicOnSave => panic!("a bad storage"),
            _ => {
                let mut commands = self.commands.lock().expect("not poisoned");
                commands.retain(|known| known.id != command.id);
                commands.push(command);
            }
        }
        Ok(())
    }
    async fn load_commands(&self) -> Result<Vec<StoredCommand>> {
        Ok(self.commands())
    }
    async fn remove_command(&self, id: &str) -> Result<()> {
        self.log.push("remove");
        if let Some(gate) = &self.gate {
            gate.pass().await;
        }
        match self.fault {
            Fault::RefuseRemovals => return refused(),
            Fault::PanicOnRemoval => panic!("a bad storage"),
            _ => {}
        }
        let mut commands = self.commands.lock().expect("not poisoned");
        commands.retain(|command| command.id != id);
        Ok(())
    }
    async fn save_dead_letter(&self, letter: StoredDeadLetter) -> Result<()> {
        self.log.push(format!("bury {}", letter.command_type));
        self.letters.lock().expect("not poisoned").push(letter);
        Ok(())
    }
    async fn load_dead_letters(&self) -> Result<Vec<StoredDeadLetter>> {
        Ok(self.letters())
    }
    async fn clear_dead_letters(&self) -> Result<()> {
        self.log.push("clear");
        Ok(())
    }
    async fn clear_all(&self) -> Result<()> {
        self.log.push("clear");
        Ok(())
    }
}

async fn stored_in(spy: &Arc<Spy>) -> QueueManager {
    let config =
        LaneConfig::new(1, 2).with_retry_policy(RetryPolicy::fixed(1, Duration::from_millis(1)));
    let manager = builder_with(&[("only", config, 0)])
        .with_dlq(5)
        .with_storage(Arc::clone(spy) as Arc<dyn Storage>)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    manager
}

#[tokio::test]
async fn a_command_is_stored_with_its_payload_before_submit_returns() {
    let spy = Spy::new(Fault::None);
    let manager = stored_in(&spy).await;
    let gate = Gate::new();
    submit(&manager, "only", gate.command("plain")).await;
    let data = JsonCommand::new("data", json!({"k": [1, null]}));
    // The lane's two slots: this one waits.
    submit(&manager, "only", gate.command("plain")).await;
    submit(&manager, "only", Box::new(data)).await;
    let stored = spy.commands();
    assert_eq!(stored.len(), 3);
    assert_eq!(stored[0].payload, json!({}), "a command without data");
    let data = &stored[2];
    assert_eq!(
        (&*data.command_type, &*data.lane_id, &data.payload),
        ("data", "only", &json!({"k": [1, null]}))
    );
    assert_eq!((data.retry_count, data.last_attempt_at), (0, None));
    uuid::Uuid::parse_str(&data.id).expect("a UUID");
    assert_ne!(stored[0].id, stored[1].id);
    gate.open();
}

#[tokio::test]
async fn a_command_that_cannot_be_stored_is_refused_and_does_not_run() {
    let spy = Spy::new(Fault::RefuseSaves);
    let manager = stored_in(&spy).await;
    let mut stream = manager.subscribe();
    let log = Log::default();
    let refused = manager.submit("only", log.command("t")).await;
    assert!(matches!(refused, Err(LaneError::Storage(text)) if text == "disk full"));
    manager
        .drain(Duration::from_secs(60))
        .await
        .expect("nothing was accepted");
    assert!(log.entries().is_empty());
    let seen = crate::support::finish(&manager, &mut stream).await;
    assert_eq!(
        crate::support::words(&seen),
        ["shutdown.started", "shutdown.complete"]
    );
    // A lane's own method has only the receiver to say so.
    let lane = a3s_lane::Lane::with_storage("own", LaneConfig::default(), 0, spy);
    let queue = Arc::new(a3s_lane::CommandQueue::new(a3s_lane::EventEmitter::new(1)));
    let lane = Arc::new(lane);
    queue.register_lane(Arc::clone(&lane)).await;
    let receiver = lane.enqueue(nothing("t")).await;
    let error = outcome(receiver).await.expect_err("it cannot be stored");
    assert!(matches!(error, LaneError::Storage(_)));
}

#[tokio::test]
async fn what_is_refused_at_once_is_told_before_the_storage_answers() {
    let builder = builder_with(&[("only", LaneConfig::new(0, 2), 0)]);
    let built = builder.with_storage(Vault::new()).build().await;
    let manager = built.expect("built");
    manager.start().await.expect("starts");
    let named = |id: &str| (nothing("t"), SubmitOptions::new().with_id(id));
    let told = Mutex::new(Vec::new());
    let commands = vec![named("a"), named("a"), named("b")];
    let mut submitting = Box::pin(
        manager.submit_many_telling("only", commands, |place, error| {
            told.lock()
                .expect("not poisoned")
                .push((place, error.code()));
        }),
    );
    assert!(futures::poll!(&mut submitting).is_pending());
    assert_eq!(*told.lock().expect("not poisoned"), [(1, "DUPLICATE")]);
    let answers = submitting.await;
    let ids = answers.iter().map(|answer| answer.as_ref().ok());
    let ids: Vec<_> = ids.map(|handle| handle.map(|it| it.id())).collect();
    assert_eq!(ids, [Some("a"), None, Some("b")]);
    assert_eq!(told.lock().expect("not poisoned").len(), 1);
}

#[tokio::test]
async fn a_settled_command_is_removed_before_its_receiver_resolves() {
    let spy = Spy::new(Fault::None);
    let manager = stored_in(&spy).await;
    let receiver = submit(&manager, "only", nothing("good")).await;
    outcome(receiver).await.expect("it runs");
    assert!(spy.commands().is_empty());
    let receiver = submit(&manager, "only", failing("bad")).await;
    outcome(receiver).await.expect_err("it fails");
    assert!(spy.commands().is_empty());
    assert_eq!(
        spy.log.entries(),
        [
            "save good",
            "remove",
            "save bad",
            "save bad",
            "bury bad",
            "remove"
        ],
        "a retry is saved with its number"
    );
}

#[tokio::test]
async fn dead_letters_are_stored_as_they_are_kept() {
    let spy = Spy::new(Fault::None);
    let manager = stored_in(&spy).await;
    let receiver = submit(&manager, "only", failing("bad")).await;
    outcome(receiver).await.expect_err("it fails");
    let queue = manager.queue();
    let kept = queue.dlq().expect("it keeps them").list().await;
    let stored = spy.letters();
    assert_eq!((kept.len(), stored.len()), (1, 1));
    let (kept, stored) = (&kept[0], &stored[0]);
    assert_eq!(stored.command_id, kept.command_id);
    assert_eq!(stored.command_type, "bad");
    assert_eq!(stored.lane_id, "only");
    assert_eq!(stored.error, "Command execution error: no");
    assert_eq!(stored.error, kept.error);
    assert_eq!((stored.attempts, stored.failed_at), (2, kept.failed_at));
}

#[tokio::test]
async fn a_failed_removal_does_not_change_the_result() {
    let spy = Spy::new(Fault::RefuseRemovals);
    let trace = crate::support::trace::Trace::start();
    let manager = stored_in(&spy).await;
    let receiver = submit(&manager, "only", nothing("t")).await;
    outcome(receiver).await.expect("it ran");
    let lines = trace.said("failed to remove a settled command from storage");
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].field("error"), "Storage error: disk full");
    assert_eq!(lines[0].field("command_id"), spy.commands()[0].id);
}

#[tokio::test]
async fn the_slot_is_held_until_the_storage_has_answered() {
    let gate = Gate::new();
    let spy = Arc::new(Spy {
        gate: Some(gate.clone()),
        ..Arc::into_inner(Spy::new(Fault::None)).expect("one handle")
    });
    let manager = stored_in(&spy).await;
    let mut receiver = submit(&manager, "only", nothing("t")).await;
    eventually("it is being removed", async || spy.log.entries().len() == 2).await;
    assert_eq!(manager.stats().await.expect("never fails").total_active, 1);
    assert!(receiver.try_recv().is_err());
    manager
        .drain(Duration::from_millis(5))
        .await
        .expect_err("it is not settled");
    gate.open();
    outcome(receiver).await.expect("it ran");
}

/// A caller that gives up while its command is being stored has not submitted it.
#[tokio::test]
async fn a_submit_that_is_dropped_half_way_leaves_nothing_behind() {
    let spy = Spy::new(Fault::None);
    let manager = stored_in(&spy).await;
    let log = Log::default();
    {
        let mut submitting = std::pin::pin!(manager.submit("only", log.command("t")));
        eventually("the storage is asked", async || {
            assert!(futures::poll!(&mut submitting).is_pending());
            !spy.log.entries().is_empty()
        })
        .await;
    }
    within(manager.drain(Duration::from_secs(60)))
        .await
        .expect("nothing is on its way");
    assert!(log.entries().is_empty());
    assert_eq!(spy.log.entries(), ["save t", "remove"]);
}

#[tokio::test]
async fn a_storage_that_panics_on_save_leaves_nothing_behind() {
    let spy = Spy::new(Fault::PanicOnSave);
    let manager = Arc::new(stored_in(&spy).await);
    let own = Arc::clone(&manager);
    let submitted = tokio::spawn(async move { own.submit("only", nothing("t")).await.is_ok() });
    assert!(submitted.await.expect_err("a panic").is_panic());
    within(manager.drain(Duration::from_secs(60)))
        .await
        .expect("nothing is on its way");
    assert_eq!(manager.stats().await.expect("never fails").total_pending, 0);
}

#[tokio::test]
async fn a_storage_that_panics_on_removal_keeps_no_slot() {
    let spy = Spy::new(Fault::PanicOnRemoval);
    let manager = stored_in(&spy).await;
    // More than the lane has slots.
    for _ in 0..4 {
        let receiver = submit(&manager, "only", nothing("t")).await;
        let _ = outcome(receiver).await;
    }
    within(manager.drain(Duration::from_secs(60)))
        .await
        .expect("it is empty");
    assert_eq!(manager.stats().await.expect("never fails").total_active, 0);
}

/// What a dropped manager has not finished is there for the next one.
#[tokio::test]
async fn a_dropped_manager_leaves_its_work_stored() {
    let spy = Spy::new(Fault::None);
    let manager = stored_in(&spy).await;
    let mut receivers = Vec::new();
    for name in ["runs", "runs too", "waits"] {
        receivers.push(submit(&manager, "only", endless(name)).await);
    }
    eventually("two run", async || {
        manager.stats().await.expect("never fails").total_active == 2
    })
    .await;
    drop(manager);
    for receiver in receivers {
        outcome(receiver).await.expect_err("the queue is gone");
    }
    let mut left: Vec<String> = spy
        .commands()
        .into_iter()
        .map(|command| command.command_type)
        .collect();
    left.sort();
    assert_eq!(left, ["runs", "runs too", "waits"]);
    assert!(spy.letters().is_empty(), "nothing failed for good");
}

/// One that was about to make room would have run again: it has neither failed nor been cancelled.
#[tokio::test]
async fn a_dropped_manager_leaves_what_makes_room_stored() {
    let spy = Spy::new(Fault::None);
    let lane = |id, priority| (id, LaneConfig::new(0, 1), priority);
    let manager = builder_with(&[lane("urgent", 0), lane("batch", 9)])
        .with_lane_options("batch", LaneOptions::new().with_preemption(true))
        .with_max_concurrency(1)
        .with_storage(Arc::clone(&spy) as Arc<dyn Storage>)
        .with_dlq(10)
        .build()
        .await
        .expect("the settings are right");
    manager.start().await.expect("starts");
    let batch = submit_with(&manager, "batch", endless("batch"), SubmitOptions::new()).await;
    reaches(&batch, CommandStatus::Running).await;
    let_others_run().await;
    // The body is asked to stop, and has had no turn to do so when the manager is gone.
    let urgent = submit_with(&manager, "urgent", endless("urgent"), SubmitOptions::new()).await;
    drop(manager);
    for handle in [batch, urgent] {
        let error = settled(&handle).await.expect_err("the queue is gone");
        assert_eq!(error.code(), "QUEUE_ERROR", "{error}");
    }
    let mut left: Vec<String> = spy
        .commands()
        .into_iter()
        .map(|command| command.command_type)
        .collect();
    left.sort();
    assert_eq!(left, ["batch", "urgent"]);
    assert!(spy.letters().is_empty(), "nothing failed for good");
}
