//! Limits how many commands may start per unit of time.
//!
//! The arithmetic is exact: whole numbers of nanoseconds, nothing is rounded away. [`TokenBucketLimiter`] allows a burst and
//! then a steady rate; [`SlidingWindowLimiter`] never exceeds its maximum in any window. A lane's own rate limit is a token
//! bucket. A [`LimiterConfig`] describes a limiter with a name, which lanes share.

mod ledger;
mod limiter;
mod marks;
mod meter;
mod named;
mod sliding_window;
mod token_bucket;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use limiter::{RateLimiter, SlidingWindowLimiter, TokenBucketLimiter};
pub use named::LimiterConfig;
pub(crate) use sliding_window::SlidingWindow;
pub(crate) use token_bucket::TokenBucket;
pub(crate) use {ledger::Charge, meter::Meter};

/// How many commands may start per window of time. The default is [`unlimited`](Self::unlimited).
///
/// In a [`LimiterConfig`] that counts cost, read `max_commands` as units of cost per window, such as tokens per minute.
///
/// A limit of zero commands, or with a window of zero length, allows nothing. Windows longer than 584 years count as 584
/// years.
///
/// # Examples
///
/// ```
/// use a3s_lane::RateLimitConfig;
/// use std::time::Duration;
///
/// assert_eq!(RateLimitConfig::per_minute(90), RateLimitConfig::new(90, Duration::from_secs(60)));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RateLimitConfig {
    /// Most commands per window; `u64::MAX` means no limit.
    pub max_commands: u64,
    /// Length of the window.
    pub window: Duration,
}

impl Default for RateLimitConfig {
    fn default() -> Self {
        Self::unlimited()
    }
}

impl RateLimitConfig {
    /// At most `max_commands` per `window`.
    pub fn new(max_commands: u64, window: Duration) -> Self {
        Self {
            max_commands,
            window,
        }
    }

    /// At most `max_commands` per second.
    pub fn per_second(max_commands: u64) -> Self {
        Self::new(max_commands, Duration::from_secs(1))
    }

    /// At most `max_commands` per minute.
    pub fn per_minute(max_commands: u64) -> Self {
        Self::new(max_commands, Duration::from_secs(60))
    }

    /// At most `max_commands` per hour.
    pub fn per_hour(max_commands: u64) -> Self {
        Self::new(max_commands, Duration::from_secs(3_600))
    }

    /// No limit.
    pub fn unlimited() -> Self {
        Self::per_second(u64::MAX)
    }

    /// Checks the limit of a lane; the error names the field and what would be right.
    pub(crate) fn validate(&self) -> Result<(), String> {
        self.validate_as("rate_limit")
    }

    /// Checks the limit that is called `field` where it is used.
    fn validate_as(&self, field: &str) -> Result<(), String> {
        if self.max_commands == 0 {
            return Err(format!("{field}.max_commands must be at least 1 (got 0)"));
        }
        if self.window.is_zero() {
            return Err(format!("{field}.window must be longer than zero (got 0ns)"));
        }
        Ok(())
    }

    /// The most commands and the window in nanoseconds, which is never zero: a window of zero length allows nothing.
    fn normalised(&self) -> (u64, u64) {
        if self.window.is_zero() {
            (0, 1)
        } else {
            (self.max_commands, crate::boost::clamp_ns(self.window))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constructors_match_their_documentation() {
        let secs = Duration::from_secs;
        assert_eq!(
            RateLimitConfig::per_second(3),
            RateLimitConfig::new(3, secs(1))
        );
        assert_eq!(
            RateLimitConfig::per_minute(3),
            RateLimitConfig::new(3, secs(60))
        );
        assert_eq!(
            RateLimitConfig::per_hour(3),
            RateLimitConfig::new(3, secs(3_600))
        );
        assert_eq!(
            RateLimitConfig::unlimited(),
            RateLimitConfig::new(u64::MAX, secs(1))
        );
        assert_eq!(RateLimitConfig::default(), RateLimitConfig::unlimited());
    }

    #[test]
    fn serde_keeps_everything() {
        let config = RateLimitConfig::new(u64::MAX, Duration::from_nanos(1_500_001));
        let json = serde_json::to_string(&config).expect("a limit is plain data");
        let back: RateLimitConfig = serde_json::from_str(&json).expect("what we wrote");
        assert_eq!(back, config);
    }
}
