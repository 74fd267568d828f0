//! L21: a documented option without a test that fails when it is ignored is a defect. What a configuration file and the options of
//! a line may hold, as the refusal of an unknown key tells it, and what has a test must be the same.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::Place;

/// A table of a configuration file with an unknown key in it, or the options of a line; and each key with its test.
type Table = (&'static str, &'static [(&'static str, &'static str)]);

const LIMITERS: &str = "limiters_are_shared_and_keep_a_reserve";
const DELAYS: &str = "delays_between_attempts_follow_the_policy";
const SPREAD: &str = "rate_limit_spreads_the_starts";
const BOOST: &str = "boost_lifts_a_lane_over_a_more_urgent_one";
const MAKES_ROOM: &str = "a_preemptible_lane_makes_room_and_runs_again";
const LIMITS: &str = "a_command_has_time_limits_of_its_own";
const POLICY: &str = "the_retries_of_a_command_follow_its_policy";
const UNIQUE: &str = "ids_and_unique_keys_are_taken_once";

const TABLES: &[Table] = &[
    (
        "colour = 1\n[lanes.a]\npriority = 1",
        &[
            ("queue", "dlq_size_limits_the_failures_listed"),
            ("lanes", "priority_decides_who_goes_first"),
            ("limiters", LIMITERS),
        ],
    ),
    (
        "[queue]\ncolour = 1\n[lanes.a]\npriority = 1",
        &[
            ("dlq_size", "dlq_size_limits_the_failures_listed"),
            (
                "max_concurrency",
                "a_total_limits_all_lanes_and_keeps_the_minimums",
            ),
        ],
    ),
    (
        "[lanes.a]\npriority = 1\ncolour = 1",
        &[
            ("priority", "priority_decides_who_goes_first"),
            (
                "min_concurrency",
                "a_total_limits_all_lanes_and_keeps_the_minimums",
            ),
            (
                "max_concurrency",
                "max_concurrency_lets_that_many_run_at_once",
            ),
            ("timeout", "both_spellings_of_timeout_end_an_attempt"),
            ("timeout_ms", "both_spellings_of_timeout_end_an_attempt"),
            ("retry", "max_retries_limits_the_attempts"),
            ("rate_limit", SPREAD),
            (
                "pressure_threshold",
                "pressure_threshold_makes_the_lane_report",
            ),
            ("boost", BOOST),
            ("max_pending", "a_bounded_lane_refuses_waits_or_drops"),
            ("overflow", "a_bounded_lane_refuses_waits_or_drops"),
            ("preemptible", MAKES_ROOM),
            ("grace", MAKES_ROOM),
            ("grace_ms", MAKES_ROOM),
            ("progress_timeout", LIMITS),
            ("progress_timeout_ms", LIMITS),
            (
                "max_concurrency_per_key",
                "a_key_has_no_more_slots_than_it_may",
            ),
            ("key_weights", "key_weights_share_the_starts"),
            (
                "retry_jitter",
                "retry_jitter_shortens_the_delays_of_the_lane",
            ),
            ("limiters", LIMITERS),
        ],
    ),
    (
        "[lanes.a]\npriority = 1\nretry = { max_retries = 1, colour = 1 }",
        &[
            ("max_retries", "max_retries_limits_the_attempts"),
            ("initial_delay_ms", DELAYS),
            ("max_delay_ms", DELAYS),
            ("multiplier", DELAYS),
        ],
    ),
    (
        "[lanes.a]\npriority = 1\nrate_limit = { max_commands = 1, window_ms = 1, colour = 1 }",
        &[
            ("max_commands", SPREAD),
            ("window_ms", SPREAD),
            ("burst", "burst_limits_the_starts_at_once"),
        ],
    ),
    (
        "[lanes.a]\npriority = 1\nboost = { deadline_ms = 1, colour = 1 }",
        &[
            ("deadline_ms", BOOST),
            ("curve", "the_curves_of_a_boost_are_followed"),
            ("steps", BOOST),
        ],
    ),
    (
        "[lanes.a]\npriority = 1\nboost = { deadline_ms = 1, steps = [{ colour = 1 }] }",
        &[("remaining_ms", BOOST), ("raise", BOOST)],
    ),
    (
        "[limiters.t]\ncolour = 1\n[lanes.a]\npriority = 1",
        &[
            ("kind", "a_sliding_window_waits_for_its_whole_length"),
            ("max_commands", LIMITERS),
            ("window_ms", "a_sliding_window_waits_for_its_whole_length"),
            ("burst", LIMITERS),
            ("counts", LIMITERS),
            ("reserve", LIMITERS),
        ],
    ),
    (
        "[limiters.t]\nreserve = { colour = 1 }\n[lanes.a]\npriority = 1",
        &[("amount", LIMITERS), ("urgent_up_to", LIMITERS)],
    ),
];

const OPTIONS: &[Table] = &[
    (
        "{\"colour\": 1}",
        &[
            ("id", UNIQUE),
            ("priority", "priority_and_key_decide_inside_the_lane"),
            ("key", "priority_and_key_decide_inside_the_lane"),
            ("delay_ms", "a_delayed_command_starts_later"),
            ("run_at", "a_command_waits_for_its_time_of_day"),
            ("ttl_ms", "a_command_expires_unrun"),
            ("timeout_ms", LIMITS),
            ("no_timeout", "a_command_may_have_no_time_limit"),
            ("progress_timeout_ms", LIMITS),
            ("retry", "a_command_has_retries_of_its_own"),
            (
                "retry_jitter",
                "the_jitter_of_a_command_shortens_its_retries",
            ),
            ("cost", LIMITERS),
            ("preemptible", MAKES_ROOM),
            ("unique", UNIQUE),
        ],
    ),
    (
        "{\"retry\": {\"colour\": 1}}",
        &[
            ("max_retries", "a_command_has_retries_of_its_own"),
            ("initial_delay_ms", POLICY),
            ("max_delay_ms", POLICY),
            ("multiplier", POLICY),
        ],
    ),
    (
        "{\"unique\": {\"colour\": 1}}",
        &[
            ("key", UNIQUE),
            (
                "window_ms",
                "a_unique_key_may_be_held_for_longer_than_its_command",
            ),
            ("on_conflict", UNIQUE),
        ],
    ),
];

/// The keys are those that have a test, and the tests exist.
fn check<'a>(known: impl Iterator<Item = &'a str>, (what, listed): Table, told: &str) {
    let known: BTreeSet<&str> = known.collect();
    let tested: BTreeSet<&str> = listed.iter().map(|(key, _)| *key).collect();
    assert_eq!(known, tested, "{what}\n{told}");
    for (_, test) in listed {
        let found = [
            include_str!("config_effects.rs"),
            include_str!("options.rs"),
        ]
        .iter()
        .any(|file| file.contains(&format!("#[test]\nfn {test}() {{")));
        assert!(found, "there is no test {test}");
    }
}

#[test]
fn l21_every_key_of_a_configuration_file_has_a_test() {
    let place = Place::new();
    for table in TABLES {
        place.write("lanes.toml", table.0);
        let told = place.run(&["lanes", "-c", "lanes.toml"]).stderr;
        let (_, known) = told
            .split_once("unknown field `colour`, expected ")
            .unwrap_or_else(|| panic!("{told}"));
        // Each of them is between two of these.
        check(known.split('`').skip(1).step_by(2), *table, &told);
    }
}

#[test]
fn l21_every_option_of_a_line_has_a_test() {
    let place = Place::new();
    for table in OPTIONS {
        let options: serde_json::Value = serde_json::from_str(table.0).expect("it is JSON");
        let line = json!({"lane": "a", "type": "echo", "options": options}).to_string() + "\n";
        let told = place
            .run_lanes("[lanes.a]\npriority = 1\n", &line, &[])
            .stderr;
        let known = told
            .split_once("; options are ")
            .or_else(|| told.split_once(" takes "))
            .unwrap_or_else(|| panic!("{told}"))
            .1
            .lines()
            .next()
            .unwrap_or_default();
        check(
            known
                .split([',', ' '])
                .filter(|word| !matches!(*word, "" | "and")),
            *table,
            &told,
        );
    }
}
