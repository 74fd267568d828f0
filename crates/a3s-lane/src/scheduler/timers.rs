//! What is due. `next_wake` (in `view`) says when to call `tick` next.
//!
//! A command has at most one timer:
//!
//! | state | when |
//! |---|---|
//! | Ready | its expiry; of a child that a limit has refused, when to ask again, if that is earlier |
//! | Delayed | the end of the delay or its expiry, the earlier one |
//! | Expired | it is due already |
//! | Running | its time limit or the end of the longest silence, the earlier one; a sign of life does not move it: once due, it is set anew |
//! | Asked | the end of the grace or its time limit, the earlier one |
//! | Dropped | when the body has overrun; after that none, unless it is cancelled |
//! | Concluded | none |

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
                // Only a child that a limit has refused has a timer now: ask again.
                State::Ready if !entry.is_expired(now) => self.nest_refused_no_more(place, now),
                State::Delayed if !entry.is_expired(now) => self.wake(place, now),
                State::Ready | State::Delayed | State::Expired => {
                    let lane = entry.lane;
                    let job = self.take_out(place, now);
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
                // No timer is left; a cancel may set one again (`stop`).
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

    /// A running command shows that it gets on. False when this run is over.
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
