//! Commands of which there may be only one.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Allows at most one command of a name: the *unique key*.
///
/// A command holds its unique key from its submission until it settles and, with a [window](Self::with_window), at least
/// for that long after its submission. What happens to a second submission in the meantime is the second one's
/// [`OnConflict`]; how long the key is held is decided by the command that holds it. The lanes of a manager share one set
/// of unique keys.
///
/// # Examples
///
/// ```
/// use a3s_lane::{OnConflict, Unique};
/// use std::time::Duration;
///
/// let unique = Unique::new("daily-report")
///     .with_window(Duration::from_secs(60))
///     .on_conflict(OnConflict::Join);
/// # let _ = unique;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unique {
    pub(crate) key: String,
    pub(crate) window: Option<Duration>,
    pub(crate) on_conflict: OnConflict,
}

impl Unique {
    /// At most one unsettled command of this key; another submission is refused.
    pub fn new(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            window: None,
            on_conflict: OnConflict::default(),
        }
    }

    /// Holds the key for at least this long after the submission, even when the command settles before.
    ///
    /// A command that takes longer holds it until it settles. Default: no window. Zero is an error at submission.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::Unique;
    /// use std::time::Duration;
    ///
    /// let at_most_once_a_minute = Unique::new("refresh").with_window(Duration::from_secs(60));
    /// # let _ = at_most_once_a_minute;
    /// ```
    pub fn with_window(mut self, window: Duration) -> Self {
        self.window = Some(window);
        self
    }

    /// Sets what happens to this submission when another command holds the key. Default: [`OnConflict::Reject`].
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::{OnConflict, Unique};
    ///
    /// let newest_wins = Unique::new("preview").on_conflict(OnConflict::Replace);
    /// # let _ = newest_wins;
    /// ```
    pub fn on_conflict(mut self, on_conflict: OnConflict) -> Self {
        self.on_conflict = on_conflict;
        self
    }

    /// What is wrong with it, as the error of a submission.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.key.is_empty() {
            return Err(r#"unique.key must not be empty (got "")"#.into());
        }
        if self.window == Some(Duration::ZERO) {
            return Err("unique.window must be longer than zero (got 0ns)".into());
        }
        Ok(())
    }
}

/// What happens to a submission whose unique key another command holds.
///
/// # Examples
///
/// ```
/// use a3s_lane::OnConflict;
///
/// assert_eq!(OnConflict::default(), OnConflict::Reject);
/// assert_eq!(OnConflict::Replace.to_string(), "replace");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnConflict {
    /// It is refused with [`LaneError::Duplicate`](crate::LaneError::Duplicate); the existing command is not touched.
    #[default]
    Reject,
    /// It becomes no command: the submitter gets a handle of the existing command and with it that command's result,
    /// also when it has settled already and its window has not passed.
    ///
    /// The existing command keeps its own payload and settings. Cancelling it through either handle cancels it for both.
    Join,
    /// The existing command is cancelled, and the new one is accepted and holds the key from now on.
    ///
    /// The new command queues like any other: it does not inherit the old one's place. An existing command that runs is
    /// asked to stop, and may go on for its lane's [grace](crate::LaneOptions::with_grace). One that has settled keeps
    /// its outcome and only loses the key.
    Replace,
}

impl fmt::Display for OnConflict {
    /// The name in serialised form, such as `replace`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reject => "reject",
            Self::Join => "join",
            Self::Replace => "replace",
        })
    }
}
