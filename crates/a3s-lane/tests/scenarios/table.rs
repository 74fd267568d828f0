//! The format of `tests/scenarios/*.json`. An unknown field or step is an error.

use std::collections::BTreeMap;

use a3s_lane::testing;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) lanes: Option<Vec<Lane>>,
    pub(crate) dlq_size: Option<usize>,
    pub(crate) steps: Vec<Step>,
    #[serde(default)]
    pub(crate) events: Events,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lane {
    pub(crate) id: String,
    pub(crate) priority: u8,
    pub(crate) min: usize,
    pub(crate) max: usize,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) retry: Option<Retry>,
    pub(crate) pressure_threshold: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retry {
    pub(crate) max_retries: u32,
    pub(crate) initial_delay_ms: u64,
    pub(crate) max_delay_ms: u64,
    pub(crate) multiplier: f64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    Start(Nothing),
    Submit(Submit),
    Echo(Echo),
    Await(Await),
    Shutdown(Nothing),
    Drain(Drain),
    Stats(Stats),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Submit {
    #[serde(rename = "as")]
    pub(crate) name: String,
    pub(crate) lane: String,
    #[serde(default)]
    pub(crate) script: Vec<Vec<testing::Step>>,
    pub(crate) error: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Echo {
    pub(crate) lane: String,
    #[serde(rename = "type")]
    pub(crate) command_type: String,
    pub(crate) payload: Value,
    pub(crate) error: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Await {
    #[serde(rename = "as")]
    pub(crate) name: String,
    /// `null` is a result like any other.
    #[serde(default, deserialize_with = "present")]
    pub(crate) ok: Option<Value>,
    pub(crate) error: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Drain {
    pub(crate) timeout_ms: u64,
    pub(crate) error: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stats {
    pub(crate) total_pending: Option<usize>,
    pub(crate) total_active: Option<usize>,
    pub(crate) dead_letter_count: Option<usize>,
    #[serde(default)]
    pub(crate) lanes: BTreeMap<String, LaneStats>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LaneStats {
    pub(crate) pending: Option<usize>,
    pub(crate) active: Option<usize>,
    pub(crate) min: Option<usize>,
    pub(crate) max: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
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
