//! What the queue says about itself.

use super::calendar::Calendar;
use super::{Engine, State};
use crate::explain::{Explanation, WaitReason};
use crate::handle::CommandStatus;
use crate::scheduler::{CommandKey, Explained, LaneKey, Obstacle};
use crate::snapshot::{CommandSnapshot, LaneSnapshot, Snapshot};

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
        let commands = state.scheduler.commands();
        let mut keys: Vec<CommandKey> = commands.map(|command| command.key).collect();
        keys.sort_by_key(|key| key.serial());
        let commands = state.scheduler.explain(&keys, calendar.now);
        let commands = commands.iter().map(|explained| CommandSnapshot {
            key: explained.fairness_key.as_ref().map(|key| key.to_string()),
            explanation: state.explanation(self, explained, &calendar),
        });
        let overview = state.scheduler.overview();
        let paused_keys = overview.paused_keys.iter();
        let mut paused_keys: Vec<String> = paused_keys.map(|key| key.to_string()).collect();
        paused_keys.sort_unstable();
        Snapshot {
            taken_at: calendar.date,
            started: overview.open,
            shutting_down: state.shutting_down,
            total_limit: overview.total,
            pending: overview.pending,
            active: overview.active,
            paused_keys,
            commands: commands.collect(),
            lanes: lanes.into_iter().map(|(_, lane)| lane).collect(),
        }
    }
}

impl State {
    fn lane_snapshot(&self, id: &str, lane: LaneKey, now: u64) -> LaneSnapshot {
        let view = self.scheduler.lane(lane);
        let counts = view.counts;
        LaneSnapshot {
            id: id.to_owned(),
            priority: view.priority,
            effective_priority: view.effective_priority(now),
            pending: counts.pending,
            active: counts.active,
            min: counts.min,
            max: counts.max,
            paused: view.paused,
        }
    }

    /// The command with this id.
    pub(super) fn key_of(&self, engine: &Engine, id: &str) -> Option<CommandKey> {
        let serial = match self.ids.get(id) {
            Some(serial) => *serial,
            None => crate::event::CommandName::serial_of(engine.id_space, id)?,
        };
        let tracked = self.tracked.get(&serial).copied();
        tracked.or_else(|| {
            let mut keys = self.scheduler.commands().map(|command| command.key);
            keys.find(|key| key.serial() == serial)
        })
    }

    fn name_of(&self, engine: &Engine, key: CommandKey) -> String {
        let command = self.scheduler.command(key);
        let extras = command.and_then(|command| command.job.reply.extras());
        engine.name(key, extras.map(|extras| &**extras)).to_string()
    }

    fn explain(
        &self,
        engine: &Engine,
        key: CommandKey,
        calendar: &Calendar,
    ) -> Option<Explanation> {
        let explained = self.scheduler.explain(&[key], calendar.now);
        let explained = explained.first()?;
        Some(self.explanation(engine, explained, calendar))
    }

    fn explanation(
        &self,
        engine: &Engine,
        explained: &Explained,
        calendar: &Calendar,
    ) -> Explanation {
        let age_ns = calendar.now.saturating_sub(explained.submitted_at);
        let reasons = explained.obstacles.iter();
        let reasons = reasons
            .map(|obstacle| self.reason(engine, explained, obstacle, calendar))
            .collect();
        Explanation {
            command_id: self.name_of(engine, explained.key),
            lane_id: self.lanes[explained.lane.index()].id.to_string(),
            status: status(explained),
            attempts: explained.attempts,
            age_ms: age_ns as f64 / 1e6,
            reasons,
        }
    }

    fn reason(
        &self,
        engine: &Engine,
        explained: &Explained,
        obstacle: &Obstacle,
        calendar: &Calendar,
    ) -> WaitReason {
        let fairness_key = || {
            let key = explained.fairness_key.as_ref();
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
            Obstacle::LaneFull { max, ref holders } => WaitReason::LaneFull {
                max,
                running: holders
                    .iter()
                    .map(|key| self.name_of(engine, *key))
                    .collect(),
            },
            Obstacle::KeyBusy(active) => WaitReason::KeyBusy {
                key: fairness_key(),
                active,
            },
            Obstacle::TotalReached(total) => WaitReason::TotalReached { total },
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
