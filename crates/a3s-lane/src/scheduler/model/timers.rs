//! What is due, and when to wake up.

use super::{Command, Model, Phase};
use crate::scheduler::StopReason;

/// What `tick` reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scheduler) enum ModelDue {
    Deadline(u64),
    Stalled(u64),
    Drop(u64, StopReason),
    Overrun(u64, u32),
    Expired(u64),
}

impl Command {
    pub(super) fn deadline(&self) -> Option<u64> {
        self.timeout_ns.map(|timeout| self.started_at + timeout)
    }

    /// The next time that means something to it.
    pub(in crate::scheduler) fn timer(&self) -> Option<u64> {
        let (first, second) = match self.phase {
            Phase::Ready | Phase::Expired => (self.expires_at, None),
            Phase::Delayed => (Some(self.delay_until), self.expires_at),
            Phase::Running if self.stop.is_some() => (self.stop_timer, None),
            Phase::Running => (self.deadline(), self.stall_timer),
            Phase::Concluded => (None, None),
        };
        first.into_iter().chain(second).min()
    }
}

impl Model {
    pub(in crate::scheduler) fn tick(&mut self, now: u64) -> Option<ModelDue> {
        self.age(now);
        loop {
            let commands = self.commands.iter();
            let due = commands.filter(|command| command.timer().is_some_and(|at| at <= now));
            let first = due.min_by_key(|command| (command.timer(), command.serial))?;
            let reported = self.handle(first.clone(), now);
            if reported.is_some() {
                return reported;
            }
        }
    }

    /// The timer of a command has passed.
    fn handle(&mut self, command: Command, now: u64) -> Option<ModelDue> {
        let (serial, lane) = (command.serial, command.lane);
        match command.phase {
            Phase::Ready | Phase::Delayed | Phase::Expired if command.is_expired(now) => {
                self.remove(serial);
                self.touch(lane, now);
                return Some(ModelDue::Expired(serial));
            }
            Phase::Delayed => {
                self.join_back(serial, now);
                self.touch(lane, now);
            }
            Phase::Running if command.dropped => {
                self.get_mut(serial).stop_timer = None;
                return Some(ModelDue::Overrun(serial, command.run));
            }
            Phase::Running if command.stop.is_some() => {
                let reason = command.stop?;
                self.drop_body(serial, reason, now);
                return Some(ModelDue::Drop(serial, reason));
            }
            Phase::Running => {
                let silent = command.progress_ns.map(|limit| command.alive_at + limit);
                let reached = |at: Option<u64>| at.filter(|at| *at <= now);
                return match (reached(command.deadline()), reached(silent)) {
                    (None, None) => {
                        self.get_mut(serial).stall_timer = silent;
                        None
                    }
                    (Some(deadline), silent) if silent.is_none_or(|silent| deadline <= silent) => {
                        self.drop_body(serial, StopReason::Deadline, now);
                        Some(ModelDue::Deadline(serial))
                    }
                    _ => {
                        self.drop_body(serial, StopReason::Stall, now);
                        Some(ModelDue::Stalled(serial))
                    }
                };
            }
            Phase::Ready | Phase::Expired | Phase::Concluded => {
                unreachable!("nothing to wait for")
            }
        }
        None
    }

    /// Looks at the age of every lane that was not refused, or was until now.
    pub(super) fn age(&mut self, now: u64) {
        for lane in self.lane_numbers() {
            let place = self.lane_mut(lane);
            if place.blocked.is_some_and(|blocked| blocked.until <= now) {
                place.blocked = None;
                self.touch(lane, now);
            }
        }
        for lane in self.lanes.iter_mut().flatten() {
            if lane.blocked.is_none() {
                lane.seen_at = now;
            }
        }
    }

    pub(in crate::scheduler) fn next_wake(&self) -> Option<u64> {
        let timers = self.commands.iter().filter_map(Command::timer);
        let lanes = self.lane_numbers();
        let places = lanes.iter().map(|&lane| self.lane(lane));
        let blocked = places.clone().filter_map(|lane| lane.blocked);
        let blocked = blocked.map(|blocked| blocked.until);
        let mut first = timers.chain(blocked).filter(|&at| at != u64::MAX).min();
        let preempts = self.total.is_some() && places.clone().any(|lane| lane.rules.preemptible);
        for &lane in lanes.iter().filter(|_| preempts) {
            if self.takes_part(lane) && !self.is_blocked(lane) {
                let change = self.next_change(lane, self.lane(lane).seen_at);
                first = first.into_iter().chain(change).min();
            }
        }
        first
    }
}
