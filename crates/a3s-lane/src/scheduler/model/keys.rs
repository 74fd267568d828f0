//! How the keys of a lane take turns.
//!
//! Commands without a key are one more key, once a command with a key has been in the lane. Each has a *pass*: it grows
//! with each start, the less the heavier the key, and the smallest goes first.
//!
//! A key is compared with those whose first command has the same priority: they are one *level*, which has a time, the
//! pass of its last start in turn. A start makes the pass of its key later than that time. A key that comes back, or to
//! another level, is as far ahead of its time as it was where it comes from, and never behind it.
//!
//! A key that has no command in the lane is absent. It is remembered as long as it is ahead of the time of its level, unless the lane is empty.
//! When too many are absent, the time of each level moves on to the least pass of those of it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Command, Model};
use crate::scheduler::properties::rules::MOST_ABSENT;

/// By how much the pass of a key of weight 1 grows with each start.
const STRIDE: u64 = 720_720;

#[derive(Debug, Clone, Default)]
pub(in crate::scheduler) struct Keys {
    /// A command with a key has been in the lane.
    keyed: bool,
    /// The time of each level.
    times: BTreeMap<i32, u64>,
    turns: u64,
    pub(in crate::scheduler) flows: Vec<Flow>,
}

#[derive(Debug, Clone)]
pub(in crate::scheduler) struct Flow {
    pub(in crate::scheduler) key: Option<u8>,
    level: i32,
    pass: u64,
    /// The number of its last turn.
    turn: u64,
    /// It had a command that may start when it was looked at last.
    waits: bool,
}

impl Keys {
    fn get_mut(&mut self, key: Option<u8>) -> Option<&mut Flow> {
        self.flows.iter_mut().find(|flow| flow.key == key)
    }

    fn time(&self, level: i32) -> u64 {
        self.times.get(&level).copied().unwrap_or(0)
    }

    fn add(&mut self, key: Option<u8>) {
        if self.get_mut(key).is_none() {
            self.turns += 1;
            self.flows.push(Flow {
                key,
                level: 0,
                pass: self.time(0),
                turn: self.turns,
                waits: false,
            });
        }
    }

    /// When a key's turn comes: the smallest goes first.
    pub(super) fn turn(&self, key: Option<u8>) -> (u64, u64) {
        let flow = self.flows.iter().find(|flow| flow.key == key);
        flow.map_or((0, 0), |flow| (flow.pass, flow.turn))
    }
}

impl Model {
    /// The command `serial` of `key` has entered the lane.
    pub(super) fn key_comes(&mut self, lane: usize, key: Option<u8>, serial: u64) {
        let others = self.of_lane(lane).any(|command| command.serial != serial);
        let keys = &mut self.lane_mut(lane).keys;
        if key.is_some() && !keys.keyed {
            keys.keyed = true;
            if others {
                keys.add(None);
            }
        }
        if keys.keyed {
            keys.add(key);
        }
    }

    /// Something about a lane changed: a key that has another first command may take its turns elsewhere. None that comes
    /// is behind the time.
    pub(super) fn place_keys(&mut self, lane: usize) {
        for number in 0..self.lane(lane).keys.flows.len() {
            let key = self.lane(lane).keys.flows[number].key;
            let of_key = self.candidates(lane);
            let of_key = of_key.filter(|command| command.rules.key == key);
            let level = of_key.map(|command| command.rules.priority).min();
            let keys = &mut self.lane_mut(lane).keys;
            let flow = &keys.flows[number];
            let comes = level.filter(|level| !flow.waits || *level != flow.level);
            let place = comes.map(|level| {
                let ahead = flow.pass.saturating_sub(keys.time(flow.level));
                (level, keys.time(level) + ahead)
            });
            let flow = &mut keys.flows[number];
            flow.waits = level.is_some();
            if let Some(place) = place {
                (flow.level, flow.pass) = place;
            }
        }
    }

    /// A command starts, still ready. Time goes on when it is the turn of its key. What was preempted has had its turn.
    pub(super) fn key_starts(
        &mut self,
        lane: usize,
        serial: u64,
        key: Option<u8>,
        was_preempted: bool,
    ) {
        let weight = self.lane(lane).rules.weight(key);
        let usual = self.usual_front(lane).map(|front| front.serial);
        let keys = &mut self.lane_mut(lane).keys;
        let turn = keys.turns + 1;
        let Some(flow) = keys.get_mut(key) else {
            return;
        };
        let (level, pass) = (flow.level, flow.pass);
        if usual == Some(serial) {
            let time = keys.times.entry(level).or_default();
            *time = pass.max(*time);
        }
        let time = keys.time(level);
        keys.turns = turn;
        if let Some(flow) = keys.get_mut(key) {
            flow.turn = turn;
            if !was_preempted {
                flow.pass = time + (STRIDE / weight).max(1);
            }
        }
        self.forget_keys(lane);
    }

    /// A command of the key has left the lane.
    pub(super) fn key_leaves(&mut self, lane: usize) {
        self.place_keys(lane);
        if self.of_lane(lane).next().is_none() {
            self.lane_mut(lane).keys.flows.clear();
        }
        self.forget_keys(lane);
        let absent = self.absent_keys(lane);
        if absent.len() > MOST_ABSENT {
            for flow in &absent {
                let there = absent.iter().filter(|other| other.level == flow.level);
                let least = there.map(|flow| flow.pass).min().expect("this one");
                self.lane_mut(lane).keys.times.insert(flow.level, least);
            }
            self.forget_keys(lane);
        }
    }

    /// Keys without a command are forgotten when time has passed them.
    fn forget_keys(&mut self, lane: usize) {
        let live: BTreeSet<_> = self.of_lane(lane).map(|one| one.rules.key).collect();
        let keys = &mut self.lane_mut(lane).keys;
        let times = keys.times.clone();
        let time = |level| times.get(&level).copied().unwrap_or(0);
        keys.flows
            .retain(|flow| live.contains(&flow.key) || flow.pass > time(flow.level));
    }

    /// The keys without a command.
    pub(in crate::scheduler) fn absent_keys(&self, lane: usize) -> Vec<Flow> {
        let live: BTreeSet<_> = self.of_lane(lane).map(|one| one.rules.key).collect();
        let flows = self.lane(lane).keys.flows.iter();
        let absent = flows.filter(|flow| flow.key.is_some() && !live.contains(&flow.key));
        absent.cloned().collect()
    }

    /// How many slots of the lane commands of the key use, those that are set aside for children that go first included.
    pub(in crate::scheduler) fn active_of_key(&self, lane: usize, key: Option<u8>) -> usize {
        self.of_lane(lane)
            .filter(|command| {
                command.rules.key == key && (command.owns_slot() || command.is_urged())
            })
            .count()
    }

    /// Whether commands of the key may start, and if so how many more.
    pub(in crate::scheduler) fn key_room(&self, lane: usize, key: Option<u8>) -> usize {
        let Some(name) = key else {
            return usize::MAX;
        };
        if self.paused_keys.contains(&name) {
            return 0;
        }
        let most = self.lane(lane).rules.key_max.unwrap_or(usize::MAX);
        most.saturating_sub(self.active_of_key(lane, key))
    }

    /// How many ready commands of a lane, of those that are `which`, may start in their turn as far as keys are concerned.
    pub(super) fn ready_within_keys(&self, lane: usize, which: impl Fn(&Command) -> bool) -> usize {
        let keys: BTreeSet<_> = self.in_turn(lane).map(|one| one.rules.key).collect();
        let within = keys.into_iter().map(|key| {
            let ready = self.in_turn(lane);
            let ready = ready.filter(|command| command.rules.key == key && which(command));
            ready.count().min(self.key_room(lane, key))
        });
        within.sum()
    }
}
