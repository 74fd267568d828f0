//! Settings of one lane.

mod milliseconds;
mod options;

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

#[cfg(feature = "distributed")]
use crate::boost::PriorityBoostConfig;
use crate::error::{LaneError, Result};
#[cfg(feature = "distributed")]
use crate::ratelimit::RateLimitConfig;
use crate::retry::RetryPolicy;

pub use options::{LaneOptions, Overflow};

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
    #[serde(
        default,
        serialize_with = "milliseconds::serialize",
        deserialize_with = "default_timeout",
        skip_serializing_if = "Option::is_none"
    )]
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

fn default_timeout<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<Duration>, D::Error> {
    milliseconds::deserialize("default_timeout", deserializer)
}

fn for_lane(lane_id: &str, text: &str) -> LaneError {
    LaneError::ConfigError(format!("lane {lane_id:?}: {text}"))
}

#[cfg(test)]
mod tests;
