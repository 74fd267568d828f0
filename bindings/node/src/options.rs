//! Settings of one command as JavaScript passes them.

use a3s_lane::testing::ScriptedCommand;
use a3s_lane::{Command, JsonCommand, OnConflict, SubmitOptions, Unique};
use chrono::{DateTime, Utc};
use napi_derive::napi;
use serde_json::{Map, Value};

use crate::fault::Fault;
use crate::payload;
use crate::range::{choice, large, millis, signed};
use crate::retry::{NativeRetryPolicy, jitter};

/// One command, as the typed entry hands it over: types are checked, ranges are not.
#[napi(object, object_to_js = false)]
pub struct NativeCommand {
    /// What kind of work it is.
    pub command_type: String,
    /// JSON text: what the command returns, or its script.
    pub payload: Option<String>,
    /// The payload is a script for tests.
    pub scripted: Option<bool>,
    /// The payload is for dead letters only: JavaScript keeps it, and the result, all the same.
    pub stays: Option<bool>,
    /// Default: as its lane says.
    pub options: Option<NativeSubmitOptions>,
}

/// What one command asks for, beside its lane's settings.
#[napi(object, object_to_js = false)]
#[derive(Default)]
pub struct NativeSubmitOptions {
    /// Default: a new UUID.
    pub id: Option<String>,
    /// Inside the lane; lower goes first.
    pub priority: Option<f64>,
    /// The shortest wait before the start.
    pub delay_ms: Option<f64>,
    /// The earliest start, in milliseconds since 1970.
    pub run_at_ms: Option<f64>,
    /// The longest wait for the first start.
    pub ttl_ms: Option<f64>,
    /// Limit of one attempt.
    pub timeout_ms: Option<f64>,
    /// No limit, whatever the lane's.
    pub no_timeout: Option<bool>,
    /// The longest time without a sign of life.
    pub progress_timeout_ms: Option<f64>,
    /// Instead of the lane's.
    pub retry_policy: Option<NativeRetryPolicy>,
    /// `none`, `full` or `equal`, instead of the lane's.
    pub jitter: Option<String>,
    /// Whose command it is.
    pub key: Option<String>,
    /// Admits no second command of this name.
    pub unique: Option<NativeUnique>,
    /// What limiters charge.
    pub cost: Option<f64>,
    /// JSON text of an object.
    pub metadata: Option<String>,
    /// False: never stopped for a more urgent lane.
    pub preemptible: Option<bool>,
}

/// A name of which there may be one command.
#[napi(object, object_to_js = false)]
pub struct NativeUnique {
    /// The name.
    pub key: String,
    /// How long it is held at least.
    pub window_ms: Option<f64>,
    /// `reject`, the default, `join` or `replace`.
    pub on_conflict: Option<String>,
}

/// A command whose arguments were checked.
pub(crate) struct Prepared {
    pub(crate) body: Box<dyn Command>,
    pub(crate) options: SubmitOptions,
    /// The id that the submitter has chosen.
    pub(crate) id: Option<String>,
}

impl NativeCommand {
    /// A fault when the text is not JSON or no script, or when an option is wrong. `hosted` makes the command of a type and
    /// a payload where a JavaScript thread may run it.
    pub(crate) fn prepare(
        self,
        hosted: Option<impl FnOnce(&str, Value) -> Box<dyn Command>>,
    ) -> Result<Prepared, Fault> {
        let payload = payload::parse(self.payload.as_deref())?;
        let body: Box<dyn Command> = match (self.scripted, hosted) {
            (Some(true), _) => Box::new(ScriptedCommand::from_json(self.command_type, &payload)?),
            (_, Some(hosted)) => hosted(&self.command_type, payload),
            (_, None) => Box::new(JsonCommand::new(self.command_type, payload)),
        };
        let options = self.options.unwrap_or_default();
        Ok(Prepared {
            body,
            options: options.resolve()?,
            id: options.id,
        })
    }
}

impl NativeSubmitOptions {
    /// The core's options; the error names the option and what would be right. What does not depend on the language is
    /// checked by the core.
    pub(crate) fn resolve(&self) -> Result<SubmitOptions, Fault> {
        let metadata = self.metadata()?;
        let options = self.checked().map_err(Fault::invalid_argument)?;
        Ok(metadata
            .into_iter()
            .fold(options, |options, (name, value)| {
                options.with_metadata(name, value)
            }))
    }

    fn metadata(&self) -> Result<Map<String, Value>, Fault> {
        match payload::parse_named("options.metadata", self.metadata.as_deref())? {
            Value::Object(metadata) => Ok(metadata),
            Value::Null => Ok(Map::new()),
            _ => Err(Fault::invalid_argument(
                "options.metadata must be a JSON object",
            )),
        }
    }

    fn checked(&self) -> Result<SubmitOptions, String> {
        let time = |field, value: Option<f64>| value.map(|value| millis(field, value)).transpose();
        let mut options = SubmitOptions::new();
        if let Some(id) = &self.id {
            options = options.with_id(id);
        }
        if let Some(priority) = self.priority {
            options = options.with_priority(signed("options.priority", priority)?);
        }
        if let Some(delay) = time("options.delayMs", self.delay_ms)? {
            options = options.with_delay(delay);
        }
        if let Some(run_at) = self.run_at_ms {
            options = options.with_run_at(date("options.runAt", run_at)?);
        }
        if let Some(ttl) = time("options.ttlMs", self.ttl_ms)? {
            options = options.with_ttl(ttl);
        }
        match (time("options.timeoutMs", self.timeout_ms)?, self.no_timeout) {
            (Some(_), Some(true)) => {
                return Err("options.timeoutMs and options.noTimeout must not both be set".into());
            }
            (Some(timeout), _) => options = options.with_timeout(timeout),
            (None, Some(true)) => options = options.with_no_timeout(),
            (None, _) => {}
        }
        if let Some(limit) = time("options.progressTimeoutMs", self.progress_timeout_ms)? {
            options = options.with_progress_timeout(limit);
        }
        if let Some(policy) = &self.retry_policy {
            options = options.with_retry_policy(policy.checked("options.retryPolicy")?);
        }
        if let Some(word) = &self.jitter {
            options = options.with_jitter(jitter("options.jitter", word)?);
        }
        if let Some(key) = &self.key {
            options = options.with_key(key);
        }
        if let Some(unique) = &self.unique {
            options = options.with_unique(unique.checked()?);
        }
        if let Some(cost) = self.cost {
            options = options.with_cost(large("options.cost", cost, 0)?);
        }
        if let Some(preemptible) = self.preemptible {
            options = options.with_preemptible(preemptible);
        }
        Ok(options)
    }
}

impl NativeUnique {
    fn checked(&self) -> Result<Unique, String> {
        let mut unique = Unique::new(&self.key);
        if let Some(window) = self.window_ms {
            unique = unique.with_window(millis("options.unique.windowMs", window)?);
        }
        if let Some(word) = &self.on_conflict {
            let known = [
                ("reject", OnConflict::Reject),
                ("join", OnConflict::Join),
                ("replace", OnConflict::Replace),
            ];
            unique = unique.on_conflict(choice("options.unique.onConflict", word, &known)?);
        }
        Ok(unique)
    }
}

/// A time that JavaScript counts in milliseconds since 1970; an invalid `Date` is not a number.
fn date(field: &str, millis: f64) -> Result<DateTime<Utc>, String> {
    let valid = millis.is_finite() && millis.abs() <= 8.64e15;
    valid
        .then(|| DateTime::from_timestamp_millis(millis as i64))
        .flatten()
        .ok_or_else(|| format!("{field} must be a valid Date (got an invalid one)"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use a3s_lane::{Jitter, RetryPolicy};
    use serde_json::json;

    use super::*;

    /// Options have no equality; their debug form shows every field.
    fn shown(options: &SubmitOptions) -> String {
        format!("{options:?}")
    }

    fn resolved(change: impl FnOnce(&mut NativeSubmitOptions)) -> Result<String, Fault> {
        let mut options = NativeSubmitOptions::default();
        change(&mut options);
        options.resolve().map(|options| shown(&options))
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        assert_eq!(resolved(|_| {}), Ok(shown(&SubmitOptions::new())));
    }

    #[test]
    fn every_field_arrives() {
        let ms = Duration::from_millis;
        let got = resolved(|options| {
            options.id = Some("a".into());
            options.priority = Some(-3.0);
            options.delay_ms = Some(1.0);
            options.run_at_ms = Some(1_500.0);
            options.ttl_ms = Some(2.0);
            options.timeout_ms = Some(3.5);
            options.no_timeout = Some(false);
            options.progress_timeout_ms = Some(4.0);
            options.retry_policy = Some(NativeRetryPolicy {
                max_retries: 5.0,
                initial_delay_ms: None,
                max_delay_ms: None,
                multiplier: None,
            });
            options.jitter = Some("full".into());
            options.key = Some("k".into());
            options.unique = Some(NativeUnique {
                key: "u".into(),
                window_ms: Some(6.0),
                on_conflict: Some("replace".into()),
            });
            options.cost = Some(7.0);
            options.metadata = Some(r#"{"user":7}"#.into());
            options.preemptible = Some(false);
        });
        let expected = SubmitOptions::new()
            .with_id("a")
            .with_priority(-3)
            .with_delay(ms(1))
            .with_run_at(DateTime::from_timestamp_millis(1_500).expect("a date"))
            .with_ttl(ms(2))
            .with_timeout(Duration::from_micros(3_500))
            .with_progress_timeout(ms(4))
            .with_retry_policy(RetryPolicy::exponential(5))
            .with_jitter(Jitter::Full)
            .with_key("k")
            .with_unique(
                Unique::new("u")
                    .with_window(ms(6))
                    .on_conflict(OnConflict::Replace),
            )
            .with_cost(7)
            .with_metadata("user", json!(7))
            .with_preemptible(false);
        assert_eq!(got, Ok(shown(&expected)));
        assert_eq!(
            resolved(|options| options.no_timeout = Some(true)),
            Ok(shown(&SubmitOptions::new().with_no_timeout()))
        );
    }

    #[test]
    fn wrong_values_are_refused_with_their_option() {
        let refused = |change: fn(&mut NativeSubmitOptions)| {
            let fault = resolved(change).expect_err("it is wrong");
            assert_eq!(fault.code, "INVALID_ARGUMENT");
            fault.message
        };
        for (option, message) in [
            ("priority", refused(|options| options.priority = Some(0.5))),
            ("delayMs", refused(|options| options.delay_ms = Some(-1.0))),
            (
                "runAt",
                refused(|options| options.run_at_ms = Some(f64::NAN)),
            ),
            ("runAt", refused(|options| options.run_at_ms = Some(1e300))),
            ("ttlMs", refused(|options| options.ttl_ms = Some(-1.0))),
            (
                "timeoutMs",
                refused(|options| options.timeout_ms = Some(f64::INFINITY)),
            ),
            (
                "progressTimeoutMs",
                refused(|options| options.progress_timeout_ms = Some(1e300)),
            ),
            ("cost", refused(|options| options.cost = Some(-1.0))),
            (
                "jitter",
                refused(|options| options.jitter = Some("some".into())),
            ),
            (
                "metadata",
                refused(|options| options.metadata = Some("[]".into())),
            ),
        ] {
            assert!(
                message.contains(&format!("options.{option} must be")),
                "{message}"
            );
        }
        let both = refused(|options| {
            options.timeout_ms = Some(1.0);
            options.no_timeout = Some(true);
        });
        assert!(
            both.contains("options.timeoutMs and options.noTimeout"),
            "{both}"
        );
    }
}
