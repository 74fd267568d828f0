//! Lane settings as JavaScript passes them.

use a3s_lane::{LaneConfig, LaneError, LaneOptions, Overflow};
use napi_derive::napi;

use crate::fault::Fault;
use crate::limit::{NativePriorityBoost, NativeRateLimit};
use crate::range::{MAX, choice, large, millis, seconds, whole};
use crate::retry::{NativeRetryPolicy, jitter};

/// Slots that a lane keeps when its settings do not say.
const DEFAULT_MIN_CONCURRENCY: u32 = 1;
/// Commands that a lane runs at once when its settings do not say.
const DEFAULT_MAX_CONCURRENCY: u32 = 10;

/// One lane, as the typed entry hands it over: types are checked, ranges are not.
#[napi(object, object_to_js = false)]
#[derive(Default)]
pub struct NativeLaneConfig {
    /// The lane's name.
    pub lane_id: String,
    /// 0 (most urgent) to 255.
    pub priority: f64,
    /// Default 1.
    pub min_concurrency: Option<f64>,
    /// Default 10.
    pub max_concurrency: Option<f64>,
    /// Limit of one attempt in seconds.
    pub timeout_secs: Option<f64>,
    /// Pending commands at which the lane reports pressure.
    pub pressure_threshold: Option<f64>,
    /// Default: no retries.
    pub retry_policy: Option<NativeRetryPolicy>,
    /// The most pending commands.
    pub max_pending: Option<f64>,
    /// `reject`, the default, `wait` or `drop_oldest`.
    pub overflow: Option<String>,
    /// Running commands may be stopped for a more urgent lane.
    pub preemptible: Option<bool>,
    /// How long a command may go on after it was asked to stop.
    pub grace_ms: Option<f64>,
    /// The longest time without a sign of life.
    pub progress_timeout_ms: Option<f64>,
    /// The most running commands of one key.
    pub max_concurrency_per_key: Option<f64>,
    /// Pairs of a key and its share.
    pub key_weights: Option<Vec<(String, f64)>>,
    /// `none`, the default, `full` or `equal`.
    pub retry_jitter: Option<String>,
    /// Starts per span of time.
    pub rate_limit: Option<NativeRateLimit>,
    /// The most starts at once under the rate limit.
    pub burst: Option<f64>,
    /// How waiting commands become more urgent.
    pub priority_boost: Option<NativePriorityBoost>,
    /// Names of shared limiters.
    pub limiters: Option<Vec<String>>,
}

/// The core's settings of one lane.
#[derive(Debug, PartialEq)]
pub(crate) struct LaneSettings {
    pub(crate) id: String,
    pub(crate) config: LaneConfig,
    pub(crate) options: LaneOptions,
    pub(crate) priority: u8,
}

impl NativeLaneConfig {
    /// The core's settings; the error names the lane, the field and its range.
    pub(crate) fn resolve(&self) -> Result<LaneSettings, Fault> {
        self.checked().map_err(|text| {
            LaneError::ConfigError(format!("lane '{}': {text}", self.lane_id)).into()
        })
    }

    fn checked(&self) -> Result<LaneSettings, String> {
        Ok(LaneSettings {
            id: self.lane_id.clone(),
            priority: whole("priority", self.priority, 0, u32::from(u8::MAX))? as u8,
            config: self.config()?,
            options: self.options()?,
        })
    }

    fn config(&self) -> Result<LaneConfig, String> {
        let count = |field, value: Option<f64>, low, default| {
            value.map_or(Ok(default), |value| whole(field, value, low, MAX))
        };
        let min = count(
            "minConcurrency",
            self.min_concurrency,
            0,
            DEFAULT_MIN_CONCURRENCY,
        )?;
        let max = count(
            "maxConcurrency",
            self.max_concurrency,
            1,
            DEFAULT_MAX_CONCURRENCY,
        )?;
        let mut config = LaneConfig::new(min as usize, max as usize);
        if let Some(timeout) = self.timeout_secs {
            config = config.with_timeout(seconds("timeoutSecs", timeout)?);
        }
        if let Some(threshold) = self.pressure_threshold {
            config = config
                .with_pressure_threshold(whole("pressureThreshold", threshold, 1, MAX)? as usize);
        }
        if let Some(policy) = &self.retry_policy {
            config = config.with_retry_policy(policy.checked("retryPolicy")?);
        }
        if let Some(limit) = &self.rate_limit {
            config = config.with_rate_limit(limit.checked("rateLimit")?);
        }
        if let Some(boost) = &self.priority_boost {
            config = config.with_priority_boost(boost.checked()?);
        }
        Ok(config)
    }

    fn options(&self) -> Result<LaneOptions, String> {
        let mut options = LaneOptions::new();
        if let Some(most) = self.max_pending {
            options = options.with_max_pending(whole("maxPending", most, 1, MAX)? as usize);
        }
        if let Some(word) = &self.overflow {
            let known = [
                ("reject", Overflow::Reject),
                ("wait", Overflow::Wait),
                ("drop_oldest", Overflow::DropOldest),
            ];
            options = options.with_overflow(choice("overflow", word, &known)?);
        }
        if let Some(preemptible) = self.preemptible {
            options = options.with_preemption(preemptible);
        }
        if let Some(grace) = self.grace_ms {
            options = options.with_grace(millis("graceMs", grace)?);
        }
        if let Some(limit) = self.progress_timeout_ms {
            options = options.with_progress_timeout(millis("progressTimeoutMs", limit)?);
        }
        if let Some(most) = self.max_concurrency_per_key {
            let most = whole("maxConcurrencyPerKey", most, 1, MAX)?;
            options = options.with_max_concurrency_per_key(most as usize);
        }
        for (key, weight) in self.key_weights.iter().flatten() {
            let field = format!("keyWeights['{key}']");
            options = options.with_key_weight(key, whole(&field, *weight, 1, MAX)?);
        }
        if let Some(word) = &self.retry_jitter {
            options = options.with_retry_jitter(jitter("retryJitter", word)?);
        }
        if let Some(burst) = self.burst {
            options = options.with_burst(large("burst", burst, 1)?);
        }
        for name in self.limiters.iter().flatten() {
            options = options.with_limiter(name);
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use a3s_lane::{Jitter, PriorityBoostConfig, RateLimitConfig, RetryPolicy};

    use super::*;

    fn lane(change: impl FnOnce(&mut NativeLaneConfig)) -> Result<LaneSettings, Fault> {
        let mut config = NativeLaneConfig {
            lane_id: "high".into(),
            ..NativeLaneConfig::default()
        };
        change(&mut config);
        config.resolve()
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let expected = LaneSettings {
            id: "high".into(),
            config: LaneConfig::new(1, 10),
            options: LaneOptions::new(),
            priority: 0,
        };
        assert_eq!(lane(|_| {}), Ok(expected));
    }

    #[test]
    fn every_field_arrives() {
        let ms = Duration::from_millis;
        let settings = lane(|lane| {
            lane.priority = 255.0;
            lane.min_concurrency = Some(2.0);
            lane.max_concurrency = Some(3.0);
            lane.timeout_secs = Some(0.25);
            lane.pressure_threshold = Some(7.0);
            lane.retry_policy = Some(NativeRetryPolicy {
                max_retries: 4.0,
                initial_delay_ms: Some(1.5),
                max_delay_ms: Some(20.0),
                multiplier: Some(3.0),
            });
            lane.max_pending = Some(8.0);
            lane.overflow = Some("drop_oldest".into());
            lane.preemptible = Some(true);
            lane.grace_ms = Some(9.0);
            lane.progress_timeout_ms = Some(10.0);
            lane.max_concurrency_per_key = Some(11.0);
            lane.key_weights = Some(vec![("gold".into(), 12.0), ("tin".into(), 1.0)]);
            lane.retry_jitter = Some("equal".into());
            lane.rate_limit = Some(NativeRateLimit {
                max_commands: 13.0,
                window_ms: 14.0,
            });
            lane.burst = Some(15.0);
            lane.priority_boost = Some(NativePriorityBoost {
                deadline_ms: 16.0,
                steps: vec![(5.0, 1.0)],
            });
            lane.limiters = Some(vec!["tokens".into(), "calls".into()]);
        })
        .expect("all values are in range");
        let config = LaneConfig::new(2, 3)
            .with_timeout(ms(250))
            .with_pressure_threshold(7)
            .with_retry_policy(RetryPolicy {
                max_retries: 4,
                initial_delay: Duration::from_micros(1_500),
                max_delay: ms(20),
                multiplier: 3.0,
            })
            .with_rate_limit(RateLimitConfig::new(13, ms(14)))
            .with_priority_boost(PriorityBoostConfig::new(ms(16)).with_boost(ms(5), 1));
        let options = LaneOptions::new()
            .with_max_pending(8)
            .with_overflow(Overflow::DropOldest)
            .with_preemption(true)
            .with_grace(ms(9))
            .with_progress_timeout(ms(10))
            .with_max_concurrency_per_key(11)
            .with_key_weight("gold", 12)
            .with_key_weight("tin", 1)
            .with_retry_jitter(Jitter::Equal)
            .with_burst(15)
            .with_limiter("tokens")
            .with_limiter("calls");
        let expected = LaneSettings {
            id: "high".into(),
            config,
            options,
            priority: 255,
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn retries_default_to_the_exponential_policy() {
        let settings = lane(|lane| {
            lane.retry_policy = Some(NativeRetryPolicy {
                max_retries: 3.0,
                initial_delay_ms: None,
                max_delay_ms: None,
                multiplier: None,
            });
        })
        .expect("all values are in range");
        assert_eq!(settings.config.retry_policy, RetryPolicy::exponential(3));
    }

    #[test]
    fn l29_errors_name_the_lane_the_field_and_the_range() {
        let fault = lane(|lane| lane.priority = 256.0).expect_err("out of range");
        assert_eq!(fault.code, "CONFIG_ERROR");
        assert_eq!(
            fault.message,
            "Configuration error: lane 'high': priority must be an integer from 0 to 255 (got 256)"
        );
    }
}
