//! Settings of one lane.

use std::time::Duration;

use serde::{Deserialize, Serialize};

#[cfg(feature = "distributed")]
use crate::boost::PriorityBoostConfig;
use crate::error::{LaneError, Result};
#[cfg(feature = "distributed")]
use crate::ratelimit::RateLimitConfig;
use crate::retry::RetryPolicy;

/// Settings of one lane: how much runs at once, and the policies for every command of the lane.
///
/// Nothing is checked here: a manager refuses bad settings when it is built and names the lane and the field.
///
/// In its serialised form `default_timeout` is a number of milliseconds, with a fraction when needed (`1500`, `1.5`); the
/// other durations are `{"secs": .., "nanos": ..}`. What is not set is left out. `min_concurrency` and `max_concurrency`
/// are required on input, everything else is optional.
///
/// # Examples
///
/// ```
/// use a3s_lane::{LaneConfig, RetryPolicy};
/// use std::time::Duration;
///
/// let config = LaneConfig::new(1, 8)
///     .with_timeout(Duration::from_secs(30))
///     .with_retry_policy(RetryPolicy::exponential(3));
/// assert_eq!(config.max_concurrency, 8);
/// ```
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct LaneConfig {
    /// Slots kept for this lane when the manager has a total limit; informational otherwise.
    pub min_concurrency: usize,
    /// Most commands of this lane that run at once; `usize::MAX` means no limit.
    pub max_concurrency: usize,
    /// Longest time one attempt may take; `None` means no limit.
    #[serde(default, with = "timeout_ms", skip_serializing_if = "Option::is_none")]
    pub default_timeout: Option<Duration>,
    /// How often a failed command runs again.
    #[serde(default)]
    pub retry_policy: RetryPolicy,
    /// How many commands may start per unit of time; `None` means no limit.
    #[cfg(feature = "distributed")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimitConfig>,
    /// How commands become more urgent while they wait; `None` means never.
    #[cfg(feature = "distributed")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_boost: Option<PriorityBoostConfig>,
    /// Number of pending commands at which the lane reports pressure; `None` means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pressure_threshold: Option<usize>,
}

impl Default for LaneConfig {
    fn default() -> Self {
        Self::new(1, 4)
    }
}

impl LaneConfig {
    /// A lane with these concurrency limits, no timeout, no retries and no other policy.
    pub fn new(min_concurrency: usize, max_concurrency: usize) -> Self {
        Self {
            min_concurrency,
            max_concurrency,
            default_timeout: None,
            retry_policy: RetryPolicy::default(),
            #[cfg(feature = "distributed")]
            rate_limit: None,
            #[cfg(feature = "distributed")]
            priority_boost: None,
            pressure_threshold: None,
        }
    }

    /// Sets the longest time one attempt may take.
    ///
    /// An attempt that runs longer is dropped and counts as a failure. Code that blocks its thread cannot be dropped: it
    /// keeps running to its end, but no longer occupies a slot of the lane.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.default_timeout = Some(timeout);
        self
    }

    /// Sets how often a failed command runs again.
    pub fn with_retry_policy(mut self, retry_policy: RetryPolicy) -> Self {
        self.retry_policy = retry_policy;
        self
    }

    /// Sets how many commands may start per unit of time.
    #[cfg(feature = "distributed")]
    pub fn with_rate_limit(mut self, rate_limit: RateLimitConfig) -> Self {
        self.rate_limit = Some(rate_limit);
        self
    }

    /// Sets how commands become more urgent while they wait.
    #[cfg(feature = "distributed")]
    pub fn with_priority_boost(mut self, priority_boost: PriorityBoostConfig) -> Self {
        self.priority_boost = Some(priority_boost);
        self
    }

    /// Sets the number of pending commands at which the lane reports pressure.
    pub fn with_pressure_threshold(mut self, threshold: usize) -> Self {
        self.pressure_threshold = Some(threshold);
        self
    }

    /// Checks every setting; the error names the lane and the field.
    pub(crate) fn validate(&self, lane_id: &str) -> Result<()> {
        if lane_id.is_empty() {
            return Err(LaneError::ConfigError("lane id must not be empty".into()));
        }
        self.check().map_err(|text| for_lane(lane_id, &text))
    }

    fn check(&self) -> std::result::Result<(), String> {
        if self.max_concurrency == 0 {
            return Err("max_concurrency must be at least 1 (got 0)".into());
        }
        if self.min_concurrency > self.max_concurrency {
            return Err(format!(
                "min_concurrency must not be above max_concurrency (got {} and {})",
                self.min_concurrency, self.max_concurrency
            ));
        }
        if self.default_timeout == Some(Duration::ZERO) {
            return Err("default_timeout must be longer than zero (got 0ns)".into());
        }
        if self.pressure_threshold == Some(0) {
            return Err("pressure_threshold must be at least 1 (got 0)".into());
        }
        self.retry_policy.validate()?;
        #[cfg(feature = "distributed")]
        {
            if let Some(rate_limit) = &self.rate_limit {
                rate_limit.validate()?;
            }
            if let Some(boost) = &self.priority_boost {
                boost.validate()?;
            }
        }
        Ok(())
    }

    fn has_rate_limit(&self) -> bool {
        #[cfg(feature = "distributed")]
        return self.rate_limit.is_some();
        #[cfg(not(feature = "distributed"))]
        return false;
    }
}

/// Further settings of one lane, beside its [`LaneConfig`].
///
/// New settings appear here, so that code that fills in every field of `LaneConfig` keeps compiling.
///
/// # Examples
///
/// ```
/// use a3s_lane::config::LaneOptions;
///
/// let options = LaneOptions::new().with_burst(5);
/// assert_eq!(options.burst(), Some(5));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct LaneOptions {
    /// Kept private, so that a setting is only reached by its named methods.
    #[serde(skip_serializing_if = "Option::is_none")]
    burst: Option<u64>,
}

impl LaneOptions {
    /// Every setting at its default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the most commands that a rate-limited lane may start at once, after it was idle for long.
    ///
    /// Default: the `max_commands` of the lane's rate limit. In any window of the rate limit the lane never starts more
    /// than `burst + max_commands` commands. A burst of 1 spaces the starts evenly.
    pub fn with_burst(mut self, burst: u64) -> Self {
        self.burst = Some(burst);
        self
    }

    /// The most commands that a rate-limited lane may start at once, when set.
    pub fn burst(&self) -> Option<u64> {
        self.burst
    }

    /// Checks the settings against the lane's own; the error names the lane and the field.
    pub(crate) fn validate(&self, lane_id: &str, config: &LaneConfig) -> Result<()> {
        match self.burst {
            Some(0) => Err(for_lane(lane_id, "burst must be at least 1 (got 0)")),
            Some(burst) if !config.has_rate_limit() => Err(for_lane(
                lane_id,
                &format!(
                    "burst needs a rate_limit on the same lane (got burst {burst} and no rate_limit)"
                ),
            )),
            _ => Ok(()),
        }
    }
}

fn for_lane(lane_id: &str, text: &str) -> LaneError {
    LaneError::ConfigError(format!("lane {lane_id:?}: {text}"))
}

/// An optional duration as a number of milliseconds.
///
/// Exact to the nanosecond up to 99 days, and for whole milliseconds up to 584 million years.
mod timeout_ms {
    use std::fmt;
    use std::time::Duration;

    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    const NANOS_PER_MILLI: u32 = 1_000_000;

    pub(super) fn serialize<S: Serializer>(
        timeout: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let Some(timeout) = timeout else {
            return serializer.serialize_none();
        };
        let below_ms = timeout.subsec_nanos() % NANOS_PER_MILLI;
        match u64::try_from(timeout.as_millis()) {
            Ok(millis) if below_ms == 0 => serializer.serialize_u64(millis),
            _ => serializer.serialize_f64(timeout.as_nanos() as f64 / f64::from(NANOS_PER_MILLI)),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        deserializer.deserialize_option(OptionalTimeout)
    }

    struct OptionalTimeout;

    impl<'de> Visitor<'de> for OptionalTimeout {
        type Value = Option<Duration>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("default_timeout as a number of milliseconds, at least 0")
        }

        fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_some<D: Deserializer<'de>>(
            self,
            deserializer: D,
        ) -> Result<Self::Value, D::Error> {
            deserializer.deserialize_any(Timeout).map(Some)
        }
    }

    pub(super) struct Timeout;

    impl Visitor<'_> for Timeout {
        type Value = Duration;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            OptionalTimeout.expecting(formatter)
        }

        fn visit_u64<E: Error>(self, millis: u64) -> Result<Duration, E> {
            Ok(Duration::from_millis(millis))
        }

        fn visit_i64<E: Error>(self, millis: i64) -> Result<Duration, E> {
            u64::try_from(millis)
                .map(Duration::from_millis)
                .map_err(|_| out_of_range(millis))
        }

        fn visit_f64<E: Error>(self, millis: f64) -> Result<Duration, E> {
            if !millis.is_finite() || millis < 0.0 {
                return Err(out_of_range(millis));
            }
            if millis.trunc() >= u64::MAX as f64 {
                return Ok(Duration::try_from_secs_f64(millis / 1_000.0).unwrap_or(Duration::MAX));
            }
            // Splitting first keeps the fraction exact, which a product with 1e6 would not.
            let fraction = (millis.fract() * f64::from(NANOS_PER_MILLI)).round() as u64;
            Ok(Duration::from_millis(millis.trunc() as u64) + Duration::from_nanos(fraction))
        }
    }

    fn out_of_range<E: Error>(got: impl fmt::Display) -> E {
        E::custom(format!(
            "default_timeout must be a finite number of milliseconds of at least 0 (got {got})"
        ))
    }
}

#[cfg(test)]
mod tests;
