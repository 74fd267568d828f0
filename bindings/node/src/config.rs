//! Lane settings as JavaScript passes them.

use a3s_lane::{LaneConfig, LaneError, RetryPolicy};
use napi_derive::napi;

use crate::fault::Fault;
use crate::range::{MAX, millis, seconds, whole};

/// Slots that a lane keeps when its settings do not say.
const DEFAULT_MIN_CONCURRENCY: u32 = 1;
/// Commands that a lane runs at once when its settings do not say.
const DEFAULT_MAX_CONCURRENCY: u32 = 10;

/// One lane, as the typed entry hands it over: types are checked, ranges are not.
#[napi(object, object_to_js = false)]
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
}

/// Retries of one lane.
#[napi(object, object_to_js = false)]
pub struct NativeRetryPolicy {
    /// Retries after the first attempt.
    pub max_retries: f64,
    /// Default 100.
    pub initial_delay_ms: Option<f64>,
    /// Default 30,000.
    pub max_delay_ms: Option<f64>,
    /// Default 2.
    pub multiplier: Option<f64>,
}

impl NativeLaneConfig {
    /// The core's settings and the priority; the error names the lane, the field and its range.
    pub(crate) fn resolve(&self) -> Result<(LaneConfig, u8), Fault> {
        self.checked().map_err(|text| {
            LaneError::ConfigError(format!("lane '{}': {text}", self.lane_id)).into()
        })
    }

    fn checked(&self) -> Result<(LaneConfig, u8), String> {
        let count = |field, value: Option<f64>, low, default| {
            value.map_or(Ok(default), |value| whole(field, value, low, MAX))
        };
        let priority = whole("priority", self.priority, 0, u32::from(u8::MAX))?;
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
            config = config.with_retry_policy(policy.checked()?);
        }
        Ok((config, priority as u8))
    }
}

impl NativeRetryPolicy {
    fn checked(&self) -> Result<RetryPolicy, String> {
        let mut policy =
            RetryPolicy::exponential(whole("retryPolicy.maxRetries", self.max_retries, 0, MAX)?);
        if let Some(delay) = self.initial_delay_ms {
            policy.initial_delay = millis("retryPolicy.initialDelayMs", delay)?;
        }
        if let Some(delay) = self.max_delay_ms {
            policy.max_delay = millis("retryPolicy.maxDelayMs", delay)?;
        }
        if let Some(multiplier) = self.multiplier {
            policy.multiplier = multiplier;
        }
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn lane(change: impl FnOnce(&mut NativeLaneConfig)) -> Result<(LaneConfig, u8), Fault> {
        let mut config = NativeLaneConfig {
            lane_id: "high".into(),
            priority: 0.0,
            min_concurrency: None,
            max_concurrency: None,
            timeout_secs: None,
            pressure_threshold: None,
            retry_policy: None,
        };
        change(&mut config);
        config.resolve()
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        assert_eq!(lane(|_| {}), Ok((LaneConfig::new(1, 10), 0)));
    }

    #[test]
    fn every_field_arrives() {
        let (config, priority) = lane(|lane| {
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
        })
        .expect("all values are in range");
        let expected = LaneConfig::new(2, 3)
            .with_timeout(Duration::from_millis(250))
            .with_pressure_threshold(7)
            .with_retry_policy(RetryPolicy {
                max_retries: 4,
                initial_delay: Duration::from_micros(1_500),
                max_delay: Duration::from_millis(20),
                multiplier: 3.0,
            });
        assert_eq!((config, priority), (expected, 255));
    }

    #[test]
    fn retries_default_to_the_exponential_policy() {
        let (config, _) = lane(|lane| {
            lane.retry_policy = Some(NativeRetryPolicy {
                max_retries: 3.0,
                initial_delay_ms: None,
                max_delay_ms: None,
                multiplier: None,
            });
        })
        .expect("all values are in range");
        assert_eq!(config.retry_policy, RetryPolicy::exponential(3));
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
