//! Options of single commands, and the keys of a configuration file that concern several commands or lanes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Done, Place, wait_until};

/// One lane of one slot, and more keys.
fn one(keys: &str) -> String {
    format!("[lanes.a]\npriority = 1\nmin_concurrency = 0\nmax_concurrency = 1\n{keys}\n")
}

fn echo(name: &str, options: Value) -> String {
    let line = json!({"lane": "a", "type": "echo", "payload": name, "options": options});
    format!("{line}\n")
}

fn sh(lane: &str, script: &str, options: Value) -> String {
    let payload = json!({"argv": ["sh", "-c", script], "timeout_ms": 60_000});
    let line = json!({"lane": lane, "type": "exec", "payload": payload, "options": options});
    format!("{line}\n")
}

/// The payloads of the commands, in the order of their first starts.
fn order(place: &Place, done: &Done) -> Vec<String> {
    let started = done
        .stderr
        .lines()
        .filter(|line| line.starts_with("started "));
    let lines =
        started.filter_map(|line| line.split("(line ").nth(1)?.strip_suffix(')')?.parse().ok());
    lines
        .map(|line| {
            place.result(line)["result"]
                .as_str()
                .unwrap_or("-")
                .to_owned()
        })
        .collect()
}

/// A run that succeeds and shows its starts.
fn run(place: &Place, lanes: &str, lines: &str) -> Vec<String> {
    let done = place.run_lanes(lanes, lines, &["--verbose"]);
    good(&done);
    order(place, &done)
}

fn good(done: &Done) {
    assert_eq!(done.code, 0, "{}\n{}", done.stderr, done.stdout);
}

#[test]
fn priority_and_key_decide_inside_the_lane() {
    let of = |key: &str| json!({ "key": key });
    let lines = [
        echo("b1", of("b")),
        echo("b2", of("b")),
        echo("a1", of("a")),
        echo("urgent", json!({ "priority": -1 })),
    ];
    let place = Place::new();
    assert_eq!(
        run(&place, &one(""), &lines.concat()),
        ["urgent", "b1", "a1", "b2"]
    );
    // Without options the order is that of the lines.
    let plain: String = ["b1", "b2", "a1"]
        .map(|name| echo(name, json!({})))
        .concat();
    assert_eq!(run(&place, &one(""), &plain), ["b1", "b2", "a1"]);
}

#[test]
fn key_weights_share_the_starts() {
    let lines =
        ["g1", "g2", "g3", "s1", "s2", "s3"].map(|name| echo(name, json!({ "key": name[..1] })));
    let place = Place::new();
    let lines = lines.concat();
    let even = ["g1", "s1", "g2", "s2", "g3", "s3"];
    assert_eq!(run(&place, &one(""), &lines), even);
    let mostly_s = ["g1", "s1", "s2", "s3", "g2", "g3"];
    assert_eq!(
        run(&place, &one("key_weights = { s = 3 }"), &lines),
        mostly_s
    );
}

#[test]
fn a_key_has_no_more_slots_than_it_may() {
    let lanes = |keys: &str| format!("[lanes.a]\npriority = 1\nmax_concurrency = 4\n{keys}\n");
    let alone = sh(
        "a",
        "mkdir busy && sleep 0.05 && rmdir busy",
        json!({ "key": "k" }),
    );
    let place = Place::new();
    good(&place.run_lanes(&lanes("max_concurrency_per_key = 1"), &alone.repeat(6), &[]));
    // The same commands get into each other's way when only the lane limits them.
    let meet = "mkdir first 2>/dev/null && until [ -e second ]; do sleep 0.02; done || : > second";
    good(&place.run_lanes(
        &lanes(""),
        &sh("a", meet, json!({ "key": "k" })).repeat(2),
        &[],
    ));
}

#[test]
fn a_delayed_command_starts_later() {
    let place = Place::new();
    let lines = [
        echo("later", json!({ "delay_ms": 60 })),
        echo("now", json!({})),
    ];
    assert_eq!(run(&place, &one(""), &lines.concat()), ["now", "later"]);
}

#[test]
fn a_command_waits_for_its_time_of_day() {
    let place = Place::new();
    let lines = [
        // Far ahead: it still waits when its time to live is over.
        echo(
            "ahead",
            json!({ "run_at": "2130-06-01T08:00:00Z", "ttl_ms": 60 }),
        ),
        echo("past", json!({ "run_at": "2001-06-01T08:00:00Z" })),
    ];
    let done = place.run_lanes(&one(""), &lines.concat(), &[]);
    assert_eq!(done.code, 1, "{}", done.stderr);
    let status = |line| place.result(line)["status"].clone();
    assert_eq!(
        (status(1), status(2)),
        (json!("expired"), json!("completed"))
    );
}

#[test]
fn a_command_has_retries_of_its_own() {
    let place = Place::new();
    let retry = |retries: u32| json!({ "max_retries": retries, "initial_delay_ms": 1 });
    // Fails the first time.
    let flaky = |name: &str| format!("mkdir {name} 2>/dev/null && exit 1 || true");
    let lines = [
        sh("a", &flaky("one"), json!({ "retry": retry(1) })),
        sh("a", &flaky("two"), json!({})),
    ];
    let done = place.run_lanes(&one(""), &lines.concat(), &[]);
    let result = |line, field: &str| place.result(line)[field].clone();
    assert_eq!(
        (result(1, "ok"), result(1, "attempts"), result(2, "ok")),
        (json!(true), json!(2), json!(false)),
        "{}",
        done.stderr
    );
    // None, although the lane has some.
    let lanes = one("retry = { max_retries = 3, initial_delay_ms = 1 }");
    let line = sh("a", "exit 1", json!({ "retry": retry(0) }));
    place.run_lanes(&lanes, &line, &[]);
    assert_eq!(result(1, "attempts"), 1);
}

#[test]
fn the_retries_of_a_command_follow_its_policy() {
    let place = Place::new();
    let took = |retry: Value| {
        let began = Instant::now();
        place.run_lanes(&one(""), &sh("a", "exit 1", json!({ "retry": retry })), &[]);
        assert_eq!(place.result(1)["attempts"], 3);
        began.elapsed()
    };
    let initial = json!({ "max_retries": 2, "initial_delay_ms": 400, "multiplier": 1 });
    assert!(took(initial) >= Duration::from_millis(800));
    let multiplier = json!({ "max_retries": 2, "initial_delay_ms": 1, "multiplier": 500 });
    assert!(took(multiplier) >= Duration::from_millis(501));
    // Were the cap ignored, the third attempt would come after the 30 s that are the default.
    let cap = json!({ "max_retries": 2, "initial_delay_ms": 1, "max_delay_ms": 1, "multiplier": 1_000_000 });
    assert!(took(cap) < Duration::from_secs(25));
}

#[test]
fn the_jitter_of_a_command_shortens_its_retries() {
    let place = Place::new();
    let line = |name: &str, retries: u32, jitter: &str| {
        let retry = json!({ "max_retries": retries, "initial_delay_ms": 60, "max_delay_ms": 60 });
        let options = json!({ "retry": retry, "retry_jitter": jitter });
        sh("a", &format!("echo {name} >> ends; exit 1"), options)
    };
    // The one with more back-offs ends first, because each is half as long on average.
    let lines = [line("exact", 25, "none"), line("short", 30, "full")].concat();
    let lanes = "[lanes.a]\npriority = 1\nmax_concurrency = 2\nretry_jitter = \"none\"\n";
    let done = place.run_lanes(lanes, &lines, &[]);
    assert_eq!(done.counts("a"), [0, 2, 0, 0, 55, 0], "{}", done.stderr);
    let ends = place.read("ends");
    assert_eq!(ends.lines().last(), Some("exact"), "{ends}");
}

#[test]
fn a_command_may_have_no_time_limit() {
    let place = Place::new();
    let lanes = one("timeout = \"200ms\"");
    let lines = [
        sh("a", "sleep 60", json!({ "no_timeout": false })),
        sh("a", "sleep 2", json!({ "no_timeout": true })),
    ];
    let done = place.run_lanes(&lanes, &lines.concat(), &[]);
    assert_eq!(done.counts("a"), [1, 0, 1, 0, 0, 0], "{}", done.stderr);
    assert_eq!(place.result(1)["code"], "TIMEOUT");
}

#[test]
fn a_command_expires_unrun() {
    let place = Place::new();
    // The first holds the only slot until the second has expired.
    let slow = sh(
        "a",
        "until grep -q expired results.jsonl; do sleep 0.02; done",
        json!({}),
    );
    let late = sh("a", ": > ran", json!({ "ttl_ms": 30, "priority": 1 }));
    let done = place.run_lanes(&one(""), &format!("{slow}{late}"), &[]);
    assert_eq!(done.code, 1, "{}", done.stderr);
    let result = place.result(2);
    assert_eq!(
        (&result["status"], &result["code"]),
        (&json!("expired"), &json!("EXPIRED"))
    );
    assert_eq!(result["attempts"], 0);
    assert!(!place.path("ran").exists());
    assert_eq!(done.counts("a"), [1, 1, 0, 0, 0, 0]);
    // Expected, it does not fail the run.
    let mut expected: Value = serde_json::from_str(&late).expect("it was written above");
    expected["expect"] = "expired".into();
    let place = Place::new();
    let done = place.run_lanes(&one(""), &format!("{slow}{expected}\n"), &[]);
    good(&done);
    assert_eq!(done.counts("a"), [1, 0, 0, 1, 0, 0]);
}

#[test]
fn a_command_has_time_limits_of_its_own() {
    let place = Place::new();
    let silent = "sleep 60";
    let busy = "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.2; done";
    let lines = [
        sh("a", silent, json!({ "timeout_ms": 50 })),
        sh("a", silent, json!({ "progress_timeout_ms": 50 })),
        // What it writes is a sign of life.
        sh("a", busy, json!({ "progress_timeout_ms": 1_500 })),
    ];
    let lanes = "[lanes.a]\npriority = 1\ntimeout = \"50s\"\n";
    let done = place.run_lanes(lanes, &lines.concat(), &[]);
    assert_eq!(done.code, 1, "{}", done.stderr);
    let code = |line| place.result(line)["code"].clone();
    assert_eq!(
        (code(1), code(2), code(3)),
        (json!("TIMEOUT"), json!("STALLED"), Value::Null)
    );
    assert_eq!(done.counts("a"), [1, 0, 2, 0, 0, 0]);
    // The lane's own.
    for keys in ["progress_timeout = \"50ms\"", "progress_timeout_ms = 50"] {
        let done = place.run_lanes(&one(keys), &sh("a", silent, json!({})), &[]);
        assert_eq!((done.code, code(1)), (1, json!("STALLED")), "{keys}");
    }
}

#[test]
fn ids_and_unique_keys_are_taken_once() {
    let place = Place::new();
    let unique = |rule: &str| json!({ "unique": { "key": "u", "on_conflict": rule } });
    let lines = [
        echo("one", json!({ "id": "x" })),
        echo("two", json!({ "id": "x" })),
        echo("first", json!({ "unique": "u" })),
        echo("second", json!({ "unique": "u" })),
        echo("joined", unique("join")),
        echo("newest", unique("replace")),
    ];
    let done = place.run_lanes(&one(""), &lines.concat(), &[]);
    assert_eq!(done.code, 1, "{}", done.stderr);
    let seen: Vec<Value> = (1..=6)
        .map(|line| {
            let result = place.result(line);
            if result["ok"] == true {
                result["result"].clone()
            } else {
                result["code"].clone()
            }
        })
        .collect();
    assert_eq!(
        seen,
        [
            "one",
            "DUPLICATE",
            "CANCELLED",
            "DUPLICATE",
            "CANCELLED",
            "newest"
        ]
    );
}

#[test]
fn a_unique_key_may_be_held_for_longer_than_its_command() {
    let code_of_the_second = |unique: Value| {
        let place = Place::new();
        place.write("lanes.toml", &one(""));
        let mut running = place.start(&["run", "-", "-c", "lanes.toml", "-o", "results.jsonl"]);
        running.send(&echo("first", json!({ "unique": unique })));
        wait_until("the first has ended", || {
            place.path("results.jsonl").exists() && !place.results().is_empty()
        });
        running.send(&echo("second", json!({ "unique": "u" })));
        running.finish();
        place.result(2)["code"].clone()
    };
    let held = json!({ "key": "u", "window_ms": 3_600_000 });
    assert_eq!(code_of_the_second(held), "DUPLICATE");
    assert_eq!(code_of_the_second(json!({ "key": "u" })), Value::Null);
}

#[test]
fn a_bounded_lane_refuses_waits_or_drops() {
    let place = Place::new();
    let lines: String = ["1", "2", "3"].map(|name| echo(name, json!({}))).concat();
    let codes = |place: &Place| {
        let code = |line| {
            place.result(line)["code"]
                .as_str()
                .unwrap_or("-")
                .to_owned()
        };
        [code(1), code(2), code(3)]
    };
    let done = place.run_lanes(&one("max_pending = 2"), &lines, &[]);
    assert_eq!(
        (done.code, codes(&place)),
        (1, ["-", "-", "LANE_FULL"].map(str::to_owned))
    );
    let done = place.run_lanes(
        &one("max_pending = 2\noverflow = \"drop_oldest\""),
        &lines,
        &[],
    );
    assert_eq!(
        (done.code, codes(&place)),
        (1, ["LANE_FULL", "-", "-"].map(str::to_owned))
    );
    // Reading waits, and the lanes start although the file is not read to its end.
    let waiting = one("max_pending = 1\noverflow = \"wait\"");
    assert_eq!(run(&place, &waiting, &lines), ["1", "2", "3"]);
}

#[test]
fn a_total_limits_all_lanes_and_keeps_the_minimums() {
    let alone = |lane: &str| sh(lane, "mkdir busy && sleep 0.05 && rmdir busy", json!({}));
    let lanes = |total: &str, min: u32| {
        format!(
            "{total}\n[lanes.a]\npriority = 1\nmin_concurrency = 0\n[lanes.b]\npriority = 2\nmin_concurrency = {min}\n"
        )
    };
    let place = Place::new();
    let lines = format!("{}{}", alone("a"), alone("b")).repeat(3);
    good(&place.run_lanes(&lanes("[queue]\nmax_concurrency = 1", 0), &lines, &[]));
    // The slot of `b` is kept for it, though `a` is more urgent and fills the rest.
    let wait = sh("a", "until [ -e go ]; do sleep 0.02; done", json!({}));
    let lines = format!("{}{}", wait.repeat(3), sh("b", ": > go", json!({})));
    good(&Place::new().run_lanes(&lanes("[queue]\nmax_concurrency = 2", 1), &lines, &[]));
}

/// What a batch command says that runs for `ticks` of 20 ms, while an urgent one wants the only slot of the total.
fn batch_says(keys: &str, options: Value, ticks: u32) -> (Value, Done) {
    let place = Place::new();
    let batch = format!(
        "[ -e asked ] && echo resumed && exit; trap ': > asked; exit 1' TERM; : > ready; for i in $(seq {ticks}); do sleep 0.02; done; echo undisturbed"
    );
    let lanes = format!(
        "[queue]\nmax_concurrency = 1\n[lanes.urgent]\npriority = 0\nmin_concurrency = 0\n[lanes.batch]\npriority = 9\nmin_concurrency = 0\n{keys}\n"
    );
    place.write("lanes.toml", &lanes);
    let mut running = place.start(&["run", "-", "-c", "lanes.toml", "-o", "results.jsonl"]);
    running.send(&sh("batch", &batch, options));
    wait_until("the batch command runs", || place.path("ready").exists());
    running.send(&sh("urgent", "true", json!({})));
    let done = running.finish();
    let result = place.result(1);
    // A stopped attempt does not count.
    assert_eq!(result["attempts"], 1, "{result}");
    (result["result"]["stdout"].clone(), done)
}

#[test]
fn a_preemptible_lane_makes_room_and_runs_again() {
    let keys = "preemptible = true\ngrace = \"60s\"";
    let (said, done) = batch_says(keys, json!({}), 3_000);
    good(&done);
    assert_eq!(said, "resumed\n");
    assert_eq!(done.counts("batch"), [1, 0, 0, 0, 0, 0]);
    assert!(
        done.stderr.contains("it made room for a more urgent lane"),
        "{}",
        done.stderr
    );
    let (said, done) = batch_says("preemptible = true\ngrace_ms = 60000", json!({}), 3_000);
    good(&done);
    assert_eq!(said, "resumed\n");
    // Neither a lane that is not preemptible nor a command that opts out.
    for (keys, options) in [
        ("grace = \"60s\"", json!({})),
        (keys, json!({ "preemptible": false })),
    ] {
        let (said, done) = batch_says(keys, options, 15);
        good(&done);
        assert_eq!(said, "undisturbed\n", "{keys}");
    }
}

#[test]
fn limiters_are_shared_and_keep_a_reserve() {
    let lanes = |limiter: &str| {
        format!(
            "[lanes.a]\npriority = 0\nlimiters = [\"t\"]\n[lanes.b]\npriority = 5\nlimiters = [\"t\"]\n[limiters.t]\nwindow_ms = 3600000\n{limiter}\n"
        )
    };
    let line = |lane: &str, cost: u64| {
        format!(
            "{}\n",
            json!({"lane": lane, "type": "echo", "options": {"cost": cost, "ttl_ms": 300}})
        )
    };
    let run = |limiter: &str| {
        let place = Place::new();
        place.run_lanes(&lanes(limiter), &[line("a", 6), line("b", 3)].concat(), &[]);
        [1, 2].map(|number| {
            place.result(number)["status"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
    };
    let (both, first) = (["completed", "completed"], ["completed", "expired"]);
    assert_eq!(run("max_commands = 10"), both);
    assert_eq!(run("max_commands = 8"), first);
    assert_eq!(run("max_commands = 8\nburst = 9"), both);
    assert_eq!(run("max_commands = 8\nkind = \"sliding_window\""), first);
    assert_eq!(run("max_commands = 2\ncounts = \"commands\""), both);
    assert_eq!(run("max_commands = 1\ncounts = \"commands\""), first);
    assert_eq!(
        run("max_commands = 10\nreserve = { amount = 2, urgent_up_to = 0 }"),
        first
    );
    assert_eq!(
        run("max_commands = 10\nreserve = { amount = 2, urgent_up_to = 5 }"),
        both
    );
}

#[test]
fn a_sliding_window_waits_for_its_whole_length() {
    let place = Place::new();
    let lanes = one("limiters = [\"t\"]")
        + "[limiters.t]\nkind = \"sliding_window\"\nmax_commands = 2\nwindow_ms = 600\n";
    good(&place.run_lanes(&lanes, &echo("x", json!({})).repeat(3), &[]));
    // A bucket would have another token after the half of it.
    assert!(place.result(3)["wait_ms"].as_f64() >= Some(590.0));
}

#[test]
fn lanes_shows_all_of_it() {
    let place = Place::new();
    let keys = "max_pending = 7\noverflow = \"wait\"\npreemptible = true\ngrace_ms = 1500\nprogress_timeout = \"30s\"\nmax_concurrency_per_key = 2\nkey_weights = { gold = 3 }\nretry_jitter = \"full\"\nlimiters = [\"t\"]";
    let limiter = "[limiters.t]\nmax_commands = 5\nwindow_ms = 1000\nburst = 3\ncounts = \"commands\"\nreserve = { amount = 1, urgent_up_to = 4 }";
    place.write(
        "lanes.toml",
        &format!("{}{limiter}\n[queue]\nmax_concurrency = 6\n", one(keys)),
    );
    let shown = place.run(&["lanes", "-c", "lanes.toml"]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    for line in [
        "a: max_pending 7 (wait), preemptible, grace 1500ms, progress_timeout 30s, max_concurrency_per_key 2, weight of gold 3, retry_jitter full, limiter t",
        "at once over all lanes: 6",
        "limiter t: 5 per 1s, burst 3, counts commands, 1 kept for priorities up to 4",
    ] {
        assert!(
            shown.stdout.lines().any(|shown| shown == line),
            "{line}\n{}",
            shown.stdout
        );
    }
}

#[test]
fn an_unknown_option_is_refused_with_the_line() {
    let place = Place::new();
    let done = place.run_lanes(
        &one(""),
        &format!(
            "{}{}",
            echo("good", json!({})),
            echo("bad", json!({ "delay": 5 }))
        ),
        &["--verbose"],
    );
    assert_eq!(done.code, 1);
    let text = "refused   line 2: options.delay: unknown option; options are id, priority, ";
    assert!(done.stderr.contains(text), "{}", done.stderr);
    assert_eq!(order(&place, &done), ["good"]);
}
