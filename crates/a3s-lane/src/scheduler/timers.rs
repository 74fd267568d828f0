//! What is due: delays, expiries, time limits, grace periods, what limits have refused to awaited children.

use super::Scheduler;
use super::decision::{Due, StopReason};
use super::entry::State;
use super::flow::End;

impl<T> Scheduler<T> {
    /// Handles what is due. Call until `None`, then [`next`](Self::next) until `None`.
    pub(crate) fn tick(&mut self, now: u64) -> Option<Due<T>> {
        self.catch_up(now);
        while let Some(place) = self.timers.pop_if(|(at, _)| at <= now) {
            let entry = &self.entries[place];
            let key = entry.key(place);
            match entry.state {
                State::Ready | State::Delayed if !entry.is_expired(now) => self.wake(place, now),
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
                    let reason = entry.stop.unwrap_or(StopReason::Cancel);
                    self.drop_body(place, reason, now);
                    return Some(Due::Drop(key, reason));
                }
                State::Dropped => return Some(Due::Overrun(key, entry.run)),
                State::Concluded => debug_assert!(false, "a concluded command has no timer"),
            }
        }
        None
    }

    /// When [`tick`](Self::tick) has something to do next.
    #[inline]
    pub(crate) fn next_wake(&self) -> Option<u64> {
        // Asked after every step: mostly nothing is due at any time.
        if self.blocks.is_empty() && self.timers.is_empty() && !self.may_preempt() {
            return None;
        }
        self.earliest_wake()
    }

    fn earliest_wake(&self) -> Option<u64> {
        let block = self.blocks.peek().map(|(at, _)| at);
        let timer = self.timers.peek().map(|((at, _), _)| at);
        // A lane that grows more urgent may preempt: nothing else tells when.
        let preempts = self.open && self.may_preempt();
        let boost = self.boosts.peek().filter(|_| preempts);
        let boost = boost.map(|(at, _)| at);
        [block, timer, boost].into_iter().flatten().min()
    }

    /// A delay is over, or a limit may grant what it refused a child. The next timer is that of its expiry.
    fn wake(&mut self, place: u32, now: u64) {
        let entry = &self.entries[place];
        let key = entry.key(place);
        if let Some(at) = entry.expires_at() {
            self.timers.set(place, (at, key.serial));
        }
        if entry.state == State::Ready {
            return self.nest_ready(key, now);
        }
        self.lanes[entry.lane.index()].delayed -= 1;
        self.make_ready(place, End::Back, now);
    }

    /// Which limit of a running command has passed, the earlier one first. When none has, waits for the next.
    fn limit_reached(&mut self, place: u32, now: u64) -> Option<StopReason> {
        let entry = &self.entries[place];
        let terms = entry.terms.as_deref();
        let Some((terms, progress)) =
            terms.and_then(|terms| Some((terms, terms.notes.progress_ns?)))
        else {
            return Some(StopReason::Deadline);
        };
        let stall = terms.notes.beat.saturating_add(progress);
        let until = entry.until(self.lanes[entry.lane.index()].policy.timeout_ns);
        let next = until.min(stall);
        if next > now {
            self.timers.set(place, (next, entry.serial));
            return None;
        }
        Some(if until <= stall {
            StopReason::Deadline
        } else {
            StopReason::Stall
        })
    }

    /// Shelves the ready commands that nobody has looked at since they became too old.
    pub(super) fn shelve_expired(&mut self, now: u64) {
        if self.timers.peek().is_none_or(|((at, _), _)| at > now) {
            return;
        }
        let expired = |place: &u32| {
            let entry = &self.entries[*place];
            entry.state == State::Ready && entry.is_expired(now)
        };
        let due = self.timers.iter().filter(|((at, _), _)| *at <= now);
        let places: Vec<u32> = due.map(|(_, place)| place).filter(expired).collect();
        for place in places {
            self.shelve(place, now);
        }
    }

    /// Takes a command that is too old to start out of its lane's queue; it leaves with the next tick.
    pub(super) fn shelve(&mut self, place: u32, now: u64) {
        let lane = self.entries[place].lane;
        self.take_from_queue(place);
        self.entries[place].state = State::Expired;
        self.lanes[lane.index()].delayed += 1;
        self.refresh(lane, now);
    }
}
