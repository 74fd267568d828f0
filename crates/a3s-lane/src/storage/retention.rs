//! How long what is over is kept.

use std::time::Duration;

const DEFAULT_MAX_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const DEFAULT_MAX_COUNT: usize = 100_000;

/// How much a [`LocalStorage`](super::LocalStorage) keeps of what is over: results, or history.
///
/// What is older than the age is not read any more, and what is over either bound is deleted when something is added. By
/// default the newest 100,000 entries of the last seven days.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use a3s_lane::storage::Retention;
///
/// let an_hour = Retention::new().with_max_age(Duration::from_secs(3600));
/// let the_newest = Retention::new().with_max_age(Duration::MAX).with_max_count(1000);
/// assert_ne!(an_hour, the_newest);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub(super) max_age: Duration,
    pub(super) max_count: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self::new()
    }
}

impl Retention {
    /// The newest 100,000 of the last seven days.
    pub fn new() -> Self {
        Self {
            max_age: DEFAULT_MAX_AGE,
            max_count: DEFAULT_MAX_COUNT,
        }
    }

    /// Keeps what is at most so old. [`Duration::MAX`] is no limit.
    pub fn with_max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Keeps so many, the newest ones; 0 keeps none.
    pub fn with_max_count(mut self, max_count: usize) -> Self {
        self.max_count = max_count;
        self
    }
}
