//! Who must make room for a more urgent lane.

use super::{Command, Model, Phase};

impl Model {
    /// The running command that must make room now, if any. Call after [`choose`](Self::choose) has said `None`.
    pub(in crate::scheduler) fn preempt(&mut self, now: u64) -> Option<u64> {
        let lanes = self.lane_numbers();
        let any = lanes.iter().any(|&lane| self.lane(lane).rules.preemptible);
        if !self.open || self.total.is_none() || !any {
            return None;
        }
        self.age(now);
        self.shelve_expired(now);
        let victim = self.victim(now)?;
        let serial = victim.serial;
        let priority = self.urgency_back(victim, now);
        let is_short = self.is_short();
        let demand: usize = lanes
            .into_iter()
            .map(|lane| self.demand_of(lane, priority, is_short, now))
            .sum();
        (demand > self.freeing()).then_some(serial)
    }

    /// Takes out what is too old to start.
    fn shelve_expired(&mut self, now: u64) {
        let expired = |command: &&Command| command.phase == Phase::Ready && command.is_expired(now);
        let expired = self.commands.iter().filter(expired);
        let expired: Vec<(u64, usize)> = expired
            .map(|command| (command.serial, command.lane))
            .collect();
        for (serial, lane) in expired {
            self.get_mut(serial).phase = Phase::Expired;
            self.touch(lane, now);
        }
    }

    /// How many commands of the lane wait for nothing but the total, if it is more urgent than `priority`. Those for which a slot
    /// is kept get it by themselves when what is stopping has ended, unless there are too few then.
    fn demand_of(&mut self, lane: usize, priority: u8, is_short: bool, now: u64) -> usize {
        if !self.takes_part(lane)
            || self.is_blocked(lane)
            || self.admits(lane)
            || self.effective_priority(lane, now) >= priority
        {
            return 0;
        }
        let comes = if is_short { 0 } else { self.on_kept(lane) };
        let is_one = self.lane(lane).rules.is_rated() || self.lane(lane).rules.priority >= priority;
        if is_one && comes > 0 {
            return 0;
        }
        if self.lane(lane).rules.is_rated() {
            // Its limits have granted one command.
            return usize::from(!self.asks_limits(lane, now));
        }
        if self.lane(lane).rules.priority >= priority {
            // Its oldest command is as urgent, not those behind it.
            return 1;
        }
        self.room(lane) - comes
    }

    /// How many of the commands that the lane could start would start on slots that are kept for it.
    fn on_kept(&self, lane: usize) -> usize {
        let kept = self.lane(lane).rules.min();
        self.room(lane).min(kept.saturating_sub(self.active(lane)))
    }

    /// How many commands of the lane could start as far as its slots and keys go.
    fn room(&self, lane: usize) -> usize {
        let slots = self.lane(lane).rules.max() - self.active(lane);
        self.ready_within_keys(lane).min(slots)
    }

    /// The youngest run of those that will be the least urgent when they are back.
    fn victim(&self, now: u64) -> Option<&Command> {
        self.victims().max_by_key(|command| {
            let priority = self.urgency_back(command, now);
            (priority, command.started_at, command.lane, command.start)
        })
    }

    /// How urgent its lane will be when a command that is asked now is back, if not before.
    pub(in crate::scheduler) fn urgency_back(&self, command: &Command, now: u64) -> u8 {
        let rules = &self.lane(command.lane).rules;
        let oldest = self.oldest(command.lane);
        let oldest = oldest.map_or(command.waits_since(), |oldest| {
            oldest.waits_since().min(command.waits_since())
        });
        rules.most_urgent(now + rules.grace_ns - oldest)
    }

    /// The commands that may be asked to make room.
    pub(in crate::scheduler) fn victims(&self) -> impl Iterator<Item = &Command> {
        self.commands
            .iter()
            .filter(|command| command.phase == Phase::Running && command.stop.is_none())
            .filter(|command| command.rules.preemptible)
            .filter(|command| self.lane(command.lane).rules.preemptible)
            .filter(|command| self.has_spare(command.lane))
    }

    /// Whether a lane keeps its minimum when one more of its commands stops.
    fn has_spare(&self, lane: usize) -> bool {
        let stays = |command: &&Command| command.holds_slot() && !command.is_stopping();
        self.of_lane(lane).filter(stays).count() > self.lane(lane).rules.min()
    }

    /// How many slots of the total are in use or kept for a lane when what is stopping has ended.
    fn taken_then(&self) -> usize {
        let of_lane = |lane: usize| {
            let stays = |command: &&Command| command.holds_slot() && !command.is_stopping();
            let stay = self.of_lane(lane).filter(stays).count();
            stay.max(self.lane(lane).rules.min())
        };
        self.lane_numbers().into_iter().map(of_lane).sum()
    }

    /// Whether some minimum cannot be kept even then.
    fn is_short(&self) -> bool {
        self.total.is_some_and(|total| self.taken_then() > total)
    }

    /// How many slots of the total will be free for any lane then.
    pub(in crate::scheduler) fn freeing(&self) -> usize {
        let total = self.total.unwrap_or(usize::MAX);
        total.saturating_sub(self.taken_then())
    }

    /// Whether a lane waits for nothing but the total.
    pub(in crate::scheduler) fn waits_for_total(&self, lane: usize, now: u64) -> bool {
        self.takes_part(lane) && !self.admits(lane) && self.grants_at(lane, now) <= now
    }

    /// Whether a more urgent lane waits for nothing but the total, nothing is about to be free, and someone could make
    /// room for it.
    pub(in crate::scheduler) fn is_help_needed(&self, now: u64) -> bool {
        let mut lanes = self.lane_numbers().into_iter();
        let Some(victim) = self.victim(now) else {
            return false;
        };
        let priority = self.urgency_back(victim, now);
        self.freeing() == 0
            && lanes.any(|lane| {
                self.waits_for_total(lane, now)
                    && self.effective_priority(lane, now) < priority
                    && (self.is_short() || self.on_kept(lane) == 0)
            })
    }
}
