//! What is due: delays, expiries, time limits, silence, ends of graces, overruns, and children that a limit refused.

use super::Scheduler;
use super::decision::{CommandKey, Due, StopReason};
use super::entry::State;
use super::lane::End;

impl<T> Scheduler<T> {
    /// Handles what is due. Call until `None`, then [`next`](Self::next) and [`preempt`](Self::preempt).
    pub(crate) fn tick(&mut self, now: u64) -> Option<Due<T>> {
        self.catch_up(now);
        while let Some(place) = self.timers.pop_if(|(at, _)| at <= now) {
            let entry = &self.entries[place];
            let key = entry.key(place);
            match entry.state {
                // `nest_refused` set this timer of a child that a limit had refused: it may be favoured again, and its expiry is its
                // next timer. Another ready command has none but that of its expiry.
                State::Ready if !entry.is_expired(now) => self.nest_refused_no_more(place, now),
                State::Delayed if !entry.is_expired(now) => self.wake(place, now),
                State::Ready | State::Delayed | State::Expired => {
                    let lane = entry.lane;
                    let job = self.withdraw(place, now);
                    return Some(Due::Expired(key, lane, job));
                }
                State::Running => {
                    if let Some(reason) = self.limit_reached(place, now) {
                        self.drop_body(place, reason, now);
                        return Some(match reason {
                            StopReason::Deadline => Due::Deadline(key),
                            _ => Due::Stalled(key),
                        });
                    }
                }
                State::Asked => {
                    // Always there: `ask` sets it with the state.
                    let reason = entry.stop.unwrap_or(StopReason::Cancel);
                    self.drop_body(place, reason, now);
                    return Some(Due::Drop(key, reason));
                }
                // It has no timer now: see `stop`.
                State::Dropped => return Some(Due::Overrun(key, entry.run)),
                State::Concluded => debug_assert!(false, "a concluded command has no timer"),
            }
        }
        None
    }

    /// A delay is over. The next timer is that of its expiry.
    fn wake(&mut self, place: u32, now: u64) {
        self.wait_for_expiry(place);
        let entry = &self.entries[place];
        self.lanes[entry.lane.index()].unready -= 1;
        self.make_ready(place, End::Back, now);
    }

    /// Sets the timer of a waiting command to its expiry, if it has one.
    pub(super) fn wait_for_expiry(&mut self, place: u32) {
        let entry = &self.entries[place];
        if let Some(at) = entry.expires_at() {
            self.timers.set(place, (at, entry.serial));
        }
    }

    /// Which limit of a running command has passed, the earlier one first. When none has, sets the timer to the next.
    fn limit_reached(&mut self, place: u32, now: u64) -> Option<StopReason> {
        let entry = &self.entries[place];
        let until = entry.times_out_at(self.lanes[entry.lane.index()].policy.timeout_ns);
        let stall = entry.stalls_at();
        let (at, reason) = match until <= stall {
            true => (until, StopReason::Deadline),
            false => (stall, StopReason::Stall),
        };
        if at > now {
            // It has shown signs of life since the timer was set.
            self.timers.set(place, (at, entry.serial));
            return None;
        }
        Some(reason)
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
