//! Wrong configuration files: each error names the file, the position, the lane and the key.

use crate::support::Place;

fn refusal(lanes: &str) -> String {
    let place = Place::new();
    let done = place.run_lanes(lanes, "{\"lane\":\"a\",\"type\":\"echo\"}\n", &[]);
    assert_eq!(done.code, 2, "{lanes}\n{}", done.stderr);
    assert!(!place.path("results.jsonl").exists(), "{lanes}");
    assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
    // The same file is refused in the same words by `lanes`.
    assert_eq!(
        place.run(&["lanes", "-c", "lanes.toml"]).stderr,
        done.stderr
    );
    done.stderr.trim_end().to_owned()
}

/// The lane `a` with its priority and one more line, the third of the file.
fn lane(line: &str) -> String {
    refusal(&format!("[lanes.a]\npriority = 1\n{line}\n"))
}

#[test]
fn wrong_values_name_lane_key_and_position() {
    for (line, text) in [
        (
            "max_concurrency = 0",
            "3:19: lane \"a\", key \"max_concurrency\": expected at least 1, got 0",
        ),
        (
            "min_concurrency = -1",
            "3:19: lane \"a\", key \"min_concurrency\": invalid value: integer `-1`, expected usize",
        ),
        (
            "timeout = \"soon\"",
            "3:11: lane \"a\", key \"timeout\": expected a whole number and a unit, such as 500ms, 30s, 5m or 2h, got `soon`",
        ),
        (
            "timeout = \"0s\"",
            "3:11: lane \"a\", key \"timeout\": expected more than zero; leave the key out for no limit",
        ),
        (
            "timeout_ms = 0",
            "3:14: lane \"a\", key \"timeout_ms\": expected more than zero; leave the key out for no limit",
        ),
        (
            "pressure_threshold = 0",
            "3:22: lane \"a\", key \"pressure_threshold\": expected at least 1, got 0",
        ),
        (
            "retry = { max_retries = 1, multiplier = 0.5 }",
            "3:41: lane \"a\", key \"retry.multiplier\": expected a number of at least 1, got 0.5",
        ),
        (
            "retry = { max_retries = \"x\" }",
            "3:25: lane \"a\", key \"retry.max_retries\": invalid type: string \"x\", expected u32",
        ),
        (
            "rate_limit = { max_commands = 0, window_ms = 1 }",
            "3:31: lane \"a\", key \"rate_limit.max_commands\": expected at least 1, got 0",
        ),
        (
            "rate_limit = { max_commands = 1, window_ms = 0 }",
            "3:46: lane \"a\", key \"rate_limit.window_ms\": expected at least 1, got 0",
        ),
        (
            "boost = { deadline_ms = 5, steps = [{ remaining_ms = 6, raise = 1 }] }",
            "3:54: lane \"a\", key \"boost.steps\": expected at most deadline_ms (5), got 6",
        ),
        (
            "boost = { deadline_ms = 0 }",
            "3:25: lane \"a\", key \"boost.deadline_ms\": expected at least 1, got 0",
        ),
        (
            "retry = { max_retries = 1, initial_delay_ms = 9, max_delay_ms = 8 }",
            "3:65: lane \"a\", key \"retry.max_delay_ms\": expected at least initial_delay_ms (9), got 8",
        ),
        (
            "rate_limit = { max_commands = 1, window_ms = 1, burst = 0 }",
            "3:57: lane \"a\", key \"rate_limit.burst\": expected at least 1, got 0",
        ),
        (
            "max_pending = 0",
            "3:15: lane \"a\", key \"max_pending\": expected at least 1, got 0",
        ),
        (
            "overflow = \"wait\"",
            "3:12: lane \"a\", key \"overflow\": expected max_pending beside it",
        ),
        (
            "progress_timeout_ms = 0",
            "3:23: lane \"a\", key \"progress_timeout_ms\": expected more than zero; leave the key out for no limit",
        ),
        (
            "max_concurrency_per_key = 0",
            "3:27: lane \"a\", key \"max_concurrency_per_key\": expected at least 1, got 0",
        ),
        (
            "key_weights = { gold = 0 }",
            "3:24: lane \"a\", key \"key_weights.gold\": expected at least 1, got 0",
        ),
        (
            "retry_jitter = \"some\"",
            "3:16: lane \"a\", key \"retry_jitter\": expected `none`, `full` or `equal`, got `some`",
        ),
        (
            "limiters = [\"tokens\"]",
            "3:13: lane \"a\", key \"limiters\": expected the name of a [limiters.NAME], got `tokens`",
        ),
        (
            "boost = { deadline_ms = 5, curve = \"steep\" }",
            "3:36: lane \"a\", key \"boost.curve\": unknown variant `steep`, expected `standard` or `aggressive`",
        ),
    ] {
        assert_eq!(lane(line), format!("error: lanes.toml:{text}"), "{line}");
    }
}

#[test]
fn wrong_limiters_and_totals_are_refused() {
    let limiter = |keys: &str| {
        refusal(&format!(
            "[lanes.a]\npriority = 1\n[limiters.t]\nmax_commands = 5\nwindow_ms = 9\n{keys}\n"
        ))
    };
    for (keys, text) in [
        (
            "kind = \"sliding_window\"\nburst = 2",
            "7:9: key \"limiters.t.burst\": expected no burst beside kind = \"sliding_window\"",
        ),
        (
            "burst = 0",
            "6:9: key \"limiters.t.burst\": expected at least 1, got 0",
        ),
        (
            "reserve = { amount = 5, urgent_up_to = 1 }",
            "6:22: key \"limiters.t.reserve.amount\": expected less than what is granted at once (5), got 5",
        ),
    ] {
        assert_eq!(limiter(keys), format!("error: lanes.toml:{text}"), "{keys}");
    }
    assert!(
        limiter("rate = 1").contains("key \"limiters.t.rate\": unknown field `rate`, expected ")
    );
    assert_eq!(
        refusal("[queue]\nmax_concurrency = 1\n[lanes.a]\npriority = 1\n[lanes.b]\npriority = 1\n"),
        "error: lanes.toml:2:19: key \"queue.max_concurrency\": expected at least the sum of min_concurrency of all lanes (2), got 1"
    );
    assert_eq!(
        refusal("[queue]\nmax_concurrency = 0\n[lanes.a]\npriority = 1\nmin_concurrency = 0\n"),
        "error: lanes.toml:2:19: key \"queue.max_concurrency\": expected at least 1, got 0"
    );
}

#[test]
fn contradictions_are_refused() {
    assert_eq!(
        lane("min_concurrency = 3\nmax_concurrency = 2"),
        "error: lanes.toml:3:19: lane \"a\", key \"min_concurrency\": expected at most max_concurrency (2), got 3"
    );
    assert_eq!(
        lane("timeout = \"1s\"\ntimeout_ms = 5"),
        "error: lanes.toml:4:14: lane \"a\", key \"timeout_ms\": expected either timeout or timeout_ms, got both"
    );
    assert_eq!(
        lane("grace = \"1s\"\ngrace_ms = 5"),
        "error: lanes.toml:4:12: lane \"a\", key \"grace_ms\": expected either grace or grace_ms, got both"
    );
    assert_eq!(
        lane(
            "boost = { deadline_ms = 5, curve = \"standard\", steps = [{ remaining_ms = 1, raise = 1 }] }"
        ),
        "error: lanes.toml:3:36: lane \"a\", key \"boost.curve\": expected either curve or steps, got both"
    );
}

#[test]
fn unknown_keys_are_refused_everywhere() {
    for (line, key) in [
        ("prioritty = 1", "prioritty"),
        ("retry = { max_retries = 1, jitter = 1 }", "retry.jitter"),
        (
            "rate_limit = { max_commands = 1, window_ms = 1, bust = 2 }",
            "rate_limit.bust",
        ),
        ("boost = { deadline_ms = 1, slope = 1 }", "boost.slope"),
    ] {
        let text = lane(line);
        let name = key.rsplit('.').next().expect("a name");
        let wanted = format!("lane \"a\", key \"{key}\": unknown field `{name}`, expected ");
        assert!(
            text.starts_with("error: lanes.toml:3:") && text.contains(&wanted),
            "{text}"
        );
    }
    let queue = refusal("[queue]\ndlq = 1\n[lanes.a]\npriority = 1\n");
    assert_eq!(
        queue,
        "error: lanes.toml:2:1: key \"queue.dlq\": unknown field `dlq`, expected `dlq_size` or `max_concurrency`"
    );
    let top = refusal("[lane.a]\npriority = 1\n");
    assert!(
        top.contains("unknown field `lane`, expected one of `queue`, `lanes`, `limiters`"),
        "{top}"
    );
}

#[test]
fn missing_keys_name_the_lane() {
    let text = refusal("[lanes.b]\npriority = 1\n[lanes.a]\nmax_concurrency = 1\n");
    assert_eq!(
        text,
        "error: lanes.toml:3:1: lane \"a\": missing field `priority`"
    );
    let text = refusal("[queue]\ndlq_size = 1\n");
    assert!(text.contains("missing field `lanes`"), "{text}");
    let text = refusal("[lanes]\n");
    assert!(
        text.contains("expected at least one lane, such as [lanes.main]"),
        "{text}"
    );
    let text = refusal("[lanes.\"\"]\npriority = 1\n");
    assert!(text.contains("a lane needs a name"), "{text}");
}

#[test]
fn what_is_not_toml_or_not_there_is_refused() {
    let text = refusal("[lanes.a\npriority = 1\n");
    assert!(text.starts_with("error: lanes.toml:1:"), "{text}");
    let place = Place::new();
    let missing = place.run(&["lanes", "-c", "nowhere.toml"]);
    assert_eq!(missing.code, 2);
    assert!(
        missing
            .stderr
            .starts_with("error: cannot read nowhere.toml: "),
        "{}",
        missing.stderr
    );
}
