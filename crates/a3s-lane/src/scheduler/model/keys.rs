//! How the keys of a lane take turns.
//!
//! Commands without a key are one more key, once a command with a key has been in the lane. A key exists in a lane as
//! long as it has a command there. Each has a *pass*: it grows with each start, the less the heavier the key, and the
//! smallest goes first.
//!
//! A key is compared with those whose first command has the same priority: they are one *level*, which has a time, the
//! pass of its last start in turn. A start makes the pass of its key later than that time. A key that comes back, or to
//! another level, is as far ahead of its time as it was where it comes from, and never behind it.

use std::collections::{BTreeMap, BTreeSet};

use super::Model;

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

    /// Something about a lane changed: a key that has another first command may take its turns elsewhere. None that has
    /// one is behind the time.
    pub(super) fn place_keys(&mut self, lane: usize) {
        for number in 0..self.lane(lane).keys.flows.len() {
            let key = self.lane(lane).keys.flows[number].key;
            let of_key = self.candidates(lane);
            let of_key = of_key.filter(|command| command.rules.key == key);
            let Some(level) = of_key.map(|command| command.rules.priority).min() else {
                continue;
            };
            let keys = &mut self.lane_mut(lane).keys;
            let flow = &keys.flows[number];
            let ahead = flow.pass.saturating_sub(keys.time(flow.level));
            let pass = keys.time(level) + ahead;
            let flow = &mut keys.flows[number];
            (flow.level, flow.pass) = (level, pass);
        }
    }

    /// A command starts, still ready. Time goes on when it is the turn of its key.
    pub(super) fn key_starts(&mut self, lane: usize, serial: u64, key: Option<u8>) {
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
            (flow.pass, flow.turn) = (time + (STRIDE / weight).max(1), turn);
        }
    }

    /// Keys that have no command any more are forgotten.
    pub(super) fn forget_keys(&mut self) {
        let Self {
            lanes, commands, ..
        } = self;
        for (number, lane) in lanes.iter_mut().enumerate() {
            let lives = |key| {
                let mut commands = commands.iter();
                commands.any(|command| command.lane == number && command.rules.key == key)
            };
            if let Some(lane) = lane {
                lane.keys.flows.retain(|flow| lives(flow.key));
            }
        }
    }

    /// How many commands of the key hold slots of the lane.
    pub(in crate::scheduler) fn active_of_key(&self, lane: usize, key: Option<u8>) -> usize {
        self.of_lane(lane)
            .filter(|command| command.rules.key == key && command.holds_slot())
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

    /// How many ready commands of a lane may start as far as keys are concerned.
    pub(super) fn ready_within_keys(&self, lane: usize) -> usize {
        let keys: BTreeSet<_> = self.ready(lane).map(|command| command.rules.key).collect();
        let within = keys.into_iter().map(|key| {
            let ready = self.ready(lane).filter(|command| command.rules.key == key);
            ready.count().min(self.key_room(lane, key))
        });
        within.sum()
    }
}
