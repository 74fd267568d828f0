//! Fairness keys: how the keys of one lane take turns.
//!
//! Start-time fair queueing (Goyal, Vin, Cheng 1996): each key has a *pass*, the virtual time at which it may start next.
//! The smallest goes first, of equals the one that had its turn longest ago. *Time* moves on to the pass of each start in
//! turn, and the key's next pass is that time and a [`STRIDE`] / weight. So keys that always have work get starts in
//! proportion to their weights. A key that was away, whatever kept it away, comes back at the present time, or at its pass if that
//! is later: it cannot save up turns, and owes one at most, however many of its commands started out of turn.
//!
//! - Keys take turns with those whose front has the same priority. Each such *level* has its own time, which stands still while
//!   a more urgent one has work. A key that changes its level stays as far ahead of time as it was.
//! - A key whose commands have all left is *absent*, and remembered while it is ahead of time and the lane is not empty: else one
//!   whose commands come one at a time would be new before each, and go first. When too many are absent, time moves on.
//! - The next run of a preempted command costs no turn. Nor does a run in the slot of a parent, until the command inherits it.
//!
//! Gold of weight 2, silver and tin of weight 1; time and passes of level 0 after each start, in strides:
//!
//! ```text
//!  start   level   time  gold  silver  tin
//!  -         -      0     0      0      0
//!  gold      0      0    1/2     0      0
//!  silver    0      0    1/2     1      0
//!  tin       0      0    1/2     1      1     tin has no more: absent, 1 ahead
//!  gold      0     1/2    1      1      1     tin comes back: at 1, where a new key comes at 1/2
//!  silver    0      1     1      2      1     all were at 1, silver had its turn longest ago
//!  gold     -1      1    3/2     2      1     gold was not ahead, so an urgent command costs it a turn
//!  tin       0      1    3/2     2      2     tin has no more
//!  gold      0     3/2    2      2      2
//!  silver    0      2     2      3      -     time has come to tin's pass: forgotten
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// By how much the pass of a key of weight 1 grows with each start. Weights up to 16 divide it.
pub(super) const STRIDE: u64 = 720_720;

/// When the turn of a key comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    /// The priority of its front, or the last that it had.
    pub(super) level: i32,
    /// From when on it may start, in the time of that level.
    pub(super) pass: u64,
    /// The number of its last turn; decides between equal passes.
    pub(super) number: u64,
}

/// The time of the keys of one level.
#[derive(Debug, Default)]
struct Clock {
    /// The pass of the last one that had its turn.
    time: u64,
    keys: usize,
}

/// What the keys of one lane have in common.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// By level, as long as a key is there.
    clocks: BTreeMap<i32, Clock>,
    /// The absent keys, all ahead of the time of their level: that, their pass, which key.
    absent: BTreeSet<(i32, u64, u32)>,
    /// The number of the last turn.
    number: u64,
}

impl Turns {
    /// The turn of a new key of this level.
    pub(super) fn add(&mut self, level: i32) -> Turn {
        self.number += 1;
        let clock = self.clocks.entry(level).or_default();
        clock.keys += 1;
        Turn {
            level,
            pass: clock.time,
            number: self.number,
        }
    }

    /// A key is forgotten.
    pub(super) fn remove(&mut self, turn: Turn) {
        self.leave_level(turn.level);
    }

    /// The time of a level.
    pub(super) fn time(&self, level: i32) -> u64 {
        self.clocks.get(&level).map_or(0, |clock| clock.time)
    }

    /// A key has its turn, or a start `out_of_turn`: then time does not move, or all others would be late. For the next run of
    /// a preempted command it `has_paid` with the one before. True when time has moved on.
    pub(super) fn take(
        &mut self,
        turn: &mut Turn,
        weight: u64,
        out_of_turn: bool,
        has_paid: bool,
    ) -> bool {
        let clock = self.clocks.entry(turn.level).or_default();
        let moves_on = !out_of_turn && clock.time < turn.pass;
        if moves_on {
            clock.time = turn.pass;
        }
        if !has_paid {
            turn.pass = clock.time.saturating_add(STRIDE / weight.min(STRIDE));
        }
        self.number += 1;
        turn.number = self.number;
        moves_on
    }

    /// A key comes to a level, its own or another, as far ahead of its time as it is of the time of its own. Never behind
    /// the level's time, so what it passed through during one call leaves no trace.
    pub(super) fn enter_level(&mut self, turn: &mut Turn, level: i32) {
        let before = turn.level;
        let ahead = turn.pass.saturating_sub(self.time(before));
        let clock = self.clocks.entry(level).or_default();
        turn.level = level;
        turn.pass = clock.time.saturating_add(ahead);
        clock.keys += 1;
        self.leave_level(before);
    }

    fn leave_level(&mut self, level: i32) {
        if let Some(clock) = self.clocks.get_mut(&level) {
            clock.keys -= 1;
            if clock.keys == 0 {
                self.clocks.remove(&level);
            }
        }
    }

    /// The last command of a key has left. False when there is nothing to remember.
    pub(super) fn leave(&mut self, key: u32, turn: Turn) -> bool {
        let is_ahead = turn.pass > self.time(turn.level);
        if is_ahead {
            self.absent.insert((turn.level, turn.pass, key));
        }
        is_ahead
    }

    /// A key that had no command comes back: as a new one, unless it is ahead of time.
    pub(super) fn come_back(&mut self, key: u32, turn: &mut Turn) {
        if turn.pass > self.time(turn.level) {
            self.absent.remove(&(turn.level, turn.pass, key));
        } else {
            self.number += 1;
            turn.number = self.number;
        }
    }

    /// How many keys are absent.
    pub(super) fn absent(&self) -> usize {
        self.absent.len()
    }

    /// Takes an absent key of a level out whose pass the time has reached.
    pub(super) fn pop_passed(&mut self, level: i32) -> Option<u32> {
        let passed = (level, 0, 0)..=(level, self.time(level), u32::MAX);
        let first = self.absent.range(passed).next().copied()?;
        self.absent.remove(&first);
        Some(first.2)
    }

    /// Takes out any absent key.
    pub(super) fn pop_absent(&mut self) -> Option<u32> {
        self.absent.pop_first().map(|(_, _, key)| key)
    }

    /// Time moves on to the first absent key, on the next level above this one where some are.
    pub(super) fn skip_after(&mut self, level: Option<i32>) -> Option<i32> {
        let from = level.map_or(Bound::Unbounded, |level| {
            Bound::Excluded((level, u64::MAX, u32::MAX))
        });
        let mut absent = self.absent.range((from, Bound::Unbounded));
        let &(level, pass, _) = absent.next()?;
        self.clocks.entry(level).or_default().time = pass;
        Some(level)
    }

    #[cfg(test)]
    pub(super) fn levels(&self) -> usize {
        self.clocks.len()
    }
}
