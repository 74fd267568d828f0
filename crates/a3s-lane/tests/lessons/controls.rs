//! L21, continued: what is decided by a call at run time, or by a value of an option, is ignored as easily as a setting.

use std::collections::BTreeSet;

use crate::options::{Covered, exists, text};

/// Each method that does something to a live queue, with the test that fails when it does nothing.
const CONTROLS: &[Covered] = &[
    (
        "manager/restore.rs",
        &[
            (
                "register_factory",
                "behaviour/restore/claims.rs/a_factory_makes_the_commands_of_its_type",
            ),
            (
                "unclaimed",
                "behaviour/restore/claims.rs/a_type_without_a_handler_waits_until_it_has_one",
            ),
            (
                "find",
                "behaviour/restore/results.rs/a_kept_outcome_is_found_after_a_restart",
            ),
        ],
    ),
    (
        "manager/sink.rs",
        &[
            (
                "submit_to",
                "behaviour/sink.rs/each_command_is_told_once_with_its_status",
            ),
            (
                "handle_of",
                "behaviour/sink.rs/a_handle_is_made_when_somebody_asks",
            ),
            (
                "id_of",
                "behaviour/sink.rs/a_handle_is_made_when_somebody_asks",
            ),
        ],
    ),
    (
        "manager/control.rs",
        &[
            ("submit_with", "options/id"),
            ("submit_many", "handles/submit_many"),
            (
                "submit_many_telling",
                "behaviour/storage.rs/what_is_refused_at_once_is_told_before_the_storage_answers",
            ),
            (
                "register_handler",
                "behaviour/handlers.rs/handlers_come_and_go_at_run_time",
            ),
            (
                "register_handler_on",
                "behaviour/executors.rs/a_handler_runs_on_its_executor_and_others_do_not",
            ),
            (
                "remove_handler",
                "behaviour/handlers.rs/handlers_come_and_go_at_run_time",
            ),
            ("cancel", "cancel/a_waiting_command_leaves_unrun"),
            ("cancel_lane", "cancel/a_whole_lane"),
            ("cancel_key", "cancel/a_whole_key"),
            ("pause_lane", "control/a_paused_lane_starts_nothing"),
            ("resume_lane", "control/a_paused_lane_starts_nothing"),
            ("pause_key", "keys/a_paused_key"),
            ("resume_key", "keys/a_paused_key"),
            ("set_max_concurrency", "control/set_max_concurrency"),
            ("set_lane", "control/set_lane_gives_more_slots"),
            ("remove_lane", "control/remove_lane"),
            ("set_limiter", "control/set_limiter"),
            ("explain", "explain/several_reasons"),
            (
                "shutdown_within",
                "shutdown_within/what_runs_for_too_long_is_stopped",
            ),
        ],
    ),
    (
        "manager/dead_letters.rs",
        &[
            (
                "list",
                "behaviour/dead_letters.rs/each_part_of_a_filter_counts",
            ),
            (
                "retry",
                "behaviour/dead_letters/retry.rs/a_retry_runs_under_the_old_id_with_the_old_options_from_the_first_attempt",
            ),
            (
                "retry_with",
                "behaviour/dead_letters/retry.rs/a_retry_runs_under_the_old_id_with_the_old_options_from_the_first_attempt",
            ),
            (
                "retry_all",
                "behaviour/dead_letters/retry.rs/all_letters_are_retried_oldest_first_and_a_bad_one_keeps_none_back",
            ),
            (
                "discard",
                "behaviour/dead_letters.rs/discarding_takes_what_the_filter_means_and_says_how_many",
            ),
            (
                "export",
                "behaviour/dead_letters.rs/what_was_exported_is_imported_exactly",
            ),
            (
                "import",
                "behaviour/dead_letters.rs/what_was_exported_is_imported_exactly",
            ),
        ],
    ),
    (
        "queue/command_queue.rs",
        &[
            ("shutdown", "errors/a_shutdown_queue_refuses_work"),
            (
                "drain",
                "lessons/drain.rs/l05_drain_ends_when_the_last_command_does",
            ),
            (
                "register_lane",
                "lessons/registration.rs/l28_pending_commands_stay_and_the_new_limit_applies",
            ),
            ("submit", "order/a_lane_is_first_in_first_out"),
            ("start_scheduler", "lifecycle/work_waits_for_the_start"),
            (
                "subscribe_filtered",
                "events/a_filter_lets_only_its_keys_through",
            ),
            ("status", "limits/pending_commands_are_counted"),
        ],
    ),
];

/// Each value of an option that chooses one of several.
const VALUES: &[(&str, Covered)] = &[
    (
        "Overflow",
        (
            "config/options.rs",
            &[
                ("Reject", "admission/reject"),
                ("Wait", "admission/wait"),
                ("DropOldest", "admission/drop_oldest"),
            ],
        ),
    ),
    (
        "OnConflict",
        (
            "submission/unique.rs",
            &[
                ("Reject", "options/unique_rejects"),
                ("Join", "options/unique_joins"),
                ("Replace", "options/unique_replaces"),
            ],
        ),
    ),
    (
        "Jitter",
        (
            "retry.rs",
            &[
                ("None", "options/jitter_of_a_lane"),
                ("Full", "options/jitter"),
                (
                    "Equal",
                    "src/retry.rs/equal_jitter_keeps_at_least_half_the_delay",
                ),
            ],
        ),
    ),
    (
        "Kind",
        (
            "ratelimit/named.rs",
            &[
                ("TokenBucket", "limiters/token_bucket"),
                ("SlidingWindow", "limiters/sliding_window"),
            ],
        ),
    ),
    (
        "Counts",
        (
            "ratelimit/named.rs",
            &[
                ("Cost", "limiters/cost"),
                ("Commands", "limiters/counting_commands"),
            ],
        ),
    ),
];

/// The public methods of a live object that are asynchronous or take a parameter: the others only tell something.
fn controls(source: &str) -> BTreeSet<String> {
    let source = source
        .replace("(\n        ", "(")
        .replace("\n        ", " ");
    source
        .lines()
        .filter_map(|line| {
            let line = line.trim_start().strip_prefix("pub ")?;
            let is_async = line.starts_with("async ");
            let line = line.strip_prefix("async ").unwrap_or(line);
            let (name, rest) = line.strip_prefix("fn ")?.split_once(['(', '<'])?;
            let is_method = rest.starts_with("&self") || rest.starts_with("self:");
            let does = is_async || rest.starts_with("&self, ");
            (is_method && does).then(|| name.to_owned())
        })
        .collect()
}

fn variants(source: &str, name: &str) -> BTreeSet<String> {
    let start = format!("enum {name} {{");
    let (_, body) = source.split_once(&start).expect("the enum is there");
    let (body, _) = body.split_once("\n}").expect("it ends");
    body.lines()
        .map(|line| line.trim().trim_end_matches(','))
        .filter(|line| line.starts_with(char::is_uppercase))
        .map(str::to_owned)
        .collect()
}

fn names(covered: &[(&str, &str)]) -> BTreeSet<String> {
    covered.iter().map(|(name, _)| (*name).to_owned()).collect()
}

#[test]
fn l21_every_control_has_a_test() {
    for (file, covered) in CONTROLS {
        let found = controls(&text(&format!("src/{file}")));
        assert_eq!(found, names(covered), "the controls of {file}");
        for (name, test) in *covered {
            exists(name, test);
        }
    }
}

#[test]
fn l21_every_value_of_a_choice_has_a_test() {
    for (choice, (file, covered)) in VALUES {
        let found = variants(&text(&format!("src/{file}")), choice);
        assert_eq!(found, names(covered), "the values of {choice}");
        for (name, test) in *covered {
            exists(name, test);
        }
    }
}
