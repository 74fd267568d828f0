//! Named limiters: their names, and the lanes that use them.

use std::sync::Arc;

use super::{Engine, State};
use crate::config::LaneOptions;
use crate::error::{LaneError, Result};
use crate::ratelimit::LimiterConfig;
use crate::scheduler::{Counts, Limiter, LimiterKey};

fn build(config: &LimiterConfig, now: u64) -> Limiter {
    let named = config.build(now);
    Limiter {
        meter: named.meter,
        counts: if named.counts_cost {
            Counts::Cost
        } else {
            Counts::Commands
        },
        urgent: named.urgent,
        reserve: named.kept,
    }
}

impl State {
    /// The limiters that a lane names; those that do not exist were refused before.
    pub(super) fn limiter_keys(&self, options: &LaneOptions) -> Vec<LimiterKey> {
        let names = options.limiters().iter();
        names
            .filter_map(|name| self.limiters.get(name).copied())
            .collect()
    }

    pub(super) fn limiter_name(&self, limiter: LimiterKey) -> &str {
        let found = self.limiters.iter().find(|(_, key)| **key == limiter);
        found.map_or("", |(name, _)| name.as_str())
    }

    /// Every limiter that a lane names must exist.
    pub(super) fn check_limiters(&self, lane_id: &str, options: &LaneOptions) -> Result<()> {
        let mut names = options.limiters().iter();
        match names.find(|name| !self.limiters.contains_key(*name)) {
            None => Ok(()),
            Some(name) => Err(unknown(lane_id, name)),
        }
    }
}

/// A lane names a limiter that does not exist.
pub(crate) fn unknown(lane_id: &str, name: &str) -> LaneError {
    LaneError::ConfigError(format!(
        "lane {lane_id:?}: limiter must be one that with_limiter added (got {name:?})"
    ))
}

impl Engine {
    pub(crate) fn add_limiter(&self, name: &str, config: &LimiterConfig) {
        let now = self.now();
        let mut state = self.lock();
        let key = state.scheduler.add_limiter(build(config, now));
        state.limiters.insert(name.to_owned(), key);
    }

    /// Gives a limiter new limits; what was used up counts.
    pub(crate) fn set_limiter(self: &Arc<Self>, name: &str, config: &LimiterConfig) -> Result<()> {
        config.validate(name)?;
        let now = self.now();
        let mut state = self.lock();
        let key = state.limiters.get(name).copied();
        let key = key.ok_or_else(|| LaneError::LimiterNotFound(name.to_owned()))?;
        state.scheduler.set_limiter(key, build(config, now), now);
        self.release_lock(state);
        Ok(())
    }
}
