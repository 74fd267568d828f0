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
        "dlq.rs",
        &[
            (
                "push",
                "api_compat/dlq.rs/a_bounded_queue_with_shared_handles",
            ),
            (
                "pop",
                "api_compat/dlq.rs/a_bounded_queue_with_shared_handles",
            ),
            (
                "list",
                "api_compat/dlq.rs/a_bounded_queue_with_shared_handles",
            ),
            (
                "clear",
                "api_compat/dlq.rs/a_bounded_queue_with_shared_handles",
            ),
            (
                "len",
                "api_compat/dlq.rs/a_bounded_queue_with_shared_handles",
            ),
            (
                "is_empty",
                "api_compat/dlq.rs/a_bounded_queue_with_shared_handles",
            ),
        ],
    ),
    (
        "monitor.rs",
        &[
            ("start", "behaviour/monitor.rs/it_looks_at_every_interval"),
            ("stats", "api_compat/monitor.rs/config_and_stats"),
        ],
    ),
    (
        "alerts.rs",
        &[
            (
                "set_queue_depth_config",
                "api_compat/alerts.rs/configs_can_change_and_clones_are_blank",
            ),
            (
                "set_latency_config",
                "api_compat/alerts.rs/configs_can_change_and_clones_are_blank",
            ),
            ("add_callback", "api_compat/alerts.rs/depth"),
            ("check_queue_depth", "api_compat/alerts.rs/depth"),
            ("check_latency", "api_compat/alerts.rs/latency"),
            (
                "queue_depth_config",
                "api_compat/alerts.rs/configs_can_change_and_clones_are_blank",
            ),
            (
                "latency_config",
                "api_compat/alerts.rs/configs_can_change_and_clones_are_blank",
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

/// The same of what a user holds, where each method counts, whether it does something or tells something.
const HELD: &[Covered] = &[
    (
        "manager.rs",
        &[
            ("start", "lifecycle/work_waits_for_the_start"),
            ("submit", "order/a_lane_is_first_in_first_out"),
            ("stats", "limits/pending_commands_are_counted"),
            ("queue", "api_compat/manager.rs/every_method_of_a_manager"),
            ("subscribe", "events/the_life_of_a_command"),
            (
                "subscribe_filtered",
                "events/a_filter_lets_only_its_keys_through",
            ),
            ("shutdown", "errors/a_shutdown_queue_refuses_work"),
            (
                "drain",
                "lessons/drain.rs/l05_drain_ends_when_the_last_command_does",
            ),
            (
                "close",
                "storage/closing.rs/a_manager_that_was_closed_leaves_its_work_to_another_process",
            ),
            (
                "is_shutting_down",
                "api_compat/manager.rs/every_method_of_a_manager",
            ),
            (
                "is_started",
                "api_compat/manager.rs/every_method_of_a_manager",
            ),
            ("metrics", "api_compat/manager.rs/observers_of_the_builder"),
            ("alerts", "api_compat/manager.rs/observers_of_the_builder"),
        ],
    ),
    (
        "queue/lane.rs",
        &[
            ("id", "api_compat/queue.rs/a_hand_built_lane"),
            ("priority", "api_compat/queue.rs/a_hand_built_lane"),
            (
                "effective_priority",
                "behaviour/control.rs/a_lane_that_is_held_says_how_urgent_it_is",
            ),
            (
                "enqueue",
                "behaviour/control.rs/a_lane_that_is_held_takes_nothing_after_the_shutdown",
            ),
            ("status", "api_compat/queue.rs/a_hand_built_lane"),
        ],
    ),
    (
        "handle.rs",
        &[
            ("id", "options/id"),
            (
                "lane_id",
                "behaviour/context.rs/it_names_the_command_the_lane_and_the_attempt",
            ),
            ("status", "handles/status"),
            ("result", "handles/the_result_can_be_asked_for_again"),
            ("cancel", "cancel/a_running_command_is_stopped"),
            ("explain", "explain/lane_full"),
            ("progress", "handles/progress"),
            ("chunks", "handles/chunks"),
        ],
    ),
    (
        "context.rs",
        &[
            (
                "id",
                "behaviour/context.rs/it_names_the_command_the_lane_and_the_attempt",
            ),
            (
                "lane_id",
                "behaviour/context.rs/it_names_the_command_the_lane_and_the_attempt",
            ),
            (
                "attempt",
                "behaviour/context.rs/it_names_the_command_the_lane_and_the_attempt",
            ),
            (
                "time_left",
                "behaviour/context.rs/it_knows_how_much_time_is_left",
            ),
            (
                "deadline",
                "behaviour/context.rs/it_knows_how_much_time_is_left",
            ),
            ("metadata", "options/metadata"),
            (
                "cancellation",
                "behaviour/context.rs/it_says_that_it_was_cancelled",
            ),
            (
                "is_cancelled",
                "behaviour/context.rs/a_body_that_never_waits_can_look",
            ),
            (
                "stop_reason",
                "behaviour/context.rs/it_says_that_it_makes_room",
            ),
            ("heartbeat", "timeouts/a_heartbeat_is_a_sign_of_life"),
            ("progress", "handles/progress"),
            ("emit", "handles/chunks"),
            ("settle_cost", "limiters/settle_cost_down"),
            ("submit_child", "nested/a_lane_of_one_waits_for_itself"),
        ],
    ),
    (
        "event/stream.rs",
        &[
            ("recv", "events/the_life_of_a_command"),
            (
                "missed",
                "lessons/streams.rs/l35_a_subscriber_that_lags_learns_how_many_it_missed",
            ),
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
                    "behaviour/retry.rs/each_jitter_shortens_its_part_of_the_delay",
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
    let mut found = methods(source);
    found.retain(|(_, is_async, parameters)| *is_async || parameters.starts_with("&self, "));
    found.into_iter().map(|(name, ..)| name).collect()
}

/// The public methods: their names, whether they are asynchronous, and what follows the opening parenthesis.
fn methods(source: &str) -> Vec<(String, bool, String)> {
    let source = source
        .replace("(\n        ", "(")
        .replace("\n        ", " ");
    let methods = source.lines().filter_map(|line| {
        let line = line.trim_start().strip_prefix("pub ")?;
        let is_async = line.starts_with("async ");
        let line = line.strip_prefix("async ").unwrap_or(line);
        let line = line.strip_prefix("fn ")?;
        let (name, rest) = line.split_once(['(', '<'])?;
        // What is between the brackets of a generic method does not count.
        let generic = line[name.len()..].starts_with('<');
        let rest = if generic {
            rest.split_once(">(")?.1
        } else {
            rest
        };
        let is_method = ["&self", "&mut self", "self:"].map(|it| rest.starts_with(it));
        is_method
            .contains(&true)
            .then(|| (name.to_owned(), is_async, rest.to_owned()))
    });
    methods.collect()
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
fn l21_every_method_of_what_a_user_holds_has_a_test() {
    for (file, covered) in HELD {
        let found = methods(&text(&format!("src/{file}")));
        let found: BTreeSet<_> = found.into_iter().map(|(name, ..)| name).collect();
        assert_eq!(found, names(covered), "the methods of {file}");
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
