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
        let mut spared = Vec::new();
        loop {
            let victim = self.victim(&spared, now)?;
            let serial = victim.serial;
            let priority = self.urgency_back(victim, now);
            if !self.is_needed(priority, None, now) {
                return None;
            }
            if self.is_needed(priority, Some(serial), now) {
                self.nesting.preempted += 1;
                return Some(serial);
            }
            self.nesting.spared += 1;
            spared.push(serial);
        }
    }

    /// Whether more commands wait that are more urgent than this than shares will be free. Those below `top` do not count.
    fn is_needed(&mut self, priority: u8, top: Option<u64>, now: u64) -> bool {
        let is_short = self.is_short();
        let lanes = self.lane_numbers().into_iter();
        let demand: usize = lanes
            .map(|lane| self.demand_of(lane, priority, is_short, top, now))
            .sum();
        demand > self.freeing()
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
    fn demand_of(
        &mut self,
        lane: usize,
        priority: u8,
        is_short: bool,
        top: Option<u64>,
        now: u64,
    ) -> usize {
        if !self.takes_part(lane)
            || self.is_blocked(lane)
            || self.has_free_share(lane)
            || self.effective_priority(lane, now) >= priority
            || self.room(lane) == 0
        {
            return 0;
        }
        let is_below = |command: &Command| top.is_some_and(|top| self.is_below(command, top));
        let waits = self
            .ready_within_keys(lane, |one| !is_below(one))
            .min(self.room(lane));
        let comes = if is_short {
            0
        } else {
            self.on_kept(lane).min(waits)
        };
        let is_one = self.lane(lane).rules.is_rated() || self.lane(lane).rules.priority >= priority;
        if is_one && (comes > 0 || self.front(lane, now).is_some_and(is_below)) {
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
        waits - comes
    }

    /// How many of the commands that the lane could start would start on slots that are kept for it.
    fn on_kept(&self, lane: usize) -> usize {
        self.room(lane).min(self.kept_for(lane))
    }

    /// How many commands of the lane could start as far as its slots and keys go, those aside that need no share.
    fn room(&self, lane: usize) -> usize {
        let urged = self.of_lane(lane).filter(|one| one.is_urged()).count();
        let slots = self.free_slots(lane).saturating_sub(urged);
        self.ready_within_keys(lane, |_| true).min(slots)
    }

    /// The youngest run of those that will be the least urgent when they are back.
    fn victim(&self, spared: &[u64], now: u64) -> Option<&Command> {
        let victims = self.victims();
        let victims = victims.filter(|victim| !spared.contains(&victim.serial));
        victims.max_by_key(|command| {
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
            .filter(|command| self.is_alone(command) && self.has_spare(command.lane))
    }

    /// Whether a lane keeps its minimum when one more of its commands stops.
    fn has_spare(&self, lane: usize) -> bool {
        let min = self.lane(lane).rules.min();
        self.shares(lane) > min && self.staying(lane) > min
    }

    /// How many shares the lane will have when what is stopping has ended. What one of these has lent is owned by the next
    /// that stays.
    fn staying(&self, lane: usize) -> usize {
        let stays = |command: &&Command| command.holds_slot() && !command.is_stopping();
        let owns = |command: &&Command| {
            let lender = |one: &&Command| self.get(one.ties.share_of?);
            let mut above = std::iter::successors(Some(*command), lender).skip(1);
            above.all(Command::is_stopping)
        };
        self.of_lane(lane).filter(stays).filter(owns).count()
    }

    /// How many slots of the total are in use or kept for a lane when what is stopping has ended.
    fn taken_then(&self) -> usize {
        let lanes = self.lane_numbers().into_iter();
        lanes
            .map(|lane| self.staying(lane).max(self.lane(lane).rules.min()))
            .sum()
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
        let Some(victim) = self.victim(&[], now) else {
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
