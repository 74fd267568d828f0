//! A slow, obviously right model of the scheduler: the rules as plain scans over one list of commands. The property tests
//! compare the real scheduler with it, decision by decision.
//!
//! Where the rules are:
//!
//! | file | rules |
//! |---|---|
//! | `order` | which lane goes first, and which command in it |
//! | `keys` | how the keys of a lane take turns |
//! | `total` | the total limit and the slots that are kept |
//! | `limits`, `meter` | limits on starts per time, as histories that are replayed |
//! | `preempt` | who must make room |
//! | `stop` | how commands are asked to stop and what follows their end |
//! | `timers` | what is due, and when to wake up |
//! | `nest` | what commands that wait for their children lend them |
//!
//! The transitions (`submit`, `start`, `conclude`, ...) are separate from the decisions ([`Model::choose`],
//! [`Model::preempt`]), so that a test can also let the model follow the real scheduler and state one rule about what it
//! did.

#![cfg_attr(
    not(feature = "distributed"),
    allow(dead_code, unused_imports, reason = "part of it is about limiters")
)]

mod keys;
mod limits;
mod meter;
mod nest;
mod order;
mod preempt;
mod stop;
mod timers;
mod total;

use std::collections::BTreeSet;

use super::StopReason;
use super::properties::rules::{CommandRules, LaneRules};
use crate::config::Overflow;
use keys::Keys;
pub(super) use limits::NamedLimiter;
pub(super) use meter::Meter;
pub(super) use nest::{Nesting, Ties};
pub(super) use stop::{ModelReleased, ModelStopped};
pub(super) use timers::ModelDue;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Ready,
    Delayed,
    /// Found too old to start; leaves at the next tick.
    Expired,
    /// Asked to stop or not.
    Running,
    Concluded,
}

/// What `release` does with a concluded command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Leave,
    /// Back into its lane, behind the others, after a delay.
    Retry(u64),
    /// Back into its lane, before the others.
    Front,
}

#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) serial: u64,
    pub(super) lane: usize,
    pub(super) rules: CommandRules,
    pub(super) submitted_at: u64,
    pub(super) ready_at: u64,
    /// Its place in its lane's queue. Those who join behind get ever larger numbers, those who join before ever smaller.
    pub(super) joined: i64,
    pub(super) phase: Phase,
    /// A delayed command becomes ready then.
    pub(super) delay_until: u64,
    /// A command that was never started leaves then.
    pub(super) expires_at: Option<u64>,
    /// How often it was started, and how many of these starts do not count.
    pub(super) run: u32,
    pub(super) uncounted: u32,
    /// Of the present run: when it started, and the number of that start among all.
    pub(super) started_at: u64,
    pub(super) start: u64,
    pub(super) timeout_ns: Option<u64>,
    pub(super) progress_ns: Option<u64>,
    pub(super) alive_at: u64,
    /// When its signs of life are looked at next.
    pub(super) stall_timer: Option<u64>,
    pub(super) stop: Option<StopReason>,
    pub(super) dropped: bool,
    pub(super) stop_timer: Option<u64>,
    pub(super) after: After,
    /// It was cancelled when its outcome was not decided, but its run was over.
    pub(super) cancelled: bool,
    pub(super) ties: Ties,
}

impl Command {
    pub(super) fn holds_slot(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Concluded)
    }

    /// Its slot is about to be free.
    pub(super) fn is_stopping(&self) -> bool {
        self.holds_slot() && (self.stop.is_some() || self.phase == Phase::Concluded)
    }

    /// From when on its age counts: its own delay is over.
    pub(super) fn waits_since(&self) -> u64 {
        self.submitted_at + self.rules.delay_ns.unwrap_or(0)
    }

    /// Runs that count, the present one included.
    pub(super) fn attempt(&self) -> u32 {
        self.run - self.uncounted
    }

    pub(super) fn is_expired(&self, now: u64) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// A limit said no: the lane is left alone for a while.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocked {
    /// When the limits grant the front.
    due: u64,
    /// The command that was refused.
    front: u64,
    /// The lane is asked again then: its limits grant, or its effective priority changes, which may bring another front.
    until: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Lane {
    pub(super) rules: LaneRules,
    pub(super) bucket: Option<Meter>,
    pub(super) keys: Keys,
    pub(super) last_served: u64,
    pub(super) paused: bool,
    pub(super) pressed: bool,
    blocked: Option<Blocked>,
    /// When the lane's effective priority was looked at last.
    seen_at: u64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    /// By their numbers; a removed lane leaves a gap.
    pub(super) lanes: Vec<Option<Lane>>,
    pub(super) commands: Vec<Command>,
    pub(super) limiters: Vec<NamedLimiter>,
    pub(super) total: Option<usize>,
    pub(super) paused_keys: BTreeSet<u8>,
    pub(super) open: bool,
    pub(super) nesting: Nesting,
    joins: i64,
    served: u64,
}

/// What became of a submission: `Err` gives the command back.
pub(super) type Admitted = Result<ModelSubmitted, ()>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ModelSubmitted {
    pub(super) pressure: bool,
    pub(super) evicted: Option<u64>,
}

impl Model {
    /// A lane at a place that is free.
    pub(super) fn add_lane(&mut self, number: usize, rules: LaneRules, now: u64) {
        if number == self.lanes.len() {
            self.lanes.push(None);
        }
        let place = &mut self.lanes[number];
        assert!(place.is_none(), "lane {number} is there already");
        *place = Some(Lane {
            bucket: rules.rate.map(|rate| Meter::bucket(rate, now)),
            rules,
            keys: Keys::default(),
            last_served: 0,
            paused: false,
            pressed: false,
            blocked: None,
            seen_at: now,
        });
    }

    /// False while it has commands.
    pub(super) fn remove_lane(&mut self, lane: usize) -> bool {
        let empty = self.of_lane(lane).next().is_none();
        if empty {
            self.lanes[lane] = None;
        }
        empty
    }

    pub(super) fn set_policy(&mut self, lane: usize, rules: LaneRules, now: u64) {
        let place = self.lane_mut(lane);
        place.bucket = rules.rate.map(|rate| {
            let fresh = Meter::bucket(rate, now);
            match &place.bucket {
                Some(before) => fresh.inherit(before, now),
                None => fresh,
            }
        });
        place.rules = rules;
        place.blocked = None;
        self.touch(lane, now);
    }

    pub(super) fn submit(
        &mut self,
        serial: u64,
        lane: usize,
        rules: CommandRules,
        parent: Option<u64>,
        now: u64,
    ) -> Admitted {
        let policy = &self.lane(lane).rules;
        // A child does not wait for room: that might take its parent's end.
        let may_be_full = parent.is_some() && policy.overflow == Overflow::Wait;
        let full = policy
            .max_pending
            .is_some_and(|max| self.pending(lane) >= max && !may_be_full);
        let mut evicted = None;
        if full {
            let ready = self.in_turn(lane);
            let oldest = ready.min_by_key(|command| (command.waits_since(), command.serial));
            evicted = oldest
                .filter(|_| policy.overflow == Overflow::DropOldest)
                .map(|oldest| oldest.serial);
            match evicted {
                Some(oldest) => self.remove(oldest),
                None => return Err(()),
            }
        }
        self.enter(serial, lane, rules, parent, now);
        let pending = self.pending(lane);
        let lane = self.lane_mut(lane);
        let reached = lane
            .rules
            .pressure
            .is_some_and(|threshold| pending >= threshold);
        let pressure = reached && !lane.pressed;
        lane.pressed |= reached;
        Ok(ModelSubmitted { pressure, evicted })
    }

    fn enter(
        &mut self,
        serial: u64,
        lane: usize,
        rules: CommandRules,
        parent: Option<u64>,
        now: u64,
    ) {
        let key = rules.key;
        let delay_until = rules.delay_ns.map_or(now, |delay| now + delay);
        self.commands.push(Command {
            serial,
            lane,
            submitted_at: now,
            ready_at: now,
            joined: 0,
            phase: Phase::Delayed,
            delay_until,
            expires_at: rules.ttl_ns.map(|ttl| now + ttl),
            run: 0,
            uncounted: 0,
            started_at: 0,
            start: 0,
            timeout_ns: None,
            progress_ns: None,
            alive_at: 0,
            stall_timer: None,
            stop: None,
            dropped: false,
            stop_timer: None,
            after: After::Leave,
            cancelled: false,
            ties: Ties {
                parent,
                ..Ties::default()
            },
            rules,
        });
        self.key_comes(lane, key, serial);
        if delay_until <= now {
            self.join_back(serial, now);
        }
        self.touch(lane, now);
    }

    /// A command takes a slot. Returns whether the lane reports that the pressure is gone.
    pub(super) fn start(&mut self, serial: u64, now: u64) -> bool {
        self.served += 1;
        self.charge(serial, now);
        let start = self.served;
        let command = self.get(serial).expect("a live command");
        let (at, key) = (command.lane, command.rules.key);
        let was_preempted = command.after == After::Front;
        let policy = &self.lane(at).rules;
        let timeout_ns = command.rules.timeout_ns.unwrap_or(policy.timeout_ns);
        let progress_ns = command.rules.progress_ns.or(policy.progress_ns);
        if self.get(serial).is_some_and(|command| !command.is_lent()) {
            self.key_starts(at, serial, key, was_preempted);
        }
        self.start_favoured(serial);
        let command = self.get_mut(serial);
        command.phase = Phase::Running;
        command.expires_at = None;
        command.run += 1;
        command.started_at = now;
        command.start = start;
        command.timeout_ns = timeout_ns;
        command.progress_ns = progress_ns;
        command.alive_at = now;
        command.stall_timer = progress_ns.map(|progress| now + progress);
        let empty = self.pending(at) == 0;
        let lane = self.lane_mut(at);
        lane.last_served = start;
        let relieved = lane.pressed && empty;
        lane.pressed &= !empty;
        self.touch(at, now);
        relieved
    }

    /// Whether the lane's last pending command has left, other than by a start, after pressure was reported.
    pub(super) fn relieve(&mut self, lane: usize) -> bool {
        let relieved = self.pending(lane) == 0 && self.lane(lane).pressed;
        self.lane_mut(lane).pressed &= !relieved;
        relieved
    }

    pub(super) fn pause_lane(&mut self, lane: usize, paused: bool, now: u64) -> bool {
        let changed = std::mem::replace(&mut self.lane_mut(lane).paused, paused) != paused;
        self.touch(lane, now);
        changed
    }

    pub(super) fn pause_key(&mut self, key: u8, paused: bool, now: u64) -> bool {
        let changed = if paused {
            self.paused_keys.insert(key)
        } else {
            self.paused_keys.remove(&key)
        };
        for lane in self.lane_numbers() {
            if self
                .of_lane(lane)
                .any(|command| command.rules.key == Some(key))
            {
                self.touch(lane, now);
            }
        }
        changed
    }

    /// Takes out everything that holds no slot, in the order of serials.
    pub(super) fn take_waiting(&mut self, now: u64) -> Vec<u64> {
        let waiting = self.commands.iter().filter(|command| !command.holds_slot());
        let mut taken: Vec<u64> = waiting.map(|command| command.serial).collect();
        taken.sort_unstable();
        for serial in &taken {
            self.remove(*serial);
        }
        for lane in self.lane_numbers() {
            self.touch(lane, now);
        }
        taken
    }

    pub(super) fn get(&self, serial: u64) -> Option<&Command> {
        self.commands
            .iter()
            .find(|command| command.serial == serial)
    }

    fn get_mut(&mut self, serial: u64) -> &mut Command {
        let mut commands = self.commands.iter_mut();
        commands
            .find(|command| command.serial == serial)
            .expect("a live command")
    }

    pub(super) fn lane(&self, lane: usize) -> &Lane {
        self.lanes[lane].as_ref().expect("a lane")
    }

    fn lane_mut(&mut self, lane: usize) -> &mut Lane {
        self.lanes[lane].as_mut().expect("a lane")
    }

    /// The lanes that are there.
    pub(super) fn lane_numbers(&self) -> Vec<usize> {
        let places = 0..self.lanes.len();
        places.filter(|&lane| self.lanes[lane].is_some()).collect()
    }

    /// All commands of a lane.
    pub(super) fn of_lane(&self, lane: usize) -> impl Iterator<Item = &Command> {
        self.commands
            .iter()
            .filter(move |command| command.lane == lane)
    }

    pub(super) fn ready(&self, lane: usize) -> impl Iterator<Item = &Command> {
        self.of_lane(lane)
            .filter(|command| command.phase == Phase::Ready)
    }

    pub(super) fn pending(&self, lane: usize) -> usize {
        self.of_lane(lane)
            .filter(|command| !command.holds_slot())
            .count()
    }

    /// Ready commands that no other goes before but by its turn.
    pub(super) fn in_turn(&self, lane: usize) -> impl Iterator<Item = &Command> {
        self.ready(lane)
            .filter(|command| command.ties.favour.is_none())
    }

    /// How many slots of the lane are in use: those that are lent once.
    pub(super) fn active(&self, lane: usize) -> usize {
        self.of_lane(lane)
            .filter(|command| command.owns_slot())
            .count()
    }

    fn join_back(&mut self, serial: u64, now: u64) {
        self.joins += 1;
        self.join(serial, self.joins, now);
    }

    fn join_front(&mut self, serial: u64, now: u64) {
        self.joins += 1;
        self.join(serial, -self.joins, now);
    }

    fn join(&mut self, serial: u64, place: i64, now: u64) {
        let command = self.get_mut(serial);
        command.phase = Phase::Ready;
        command.ready_at = now;
        command.joined = place;
    }

    fn remove(&mut self, serial: u64) {
        let command = self.get(serial).expect("a live command");
        let lane = command.lane;
        self.end_ties(serial);
        self.forget_child(serial);
        self.commands.retain(|command| command.serial != serial);
        self.key_leaves(lane);
    }

    /// Something about a lane changed: another front is asked for at once, whoever was refused before.
    fn touch(&mut self, lane: usize, now: u64) {
        // A child that is ready again stands in the queue, and may be the first of its key, before it is favoured.
        self.place_keys(lane);
        self.lend(now);
        self.place_keys(lane);
        let front = self.front(lane, now).map(|command| command.serial);
        let change = self.next_change(lane, now);
        let place = self.lane_mut(lane);
        place.seen_at = now;
        place.blocked = place.blocked.filter(|blocked| front == Some(blocked.front));
        if let Some(blocked) = &mut place.blocked {
            blocked.until = change.map_or(blocked.due, |at| at.min(blocked.due));
        }
    }
}
