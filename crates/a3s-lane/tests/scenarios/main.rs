//! Plays the behaviour tables of `tests/scenarios`, which the Python and Node suites play as well.

mod player;
mod table;

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use table::Scenario;

const SUBJECTS: [&str; 7] = [
    "errors",
    "events",
    "lifecycle",
    "limits",
    "order",
    "retries",
    "timeouts",
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios")
}

/// Plays all scenarios of a file, side by side.
async fn play_all(subject: &str) {
    let path = folder().join(subject).with_extension("json");
    let text = std::fs::read_to_string(&path).expect("the file can be read");
    let scenarios: Vec<Scenario> = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{subject}.json is not a list of scenarios: {error}"));
    let mut names = BTreeSet::new();
    let mut games = JoinSet::new();
    for scenario in scenarios {
        let (name, about) = (scenario.name.clone(), scenario.about.clone());
        assert!(
            names.insert(name.clone()),
            "two scenarios are called {name}"
        );
        games.spawn(async move {
            let outcome = player::play(scenario).await;
            outcome.map_err(|text| format!("{name} ({about})\n  {text}"))
        });
    }
    assert!(!games.is_empty(), "{subject}.json has no scenario");
    let outcomes = games.join_all().await;
    let failures: Vec<String> = outcomes.into_iter().filter_map(Result::err).collect();
    assert!(
        failures.is_empty(),
        "scenarios of {subject}.json failed:\n{}",
        failures.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors() {
    play_all("errors").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events() {
    play_all("events").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lifecycle() {
    play_all("lifecycle").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits() {
    play_all("limits").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order() {
    play_all("order").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries() {
    play_all("retries").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timeouts() {
    play_all("timeouts").await;
}

#[test]
fn every_file_is_played() {
    let files = std::fs::read_dir(folder()).expect("the folder can be read");
    let subjects: BTreeSet<String> = files
        .map(|file| file.expect("an entry can be read").path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    assert_eq!(subjects, SUBJECTS.map(str::to_owned).into());
}

/// A scenario that passes, with some fields replaced.
fn scenario_with(change: Value) -> serde_json::Result<Scenario> {
    let mut scenario = json!({
        "name": "right",
        "about": "One command runs.",
        "steps": [{"start": {}}, {"submit": {"as": "a", "lane": "query", "script": [[{"return": 1}]]}},
                  {"await": {"as": "a", "ok": 1}}]
    });
    let fields = change.as_object().expect("the change is an object").clone();
    scenario
        .as_object_mut()
        .expect("a scenario is an object")
        .extend(fields);
    serde_json::from_value(scenario)
}

#[tokio::test]
async fn the_player_refuses_what_is_different() {
    let right = scenario_with(json!({})).expect("a legal scenario");
    player::play(right).await.expect("the scenario passes");
    let submit = json!({"submit": {"as": "a", "lane": "query"}});
    for change in [
        json!({"steps": [{"start": {}}, submit, {"await": {"as": "a", "ok": 1}}]}),
        json!({"steps": [{"start": {}}, submit, {"await": {"as": "a", "error": "TIMEOUT"}}]}),
        json!({"steps": [{"start": {}}, submit, {"await": {"as": "a"}}]}),
        json!({"steps": [{"start": {}}, {"await": {"as": "nobody", "ok": null}}]}),
        json!({"steps": [{"submit": {"as": "a", "lane": "query", "error": "LANE_NOT_FOUND"}}]}),
        json!({"steps": [{"submit": {"as": "a", "lane": "nope"}}]}),
        json!({"steps": [{"echo": {"lane": "nope", "type": "t", "payload": 1}}]}),
        json!({"steps": [{"drain": {"timeout_ms": 1, "error": "TIMEOUT"}}]}),
        json!({"events": {"order": []}}),
        json!({"events": {"keys": ["queue.command.started"], "order": ["started b"]}}),
        json!({"events": {"each": {"a": ["started", "failed"]}}}),
        json!({"events": {"max_active": {"query": 2}}}),
    ] {
        let scenario = scenario_with(change.clone()).expect("a legal scenario");
        assert!(player::play(scenario).await.is_err(), "{change} passed");
    }
}

#[test]
fn unknown_words_are_refused() {
    for change in [
        json!({"tempo": 1}),
        json!({"steps": [{"dance": {}}]}),
        json!({"steps": [{"start": {"slowly": true}}]}),
        json!({"steps": [{"start": {}, "shutdown": {}}]}),
        json!({"steps": [{"submit": {"as": "a", "lane": "query", "script": [[{"jump": 1}]]}}]}),
        json!({"steps": [{"stats": {"lanes": {"query": {"length": 1}}}}]}),
        json!({"lanes": [{"id": "a", "priority": 0, "min": 1, "max": 1, "colour": "red"}]}),
        json!({"lanes": [{"id": "a", "priority": 256, "min": 1, "max": 1}]}),
        json!({"events": {"keys": [], "disorder": []}}),
    ] {
        assert!(scenario_with(change.clone()).is_err(), "{change} was read");
    }
}
