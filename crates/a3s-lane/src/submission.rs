//! What one command asks for, beside its lane's settings.

mod refused;
mod sink;
mod unique;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::error::{LaneError, Result};
use crate::retry::{Jitter, RetryPolicy};

pub use refused::Refused;
pub use sink::{CommandTicket, ResultSink};
pub use unique::{OnConflict, Unique};

/// Settings of one command, given when it is submitted. What is not set follows the lane.
///
/// Nothing is checked here: the submission refuses bad settings and names the field.
///
/// # Examples
///
/// ```
/// use a3s_lane::{RetryPolicy, SubmitOptions, Unique};
/// use serde_json::json;
/// use std::time::Duration;
///
/// let options = SubmitOptions::new()
///     .with_priority(-1)
///     .with_key("tenant-7")
///     .with_timeout(Duration::from_secs(20))
///     .with_retry_policy(RetryPolicy::exponential(2))
///     .with_unique(Unique::new("report:tenant-7"))
///     .with_metadata("trace", json!("4bf92f35"));
/// # let _ = options;
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SubmitOptions {
    pub(crate) id: Option<String>,
    pub(crate) priority: i32,
    pub(crate) delay: Option<Duration>,
    pub(crate) run_at: Option<DateTime<Utc>>,
    pub(crate) ttl: Option<Duration>,
    /// `Some(None)` is no limit, whatever the lane's.
    pub(crate) timeout: Option<Option<Duration>>,
    pub(crate) progress_timeout: Option<Duration>,
    pub(crate) retry_policy: Option<RetryPolicy>,
    pub(crate) jitter: Option<Jitter>,
    pub(crate) key: Option<String>,
    pub(crate) unique: Option<Unique>,
    pub(crate) cost: u64,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) preemptible: bool,
    /// The type of the command, when it leaves the dead letters with this submission.
    pub(crate) revives: Option<Arc<str>>,
}

impl Default for SubmitOptions {
    fn default() -> Self {
        Self {
            id: None,
            priority: 0,
            delay: None,
            run_at: None,
            ttl: None,
            timeout: None,
            progress_timeout: None,
            retry_policy: None,
            jitter: None,
            key: None,
            unique: None,
            cost: 1,
            metadata: Map::new(),
            preemptible: true,
            revives: None,
        }
    }
}

impl SubmitOptions {
    /// Every setting at its default: the command runs as its lane says.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the command's id.
    ///
    /// Default: a new UUID. An empty id is an error, and so is the id of another command that has not settled
    /// ([`LaneError::Duplicate`]).
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::SubmitOptions;
    ///
    /// let options = SubmitOptions::new().with_id("order-4711");
    /// # let _ = options;
    /// ```
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets the command's place inside its lane: lower numbers go first.
    ///
    /// It does not reach beyond the lane: between lanes only their own priorities count. Default: 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::SubmitOptions;
    ///
    /// let before_the_others = SubmitOptions::new().with_priority(-10);
    /// # let _ = before_the_others;
    /// ```
    pub fn with_priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// Lets the command start only after this time, counted from its submission.
    ///
    /// Until then it is pending, but takes no part in the order of its lane. Default: none. A delay beside
    /// [`with_run_at`](Self::with_run_at) is an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::SubmitOptions;
    /// use std::time::Duration;
    ///
    /// let in_a_minute = SubmitOptions::new().with_delay(Duration::from_secs(60));
    /// # let _ = in_a_minute;
    /// ```
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Lets the command start only at this time of the wall clock.
    ///
    /// The time that is left is measured once, at submission: a clock that is set later changes nothing. A time in the
    /// past means at once. Default: none. Together with [`with_delay`](Self::with_delay) it is an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::SubmitOptions;
    /// use chrono::{DateTime, Utc};
    ///
    /// let time: DateTime<Utc> = "2030-01-01T08:00:00Z".parse()?;
    /// let at_eight = SubmitOptions::new().with_run_at(time);
    /// # let _ = at_eight;
    /// # Ok::<(), chrono::ParseError>(())
    /// ```
    pub fn with_run_at(mut self, run_at: DateTime<Utc>) -> Self {
        self.run_at = Some(run_at);
        self
    }

    /// Sets how long the command may wait for its first start, counted from its submission.
    ///
    /// A command that was not started by then leaves unrun, with [`LaneError::Expired`]. Once started it never expires,
    /// whether it is retried or preempted. Default: no limit. Zero, and a time that is not longer than the
    /// [delay](Self::with_delay), are errors.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::SubmitOptions;
    /// use std::time::Duration;
    ///
    /// let now_or_never = SubmitOptions::new().with_ttl(Duration::from_secs(5));
    /// # let _ = now_or_never;
    /// ```
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Sets the longest time one attempt may take, instead of the lane's.
    ///
    /// Default: the lane's `default_timeout`. Zero is an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::SubmitOptions;
    /// use std::time::Duration;
    ///
    /// let quick = SubmitOptions::new().with_timeout(Duration::from_millis(200));
    /// # let _ = quick;
    /// ```
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(Some(timeout));
        self
    }

    /// Lets an attempt take as long as it likes, whatever the lane's `default_timeout`.
    ///
    /// Of this and [`with_timeout`](Self::with_timeout) the last call wins.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::SubmitOptions;
    ///
    /// let patient = SubmitOptions::new().with_no_timeout();
    /// # let _ = patient;
    /// ```
    pub fn with_no_timeout(mut self) -> Self {
        self.timeout = Some(None);
        self
    }

    /// Sets the longest time the running command may go without a sign of life, instead of the lane's.
    ///
    /// Default: the lane's [`progress_timeout`](crate::LaneOptions::with_progress_timeout). Zero is an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::SubmitOptions;
    /// use std::time::Duration;
    ///
    /// let watched = SubmitOptions::new().with_progress_timeout(Duration::from_secs(10));
    /// # let _ = watched;
    /// ```
    pub fn with_progress_timeout(mut self, progress_timeout: Duration) -> Self {
        self.progress_timeout = Some(progress_timeout);
        self
    }

    /// Sets how often the command runs again when it fails, instead of the lane's policy.
    ///
    /// Default: the lane's `retry_policy`. A policy that a lane could not have is an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::{RetryPolicy, SubmitOptions};
    ///
    /// let once = SubmitOptions::new().with_retry_policy(RetryPolicy::none());
    /// # let _ = once;
    /// ```
    pub fn with_retry_policy(mut self, retry_policy: RetryPolicy) -> Self {
        self.retry_policy = Some(retry_policy);
        self
    }

    /// Sets how much of a retry's delay is left to chance, instead of the lane's setting.
    ///
    /// Default: the lane's [`retry_jitter`](crate::LaneOptions::with_retry_jitter).
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::{Jitter, SubmitOptions};
    ///
    /// let exact = SubmitOptions::new().with_jitter(Jitter::None);
    /// # let _ = exact;
    /// ```
    pub fn with_jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = Some(jitter);
        self
    }

    /// Sets whose command this is, such as a tenant or a session: the keys of a lane take turns.
    ///
    /// Default: none; the commands without a key take turns with the keys as if they had one of their own. An empty key
    /// is an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::SubmitOptions;
    ///
    /// let of_tenant = SubmitOptions::new().with_key("tenant-7");
    /// # let _ = of_tenant;
    /// ```
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Admits no second command of the same unique key.
    ///
    /// Default: none. An empty unique key and a window of zero are errors.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::{OnConflict, SubmitOptions, Unique};
    ///
    /// let options = SubmitOptions::new()
    ///     .with_unique(Unique::new("index:docs").on_conflict(OnConflict::Join));
    /// # let _ = options;
    /// ```
    pub fn with_unique(mut self, unique: Unique) -> Self {
        self.unique = Some(unique);
        self
    }

    /// Sets what the command is charged by limiters that count cost, such as its estimated tokens.
    ///
    /// Limiters that count commands charge 1 whatever the cost. Default: 1.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::SubmitOptions;
    ///
    /// let estimated = SubmitOptions::new().with_cost(1_200);
    /// # let _ = estimated;
    /// ```
    pub fn with_cost(mut self, cost: u64) -> Self {
        self.cost = cost;
        self
    }

    /// Adds a named value that goes with the command and that its handler can read.
    ///
    /// May be called for many names; the last call for a name wins. Default: none.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::SubmitOptions;
    /// use serde_json::json;
    ///
    /// let options = SubmitOptions::new().with_metadata("user", json!({"id": 7}));
    /// # let _ = options;
    /// ```
    pub fn with_metadata(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }

    /// Sets whether the running command may be stopped and queued again for a more urgent lane.
    ///
    /// It matters only in a lane with [preemption](crate::LaneOptions::with_preemption). Default: `true`.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::SubmitOptions;
    ///
    /// let undisturbed = SubmitOptions::new().with_preemptible(false);
    /// # let _ = undisturbed;
    /// ```
    pub fn with_preemptible(mut self, preemptible: bool) -> Self {
        self.preemptible = preemptible;
        self
    }

    /// Checks every setting; the error names the field and what would be right.
    pub(crate) fn validate(&self) -> Result<()> {
        self.check()
            .map_err(|text| LaneError::ConfigError(format!("submit options: {text}")))
    }

    fn check(&self) -> std::result::Result<(), String> {
        let names = [("id", &self.id), ("key", &self.key)];
        if let Some((field, _)) = names
            .into_iter()
            .find(|(_, name)| name.as_ref().is_some_and(String::is_empty))
        {
            return Err(format!(r#"{field} must not be empty (got "")"#));
        }
        if let (Some(delay), Some(run_at)) = (self.delay, self.run_at) {
            return Err(format!(
                "delay and run_at must not both be set (got {delay:?} and {})",
                run_at.to_rfc3339()
            ));
        }
        let durations = [
            ("ttl", self.ttl),
            ("timeout", self.timeout.flatten()),
            ("progress_timeout", self.progress_timeout),
        ];
        if let Some((field, _)) = durations
            .into_iter()
            .find(|(_, duration)| *duration == Some(Duration::ZERO))
        {
            return Err(format!("{field} must be longer than zero (got 0ns)"));
        }
        if let (Some(ttl), Some(delay)) = (self.ttl, self.delay)
            && ttl <= delay
        {
            return Err(format!(
                "ttl must be longer than delay (got {ttl:?} and {delay:?})"
            ));
        }
        if let Some(retry_policy) = &self.retry_policy {
            retry_policy.validate()?;
        }
        if let Some(unique) = &self.unique {
            unique.check()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
