//! How commands are stopped: asked, and dropped when they do not end by themselves.

use super::decision::{CommandKey, StopReason, Stopped};
use super::entry::{After, State};
use super::{OVERRUN_GRACE_NS, Scheduler};

impl<T> Scheduler<T> {
    /// Stops a command because it is cancelled or because the queue ends. A waiting one leaves at once, also when the
    /// queue ends; a running one is asked, and has its lane's grace period to end by itself.
    pub(crate) fn stop(&mut self, key: CommandKey, reason: StopReason, now: u64) -> Stopped<T> {
        let Some(entry) = self.entries.alive_mut(key) else {
            return Stopped::Gone;
        };
        match entry.state {
            State::Ready | State::Delayed | State::Expired => {
                let lane = entry.lane;
                Stopped::Left(lane, self.withdraw(key.place, now))
            }
            State::Running => Stopped::Asked {
                drop: self.ask(key.place, reason, now),
            },
            State::Concluded if entry.after == After::Leave => Stopped::Gone,
            State::Asked | State::Dropped | State::Concluded => {
                // Whatever it was stopped for before, one that is cancelled does not run again.
                if reason == StopReason::Cancel {
                    entry.stop = Some(reason);
                }
                Stopped::Already
            }
        }
    }

    /// Asks a running command to stop; returns whether its body must be dropped at once.
    pub(super) fn ask(&mut self, place: u32, reason: StopReason, now: u64) -> bool {
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
        let Some(entry) = self.entries.running_mut(key, run) else {
            return false;
        };
        if let Some(terms) = &mut entry.terms {
            terms.notes.beat = now;
        }
        true
    }
}
