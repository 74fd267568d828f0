//! What is kept of commands beside their fields of 0.4, of dead letters and of results.

use std::time::Duration;

use super::*;
use crate::retry::RetryPolicy;
use crate::storage::{FailedAttempt, HistoryEvent, StoredOptions, StoredOutcome, StoredUnique};

pub(super) fn failure(attempt: u32) -> FailedAttempt {
    FailedAttempt::new(attempt, "TIMEOUT", format!("error {attempt}"), Utc::now())
}

pub(super) fn record(id: impl ToString) -> CommandRecord {
    let mut record = CommandRecord::from(StoredCommand {
        retry_count: 0,
        ..command(id)
    });
    record.options = StoredOptions {
        priority: -3,
        key: Some("tenant".into()),
        expires_at: Some(Utc.timestamp_nanos(1_800_000_000_123_456_789)),
        timeout: Some(None),
        progress_timeout: Some(Duration::from_millis(1500)),
        retry_policy: Some(RetryPolicy::fixed(3, Duration::from_secs(1))),
        jitter: None,
        cost: u64::MAX,
        preemptible: false,
        metadata: [("trace".to_owned(), json!([1, "two"]))]
            .into_iter()
            .collect(),
        unique: Some(StoredUnique::new("once")),
    };
    record
}

pub(super) fn full_letter(id: impl ToString) -> DeadLetterRecord {
    DeadLetterRecord {
        payload: Some(json!({"to": null})),
        options: record("").options,
        code: "TIMEOUT".into(),
        traceback: Some("line 1\nline 2".into()),
        failures: vec![failure(1), failure(2)],
        ..letter(id).into()
    }
}

pub(super) fn completed(id: impl Into<String>, value: serde_json::Value) -> Settlement {
    Settlement::new(id, "mail", "skill", StoredOutcome::Completed(value))
}

pub(super) async fn loaded(storage: &LocalStorage, id: &str) -> CommandRecord {
    let command = storage.load_command(id).await.expect("readable");
    command.unwrap_or_else(|| panic!("{id} is kept"))
}

#[tokio::test]
async fn all_of_a_command_survives_reopening() {
    let directory = directory();
    let storage = open(&directory).await;
    let mut one = record(1);
    one.crashes = 2;
    one.due_at = Some(Utc::now());
    one.failures = vec![failure(1)];
    let two = CommandRecord::from(command(2));
    let both = vec![one.clone(), two.clone()];
    storage.save_commands(both).await.expect("saved");
    drop(storage);
    let storage = open(&directory).await;
    for expected in [one, two] {
        let found = loaded(&storage, &expected.command.id).await;
        assert_eq!(as_json(found), as_json(expected));
    }
    let missing = storage.load_command("3").await.expect("readable");
    assert!(missing.is_none());
}

#[tokio::test]
async fn pages_go_on_where_the_one_before_has_ended() {
    let directory = directory();
    let storage = open(&directory).await;
    let records = (0..10).map(record).collect();
    storage.save_commands(records).await.expect("saved");
    let ids = |page: &CommandPage| {
        let ids = page.records.iter().map(|record| record.command.id.clone());
        ids.collect::<Vec<_>>().join(" ")
    };
    let first = storage.load_page(None, 4).await.expect("readable");
    assert_eq!(ids(&first), "0 1 2 3");
    for record in &first.records {
        assert!(record.without_payload && record.command.payload.is_null());
        assert_eq!(record.options.cost, u64::MAX);
    }
    storage.remove_command("2").await.expect("removed");
    storage.remove_command("4").await.expect("removed");
    storage.save_command(command(10)).await.expect("saved");
    let second = storage.load_page(first.next, 4).await.expect("readable");
    assert_eq!(ids(&second), "5 6 7 8");
    let third = storage.load_page(second.next, 4).await.expect("readable");
    assert_eq!((ids(&third).as_str(), third.next), ("9 10", None));
    // One that was read without its payload keeps the stored one.
    let read = first.records[0].clone();
    storage.save_commands(vec![read]).await.expect("saved");
    assert_eq!(loaded(&storage, "0").await.command.payload["to"], "you");
    // A page that is just full is the last one.
    let all = storage.load_page(None, 9).await.expect("readable");
    assert_eq!((all.records.len(), all.next), (9, None));
}

#[tokio::test]
async fn a_batch_is_kept_as_a_whole_or_not_at_all() {
    let directory = directory();
    let storage = open(&directory).await.with_results(Retention::new());
    ask(&storage, |store| {
        let made = store.connection().execute_batch(
            "CREATE TEMP TRIGGER refuse BEFORE INSERT ON commands WHEN new.id = 'refused'
             BEGIN SELECT raise(ABORT, 'as the test says'); END;
             CREATE TEMP TRIGGER refuse_letter BEFORE INSERT ON dead_letters WHEN new.id = 'refused'
             BEGIN SELECT raise(ABORT, 'as the test says'); END",
        );
        made.expect("made");
    })
    .await;
    let text = storage_error(
        storage
            .save_commands(vec![record(1), record("refused")])
            .await,
    );
    assert!(text.contains("as the test says"), "{text}");
    assert!(command_ids(&storage).await.is_empty());

    storage.save_command(command(1)).await.expect("saved");
    let mut refused = completed("2", json!(2));
    refused.letter = Some(full_letter("refused").into());
    storage_error(
        storage
            .settle_commands(vec![completed("1", json!(1)), refused])
            .await,
    );
    assert_eq!(command_ids(&storage).await, ["1"]);
    assert_eq!(storage.load_result("1").await.expect("readable"), None);

    // A letter whose command cannot be kept stays.
    storage
        .import_dead_letters(vec![full_letter("x")])
        .await
        .expect("saved");
    storage_error(storage.revive_dead_letter(record("refused")).await);
    assert_eq!(letter_ids(&storage).await, ["x"]);
    storage
        .revive_dead_letter(record("x"))
        .await
        .expect("revived");
    assert!(letter_ids(&storage).await.is_empty());
    assert_eq!(command_ids(&storage).await, ["1", "x"]);
}

#[tokio::test]
async fn retries_add_up() {
    let directory = directory();
    let storage = open(&directory).await;
    storage.save_commands(vec![record(1)]).await.expect("saved");
    let due = Utc::now();
    for attempt in 1..=120 {
        let mut note = RetryNote::new("1", failure(attempt));
        note.due_at = Some(due);
        storage.retry_command(note).await.expect("noted");
    }
    let note = RetryNote::new("not there", failure(1));
    storage.retry_command(note).await.expect("nothing to do");
    let found = loaded(&storage, "1").await;
    let attempts: Vec<_> = found
        .failures
        .iter()
        .map(|failure| failure.attempt)
        .collect();
    // The newest hundred.
    assert_eq!(attempts, (21..=120).collect::<Vec<_>>());
    assert_eq!((found.command.retry_count, found.due_at), (120, Some(due)));
    assert_eq!(
        found.command.last_attempt_at,
        Some(found.failures[99].failed_at)
    );
    assert_eq!(found.options, record(1).options);
    assert_eq!(found.command.payload, record(1).command.payload);
    let note = RetryNote::new("1", failure(121));
    storage.retry_command(note).await.expect("noted");
    assert_eq!(loaded(&storage, "1").await.due_at, None);
}

#[tokio::test]
async fn dead_letters_are_found_by_what_they_say() {
    let directory = directory();
    let storage = open(&directory).await;
    let mut letters: Vec<_> = (0..4).map(full_letter).collect();
    letters[1].lane_id = "other".into();
    letters[1].payload = None;
    letters[2].command_type = "other".into();
    letters[3].code = "OTHER".into();
    storage
        .import_dead_letters(letters.clone())
        .await
        .expect("saved");
    drop(storage);
    let storage = open(&directory).await;
    let mut ids: Vec<String> = letters.iter().map(|it| it.command_id.clone()).collect();
    let found = storage.dead_letter_ids().await.expect("readable");
    assert_eq!(found, ids.drain(..).collect());
    let all = DeadLetterFilter::all;
    let other = || Some("other".to_owned());
    for (filter, expected) in [
        (all(), vec![0, 1, 2, 3]),
        (DeadLetterFilter::of("2"), vec![2]),
        (
            DeadLetterFilter {
                ids: vec!["3".into(), "0".into(), "9".into()],
                ..all()
            },
            vec![0, 3],
        ),
        (
            DeadLetterFilter {
                lane_id: other(),
                ..all()
            },
            vec![1],
        ),
        (
            DeadLetterFilter {
                command_type: other(),
                ..all()
            },
            vec![2],
        ),
        (
            DeadLetterFilter {
                code: Some("OTHER".into()),
                ..all()
            },
            vec![3],
        ),
        (
            DeadLetterFilter {
                since: Some(letters[2].failed_at),
                ..all()
            },
            vec![2, 3],
        ),
        (
            DeadLetterFilter {
                until: Some(letters[2].failed_at),
                ..all()
            },
            vec![0, 1],
        ),
        (
            DeadLetterFilter {
                limit: Some(3),
                ..all()
            },
            vec![0, 1, 2],
        ),
        (
            DeadLetterFilter {
                limit: Some(0),
                ..all()
            },
            vec![],
        ),
    ] {
        let found = storage.find_dead_letters(&filter).await.expect("readable");
        let expected: Vec<_> = expected
            .into_iter()
            .map(|place: usize| letters[place].clone())
            .collect();
        assert_eq!(found, expected, "{filter:?}");
    }
    let ids = ["1".to_owned(), "3".to_owned(), "9".to_owned()];
    assert_eq!(storage.remove_dead_letters(&ids).await.expect("removed"), 2);
    assert_eq!(storage.remove_dead_letters(&ids).await.expect("removed"), 0);
    assert_eq!(letter_ids(&storage).await, ["0", "2"]);
    // Those that are removed make room.
    let three = open(&directory).await.with_max_dead_letters(3);
    three.save_dead_letter(letter("new")).await.expect("saved");
    assert_eq!(letter_ids(&storage).await, ["0", "2", "new"]);
}

#[tokio::test]
async fn a_settlement_removes_and_keeps_in_one_step() {
    let directory = directory();
    let storage = open(&directory).await.with_results(Retention::new());
    storage
        .save_commands(vec![record(1), record(2)])
        .await
        .expect("saved");
    let one = completed("1", json!({"sum": 3}));
    let mut two = Settlement::new(
        "2",
        "mail",
        "skill",
        StoredOutcome::Failed {
            code: "TIMEOUT".into(),
            error: "too late".into(),
        },
    );
    two.letter = Some(full_letter("2").into());
    let both = vec![one.clone(), two.clone()];
    storage.settle_commands(both).await.expect("settled");
    assert!(command_ids(&storage).await.is_empty());
    drop(storage);
    let storage = open(&directory).await;
    for expected in [one, two.clone()] {
        let found = storage.load_result(&expected.id).await.expect("readable");
        assert_eq!(found, Some(expected.into()));
    }
    let letters = storage
        .find_dead_letters(&DeadLetterFilter::all())
        .await
        .expect("readable");
    assert_eq!(letters, Vec::from_iter(two.letter.map(|letter| *letter)));
}

#[tokio::test]
async fn results_are_kept_when_asked_for_and_within_bounds() {
    let directory = directory();
    let without = open(&directory).await;
    without
        .settle_commands(vec![completed("none", json!(1))])
        .await
        .expect("settled");
    assert_eq!(without.load_result("none").await.expect("readable"), None);

    let by_count = Retention::new().with_max_count(3);
    let storage = open(&directory).await.with_results(by_count);
    let kept = async |storage: &LocalStorage| {
        let mut kept = String::new();
        for id in "abcdefgh".chars().map(String::from) {
            if storage.load_result(&id).await.expect("readable").is_some() {
                kept.push_str(&id);
            }
        }
        kept
    };
    for id in ["a", "b", "c", "d", "e"] {
        storage
            .settle_commands(vec![completed(id, json!(id))])
            .await
            .expect("settled");
    }
    assert_eq!(kept(&storage).await, "cde");
    // Settled again: the newer outcome.
    storage
        .settle_commands(vec![completed("d", json!("again"))])
        .await
        .expect("settled");
    let again = storage
        .load_result("d")
        .await
        .expect("readable")
        .expect("kept");
    assert_eq!(again.outcome, StoredOutcome::Completed(json!("again")));

    // It has taken no other's place, however often.
    for count in 1..4 {
        storage
            .settle_commands(vec![completed("e", json!(count))])
            .await
            .expect("settled");
    }
    assert_eq!(kept(&storage).await, "cde");
    // Several at once, and more of them than there may be.
    let many = ["d", "f", "f", "g", "a", "h"].map(|id| completed(id, json!(id)));
    storage
        .settle_commands(many.to_vec())
        .await
        .expect("settled");
    assert_eq!(kept(&storage).await, "agh");
    drop(storage);
    let storage = open(&directory).await.with_results(by_count);
    storage
        .settle_commands(vec![completed("b", json!(1))])
        .await
        .expect("settled");
    assert_eq!(kept(&storage).await, "abh");
    let none = by_count.with_max_count(0);
    let none = open(&directory).await.with_results(none);
    none.settle_commands(vec![completed("c", json!(1))])
        .await
        .expect("settled");
    assert_eq!(kept(&storage).await, "");

    // An old one is not read, and is deleted when the next one comes.
    let by_age = Retention::new().with_max_age(Duration::from_secs(3600));
    let aged = open(&directory).await.with_results(by_age);
    aged.clear_all().await.expect("cleared");
    assert_eq!(kept(&storage).await, "");
    let mut old = completed("a", json!(1));
    old.settled_at = Utc::now() - Duration::from_secs(7200);
    storage
        .settle_commands(vec![old, completed("b", json!(1))])
        .await
        .expect("settled");
    assert_eq!(
        (kept(&storage).await, kept(&aged).await),
        ("ab".into(), "b".into())
    );
    aged.settle_commands(vec![completed("c", json!(1))])
        .await
        .expect("settled");
    assert_eq!(kept(&storage).await, "bc");
}

#[tokio::test]
async fn a_history_is_kept_when_asked_for_and_within_bounds() {
    let directory = directory();
    let without = open(&directory).await;
    without.save_command(command("none")).await.expect("saved");
    let storage = open(&directory).await.with_history(Retention::new());
    storage
        .save_commands(vec![record(1), record(2)])
        .await
        .expect("saved");
    storage.start_command("1", 1).await.expect("noted");
    storage.requeue_command("1").await.expect("noted");
    storage.start_command("1", 1).await.expect("noted");
    storage
        .retry_command(RetryNote::new("1", failure(1)))
        .await
        .expect("noted");
    let mut failed = Settlement::new(
        "1",
        "mail",
        "skill",
        StoredOutcome::Failed {
            code: "TIMEOUT".into(),
            error: "too late".into(),
        },
    );
    failed.letter = Some(full_letter("1").into());
    storage
        .settle_commands(vec![failed, completed("2", json!(1))])
        .await
        .expect("settled");
    storage
        .revive_dead_letter(record(1))
        .await
        .expect("revived");

    let all = storage
        .load_history(&HistoryFilter::all())
        .await
        .expect("readable");
    let short: Vec<_> = all
        .iter()
        .map(|entry| {
            (
                &*entry.command_id,
                entry.event,
                entry.attempt,
                entry.code.as_deref(),
            )
        })
        .collect();
    use HistoryEvent::*;
    assert_eq!(
        short,
        [
            ("1", Submitted, None, None),
            ("2", Submitted, None, None),
            ("1", Requeued, None, None),
            ("1", Retried, Some(1), Some("TIMEOUT")),
            ("1", Failed, Some(3), Some("TIMEOUT")),
            ("2", Completed, None, None),
            ("1", Revived, None, None),
        ]
    );
    assert_eq!((&*all[3].lane_id, &*all[3].command_type), ("skill", "mail"));
    let of = storage
        .load_history(&HistoryFilter::of("2"))
        .await
        .expect("readable");
    assert_eq!(of, [all[1].clone(), all[5].clone()]);
    let page = HistoryFilter {
        after: Some(2),
        limit: Some(2),
        ..HistoryFilter::all()
    };
    let page = storage.load_history(&page).await.expect("readable");
    assert_eq!(page, all[2..4]);
    let lane = HistoryFilter {
        lane_id: Some("other".into()),
        ..HistoryFilter::all()
    };
    assert!(
        storage
            .load_history(&lane)
            .await
            .expect("readable")
            .is_empty()
    );
    let since = HistoryFilter {
        since: Some(all[6].at),
        ..HistoryFilter::all()
    };
    assert_eq!(
        storage.load_history(&since).await.expect("readable"),
        all[6..]
    );

    let two = Retention::new().with_max_count(2);
    let bounded = open(&directory).await.with_history(two);
    for id in 10..13 {
        bounded
            .save_commands(vec![record(id)])
            .await
            .expect("saved");
    }
    let left = storage
        .load_history(&HistoryFilter::all())
        .await
        .expect("readable");
    let numbers: Vec<_> = left.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [9, 10]);
    let none = Retention::new().with_max_age(Duration::ZERO);
    let aged = open(&directory).await.with_history(none);
    assert!(
        aged.load_history(&HistoryFilter::all())
            .await
            .expect("readable")
            .is_empty()
    );
}

/// A person has removed its row. Others whose changes are made together with its own must not fail.
#[tokio::test]
async fn a_row_that_is_gone_fails_nobody() {
    let directory = directory();
    let storage = open(&directory).await;
    for id in ["a", "b"] {
        storage.save_command(command(id)).await.expect("saved");
    }
    {
        let file = Connection::open(store(&directory).join("lanes.db")).expect("it opens");
        let removed = file.execute("DELETE FROM commands WHERE id = 'a'", []);
        assert_eq!(removed.expect("it is written"), 1);
    }
    let note = RetryNote::new("a", failure(3));
    storage.retry_command(note).await.expect("nothing to note");
    assert_eq!(command_ids(&storage).await, ["b"]);
    let mut again = CommandRecord::from(command("a"));
    again.without_payload = true;
    storage
        .save_commands(vec![again])
        .await
        .expect("it is there again");
    assert_eq!(command_ids(&storage).await, ["a", "b"]);
}
