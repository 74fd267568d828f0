//! How commands are stopped: cancel, time limits, preemption.

use std::cmp::Reverse;

use super::decision::{CommandKey, LaneKey, StopReason, Stopped};
use super::entry::{After, State};
use super::flow::NONE;
use super::{OVERRUN_GRACE_NS, Scheduler};

impl<T> Scheduler<T> {
    /// Stops a command because it is cancelled or because the queue ends. A waiting one leaves at once, also when the
    /// queue ends; a running one is asked, and has its lane's grace period to end by itself.
    pub(crate) fn stop(&mut self, key: CommandKey, reason: StopReason, now: u64) -> Stopped<T> {
        let Some(entry) = self.entries.get_mut(key.place) else {
            return Stopped::Gone;
        };
        if entry.serial != key.serial {
            return Stopped::Gone;
        }
        match entry.state {
            State::Ready | State::Delayed | State::Expired => {
                let lane = entry.lane;
                let job = self.withdraw(key.place, now);
                self.refresh(lane, now);
                Stopped::Left(lane, job)
            }
            State::Running => Stopped::Asked {
                drop: self.ask(key.place, reason, now),
            },
            State::Asked | State::Dropped => {
                // Whatever it was stopped for, it does not run again.
                if reason == StopReason::Cancel {
                    entry.stop = Some(reason);
                }
                Stopped::Already
            }
            State::Concluded if entry.after == After::Leave => Stopped::Gone,
            State::Concluded => {
                if reason == StopReason::Cancel {
                    entry.stop = Some(reason);
                }
                Stopped::Already
            }
        }
    }

    /// Asks a running command to stop; returns whether its body must be dropped at once.
    fn ask(&mut self, place: u32, reason: StopReason, now: u64) -> bool {
        let entry = &mut self.entries[place];
        let state = &mut self.lanes[entry.lane.index()];
        let grace = state.policy.grace_ns;
        let until = entry.until(state.policy.timeout_ns);
        entry.stop = Some(reason);
        state.stopping += 1;
        let at = if grace == 0 {
            entry.state = State::Dropped;
            now.saturating_add(OVERRUN_GRACE_NS)
        } else {
            entry.state = State::Asked;
            // A grace does not outlast the time limit.
            now.saturating_add(grace).min(until)
        };
        self.timers.set(place, (at, entry.serial));
        grace == 0
    }

    /// A running command must be dropped now.
    pub(super) fn drop_body(&mut self, place: u32, reason: StopReason, now: u64) {
        let entry = &mut self.entries[place];
        if entry.state == State::Running {
            self.lanes[entry.lane.index()].stopping += 1;
        }
        entry.state = State::Dropped;
        entry.stop.get_or_insert(reason);
        let at = now.saturating_add(OVERRUN_GRACE_NS);
        self.timers.set(place, (at, entry.serial));
    }

    /// A running command shows that it gets on. False when this run is not running any more.
    pub(crate) fn beat(&mut self, key: CommandKey, run: u32, now: u64) -> bool {
        let Some(entry) = self.entries.get_mut(key.place) else {
            return false;
        };
        if !entry.is_running(key, run) {
            return false;
        }
        if let Some(terms) = &mut entry.terms {
            terms.beat = now;
        }
        true
    }

    /// The running command that must make room for a more urgent one, if any: it was asked to stop, and with `true` its
    /// body must be dropped at once. Call until `None`, after [`next`](Self::next) has returned `None`.
    pub(crate) fn preempt(&mut self, now: u64) -> Option<(CommandKey, bool)> {
        if !self.may_preempt() || !self.open {
            return None;
        }
        self.age(now);
        // Asked at every step: mostly nobody waits who is more urgent than any lane that could give.
        let ready = self.ready.peek().into_iter().chain(self.reserved.peek());
        let (most_urgent, _) = ready.map(|(rank, _)| rank).min()?;
        let (Reverse(least_urgent), _) = self.givers.peek()?;
        if most_urgent >= least_urgent {
            return None;
        }
        let (victim, priority) = self.victim(now)?;
        if self.demand_above(priority, now) <= self.freeing() {
            return None;
        }
        let key = self.entries[victim].key(victim);
        Some((key, self.ask(victim, StopReason::Preempt, now)))
    }

    /// Of the commands that lanes may lose, the one that will be the least urgent when it is back, of these the last
    /// started; and how urgent it will be.
    fn victim(&self, now: u64) -> Option<(u32, u8)> {
        let lanes = self.givers.iter().map(|(_, lane)| LaneKey(lane));
        // What a lane has below its minimum would be kept for it again.
        let lanes = lanes.filter(|lane| {
            let state = &self.lanes[lane.index()];
            state.shares - self.freeing_of(*lane) > state.policy.min
        });
        let of_lanes = lanes.filter_map(|number| {
            let lane = &self.lanes[number.index()];
            let mut best: Option<(u8, u64, LaneKey, u32)> = None;
            let mut place = lane.running.tail;
            while place != NONE {
                let entry = &self.entries[place];
                let willing = entry.terms.as_ref().is_none_or(|terms| terms.preemptible);
                if entry.state == State::Running && willing && entry.is_alone() {
                    let back_at = now.saturating_add(lane.policy.grace_ns);
                    let urgency = lane.urgency_with(entry.waits_since(), back_at);
                    // From the last started to the first: of equals the last started stays.
                    if best.is_none_or(|best| (urgency, entry.since) > (best.0, best.1)) {
                        best = Some((urgency, entry.since, number, place));
                    }
                    if urgency == lane.policy.priority {
                        // None is less urgent, and those before it started earlier.
                        break;
                    }
                }
                place = entry.prev;
            }
            best
        });
        let (priority, _, _, place) = of_lanes.max()?;
        Some((place, priority))
    }

    /// How many shares of the total are about to be free for any lane.
    fn freeing(&self) -> usize {
        let lanes = (0..self.lanes.len() as u32).map(LaneKey);
        let of_lanes = lanes.map(|lane| {
            let state = &self.lanes[lane.index()];
            // What it has below its minimum then is kept for it.
            let spare = state.shares.saturating_sub(state.policy.min);
            self.freeing_of(lane).min(spare)
        });
        of_lanes.sum()
    }

    /// How many shares of the total the commands of a lane are about to give up.
    fn freeing_of(&self, lane: LaneKey) -> usize {
        let state = &self.lanes[lane.index()];
        if state.stopping == 0 {
            return 0;
        }
        let running = state.running.iter(&self.entries);
        let frees =
            |place: &u32| self.entries[*place].state != State::Running && self.frees_share(*place);
        running.filter(frees).count()
    }

    /// How many commands of lanes that are more urgent than this wait for nothing but the total limit.
    fn demand_above(&mut self, priority: u8, now: u64) -> usize {
        let mut demand = 0;
        for lane in 0..self.lanes.len() as u32 {
            let lane = LaneKey(lane);
            let state = &self.lanes[lane.index()];
            let waiting = state.demand.on_kept + state.demand.on_common;
            if waiting == 0 || state.effective_priority(now) >= priority || self.is_admitted(lane) {
                continue;
            }
            demand += if state.policy.is_rated() {
                usize::from(self.grants_front(lane, now))
            } else if state.policy.priority >= priority {
                // Its oldest command is as urgent, not those behind it.
                1
            } else {
                waiting
            };
        }
        demand
    }

    #[cfg(feature = "distributed")]
    fn grants_front(&mut self, lane: LaneKey, now: u64) -> bool {
        let Some(place) = self.lanes[lane.index()].front(now) else {
            return false;
        };
        match self.check_limits(lane, place, now) {
            Ok(()) => true,
            Err(due) => {
                self.block(lane, place, due, now);
                false
            }
        }
    }

    #[cfg(not(feature = "distributed"))]
    fn grants_front(&mut self, _lane: LaneKey, _now: u64) -> bool {
        true
    }
}
