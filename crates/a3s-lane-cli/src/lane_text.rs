//! One lane as a configuration file writes it.

use std::ops::Range;
use std::time::Duration;

use a3s_lane::{LaneConfig, LaneOptions, PriorityBoostConfig, RateLimitConfig, RetryPolicy};
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
    rate_limit: Option<RateLimitText>,
    pressure_threshold: Option<Spanned<usize>>,
    boost: Option<BoostText>,
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
struct RateLimitText {
    max_commands: Spanned<u64>,
    window_ms: Spanned<u64>,
    burst: Option<Spanned<u64>>,
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

/// The settings of a lane.
pub(crate) fn lane_config(lane: LaneText) -> Result<LaneConfig, Refused> {
    let defaults = LaneConfig::default();
    let min = lane
        .min_concurrency
        .as_ref()
        .map_or(defaults.min_concurrency, |min| *min.get_ref());
    let max = match &lane.max_concurrency {
        Some(max) if *max.get_ref() == 0 => return Err(refuse(max, "expected at least 1, got 0")),
        Some(max) if *max.get_ref() < min && lane.min_concurrency.is_none() => {
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
    if let Some(timeout) = timeout(lane.timeout, lane.timeout_ms)? {
        config = config.with_timeout(timeout);
    }
    if let Some(retry) = lane.retry {
        config = config.with_retry_policy(retry_policy(retry)?);
    }
    if let Some(limit) = lane.rate_limit {
        config = config.with_rate_limit(rate_limit(&limit)?);
    }
    if let Some(threshold) = lane.pressure_threshold {
        if *threshold.get_ref() == 0 {
            return Err(refuse(&threshold, "expected at least 1, got 0"));
        }
        config = config.with_pressure_threshold(threshold.into_inner());
    }
    if let Some(boost) = lane.boost {
        config = config.with_priority_boost(priority_boost(&boost)?);
    }
    Ok(config)
}

/// The further settings of a lane.
pub(crate) fn lane_options(lane: &LaneText) -> LaneOptions {
    match lane
        .rate_limit
        .as_ref()
        .and_then(|limit| limit.burst.as_ref())
    {
        Some(burst) => LaneOptions::new().with_burst(*burst.get_ref()),
        None => LaneOptions::new(),
    }
}

fn timeout(
    text: Option<Spanned<String>>,
    millis: Option<Spanned<u64>>,
) -> Result<Option<Duration>, Refused> {
    let (value, span) = match (text, millis) {
        (Some(_), Some(millis)) => {
            return Err(refuse(
                &millis,
                "expected either timeout or timeout_ms, got both",
            ));
        }
        (None, None) => return Ok(None),
        (Some(text), None) => {
            let value =
                duration::parse(text.get_ref()).map_err(|message| refuse(&text, message))?;
            (value, text.span())
        }
        (None, Some(millis)) => (Duration::from_millis(*millis.get_ref()), millis.span()),
    };
    if value.is_zero() {
        let message = "expected more than zero; leave the key out for no limit".to_owned();
        return Err(Refused { span, message });
    }
    Ok(Some(value))
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
        if *value.get_ref() == 0 {
            return Err(refuse(value, "expected at least 1, got 0"));
        }
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
