//! Rate limits and boosts as JavaScript passes them.

use a3s_lane::{LaneError, LimiterConfig, PriorityBoostConfig, RateLimitConfig};
use napi_derive::napi;

use crate::fault::Fault;
use crate::range::{choice, large, millis, whole};

/// How many commands of one lane may start in a span of time.
#[napi(object, object_to_js = false)]
pub struct NativeRateLimit {
    /// Per window.
    pub max_commands: f64,
    /// The length of the window.
    pub window_ms: f64,
}

impl NativeRateLimit {
    /// The limit; the error names the field under `parent`.
    pub(crate) fn checked(&self, parent: &str) -> Result<RateLimitConfig, String> {
        limit(
            (&format!("{parent}.maxCommands"), self.max_commands),
            (&format!("{parent}.windowMs"), self.window_ms),
        )
    }
}

fn limit(
    (commands, max_commands): (&str, f64),
    (window, window_ms): (&str, f64),
) -> Result<RateLimitConfig, String> {
    Ok(RateLimitConfig::new(
        large(commands, max_commands, 0)?,
        millis(window, window_ms)?,
    ))
}

/// How waiting commands become more urgent.
#[napi(object, object_to_js = false)]
pub struct NativePriorityBoost {
    /// The wait after which a command has priority 0.
    pub deadline_ms: f64,
    /// Pairs: the time left in milliseconds, and what is taken off the priority from then on.
    pub steps: Vec<(f64, f64)>,
}

impl NativePriorityBoost {
    /// The boost; the error names the field.
    pub(crate) fn checked(&self) -> Result<PriorityBoostConfig, String> {
        let deadline = millis("priorityBoost.deadlineMs", self.deadline_ms)?;
        let mut boost = PriorityBoostConfig::new(deadline);
        for (index, &(left, by)) in self.steps.iter().enumerate() {
            let field = |place| format!("priorityBoost.steps[{index}][{place}]");
            let by = whole(&field(1), by, 0, u32::from(u8::MAX))?;
            boost = boost.with_boost(millis(&field(0), left)?, by as u8);
        }
        Ok(boost)
    }
}

/// A limiter that lanes share by its name.
#[napi(object, object_to_js = false)]
pub struct NativeLimiter {
    /// The name.
    pub name: String,
    /// In cost or commands per window.
    pub max_commands: f64,
    /// The length of the window.
    pub window_ms: f64,
    /// `token_bucket`, the default, or `sliding_window`.
    pub algorithm: Option<String>,
    /// The most that a token bucket grants at once.
    pub burst: Option<f64>,
    /// Each start is charged 1 instead of its command's cost.
    pub counting_commands: Option<bool>,
    /// What is kept for urgent lanes.
    pub reserve: Option<f64>,
    /// The highest priority number that counts as urgent.
    pub urgent_up_to: Option<f64>,
}

impl NativeLimiter {
    /// The core's settings; the error names the limiter, the field and its range.
    pub(crate) fn resolve(&self) -> Result<LimiterConfig, Fault> {
        self.checked().map_err(|text| {
            LaneError::ConfigError(format!("limiter '{}': {text}", self.name)).into()
        })
    }

    fn checked(&self) -> Result<LimiterConfig, String> {
        let limit = limit(
            ("maxCommands", self.max_commands),
            ("windowMs", self.window_ms),
        )?;
        type Make = fn(RateLimitConfig) -> LimiterConfig;
        let known: [(&str, Make); 2] = [
            ("token_bucket", LimiterConfig::token_bucket),
            ("sliding_window", LimiterConfig::sliding_window),
        ];
        let algorithm = self.algorithm.as_deref().unwrap_or("token_bucket");
        let mut config = choice("algorithm", algorithm, &known)?(limit);
        if let Some(burst) = self.burst {
            config = config.with_burst(large("burst", burst, 0)?);
        }
        if self.counting_commands == Some(true) {
            config = config.counting_commands();
        }
        let urgent = self
            .urgent_up_to
            .map(|priority| whole("urgentUpTo", priority, 0, u32::from(u8::MAX)))
            .transpose()?;
        match (self.reserve, urgent) {
            (Some(reserve), urgent) => {
                let urgent = urgent.unwrap_or(0) as u8;
                config = config.with_reserve(large("reserve", reserve, 0)?, urgent);
            }
            (None, Some(urgent)) => {
                return Err(format!(
                    "urgentUpTo needs a reserve (got {urgent} and no reserve)"
                ));
            }
            (None, None) => {}
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limiter(change: impl FnOnce(&mut NativeLimiter)) -> Result<LimiterConfig, Fault> {
        let mut limiter = NativeLimiter {
            name: "tokens".into(),
            max_commands: 90.0,
            window_ms: 1.5,
            algorithm: None,
            burst: None,
            counting_commands: None,
            reserve: None,
            urgent_up_to: None,
        };
        change(&mut limiter);
        limiter.resolve()
    }

    fn rate() -> RateLimitConfig {
        RateLimitConfig::new(90, Duration::from_micros(1_500))
    }

    #[test]
    fn every_field_of_a_limiter_arrives() {
        assert_eq!(limiter(|_| {}), Ok(LimiterConfig::token_bucket(rate())));
        assert_eq!(
            limiter(|limiter| {
                limiter.algorithm = Some("token_bucket".into());
                limiter.burst = Some(7.0);
                limiter.counting_commands = Some(true);
                limiter.reserve = Some(3.0);
                limiter.urgent_up_to = Some(2.0);
            }),
            Ok(LimiterConfig::token_bucket(rate())
                .with_burst(7)
                .counting_commands()
                .with_reserve(3, 2))
        );
        assert_eq!(
            limiter(|limiter| {
                limiter.algorithm = Some("sliding_window".into());
                limiter.counting_commands = Some(false);
                limiter.reserve = Some(3.0);
            }),
            Ok(LimiterConfig::sliding_window(rate()).with_reserve(3, 0))
        );
    }

    #[test]
    fn wrong_limiters_are_refused_with_their_name_and_field() {
        let text = |change: fn(&mut NativeLimiter)| {
            let fault = limiter(change).expect_err("it is wrong");
            assert_eq!(fault.code, "CONFIG_ERROR");
            fault.message
        };
        assert_eq!(
            text(|limiter| limiter.algorithm = Some("leaky".into())),
            "Configuration error: limiter 'tokens': algorithm must be one of 'token_bucket', 'sliding_window' (got 'leaky')"
        );
        assert_eq!(
            text(|limiter| limiter.urgent_up_to = Some(1.0)),
            "Configuration error: limiter 'tokens': urgentUpTo needs a reserve (got 1 and no reserve)"
        );
        for (field, message) in [
            ("maxCommands", text(|limiter| limiter.max_commands = -1.0)),
            ("windowMs", text(|limiter| limiter.window_ms = f64::NAN)),
            ("burst", text(|limiter| limiter.burst = Some(0.5))),
            ("reserve", text(|limiter| limiter.reserve = Some(-1.0))),
            (
                "urgentUpTo",
                text(|limiter| limiter.urgent_up_to = Some(256.0)),
            ),
        ] {
            assert!(message.contains(&format!("{field} must be")), "{message}");
        }
    }

    #[test]
    fn every_field_of_a_boost_arrives() {
        let boost = NativePriorityBoost {
            deadline_ms: 100.0,
            steps: vec![(10.0, 3.0), (50.0, 1.0)],
        };
        let ms = Duration::from_millis;
        assert_eq!(
            boost.checked(),
            Ok(PriorityBoostConfig::new(ms(100))
                .with_boost(ms(50), 1)
                .with_boost(ms(10), 3))
        );
        let wrong = NativePriorityBoost {
            deadline_ms: 100.0,
            steps: vec![(10.0, 256.0)],
        };
        assert_eq!(
            wrong.checked(),
            Err("priorityBoost.steps[0][1] must be an integer from 0 to 255 (got 256)".into())
        );
    }
}
