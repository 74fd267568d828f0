//! Spans of a real queue.
#![cfg(feature = "telemetry")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use a3s_lane::{LaneConfig, LaneError, QueueManager, ResultSink, RetryPolicy, SubmitOptions};
use serde_json::Value;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use support::trace::Trace;
use support::{builder_with, command, endless, failing, nothing, outcome, started, submit};

#[tokio::test]
async fn a_command_has_a_submit_and_an_execute_span() {
    let trace = Trace::start();
    let manager = started(LaneConfig::new(1, 1)).await;
    let caller = tracing::info_span!("caller");
    let body = command("read", |_| async {
        tracing::info!("from the body");
        Ok(Value::Null)
    });
    let submitted = {
        use tracing::Instrument;
        submit(&manager, "only", body)
            .instrument(caller.clone())
            .await
    };
    outcome(submitted).await.expect("it runs");
    let [submit] = &*trace.spans("a3s.lane.submit") else {
        panic!("one submit span");
    };
    let [execute] = &*trace.spans("a3s.lane.execute") else {
        panic!("one execute span");
    };
    let field = |span: &support::trace::Seen, name: &str| {
        span.fields.get(&format!("a3s.lane.{name}")).cloned()
    };
    assert_eq!(field(submit, "lane_name").as_deref(), Some("only"));
    assert_eq!(field(submit, "command_type").as_deref(), Some("read"));
    assert_eq!(submit.parent, caller.id().map(|id| id.into_u64()));
    assert_eq!(field(execute, "lane_name").as_deref(), Some("only"));
    assert_eq!(field(execute, "command_type").as_deref(), Some("read"));
    assert_eq!(field(execute, "success").as_deref(), Some("true"));
    let id = field(execute, "command_id").expect("it has an id");
    uuid::Uuid::parse_str(&id).expect("a UUID");
    // Linked over the queue, rather than a child: the submitter may be long gone.
    assert_eq!(execute.parent, None);
    assert_eq!(execute.follows, [submit.id]);
    let line = &trace.said("from the body")[0];
    assert_eq!(line.span.as_deref(), Some("a3s.lane.execute"));
    assert!(submit.closed && execute.closed);
}

#[tokio::test]
async fn each_attempt_and_each_retry_has_a_span() {
    let trace = Trace::start();
    let retry = RetryPolicy::fixed(2, Duration::ZERO);
    let manager = started(LaneConfig::new(1, 1).with_retry_policy(retry)).await;
    let body = command("flaky", |attempt| async move {
        match attempt {
            3 => Ok(Value::Null),
            _ => Err(LaneError::CommandError("no".to_owned())),
        }
    });
    let receiver = submit(&manager, "only", body).await;
    outcome(receiver).await.expect("the third attempt");
    let executes = trace.spans("a3s.lane.execute");
    let success: Vec<_> = executes
        .iter()
        .map(|span| &*span.fields["a3s.lane.success"])
        .collect();
    assert_eq!(success, ["false", "false", "true"]);
    let retries = trace.spans("a3s.lane.retry");
    let attempts: Vec<_> = retries
        .iter()
        .map(|span| &*span.fields["a3s.lane.retry_attempt"])
        .collect();
    assert_eq!(attempts, ["1", "2"]);
    let id = &executes[0].fields["a3s.lane.command_id"];
    for span in executes.iter().chain(&retries) {
        assert_eq!(&span.fields["a3s.lane.command_id"], id);
        assert_eq!(span.fields["a3s.lane.lane_name"], "only");
    }
}

/// How often the command was tried before: 0, 1, ...
#[tokio::test]
async fn an_execute_span_tells_its_attempt() {
    let trace = Trace::start();
    let retry = RetryPolicy::fixed(1, Duration::ZERO);
    let manager = started(LaneConfig::new(1, 1).with_retry_policy(retry)).await;
    let receiver = submit(&manager, "only", failing("t")).await;
    outcome(receiver).await.expect_err("it fails");
    let attempts: Vec<String> = trace
        .spans("a3s.lane.execute")
        .iter()
        .map(|span| span.fields["a3s.lane.retry_attempt"].clone())
        .collect();
    assert_eq!(attempts, ["0", "1"]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_times_out_or_panics_has_failed() {
    let trace = Trace::start();
    let config = LaneConfig::new(1, 1).with_timeout(Duration::from_secs(1));
    let manager = started(config).await;
    for body in [endless("t"), command("t", |_| async { panic!("boom") })] {
        let receiver = submit(&manager, "only", body).await;
        outcome(receiver).await.expect_err("it fails");
    }
    for span in trace.spans("a3s.lane.execute") {
        assert_eq!(span.fields["a3s.lane.success"], "false");
        assert!(span.closed);
    }
}

/// Of the tests' own tool: `cargo test` runs them as threads of one process.
#[test]
fn a_trace_sees_a_line_that_a_thread_without_one_came_to_first() {
    let trace = Trace::start();
    let say = || tracing::info!("first elsewhere");
    std::thread::spawn(say).join().expect("it ends");
    say();
    assert_eq!(trace.said("first elsewhere").len(), 1);
}

/// Uses a queue whenever a span is closed.
struct Asks {
    manager: Arc<OnceLock<QueueManager>>,
    closed: Arc<AtomicUsize>,
}

impl<S: tracing::Subscriber> Layer<S> for Asks {
    fn on_close(&self, _: tracing::span::Id, _: tracing_subscriber::layer::Context<'_, S>) {
        if let Some(manager) = self.manager.get() {
            assert!(!manager.is_shutting_down());
            self.closed.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Whoever collects spans may use the queue, also when the span of a submission is closed that was refused.
#[test]
fn a_refused_submission_closes_its_span_without_the_lock() {
    let (done, closed) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let asks = Asks {
            manager: Arc::default(),
            closed: Arc::default(),
        };
        let (place, count) = (Arc::clone(&asks.manager), Arc::clone(&asks.closed));
        let _guard = tracing_subscriber::registry().with(asks).set_default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let full = a3s_lane::LaneOptions::new().with_max_pending(1);
            let manager =
                builder_with(&[("only", LaneConfig::new(0, 1), 0)]).with_lane_options("only", full);
            let manager = manager.build().await.expect("right");
            let manager = place.get_or_init(|| manager);
            let first = SubmitOptions::new().with_id("a");
            manager
                .submit_with("only", nothing("a"), first)
                .await
                .expect("there is room");
            for id in ["a", "b"] {
                let options = SubmitOptions::new().with_id(id);
                let refused = manager.submit_with("only", nothing("b"), options).await;
                refused.expect_err("its id is taken, or its lane is full");
            }
            manager
                .submit("only", nothing("c"))
                .await
                .expect_err("full");
            let sink = ResultSink::new(|_, _, _| {});
            let Ok(answers) = manager.submit_to(&sink, "only", vec![(nothing("d"), 0)]) else {
                panic!("nothing waits");
            };
            assert!(answers[0].is_err());
        });
        done.send(count.load(Ordering::SeqCst)).expect("awaited");
        // Its lane holds a command whose span closes with it, without a queue to ask.
        std::mem::forget(place);
    });
    let closed = closed.recv_timeout(Duration::from_secs(30));
    assert_eq!(closed.expect("no span is closed under the lock"), 4);
}
