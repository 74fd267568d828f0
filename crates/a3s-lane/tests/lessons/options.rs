//! L21: aging is a setting no code reads. A documented option without a test that fails when it is ignored is a defect.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// A source file, and for each of its builder methods the test that fails when the setting is ignored: a scenario as
/// `file/name`, or a Rust test as `folder/file.rs/name`.
pub(crate) type Covered = (&'static str, &'static [(&'static str, &'static str)]);

const OPTIONS: &[Covered] = &[
    (
        "config/options.rs",
        &[
            ("with_burst", "limiters/burst_of_a_lane"),
            ("with_max_pending", "admission/reject"),
            ("with_overflow", "admission/wait"),
            (
                "with_preemption",
                "preemption/a_more_urgent_lane_takes_the_slot",
            ),
            ("with_grace", "cancel/a_grace_lets_it_complete"),
            (
                "with_progress_timeout",
                "options/progress_timeout_of_a_lane",
            ),
            ("with_max_concurrency_per_key", "keys/a_limit_per_key"),
            ("with_key_weight", "keys/weights"),
            ("with_retry_jitter", "options/jitter_of_a_lane"),
            ("with_limiter", "limiters/lanes_share_a_limiter"),
        ],
    ),
    (
        "config.rs",
        &[
            ("with_timeout", "timeouts/a_timeout_frees_the_slot"),
            ("with_retry_policy", "retries/a_retry_can_succeed"),
            ("with_rate_limit", "limiters/rate_limit_of_a_lane"),
            ("with_priority_boost", "limiters/boost"),
            (
                "with_pressure_threshold",
                "behaviour/events.rs/pressure_and_idle_name_their_lane",
            ),
        ],
    ),
    ("boost.rs", &[("with_boost", "limiters/boost_steps")]),
    (
        "submission.rs",
        &[
            ("with_id", "options/id"),
            ("with_priority", "options/priority"),
            ("with_delay", "options/delay"),
            (
                "with_run_at",
                "lessons/options.rs/l21_a_command_waits_for_its_time_of_day",
            ),
            ("with_ttl", "options/ttl"),
            ("with_timeout", "options/timeout"),
            ("with_no_timeout", "options/no_timeout"),
            ("with_progress_timeout", "options/progress_timeout"),
            ("with_retry_policy", "options/retry"),
            ("with_jitter", "options/jitter"),
            ("with_key", "keys/keys_take_turns"),
            ("with_unique", "options/unique_rejects"),
            ("with_cost", "limiters/cost"),
            ("with_metadata", "options/metadata"),
            ("with_preemptible", "preemption/a_command_can_opt_out"),
        ],
    ),
    (
        "submission/unique.rs",
        &[
            ("with_window", "options/unique_window"),
            ("on_conflict", "options/unique_replaces"),
        ],
    ),
    (
        "ratelimit/named.rs",
        &[
            ("with_burst", "limiters/burst"),
            ("counting_commands", "limiters/counting_commands"),
            ("with_reserve", "limiters/reserve"),
        ],
    ),
    (
        "dlq/filter.rs",
        &[
            (
                "with_lane",
                "behaviour/dead_letters.rs/each_part_of_a_filter_counts",
            ),
            (
                "with_command_type",
                "behaviour/dead_letters.rs/each_part_of_a_filter_counts",
            ),
            (
                "with_code",
                "behaviour/dead_letters.rs/each_part_of_a_filter_counts",
            ),
            (
                "with_since",
                "behaviour/dead_letters.rs/each_part_of_a_filter_counts",
            ),
            (
                "with_until",
                "behaviour/dead_letters.rs/each_part_of_a_filter_counts",
            ),
            (
                "with_limit",
                "behaviour/dead_letters.rs/each_part_of_a_filter_counts",
            ),
        ],
    ),
    (
        "storage/local.rs",
        &[
            (
                "with_durability",
                "src/storage/local/tests.rs/durability_is_what_was_asked_for_and_the_most_in_a_transaction",
            ),
            (
                "with_max_dead_letters",
                "src/storage/local/tests.rs/dead_letters_are_bounded",
            ),
            (
                "with_results",
                "src/storage/local/tests/records.rs/results_are_kept_when_asked_for_and_within_bounds",
            ),
            (
                "with_history",
                "src/storage/local/tests/records.rs/a_history_is_kept_when_asked_for_and_within_bounds",
            ),
        ],
    ),
    (
        "storage/retention.rs",
        &[
            (
                "with_max_age",
                "src/storage/local/tests/records.rs/results_are_kept_when_asked_for_and_within_bounds",
            ),
            (
                "with_max_count",
                "src/storage/local/tests/records.rs/a_history_is_kept_when_asked_for_and_within_bounds",
            ),
        ],
    ),
    (
        "manager/builder.rs",
        &[
            ("with_lane", "limits/each_lane_has_its_own_limit"),
            ("with_lane_options", "admission/reject"),
            (
                "with_storage",
                "behaviour/stopping.rs/a_cancelled_command_leaves_its_storage",
            ),
            (
                "with_factory",
                "behaviour/restore/claims.rs/a_factory_makes_the_commands_of_its_type",
            ),
            (
                "with_max_crashes",
                "behaviour/restore/attempts.rs/a_poison_command_ends_as_a_dead_letter",
            ),
            ("with_dlq", "retries/what_failed_for_good_is_a_dead_letter"),
            (
                "with_max_concurrency",
                "total_limit/the_total_caps_all_lanes",
            ),
            ("with_limiter", "limiters/lanes_share_a_limiter"),
            (
                "with_handler",
                "behaviour/handlers.rs/the_handler_of_the_type_runs_the_command",
            ),
            (
                "with_handler_on",
                "behaviour/executors.rs/lanes_share_one_order_over_all_executors",
            ),
            (
                "with_metrics",
                "behaviour/metrics.rs/cancels_expiries_and_preemptions_are_counted",
            ),
            (
                "with_alerts",
                "lessons/observers.rs/l27_depth_alerts_are_raised",
            ),
            (
                "with_clock",
                "behaviour/tools.rs/a_manual_clock_is_the_time_of_the_queue",
            ),
            (
                "with_inline",
                "behaviour/tools.rs/an_inline_queue_has_run_what_was_submitted",
            ),
            (
                "with_submission_log",
                "behaviour/tools.rs/a_submission_log_holds_what_was_accepted",
            ),
        ],
    ),
];

fn folder(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub(crate) fn text(path: &str) -> String {
    let path = folder(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The public methods that take `mut self`: those that set something.
fn setters(source: &str) -> BTreeSet<String> {
    // A long list of parameters starts on its own line.
    let source = source.replace("(\n        mut self", "(mut self");
    source
        .lines()
        .filter_map(|line| {
            let (name, _) = line
                .trim_start()
                .strip_prefix("pub fn ")?
                .split_once(['(', '<'])?;
            line.contains("(mut self").then(|| name.to_owned())
        })
        .collect()
}

#[test]
fn l21_every_option_has_a_test() {
    for (file, covered) in OPTIONS {
        let found = setters(&text(&format!("src/{file}")));
        let known: BTreeSet<String> = covered.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(
            found, known,
            "the setters of {file} and those that are listed here"
        );
    }
}

/// Fails unless the test is there that `name` is said to have.
pub(crate) fn exists(name: &str, test: &str) {
    let (file, line) = match test.rsplit_once('/').expect("a file and a test") {
        (file, test) if file.starts_with("src/") => (file.to_owned(), format!("fn {test}(")),
        (file, test) if file.ends_with(".rs") => (format!("tests/{file}"), format!("fn {test}(")),
        (subject, test) => (
            format!("../../tests/scenarios/{subject}.json"),
            format!("\"name\": \"{test}\""),
        ),
    };
    assert!(text(&file).contains(&line), "{name}: {file} has no {line}");
}

#[test]
fn l21_every_listed_test_exists() {
    for (name, test) in OPTIONS.iter().flat_map(|(_, covered)| covered.iter()) {
        exists(name, test);
    }
}

/// A builder that is not in the table at all would go unnoticed.
#[test]
fn l21_every_file_with_options_is_listed() {
    let mut sources = vec![folder("src")];
    let mut found = BTreeSet::new();
    while let Some(path) = sources.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("a folder can be read");
            sources.extend(entries.map(|entry| entry.expect("an entry can be read").path()));
        } else if path.extension().is_some_and(|end| end == "rs") {
            let source = std::fs::read_to_string(&path).expect("a source can be read");
            if !setters(&source).is_empty() {
                let file = path.strip_prefix(folder("src")).expect("it is below");
                found.insert(file.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    let known: BTreeSet<String> = OPTIONS.iter().map(|(file, _)| (*file).to_owned()).collect();
    assert_eq!(found, known);
}

/// The wall clock, which tokio's paused time does not move: a time in the past means at once, one far ahead means waiting.
#[tokio::test(start_paused = true)]
async fn l21_a_command_waits_for_its_time_of_day() {
    use crate::support::{nothing, reasons, settled, started, submit_with};
    use a3s_lane::{CommandStatus, LaneConfig, SubmitOptions};

    let manager = started(LaneConfig::new(0, 1)).await;
    let at = |hours| {
        let time = chrono::Utc::now() + chrono::TimeDelta::hours(hours);
        SubmitOptions::new().with_run_at(time)
    };
    let past = submit_with(&manager, "only", nothing("past"), at(-1)).await;
    settled(&past).await.expect("it runs at once");
    let ahead = submit_with(&manager, "only", nothing("ahead"), at(2)).await;
    assert_eq!(ahead.status(), CommandStatus::Delayed);
    assert_eq!(reasons(&ahead), ["delayed"]);
    let start = tokio::time::Instant::now();
    ahead.result().await.expect("it runs in the end");
    let waited = start.elapsed().as_secs();
    assert!((7_190..=7_200).contains(&waited), "{waited}");
}
