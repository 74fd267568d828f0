//! The format of `tests/scenarios/*.json`. An unknown field or step is an error.

use std::collections::BTreeMap;

use a3s_lane::{Jitter, OnConflict, Overflow, testing};
use chrono::{DateTime, Utc};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) lanes: Option<Vec<Lane>>,
    pub(crate) dlq_size: Option<usize>,
    pub(crate) max_concurrency: Option<usize>,
    #[serde(default)]
    pub(crate) limiters: BTreeMap<String, Limiter>,
    #[serde(default)]
    pub(crate) clock: Clock,
    #[serde(default)]
    pub(crate) inline: bool,
    pub(crate) steps: Vec<Step>,
    #[serde(default)]
    pub(crate) events: Events,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Clock {
    #[default]
    Real,
    Manual,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lane {
    pub(crate) id: String,
    pub(crate) priority: u8,
    pub(crate) min: usize,
    pub(crate) max: usize,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) retry: Option<Retry>,
    pub(crate) pressure_threshold: Option<usize>,
    pub(crate) max_pending: Option<usize>,
    pub(crate) overflow: Option<Overflow>,
    pub(crate) preemptible: Option<bool>,
    pub(crate) grace_ms: Option<u64>,
    pub(crate) progress_timeout_ms: Option<u64>,
    pub(crate) max_concurrency_per_key: Option<usize>,
    #[serde(default)]
    pub(crate) key_weights: BTreeMap<String, u32>,
    pub(crate) retry_jitter: Option<Jitter>,
    pub(crate) rate_limit: Option<RateLimit>,
    pub(crate) burst: Option<u64>,
    #[serde(default)]
    pub(crate) limiters: Vec<String>,
    pub(crate) boost: Option<Boost>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retry {
    pub(crate) max_retries: u32,
    pub(crate) initial_delay_ms: u64,
    pub(crate) max_delay_ms: u64,
    pub(crate) multiplier: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateLimit {
    pub(crate) max_commands: u64,
    pub(crate) window_ms: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Boost {
    pub(crate) deadline_ms: u64,
    /// Time left in milliseconds, and the boost from then on.
    pub(crate) steps: Vec<(u64, u8)>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limiter {
    pub(crate) max_commands: u64,
    pub(crate) window_ms: u64,
    #[serde(default)]
    pub(crate) algorithm: Algorithm,
    pub(crate) burst: Option<u64>,
    #[serde(default)]
    pub(crate) counting_commands: bool,
    pub(crate) reserve: Option<Reserve>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Algorithm {
    #[default]
    TokenBucket,
    SlidingWindow,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reserve {
    pub(crate) amount: u64,
    pub(crate) urgent_up_to: u8,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    Start(Nothing),
    Submit(Submit),
    SubmitMany(SubmitMany),
    Echo(Echo),
    Await(Await),
    Cancel(Cancel),
    Pause(Target),
    Resume(Target),
    SetLane(SetLane),
    RemoveLane(RemoveLane),
    SetMaxConcurrency(SetMaxConcurrency),
    SetLimiter(SetLimiter),
    Explain(Explain),
    Status(Status),
    Chunks(Chunks),
    Progress(Progress),
    Snapshot(Map<String, Value>),
    Submitted(Submitted),
    SleepMs(u64),
    AdvanceMs(u64),
    DrainNow(DrainNow),
    Shutdown(Nothing),
    ShutdownWithin(ShutdownWithin),
    Drain(Drain),
    Stats(Stats),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Submit {
    #[serde(rename = "as")]
    pub(crate) name: String,
    pub(crate) lane: String,
    #[serde(default)]
    pub(crate) script: Vec<Vec<testing::Step>>,
    pub(crate) options: Option<Options>,
    pub(crate) joins: Option<String>,
    pub(crate) error: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubmitMany {
    pub(crate) lane: String,
    pub(crate) commands: Vec<OneOfMany>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OneOfMany {
    #[serde(rename = "as")]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) script: Vec<Vec<testing::Step>>,
    #[serde(default)]
    pub(crate) options: Options,
    pub(crate) joins: Option<String>,
    pub(crate) error: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    pub(crate) id: Option<String>,
    pub(crate) priority: Option<i32>,
    pub(crate) delay_ms: Option<u64>,
    pub(crate) run_at: Option<DateTime<Utc>>,
    pub(crate) ttl_ms: Option<u64>,
    pub(crate) timeout_ms: Option<u64>,
    #[serde(default)]
    pub(crate) no_timeout: bool,
    pub(crate) progress_timeout_ms: Option<u64>,
    pub(crate) retry: Option<Retry>,
    pub(crate) jitter: Option<Jitter>,
    pub(crate) key: Option<String>,
    pub(crate) unique: Option<Unique>,
    pub(crate) cost: Option<u64>,
    #[serde(default)]
    pub(crate) metadata: Map<String, Value>,
    pub(crate) preemptible: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unique {
    pub(crate) key: String,
    pub(crate) window_ms: Option<u64>,
    pub(crate) on_conflict: Option<OnConflict>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Echo {
    pub(crate) lane: String,
    #[serde(rename = "type")]
    pub(crate) command_type: String,
    pub(crate) payload: Value,
    pub(crate) error: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Await {
    #[serde(rename = "as")]
    pub(crate) name: String,
    /// `null` is a result like any other.
    #[serde(default, deserialize_with = "present")]
    pub(crate) ok: Option<Value>,
    pub(crate) error: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cancel {
    #[serde(rename = "as")]
    pub(crate) name: Option<String>,
    pub(crate) found: Option<bool>,
    pub(crate) lane: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) count: Option<usize>,
}

/// A lane or a key.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    Lane(String),
    Key(String),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub(crate) struct SetLane {
    pub(crate) lane: Lane,
    pub(crate) error: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemoveLane {
    pub(crate) id: String,
    pub(crate) error: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetMaxConcurrency {
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) total: Option<usize>,
    pub(crate) error: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub(crate) struct SetLimiter {
    pub(crate) name: String,
    pub(crate) limiter: Limiter,
    pub(crate) error: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Explain {
    #[serde(rename = "as")]
    pub(crate) name: String,
    pub(crate) reasons: Option<Vec<Reason>>,
    #[serde(default)]
    pub(crate) none: bool,
}

/// A reason by its name, or with some of its fields.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Reason {
    Name(String),
    With {
        reason: String,
        #[serde(flatten)]
        fields: Map<String, Value>,
    },
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Submitted {
    pub(crate) lane: String,
    #[serde(rename = "type")]
    pub(crate) command_type: String,
    #[serde(default, deserialize_with = "present")]
    pub(crate) payload: Option<Value>,
    pub(crate) found: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DrainNow {
    pub(crate) left: usize,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Status {
    #[serde(rename = "as")]
    pub(crate) name: String,
    pub(crate) is: String,
    #[serde(default)]
    pub(crate) now: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chunks {
    #[serde(rename = "as")]
    pub(crate) name: String,
    pub(crate) are: Vec<Value>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    #[serde(rename = "as")]
    pub(crate) name: String,
    pub(crate) is: Value,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShutdownWithin {
    pub(crate) timeout_ms: u64,
    #[serde(default)]
    pub(crate) pending: Vec<String>,
    #[serde(default)]
    pub(crate) stopped: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Drain {
    pub(crate) timeout_ms: u64,
    pub(crate) error: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stats {
    pub(crate) total_pending: Option<usize>,
    pub(crate) total_active: Option<usize>,
    pub(crate) dead_letter_count: Option<usize>,
    #[serde(default)]
    pub(crate) lanes: BTreeMap<String, LaneStats>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LaneStats {
    pub(crate) pending: Option<usize>,
    pub(crate) active: Option<usize>,
    pub(crate) min: Option<usize>,
    pub(crate) max: Option<usize>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Events {
    pub(crate) keys: Option<Vec<String>>,
    pub(crate) order: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) each: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(crate) max_active: BTreeMap<String, usize>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Takes an optional field out of an object.
fn take<T: DeserializeOwned>(
    fields: &mut Map<String, Value>,
    name: &str,
) -> serde_json::Result<Option<T>> {
    serde_json::from_value(fields.remove(name).unwrap_or_default())
}

impl TryFrom<Map<String, Value>> for SetLane {
    type Error = serde_json::Error;

    fn try_from(mut fields: Map<String, Value>) -> serde_json::Result<Self> {
        Ok(Self {
            error: take(&mut fields, "error")?,
            lane: serde_json::from_value(fields.into())?,
        })
    }
}

impl TryFrom<Map<String, Value>> for SetLimiter {
    type Error = serde_json::Error;

    fn try_from(mut fields: Map<String, Value>) -> serde_json::Result<Self> {
        let name = take(&mut fields, "name")?;
        Ok(Self {
            name: name.ok_or_else(|| serde_json::Error::missing_field("name"))?,
            error: take(&mut fields, "error")?,
            limiter: serde_json::from_value(fields.into())?,
        })
    }
}
