//! Commands that failed for good.

mod retry;

use std::sync::Arc;
use std::time::Duration;

use a3s_lane::{
    Command, CommandContext, CommandHandle, CommandStatus, DeadLetterFilter, DeadLetterRecord,
    DeadLetters, JsonCommand, LaneConfig, LaneError, LaneOptions, Overflow, QueueManager,
    QueueManagerBuilder, Result, RetryPolicy, SubmitOptions, Unique,
};
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::vault::Vault;
use crate::support::{
    Gate, Log, builder_with, eventually, failing, finish, let_others_run, nothing, settled, submit,
    submit_with, within, words,
};

/// Where the dead letters of a manager are.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Memory,
    Storage,
    #[cfg(feature = "local-storage")]
    Local,
}

const PLACES: &[Place] = &[
    Place::Memory,
    Place::Storage,
    #[cfg(feature = "local-storage")]
    Place::Local,
];

impl Place {
    /// The directory of a local storage goes with the second part.
    async fn configure(
        self,
        builder: QueueManagerBuilder,
    ) -> (QueueManagerBuilder, Option<TempDir>) {
        match self {
            Self::Memory => (builder.with_dlq(100), None),
            Self::Storage => (builder.with_storage(Vault::new()), None),
            #[cfg(feature = "local-storage")]
            Self::Local => {
                let directory = TempDir::new().expect("a temporary directory");
                let storage = a3s_lane::LocalStorage::new(directory.path().to_owned()).await;
                let storage = storage.expect("the directory can be used");
                (builder.with_storage(Arc::new(storage)), Some(directory))
            }
        }
    }
}

/// Fails as its payload's `fail` says: the text of a failure that a retry could mend, or `true` for one that it could not.
async fn work(payload: Value, context: CommandContext) -> Result<Value> {
    match &payload["fail"] {
        Value::String(text) => Err(LaneError::CommandError(text.clone())),
        Value::Bool(true) => Err(LaneError::unrecoverable("no use")),
        _ => Ok(json!({
            "payload": payload,
            "id": context.id(),
            "lane": context.lane_id(),
            "attempt": context.attempt(),
            "metadata": context.metadata(),
        })),
    }
}

fn lanes() -> QueueManagerBuilder {
    builder_with(&[
        ("a", LaneConfig::new(0, 1), 0),
        ("b", LaneConfig::new(0, 1), 1),
    ])
    .with_handler("x", work)
    .with_handler("y", work)
}

async fn started(builder: QueueManagerBuilder) -> QueueManager {
    let manager = builder.build().await.expect("the settings are right");
    manager.start().await.expect("starts");
    manager
}

fn job(command_type: &str, payload: Value) -> Box<JsonCommand> {
    Box::new(JsonCommand::new(command_type, payload))
}

/// Has a command fail for good under this id.
async fn fail(manager: &QueueManager, lane: &str, command_type: &str, id: &str) {
    let payload = json!({"fail": format!("{id} failed")});
    let options = SubmitOptions::new().with_id(id);
    let handle = submit_with(manager, lane, job(command_type, payload), options).await;
    settled(&handle).await.expect_err("it fails");
}

fn ids(letters: &[DeadLetterRecord]) -> Vec<&str> {
    letters
        .iter()
        .map(|letter| letter.command_id.as_str())
        .collect()
}

async fn all(letters: &DeadLetters) -> Vec<DeadLetterRecord> {
    let found = letters.list(&DeadLetterFilter::all()).await;
    found.expect("the letters can be read")
}

#[tokio::test]
async fn each_part_of_a_filter_counts() {
    for &place in PLACES {
        let (builder, _directory) = place.configure(lanes()).await;
        let manager = started(builder).await;
        let letters = manager.dead_letters();
        fail(&manager, "a", "x", "1").await;
        fail(&manager, "b", "y", "2").await;
        let hopeless = submit(&manager, "a", job("y", json!({"fail": true}))).await;
        within(hopeless)
            .await
            .expect("resolved")
            .expect_err("it fails");
        let known = all(&letters).await;
        assert_eq!(known.len(), 3, "{place:?}");
        let (third, time) = (known[2].command_id.as_str(), known[1].failed_at);
        let filter = DeadLetterFilter::all;
        for (filter, found) in [
            (filter(), vec!["1", "2", third]),
            (DeadLetterFilter::of("2"), vec!["2"]),
            (filter().with_lane("a"), vec!["1", third]),
            (filter().with_command_type("y"), vec!["2", third]),
            (filter().with_code("UNRECOVERABLE"), vec![third]),
            (filter().with_since(time), vec!["2", third]),
            (filter().with_until(time), vec!["1"]),
            (filter().with_limit(2), vec!["1", "2"]),
            (filter().with_lane("a").with_command_type("y"), vec![third]),
            (filter().with_lane("c"), vec![]),
        ] {
            let letters = letters.list(&filter).await.expect("they can be read");
            assert_eq!(ids(&letters), found, "{place:?}: {filter:?}");
        }
    }
}

#[tokio::test]
async fn a_letter_tells_what_it_takes_to_run_its_command_again() {
    for &place in PLACES {
        let (builder, _directory) = place.configure(lanes()).await;
        let manager = started(builder).await;
        let policy = RetryPolicy::fixed(2, Duration::ZERO);
        let options = SubmitOptions::new()
            .with_id("job")
            .with_priority(-3)
            .with_key("tenant")
            .with_ttl(Duration::from_secs(600))
            .with_timeout(Duration::from_secs(60))
            .with_progress_timeout(Duration::from_secs(50))
            .with_retry_policy(policy.clone())
            .with_cost(7)
            .with_preemptible(false)
            .with_unique(Unique::new("only"))
            .with_metadata("trace", "t1");
        let payload = json!({"fail": "boom", "n": [1, null]});
        let handle = submit_with(&manager, "a", job("x", payload.clone()), options).await;
        settled(&handle).await.expect_err("it fails");
        let letters = all(&manager.dead_letters()).await;
        let [letter] = letters.as_slice() else {
            panic!("{place:?}: one letter, not {letters:?}");
        };
        assert_eq!(letter.payload, Some(payload));
        assert_eq!((letter.lane_id.as_str(), letter.attempts), ("a", 3));
        assert_eq!(letter.code, "COMMAND_ERROR");
        let options = &letter.options;
        assert_eq!(
            (options.priority, options.key.as_deref()),
            (-3, Some("tenant"))
        );
        assert_eq!(options.timeout, Some(Some(Duration::from_secs(60))));
        assert_eq!(options.progress_timeout, Some(Duration::from_secs(50)));
        assert_eq!(options.retry_policy, Some(policy));
        assert_eq!((options.cost, options.preemptible), (7, false));
        assert_eq!(options.metadata["trace"], "t1");
        assert_eq!(options.unique.as_ref().expect("it had one").key, "only");
    }
}

#[tokio::test]
async fn discarding_takes_what_the_filter_means_and_says_how_many() {
    for &place in PLACES {
        let (builder, _directory) = place.configure(lanes()).await;
        let manager = started(builder).await;
        let letters = manager.dead_letters();
        for (lane, id) in [("a", "1"), ("b", "2"), ("a", "3"), ("a", "4")] {
            fail(&manager, lane, "x", id).await;
        }
        let filter = DeadLetterFilter::all().with_lane("a").with_limit(2);
        assert_eq!(letters.discard(&filter).await.expect("discards"), 2);
        assert_eq!(ids(&all(&letters).await), ["2", "4"], "{place:?}");
        let stats = manager.stats().await.expect("it can count");
        assert_eq!(stats.dead_letter_count, 2);
        assert_eq!(
            letters
                .discard(&DeadLetterFilter::of("1"))
                .await
                .expect("none"),
            0
        );
        assert_eq!(
            letters
                .discard(&DeadLetterFilter::all())
                .await
                .expect("all"),
            2
        );
        assert!(all(&letters).await.is_empty());
    }
}

#[tokio::test]
async fn what_was_exported_is_imported_exactly() {
    for &place in PLACES {
        let (builder, _directory) = place.configure(lanes()).await;
        let manager = started(builder).await;
        let letters = manager.dead_letters();
        let options = SubmitOptions::new()
            .with_id("full")
            .with_priority(i32::MIN)
            .with_key("k\n\u{2028}é")
            .with_ttl(Duration::from_secs(9))
            .with_no_timeout()
            .with_progress_timeout(Duration::from_nanos(1_500_000_001))
            .with_retry_policy(RetryPolicy::exponential(1))
            .with_jitter(a3s_lane::Jitter::Full)
            .with_cost(u64::MAX)
            .with_unique(Unique::new("u").with_window(Duration::from_secs(5)))
            .with_metadata("m", json!({"big": u64::MAX, "small": 0.1}));
        let payload = json!({"fail": "line one\nline two", "n": i64::MIN});
        let handle = submit_with(&manager, "a", job("x", payload), options).await;
        settled(&handle).await.expect_err("it fails");
        fail(&manager, "b", "y", "plain").await;
        // A payload that is null, and none.
        let hopeless = |_: Value, _: CommandContext| async { Err(LaneError::unrecoverable("no")) };
        manager.register_handler("null", hopeless);
        for command in [
            job("null", Value::Null) as Box<dyn Command>,
            failing("bare"),
        ] {
            let handle = submit_with(&manager, "a", command, SubmitOptions::new()).await;
            settled(&handle).await.expect_err("it fails");
        }
        let before = all(&letters).await;
        assert_eq!(before[0].options.timeout, Some(None));
        assert_eq!(before[2].payload, Some(Value::Null), "{place:?}");
        assert_eq!(before[3].payload, None, "{place:?}");
        let text = letters
            .export(&DeadLetterFilter::all())
            .await
            .expect("text");
        assert_eq!(text.lines().count(), 4, "{text}");

        for &other in PLACES {
            let (builder, _directory) = other.configure(lanes()).await;
            let elsewhere = builder.build().await.expect("a manager");
            let copies = elsewhere.dead_letters();
            let spaced = format!("\n{text}\n");
            assert_eq!(copies.import(&spaced).await.expect("imports"), 4);
            assert_eq!(all(&copies).await, before, "{place:?} to {other:?}");
            assert_eq!(copies.import(&text).await.expect("nothing is new"), 0);
            assert_eq!(all(&copies).await.len(), 4);
            let bad = format!("{text}{{\"command_id\":1}}\n");
            let error = copies.import(&bad).await.expect_err("a bad line");
            assert_eq!(error.code(), "CONFIG_ERROR");
            assert!(
                error.to_string().contains("line 5 is no dead letter"),
                "{error}"
            );
        }
        // Nothing of a text with a bad line.
        assert_eq!(
            letters
                .discard(&DeadLetterFilter::all())
                .await
                .expect("all"),
            4
        );
        letters
            .import(&format!("{text}[]"))
            .await
            .expect_err("a bad line");
        assert!(all(&letters).await.is_empty());
    }
}

#[tokio::test]
async fn a_full_memory_drops_its_oldest_letter() {
    let manager = started(lanes().with_dlq(2)).await;
    let letters = manager.dead_letters();
    for id in ["1", "2", "3"] {
        fail(&manager, "a", "x", id).await;
    }
    assert_eq!(ids(&all(&letters).await), ["2", "3"]);
    assert_eq!(
        letters.retry("1").await.expect_err("dropped").code(),
        "COMMAND_NOT_FOUND"
    );
    let text = letters
        .export(&DeadLetterFilter::of("3"))
        .await
        .expect("text");
    let new = text.replace(r#""command_id":"3""#, r#""command_id":"4""#);
    assert_eq!(letters.import(&new).await.expect("imports"), 1);
    assert_eq!(ids(&all(&letters).await), ["3", "4"]);
}

#[tokio::test]
async fn the_queue_of_0_4_holds_the_same_letters() {
    let manager = started(lanes().with_dlq(10)).await;
    let letters = manager.dead_letters();
    for id in ["1", "2", "3"] {
        fail(&manager, "a", "x", id).await;
    }
    let queue = manager.queue();
    let memory = queue.dlq().expect("it has one");
    assert_eq!(memory.pop().await.expect("three letters").command_id, "1");
    assert_eq!(ids(&all(&letters).await), ["2", "3"]);
    letters
        .discard(&DeadLetterFilter::of("2"))
        .await
        .expect("discards");
    let left: Vec<_> = memory.list().await;
    assert_eq!((left.len(), left[0].command_id.as_str()), (1, "3"));
    let handle = letters.retry_with("3", json!({})).await.expect("retried");
    settled(&handle).await.expect("it completes");
    assert!(memory.is_empty().await);
    fail(&manager, "a", "x", "4").await;
    memory.clear().await;
    assert!(all(&letters).await.is_empty());
}

#[tokio::test]
async fn retries_and_discards_are_told() {
    for &place in PLACES {
        let (builder, _directory) = place.configure(lanes()).await;
        let manager = started(builder).await;
        let letters = manager.dead_letters();
        fail(&manager, "a", "x", "1").await;
        fail(&manager, "b", "y", "2").await;
        let mut stream = manager.subscribe();
        let handle = letters.retry_with("1", json!({})).await.expect("retried");
        settled(&handle).await.expect("it completes");
        letters
            .discard(&DeadLetterFilter::all())
            .await
            .expect("discards");
        let seen = finish(&manager, &mut stream).await;
        let expected = [
            "dead_letter.retried x",
            "submitted a",
            "started x",
            "completed x",
            "dead_letter.discarded y",
            "shutdown.started",
            "shutdown.complete",
        ];
        assert_eq!(words(&seen), expected, "{place:?}");
        for (event, lane, id) in [(&seen[0], "a", "1"), (&seen[4], "b", "2")] {
            assert_eq!(crate::support::field(event, "lane_id"), Some(lane));
            assert_eq!(crate::support::field(event, "command_id"), Some(id));
        }
    }
}

#[tokio::test]
async fn a_letter_of_a_lane_without_storage_leaves_the_storage_too() {
    use a3s_lane::Lane;

    let manager = started(lanes().with_storage(Vault::new())).await;
    let letters = manager.dead_letters();
    fail(&manager, "a", "x", "job").await;
    let text = letters
        .export(&DeadLetterFilter::all())
        .await
        .expect("text");
    letters
        .discard(&DeadLetterFilter::all())
        .await
        .expect("discards");
    let bare = Lane::new("bare", LaneConfig::new(0, 1), 0);
    manager.queue().register_lane(Arc::new(bare)).await;
    let moved = text.replace(r#""lane_id":"a""#, r#""lane_id":"bare""#);
    letters.import(&moved).await.expect("imports");
    let handle = letters.retry_with("job", json!({})).await.expect("retried");
    settled(&handle).await.expect("it completes");
    assert!(all(&letters).await.is_empty());
}

#[tokio::test]
async fn the_record_of_a_letter_is_a_pending_command_without_its_past() {
    let manager = started(lanes().with_dlq(1)).await;
    let options = SubmitOptions::new()
        .with_id("job")
        .with_ttl(Duration::from_secs(60));
    let handle = submit_with(&manager, "a", job("x", json!({"fail": "boom"})), options).await;
    settled(&handle).await.expect_err("it fails");
    let mut letter = all(&manager.dead_letters()).await.remove(0);
    let record = letter.clone().into_pending().expect("it has a payload");
    assert_eq!(
        (record.command.id.as_str(), record.command.retry_count),
        ("job", 0)
    );
    assert_eq!(record.command.payload, json!({"fail": "boom"}));
    assert!(record.options.expires_at.is_none() && record.due_at.is_none());
    assert!(record.command.created_at > Utc::now() - TimeDelta::minutes(1));
    letter.payload = None;
    assert_eq!(
        letter.into_pending().expect_err("none").code(),
        "CONFIG_ERROR"
    );
    assert_eq!(handle.status(), CommandStatus::Failed);
}

#[tokio::test]
async fn each_failure_keeps_where_a_handler_of_another_language_raised_it() {
    for &place in PLACES {
        let (builder, _directory) = place.configure(lanes()).await;
        let raise = |_: Value, context: CommandContext| async move {
            let traceback = format!("line {}", context.attempt());
            Err(LaneError::raised_at(
                "COMMAND_ERROR",
                "bad",
                Some(traceback),
                (),
            ))
        };
        let manager = started(builder.with_handler("raise", raise)).await;
        let options = SubmitOptions::new().with_retry_policy(RetryPolicy::fixed(1, Duration::ZERO));
        let handle = submit_with(&manager, "a", job("raise", json!(null)), options).await;
        settled(&handle).await.expect_err("it fails");
        let letters = all(&manager.dead_letters()).await;
        let failures = letters[0].failures.iter();
        let tracebacks: Vec<_> = failures
            .map(|failure| failure.traceback.as_deref())
            .collect();
        assert_eq!(tracebacks, [Some("line 1"), Some("line 2")], "{place:?}");
        assert_eq!(letters[0].traceback.as_deref(), Some("line 2"), "{place:?}");
    }
}
