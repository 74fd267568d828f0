//! The `options` of one line of the input.

use std::time::Duration;

use a3s_lane::{Jitter, OnConflict, RetryPolicy, SubmitOptions, Unique};
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::payload::kind_of;

/// Checks the `options` of a line; the error names the field.
pub(crate) fn parse(options: Value) -> Result<SubmitOptions, String> {
    let Value::Object(fields) = options else {
        return Err(format!(
            "options: expected an object, got {}",
            kind_of(&options)
        ));
    };
    let mut parsed = SubmitOptions::new();
    for (field, other) in [("run_at", "delay_ms"), ("no_timeout", "timeout_ms")] {
        if fields.contains_key(field) && fields.contains_key(other) {
            return Err(format!("options.{field}: expected no {other} beside it"));
        }
    }
    let (mut delay, mut ttl) = (None, None);
    for (field, value) in fields {
        let name = format!("options.{field}");
        parsed = match field.as_str() {
            "id" => parsed.with_id(text(&name, value)?),
            "priority" => parsed.with_priority(priority(&name, &value)?),
            "key" => parsed.with_key(text(&name, value)?),
            "delay_ms" => parsed.with_delay(*delay.insert(millis(&name, &value, 0)?)),
            "run_at" => parsed.with_run_at(moment(&name, &value)?),
            "ttl_ms" => parsed.with_ttl(*ttl.insert(millis(&name, &value, 1)?)),
            "timeout_ms" => parsed.with_timeout(millis(&name, &value, 1)?),
            "no_timeout" => match truth(&name, &value)? {
                true => parsed.with_no_timeout(),
                false => parsed,
            },
            "progress_timeout_ms" => parsed.with_progress_timeout(millis(&name, &value, 1)?),
            "retry" => parsed.with_retry_policy(retry(value)?),
            "retry_jitter" => parsed.with_jitter(jitter(&name, &value)?),
            "cost" => parsed.with_cost(whole(&name, &value, 0)?),
            "preemptible" => parsed.with_preemptible(truth(&name, &value)?),
            "unique" => parsed.with_unique(unique(value)?),
            _ => {
                return Err(format!(
                    "{name}: unknown option; options are id, priority, key, delay_ms, run_at, ttl_ms, timeout_ms, no_timeout, progress_timeout_ms, retry, retry_jitter, cost, preemptible and unique"
                ));
            }
        };
    }
    match (delay, ttl) {
        (Some(delay), Some(ttl)) if ttl <= delay => Err(format!(
            "options.ttl_ms: expected more than delay_ms ({}), got {}",
            delay.as_millis(),
            ttl.as_millis()
        )),
        _ => Ok(parsed),
    }
}

/// A lane's `retry`, for one command.
fn retry(value: Value) -> Result<RetryPolicy, String> {
    let Value::Object(fields) = value else {
        let kind = kind_of(&value);
        return Err(format!("options.retry: expected an object, got {kind}"));
    };
    let (mut retries, mut initial, mut max, mut multiplier) = (None, None, None, None);
    for (field, value) in fields {
        let name = format!("options.retry.{field}");
        match field.as_str() {
            "max_retries" => {
                let number = u32::try_from(whole(&name, &value, 0)?);
                let wrong = |_| format!("{name}: expected at most {}, got {value}", u32::MAX);
                retries = Some(number.map_err(wrong)?);
            }
            "initial_delay_ms" => initial = Some(millis(&name, &value, 0)?),
            "max_delay_ms" => max = Some(millis(&name, &value, 0)?),
            "multiplier" => {
                let number = value.as_f64().filter(|number| *number >= 1.0);
                let wrong = || format!("{name}: expected a number of at least 1, got {value}");
                multiplier = Some(number.ok_or_else(wrong)?);
            }
            _ => {
                return Err(format!(
                    "{name}: unknown field; retry takes max_retries, initial_delay_ms, max_delay_ms and multiplier"
                ));
            }
        }
    }
    let retries = retries.ok_or("options.retry: missing field \"max_retries\"")?;
    let mut policy = RetryPolicy::exponential(retries);
    // A single delay pulls the default of the other along, as in a lane.
    if let Some(initial) = initial {
        policy.initial_delay = initial;
        policy.max_delay = policy.max_delay.max(initial);
    }
    if let Some(max) = max {
        if initial.is_some_and(|initial| max < initial) {
            return Err(format!(
                "options.retry.max_delay_ms: expected at least initial_delay_ms ({}), got {}",
                policy.initial_delay.as_millis(),
                max.as_millis()
            ));
        }
        policy.max_delay = max;
        policy.initial_delay = policy.initial_delay.min(max);
    }
    policy.multiplier = multiplier.unwrap_or(policy.multiplier);
    Ok(policy)
}

fn jitter(name: &str, value: &Value) -> Result<Jitter, String> {
    match value.as_str() {
        Some("none") => Ok(Jitter::None),
        Some("full") => Ok(Jitter::Full),
        Some("equal") => Ok(Jitter::Equal),
        _ => Err(format!(
            "{name}: expected \"none\", \"full\" or \"equal\", got {value}"
        )),
    }
}

fn moment(name: &str, value: &Value) -> Result<DateTime<Utc>, String> {
    let moment = value.as_str().and_then(|text| text.parse().ok());
    moment.ok_or_else(|| {
        format!("{name}: expected a time such as \"2030-01-31T08:00:00Z\", got {value}")
    })
}

/// A key, or an object of key, window and what happens to a second command.
fn unique(value: Value) -> Result<Unique, String> {
    let fields = match value {
        Value::Object(fields) => fields,
        key => return Ok(Unique::new(text("options.unique", key)?)),
    };
    let (mut key, mut window, mut rule) = (None, None, OnConflict::default());
    for (field, value) in fields {
        let name = format!("options.unique.{field}");
        match field.as_str() {
            "key" => key = Some(text(&name, value)?),
            "window_ms" => window = Some(millis(&name, &value, 1)?),
            "on_conflict" => {
                rule = match value.as_str() {
                    Some("reject") => OnConflict::Reject,
                    Some("join") => OnConflict::Join,
                    Some("replace") => OnConflict::Replace,
                    _ => {
                        return Err(format!(
                            "{name}: expected \"reject\", \"join\" or \"replace\", got {value}"
                        ));
                    }
                }
            }
            _ => {
                return Err(format!(
                    "{name}: unknown field; unique takes key, window_ms and on_conflict"
                ));
            }
        }
    }
    let key = key.ok_or("options.unique: missing field \"key\"")?;
    let unique = Unique::new(key).on_conflict(rule);
    Ok(match window {
        Some(window) => unique.with_window(window),
        None => unique,
    })
}

fn text(name: &str, value: Value) -> Result<String, String> {
    match value {
        Value::String(text) if !text.is_empty() => Ok(text),
        Value::String(_) => Err(format!(
            "{name}: expected a text that is not empty, got \"\""
        )),
        other => Err(format!(
            "{name}: expected a string, got {}",
            kind_of(&other)
        )),
    }
}

fn priority(name: &str, value: &Value) -> Result<i32, String> {
    let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
    number.ok_or_else(|| {
        format!(
            "{name}: expected a whole number from {} to {}, got {value}",
            i32::MIN,
            i32::MAX
        )
    })
}

fn whole(name: &str, value: &Value, least: u64) -> Result<u64, String> {
    let number = value.as_u64().filter(|number| *number >= least);
    number
        .ok_or_else(|| format!("{name}: expected a whole number of at least {least}, got {value}"))
}

fn millis(name: &str, value: &Value, least: u64) -> Result<Duration, String> {
    whole(name, value, least).map(Duration::from_millis)
}

fn truth(name: &str, value: &Value) -> Result<bool, String> {
    value
        .as_bool()
        .ok_or_else(|| format!("{name}: expected true or false, got {value}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_option_is_read() {
        let options = json!({
            "id": "a", "priority": -3, "key": "k", "delay_ms": 5, "ttl_ms": 6, "timeout_ms": 7,
            "progress_timeout_ms": 8, "cost": 9, "preemptible": false,
            "retry": { "max_retries": 11, "initial_delay_ms": 12, "max_delay_ms": 13, "multiplier": 1.5 },
            "retry_jitter": "equal",
            "unique": { "key": "u", "window_ms": 10, "on_conflict": "join" },
        });
        let expected = SubmitOptions::new()
            .with_id("a")
            .with_priority(-3)
            .with_key("k")
            .with_delay(Duration::from_millis(5))
            .with_ttl(Duration::from_millis(6))
            .with_timeout(Duration::from_millis(7))
            .with_progress_timeout(Duration::from_millis(8))
            .with_cost(9)
            .with_preemptible(false)
            .with_retry_policy(RetryPolicy {
                max_retries: 11,
                initial_delay: Duration::from_millis(12),
                max_delay: Duration::from_millis(13),
                multiplier: 1.5,
            })
            .with_jitter(Jitter::Equal)
            .with_unique(
                Unique::new("u")
                    .with_window(Duration::from_millis(10))
                    .on_conflict(OnConflict::Join),
            );
        let parsed = parse(options).expect("all of it is valid");
        assert_eq!(format!("{parsed:?}"), format!("{expected:?}"));
        let others = json!({ "run_at": "2030-01-31T08:00:00+01:00", "no_timeout": true });
        let time = DateTime::from_timestamp(1_896_073_200, 0).expect("a time");
        let expected = SubmitOptions::new().with_run_at(time).with_no_timeout();
        let parsed = parse(others).expect("all of it is valid");
        assert_eq!(format!("{parsed:?}"), format!("{expected:?}"));
    }

    #[test]
    fn a_single_delay_of_a_retry_pulls_the_other_along() {
        let delays = |retry: Value| {
            let policy = super::retry(retry).expect("it is valid");
            [policy.initial_delay, policy.max_delay].map(|delay| delay.as_millis())
        };
        assert_eq!(delays(json!({"max_retries": 1})), [100, 30_000]);
        assert_eq!(
            delays(json!({"max_retries": 1, "initial_delay_ms": 60_000})),
            [60_000, 60_000]
        );
        assert_eq!(delays(json!({"max_retries": 1, "max_delay_ms": 5})), [5, 5]);
    }

    #[test]
    fn errors_name_the_option() {
        for (options, text) in [
            (json!(1), "options: expected an object, got a number"),
            (
                json!({"id": ""}),
                "options.id: expected a text that is not empty, got \"\"",
            ),
            (
                json!({"key": 1}),
                "options.key: expected a string, got a number",
            ),
            (
                json!({"priority": 1.5}),
                "options.priority: expected a whole number from -2147483648 to 2147483647, got 1.5",
            ),
            (
                json!({"timeout_ms": 0}),
                "options.timeout_ms: expected a whole number of at least 1, got 0",
            ),
            (
                json!({"cost": -1}),
                "options.cost: expected a whole number of at least 0, got -1",
            ),
            (
                json!({"preemptible": "no"}),
                "options.preemptible: expected true or false, got \"no\"",
            ),
            (
                json!({"delay_ms": 5, "ttl_ms": 5}),
                "options.ttl_ms: expected more than delay_ms (5), got 5",
            ),
            (
                json!({"run_at": "tomorrow"}),
                "options.run_at: expected a time such as \"2030-01-31T08:00:00Z\", got \"tomorrow\"",
            ),
            (
                json!({"run_at": "2030-01-31T08:00:00Z", "delay_ms": 1}),
                "options.run_at: expected no delay_ms beside it",
            ),
            (
                json!({"no_timeout": true, "timeout_ms": 1}),
                "options.no_timeout: expected no timeout_ms beside it",
            ),
            (
                json!({"no_timeout": 1}),
                "options.no_timeout: expected true or false, got 1",
            ),
            (
                json!({"retry_jitter": "some"}),
                "options.retry_jitter: expected \"none\", \"full\" or \"equal\", got \"some\"",
            ),
            (
                json!({"retry": 3}),
                "options.retry: expected an object, got a number",
            ),
            (
                json!({"retry": {}}),
                "options.retry: missing field \"max_retries\"",
            ),
            (
                json!({"retry": {"max_retries": 4_294_967_296_u64}}),
                "options.retry.max_retries: expected at most 4294967295, got 4294967296",
            ),
            (
                json!({"retry": {"max_retries": 1, "multiplier": 0.5}}),
                "options.retry.multiplier: expected a number of at least 1, got 0.5",
            ),
            (
                json!({"retry": {"max_retries": 1, "initial_delay_ms": 2, "max_delay_ms": 1}}),
                "options.retry.max_delay_ms: expected at least initial_delay_ms (2), got 1",
            ),
            (
                json!({"retry": {"retries": 1}}),
                "options.retry.retries: unknown field; retry takes max_retries, initial_delay_ms, max_delay_ms and multiplier",
            ),
            (
                json!({"unique": {}}),
                "options.unique: missing field \"key\"",
            ),
            (
                json!({"unique": {"key": "a", "on_conflict": "wait"}}),
                "options.unique.on_conflict: expected \"reject\", \"join\" or \"replace\", got \"wait\"",
            ),
            (
                json!({"unique": {"name": "a"}}),
                "options.unique.name: unknown field; unique takes key, window_ms and on_conflict",
            ),
        ] {
            assert_eq!(
                parse(options.clone()).expect_err("it is wrong"),
                text,
                "{options}"
            );
        }
        let unknown = parse(json!({"delay": 1})).expect_err("it is unknown");
        assert!(
            unknown.starts_with("options.delay: unknown option; options are id, "),
            "{unknown}"
        );
    }
}
