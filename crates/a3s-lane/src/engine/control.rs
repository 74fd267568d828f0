//! Control of a queue at run time.

use std::sync::Arc;

use serde_json::Value;

use super::admission::Target;
use super::leave::Departure;
use super::room::Room;
use super::{Engine, LaneSpec};
use crate::command::StopReason;
use crate::context::Attempt;
use crate::error::{LaneError, Result};
use crate::event::What;
use crate::handler::HandlerMap;
use crate::scheduler::{CommandKey, LaneKey, Stopped};

impl Engine {
    pub(crate) fn handlers(&self) -> &HandlerMap {
        &self.handlers
    }

    pub(super) fn lane_key(&self, id: &str) -> Result<LaneKey> {
        let known = self.lock().names.get(id).copied();
        known.ok_or_else(|| LaneError::LaneNotFound(id.to_owned()))
    }

    pub(super) fn room_of(&self, target: Target<'_>) -> Result<Arc<Room>> {
        let state = self.lock();
        let lane = state.admit(target)?;
        Ok(Arc::clone(&state.lanes[lane.index()].room))
    }

    /// Cancels commands: waiting ones settle at once, running ones are asked to stop. Returns how many that were.
    pub(super) fn cancel_commands(
        self: &Arc<Self>,
        keys: impl IntoIterator<Item = CommandKey>,
    ) -> usize {
        let now = self.now();
        let (mut left, mut asked) = (Vec::new(), Vec::new());
        let mut already = 0;
        let mut state = self.lock();
        for key in keys {
            match state.scheduler.stop(key, StopReason::Cancel, now) {
                Stopped::Gone => {}
                Stopped::Already => already += 1,
                Stopped::Left(lane, job) => {
                    left.push(state.leave(self, key, lane, job, Departure::Cancelled));
                }
                Stopped::Asked { drop } => {
                    asked.push(state.asked(key, StopReason::Cancel, drop));
                }
            }
        }
        self.release_lock(state);
        let cancelled = left.len() + asked.len() + already;
        for asked in asked {
            asked.tell();
        }
        if !left.is_empty() {
            self.dismiss(left);
        }
        cancelled
    }

    /// Cancels the command with this id; false when there is none that has not settled.
    pub(crate) fn cancel(self: &Arc<Self>, id: &str) -> bool {
        let key = self.lock().key_of(self, id);
        key.is_some_and(|key| self.cancel_commands([key]) > 0)
    }

    /// Whether a lane keeps its commands in a storage.
    pub(crate) fn stores(&self, lane_id: &str) -> bool {
        let state = self.lock();
        let lane = state.names.get(lane_id);
        lane.is_some_and(|lane| state.lanes[lane.index()].storage.is_some())
    }

    /// Cancels every command of a lane.
    pub(crate) fn cancel_lane(self: &Arc<Self>, id: &str) -> Result<usize> {
        let lane = self.lane_key(id)?;
        let keys = self.select(|of, _| of == lane);
        Ok(self.cancel_commands(keys))
    }

    /// Cancels every command of a fairness key, in all lanes.
    pub(crate) fn cancel_key(self: &Arc<Self>, key: &str) -> usize {
        let keys = self.select(|_, of| of == Some(key));
        self.cancel_commands(keys)
    }

    /// The commands of a lane and a fairness key, the oldest first. Looks at every command.
    fn select(&self, which: impl Fn(LaneKey, Option<&str>) -> bool) -> Vec<CommandKey> {
        let state = self.lock();
        let mut keys: Vec<CommandKey> = state
            .scheduler
            .commands()
            .filter(|command| which(command.lane, command.fairness_key.map(|key| &**key)))
            .map(|command| command.key)
            .collect();
        keys.sort_by_key(|key| key.serial());
        keys
    }

    /// Stops or resumes the starts of a lane.
    pub(crate) fn pause_lane(self: &Arc<Self>, id: &str, paused: bool) -> Result<()> {
        let now = self.now();
        let mut state = self.lock();
        let lane = state.names.get(id).copied();
        let lane = lane.ok_or_else(|| LaneError::LaneNotFound(id.to_owned()))?;
        if state.scheduler.pause_lane(lane, paused, now) {
            let id = || Arc::clone(&state.lanes[lane.index()].id);
            self.emitter.report(|| match paused {
                true => What::Paused(id()),
                false => What::Resumed(id()),
            });
        }
        self.release_lock(state);
        Ok(())
    }

    /// Stops or resumes the starts of a fairness key, in all lanes.
    pub(crate) fn pause_key(self: &Arc<Self>, key: &str, paused: bool) {
        let now = self.now();
        let mut state = self.lock();
        state.scheduler.pause_key(&key.into(), paused, now);
        self.release_lock(state);
    }

    /// Limits how many commands run at once, over all lanes. Minimums that do not fit are refused.
    pub(crate) fn set_total(self: &Arc<Self>, total: Option<usize>) -> Result<()> {
        let now = self.now();
        let mut state = self.lock();
        let minimums: usize = state.minimums(None);
        check_total(total, minimums)?;
        self.shut_doors(&mut state);
        state.scheduler.set_total(total, now);
        self.release_lock(state);
        Ok(())
    }

    /// Adds a lane at run time, or gives one another configuration.
    pub(crate) fn set_lane(self: &Arc<Self>, mut spec: LaneSpec) -> Result<()> {
        spec.config.validate(&spec.id)?;
        spec.options.validate(&spec.id, &spec.config)?;
        {
            let state = self.lock();
            if let Some(lane) = state.names.get(spec.id.as_str()) {
                spec.storage.clone_from(&state.lanes[lane.index()].storage);
            }
        }
        let spec = &spec;
        // Checked and registered under one lock: two lanes at once could be too much for the total.
        self.register_if(spec, |state| -> Result<()> {
            let others = state.minimums(Some(&spec.id));
            check_total(
                state.scheduler.overview().total,
                others + spec.config.min_concurrency,
            )?;
            #[cfg(feature = "distributed")]
            state.check_limiters(&spec.id, &spec.options)?;
            Ok(())
        })?;
        Ok(())
    }

    /// Takes a lane out that has no commands.
    pub(crate) fn remove_lane(self: &Arc<Self>, id: &str) -> Result<()> {
        let mut state = self.lock();
        let lane = state.names.get(id).copied();
        let lane = lane.ok_or_else(|| LaneError::LaneNotFound(id.to_owned()))?;
        self.shut_doors(&mut state);
        let room = Arc::clone(&state.lanes[lane.index()].room);
        if room.promised() > 0 || !state.scheduler.remove_lane(lane) {
            let counts = state.counts(lane);
            return Err(LaneError::QueueError(format!(
                "lane {id:?} must be empty to be removed (has {} pending and {} active commands)",
                counts.pending, counts.active
            )));
        }
        state.names.remove(id);
        self.release_lock(state);
        room.freed();
        Ok(())
    }

    pub(crate) fn beat(&self, key: CommandKey, run: u32) {
        let now = self.now();
        self.lock().scheduler.beat(key, run, now);
    }

    #[cfg(feature = "distributed")]
    pub(crate) fn settle_cost(self: &Arc<Self>, key: CommandKey, run: u32, actual: u64) {
        let now = self.now();
        let mut state = self.lock();
        state.scheduler.settle_cost(key, run, actual, now);
        self.release_lock(state);
    }

    /// Reports how far a running command is.
    pub(crate) fn progress(&self, attempt: &Attempt, progress: Value) {
        if attempt.progress_ns.is_some() {
            self.beat(attempt.key, attempt.run);
        }
        self.emitter.report(|| {
            let name = self.name(attempt.key, attempt.extras.as_deref());
            What::Progress(
                Arc::clone(&attempt.lane.id),
                name,
                Arc::new(progress.clone()),
            )
        });
        let late = match attempt.extras {
            Some(_) => None,
            None => self.late_extras(attempt.key),
        };
        if let Some(extras) = attempt.extras.as_ref().or(late.as_ref()) {
            extras.handle.progress(progress);
        }
    }
}

/// The kept slots of all lanes must fit into the total limit.
pub(crate) fn check_total(total: Option<usize>, minimums: usize) -> Result<()> {
    match total {
        Some(0) => Err(LaneError::ConfigError(
            "max_concurrency of the manager must be at least 1 (got 0)".to_owned(),
        )),
        Some(total) if minimums > total => Err(LaneError::ConfigError(format!(
            "max_concurrency of the manager must be at least the sum of the lanes' min_concurrency (got {total} and {minimums})"
        ))),
        _ => Ok(()),
    }
}
