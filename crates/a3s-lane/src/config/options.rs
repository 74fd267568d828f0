//! Settings of one lane that came after `LaneConfig` was settled.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::{LaneConfig, for_lane, milliseconds};
use crate::error::Result;
use crate::retry::Jitter;

/// Most named limiters of one lane.
#[cfg(feature = "distributed")]
const MAX_LIMITERS: usize = 4;

/// What happens to a submission when its lane holds as many pending commands as it may.
///
/// Only new submissions are concerned: a command that comes back for a retry, or because it was preempted, always finds
/// room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Overflow {
    /// The new command is refused with [`LaneError::LaneFull`](crate::LaneError::LaneFull).
    #[default]
    Reject,
    /// The submitter waits until there is room.
    Wait,
    /// The command that was submitted first among those ready to run leaves the lane unrun and settles as cancelled.
    ///
    /// When every pending command waits for a delay or a retry, the new command is refused as with
    /// [`Reject`](Self::Reject).
    DropOldest,
}

impl Overflow {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Overflow {
    /// The name in serialised form, such as `drop_oldest`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reject => "reject",
            Self::Wait => "wait",
            Self::DropOldest => "drop_oldest",
        })
    }
}

/// Further settings of one lane, beside its [`LaneConfig`].
///
/// New settings appear here, so that code that fills in every field of `LaneConfig` keeps compiling. Nothing is checked
/// here: a manager refuses bad settings when it is built and names the lane and the field.
///
/// In its serialised form durations are numbers of milliseconds, with a fraction when needed (`1500`, `1.5`), and what
/// is at its default is left out.
///
/// # Examples
///
/// ```
/// use a3s_lane::{Jitter, LaneOptions, Overflow};
/// use std::time::Duration;
///
/// let options = LaneOptions::new()
///     .with_max_pending(10_000)
///     .with_overflow(Overflow::Wait)
///     .with_preemption(true)
///     .with_grace(Duration::from_millis(200))
///     .with_max_concurrency_per_key(2)
///     .with_key_weight("gold", 3)
///     .with_retry_jitter(Jitter::Full);
/// assert_eq!(options.max_pending(), Some(10_000));
/// assert_eq!(options.key_weights()["gold"], 3);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct LaneOptions {
    /// Kept private, as the others, so that a setting is only reached by its named methods.
    #[serde(skip_serializing_if = "Option::is_none")]
    burst: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_pending: Option<usize>,
    #[serde(skip_serializing_if = "Overflow::is_default")]
    overflow: Overflow,
    #[serde(skip_serializing_if = "is_false")]
    preemptible: bool,
    #[serde(
        serialize_with = "milliseconds::serialize",
        deserialize_with = "grace",
        skip_serializing_if = "Option::is_none"
    )]
    grace: Option<Duration>,
    #[serde(
        serialize_with = "milliseconds::serialize",
        deserialize_with = "progress_timeout",
        skip_serializing_if = "Option::is_none"
    )]
    progress_timeout: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_concurrency_per_key: Option<usize>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    key_weights: BTreeMap<String, u32>,
    #[serde(skip_serializing_if = "is_no_jitter")]
    retry_jitter: Jitter,
    #[cfg(feature = "distributed")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    limiters: Vec<String>,
}

impl LaneOptions {
    /// Every setting at its default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the most commands that a rate-limited lane may start at once, after it was idle for long.
    ///
    /// Default: the `max_commands` of the lane's rate limit. In any window of the rate limit the lane never starts more
    /// than `burst + max_commands` commands. A burst of 1 spaces the starts evenly. 0, and a burst without a rate limit,
    /// are errors when the manager is built.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::LaneOptions;
    ///
    /// assert_eq!(LaneOptions::new().with_burst(5).burst(), Some(5));
    /// ```
    pub fn with_burst(mut self, burst: u64) -> Self {
        self.burst = Some(burst);
        self
    }

    /// The most commands that a rate-limited lane may start at once, when set.
    pub fn burst(&self) -> Option<u64> {
        self.burst
    }

    /// Sets the most commands that may be pending in the lane; [`with_overflow`](Self::with_overflow) says what happens
    /// beyond.
    ///
    /// Pending are commands that wait for a slot, a delay or a retry, not those that run. Default: no bound. 0 is an
    /// error when the manager is built.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::LaneOptions;
    ///
    /// assert_eq!(LaneOptions::new().with_max_pending(100).max_pending(), Some(100));
    /// ```
    pub fn with_max_pending(mut self, max_pending: usize) -> Self {
        self.max_pending = Some(max_pending);
        self
    }

    /// The most commands that may be pending; `None` means no bound.
    pub fn max_pending(&self) -> Option<usize> {
        self.max_pending
    }

    /// Sets what happens to a submission when the lane holds [`max_pending`](Self::with_max_pending) commands.
    ///
    /// Default: [`Overflow::Reject`]. Another rule without `max_pending` is an error when the manager is built.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::{LaneOptions, Overflow};
    ///
    /// let options = LaneOptions::new().with_max_pending(100).with_overflow(Overflow::DropOldest);
    /// assert_eq!(options.overflow(), Overflow::DropOldest);
    /// ```
    pub fn with_overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// What happens to a submission when the lane is full.
    pub fn overflow(&self) -> Overflow {
        self.overflow
    }

    /// Sets whether running commands of this lane may be stopped and queued again when a more urgent lane lacks only the
    /// manager's total of slots.
    ///
    /// A stopped command goes to the front of its lane, and the attempt is not counted. None is stopped for its own children
    /// alone. Default: `false`. One command can
    /// opt out with [`SubmitOptions::with_preemptible`](crate::SubmitOptions::with_preemptible). Without a total there is
    /// nothing to preempt for.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::LaneOptions;
    ///
    /// assert!(LaneOptions::new().with_preemption(true).preemptible());
    /// ```
    pub fn with_preemption(mut self, preemptible: bool) -> Self {
        self.preemptible = preemptible;
        self
    }

    /// Whether running commands of this lane may be stopped for a more urgent lane.
    pub fn preemptible(&self) -> bool {
        self.preemptible
    }

    /// Sets how long a running command may go on after it was asked to stop, because it was cancelled or preempted.
    ///
    /// Within that time the command can see the request, tidy up and end by itself: if it still completes, that is its
    /// outcome. Then its future is dropped. Default: zero, which drops the future at once, at the next point where it
    /// awaits. Time limits give no grace.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::LaneOptions;
    /// use std::time::Duration;
    ///
    /// assert_eq!(LaneOptions::new().grace(), Duration::ZERO);
    /// let options = LaneOptions::new().with_grace(Duration::from_secs(2));
    /// assert_eq!(options.grace(), Duration::from_secs(2));
    /// ```
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace).filter(|grace| !grace.is_zero());
        self
    }

    /// How long a running command may go on after it was asked to stop.
    pub fn grace(&self) -> Duration {
        self.grace.unwrap_or_default()
    }

    /// Sets the longest time a running command may go without a sign of life.
    ///
    /// An attempt that reports neither progress nor a heartbeat for that long is dropped and fails with
    /// [`LaneError::Stalled`](crate::LaneError::Stalled); the retry policy decides what follows. Default: no such limit.
    /// Zero is an error when the manager is built.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::LaneOptions;
    /// use std::time::Duration;
    ///
    /// let options = LaneOptions::new().with_progress_timeout(Duration::from_secs(30));
    /// assert_eq!(options.progress_timeout(), Some(Duration::from_secs(30)));
    /// ```
    pub fn with_progress_timeout(mut self, progress_timeout: Duration) -> Self {
        self.progress_timeout = Some(progress_timeout);
        self
    }

    /// The longest time a running command may go without a sign of life; `None` means no limit.
    pub fn progress_timeout(&self) -> Option<Duration> {
        self.progress_timeout
    }

    /// Sets the most commands of one key that run at once in this lane.
    ///
    /// Commands without a key are not concerned. Default: no limit but the lane's own. 0 is an error when the manager is
    /// built.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::LaneOptions;
    ///
    /// let options = LaneOptions::new().with_max_concurrency_per_key(1);
    /// assert_eq!(options.max_concurrency_per_key(), Some(1));
    /// ```
    pub fn with_max_concurrency_per_key(mut self, max_concurrency_per_key: usize) -> Self {
        self.max_concurrency_per_key = Some(max_concurrency_per_key);
        self
    }

    /// The most commands of one key that run at once; `None` means no limit but the lane's own.
    pub fn max_concurrency_per_key(&self) -> Option<usize> {
        self.max_concurrency_per_key
    }

    /// Sets how large a share of the lane a key has: a key of weight 3 is served three times as often as one of weight 1,
    /// while both have commands ready.
    ///
    /// May be called for many keys; the last call for a key wins. Default: every key, and the commands without one
    /// together, have weight 1. Weight 0 and an empty key are errors when the manager is built.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::LaneOptions;
    ///
    /// let options = LaneOptions::new().with_key_weight("gold", 3).with_key_weight("silver", 2);
    /// assert_eq!(options.key_weights()["gold"], 3);
    /// assert_eq!(options.key_weights().get("bronze"), None);
    /// ```
    pub fn with_key_weight(mut self, key: impl Into<String>, weight: u32) -> Self {
        self.key_weights.insert(key.into(), weight);
        self
    }

    /// The weights that were set; every other key has weight 1.
    pub fn key_weights(&self) -> &BTreeMap<String, u32> {
        &self.key_weights
    }

    /// Sets how much of a retry's delay is left to chance.
    ///
    /// Default: [`Jitter::None`].
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::{Jitter, LaneOptions};
    ///
    /// let options = LaneOptions::new().with_retry_jitter(Jitter::Equal);
    /// assert_eq!(options.retry_jitter(), Jitter::Equal);
    /// ```
    pub fn with_retry_jitter(mut self, retry_jitter: Jitter) -> Self {
        self.retry_jitter = retry_jitter;
        self
    }

    /// How much of a retry's delay is left to chance.
    pub fn retry_jitter(&self) -> Jitter {
        self.retry_jitter
    }

    /// Adds a named limiter of the manager, which this lane shares with every other lane that names it.
    ///
    /// A command starts only when all limiters of its lane grant it. May be called for up to 4 limiters. Default: none.
    /// More than 4, an empty or repeated name, and a name that the manager does not know are errors when the manager is
    /// built.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::LaneOptions;
    ///
    /// let options = LaneOptions::new().with_limiter("tokens").with_limiter("requests");
    /// assert_eq!(options.limiters(), ["tokens", "requests"]);
    /// ```
    #[cfg(feature = "distributed")]
    pub fn with_limiter(mut self, name: impl Into<String>) -> Self {
        self.limiters.push(name.into());
        self
    }

    /// The named limiters of this lane, in the order in which they were added.
    #[cfg(feature = "distributed")]
    pub fn limiters(&self) -> &[String] {
        &self.limiters
    }

    /// Checks the settings against the lane's own; the error names the lane and the field.
    ///
    /// Whether a limiter exists is for the manager to say.
    pub(crate) fn validate(&self, lane_id: &str, config: &LaneConfig) -> Result<()> {
        self.check(config).map_err(|text| for_lane(lane_id, &text))
    }

    fn check(&self, config: &LaneConfig) -> std::result::Result<(), String> {
        match self.burst {
            Some(0) => return Err("burst must be at least 1 (got 0)".into()),
            Some(burst) if !config.has_rate_limit() => {
                return Err(format!(
                    "burst needs a rate_limit on the same lane (got burst {burst} and no rate_limit)"
                ));
            }
            _ => {}
        }
        match self.max_pending {
            Some(0) => return Err("max_pending must be at least 1 (got 0)".into()),
            None if !self.overflow.is_default() => {
                return Err(format!(
                    "overflow needs a max_pending on the same lane (got overflow {} and no max_pending)",
                    self.overflow
                ));
            }
            _ => {}
        }
        if self.progress_timeout == Some(Duration::ZERO) {
            return Err("progress_timeout must be longer than zero (got 0ns)".into());
        }
        if self.max_concurrency_per_key == Some(0) {
            return Err("max_concurrency_per_key must be at least 1 (got 0)".into());
        }
        if self.key_weights.contains_key("") {
            return Err(r#"key_weights must not have an empty key (got "")"#.into());
        }
        if let Some((key, _)) = self.key_weights.iter().find(|&(_, weight)| *weight == 0) {
            return Err(format!("key_weights[{key:?}] must be at least 1 (got 0)"));
        }
        #[cfg(feature = "distributed")]
        self.check_limiters()?;
        Ok(())
    }

    #[cfg(feature = "distributed")]
    fn check_limiters(&self) -> std::result::Result<(), String> {
        if self.limiters.len() > MAX_LIMITERS {
            return Err(format!(
                "limiters must not be more than {MAX_LIMITERS} (got {})",
                self.limiters.len()
            ));
        }
        if self.limiters.iter().any(String::is_empty) {
            return Err(r#"limiters must have names that are not empty (got "")"#.into());
        }
        let mut names = self.limiters.iter().enumerate();
        if let Some((_, name)) = names.find(|(at, name)| self.limiters[..*at].contains(name)) {
            return Err(format!("limiters must not name one twice (got {name:?})"));
        }
        Ok(())
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_no_jitter(jitter: &Jitter) -> bool {
    *jitter == Jitter::None
}

fn grace<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<Duration>, D::Error> {
    let grace = milliseconds::deserialize("grace", deserializer)?;
    // Equal settings are equal however they were made.
    Ok(grace.filter(|grace| !grace.is_zero()))
}

fn progress_timeout<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<Duration>, D::Error> {
    milliseconds::deserialize("progress_timeout", deserializer)
}

#[cfg(test)]
mod tests;
