//! How a filter of dead letters is written.

use chrono::{DateTime, Utc};

use crate::storage::{DeadLetterFilter, DeadLetterRecord};

impl DeadLetterFilter {
    /// Only the dead letters of a lane.
    pub fn with_lane(mut self, lane_id: impl Into<String>) -> Self {
        self.lane_id = Some(lane_id.into());
        self
    }

    /// Only those of a command type.
    pub fn with_command_type(mut self, command_type: impl Into<String>) -> Self {
        self.command_type = Some(command_type.into());
        self
    }

    /// Only those whose last error has this [`code`](crate::LaneError::code).
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Only those that failed at this time or later.
    pub fn with_since(mut self, since: DateTime<Utc>) -> Self {
        self.since = Some(since);
        self
    }

    /// Only those that failed before this time.
    pub fn with_until(mut self, until: DateTime<Utc>) -> Self {
        self.until = Some(until);
        self
    }

    /// At most so many, the oldest ones.
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Copies of the letters that it means, of these.
    pub(super) fn apply_to<'a>(
        &self,
        letters: impl Iterator<Item = &'a DeadLetterRecord>,
    ) -> Vec<DeadLetterRecord> {
        letters
            .filter(|letter| self.matches(letter))
            .take(self.limit.unwrap_or(usize::MAX))
            .cloned()
            .collect()
    }
}
