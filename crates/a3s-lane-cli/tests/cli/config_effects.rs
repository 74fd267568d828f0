//! Every key of a configuration file changes what happens.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Done, Place};

fn sh(lane: &str, script: &str) -> String {
    let payload = json!({"argv": ["sh", "-c", script], "timeout_ms": 60_000});
    format!(
        "{}\n",
        json!({"lane": lane, "type": "exec", "payload": payload})
    )
}

fn echo(lane: &str) -> String {
    format!("{{\"lane\":\"{lane}\",\"type\":\"echo\"}}\n")
}

/// The lane `a` with the given keys.
fn lane(keys: &str) -> String {
    format!("[lanes.a]\npriority = 1\n{keys}\n")
}

/// The lanes of the commands in the order of their first start.
fn starts(done: &Done) -> Vec<String> {
    let lines = done
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("started   "));
    lines
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn priority_decides_who_goes_first() {
    for (a, b, order) in [(7, 3, ["b", "a"]), (3, 7, ["a", "b"])] {
        let lanes = format!("[lanes.a]\npriority = {a}\n[lanes.b]\npriority = {b}\n");
        // The line that comes first in the file is the one that must wait.
        let lines = format!("{}{}", echo(order[1]), echo(order[0]));
        let done = Place::new().run_lanes(&lanes, &lines, &["--verbose"]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        assert_eq!(starts(&done), order);
        let shown: Vec<_> = done
            .stdout
            .lines()
            .skip(1)
            .take(2)
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        assert_eq!(shown, order, "{}", done.stdout);
    }
}

#[test]
fn boost_lifts_a_lane_over_a_more_urgent_one() {
    let hour = 3_600_000;
    for (boost, order) in [
        (String::new(), ["b", "a"]),
        // An hour is left from the start, so the step applies at once and lifts 7 to 2.
        (
            format!(
                "boost = {{ deadline_ms = {hour}, steps = [{{ remaining_ms = {hour}, raise = 5 }}] }}"
            ),
            ["a", "b"],
        ),
        (
            format!(
                "boost = {{ deadline_ms = {hour}, steps = [{{ remaining_ms = {hour}, raise = 1 }}] }}"
            ),
            ["b", "a"],
        ),
        (
            format!(
                "boost = {{ deadline_ms = {hour}, steps = [{{ remaining_ms = 1, raise = 5 }}] }}"
            ),
            ["b", "a"],
        ),
    ] {
        let lanes = format!("[lanes.a]\npriority = 7\n{boost}\n[lanes.b]\npriority = 3\n");
        let done = Place::new().run_lanes(
            &lanes,
            &format!("{}{}", echo("b"), echo("a")),
            &["--verbose"],
        );
        assert_eq!(done.code, 0, "{}", done.stderr);
        assert_eq!(starts(&done), order, "{boost}");
    }
}

#[test]
fn the_curves_of_a_boost_are_followed() {
    let lanes = |deadline_ms: u64| {
        let boost =
            |curve: &str| format!("boost = {{ deadline_ms = {deadline_ms}, curve = \"{curve}\" }}");
        // After three fifths of the deadline `steep` is at 11 - 6 or less, `gentle` at 10 - 2 or less, and never below `steep`.
        [
            ("gate", 0, String::new()),
            ("plain", 9, String::new()),
            ("gentle", 10, boost("standard")),
            ("steep", 11, boost("aggressive")),
        ]
        .map(|(name, priority, boost)| {
            format!("[lanes.{name}]\npriority = {priority}\nmin_concurrency = 0\n{boost}\n")
        })
        .concat()
    };
    // Past the deadline both are at 0. A machine that was so slow gets more time.
    for deadline_ms in [2_000, 10_000, 50_000] {
        let gate = format!(
            "sleep {}",
            Duration::from_millis(deadline_ms * 3 / 5).as_secs_f64()
        );
        let lines = sh("gate", &gate) + &["plain", "gentle", "steep"].map(echo).concat();
        let lanes = format!("[queue]\nmax_concurrency = 1\n{}", lanes(deadline_ms));
        let began = Instant::now();
        let done = Place::new().run_lanes(&lanes, &lines, &["--verbose"]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        if began.elapsed() < Duration::from_millis(deadline_ms) {
            assert_eq!(starts(&done), ["gate", "steep", "gentle", "plain"]);
            return;
        }
    }
    panic!("no run has ended before its deadline");
}

/// Completes only when `count` of them run at the same time.
fn meet(count: usize) -> String {
    let script = format!(
        ": > \"here-$$\"; while [ \"$(ls here-* | wc -l)\" -lt {count} ]; do sleep 0.02; done"
    );
    sh("a", &script)
}

#[test]
fn max_concurrency_lets_that_many_run_at_once() {
    let done = Place::new().run_lanes(&lane("max_concurrency = 6"), &meet(6).repeat(6), &[]);
    assert_eq!(done.counts("a"), [6, 0, 0, 0, 0, 0], "{}", done.stderr);
    // The default is four.
    let done = Place::new().run_lanes(&lane(""), &meet(4).repeat(4), &[]);
    assert_eq!(done.counts("a"), [4, 0, 0, 0, 0, 0], "{}", done.stderr);
}

#[test]
fn max_concurrency_lets_no_more_run() {
    let alone = sh("a", "mkdir busy && sleep 0.05 && rmdir busy");
    let done = Place::new().run_lanes(&lane("max_concurrency = 1"), &alone.repeat(8), &[]);
    assert_eq!(done.counts("a"), [8, 0, 0, 0, 0, 0], "{}", done.stderr);
}

#[test]
fn min_concurrency_raises_the_default_maximum_and_is_shown() {
    let place = Place::new();
    place.write("lanes.toml", &lane("min_concurrency = 9"));
    let done = place.run(&["lanes", "-c", "lanes.toml"]);
    assert_eq!(done.row("a")[..4], ["a", "1", "9", "9"]);
}

#[test]
fn both_spellings_of_timeout_end_an_attempt() {
    for key in ["timeout = \"100ms\"", "timeout_ms = 100"] {
        let place = Place::new();
        let done = place.run_lanes(&lane(key), &sh("a", "sleep 30"), &[]);
        assert_eq!(done.code, 1);
        assert_eq!(
            place.result(1)["error"],
            "Command timed out after 100ms",
            "{key}"
        );
        assert_eq!(done.counts("a"), [0, 0, 1, 0, 0, 0], "{key}");
    }
}

fn attempts_of_failure(retry: &str) -> (Value, Duration) {
    let place = Place::new();
    let began = Instant::now();
    let done = place.run_lanes(&lane(retry), &sh("a", "exit 1"), &[]);
    let took = began.elapsed();
    assert_eq!(done.code, 1, "{}", done.stderr);
    (place.result(1)["attempts"].clone(), took)
}

#[test]
fn max_retries_limits_the_attempts() {
    assert_eq!(attempts_of_failure("").0, 1);
    for retries in [0, 1, 4] {
        let retry = format!("retry = {{ max_retries = {retries}, initial_delay_ms = 1 }}");
        assert_eq!(attempts_of_failure(&retry).0, retries + 1);
    }
}

#[test]
fn delays_between_attempts_follow_the_policy() {
    let initial = "retry = { max_retries = 1, initial_delay_ms = 1000 }";
    assert!(attempts_of_failure(initial).1 >= Duration::from_millis(1_000));
    let multiplier = "retry = { max_retries = 2, initial_delay_ms = 10, max_delay_ms = 1000, multiplier = 1000 }";
    assert!(attempts_of_failure(multiplier).1 >= Duration::from_millis(1_010));
    // Were the cap ignored, the third attempt would come after the 30 s that are the default.
    let cap = "retry = { max_retries = 2, initial_delay_ms = 100, max_delay_ms = 100, multiplier = 1000000 }";
    let (attempts, took) = attempts_of_failure(cap);
    assert_eq!(attempts, 3);
    assert!(took < Duration::from_secs(25), "{took:?}");
}

#[test]
fn retry_jitter_shortens_the_delays_of_the_lane() {
    let lane = |name: &str, delay_ms: u32, jitter: &str| {
        format!(
            "[lanes.{name}]\npriority = 1\nmax_concurrency = 30\nretry_jitter = \"{jitter}\"\nretry = {{ max_retries = 1, initial_delay_ms = {delay_ms} }}\n"
        )
    };
    // Of 30 delays the shortest is near the least that there may be: nothing, or half of 2 s.
    let lanes = [
        lane("early", 600, "none"),
        lane("late", 1_700, "none"),
        lane("full", 2_000, "full"),
        lane("equal", 2_000, "equal"),
    ];
    let fails_once = |name: &str, number: usize| {
        sh(
            name,
            &format!("mkdir {name}-{number} 2>/dev/null && exit 1; echo {name} >> again"),
        )
    };
    let many = |name: &str| {
        (0..30)
            .map(|number| fails_once(name, number))
            .collect::<String>()
    };
    let lines = fails_once("early", 0) + &fails_once("late", 0) + &many("full") + &many("equal");
    let place = Place::new();
    let done = place.run_lanes(&lanes.concat(), &lines, &[]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let mut first: Vec<String> = Vec::new();
    for name in place.read("again").lines() {
        if !first.iter().any(|other| other == name) {
            first.push(name.to_owned());
        }
    }
    assert_eq!(first, ["full", "early", "equal", "late"]);
}

fn longest_wait_ms(place: &Place) -> f64 {
    let results = place.results();
    results
        .iter()
        .filter_map(|result| result["wait_ms"].as_f64())
        .fold(0.0, f64::max)
}

#[test]
fn rate_limit_spreads_the_starts() {
    let place = Place::new();
    let done = place.run_lanes(
        &lane("rate_limit = { max_commands = 1, window_ms = 300 }"),
        &echo("a").repeat(4),
        &[],
    );
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(longest_wait_ms(&place) >= 890.0);

    let place = Place::new();
    let lanes = lane("rate_limit = { max_commands = 4, window_ms = 3600000 }");
    // All four tokens are there from the start; a fifth command would wait for a quarter of an hour.
    let done = place.run_lanes(&lanes, &echo("a").repeat(4), &[]);
    assert_eq!(done.counts("a"), [4, 0, 0, 0, 0, 0]);
}

#[test]
fn burst_limits_the_starts_at_once() {
    let place = Place::new();
    let limit = "rate_limit = { max_commands = 4, window_ms = 1200, burst = 1 }";
    let done = place.run_lanes(&lane(limit), &echo("a").repeat(4), &[]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    // One at once, then one every 300 ms.
    assert!(longest_wait_ms(&place) >= 890.0);
}

#[test]
fn pressure_threshold_makes_the_lane_report() {
    let run = |threshold: &str| {
        let lanes = lane(&format!("max_concurrency = 1\n{threshold}"));
        Place::new()
            .run_lanes(&lanes, &echo("a").repeat(5), &[])
            .stderr
    };
    let reached = run("pressure_threshold = 3");
    assert!(
        reached.contains("pressure  a  has reached its pressure threshold\n"),
        "{reached}"
    );
    assert!(
        reached.contains("relief    a  has nothing waiting any more\n"),
        "{reached}"
    );
    assert_eq!(run("pressure_threshold = 30"), "");
    assert_eq!(run(""), "");
}

#[test]
fn dlq_size_limits_the_failures_listed() {
    let listed = |queue: &str| {
        let lanes = format!("{queue}\n{}", lane("max_concurrency = 1"));
        let done = Place::new().run_lanes(&lanes, &sh("a", "exit 1").repeat(25), &[]);
        assert_eq!(done.counts("a"), [0, 25, 0, 0, 0, 0]);
        let lines = done
            .stdout
            .lines()
            .filter(|line| line.starts_with("  a  exec (line "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let two = listed("[queue]\ndlq_size = 2");
    assert!(
        two[0].starts_with("  a  exec (line 24)  1 attempt: ")
            && two[1].starts_with("  a  exec (line 25)"),
        "{two:?}"
    );
    assert_eq!(two.len(), 2);
    assert_eq!(listed("[queue]\ndlq_size = 0").len(), 0);
    assert_eq!(listed("").len(), 20);
}

#[test]
fn max_in_flight_bounds_what_is_read() {
    let lanes = "[lanes.a]\npriority = 1\n[lanes.b]\npriority = 1\n";
    let first = |expect: &str| {
        let payload = json!({"argv": ["sh", "-c", "until [ -e go ]; do sleep 0.02; done"], "timeout_ms": 3000});
        format!(
            "{}\n",
            json!({"lane": "a", "type": "exec", "payload": payload, "expect": expect})
        )
    };
    // The first command waits for the second: in vain when the second is not read before the first has ended.
    let together = Place::new().run_lanes(
        lanes,
        &(first("completed") + &sh("b", ": > go")),
        &["--max-in-flight", "2"],
    );
    assert_eq!(together.code, 0, "{}", together.stderr);
    let apart = Place::new().run_lanes(
        lanes,
        &(first("timeout") + &sh("b", ": > go")),
        &["--max-in-flight", "1"],
    );
    assert_eq!(apart.code, 0, "{}", apart.stderr);
}
