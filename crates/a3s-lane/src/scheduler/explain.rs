//! Why a command waits.

use hashbrown::HashMap;

use super::Scheduler;
use super::decision::{CommandKey, LaneKey};
use super::entry::State;
use super::keys::KeyObstacle;
use super::nest::Favour;

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
    /// So many commands of the lane, or of its key where it has one, go first.
    Behind(usize),
    /// The lane's slots are taken.
    LaneFull,
    /// The key's slots are taken: how many.
    KeyBusy(usize),
    /// All slots of the total limit are taken.
    TotalReached,
    /// The free slots of the total limit are kept for other lanes: how many.
    Reserved(usize),
    /// A limit on starts per time refuses the lane until then; `u64::MAX` is for ever.
    Limited(u64),
}

/// Where a command is and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Explained {
    pub(crate) lane: LaneKey,
    /// Counted runs so far, the present one included.
    pub(crate) attempt: u32,
    pub(crate) submitted_at: u64,
    /// It holds a slot; otherwise it waits for what `obstacles` says, or for nothing but its turn.
    pub(crate) running: bool,
    /// It was asked to stop.
    pub(crate) stopping: bool,
    pub(crate) obstacles: Vec<Obstacle>,
}

/// How many commands go before each ready one, by its place.
#[derive(Debug)]
pub(crate) struct Positions(HashMap<u32, usize>);

impl<T> Scheduler<T> {
    /// The positions of all ready commands, for those who explain many: one walk through each lane.
    pub(crate) fn positions(&self) -> Positions {
        let mut positions = HashMap::new();
        for lane in &self.lanes {
            lane.each_position(&self.entries, |place, position| {
                positions.insert(place, position);
            });
        }
        Positions(positions)
    }

    /// As [`explain`](Self::explain), with positions that were looked up before.
    pub(crate) fn explain_with(
        &self,
        key: CommandKey,
        positions: &Positions,
        now: u64,
    ) -> Option<Explained> {
        self.explain_at(key, now, |place| {
            positions.0.get(&place).copied().unwrap_or_default()
        })
    }

    /// What is known of a command, and every reason why it does not start. Costs a walk through the commands before it.
    pub(crate) fn explain(&self, key: CommandKey, now: u64) -> Option<Explained> {
        let position = |place: u32| {
            let lane = &self.lanes[self.entries[place].lane.index()];
            lane.position(&self.entries, place)
        };
        self.explain_at(key, now, position)
    }

    fn explain_at(
        &self,
        key: CommandKey,
        now: u64,
        position: impl FnOnce(u32) -> usize,
    ) -> Option<Explained> {
        let entry = self.entries.get(key.place)?;
        if entry.serial != key.serial {
            return None;
        }
        let waiting = !entry.holds_slot();
        Some(Explained {
            lane: entry.lane,
            attempt: entry.attempt(),
            submitted_at: entry.submitted_at,
            running: !waiting,
            stopping: entry.stop.is_some(),
            obstacles: if waiting {
                self.obstacles(key.place, now, position)
            } else {
                Vec::new()
            },
        })
    }

    fn obstacles(
        &self,
        place: u32,
        now: u64,
        position: impl FnOnce(u32) -> usize,
    ) -> Vec<Obstacle> {
        let entry = &self.entries[place];
        let state = &self.lanes[entry.lane.index()];
        let terms = entry.terms.as_deref();
        let mut found = Vec::new();
        if !self.open {
            found.push(Obstacle::NotOpen);
        }
        match entry.state {
            State::Delayed => {
                let until = self.timers.get(place).map_or(now, |(at, _)| at);
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
        let key = terms.filter(|_| in_turn);
        match key.and_then(|terms| state.key_obstacle(terms.key_number)) {
            Some(KeyObstacle::Paused) => found.push(Obstacle::KeyPaused),
            Some(KeyObstacle::Busy(active)) => found.push(Obstacle::KeyBusy(active)),
            None => {}
        }
        // One that is overdue goes first wherever it stands.
        if entry.state == State::Ready && state.front(now) != Some(place) {
            match position(place) {
                0 => {}
                ahead => found.push(Obstacle::Behind(ahead)),
            }
        }
        if (in_turn || favour == Favour::Urged) && state.active >= state.policy.max {
            found.push(Obstacle::LaneFull);
        }
        if let Some(total) = self.total
            && in_turn
            && !self.is_admitted(entry.lane)
        {
            let free = total.saturating_sub(self.active);
            found.push(match free {
                0 => Obstacle::TotalReached,
                _ => Obstacle::Reserved(self.demand.kept - state.demand.kept),
            });
        }
        if let Some(block) = state.block {
            found.push(Obstacle::Limited(block.due));
        }
        found
    }

    /// The command with this serial number. Looks at every command.
    pub(crate) fn find(&self, serial: u64) -> Option<CommandKey> {
        let found = self
            .entries
            .iter()
            .find(|(_, entry)| entry.serial == serial);
        found.map(|(place, entry)| entry.key(place))
    }

    /// All commands, in no order, with their lanes.
    pub(crate) fn commands(&self) -> impl Iterator<Item = (CommandKey, LaneKey, &T)> + '_ {
        let entries = self.entries.iter();
        entries.map(|(place, entry)| (entry.key(place), entry.lane, &entry.job))
    }

    /// The fairness key of a command.
    pub(crate) fn fairness_key(&self, key: CommandKey) -> Option<&std::sync::Arc<str>> {
        let entry = self
            .entries
            .get(key.place)
            .filter(|entry| entry.serial == key.serial)?;
        entry.terms.as_ref()?.key.as_ref()
    }

    /// The commands of a lane that hold a slot, in the order of their starts.
    pub(crate) fn running_in(&self, lane: LaneKey) -> impl Iterator<Item = CommandKey> + '_ {
        let chain = self.lanes[lane.index()].running;
        chain
            .iter(&self.entries)
            .map(|place| self.entries[place].key(place))
    }

    pub(crate) fn is_lane_paused(&self, lane: LaneKey) -> bool {
        self.lanes[lane.index()].paused
    }

    pub(crate) fn paused_keys(&self) -> impl Iterator<Item = &std::sync::Arc<str>> + '_ {
        self.paused_keys.iter()
    }

    pub(crate) fn total(&self) -> Option<usize> {
        self.total
    }
}
