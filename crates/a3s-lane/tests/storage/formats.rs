//! Files of every format that was released are read.
//!
//! `fixtures/format-1.db` was made by the code of format 1. When the format changes, run `write_the_fixture` first, with the code of the
//! format before. `0.4-*.json` were written by the published crate a3s-lane 0.4.0, its `LocalStorage` called from outside.

use std::path::{Path, PathBuf};

use a3s_lane::storage::{
    DeadLetterFilter, DeadLetterRecord, FailedAttempt, HistoryFilter, LocalStorage, Retention,
    RetryNote, Settlement, Storage, StoredCommand, StoredDeadLetter, StoredOutcome,
};
use chrono::Duration;
use serde_json::json;

use super::{close, open, record, time};

fn fixture(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/storage/fixtures");
    fixtures.join(name)
}

/// A directory with copies of these files.
fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (name, as_name) in files {
        std::fs::copy(fixture(name), directory.path().join(as_name)).expect("copied");
    }
    directory
}

async fn pending(storage: &LocalStorage) -> String {
    let page = storage.load_page(None, 100).await.expect("readable");
    let ids = page.records.into_iter().map(|record| record.command.id);
    ids.collect::<Vec<_>>().join(" ")
}

fn letter(number: i64) -> DeadLetterRecord {
    StoredDeadLetter {
        command_id: format!("dead-{number}"),
        command_type: "mail".into(),
        lane_id: "odd".into(),
        error: "no route to host".into(),
        attempts: 3,
        failed_at: time() + Duration::hours(number),
    }
    .into()
}

#[tokio::test]
async fn format_1() {
    let directory = directory(&[("format-1.db", "lanes.db")]);
    let found = LocalStorage::inspect(directory.path().to_owned()).await;
    let found = found.expect("an older file can be looked at");
    assert_eq!((found.format, found.pending, found.dead_letters), (1, 4, 2));
    // Twice: it is brought to the present format, and is then of that.
    for _ in 0..2 {
        let storage = open(directory.path()).await;
        assert_eq!(
            pending(&storage).await,
            "command-1 command-2 command-4 command-5"
        );
        for number in [1, 2, 4, 5] {
            let id = format!("command-{number}");
            let found = storage.load_command(&id).await.expect("readable");
            let found = found.expect("it is there");
            let command = &found.command;
            assert_eq!(command.payload, json!({"n": number, "to": "you \u{1F980}"}));
            assert_eq!(
                command.lane_id,
                if number % 2 == 0 { "even" } else { "odd" }
            );
            assert_eq!(command.command_type, "mail");
            assert_eq!(i64::from(command.retry_count), number - 1);
            assert_eq!(command.created_at, time() + Duration::seconds(number));
            let last = (number > 1).then(|| time() + Duration::minutes(number));
            assert_eq!(command.last_attempt_at, last);
            assert_eq!(found.options, record("").options);
            assert_eq!(
                (found.crashes, found.due_at, found.failures.len()),
                (0, None, 0)
            );
        }
        let letters = storage.find_dead_letters(&DeadLetterFilter::all()).await;
        assert_eq!(letters.expect("readable"), [letter(1), letter(2)]);
        close(storage, directory.path());
    }
    let found = LocalStorage::inspect(directory.path().to_owned()).await;
    let found = found.expect("readable");
    assert_eq!((found.format, found.problems.len()), (2, 0));
    let storage = open(directory.path()).await;
    storage
        .save_commands(vec![record("new")])
        .await
        .expect("saved");
    assert!(pending(&storage).await.ends_with("command-5 new"));
}

/// The two JSON files of a3s-lane 0.4 are imported once, and kept aside.
#[tokio::test]
async fn format_of_0_4() {
    let files = [
        ("0.4-commands.json", "commands.json"),
        ("0.4-dead_letters.json", "dead_letters.json"),
    ];
    let directory = directory(&files);
    for _ in 0..2 {
        let storage = open(directory.path()).await;
        assert_eq!(pending(&storage).await, "command-1 command-2 command-3");
        for number in 1..=3 {
            let found = storage.load_command(&format!("command-{number}")).await;
            let found = found.expect("readable").expect("it is there");
            let full = json!({"n": number, "to": "you \u{1F980}"});
            let expected = StoredCommand {
                payload: if number == 1 { json!({}) } else { full },
                retry_count: u32::try_from(number - 1).expect("small"),
                created_at: time() + Duration::seconds(number),
                last_attempt_at: (number > 1).then(|| time() + Duration::minutes(number)),
                ..super::command(format!("command-{number}"))
            };
            assert_eq!(json!(found.command), json!(expected));
            assert_eq!((found.crashes, found.due_at), (0, None));
            assert_eq!(found.options, record("").options);
        }
        let letters = storage.find_dead_letters(&DeadLetterFilter::all()).await;
        assert_eq!(letters.expect("readable"), [letter(1), letter(2)]);
        close(storage, directory.path());
    }
    for (name, as_name) in files {
        let aside = directory.path().join(format!("{as_name}.imported"));
        let aside = std::fs::read(aside).expect("kept aside");
        assert_eq!(aside, std::fs::read(fixture(name)).expect("readable"));
        assert!(!directory.path().join(as_name).exists());
    }
}

/// The tables of a file as it describes them, and its format.
fn schema(file: &Path) -> (Vec<String>, i32) {
    let file = rusqlite::Connection::open(file).expect("it opens");
    let mut query = file
        .prepare("SELECT sql FROM sqlite_schema ORDER BY name")
        .expect("it is a database");
    let texts = query.query_map((), |row| row.get::<_, String>(0));
    let words = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let texts = texts
        .expect("readable")
        .map(|text| words(text.expect("text")));
    let format = file.pragma_query_value(None, "user_version", |row| row.get(0));
    (texts.collect(), format.expect("readable"))
}

/// Whoever changes the tables gives them a new format, and a fixture of it.
#[tokio::test]
async fn a_format_has_one_schema() {
    let new = tempfile::tempdir().expect("a temporary directory");
    close(open(new.path()).await, new.path());
    let (tables, format) = schema(&new.path().join("lanes.db"));
    let committed = format!("format-{format}.db");
    // A copy: SQLite may leave files beside it.
    let committed = directory(&[(&committed, "lanes.db")]);
    let (expected, named) = schema(&committed.path().join("lanes.db"));
    assert_eq!((tables.len(), named), (4, format));
    assert_eq!(tables, expected);
    // An older file that is brought to it has the same.
    let older = directory(&[("format-1.db", "lanes.db")]);
    close(open(older.path()).await, older.path());
    assert_eq!(schema(&older.path().join("lanes.db")), (tables, format));
}

fn failure() -> FailedAttempt {
    let mut failure = FailedAttempt::new(1, "TIMEOUT", "too late", time());
    failure.traceback = Some("line 1".into());
    failure
}

/// Writes everything that the present format can hold.
async fn fill(storage: &LocalStorage) {
    let mut full = record("command-1");
    full.options.key = Some("tenant".into());
    full.options.cost = 7;
    full.crashes = 1;
    full.due_at = Some(time());
    let records = vec![
        full,
        record("command-2"),
        record("settled"),
        record("started"),
    ];
    storage.save_commands(records).await.expect("saved");
    let mut note = RetryNote::new("command-2", failure());
    note.due_at = Some(time());
    storage.retry_command(note).await.expect("noted");
    storage.start_command("started", 1).await.expect("noted");
    let completed = StoredOutcome::Completed(json!([1]));
    let mut settled = Settlement::new("settled", "mail", "skill", completed);
    settled.settled_at = time();
    let failed = StoredOutcome::Failed {
        code: "TIMEOUT".into(),
        error: "too late".into(),
    };
    let mut dead = Settlement::new("dead-1", "mail", "odd", failed);
    dead.settled_at = time();
    let mut full = letter(1);
    full.payload = Some(json!({"n": 1}));
    full.options.cost = 7;
    full.code = "TIMEOUT".into();
    full.traceback = Some("line 1".into());
    full.failures = vec![failure()];
    dead.letter = Some(full.into());
    storage
        .settle_commands(vec![settled, dead])
        .await
        .expect("settled");
}

fn for_ever(storage: LocalStorage) -> LocalStorage {
    let for_ever = Retention::new().with_max_age(std::time::Duration::MAX);
    storage.with_results(for_ever).with_history(for_ever)
}

#[tokio::test]
#[ignore = "makes the fixture of the present format"]
async fn write_the_fixture() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let storage = for_ever(open(directory.path()).await);
    fill(&storage).await;
    close(storage, directory.path());
    for (name, as_name) in FORMAT_2 {
        std::fs::copy(directory.path().join(as_name), fixture(name)).expect("copied");
    }
}

const FORMAT_2: [(&str, &str); 2] = [("format-2.db", "lanes.db"), ("format-2.running", "running")];

#[tokio::test]
async fn format_2() {
    let directory = directory(&FORMAT_2);
    let found = LocalStorage::inspect(directory.path().to_owned()).await;
    let found = found.expect("readable");
    assert_eq!((found.format, found.pending, found.running), (2, 3, 1));
    assert_eq!(
        (found.dead_letters, found.results, found.history),
        (1, 2, 7)
    );
    let storage = for_ever(open(directory.path()).await);
    assert_eq!(pending(&storage).await, "command-1 command-2 started");
    let load = async |id: &str| {
        let found = storage.load_command(id).await.expect("readable");
        found.expect("it is there")
    };
    let one = load("command-1").await;
    assert_eq!(one.options.key.as_deref(), Some("tenant"));
    assert_eq!(
        (one.options.cost, one.crashes, one.due_at),
        (7, 1, Some(time()))
    );
    assert_eq!(one.command.payload["to"], "you");
    let two = load("command-2").await;
    assert_eq!((two.command.retry_count, two.due_at), (1, Some(time())));
    assert_eq!(two.failures, [failure()]);
    let started = load("started").await;
    assert_eq!((started.command.retry_count, started.crashes), (1, 1));
    let letters = storage.find_dead_letters(&DeadLetterFilter::all()).await;
    let letters = letters.expect("readable");
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].payload, Some(json!({"n": 1})));
    assert_eq!((letters[0].options.cost, &*letters[0].code), (7, "TIMEOUT"));
    assert_eq!(letters[0].traceback.as_deref(), Some("line 1"));
    assert_eq!(letters[0].failures, [failure()]);
    let result = storage.load_result("settled").await.expect("readable");
    let result = result.expect("kept");
    assert_eq!(result.outcome, StoredOutcome::Completed(json!([1])));
    assert_eq!(result.settled_at, time());
    let dead = storage.load_result("dead-1").await.expect("readable");
    assert!(
        matches!(dead.expect("kept").outcome, StoredOutcome::Failed { code, .. } if code == "TIMEOUT")
    );
    let history = storage.load_history(&HistoryFilter::all()).await;
    // And the crash.
    assert_eq!(history.expect("readable").len(), 8);
}
