//! Limits on starts per time: a lane's own, and named ones that lanes share.

use super::{Command, Meter, Model};
use crate::scheduler::properties::rules::LimiterRules;

#[derive(Debug, Clone)]
pub(in crate::scheduler) struct NamedLimiter {
    pub(in crate::scheduler) rules: LimiterRules,
    pub(in crate::scheduler) meter: Meter,
}

impl NamedLimiter {
    fn charge(&self, command: &Command) -> u64 {
        if self.rules.counts_cost {
            command.rules.cost
        } else {
            1
        }
    }

    /// What a lane of this priority must leave in the meter.
    pub(in crate::scheduler) fn kept_from(&self, priority: u8) -> u64 {
        if priority > self.rules.urgent {
            self.rules.kept
        } else {
            0
        }
    }
}

impl Model {
    pub(in crate::scheduler) fn add_limiter(&mut self, rules: LimiterRules, now: u64) {
        let meter = Meter::new(rules.meter, now);
        self.limiters.push(NamedLimiter { rules, meter });
    }

    pub(in crate::scheduler) fn set_limiter(
        &mut self,
        limiter: usize,
        rules: LimiterRules,
        now: u64,
    ) {
        let place = &mut self.limiters[limiter];
        let fresh = Meter::new(rules.meter, now);
        *place = NamedLimiter {
            meter: fresh.inherit(&place.meter, now),
            rules,
        };
        self.unblock_users(limiter, now);
    }

    /// The first time, from `now` on, at which all limits of a lane grant its front as it is now: what each of them says.
    pub(in crate::scheduler) fn grants_at(&self, lane: usize, now: u64) -> u64 {
        let Some(front) = self.front(lane, now) else {
            return u64::MAX;
        };
        let place = self.lane(lane);
        let own = place.bucket.as_ref();
        let own = own.map_or(now, |bucket| bucket.grants_at(1, 0, now));
        let shared = place.rules.limiters.iter().map(|&number| {
            let limiter = &self.limiters[number];
            let kept = limiter.kept_from(place.rules.priority);
            limiter.meter.grants_at(limiter.charge(front), kept, now)
        });
        shared.fold(own, u64::max)
    }

    /// A command starts: each limit of its lane takes its due.
    pub(super) fn charge(&mut self, serial: u64, now: u64) {
        let Self {
            lanes,
            commands,
            limiters,
            ..
        } = self;
        let mut commands = commands.iter();
        let command = commands
            .find(|command| command.serial == serial)
            .expect("a live command");
        let owner = (serial, command.run + 1);
        let lane = lanes[command.lane].as_mut().expect("a lane");
        if let Some(bucket) = &mut lane.bucket {
            bucket.take(1, owner, now);
        }
        for &number in &lane.rules.limiters {
            let limiter = &mut limiters[number];
            limiter.meter.take(limiter.charge(command), owner, now);
        }
    }

    /// Whether the model knows what a settlement changes. What a limiter gives back for a start from before it had its
    /// present rules is for the limiter's own tests.
    pub(in crate::scheduler) fn can_settle(&self, serial: u64, run: u32, actual: u64) -> bool {
        let limiters = self.limiters.iter();
        let costs = limiters.filter_map(|limiter| limiter.meter.cost_of((serial, run)));
        costs.into_iter().all(|(cost, here)| here || actual >= cost)
    }

    /// Returns whether there was such a run.
    pub(in crate::scheduler) fn settle_cost(
        &mut self,
        serial: u64,
        run: u32,
        actual: u64,
        now: u64,
    ) -> bool {
        if !self.is_running(serial, run) {
            return false;
        }
        let owner = (serial, run);
        for number in 0..self.limiters.len() {
            let limiter = &mut self.limiters[number];
            let Some((before, _)) = limiter.meter.cost_of(owner) else {
                continue;
            };
            if limiter.rules.counts_cost {
                limiter.meter.settle(owner, actual, now);
                if actual < before {
                    self.unblock_users(number, now);
                }
            }
        }
        true
    }

    /// The slot of a run is free: nothing about its costs will follow.
    pub(super) fn forget_charges(&mut self, serial: u64, run: u32) {
        for limiter in &mut self.limiters {
            limiter.meter.forget((serial, run));
        }
    }

    /// The most that a command of this lane may ever cost, with the limiter that says so.
    pub(in crate::scheduler) fn highest_cost(&self, lane: usize) -> Option<(u64, usize)> {
        let rules = &self.lane(lane).rules;
        let limiters = rules.limiters.iter();
        limiters
            .filter(|&&number| self.limiters[number].rules.counts_cost)
            .map(|&number| {
                let limiter = &self.limiters[number];
                let kept = limiter.kept_from(rules.priority);
                let capacity = limiter.rules.meter.capacity();
                (capacity.saturating_sub(kept), number)
            })
            .min()
    }

    fn unblock_users(&mut self, limiter: usize, now: u64) {
        for lane in self.lane_numbers() {
            let place = self.lane_mut(lane);
            if place.blocked.is_some() && place.rules.limiters.contains(&limiter) {
                place.blocked = None;
                self.touch(lane, now);
            }
        }
    }
}
