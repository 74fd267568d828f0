//! Lanes from a TOML file.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use a3s_lane::{LaneConfig, LaneOptions, LimiterConfig};
use serde::Deserialize;
use toml::Spanned;

use crate::lane_options::lane_options;
use crate::lane_text::{LaneText, Refused, at_least_one, lane_config, refuse};
use crate::limiter_text::{LimiterText, limiter_config};
use crate::{default_lanes, toml_path};

/// A configuration file may be this long, in bytes.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// How many dead letters are kept when the file does not say.
const DLQ_SIZE_DEFAULT: usize = 20;

/// What a configuration file describes.
#[derive(Debug)]
pub(crate) struct Config {
    /// Every lane, most urgent first, equal priorities by name.
    pub(crate) lanes: Vec<LaneSetup>,
    /// How many failed commands are kept for the report; 0 keeps none.
    pub(crate) dlq_size: usize,
    /// The most commands that run at once, over all lanes.
    pub(crate) total: Option<usize>,
    /// Limiters that lanes share by name.
    pub(crate) limiters: BTreeMap<String, LimiterConfig>,
}

/// One lane.
#[derive(Debug)]
pub(crate) struct LaneSetup {
    pub(crate) name: String,
    pub(crate) priority: u8,
    pub(crate) config: LaneConfig,
    pub(crate) options: LaneOptions,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    #[serde(default)]
    queue: QueueText,
    lanes: BTreeMap<Spanned<String>, LaneText>,
    #[serde(default)]
    limiters: BTreeMap<Spanned<String>, LimiterText>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct QueueText {
    dlq_size: Option<usize>,
    max_concurrency: Option<Spanned<usize>>,
}

impl Config {
    /// Reads the file, or the built-in lanes when there is none.
    pub(crate) fn load(path: Option<&Path>) -> Result<Self, String> {
        let Some(path) = path else {
            return Self::parse(default_lanes::TEXT, "built-in lanes");
        };
        let name = path.display().to_string();
        let length = std::fs::metadata(path)
            .map_err(|error| format!("cannot read {name}: {error}"))?
            .len();
        if length > FILE_BYTES_MAX {
            return Err(format!(
                "cannot read {name}: it has {length} bytes, at most {FILE_BYTES_MAX} are allowed"
            ));
        }
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {name}: {error}"))?;
        Self::parse(&text, &name)
    }

    /// Reads the text of a file called `name`; the error names file, line, column, lane and key.
    pub(crate) fn parse(text: &str, name: &str) -> Result<Self, String> {
        let file: FileText = toml::from_str(text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            at(text, name, &span, error.message())
        })?;
        Self::build(file).map_err(|refused| at(text, name, &refused.span, &refused.message))
    }

    fn build(file: FileText) -> Result<Self, Refused> {
        if file.lanes.is_empty() {
            return Err(Refused {
                span: 0..0,
                message: "expected at least one lane, such as [lanes.main]".to_owned(),
            });
        }
        let mut limiters = BTreeMap::new();
        for (name, limiter) in file.limiters {
            if name.get_ref().is_empty() {
                return Err(refuse(&name, "a limiter needs a name, got an empty one"));
            }
            limiters.insert(name.into_inner(), limiter_config(&limiter)?);
        }
        let mut lanes: Vec<LaneSetup> = Vec::with_capacity(file.lanes.len());
        for (key, mut lane) in file.lanes {
            if key.get_ref().is_empty() {
                return Err(refuse(&key, "a lane needs a name, got an empty one"));
            }
            let priority = lane.priority;
            let options = lane_options(&mut lane, &limiters)?;
            let config = lane_config(lane)?;
            lanes.push(LaneSetup {
                name: key.into_inner(),
                priority,
                config,
                options,
            });
        }
        // The map was ordered by name, and the sort is stable.
        lanes.sort_by_key(|lane| lane.priority);
        let total = file.queue.max_concurrency;
        if let Some(total) = &total {
            let minimums = lanes.iter().map(|lane| lane.config.min_concurrency);
            let minimum = minimums.fold(0, usize::saturating_add);
            if at_least_one(total)? < minimum {
                let text = format!(
                    "expected at least the sum of min_concurrency of all lanes ({minimum}), got {}",
                    total.get_ref()
                );
                return Err(refuse(total, text));
            }
        }
        Ok(Self {
            lanes,
            total: total.map(Spanned::into_inner),
            limiters,
            dlq_size: file.queue.dlq_size.unwrap_or(DLQ_SIZE_DEFAULT),
        })
    }
}

/// `file:line:column: lane "query", key "retry.multiplier": message`
fn at(text: &str, name: &str, span: &Range<usize>, message: &str) -> String {
    let (line, column) = toml_path::line_and_column(text, span.start);
    let keys = toml_path::keys_at(text, span.start);
    let place = match keys.split_first() {
        Some((first, rest)) if first == "lanes" && !rest.is_empty() => {
            let key = rest[1..].join(".");
            let key = if key.is_empty() {
                String::new()
            } else {
                format!(", key \"{key}\"")
            };
            format!("lane \"{}\"{key}: ", rest[0])
        }
        Some(_) => format!("key \"{}\": ", keys.join(".")),
        None => String::new(),
    };
    // serde's texts may span lines; the first one says it.
    let message = message.lines().next().unwrap_or_default();
    format!("{name}:{line}:{column}: {place}{message}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use a3s_lane::PriorityBoostConfig;

    use super::*;

    fn lane(keys: &str) -> LaneConfig {
        let text = format!("[lanes.a]\npriority = 1\n{keys}\n");
        let config = Config::parse(&text, "test").expect("the keys are valid");
        config.lanes.into_iter().next().expect("one lane").config
    }

    #[test]
    fn curves_are_those_of_the_library() {
        let deadline = Duration::from_secs(90);
        let boost =
            |curve: &str| lane(&format!("boost = {{ deadline_ms = 90000{curve} }}")).priority_boost;
        assert_eq!(boost(""), Some(PriorityBoostConfig::new(deadline)));
        let standard = PriorityBoostConfig::standard(deadline);
        assert_eq!(boost(", curve = \"standard\""), Some(standard));
        let aggressive = PriorityBoostConfig::aggressive(deadline);
        assert_eq!(boost(", curve = \"aggressive\""), Some(aggressive));
    }

    #[test]
    fn a_single_delay_pulls_the_other_along() {
        let delays = |keys: &str| {
            let policy = lane(&format!("retry = {{ max_retries = 1{keys} }}")).retry_policy;
            (
                policy.initial_delay.as_millis(),
                policy.max_delay.as_millis(),
            )
        };
        assert_eq!(delays(""), (100, 30_000));
        assert_eq!(delays(", initial_delay_ms = 60000"), (60_000, 60_000));
        assert_eq!(delays(", max_delay_ms = 7"), (7, 7));
        assert_eq!(delays(", initial_delay_ms = 7, max_delay_ms = 9"), (7, 9));
    }

    #[test]
    fn an_empty_lane_is_the_default_of_the_library() {
        assert_eq!(lane(""), LaneConfig::default());
    }
}
