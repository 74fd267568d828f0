//! What the queue says about itself.

use super::calendar::Calendar;
use super::{Engine, State};
use crate::explain::{Explanation, WaitReason};
use crate::handle::CommandStatus;
use crate::scheduler::{CommandKey, Explained, LaneKey, Obstacle};
use crate::snapshot::{CommandSnapshot, LaneSnapshot, Snapshot};

/// The most ids that an explanation names.
const MAX_NAMED: usize = 16;

impl Engine {
    /// Why a command waits; `None` when there is no such command any more.
    pub(super) fn explain_command(&self, key: CommandKey) -> Option<Explanation> {
        let calendar = self.calendar();
        self.lock().explain(self, key, &calendar)
    }

    /// As [`explain_command`](Self::explain_command), by the command's id.
    pub(crate) fn explain(&self, id: &str) -> Option<Explanation> {
        let key = self.lock().key_of(self, id)?;
        self.explain_command(key)
    }

    /// The whole state. Holds the lock for as long as copying it takes.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let calendar = self.calendar();
        let state = self.lock();
        let mut lanes: Vec<(LaneKey, LaneSnapshot)> = state
            .names
            .iter()
            .map(|(id, &lane)| (lane, state.lane_snapshot(id, lane, calendar.now)))
            .collect();
        lanes.sort_by(|(_, a), (_, b)| (a.priority, &a.id).cmp(&(b.priority, &b.id)));
        let mut keys: Vec<CommandKey> = state.scheduler.commands().map(|(key, _, _)| key).collect();
        keys.sort_by_key(|key| key.serial());
        let positions = state.scheduler.positions();
        let commands = keys.into_iter().filter_map(|key| {
            let explained = state
                .scheduler
                .explain_with(key, &positions, calendar.now)?;
            let explanation = state.explanation(self, key, &explained, &calendar);
            Some(CommandSnapshot {
                key: state.scheduler.fairness_key(key).map(|key| key.to_string()),
                explanation,
            })
        });
        let mut paused_keys: Vec<String> = state
            .scheduler
            .paused_keys()
            .map(|key| key.to_string())
            .collect();
        paused_keys.sort_unstable();
        Snapshot {
            taken_at: calendar.date,
            started: state.scheduler.is_open(),
            shutting_down: state.shutting_down,
            total_limit: state.scheduler.total(),
            pending: state.scheduler.pending(),
            active: state.scheduler.active(),
            paused_keys,
            commands: commands.collect(),
            lanes: lanes.into_iter().map(|(_, lane)| lane).collect(),
        }
    }
}

impl State {
    fn lane_snapshot(&self, id: &str, lane: LaneKey, now: u64) -> LaneSnapshot {
        let counts = self.counts(lane);
        LaneSnapshot {
            id: id.to_owned(),
            priority: self.scheduler.priority(lane),
            effective_priority: self.scheduler.effective_priority(lane, now),
            pending: counts.pending,
            active: counts.active,
            min: counts.min,
            max: counts.max,
            paused: self.scheduler.is_lane_paused(lane),
        }
    }

    /// The command with this id.
    pub(super) fn key_of(&self, engine: &Engine, id: &str) -> Option<CommandKey> {
        let serial = match self.ids.get(id) {
            Some(serial) => *serial,
            None => crate::event::CommandName::serial_of(engine.id_space, id)?,
        };
        let tracked = self.tracked.get(&serial).copied();
        tracked.or_else(|| self.scheduler.find(serial))
    }

    fn name_of(&self, engine: &Engine, key: CommandKey) -> String {
        let extras = self.scheduler.job(key).and_then(|job| job.reply.extras());
        engine.name(key, extras.map(|extras| &**extras)).to_string()
    }

    fn explain(
        &self,
        engine: &Engine,
        key: CommandKey,
        calendar: &Calendar,
    ) -> Option<Explanation> {
        let explained = self.scheduler.explain(key, calendar.now)?;
        Some(self.explanation(engine, key, &explained, calendar))
    }

    fn explanation(
        &self,
        engine: &Engine,
        key: CommandKey,
        explained: &Explained,
        calendar: &Calendar,
    ) -> Explanation {
        let age_ns = calendar.now.saturating_sub(explained.submitted_at);
        let reasons = explained.obstacles.iter();
        let reasons = reasons
            .map(|obstacle| self.reason(engine, key, explained, obstacle, calendar))
            .collect();
        Explanation {
            command_id: self.name_of(engine, key),
            lane_id: self.lanes[explained.lane.index()].id.to_string(),
            status: status(explained),
            attempts: explained.attempt,
            age_ms: age_ns as f64 / 1e6,
            reasons,
        }
    }

    fn reason(
        &self,
        engine: &Engine,
        key: CommandKey,
        explained: &Explained,
        obstacle: &Obstacle,
        calendar: &Calendar,
    ) -> WaitReason {
        let fairness_key = || {
            let key = self.scheduler.fairness_key(key);
            key.map(|key| key.to_string()).unwrap_or_default()
        };
        match *obstacle {
            Obstacle::NotOpen => WaitReason::NotStarted,
            Obstacle::LanePaused => WaitReason::LanePaused,
            Obstacle::KeyPaused => WaitReason::KeyPaused {
                key: fairness_key(),
            },
            Obstacle::Delayed(until) => WaitReason::Delayed {
                until: calendar.date(until),
            },
            Obstacle::Expired => WaitReason::Expired,
            Obstacle::Behind(commands) => WaitReason::Behind { commands },
            Obstacle::LaneFull => WaitReason::LaneFull {
                max: self.counts(explained.lane).max,
                running: self
                    .scheduler
                    .running_in(explained.lane)
                    .take(MAX_NAMED)
                    .map(|key| self.name_of(engine, key))
                    .collect(),
            },
            Obstacle::KeyBusy(active) => WaitReason::KeyBusy {
                key: fairness_key(),
                active,
            },
            Obstacle::TotalReached => WaitReason::TotalReached {
                total: self.scheduler.total().unwrap_or_default(),
            },
            Obstacle::Reserved(slots) => WaitReason::Reserved { slots },
            Obstacle::Limited(until) => WaitReason::RateLimited {
                until: (until != u64::MAX).then(|| calendar.date(until)),
            },
        }
    }
}

fn status(explained: &Explained) -> CommandStatus {
    let delayed = explained
        .obstacles
        .iter()
        .any(|obstacle| matches!(obstacle, Obstacle::Delayed(_)));
    match (explained.running, delayed) {
        (true, _) => CommandStatus::Running,
        (_, true) => CommandStatus::Delayed,
        _ => CommandStatus::Pending,
    }
}
