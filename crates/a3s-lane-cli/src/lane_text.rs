//! One lane as a configuration file writes it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use a3s_lane::{LaneConfig, PriorityBoostConfig, RateLimitConfig, RetryPolicy};
use serde::Deserialize;
use toml::Spanned;

use crate::duration;

/// The keys of `[lanes.NAME]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LaneText {
    pub(crate) priority: u8,
    min_concurrency: Option<Spanned<usize>>,
    max_concurrency: Option<Spanned<usize>>,
    timeout: Option<Spanned<String>>,
    timeout_ms: Option<Spanned<u64>>,
    retry: Option<RetryText>,
    pub(crate) rate_limit: Option<RateLimitText>,
    pressure_threshold: Option<Spanned<usize>>,
    boost: Option<BoostText>,
    pub(crate) max_pending: Option<Spanned<usize>>,
    pub(crate) overflow: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) preemptible: bool,
    pub(crate) grace: Option<Spanned<String>>,
    pub(crate) grace_ms: Option<Spanned<u64>>,
    pub(crate) progress_timeout: Option<Spanned<String>>,
    pub(crate) progress_timeout_ms: Option<Spanned<u64>>,
    pub(crate) max_concurrency_per_key: Option<Spanned<usize>>,
    #[serde(default)]
    pub(crate) key_weights: BTreeMap<Spanned<String>, Spanned<u32>>,
    pub(crate) retry_jitter: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) limiters: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetryText {
    max_retries: u32,
    initial_delay_ms: Option<Spanned<u64>>,
    max_delay_ms: Option<Spanned<u64>>,
    multiplier: Option<Spanned<f64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateLimitText {
    max_commands: Spanned<u64>,
    window_ms: Spanned<u64>,
    pub(crate) burst: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BoostText {
    deadline_ms: Spanned<u64>,
    curve: Option<Spanned<Curve>>,
    #[serde(default)]
    steps: Vec<BoostStepText>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Curve {
    Standard,
    Aggressive,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BoostStepText {
    remaining_ms: Spanned<u64>,
    raise: u8,
}

/// A refused value: where it stands and why.
pub(crate) struct Refused {
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
}

/// Refuses a value where it stands.
pub(crate) fn refuse<T>(value: &Spanned<T>, message: impl Into<String>) -> Refused {
    Refused {
        span: value.span(),
        message: message.into(),
    }
}

/// A number that must not be zero.
pub(crate) fn at_least_one<T: Copy + Default + PartialEq>(
    value: &Spanned<T>,
) -> Result<T, Refused> {
    if *value.get_ref() == T::default() {
        return Err(refuse(value, "expected at least 1, got 0"));
    }
    Ok(*value.get_ref())
}

/// The settings of a lane.
pub(crate) fn lane_config(mut lane: LaneText) -> Result<LaneConfig, Refused> {
    let defaults = LaneConfig::default();
    let min = lane
        .min_concurrency
        .as_ref()
        .map_or(defaults.min_concurrency, |min| *min.get_ref());
    let max = match &lane.max_concurrency {
        Some(max) if at_least_one(max)? < min && lane.min_concurrency.is_none() => {
            return Err(refuse(
                max,
                format!("expected at least the default min_concurrency ({min})"),
            ));
        }
        Some(max) => *max.get_ref(),
        None => defaults.max_concurrency.max(min),
    };
    if let Some(span) = lane.min_concurrency.filter(|_| min > max) {
        return Err(refuse(
            &span,
            format!("expected at most max_concurrency ({max}), got {min}"),
        ));
    }
    let mut config = LaneConfig::new(min, max);
    if let Some((limit, span)) = duration_of(&mut lane.timeout, &mut lane.timeout_ms, "timeout")? {
        if limit.is_zero() {
            let message = "expected more than zero; leave the key out for no limit".to_owned();
            return Err(Refused { span, message });
        }
        config = config.with_timeout(limit);
    }
    if let Some(retry) = lane.retry {
        config = config.with_retry_policy(retry_policy(retry)?);
    }
    if let Some(limit) = lane.rate_limit {
        config = config.with_rate_limit(rate_limit(&limit)?);
    }
    if let Some(threshold) = lane.pressure_threshold {
        config = config.with_pressure_threshold(at_least_one(&threshold)?);
    }
    if let Some(boost) = lane.boost {
        config = config.with_priority_boost(priority_boost(&boost)?);
    }
    Ok(config)
}

/// A duration that is written as a text, or in milliseconds under `NAME_ms`, and where it stands.
pub(crate) fn duration_of(
    text: &mut Option<Spanned<String>>,
    millis: &mut Option<Spanned<u64>>,
    name: &str,
) -> Result<Option<(Duration, Range<usize>)>, Refused> {
    match (text.take(), millis.take()) {
        (Some(_), Some(millis)) => Err(refuse(
            &millis,
            format!("expected either {name} or {name}_ms, got both"),
        )),
        (None, None) => Ok(None),
        (Some(text), None) => {
            let value =
                duration::parse(text.get_ref()).map_err(|message| refuse(&text, message))?;
            Ok(Some((value, text.span())))
        }
        (None, Some(millis)) => {
            let value = Duration::from_millis(*millis.get_ref());
            Ok(Some((value, millis.span())))
        }
    }
}

fn retry_policy(retry: RetryText) -> Result<RetryPolicy, Refused> {
    let mut policy = RetryPolicy::exponential(retry.max_retries);
    match (retry.initial_delay_ms, retry.max_delay_ms) {
        (Some(initial), Some(max)) if max.get_ref() < initial.get_ref() => {
            let message = format!(
                "expected at least initial_delay_ms ({}), got {}",
                initial.get_ref(),
                max.get_ref()
            );
            return Err(refuse(&max, message));
        }
        // A single delay pulls the default of the other along.
        (initial, max) => {
            if let Some(initial) = &initial {
                policy.initial_delay = Duration::from_millis(*initial.get_ref());
                policy.max_delay = policy.max_delay.max(policy.initial_delay);
            }
            if let Some(max) = &max {
                policy.max_delay = Duration::from_millis(*max.get_ref());
                policy.initial_delay = policy.initial_delay.min(policy.max_delay);
            }
        }
    }
    if let Some(multiplier) = retry.multiplier {
        let value = *multiplier.get_ref();
        if !value.is_finite() || value < 1.0 {
            return Err(refuse(
                &multiplier,
                format!("expected a number of at least 1, got {value}"),
            ));
        }
        policy.multiplier = value;
    }
    Ok(policy)
}

fn rate_limit(limit: &RateLimitText) -> Result<RateLimitConfig, Refused> {
    for value in [
        Some(&limit.max_commands),
        Some(&limit.window_ms),
        limit.burst.as_ref(),
    ]
    .into_iter()
    .flatten()
    {
        at_least_one(value)?;
    }
    let window = Duration::from_millis(*limit.window_ms.get_ref());
    Ok(RateLimitConfig::new(*limit.max_commands.get_ref(), window))
}

fn priority_boost(boost: &BoostText) -> Result<PriorityBoostConfig, Refused> {
    let deadline_ms = *boost.deadline_ms.get_ref();
    if deadline_ms == 0 {
        return Err(refuse(&boost.deadline_ms, "expected at least 1, got 0"));
    }
    let deadline = Duration::from_millis(deadline_ms);
    let mut config = match &boost.curve {
        Some(curve) if !boost.steps.is_empty() => {
            return Err(refuse(curve, "expected either curve or steps, got both"));
        }
        Some(curve) => match curve.get_ref() {
            Curve::Standard => PriorityBoostConfig::standard(deadline),
            Curve::Aggressive => PriorityBoostConfig::aggressive(deadline),
        },
        None => PriorityBoostConfig::new(deadline),
    };
    for step in &boost.steps {
        let remaining_ms = *step.remaining_ms.get_ref();
        if remaining_ms > deadline_ms {
            let message =
                format!("expected at most deadline_ms ({deadline_ms}), got {remaining_ms}");
            return Err(refuse(&step.remaining_ms, message));
        }
        config = config.with_boost(Duration::from_millis(remaining_ms), step.raise);
    }
    Ok(config)
}
