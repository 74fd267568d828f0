//! How often each rule has mattered: a property of something that never happens says nothing.

use crate::scheduler::Verdict;
use crate::scheduler::model::{Command, Model, ModelDue, ModelStopped};

#[derive(Debug, Clone, Default)]
pub(in super::super) struct Tally {
    pub(in super::super) operations: usize,
    pub(in super::super) starts: usize,
    pub(in super::super) refused: usize,
    pub(in super::super) evicted: usize,
    pub(in super::super) expired: usize,
    pub(in super::super) preempted: usize,
    pub(in super::super) requeued_in_front: usize,
    pub(in super::super) retried: usize,
    pub(in super::super) withdrawn: usize,
    pub(in super::super) cancelled: usize,
    pub(in super::super) cancelled_late: usize,
    pub(in super::super) cancelled_waiting: usize,
    pub(in super::super) deadlines: usize,
    pub(in super::super) stalls: usize,
    pub(in super::super) drops: usize,
    pub(in super::super) overruns: usize,
    /// Starts on a slot that was kept, while no other slot was free.
    pub(in super::super) reserved_starts: usize,
    /// Starts of a command because it was overdue.
    pub(in super::super) overdue_starts: usize,
    /// Starts in a lane in which another key had commands ready as well.
    pub(in super::super) turns: usize,
    pub(in super::super) refunds: usize,
    pub(in super::super) debts: usize,
    pub(in super::super) removed_lanes: usize,
    /// Operations after which a lane had ready commands of a key that had all its slots.
    pub(in super::super) busy_keys: usize,
    /// ... of a paused key.
    pub(in super::super) paused_keys: usize,
    /// Operations after which a lane waited for nothing but the total, and it had free slots.
    pub(in super::super) kept_from: usize,
}

impl Tally {
    pub(super) fn start(&mut self, model: &Model, command: &Command) {
        self.starts += 1;
        let lane = command.lane;
        let kept = model.kept_for_all();
        let reserved = model.kept_for(lane) > 0 && model.free().is_some_and(|free| free <= kept);
        self.reserved_starts += usize::from(reserved);
        let usual = model.usual_front(lane).map(|front| front.serial);
        self.overdue_starts += usize::from(usual != Some(command.serial));
        let mut keys = model.candidates(lane).map(|other| other.rules.key);
        let shared = keys.any(|key| key != command.rules.key);
        self.turns += usize::from(shared);
    }

    pub(super) fn verdict(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Settle => {}
            Verdict::Cancelled => self.cancelled += 1,
            Verdict::Withdrawn => self.withdrawn += 1,
            Verdict::Retry { .. } => self.retried += 1,
            Verdict::Preempted => self.requeued_in_front += 1,
        }
    }

    pub(super) fn stopped(&mut self, stopped: ModelStopped) {
        self.cancelled_waiting += usize::from(stopped == ModelStopped::Left);
    }

    pub(super) fn due(&mut self, due: ModelDue) {
        match due {
            ModelDue::Deadline(_) => self.deadlines += 1,
            ModelDue::Stalled(_) => self.stalls += 1,
            ModelDue::Drop(..) => self.drops += 1,
            ModelDue::Overrun(..) => self.overruns += 1,
            ModelDue::Expired(_) => self.expired += 1,
        }
    }

    #[cfg(feature = "distributed")]
    pub(super) fn settle(&mut self, model: &Model, serial: u64, run: u32, actual: u64) {
        for limiter in model.limiters.iter().filter(|one| one.rules.counts_cost) {
            if let Some((cost, _)) = limiter.meter.cost_of((serial, run)) {
                self.refunds += usize::from(actual < cost);
                self.debts += usize::from(actual > cost);
            }
        }
    }

    pub(super) fn look(&mut self, model: &Model) {
        for lane in model.lane_numbers() {
            let paused = |command: &Command| {
                let key = command.rules.key;
                key.is_some_and(|key| model.paused_keys.contains(&key))
            };
            let mut ready = model.ready(lane);
            self.paused_keys += usize::from(ready.any(paused));
            let mut ready = model.ready(lane);
            let busy = ready
                .any(|command| !paused(command) && model.key_room(lane, command.rules.key) == 0);
            self.busy_keys += usize::from(busy);
            let kept = model.takes_part(lane)
                && !model.admits(lane)
                && model.free().is_some_and(|free| free > 0);
            self.kept_from += usize::from(kept);
        }
    }

    pub(in super::super) fn add(&mut self, other: &Self) {
        for ((_, sum), (_, part)) in self.counts_mut().into_iter().zip(other.counts()) {
            *sum += part;
        }
    }

    pub(in super::super) fn counts(&self) -> Vec<(&'static str, usize)> {
        let mut copy = self.clone();
        let counts = copy.counts_mut().into_iter();
        counts.map(|(name, count)| (name, *count)).collect()
    }

    fn counts_mut(&mut self) -> Vec<(&'static str, &mut usize)> {
        vec![
            ("operations", &mut self.operations),
            ("starts", &mut self.starts),
            ("refused", &mut self.refused),
            ("evicted", &mut self.evicted),
            ("expired", &mut self.expired),
            ("preempted", &mut self.preempted),
            ("requeued in front", &mut self.requeued_in_front),
            ("retried", &mut self.retried),
            ("withdrawn", &mut self.withdrawn),
            ("cancelled", &mut self.cancelled),
            ("cancelled late", &mut self.cancelled_late),
            ("cancelled waiting", &mut self.cancelled_waiting),
            ("deadlines", &mut self.deadlines),
            ("stalls", &mut self.stalls),
            ("drops", &mut self.drops),
            ("overruns", &mut self.overruns),
            ("reserved starts", &mut self.reserved_starts),
            ("overdue starts", &mut self.overdue_starts),
            ("turns", &mut self.turns),
            ("refunds", &mut self.refunds),
            ("debts", &mut self.debts),
            ("removed lanes", &mut self.removed_lanes),
            ("busy keys", &mut self.busy_keys),
            ("paused keys", &mut self.paused_keys),
            ("kept from", &mut self.kept_from),
        ]
    }
}
