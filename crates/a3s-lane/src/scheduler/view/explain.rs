//! Why a command waits.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::scheduler::Scheduler;
use crate::scheduler::decision::{CommandKey, LaneKey};
use crate::scheduler::entry::{Entry, State};
use crate::scheduler::lane::LaneState;
use crate::scheduler::nest::Favour;

/// The most holders of slots that an obstacle names.
const MAX_NAMED: usize = 16;

/// One thing that a command waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// No command may start yet.
    NotOpen,
    LanePaused,
    KeyPaused,
    /// It becomes ready at this time.
    Delayed(u64),
    /// Too old to start, it is about to leave.
    Expired,
    /// So many commands of the lane, or of its key where it has one, go first; awaited children that go before all others are
    /// not counted.
    Behind(usize),
    /// The lane's slots are taken: some of who holds them, in the order of their starts.
    LaneFull {
        max: usize,
        holders: Vec<CommandKey>,
    },
    /// The key's slots are taken: how many.
    KeyBusy(usize),
    /// All shares of the total limit are taken: how many.
    TotalReached(usize),
    /// The free shares of the total limit are kept for other lanes: how many are, which may be more than are free.
    Reserved(usize),
    /// A limit on starts per time refuses the lane until then; `u64::MAX` is for ever.
    Limited(u64),
}

/// Where a command is and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Explained {
    pub(crate) key: CommandKey,
    pub(crate) lane: LaneKey,
    pub(crate) fairness_key: Option<Arc<str>>,
    /// Counted runs so far, the present one included.
    pub(crate) attempts: u32,
    pub(crate) submitted_at: u64,
    /// It holds a slot; otherwise it waits for what `obstacles` says, or for nothing but its turn.
    pub(crate) running: bool,
    /// It was asked to stop.
    pub(crate) stopping: bool,
    pub(crate) obstacles: Vec<Obstacle>,
}

impl<T> Scheduler<T> {
    /// What is known of commands that are not gone, and every reason why they do not start. One costs a walk through those
    /// before it in its lane, many one walk through all lanes.
    pub(crate) fn explain(&self, keys: &[CommandKey], now: u64) -> Vec<Explained> {
        let positions = match keys {
            [] | [_] => HashMap::new(),
            _ => self.positions(),
        };
        let position = |entry: &Entry<T>, place: u32| {
            let flow = self.lanes[entry.lane.index()].flow(entry.key_number());
            let found = match keys {
                [_] => flow.iter(&self.entries).position(|other| other == place),
                _ => positions.get(&place).copied(),
            };
            found.unwrap_or_default()
        };
        let explained = keys.iter().filter_map(|key| {
            let entry = self.entries.alive(*key)?;
            let running = entry.holds_slot();
            let terms = entry.terms.as_ref();
            Some(Explained {
                key: *key,
                lane: entry.lane,
                fairness_key: terms.and_then(|terms| terms.key.clone()),
                attempts: entry.attempt(),
                submitted_at: entry.submitted_at,
                running,
                stopping: entry.stop.is_some(),
                obstacles: if running {
                    Vec::new()
                } else {
                    self.obstacles(key.place, now, || position(entry, key.place))
                },
            })
        });
        explained.collect()
    }

    /// How many commands go before each ready one, by its place.
    fn positions(&self) -> HashMap<u32, usize> {
        let flows = self.lanes.iter().flat_map(LaneState::flows);
        let places = flows.flat_map(|flow| flow.iter(&self.entries).zip(0..));
        places.collect()
    }

    fn obstacles(&self, place: u32, now: u64, position: impl FnOnce() -> usize) -> Vec<Obstacle> {
        let entry = &self.entries[place];
        let state = &self.lanes[entry.lane.index()];
        let mut found = Vec::new();
        if !self.open {
            found.push(Obstacle::NotOpen);
        }
        match entry.state {
            State::Delayed => {
                let retry_at = || self.timers.get(place).map_or(now, |(at, _)| at);
                let first = entry.terms.as_ref().filter(|_| entry.run == 0);
                // The timer may be that of its expiry.
                let until = first.map_or_else(retry_at, |terms| terms.delay_until);
                found.push(Obstacle::Delayed(until));
            }
            _ if entry.is_expired(now) => found.push(Obstacle::Expired),
            _ => {}
        }
        if state.paused {
            found.push(Obstacle::LanePaused);
        }
        // What an awaited child is lent, it does not wait for; nor does it wait for its key.
        let favour = entry.favour();
        let in_turn = favour == Favour::None;
        if in_turn {
            found.extend(state.key_obstacle(entry.key_number()));
        }
        // One that is overdue goes first wherever it stands.
        if entry.state == State::Ready && state.front(now) != Some(place) {
            let ahead = Some(position()).filter(|ahead| *ahead > 0);
            found.extend(ahead.map(Obstacle::Behind));
        }
        if !matches!(favour, Favour::Lent(_)) && state.slots >= state.policy.max {
            let holders = state.running.iter(&self.entries).take(MAX_NAMED);
            found.push(Obstacle::LaneFull {
                max: state.policy.max,
                holders: holders.map(|at| self.entries[at].key(at)).collect(),
            });
        }
        if in_turn && !self.has_share_for(entry.lane) {
            found.push(match self.free_shares() {
                0 => Obstacle::TotalReached(self.total),
                _ => Obstacle::Reserved(self.ready.demand.kept - state.demand.kept),
            });
        }
        if let Some(block) = state.block {
            found.push(Obstacle::Limited(block.due));
        }
        found
    }
}
