//! Which lane goes first, and which command in it.

use super::{Blocked, Command, Model, Phase};

impl Model {
    /// The lane that a command starts from now. Remembers refusals, and takes out what is too old to start.
    pub(in crate::scheduler) fn choose(&mut self, now: u64) -> Option<usize> {
        if !self.open {
            return None;
        }
        self.age(now);
        loop {
            let lanes = self.lane_numbers().into_iter();
            let lane = lanes
                .filter(|&lane| self.takes_part(lane) && !self.is_blocked(lane))
                .filter(|&lane| self.admits(lane))
                .min_by_key(|&lane| (self.rank(lane, now), lane))?;
            let front = self.front(lane, now).expect("a candidate");
            let serial = front.serial;
            if front.is_expired(now) {
                self.get_mut(serial).phase = Phase::Expired;
                self.touch(lane, now);
            } else if !self.asks_limits(lane, now) {
                return Some(lane);
            }
        }
    }

    /// Whether a lane that takes part is refused by its limits; then it is left alone for a while.
    pub(super) fn asks_limits(&mut self, lane: usize, now: u64) -> bool {
        let due = self.grants_at(lane, now);
        if due <= now {
            return false;
        }
        let front = self.front(lane, now).expect("a candidate").serial;
        let change = self.next_change(lane, now);
        self.lane_mut(lane).blocked = Some(Blocked {
            due,
            front,
            until: change.map_or(due, |at| at.min(due)),
        });
        self.touch(lane, now);
        true
    }

    /// The lane with the smallest rank goes first: by effective priority, then the one that was served longest ago.
    pub(in crate::scheduler) fn rank(&self, lane: usize, now: u64) -> (u8, u64) {
        let effective = self.effective_priority(lane, now);
        (effective, self.lane(lane).last_served)
    }

    /// What a start of this lane takes: a child that goes before the others.
    ///
    /// Else one that has waited its lane's deadline goes first. Else the least priority number; among the keys that have
    /// one of these the key whose turn it is; of its commands the one that joined first.
    pub(in crate::scheduler) fn front(&self, lane: usize, now: u64) -> Option<&Command> {
        if let Some(favoured) = self.ahead(lane).first() {
            return Some(favoured);
        }
        let place = self.lane(lane);
        let oldest = self.oldest(lane)?;
        let waited = now - oldest.waits_since();
        if place
            .rules
            .deadline_ns()
            .is_some_and(|deadline| waited >= deadline)
        {
            return Some(oldest);
        }
        self.usual_front(lane)
    }

    /// What a start takes while nothing is overdue.
    pub(in crate::scheduler) fn usual_front(&self, lane: usize) -> Option<&Command> {
        let keys = &self.lane(lane).keys;
        self.candidates(lane).min_by_key(|command| {
            let turn = keys.turn(command.rules.key);
            (command.rules.priority, turn, command.joined)
        })
    }

    /// Ready commands whose key lets them start in their turn.
    pub(in crate::scheduler) fn candidates(&self, lane: usize) -> impl Iterator<Item = &Command> {
        self.in_turn(lane)
            .filter(move |command| self.key_room(lane, command.rules.key) > 0)
    }

    pub(in crate::scheduler) fn oldest(&self, lane: usize) -> Option<&Command> {
        self.candidates(lane)
            .min_by_key(|command| (command.waits_since(), command.serial))
    }

    /// Whether the lane has a command that may start, and a slot for it.
    pub(in crate::scheduler) fn takes_part(&self, lane: usize) -> bool {
        self.open && self.has_room(lane)
    }

    pub(super) fn has_room(&self, lane: usize) -> bool {
        let place = self.lane(lane);
        let starts = self.candidates(lane).next().is_some() && self.free_slots(lane) > 0;
        !place.paused && (starts || !self.exempt(lane).is_empty())
    }

    /// Whether a command of the lane could start now, whatever was refused before.
    pub(in crate::scheduler) fn is_eligible(&self, lane: usize, now: u64) -> bool {
        self.takes_part(lane) && self.admits(lane) && self.grants_at(lane, now) <= now
    }

    /// Whether anything could start, as far as the limits have not said otherwise.
    pub(in crate::scheduler) fn could_start(&self) -> bool {
        let mut lanes = self.lane_numbers().into_iter();
        lanes.any(|lane| self.takes_part(lane) && !self.is_blocked(lane) && self.admits(lane))
    }

    pub(super) fn is_blocked(&self, lane: usize) -> bool {
        self.lane(lane).blocked.is_some()
    }

    /// The lane's own priority, raised by the age of its oldest candidate.
    pub(in crate::scheduler) fn effective_priority(&self, lane: usize, now: u64) -> u8 {
        let rules = &self.lane(lane).rules;
        let waited = self.oldest(lane).map(|command| now - command.waits_since());
        waited.map_or(rules.priority, |waited| rules.boosted(waited))
    }

    /// When the effective priority changes next if nothing else happens.
    pub(in crate::scheduler) fn next_change(&self, lane: usize, now: u64) -> Option<u64> {
        let since = self.oldest(lane)?.waits_since();
        let change = self.lane(lane).rules.next_boost(now - since)?;
        Some(since + change)
    }
}
