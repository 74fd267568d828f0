//! Commands whose results go to one place, and handles of them that are made when somebody asks.

use std::sync::{Arc, Mutex};

use a3s_lane::{
    Command, CommandStatus, CommandTicket, LaneConfig, LaneError, LaneOptions, Overflow,
    QueueManager, Refused, Result, ResultSink, RetryPolicy,
};
use serde_json::{Value, json};

use crate::support::{Gate, builder_with, contextual, eventually, failing, nothing};

type Told = Arc<Mutex<Vec<(u32, CommandStatus, Result<Value>)>>>;

/// A sink, and what it was told.
fn sink() -> (Arc<ResultSink>, Told) {
    let told = Told::default();
    let tell = Arc::clone(&told);
    let sink = ResultSink::new(move |token, status, result| {
        tell.lock().expect("no panic").push((token, status, result));
    });
    (sink, told)
}

fn statuses(told: &Told) -> Vec<(u32, CommandStatus)> {
    let told = told.lock().expect("no panic");
    let mut all: Vec<_> = told
        .iter()
        .map(|(token, status, _)| (*token, *status))
        .collect();
    all.sort_by_key(|(token, _)| *token);
    all
}

async fn manager(config: LaneConfig, options: LaneOptions) -> QueueManager {
    let builder = builder_with(&[("only", config, 0)]).with_lane_options("only", options);
    let manager = builder.build().await.expect("the settings are right");
    manager.start().await.expect("starts");
    manager
}

fn submit(
    manager: &QueueManager,
    sink: &Arc<ResultSink>,
    lane: &str,
    commands: Vec<(Box<dyn Command>, u32)>,
) -> Vec<std::result::Result<CommandTicket, Refused>> {
    let Ok(answers) = manager.submit_to(sink, lane, commands) else {
        panic!("nothing waits here");
    };
    answers
}

#[tokio::test(start_paused = true)]
async fn each_command_is_told_once_with_its_status() {
    let manager = manager(LaneConfig::new(0, 2), LaneOptions::new()).await;
    let (sink, told) = sink();
    let commands = vec![(nothing("a"), 1), (failing("b"), 2), (nothing("c"), 3)];
    assert!(
        submit(&manager, &sink, "only", commands)
            .iter()
            .all(std::result::Result::is_ok)
    );
    eventually("what was submitted gets on", async || {
        statuses(&told).len() == 3
    })
    .await;
    assert_eq!(
        statuses(&told),
        [
            (1, CommandStatus::Completed),
            (2, CommandStatus::Failed),
            (3, CommandStatus::Completed)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn refused_commands_come_back_and_keep_no_others_out() {
    let gate = Gate::new();
    let options = LaneOptions::new().with_max_pending(1);
    let manager = manager(LaneConfig::new(0, 1), options).await;
    let (sink, told) = sink();
    submit(&manager, &sink, "only", vec![(gate.command("runs"), 0)]);
    eventually("what was submitted gets on", async || {
        manager.snapshot().active == 1
    })
    .await;
    let commands = vec![(nothing("a"), 1), (nothing("b"), 2)];
    let answers = submit(&manager, &sink, "only", commands);
    assert!(answers[0].is_ok());
    let refused = answers[1].as_ref().expect_err("the lane is full");
    assert!(matches!(refused.error(), LaneError::LaneFull(_)));
    let answers = submit(&manager, &sink, "nowhere", vec![(nothing("c"), 3)]);
    let refused = answers[0].as_ref().expect_err("there is no such lane");
    assert!(matches!(refused.error(), LaneError::LaneNotFound(_)));
    gate.open();
    eventually("what was submitted gets on", async || {
        statuses(&told).len() == 2
    })
    .await;
    assert_eq!(
        statuses(&told),
        [(0, CommandStatus::Completed), (1, CommandStatus::Completed)]
    );
}

#[tokio::test(start_paused = true)]
async fn where_one_may_wait_all_come_back() {
    let options = LaneOptions::new()
        .with_max_pending(5)
        .with_overflow(Overflow::Wait);
    let manager = manager(LaneConfig::new(0, 1), options).await;
    let (sink, told) = sink();
    let commands = vec![(nothing("a"), 1), (nothing("b"), 2)];
    let Err(back) = manager.submit_to(&sink, "only", commands) else {
        panic!("the lane says to wait");
    };
    assert_eq!(
        back.iter().map(|(_, token)| *token).collect::<Vec<_>>(),
        [1, 2]
    );
    assert!(statuses(&told).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_handle_is_made_when_somebody_asks() {
    let gate = Gate::new();
    let manager = manager(LaneConfig::new(0, 1), LaneOptions::new()).await;
    let (sink, told) = sink();
    let commands = vec![(gate.command("runs"), 1), (nothing("waits"), 2)];
    let answers = submit(&manager, &sink, "only", commands);
    let tickets: Vec<_> = answers
        .into_iter()
        .map(|it| it.expect("accepted"))
        .collect();
    eventually("what was submitted gets on", async || {
        manager.snapshot().active == 1
    })
    .await;
    let handles: Vec<_> = tickets
        .iter()
        .map(|ticket| manager.handle_of(*ticket).expect("it has not settled"))
        .collect();
    let found: Vec<_> = handles.iter().map(|handle| handle.status()).collect();
    assert_eq!(found, [CommandStatus::Running, CommandStatus::Pending]);
    for (handle, ticket) in handles.iter().zip(&tickets) {
        assert_eq!(handle.id(), manager.id_of(ticket.serial()));
        let again = manager.handle_of(*ticket).expect("it has not settled");
        assert_eq!(again.id(), handle.id());
    }
    assert!(handles[1].explain().is_some());
    assert!(handles[1].cancel());
    gate.open();
    assert!(handles[0].result().await.is_ok());
    eventually("what was submitted gets on", async || {
        statuses(&told).len() == 2
    })
    .await;
    assert_eq!(
        statuses(&told),
        [(1, CommandStatus::Completed), (2, CommandStatus::Cancelled)]
    );
    assert!(manager.handle_of(tickets[0]).is_none(), "it has settled");
}

#[tokio::test(start_paused = true)]
async fn what_a_running_command_reports_reaches_a_late_handle() {
    let gate = Gate::new();
    let retry = RetryPolicy::fixed(1, std::time::Duration::ZERO);
    let config = LaneConfig::new(0, 1).with_retry_policy(retry);
    let manager = manager(config, LaneOptions::new()).await;
    let (sink, _told) = sink();
    let passed = gate.clone();
    let body = contextual("reports", move |context| {
        let gate = passed.clone();
        async move {
            if context.attempt() == 1 {
                gate.pass().await;
                context.emit("a");
                context.progress(json!(1));
                return Err(LaneError::CommandError("again".into()));
            }
            context.emit("b");
            Ok(Value::Null)
        }
    });
    let answers = submit(&manager, &sink, "only", vec![(body, 1)]);
    eventually("what was submitted gets on", async || {
        manager.snapshot().active == 1
    })
    .await;
    let ticket = *answers[0].as_ref().expect("accepted");
    let handle = manager.handle_of(ticket).expect("it runs");
    gate.open();
    let mut chunks = handle.chunks();
    let mut seen = Vec::new();
    while let Some(chunk) = chunks.recv().await {
        seen.push((chunk.attempt, chunk.value.as_str().map(str::to_owned)));
    }
    assert_eq!(seen, [(1, Some("a".into())), (2, Some("b".into()))]);
    assert_eq!(handle.progress().recv().await, Some(json!(1)));
    assert_eq!(handle.status(), CommandStatus::Completed);
}

#[tokio::test]
async fn a_sink_that_panics_holds_nothing_up() {
    let manager = manager(LaneConfig::new(0, 1), LaneOptions::new()).await;
    manager.pause_lane("only").expect("the lane is there");
    let sink = ResultSink::new(|_, _, _| panic!("a sink"));
    let commands = vec![(nothing("a"), 1), (nothing("b"), 2), (nothing("c"), 3)];
    let answers = submit(&manager, &sink, "only", commands);
    assert!(answers.iter().all(|answer| answer.is_ok()));
    manager.cancel_lane("only").expect("the lane is there");
    let drained = manager.drain(std::time::Duration::from_secs(60));
    drained.await.expect("nothing is left");
}
