//! The settings of a limiter that lanes share by its name.

use serde::{Deserialize, Serialize};

use super::meter::Meter;
use super::{RateLimitConfig, SlidingWindow, TokenBucket};
use crate::command::Priority;
use crate::error::{LaneError, Result};

/// The settings of a limiter with a name: one limit for all lanes that use it.
///
/// A start is charged the command's cost, and what was charged can be settled to the actual cost while the command runs.
/// With [`counting_commands`](Self::counting_commands) each start is charged 1 instead. The limit's
/// [`max_commands`](RateLimitConfig::max_commands) is in the same units: cost per window, or commands per window.
///
/// Nothing is checked here: a manager refuses bad settings when it is built and names the limiter and the field.
///
/// In its serialised form `kind` (`"token_bucket"` or `"sliding_window"`) and `limit` are required, `burst`, `counts`
/// (`"cost"`, the default, or `"commands"`) and `reserve` are optional.
///
/// # Examples
///
/// 90 000 tokens a minute, of which 10 000 are left for lanes of priority 0 and 1:
///
/// ```
/// use a3s_lane::{LimiterConfig, RateLimitConfig};
///
/// let tokens = LimiterConfig::sliding_window(RateLimitConfig::per_minute(90_000)).with_reserve(10_000, 1);
/// assert_eq!(tokens.capacity(), 90_000);
///
/// let calls = LimiterConfig::token_bucket(RateLimitConfig::per_second(10))
///     .with_burst(2)
///     .counting_commands();
/// assert_eq!(calls.capacity(), 2);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LimiterConfig {
    kind: Kind,
    limit: RateLimitConfig,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    burst: Option<u64>,
    #[serde(default)]
    counts: Counts,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reserve: Option<Reserve>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    TokenBucket,
    SlidingWindow,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Counts {
    #[default]
    Cost,
    Commands,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Reserve {
    amount: u64,
    urgent_up_to: Priority,
}

/// A named limiter, ready to count.
#[derive(Debug, Clone)]
pub(crate) struct NamedLimiter {
    pub(crate) meter: Meter,
    /// Starts are charged their command's cost, otherwise 1.
    pub(crate) counts_cost: bool,
    /// Lanes with a higher priority number must leave `kept`.
    pub(crate) urgent: Priority,
    pub(crate) kept: u64,
}

impl LimiterConfig {
    /// A burst, then a steady rate.
    ///
    /// In any span of time it grants at most `burst + max_commands * span / window`. The burst is the limit's
    /// `max_commands` unless [`with_burst`](Self::with_burst) says otherwise.
    pub fn token_bucket(limit: RateLimitConfig) -> Self {
        Self::new(Kind::TokenBucket, limit)
    }

    /// At most the limit's `max_commands` in any window of its length.
    pub fn sliding_window(limit: RateLimitConfig) -> Self {
        Self::new(Kind::SlidingWindow, limit)
    }

    fn new(kind: Kind, limit: RateLimitConfig) -> Self {
        Self {
            kind,
            limit,
            burst: None,
            counts: Counts::Cost,
            reserve: None,
        }
    }

    /// Sets the most that a token bucket grants at once, after it was idle for long. In the units that the limiter counts.
    ///
    /// Default: the limit's `max_commands`. Nothing that costs more than the burst ever starts. A sliding window has no
    /// burst: setting one is an error.
    pub fn with_burst(mut self, burst: u64) -> Self {
        self.burst = Some(burst);
        self
    }

    /// Charges 1 for each start, whatever the command's cost. Default: the cost is charged.
    pub fn counting_commands(mut self) -> Self {
        self.counts = Counts::Commands;
        self
    }

    /// Keeps `amount` for urgent lanes: a lane with a priority number above `urgent_up_to` may only start what leaves that
    /// much. In the units that the limiter counts.
    ///
    /// Default: nothing is kept. The amount must be below the [`capacity`](Self::capacity). The lane's own priority counts,
    /// not a boosted one. What costs more than the capacity without the reserve never starts in a lane that is not urgent.
    pub fn with_reserve(mut self, amount: u64, urgent_up_to: Priority) -> Self {
        self.reserve = Some(Reserve {
            amount,
            urgent_up_to,
        });
        self
    }

    /// The limit, in the units that the limiter counts.
    pub fn limit(&self) -> &RateLimitConfig {
        &self.limit
    }

    /// Whether this is a sliding window; otherwise it is a token bucket.
    pub fn is_sliding_window(&self) -> bool {
        self.kind == Kind::SlidingWindow
    }

    /// The burst, when set.
    pub fn burst(&self) -> Option<u64> {
        self.burst
    }

    /// Whether each start is charged 1 instead of its command's cost.
    pub fn counts_commands(&self) -> bool {
        self.counts == Counts::Commands
    }

    /// What is kept for urgent lanes and the highest priority number that counts as urgent, when set.
    pub fn reserve(&self) -> Option<(u64, Priority)> {
        self.reserve
            .map(|reserve| (reserve.amount, reserve.urgent_up_to))
    }

    /// The most that is granted at once: a token bucket's burst, a sliding window's `max_commands`.
    pub fn capacity(&self) -> u64 {
        match self.kind {
            Kind::TokenBucket => self.burst.unwrap_or(self.limit.max_commands),
            Kind::SlidingWindow => self.limit.max_commands,
        }
    }

    /// Checks every setting; the error names the limiter and the field.
    pub(crate) fn validate(&self, name: &str) -> Result<()> {
        if name.is_empty() {
            return Err(LaneError::ConfigError(
                "limiter name must not be empty".into(),
            ));
        }
        self.check()
            .map_err(|text| LaneError::ConfigError(format!("limiter {name:?}: {text}")))
    }

    fn check(&self) -> std::result::Result<(), String> {
        self.limit.validate_as("limit")?;
        if let Some(burst) = self.burst {
            if self.is_sliding_window() {
                return Err(format!(
                    "burst needs a token bucket (got burst {burst} and a sliding window)"
                ));
            }
            if burst == 0 {
                return Err("burst must be at least 1 (got 0)".into());
            }
        }
        match self.reserve {
            Some(Reserve { amount, .. }) if amount >= self.capacity() => Err(format!(
                "reserve must be below the capacity of {} (got {amount})",
                self.capacity()
            )),
            _ => Ok(()),
        }
    }

    /// The limiter these settings describe, with nothing taken.
    pub(crate) fn build(&self, now_ns: u64) -> NamedLimiter {
        let meter = match self.kind {
            Kind::TokenBucket => {
                Meter::Bucket(TokenBucket::new(&self.limit, self.capacity(), now_ns))
            }
            Kind::SlidingWindow => Meter::Window(SlidingWindow::new(&self.limit)),
        };
        let (kept, urgent) = self.reserve().unwrap_or((0, Priority::MAX));
        NamedLimiter {
            meter,
            counts_cost: !self.counts_commands(),
            urgent,
            kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn limit() -> RateLimitConfig {
        RateLimitConfig::per_minute(100)
    }

    fn refusal(config: LimiterConfig) -> String {
        let error = config.validate("tokens").expect_err("it is wrong");
        assert_eq!(error.code(), "CONFIG_ERROR");
        error.to_string()
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        for config in [
            LimiterConfig::token_bucket(limit()),
            LimiterConfig::sliding_window(limit()),
        ] {
            assert_eq!(config.limit(), &limit());
            assert_eq!((config.burst(), config.reserve()), (None, None));
            assert_eq!(config.capacity(), 100);
            assert!(!config.counts_commands());
            assert!(config.validate("tokens").is_ok());
            let built = config.build(0);
            assert_eq!(built.meter.capacity(), 100);
            assert!(built.counts_cost);
            assert_eq!((built.urgent, built.kept), (u8::MAX, 0));
        }
    }

    #[test]
    fn what_is_set_is_what_is_built() {
        let config = LimiterConfig::token_bucket(limit())
            .with_burst(7)
            .counting_commands()
            .with_reserve(2, 3);
        assert_eq!((config.burst(), config.capacity()), (Some(7), 7));
        assert_eq!(config.reserve(), Some((2, 3)));
        assert!(config.counts_commands() && !config.is_sliding_window());
        let mut built = config.build(5);
        assert!(matches!(built.meter, Meter::Bucket(_)));
        assert_eq!((built.meter.capacity(), built.meter.available(5)), (7, 7));
        assert!(!built.counts_cost);
        assert_eq!((built.urgent, built.kept), (3, 2));

        let config = LimiterConfig::sliding_window(limit());
        assert!(config.is_sliding_window());
        let mut built = config.build(5);
        assert!(matches!(built.meter, Meter::Window(_)));
        let _ = built.meter.take(100, 5);
        assert_eq!(
            built.meter.check(1, 0, 5),
            Err(5 + 60_000_000_000),
            "the window of the limit"
        );
    }

    #[test]
    fn a_refusal_names_the_limiter_and_the_field() {
        let bucket = LimiterConfig::token_bucket;
        let window = LimiterConfig::sliding_window;
        let cases = [
            (
                bucket(RateLimitConfig::per_second(0)),
                "limit.max_commands must be at least 1 (got 0)",
            ),
            (
                window(RateLimitConfig::new(1, Duration::ZERO)),
                "limit.window must be longer than zero (got 0ns)",
            ),
            (
                bucket(limit()).with_burst(0),
                "burst must be at least 1 (got 0)",
            ),
            (
                window(limit()).with_burst(5),
                "burst needs a token bucket (got burst 5 and a sliding window)",
            ),
            (
                bucket(limit()).with_burst(5).with_reserve(5, 0),
                "reserve must be below the capacity of 5 (got 5)",
            ),
            (
                window(limit()).with_reserve(101, 0),
                "reserve must be below the capacity of 100 (got 101)",
            ),
        ];
        for (config, expected) in cases {
            assert_eq!(
                refusal(config),
                format!("Configuration error: limiter \"tokens\": {expected}")
            );
        }
        let nameless = window(limit()).validate("").expect_err("it has no name");
        assert_eq!(
            nameless.to_string(),
            "Configuration error: limiter name must not be empty"
        );
        for right in [
            bucket(limit()).with_burst(5).with_reserve(4, 0),
            bucket(limit()).with_burst(1),
            window(limit()).with_reserve(99, u8::MAX),
            bucket(RateLimitConfig::unlimited()),
        ] {
            assert!(right.validate("tokens").is_ok(), "{right:?}");
        }
    }

    #[test]
    fn serde_keeps_everything() {
        let all = LimiterConfig::token_bucket(limit())
            .with_burst(7)
            .counting_commands()
            .with_reserve(2, 3);
        let none = LimiterConfig::sliding_window(limit());
        for config in [&all, &none] {
            let json = serde_json::to_string(config).expect("it is plain data");
            let back: LimiterConfig = serde_json::from_str(&json).expect("what we wrote");
            assert_eq!(&back, config);
        }
        let window = json!({"secs": 60, "nanos": 0});
        assert_eq!(
            serde_json::to_value(&all).expect("it is plain data"),
            json!({
                "kind": "token_bucket",
                "limit": {"max_commands": 100, "window": window},
                "burst": 7,
                "counts": "commands",
                "reserve": {"amount": 2, "urgent_up_to": 3},
            })
        );
        let least =
            json!({"kind": "sliding_window", "limit": {"max_commands": 100, "window": window}});
        let read: LimiterConfig = serde_json::from_value(least).expect("the rest is optional");
        assert_eq!(read, none);
    }
}
