//! A slow, obviously right model of the scheduler: the rules of order, limits, boost and rate limits as plain scans
//! over one list of commands. The property tests compare the real scheduler with it, decision by decision.
//!
//! The rules, in the form without a total limit, reservation, preemption and keys:
//!
//! 1. A lane is *eligible* when it has a ready command, runs fewer than its maximum, and its rate limiter has a token.
//!    Of the eligible lanes the lowest effective priority number goes first; among equals the lane served longest ago;
//!    among lanes never served the one added first.
//! 2. Inside a lane the ready command that joined the queue first goes first. A retry joins at the back.
//! 3. The effective priority is the lane's own, raised by the age of the command at the front of its queue.
//! 4. A token is taken by a start only. A lane that was refused a token is left alone until the time when the token
//!    is due, or until it gets a new policy.
//!
//! The transitions (`submit`, `start`, `conclude`, ...) are separate from the decision ([`Model::choose`]), so that a
//! test can also let the model follow the real scheduler and state one rule about what it did.

mod bucket;

use super::properties::rules::LaneRules;
use super::{Ending, OVERRUN_GRACE_NS, Verdict};
use bucket::Bucket;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Ready,
    Delayed,
    Running,
    Overdue,
    Concluded,
}

#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) serial: u64,
    pub(super) lane: usize,
    pub(super) submitted_at: u64,
    pub(super) ready_at: u64,
    /// When it joined its lane's queue last, as a count of all joins.
    pub(super) joined: u64,
    pub(super) attempt: u32,
    pub(super) phase: Phase,
    /// The end of its back-off, time limit or grace period.
    pub(super) timer: Option<u64>,
    /// How long the retry waits that `release` queues it for; fixed by `conclude`, whatever policy the lane gets later.
    pub(super) retry_delay: Option<u64>,
}

#[derive(Debug, Clone)]
pub(super) struct Lane {
    pub(super) rules: LaneRules,
    pub(super) bucket: Option<Bucket>,
    pub(super) last_served: u64,
    pub(super) blocked_until: Option<u64>,
    pub(super) pressed: bool,
}

/// What `tick` reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ModelDue {
    Deadline(u64),
    Overrun(u64, u32),
}

#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) lanes: Vec<Lane>,
    pub(super) commands: Vec<Command>,
    pub(super) open: bool,
    joins: u64,
    served: u64,
}

impl Model {
    pub(super) fn add_lane(&mut self, rules: LaneRules, now: u64) {
        let bucket = rules.rate.map(|rate| Bucket::new(rate, None, now));
        self.lanes.push(Lane {
            rules,
            bucket,
            last_served: 0,
            blocked_until: None,
            pressed: false,
        });
    }

    pub(super) fn set_policy(&mut self, lane: usize, rules: LaneRules, now: u64) {
        let lane = &mut self.lanes[lane];
        lane.bucket = rules
            .rate
            .map(|rate| Bucket::new(rate, lane.bucket.as_ref(), now));
        lane.rules = rules;
        lane.blocked_until = None;
    }

    /// Returns whether the lane reports pressure.
    pub(super) fn submit(&mut self, serial: u64, lane: usize, now: u64) -> bool {
        let joined = self.join();
        self.commands.push(Command {
            serial,
            lane,
            submitted_at: now,
            ready_at: now,
            joined,
            attempt: 0,
            phase: Phase::Ready,
            timer: None,
            retry_delay: None,
        });
        let pending = self.pending(lane);
        let lane = &mut self.lanes[lane];
        let reached = lane
            .rules
            .pressure
            .is_some_and(|threshold| pending >= threshold);
        let report = reached && !lane.pressed;
        lane.pressed |= reached;
        report
    }

    /// Rules 1 and 4: the lane that a command starts from now, remembering refusals of rate limiters.
    pub(super) fn choose(&mut self, now: u64) -> Option<usize> {
        loop {
            let candidates = (0..self.lanes.len())
                .filter(|&lane| self.open && self.has_work_and_slot(lane))
                .filter(|&lane| self.lanes[lane].blocked_until.is_none());
            let lane = candidates.min_by_key(|&lane| {
                (
                    self.effective_priority(lane, now),
                    self.lanes[lane].last_served,
                    lane,
                )
            })?;
            match self.grants_at(lane, now) {
                due if due > now => self.lanes[lane].blocked_until = Some(due),
                _ => return Some(lane),
            }
        }
    }

    /// Rule 2: the command that a start of this lane takes.
    pub(super) fn front(&self, lane: usize) -> Option<&Command> {
        self.in_phase(lane, &[Phase::Ready])
            .min_by_key(|command| command.joined)
    }

    /// A command takes a slot. Returns whether the lane reports that the pressure is gone.
    pub(super) fn start(&mut self, serial: u64, now: u64) -> bool {
        self.served += 1;
        let served = self.served;
        let command = self.get_mut(serial).expect("a live command");
        command.phase = Phase::Running;
        command.attempt += 1;
        let at = command.lane;
        let timer = self.lanes[at].rules.timeout_ns.map(|timeout| now + timeout);
        self.get_mut(serial).expect("a live command").timer = timer;
        let empty = self.pending(at) == 0;
        let lane = &mut self.lanes[at];
        lane.last_served = served;
        if let Some(bucket) = &mut lane.bucket {
            bucket.take(now);
        }
        let relieved = lane.pressed && empty;
        lane.pressed &= !empty;
        relieved
    }

    pub(super) fn conclude(
        &mut self,
        serial: u64,
        attempt: u32,
        ending: Ending,
    ) -> Option<Verdict> {
        let found = self
            .commands
            .iter_mut()
            .find(|command| command.serial == serial)?;
        if found.attempt != attempt || !matches!(found.phase, Phase::Running | Phase::Overdue) {
            return None;
        }
        let rules = &self.lanes[found.lane].rules;
        found.phase = Phase::Concluded;
        found.timer = None;
        // The first attempt is no retry.
        let again = ending == Ending::Failed && attempt <= rules.retries;
        found.retry_delay = again.then(|| rules.delay_ns(attempt));
        Some(if again {
            Verdict::Retry { attempt }
        } else {
            Verdict::Settle
        })
    }

    /// Returns whether the command has left.
    pub(super) fn release(&mut self, serial: u64, now: u64) -> bool {
        let joined = self.join();
        let command = self.get_mut(serial).expect("a concluded command");
        match command.retry_delay.take() {
            None => {
                self.remove(serial);
                return true;
            }
            Some(0) => {
                command.phase = Phase::Ready;
                command.ready_at = now;
                command.joined = joined;
            }
            Some(delay) => {
                command.phase = Phase::Delayed;
                command.timer = Some(now + delay);
            }
        }
        false
    }

    /// Returns whether there was such an attempt to give up.
    pub(super) fn abandon(&mut self, serial: u64, attempt: u32) -> bool {
        let holds = self
            .get(serial)
            .is_some_and(|command| command.attempt == attempt && command.holds_slot());
        if holds {
            self.remove(serial);
        }
        holds
    }

    pub(super) fn tick(&mut self, now: u64) -> Option<ModelDue> {
        for lane in &mut self.lanes {
            lane.blocked_until = lane.blocked_until.filter(|&due| due > now);
        }
        loop {
            let joined = self.join();
            let due = self
                .commands
                .iter_mut()
                .filter(|command| command.timer.is_some_and(|at| at <= now));
            let command = due.min_by_key(|command| (command.timer, command.serial))?;
            let serial = command.serial;
            match command.phase {
                Phase::Delayed => {
                    command.phase = Phase::Ready;
                    command.timer = None;
                    command.ready_at = now;
                    command.joined = joined;
                }
                Phase::Running => {
                    command.phase = Phase::Overdue;
                    command.timer = Some(now + OVERRUN_GRACE_NS);
                    return Some(ModelDue::Deadline(serial));
                }
                Phase::Overdue => {
                    command.timer = None;
                    return Some(ModelDue::Overrun(serial, command.attempt));
                }
                Phase::Ready | Phase::Concluded => unreachable!("nothing to wait for"),
            }
        }
    }

    pub(super) fn next_wake(&self) -> Option<u64> {
        let blocked = self.lanes.iter().filter_map(|lane| lane.blocked_until);
        blocked
            .chain(self.commands.iter().filter_map(|command| command.timer))
            .min()
    }

    /// Takes out everything that is not running, oldest first.
    pub(super) fn take_waiting(&mut self) -> Vec<u64> {
        let mut taken: Vec<u64> = self
            .commands
            .iter()
            .filter(|command| !command.holds_slot())
            .map(|command| command.serial)
            .collect();
        taken.sort_unstable();
        self.commands.retain(Command::holds_slot);
        for lane in &mut self.lanes {
            lane.blocked_until = None;
        }
        taken
    }

    pub(super) fn get(&self, serial: u64) -> Option<&Command> {
        self.commands
            .iter()
            .find(|command| command.serial == serial)
    }

    pub(super) fn pending(&self, lane: usize) -> usize {
        self.in_phase(lane, &[Phase::Ready, Phase::Delayed]).count()
    }

    pub(super) fn active(&self, lane: usize) -> usize {
        self.commands
            .iter()
            .filter(|command| command.lane == lane && command.holds_slot())
            .count()
    }

    /// How many commands could start now, as far as the rate limiters have not said otherwise.
    pub(super) fn startable(&self) -> usize {
        let unblocked = |lane: &usize| self.open && self.lanes[*lane].blocked_until.is_none();
        (0..self.lanes.len())
            .filter(unblocked)
            .map(|lane| {
                let free = self.lanes[lane]
                    .rules
                    .max()
                    .saturating_sub(self.active(lane));
                self.in_phase(lane, &[Phase::Ready]).count().min(free)
            })
            .sum()
    }

    /// Rule 1, whatever was remembered of earlier refusals.
    pub(super) fn is_eligible(&self, lane: usize, now: u64) -> bool {
        self.open && self.has_work_and_slot(lane) && self.grants_at(lane, now) <= now
    }

    pub(super) fn has_work_and_slot(&self, lane: usize) -> bool {
        self.front(lane).is_some() && self.active(lane) < self.lanes[lane].rules.max()
    }

    /// The first time, from `now` on, at which the lane's rate limiter has a token.
    pub(super) fn grants_at(&self, lane: usize, now: u64) -> u64 {
        self.lanes[lane]
            .bucket
            .as_ref()
            .map_or(now, |bucket| bucket.grants_at(now))
    }

    /// Rule 3.
    pub(super) fn effective_priority(&self, lane: usize, now: u64) -> u8 {
        let waited = self.front(lane).map(|command| now - command.submitted_at);
        waited.map_or(self.lanes[lane].rules.priority, |waited| {
            self.lanes[lane].rules.boosted(waited)
        })
    }

    fn in_phase<'a>(
        &'a self,
        lane: usize,
        phases: &'a [Phase],
    ) -> impl Iterator<Item = &'a Command> {
        self.commands
            .iter()
            .filter(move |command| command.lane == lane && phases.contains(&command.phase))
    }

    fn get_mut(&mut self, serial: u64) -> Option<&mut Command> {
        self.commands
            .iter_mut()
            .find(|command| command.serial == serial)
    }

    fn remove(&mut self, serial: u64) {
        self.commands.retain(|command| command.serial != serial);
    }

    fn join(&mut self) -> u64 {
        self.joins += 1;
        self.joins
    }
}

impl Command {
    pub(super) fn holds_slot(&self) -> bool {
        !matches!(self.phase, Phase::Ready | Phase::Delayed)
    }
}
