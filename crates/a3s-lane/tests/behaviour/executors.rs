//! Handlers that run on an executor of their own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use a3s_lane::{
    CommandContext, CommandStatus, EventLoop, JsonCommand, LaneConfig, LaneError, LaneOptions,
    QueueManager, Result, RetryPolicy, SubmitOptions,
};
use serde_json::{Value, json};

use crate::support::vault::Vault;
use crate::support::{
    builder_with, eventually, let_others_run, outcome, reaches, settled, submit_with, within,
};

/// An event loop, and the number of its wake-ups that nobody has answered.
fn event_loop() -> (Arc<EventLoop>, Receiver<()>) {
    let (wake, woken) = channel();
    (EventLoop::new(move || _ = wake.send(())), woken)
}

/// An event loop with a thread that does nothing else. Ends with the last handle of the loop.
fn busy_loop() -> (Arc<EventLoop>, ThreadId) {
    let (event_loop, woken) = event_loop();
    let turned = Arc::downgrade(&event_loop);
    let thread = std::thread::spawn(move || {
        while let (Ok(()), Some(event_loop)) = (woken.recv(), turned.upgrade()) {
            event_loop.turn();
        }
    });
    (event_loop, thread.thread().id())
}

/// What blocks its thread until the sender is dropped, and tells the receiver that it does.
fn blockade() -> (impl Fn() + Send + Sync, Receiver<()>, Sender<()>) {
    let (free, blocked) = channel::<()>();
    let (begin, begun) = channel();
    let ends = Mutex::new((begin, blocked));
    let hold = move || {
        let ends = ends.lock().expect("whole");
        let _ = ends.0.send(());
        let _ = ends.1.recv();
    };
    (hold, begun, free)
}

fn named(command_type: &str) -> Box<JsonCommand> {
    Box::new(JsonCommand::new(command_type, Value::Null))
}

async fn thread_name(_: Value, _: CommandContext) -> Result<Value> {
    Ok(json!(format!("{:?}", std::thread::current().id())))
}

/// A started manager with a lane `only` of ten slots and a handler `hosted` on a loop.
async fn manager_on(event_loop: &Arc<EventLoop>, config: LaneConfig) -> QueueManager {
    let manager = builder_with(&[("only", config, 0), ("urgent", LaneConfig::new(0, 1), 0)])
        .with_handler_on("hosted", thread_name, event_loop.clone())
        .build()
        .await
        .expect("the settings are right");
    manager.start().await.expect("starts");
    manager
}

async fn run(manager: &QueueManager, command_type: &str) -> Result<Value> {
    let receiver = manager.submit("only", named(command_type)).await;
    outcome(receiver.expect("accepted")).await
}

#[tokio::test]
async fn a_handler_runs_on_its_executor_and_others_do_not() {
    let (event_loop, thread) = busy_loop();
    let manager = manager_on(&event_loop, LaneConfig::new(0, 10)).await;
    manager.register_handler("here", thread_name);
    let here = json!(format!("{:?}", std::thread::current().id()));
    let there = json!(format!("{thread:?}"));
    for _ in 0..20 {
        assert_eq!(run(&manager, "hosted").await.expect("it runs"), there);
        assert_eq!(run(&manager, "here").await.expect("it runs"), here);
    }
    // A handler that takes another one's place runs where it belongs.
    manager.register_handler("hosted", thread_name);
    manager.register_handler_on("here", thread_name, event_loop.clone());
    assert_eq!(run(&manager, "hosted").await.expect("it runs"), here);
    assert_eq!(run(&manager, "here").await.expect("it runs"), there);
}

#[tokio::test]
async fn a_batch_of_starts_wakes_the_loop_once() {
    let (event_loop, woken) = event_loop();
    let manager = manager_on(&event_loop, LaneConfig::new(0, 10)).await;
    let mut receivers = Vec::new();
    for _ in 0..25 {
        let receiver = manager.submit("only", named("hosted")).await;
        receivers.push(receiver.expect("accepted"));
    }
    assert_eq!(woken.try_iter().count(), 1);
    // One turn runs the ten, and what becomes startable when they end.
    event_loop.turn();
    for receiver in receivers {
        outcome(receiver).await.expect("it runs");
    }
    assert_eq!(woken.try_iter().count(), 0);
    manager
        .submit("only", named("hosted"))
        .await
        .expect("accepted");
    assert_eq!(woken.try_iter().count(), 1);
}

/// Polls a future that must be ready at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("this waits for nothing"),
    }
}

#[tokio::test]
async fn on_its_own_thread_a_loop_submits_and_runs_without_a_wake_up_or_a_task() {
    let (event_loop, woken) = event_loop();
    let manager = manager_on(&event_loop, LaneConfig::new(0, 2)).await;
    let mut receivers: Vec<_> = event_loop.within(|| {
        (0..7)
            .map(|_| now(manager.submit("only", named("hosted"))).expect("accepted"))
            .collect()
    });
    // Not a single await since: no task of the runtime has run.
    for receiver in &mut receivers {
        assert!(receiver.try_recv().expect("settled").is_ok());
    }
    assert_eq!(woken.try_iter().count(), 0);
}

#[tokio::test]
async fn lanes_share_one_order_over_all_executors() {
    let (event_loop, _woken) = event_loop();
    let order = Arc::new(Mutex::new(Vec::new()));
    let note = |name: &'static str| {
        let order = Arc::clone(&order);
        move |payload: Value, _: CommandContext| {
            order.lock().expect("whole").push((name, payload.as_u64()));
            async { Ok(Value::Null) }
        }
    };
    let lanes = [
        ("urgent", LaneConfig::new(0, 1), 0),
        ("later", LaneConfig::new(0, 1), 5),
    ];
    let manager = builder_with(&lanes)
        .with_max_concurrency(1)
        .with_handler_on("hosted", note("hosted"), event_loop.clone())
        .with_handler("here", note("here"))
        .build()
        .await
        .expect("the settings are right");
    let mut receivers = Vec::new();
    for (number, (lane, kind)) in [
        ("later", "hosted"),
        ("later", "here"),
        ("urgent", "here"),
        ("urgent", "hosted"),
    ]
    .into_iter()
    .enumerate()
    {
        let command = Box::new(JsonCommand::new(kind, json!(number)));
        receivers.push(manager.submit(lane, command).await.expect("accepted"));
    }
    manager.start().await.expect("starts");
    for receiver in receivers {
        eventually("the command has settled", async || {
            event_loop.turn();
            !receiver.is_empty()
        })
        .await;
    }
    let order = order.lock().expect("whole").clone();
    let expected = [("here", 2), ("hosted", 3), ("hosted", 0), ("here", 1)];
    assert_eq!(order, expected.map(|(name, number)| (name, Some(number))));
}

#[tokio::test]
async fn retries_limits_and_panics_are_as_elsewhere() {
    let (event_loop, _) = busy_loop();
    let retry = RetryPolicy::fixed(2, Duration::ZERO);
    let config = LaneConfig::new(0, 10).with_retry_policy(retry);
    let manager = manager_on(&event_loop, config).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let third_time = move |_: Value, context: CommandContext| {
        let call = counted.fetch_add(1, Ordering::SeqCst);
        assert!(call > 0, "the first time");
        async move {
            match context.attempt() {
                3 => Ok(json!(call)),
                _ => Err(LaneError::CommandError("not yet".into())),
            }
        }
    };
    manager.register_handler_on("third", third_time, event_loop.clone());
    assert_eq!(
        run(&manager, "third").await.expect("the third time"),
        json!(2)
    );
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    within(manager.drain(Duration::from_secs(30)))
        .await
        .expect("nothing is left");
}

#[tokio::test]
async fn a_time_limit_drops_the_body_on_its_own_thread() {
    struct Dropped(Arc<Mutex<Option<ThreadId>>>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            *self.0.lock().expect("whole") = Some(std::thread::current().id());
        }
    }

    let (event_loop, thread) = busy_loop();
    let config = LaneConfig::new(0, 1).with_timeout(Duration::from_millis(20));
    let manager = manager_on(&event_loop, config).await;
    let place = Arc::new(Mutex::new(None));
    let dropped = Arc::clone(&place);
    let endless = move |_: Value, _: CommandContext| {
        let dropped = Dropped(Arc::clone(&dropped));
        async move {
            let _dropped = dropped;
            std::future::pending().await
        }
    };
    manager.register_handler_on("endless", endless, event_loop.clone());
    let error = run(&manager, "endless").await;
    assert!(matches!(error, Err(LaneError::Timeout(_))), "{error:?}");
    // A slow thread may come to it only after the slot was taken away.
    eventually("the body is dropped", async || {
        place.lock().expect("whole").is_some()
    })
    .await;
    assert_eq!(*place.lock().expect("whole"), Some(thread));
    // The slot is free.
    run(&manager, "hosted").await.expect("it runs");
}

#[tokio::test]
async fn a_handler_may_use_the_runtime_of_the_queue() {
    let (event_loop, _) = busy_loop();
    let manager = manager_on(&event_loop, LaneConfig::new(0, 10)).await;
    let sleep = |_: Value, _: CommandContext| async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        tokio::spawn(async { Ok(json!("slept")) })
            .await
            .expect("it ends")
    };
    manager.register_handler_on("sleep", sleep, event_loop.clone());
    assert_eq!(
        run(&manager, "sleep").await.expect("it runs"),
        json!("slept")
    );
}

#[tokio::test]
async fn a_loop_that_blocks_holds_up_neither_slots_nor_others() {
    let (event_loop, _) = busy_loop();
    let config = LaneConfig::new(0, 1).with_timeout(Duration::from_millis(20));
    let manager = manager_on(&event_loop, config).await;
    let (free, blocked) = channel::<()>();
    let blocked = Mutex::new(blocked);
    let block = move |_: Value, _: CommandContext| {
        // Until the test lets go.
        let _ = blocked.lock().expect("whole").recv();
        async { Ok(Value::Null) }
    };
    manager.register_handler_on("block", block, event_loop.clone());
    let error = run(&manager, "block").await;
    assert!(matches!(error, Err(LaneError::Timeout(_))), "{error:?}");
    // The slot is free for what runs elsewhere, while the loop is still blocked.
    run(&manager, "elsewhere").await.expect("it echoes");
    drop(free);
    run(&manager, "hosted").await.expect("the loop goes on");
}

#[tokio::test]
async fn a_runner_that_gives_way_at_a_blocked_loop_leaves_the_others_their_commands() {
    let (event_loop, woken) = event_loop();
    let manager = manager_on(&event_loop, LaneConfig::new(0, 3)).await;
    // Longer than a runner goes on without giving way.
    let spin = |_: Value, _: CommandContext| {
        std::thread::sleep(Duration::from_millis(1));
        async { Ok(Value::Null) }
    };
    let (hold, begun, free) = blockade();
    let block = move |_: Value, _: CommandContext| {
        hold();
        async { Ok(Value::Null) }
    };
    manager.register_handler_on("spin", spin, event_loop.clone());
    manager.register_handler_on("block", block, event_loop.clone());
    let spin = manager
        .submit("only", named("spin"))
        .await
        .expect("accepted");
    let block = manager
        .submit("only", named("block"))
        .await
        .expect("accepted");
    // Ends with the process.
    std::thread::spawn(move || {
        while let Ok(()) = woken.recv() {
            event_loop.turn();
        }
    });
    begun.recv().expect("the loop is blocked now");
    outcome(spin).await.expect("it has ended");
    run(&manager, "elsewhere").await.expect("it echoes");
    drop(free);
    outcome(block).await.expect("it ends");
}

#[tokio::test]
async fn cancel_and_preemption_reach_a_handler_on_a_loop() {
    let (event_loop, _) = busy_loop();
    let lanes = [
        ("urgent", LaneConfig::new(0, 1), 0),
        ("later", LaneConfig::new(0, 1), 5),
    ];
    let ended = |_: Value, context: CommandContext| async move {
        context.cancellation().cancelled().await;
        Err::<Value, _>(LaneError::CommandError("asked to stop".into()))
    };
    let manager = builder_with(&lanes)
        .with_max_concurrency(1)
        .with_lane_options(
            "later",
            LaneOptions::new()
                .with_preemption(true)
                .with_grace(Duration::from_secs(60)),
        )
        .with_handler_on("hosted", ended, event_loop.clone())
        .build()
        .await
        .expect("the settings are right");
    manager.start().await.expect("starts");
    let victim = submit_with(&manager, "later", named("hosted"), SubmitOptions::new()).await;
    reaches(&victim, CommandStatus::Running).await;
    let urgent = submit_with(&manager, "urgent", named("echo"), SubmitOptions::new()).await;
    settled(&urgent).await.expect("it makes room");
    reaches(&victim, CommandStatus::Running).await;
    assert!(victim.cancel());
    let error = settled(&victim).await;
    assert!(matches!(error, Err(LaneError::Cancelled(_))), "{error:?}");
}

/// Also where neither a limit nor preemption has the queue share the command: threads are there to be blocked.
#[tokio::test]
async fn what_blocks_an_executor_is_named_and_runs_again_without_its_help() {
    let (event_loop, _) = busy_loop();
    let (begun, begins) = channel();
    let (free, blocked) = channel::<()>();
    let blocked = Mutex::new(Some(blocked));
    let block = move |_: Value, _: CommandContext| {
        let blocked = blocked.lock().expect("not poisoned").take();
        let begun = begun.clone();
        async move {
            begun.send(()).expect("the test waits");
            if let Some(blocked) = blocked {
                let _ = blocked.recv();
            }
            Ok(json!("done"))
        }
    };
    let lanes = [
        ("urgent", LaneConfig::new(0, 1), 0),
        ("only", LaneConfig::new(0, 1), 5),
    ];
    let manager = builder_with(&lanes)
        .with_max_concurrency(1)
        .with_handler_on("block", block, event_loop.clone())
        .build()
        .await
        .expect("the settings are right");
    manager.start().await.expect("starts");
    let victim = submit_with(&manager, "only", named("block"), SubmitOptions::new()).await;
    begins.recv().expect("it begins");
    let urgent = submit_with(&manager, "urgent", named("echo"), SubmitOptions::new()).await;
    let preemptible = LaneOptions::new().with_preemption(true);
    manager
        .set_lane("only", LaneConfig::new(0, 1), preemptible, 5)
        .expect("the settings are right");
    settled(&urgent).await.expect("it has the slot");
    reaches(&victim, CommandStatus::Running).await;
    let report = within(manager.shutdown_within(Duration::ZERO)).await;
    let named: Vec<_> = report
        .stopped
        .iter()
        .map(|left| left.command_type.as_str())
        .collect();
    assert_eq!(named, ["block"]);
    drop(free);
}

#[tokio::test]
async fn a_closed_loop_settles_its_commands_and_no_others() {
    let (event_loop, _woken) = event_loop();
    let manager = manager_on(&event_loop, LaneConfig::new(0, 4)).await;
    let mut receivers = Vec::new();
    // Many more than a stack could hold, were one settled within the other.
    for _ in 0..20_000 {
        let receiver = manager.submit("only", named("hosted")).await;
        receivers.push(receiver.expect("accepted"));
    }
    event_loop.close();
    for receiver in receivers {
        let error = outcome(receiver).await;
        assert!(
            matches!(&error, Err(LaneError::QueueError(text)) if text.contains("executor")),
            "{error:?}"
        );
    }
    run(&manager, "elsewhere").await.expect("the queue goes on");
    let error = run(&manager, "hosted").await;
    assert!(matches!(error, Err(LaneError::QueueError(_))), "{error:?}");
    within(manager.drain(Duration::from_secs(30)))
        .await
        .expect("nothing is left");
}

/// A runner that has run long gives way to others at its loop. Where the loop is closed meanwhile, it has no command to settle.
#[tokio::test]
async fn a_loop_that_closes_while_its_runner_gives_way_ends_nothing_else() {
    let (event_loop, woken) = event_loop();
    let manager = manager_on(&event_loop, LaneConfig::new(0, 3)).await;
    let (hold, begun, free) = blockade();
    let block = move |_: Value, _: CommandContext| {
        hold();
        std::thread::sleep(Duration::from_millis(1));
        async { Ok(Value::Null) }
    };
    manager.register_handler_on("block", block, event_loop.clone());
    let block = manager.submit("only", named("block")).await;
    let turned = Arc::clone(&event_loop);
    std::thread::spawn(move || {
        while let Ok(()) = woken.recv() {
            turned.turn();
        }
    });
    begun.recv().expect("the body runs");
    event_loop.close();
    drop(free);
    outcome(block.expect("accepted")).await.expect("it ended");
    within(manager.drain(Duration::from_secs(30)))
        .await
        .expect("nothing is left");
    for _ in 0..10 {
        run(&manager, "elsewhere").await.expect("the queue goes on");
    }
}

#[tokio::test]
async fn a_closed_loop_drops_what_runs_in_it() {
    let (event_loop, _woken) = event_loop();
    let manager = manager_on(&event_loop, LaneConfig::new(0, 4)).await;
    let (go_on, mut wait) = tokio::sync::watch::channel(());
    wait.mark_unchanged();
    let waits = move |_: Value, _: CommandContext| {
        let mut wait = wait.clone();
        async move {
            let _ = wait.changed().await;
            Ok(Value::Null)
        }
    };
    manager.register_handler_on("waits", waits, event_loop.clone());
    let receiver = manager
        .submit("only", named("waits"))
        .await
        .expect("accepted");
    event_loop.turn();
    event_loop.close();
    let_others_run().await;
    assert!(
        receiver.is_empty(),
        "it waits for nothing that the loop holds"
    );
    drop(go_on);
    let error = outcome(receiver).await;
    assert!(matches!(error, Err(LaneError::QueueError(_))), "{error:?}");
}

#[tokio::test]
async fn one_turn_of_a_loop_is_bounded() {
    let (event_loop, woken) = event_loop();
    let manager = manager_on(&event_loop, LaneConfig::new(0, 4)).await;
    let mut receivers: Vec<_> = (0..10_000)
        .map(|_| now(manager.submit("only", named("hosted"))).expect("accepted"))
        .collect();
    let mut turns = 0;
    while woken.try_recv().is_ok() {
        event_loop.turn();
        turns += 1;
    }
    assert!(turns > 1, "one turn ran it all");
    for receiver in &mut receivers {
        assert!(receiver.try_recv().expect("settled").is_ok());
    }
}

/// Their storage is told on the queue's own runtime; the slots that this frees go to the executor again.
#[tokio::test]
async fn stored_commands_of_an_executor_run_there_and_leave_the_storage() {
    let (event_loop, thread) = busy_loop();
    let vault = Vault::new();
    let manager = builder_with(&[("only", LaneConfig::new(0, 3), 0)])
        .with_handler_on("hosted", thread_name, event_loop.clone())
        .with_storage(vault.clone())
        .build()
        .await
        .expect("the settings are right");
    manager.start().await.expect("starts");
    let mut receivers = Vec::new();
    for _ in 0..20 {
        let receiver = manager.submit("only", named("hosted")).await;
        receivers.push(receiver.expect("accepted"));
    }
    let there = json!(format!("{thread:?}"));
    for receiver in receivers {
        assert_eq!(outcome(receiver).await.expect("it runs"), there);
    }
    within(manager.drain(Duration::from_secs(60)))
        .await
        .expect("no slot is kept");
    assert!(vault.records().is_empty());
}

/// It was concluded while it waited for its loop; it must not begin after that.
#[tokio::test]
async fn a_command_that_was_cancelled_before_its_loop_turned_does_not_begin() {
    let (event_loop, _woken) = event_loop();
    let manager = manager_on(&event_loop, LaneConfig::new(0, 1)).await;
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let counts = move |payload: Value, _: CommandContext| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move { Ok(payload) }
    };
    manager.register_handler_on("counts", counts, event_loop.clone());
    let handle = submit_with(&manager, "only", named("counts"), SubmitOptions::new()).await;
    reaches(&handle, CommandStatus::Running).await;
    assert!(handle.cancel());
    let error = settled(&handle).await.expect_err("it was cancelled");
    assert_eq!(error.code(), "CANCELLED");
    event_loop.turn();
    assert_eq!(runs.load(Ordering::SeqCst), 0);
    // Its slot is free, and the loop goes on.
    let next = submit_with(&manager, "only", named("counts"), SubmitOptions::new()).await;
    event_loop.turn();
    settled(&next).await.expect("it runs");
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}
