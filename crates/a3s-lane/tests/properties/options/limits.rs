//! The widest limits that ever held, and what must hold in between.

use std::collections::HashSet;
use std::sync::atomic::Ordering::SeqCst;

use a3s_lane::{CommandStatus, Overflow, Snapshot};
use proptest::prelude::*;

use super::plan::{CommandPlan, KEYS, LANES, LanePlan, Plan};
use super::play::Checked;
use super::record::{Book, Origin};

/// `None` is no limit.
#[derive(Debug)]
pub(crate) struct Limits {
    total: Option<usize>,
    lanes: Vec<OfLane>,
    /// A lane was taken out.
    pub(crate) removes: bool,
}

#[derive(Debug)]
struct OfLane {
    max: usize,
    key_max: Option<usize>,
    max_pending: Option<usize>,
    retries: u32,
    bounded: bool,
    drops_oldest: bool,
    timed: bool,
}

impl OfLane {
    fn new(lane: &LanePlan) -> Self {
        Self {
            max: lane.max,
            key_max: lane.key_max,
            max_pending: lane.pending.map(|(max, _)| max),
            retries: lane.retries,
            bounded: lane.pending.is_some(),
            drops_oldest: lane
                .pending
                .is_some_and(|(_, overflow)| overflow == Overflow::DropOldest),
            timed: lane.config().default_timeout.is_some(),
        }
    }

    fn widen(&mut self, other: Self) {
        self.max = self.max.max(other.max);
        self.key_max = wider(self.key_max, other.key_max);
        self.max_pending = wider(self.max_pending, other.max_pending);
        self.retries = self.retries.max(other.retries);
        self.bounded |= other.bounded;
        self.drops_oldest |= other.drops_oldest;
        self.timed |= other.timed;
    }
}

fn wider(one: Option<usize>, other: Option<usize>) -> Option<usize> {
    Some(one?.max(other?))
}

impl Limits {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            total: plan.total,
            lanes: plan.lanes.iter().map(OfLane::new).collect(),
            removes: false,
        }
    }

    pub(crate) fn set_total(&mut self, total: Option<usize>) {
        self.total = wider(self.total, total);
    }

    /// A total that leaves a slot for a lane without a minimum.
    pub(crate) fn roomy_total(&mut self) -> Option<usize> {
        let total = self.total.map(|total| total.max(LANES + 1));
        self.total = total;
        total
    }

    pub(crate) fn set_lane(&mut self, lane: usize, plan: &LanePlan) {
        self.lanes[lane].widen(OfLane::new(plan));
    }

    /// The most attempts that count.
    pub(crate) fn attempts(&self, lane: usize, plan: &CommandPlan) -> u32 {
        let retries = plan
            .retry
            .map_or(self.lanes[lane].retries, |(retries, _)| retries);
        retries + 1
    }

    /// Whether a full lane may have refused, or dropped, a command.
    pub(crate) fn may_refuse(&self, lane: usize) -> bool {
        self.lanes[lane].bounded
    }

    pub(crate) fn may_drop(&self, lane: usize) -> bool {
        self.lanes[lane].drops_oldest
    }

    pub(crate) fn may_time_out(&self, lane: usize, plan: &CommandPlan) -> bool {
        plan.timeout_ms.is_some() || self.lanes[lane].timed
    }

    /// No lane, no key and not the whole ran more bodies at once than it may.
    pub(crate) fn were_kept(&self, book: &Book) -> Checked {
        let most = book.total.most.load(SeqCst);
        prop_assert!(
            self.total.is_none_or(|total| most <= total),
            "{} in all",
            most
        );
        for (number, lane) in self.lanes.iter().enumerate() {
            let most = book.lanes[number].most.load(SeqCst);
            prop_assert!(most <= lane.max, "{} in lane {}", most, number);
            for key in 0..usize::from(KEYS) {
                let most = book.keys[number][key].most.load(SeqCst);
                let kept = lane.key_max.is_none_or(|max| most <= max);
                prop_assert!(kept, "{} of key {} in lane {}", most, key, number);
            }
        }
        Ok(())
    }

    /// What the queue says of itself at a moment at which nothing else happens.
    pub(crate) fn look(&self, book: &Book, snapshot: &Snapshot) -> Checked {
        let records = book.records();
        for lane in &snapshot.lanes {
            let number: usize = lane.id.parse().unwrap();
            // A lane that got a lower maximum goes on with what runs.
            prop_assert!(lane.active <= self.lanes[number].max, "{:?}", lane);
        }
        for lane in 0..LANES {
            let fresh = records.iter().filter(|record| {
                let waits = record.handle().is_some_and(|handle| {
                    matches!(
                        handle.status(),
                        CommandStatus::Pending | CommandStatus::Delayed
                    )
                });
                let began = record.seen.bodies.load(SeqCst) > 0;
                record.lane == lane && record.origin == Origin::Player && waits && !began
            });
            // What comes back finds room in a full lane; then the oldest that is dropped for a new one may be that.
            let (fresh, of_lane) = (fresh.count(), &self.lanes[lane]);
            let kept = of_lane.max_pending.is_none_or(|max| fresh <= max);
            prop_assert!(
                kept || of_lane.drops_oldest,
                "{} wait in lane {}",
                fresh,
                lane
            );
        }
        // Of all that hold a unique key, all but one were replaced.
        let mut held = HashSet::new();
        for record in records.iter().filter(|record| record.lives()) {
            if let Some((key, _, _)) = record.plan.unique {
                prop_assert!(held.insert(key), "two hold unique key {}", key);
            }
        }
        // The queue knows the commands that have not settled, and no others.
        let unsettled: HashSet<String> = records
            .iter()
            .filter_map(|record| record.handle())
            .filter(|handle| !handle.status().is_settled())
            .map(|handle| handle.id().to_owned())
            .collect();
        let known: HashSet<String> = snapshot
            .commands
            .iter()
            .map(|command| command.explanation.command_id.clone())
            .collect();
        prop_assert!(unsettled.is_subset(&known), "{:?}", snapshot);
        // Lent slots are taken by two.
        prop_assert!(known.len() >= snapshot.pending + snapshot.active);
        Ok(())
    }
}
