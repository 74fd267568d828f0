//! How often and after what delay a failed command runs again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How often a failed command is retried, and how long each retry waits.
///
/// Retry `k` (counted from 1) waits `initial_delay * multiplier^(k - 1)`, never longer than `max_delay`. The default is
/// [`none`](Self::none): a failure is final. A [`Jitter`] may shorten each wait by chance.
///
/// # Examples
///
/// ```
/// use a3s_lane::RetryPolicy;
/// use std::time::Duration;
///
/// let policy = RetryPolicy::exponential(3);
/// assert_eq!(policy.delay_for_attempt(1), Duration::from_millis(100));
/// assert_eq!(policy.delay_for_attempt(2), Duration::from_millis(200));
/// assert!(policy.should_retry(2));
/// assert!(!policy.should_retry(3));
/// ```
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct RetryPolicy {
    /// Most retries after the first attempt; 0 means a failure is final.
    pub max_retries: u32,
    /// Wait before the first retry.
    pub initial_delay: Duration,
    /// Longest wait before any retry, the first included.
    pub max_delay: Duration,
    /// Factor from one wait to the next; must be finite and not negative.
    pub multiplier: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::none()
    }
}

impl RetryPolicy {
    /// Waits 100 ms, then twice as long each time, at most 30 s.
    pub fn exponential(max_retries: u32) -> Self {
        Self {
            max_retries,
            initial_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(30),
            multiplier: 2.0,
        }
    }

    /// Waits the same time before each retry.
    pub fn fixed(max_retries: u32, delay: Duration) -> Self {
        Self {
            max_retries,
            initial_delay: delay,
            max_delay: delay,
            multiplier: 1.0,
        }
    }

    /// Never retries.
    pub fn none() -> Self {
        Self {
            max_retries: 0,
            initial_delay: Duration::ZERO,
            max_delay: Duration::ZERO,
            multiplier: 1.0,
        }
    }

    /// How long retry `attempt` waits; retries are counted from 1.
    ///
    /// Zero for attempt 0 and for a policy without retries. An `initial_delay` of whole milliseconds gives whole
    /// milliseconds, rounded down; a finer one gives nanoseconds. A result that is too large, or a `multiplier` that is
    /// negative, infinite or not a number, gives `max_delay`.
    pub fn delay_for_attempt(&self, attempt: u32) -> Duration {
        if attempt == 0 || self.max_retries == 0 || self.initial_delay.is_zero() {
            return Duration::ZERO;
        }
        if attempt == 1 {
            return self.initial_delay.min(self.max_delay);
        }
        if !self.multiplier.is_finite() || self.multiplier < 0.0 {
            return self.max_delay;
        }
        let exponent = i32::try_from(attempt - 1).unwrap_or(i32::MAX);
        let factor = self.multiplier.powi(exponent);
        let initial_ns = self.initial_delay.as_nanos();
        // The unit decides what is rounded away, so a policy finer than a millisecond keeps its delays.
        let unit_ns: u128 = if initial_ns.is_multiple_of(NANOS_PER_MILLI) {
            NANOS_PER_MILLI
        } else {
            1
        };
        let max_units = self.max_delay.as_nanos() as f64 / unit_ns as f64;
        let units = (initial_ns / unit_ns) as f64 * factor;
        if units.is_nan() || units >= max_units {
            return self.max_delay;
        }
        duration_from_nanos((units as u128).saturating_mul(unit_ns)).min(self.max_delay)
    }

    /// Whether a command that has failed may run again, after `attempt` retries so far.
    pub fn should_retry(&self, attempt: u32) -> bool {
        attempt < self.max_retries
    }

    /// Checks the policy; the error names the field and what would be right.
    pub(crate) fn validate(&self) -> Result<(), String> {
        if !self.multiplier.is_finite() || self.multiplier < 0.0 {
            return Err(format!(
                "retry_policy.multiplier must be a finite number of at least 0 (got {})",
                self.multiplier
            ));
        }
        Ok(())
    }
}

/// How much of a retry's delay is left to chance, so that commands that failed together do not all come back together.
///
/// Jitter only ever shortens a delay: [`RetryPolicy::max_delay`] stays the longest wait. The default is
/// [`None`](Self::None).
///
/// # Examples
///
/// ```
/// use a3s_lane::Jitter;
///
/// assert_eq!(Jitter::default(), Jitter::None);
/// assert_eq!(serde_json::to_value(Jitter::Full)?, "full");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Jitter {
    /// The delay as it is.
    #[default]
    None,
    /// Anything from zero to the delay.
    Full,
    /// Anything from half the delay to the delay.
    Equal,
}

impl Jitter {
    /// What is left of `delay_ns`, for 64 random bits.
    pub(crate) fn apply(self, delay_ns: u64, random: u64) -> u64 {
        // The high half of the product is the part of `delay` that the random bits are of 2^64: it always fits.
        let part = |delay: u64| ((u128::from(delay) * u128::from(random)) >> 64) as u64;
        match self {
            Self::None => delay_ns,
            Self::Full => part(delay_ns),
            Self::Equal => {
                let half = delay_ns / 2;
                half + part(delay_ns - half)
            }
        }
    }
}

const NANOS_PER_MILLI: u128 = 1_000_000;

/// The duration of that many nanoseconds, or the longest duration there is.
pub(crate) fn duration_from_nanos(nanos: u128) -> Duration {
    const NANOS_PER_SEC: u128 = 1_000_000_000;
    match u64::try_from(nanos / NANOS_PER_SEC) {
        Ok(secs) => Duration::new(secs, (nanos % NANOS_PER_SEC) as u32),
        Err(_) => Duration::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    #[test]
    fn constructors_match_their_documentation() {
        assert_eq!(RetryPolicy::default(), RetryPolicy::none());
        let exponential = RetryPolicy::exponential(5);
        assert_eq!(exponential.max_retries, 5);
        assert_eq!(exponential.initial_delay, ms(100));
        assert_eq!(exponential.max_delay, ms(30_000));
        assert_eq!(exponential.multiplier, 2.0);
        let fixed = RetryPolicy::fixed(2, ms(7));
        assert_eq!((fixed.initial_delay, fixed.max_delay), (ms(7), ms(7)));
        assert_eq!(fixed.multiplier, 1.0);
    }

    #[test]
    fn delays_grow_by_the_multiplier_up_to_the_cap() {
        let policy = RetryPolicy {
            max_retries: 9,
            initial_delay: ms(100),
            max_delay: ms(1_000),
            multiplier: 3.0,
        };
        let delays: Vec<_> = (0..5)
            .map(|attempt| policy.delay_for_attempt(attempt))
            .collect();
        assert_eq!(delays, [ms(0), ms(100), ms(300), ms(900), ms(1_000)]);
    }

    #[test]
    fn whole_milliseconds_stay_whole() {
        let policy = RetryPolicy {
            multiplier: 1.5,
            ..RetryPolicy::exponential(9)
        };
        // 100, 150, 225, 337.5
        assert_eq!(policy.delay_for_attempt(4), ms(337));
    }

    #[test]
    fn delays_below_a_millisecond_are_kept() {
        let half = Duration::from_micros(500);
        assert_eq!(RetryPolicy::fixed(3, half).delay_for_attempt(1), half);
        assert_eq!(RetryPolicy::fixed(3, half).delay_for_attempt(3), half);
        let policy = RetryPolicy {
            max_retries: 3,
            initial_delay: half,
            max_delay: ms(100),
            multiplier: 2.5,
        };
        assert_eq!(policy.delay_for_attempt(2), Duration::from_micros(1_250));
    }

    #[test]
    fn no_delay_without_retries_or_before_the_first() {
        let policy = RetryPolicy {
            max_retries: 0,
            ..RetryPolicy::exponential(3)
        };
        assert_eq!(policy.delay_for_attempt(1), Duration::ZERO);
        assert_eq!(
            RetryPolicy::exponential(3).delay_for_attempt(0),
            Duration::ZERO
        );
    }

    #[test]
    fn a_zero_delay_stays_zero_however_large_the_factor() {
        let policy = RetryPolicy {
            initial_delay: Duration::ZERO,
            multiplier: f64::MAX,
            ..RetryPolicy::exponential(3)
        };
        assert_eq!(policy.delay_for_attempt(u32::MAX), Duration::ZERO);
    }

    #[test]
    fn extreme_values_saturate() {
        let policy = RetryPolicy::exponential(3);
        assert_eq!(policy.delay_for_attempt(u32::MAX), policy.max_delay);
        for multiplier in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, f64::MAX] {
            let policy = RetryPolicy {
                multiplier,
                ..RetryPolicy::exponential(3)
            };
            assert_eq!(policy.delay_for_attempt(1), ms(100), "{multiplier}");
            assert_eq!(
                policy.delay_for_attempt(3),
                policy.max_delay,
                "{multiplier}"
            );
        }
        let longest = RetryPolicy {
            max_delay: Duration::MAX,
            initial_delay: Duration::MAX,
            ..RetryPolicy::exponential(3)
        };
        assert_eq!(longest.delay_for_attempt(1), Duration::MAX);
        assert_eq!(longest.delay_for_attempt(u32::MAX), Duration::MAX);
    }

    #[test]
    fn retries_are_counted_from_zero() {
        let policy = RetryPolicy::exponential(2);
        assert!(policy.should_retry(0));
        assert!(policy.should_retry(1));
        assert!(!policy.should_retry(2));
        assert!(!RetryPolicy::none().should_retry(0));
    }

    #[test]
    fn validate_names_the_field() {
        assert_eq!(RetryPolicy::none().validate(), Ok(()));
        assert_eq!(RetryPolicy::exponential(3).validate(), Ok(()));
        for (multiplier, got) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf"), (-0.5, "-0.5")] {
            let policy = RetryPolicy {
                multiplier,
                ..RetryPolicy::none()
            };
            assert_eq!(
                policy.validate(),
                Err(format!(
                    "retry_policy.multiplier must be a finite number of at least 0 (got {got})"
                ))
            );
        }
        // The first delay is cut to the longest.
        let inverted = RetryPolicy {
            max_delay: ms(1),
            ..RetryPolicy::exponential(1)
        };
        assert_eq!(inverted.validate(), Ok(()));
        assert_eq!(inverted.delay_for_attempt(1), ms(1));
    }

    #[test]
    fn no_jitter_keeps_the_delay() {
        for random in [0, 1, u64::MAX] {
            assert_eq!(Jitter::None.apply(1_000, random), 1_000);
        }
    }

    #[test]
    fn full_jitter_covers_the_whole_delay() {
        let full = |delay, random| Jitter::Full.apply(delay, random);
        assert_eq!(full(1_000, 0), 0);
        assert_eq!(full(1_000, 1 << 63), 500);
        assert_eq!(full(1_000, u64::MAX), 999);
        assert_eq!(full(0, u64::MAX), 0);
        assert_eq!(full(u64::MAX, u64::MAX), u64::MAX - 1);
    }

    #[test]
    fn equal_jitter_keeps_at_least_half_the_delay() {
        let equal = |delay, random| Jitter::Equal.apply(delay, random);
        assert_eq!(equal(1_000, 0), 500);
        assert_eq!(equal(1_000, 1 << 63), 750);
        assert_eq!(equal(1_000, u64::MAX), 999);
        // Of an odd delay the larger half is left to chance.
        assert_eq!(equal(3, 0), 1);
        assert_eq!(equal(3, u64::MAX), 2);
        assert_eq!(equal(1, u64::MAX), 0);
        assert_eq!(equal(0, u64::MAX), 0);
        assert_eq!(equal(u64::MAX, u64::MAX), u64::MAX - 1);
    }

    #[test]
    fn jitter_is_written_in_snake_case() {
        for (jitter, text) in [
            (Jitter::None, "none"),
            (Jitter::Full, "full"),
            (Jitter::Equal, "equal"),
        ] {
            assert_eq!(
                serde_json::to_value(jitter).expect("plain data"),
                serde_json::json!(text)
            );
            let read: Jitter =
                serde_json::from_value(serde_json::json!(text)).expect("what we wrote");
            assert_eq!(read, jitter);
        }
    }

    #[test]
    fn serde_form_is_the_compatible_one() {
        let policy = RetryPolicy::fixed(2, Duration::from_micros(1_500));
        let json = serde_json::to_value(&policy).expect("a policy is plain data");
        assert_eq!(
            json,
            serde_json::json!({
                "max_retries": 2,
                "initial_delay": {"secs": 0, "nanos": 1_500_000},
                "max_delay": {"secs": 0, "nanos": 1_500_000},
                "multiplier": 1.0,
            })
        );
        let back: RetryPolicy = serde_json::from_value(json).expect("what we wrote");
        assert_eq!(back, policy);
        let partial = serde_json::json!({"max_retries": 2});
        assert!(serde_json::from_value::<RetryPolicy>(partial).is_err());
    }
}
