//! How attempts end: `conclude` decides what follows, `release` frees the slot and does it.

mod leaving;

use super::Scheduler;
use super::decision::{CommandKey, Ending, Released, StopReason, Verdict};
use super::entry::{After, State};
use super::lane::End;

impl<T> Scheduler<T> {
    /// Decides what follows the end of an attempt. `None` when that run is over. The slot stays taken until [`release`](Self::release). `random` spreads the delay of a retry.
    pub(crate) fn conclude(
        &mut self,
        key: CommandKey,
        run: u32,
        ending: Ending,
        random: u64,
    ) -> Option<Verdict> {
        let entry = self.entries.running_mut(key, run)?;
        let state = &mut self.lanes[entry.lane.index()];
        if entry.state == State::Running {
            // Asked and Dropped ones are counted already.
            state.stopping += 1;
        }
        entry.state = State::Concluded;
        entry.after = After::Leave;
        self.timers.remove(key.place);
        let stopped = entry.stop.take();
        if ending == Ending::Completed {
            return Some(Verdict::Settle);
        }
        // It did not complete. A cancel goes first; then, what cannot be mended does not run again.
        match stopped {
            Some(StopReason::Cancel) => return Some(Verdict::Cancelled),
            _ if ending == Ending::Unrecoverable => return Some(Verdict::Settle),
            Some(StopReason::Preempt) => {
                entry.after = After::Preempted;
                return Some(Verdict::Preempted);
            }
            Some(StopReason::Shutdown) => return Some(Verdict::Withdrawn),
            Some(StopReason::Deadline | StopReason::Stall) | None => {}
        }
        let Some(delay) = entry.retries_after(&state.policy, random) else {
            return Some(Verdict::Settle);
        };
        // From here on its `time` is that delay.
        (entry.after, entry.time) = (After::Retry, delay);
        Some(Verdict::Retry {
            attempt: entry.attempt(),
        })
    }

    /// Ends an attempt that has completed: `conclude` and `release` in one, as nothing comes between. `None` when that run is
    /// over.
    #[inline]
    pub(crate) fn complete(&mut self, key: CommandKey, run: u32, now: u64) -> Option<T> {
        self.entries.running_mut(key, run)?;
        self.timers.remove(key.place);
        self.free_slot(key.place, now);
        Some(self.remove(key.place, now))
    }

    /// Frees the slot of a concluded command and carries out the verdict.
    ///
    /// # Panics
    ///
    /// When the command was not concluded.
    pub(crate) fn release(&mut self, key: CommandKey, now: u64) -> Released<T> {
        let entry = &mut self.entries[key.place];
        assert!(
            entry.serial == key.serial && entry.state == State::Concluded,
            "only a concluded command is released"
        );
        // A cancel since the verdict: `conclude` took any reason from before.
        let cancelled = entry.stop.take() == Some(StopReason::Cancel);
        let after = if cancelled { After::Leave } else { entry.after };
        self.free_slot(key.place, now);
        if after != After::Leave {
            self.requeue(key.place, after, now);
            return Released::Requeued;
        }
        let job = self.remove(key.place, now);
        if cancelled {
            Released::CancelledLate(job)
        } else {
            Released::Left(job)
        }
    }

    /// A command that holds no slot any more waits for its next run.
    fn requeue(&mut self, place: u32, after: After, now: u64) {
        self.pending += 1;
        let entry = &mut self.entries[place];
        let lane = entry.lane;
        // 0 for a preempted one. Read while it is Concluded: its time means the delay only then.
        let delay = entry.retry_delay();
        if after == After::Preempted {
            entry.terms.get_or_insert_default().notes.uncounted += 1;
            self.make_ready(place, End::Front, now);
        } else if delay == 0 {
            self.make_ready(place, End::Back, now);
        } else {
            entry.state = State::Delayed;
            self.timers
                .set(place, (now.saturating_add(delay), entry.serial));
            self.lanes[lane.index()].unready += 1;
            self.refresh(lane, now);
        }
    }

    /// A command that was not ready joins the queue of its lane.
    pub(super) fn make_ready(&mut self, place: u32, end: End, now: u64) {
        let entry = &mut self.entries[place];
        let (key, lane) = (entry.key(place), entry.lane);
        (entry.state, entry.time) = (State::Ready, now);
        self.lanes[lane.index()].push(&mut self.entries, place, end);
        self.refresh(lane, now);
        self.nest_ready(key, now);
    }

    /// Frees the slot that a command holds, and its share. The caller goes on with `remove` or `requeue`, which refresh the lane.
    pub(super) fn free_slot(&mut self, place: u32, now: u64) {
        // From here on it is too late to correct what its limiters were charged (`settle_cost`).
        self.forget_charges(place);
        let entry = &self.entries[place];
        let (lane, number) = (entry.lane, entry.key_number());
        // From `complete` and `abandon` the command may still be Running: then `stopping` has not counted it.
        let stopping = usize::from(entry.state != State::Running);
        if !self.nest_free(place, now) {
            self.shares -= 1;
            let state = &mut self.lanes[lane.index()];
            state.shares -= 1;
            state.vacate(number);
        }
        let state = &mut self.lanes[lane.index()];
        state.stopping -= stopping;
        state.running.unlink(&mut self.entries, place);
    }

    /// Forgets a command that is in no queue and holds no slot.
    pub(super) fn remove(&mut self, place: u32, now: u64) -> T {
        self.nest_forget(place);
        let entry = self.entries.remove(place).expect("the command is there");
        self.lanes[entry.lane.index()].leave(entry.key_number());
        if !self.is_indifferent_to_room(entry.lane) {
            self.refresh(entry.lane, now);
        }
        entry.job
    }
}
