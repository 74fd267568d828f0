//! Plays the behaviour tables of `tests/scenarios`, which the Python and Node suites play as well.
#![cfg(feature = "distributed")]

mod bodies;
mod events;
mod player;
mod settings;
mod table;

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use bodies::Written;
use table::Scenario;

const SUBJECTS: [&str; 20] = [
    "admission",
    "cancel",
    "control",
    "errors",
    "events",
    "explain",
    "handles",
    "keys",
    "lifecycle",
    "limiters",
    "limits",
    "nested",
    "options",
    "order",
    "preemption",
    "retries",
    "shutdown_within",
    "testing",
    "timeouts",
    "total_limit",
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios")
}

/// Plays all scenarios of a file in every way, side by side.
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
        for written in Written::WAYS {
            let scenario = scenario.clone();
            let (name, about) = (name.clone(), about.clone());
            games.spawn(async move {
                let outcome = player::play(scenario, written).await;
                outcome.map_err(|text| format!("{name} ({about}), {written:?}\n  {text}"))
            });
        }
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
async fn admission() {
    play_all("admission").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel() {
    play_all("cancel").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control() {
    play_all("control").await;
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
async fn explain() {
    play_all("explain").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles() {
    play_all("handles").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys() {
    play_all("keys").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lifecycle() {
    play_all("lifecycle").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limiters() {
    play_all("limiters").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits() {
    play_all("limits").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nested() {
    play_all("nested").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options() {
    play_all("options").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order() {
    play_all("order").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preemption() {
    play_all("preemption").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries() {
    play_all("retries").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_within() {
    play_all("shutdown_within").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn testing() {
    play_all("testing").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timeouts() {
    play_all("timeouts").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn total_limit() {
    play_all("total_limit").await;
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
    player::play(right, Written::Command)
        .await
        .expect("the scenario passes");
    let submit = json!({"submit": {"as": "a", "lane": "query"}});
    let held = json!({"submit": {"as": "a", "lane": "query", "options": {}}});
    let quick =
        json!({"submit": {"as": "a", "lane": "query", "script": [[{"emit": 1}]], "options": {}}});
    let steps = |steps: Value| json!({"steps": steps});
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
        steps(json!([{"submit": {"as": "a", "lane": "query", "options": {}, "joins": "b"}}])),
        steps(
            json!([{"submit": {"as": "a", "lane": "query", "options": {"id": "x"}, "error": "DUPLICATE"}}]),
        ),
        steps(
            json!([{"submit_many": {"lane": "query", "commands": [{"as": "a", "error": "DUPLICATE"}]}}]),
        ),
        steps(json!([held, {"cancel": {"as": "a", "found": false}}])),
        steps(json!([held, {"cancel": {"lane": "query", "count": 2}}])),
        steps(json!([held, {"cancel": {"key": "k", "count": 1}}])),
        steps(json!([held, {"cancel": {"as": "a", "count": 1}}])),
        steps(json!([held, {"cancel": {"as": "nobody"}}])),
        steps(json!([held, {"pause": {"lane": "nope"}}])),
        steps(json!([held, {"resume": {"lane": "nope"}}])),
        steps(json!([{"set_lane": {"id": "query", "priority": 0, "min": 1, "max": 0}}])),
        steps(
            json!([{"set_lane": {"id": "query", "priority": 0, "min": 1, "max": 1, "error": "CONFIG_ERROR"}}]),
        ),
        steps(json!([{"remove_lane": {"id": "query", "error": "QUEUE_ERROR"}}])),
        steps(json!([{"set_max_concurrency": {"total": 0}}])),
        steps(json!([{"set_limiter": {"name": "nobody", "max_commands": 1, "window_ms": 1}}])),
        steps(json!([held, {"shutdown_within": {"timeout_ms": 1}}])),
        steps(
            json!([held, {"shutdown_within": {"timeout_ms": 1, "pending": ["a"], "stopped": ["a"]}}]),
        ),
        steps(json!([{"start": {}}, quick, {"chunks": {"as": "a", "are": [2]}}])),
        steps(json!([held, {"status": {"as": "a", "is": "running", "now": true}}])),
        steps(json!([{"advance_ms": 1}])),
        steps(
            json!([{"start": {}}, {"pause": {"lane": "query"}}, held, {"drain_now": {"left": 0}}]),
        ),
        steps(json!([held, {"submitted": {"lane": "query", "type": "a", "found": false}}])),
        steps(json!([held, {"submitted": {"lane": "query", "type": "b"}}])),
        steps(json!([held, {"submitted": {"lane": "query", "type": "a", "payload": 1}}])),
    ] {
        let scenario = scenario_with(change.clone()).expect("a legal scenario");
        assert!(
            player::play(scenario, Written::Command).await.is_err(),
            "{change} passed"
        );
    }
}

/// What a step looks for may take a while to come true: these scenarios fail after ten seconds.
#[tokio::test(start_paused = true)]
async fn what_never_comes_true_is_different() {
    let submit = json!({"submit": {"as": "a", "lane": "query", "script": [[{"progress": 1}]], "options": {}}});
    let held_first = json!({"submit": {"as": "first", "lane": "query"}});
    for expected in [
        json!({"status": {"as": "a", "is": "cancelled"}}),
        json!({"explain": {"as": "a", "reasons": ["lane_full"]}}),
        json!({"explain": {"as": "a", "reasons": []}}),
        json!({"progress": {"as": "a", "is": 2}}),
        json!({"stats": {"total_pending": 1}}),
        json!({"snapshot": {"pending": 1}}),
        json!({"snapshot": {"colour": "red"}}),
        json!({"snapshot": {"lanes": []}}),
    ] {
        let steps =
            json!({"steps": [{"start": {}}, submit, {"await": {"as": "a", "ok": null}}, expected]});
        let scenario = scenario_with(steps).expect("a legal scenario");
        assert!(
            player::play(scenario, Written::Command).await.is_err(),
            "{expected} passed"
        );
    }
    for wrong in [
        json!({"as": "a", "none": true}),
        json!({"as": "a", "reasons": [{"reason": "behind", "commands": 2}, "not_started"]}),
        json!({"as": "a", "reasons": [{"reason": "behind", "commands": 1}]}),
    ] {
        let steps = json!([held_first, submit, {"explain": wrong}]);
        let scenario = scenario_with(json!({"steps": steps})).expect("a legal scenario");
        assert!(
            player::play(scenario, Written::Command).await.is_err(),
            "{wrong} passed"
        );
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
        json!({"lanes": [{"id": "a", "priority": 0, "min": 1, "max": 1, "error": "CONFIG_ERROR"}]}),
        json!({"lanes": [{"id": "a", "priority": 0, "min": 1, "max": 1, "overflow": "panic"}]}),
        json!({"limiters": {"a": {"max_commands": 1, "window_ms": 1, "algorithm": "guess"}}}),
        json!({"steps": [{"submit": {"as": "a", "lane": "query", "options": {"colour": "red"}}}]}),
        json!({"steps": [{"submit_many": {"lane": "query", "commands": [{"as": "a", "lane": "query"}]}}]}),
        json!({"steps": [{"set_lane": {"id": "a", "priority": 0, "min": 1, "max": 1, "colour": "red"}}]}),
        json!({"steps": [{"set_limiter": {"max_commands": 1, "window_ms": 1}}]}),
        json!({"steps": [{"set_limiter": {"name": "a", "max_commands": 1, "window_ms": 1, "colour": "red"}}]}),
        json!({"steps": [{"set_max_concurrency": {}}]}),
        json!({"steps": [{"pause": {"lane": "a", "key": "k"}}]}),
        json!({"steps": [{"shutdown_within": {"timeout_ms": 1, "left": []}}]}),
        json!({"events": {"keys": [], "disorder": []}}),
        json!({"clock": "sundial"}),
        json!({"steps": [{"drain_now": {}}]}),
        json!({"steps": [{"submitted": {"lane": "query", "type": "a", "colour": "red"}}]}),
        json!({"steps": [{"explain": {"as": "a", "reasons": [{"commands": 1}]}}]}),
    ] {
        assert!(scenario_with(change.clone()).is_err(), "{change} was read");
    }
}
