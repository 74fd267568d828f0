//! The `options` of one line of the input.

use std::time::Duration;

use a3s_lane::{OnConflict, SubmitOptions, Unique};
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
    let (mut delay, mut ttl) = (None, None);
    for (field, value) in fields {
        let name = format!("options.{field}");
        parsed = match field.as_str() {
            "id" => parsed.with_id(text(&name, value)?),
            "priority" => parsed.with_priority(priority(&name, &value)?),
            "key" => parsed.with_key(text(&name, value)?),
            "delay_ms" => parsed.with_delay(*delay.insert(millis(&name, &value, 0)?)),
            "ttl_ms" => parsed.with_ttl(*ttl.insert(millis(&name, &value, 1)?)),
            "timeout_ms" => parsed.with_timeout(millis(&name, &value, 1)?),
            "progress_timeout_ms" => parsed.with_progress_timeout(millis(&name, &value, 1)?),
            "cost" => parsed.with_cost(whole(&name, &value, 0)?),
            "preemptible" => parsed.with_preemptible(truth(&name, &value)?),
            "unique" => parsed.with_unique(unique(value)?),
            _ => {
                return Err(format!(
                    "{name}: unknown option; options are id, priority, key, delay_ms, ttl_ms, timeout_ms, progress_timeout_ms, cost, preemptible and unique"
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
            .with_unique(
                Unique::new("u")
                    .with_window(Duration::from_millis(10))
                    .on_conflict(OnConflict::Join),
            );
        let parsed = parse(options).expect("all of it is valid");
        assert_eq!(format!("{parsed:?}"), format!("{expected:?}"));
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
