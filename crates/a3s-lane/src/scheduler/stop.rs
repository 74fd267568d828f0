//! How commands are stopped: taken out before they start, asked while they run, dropped when they do not end by themselves.

use super::Scheduler;
use super::decision::{CommandKey, StopReason, Stopped};
use super::entry::{After, State};

/// How long a body that must be dropped may take to give up its future before `Overrun` is told, in nanoseconds.
///
/// An asynchronous body gives up at its next wake-up, far sooner; this bounds a body that blocks its thread.
pub(crate) const OVERRUN_GRACE_NS: u64 = 20_000_000;

impl<T> Scheduler<T> {
    /// Stops a command because it is cancelled or because the queue ends. A waiting one leaves at once; a running one is
    /// asked, and has its lane's grace period to end by itself.
    pub(crate) fn stop(&mut self, key: CommandKey, reason: StopReason, now: u64) -> Stopped<T> {
        let Some(entry) = self.entries.alive_mut(key) else {
            return Stopped::Gone;
        };
        match entry.state {
            State::Ready | State::Delayed | State::Expired => {
                let lane = entry.lane;
                Stopped::Left(lane, self.take_out(key.place, now))
            }
            State::Running => Stopped::Asked {
                drop: self.ask(key.place, reason, now),
            },
            State::Concluded if entry.after == After::Leave => Stopped::Gone,
            State::Asked | State::Dropped | State::Concluded => {
                // Whatever it was asked for before, and even with a verdict: one that is cancelled does not run again.
                if reason == StopReason::Cancel {
                    entry.stop = Some(reason);
                    // Its `Overrun` was told. Of a preempted run the caller may then wait for the body all the same: without it
                    // the command could not run again. Now it need not: tell once more.
                    if entry.state == State::Dropped && self.timers.get(key.place).is_none() {
                        let at = now.saturating_add(OVERRUN_GRACE_NS);
                        self.timers.set(key.place, (at, key.serial));
                    }
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
        if grace == 0 {
            self.drop_body(place, reason, now);
            return true;
        }
        // A grace does not outlast the time limit; silence no longer counts.
        let until = entry.times_out_at(state.policy.timeout_ns);
        let at = now.saturating_add(grace).min(until);
        (entry.state, entry.stop) = (State::Asked, Some(reason));
        state.stopping += 1;
        self.timers.set(place, (at, entry.serial));
        false
    }

    /// The body of a run must be dropped now. If it was asked to stop before, it keeps that reason.
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

    /// Takes out a command that holds no slot. The caller of the scheduler asks afterwards whether that relieved the lane
    /// (`relieve`, in `ending/leaving`).
    pub(super) fn take_out(&mut self, place: u32, now: u64) -> T {
        self.timers.remove(place);
        self.pending -= 1;
        let entry = &self.entries[place];
        let lane = entry.lane;
        if entry.state == State::Ready {
            self.take_from_queue(place);
        } else {
            self.lanes[lane.index()].unready -= 1;
        }
        self.remove(place, now)
    }

    /// Takes a ready command out of its lane's queue.
    pub(super) fn take_from_queue(&mut self, place: u32) {
        if !self.nest_unlink(place) {
            let lane = self.entries[place].lane;
            self.lanes[lane.index()].unlink(&mut self.entries, place);
        }
    }
}
