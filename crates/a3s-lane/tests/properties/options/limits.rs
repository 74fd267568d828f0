//! The widest limits that ever held, and what must hold in between.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use a3s_lane::{CommandStatus, Overflow, Snapshot};
use proptest::prelude::*;

use super::commands::CommandPlan;
use super::lanes::LanePlan;
#[cfg(feature = "distributed")]
use super::lanes::LimiterPlan;
use super::plan::{KEYS, LANES, Plan, ms};
use super::play::Checked;
use super::record::{Book, Record};
use super::times::least_of;

/// `None` is no limit.
#[derive(Debug)]
pub(crate) struct Limits {
    total: Option<usize>,
    pub(crate) lanes: Vec<OfLane>,
    /// A lane was taken out.
    pub(crate) removes: bool,
    /// What each limiter was like.
    #[cfg(feature = "distributed")]
    pub(crate) limiters: Vec<Vec<LimiterPlan>>,
}

/// What a lane was like, and was to be like: a change may have been refused.
#[derive(Debug)]
pub(crate) struct OfLane {
    pub(crate) was: Vec<LanePlan>,
    /// What it is like now.
    pub(crate) is: LanePlan,
    /// It was taken out, for a time at least.
    pub(crate) removed: bool,
}

/// A limit of time, as far as it is certain: none applied that was shorter, or longer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) least: Option<Duration>,
    pub(crate) most: Option<Duration>,
}

impl Span {
    /// Of a limit that was each of these.
    fn of(limits: impl Iterator<Item = Option<u64>> + Clone) -> Self {
        let all = limits
            .clone()
            .try_fold(0, |most, limit| Some(limit?.max(most)));
        Self {
            least: limits.flatten().min().map(ms),
            most: all.map(ms),
        }
    }
}

impl OfLane {
    fn new(lane: &LanePlan) -> Self {
        Self {
            was: vec![lane.clone()],
            is: lane.clone(),
            removed: false,
        }
    }

    pub(crate) fn ever(&self, what: impl Fn(&LanePlan) -> bool) -> bool {
        self.was.iter().any(what)
    }

    /// The widest of a limit that may be absent.
    fn widest(&self, limit: impl Fn(&LanePlan) -> Option<usize>) -> Option<usize> {
        let limits = self.was.iter().map(limit);
        limits.fold(Some(0), wider)
    }

    fn max(&self) -> usize {
        self.was
            .iter()
            .map(|lane| lane.max)
            .max()
            .unwrap_or_default()
    }

    fn drops_oldest(&self) -> bool {
        self.ever(|lane| matches!(lane.pending, Some((_, Overflow::DropOldest))))
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
            #[cfg(feature = "distributed")]
            limiters: plan.limiters.iter().map(|one| vec![one.clone()]).collect(),
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

    /// Before it is set: from then on everything may happen.
    pub(crate) fn set_lane(&mut self, lane: usize, plan: &LanePlan) {
        self.lanes[lane].was.push(plan.clone());
    }

    pub(crate) fn removed_lane(&mut self, lane: usize) {
        self.removes = true;
        self.lanes[lane].removed = true;
    }

    /// The most attempts that count.
    pub(crate) fn attempts(&self, lane: usize, plan: &CommandPlan) -> u32 {
        let of_lane = self.lanes[lane].was.iter().map(|lane| lane.retries).max();
        let retries = plan.retry.map(|(retries, _)| retries);
        retries.or(of_lane).unwrap_or_default() + 1
    }

    /// Whether a full lane may have refused, or dropped, a command.
    pub(crate) fn may_refuse(&self, lane: usize) -> bool {
        self.lanes[lane].ever(|lane| lane.pending.is_some())
    }

    pub(crate) fn may_drop(&self, lane: usize) -> bool {
        self.lanes[lane].drops_oldest()
    }

    pub(crate) fn timeout(&self, lane: usize, plan: &CommandPlan) -> Span {
        match plan.timeout_ms {
            Some(own) => Span::of([own].into_iter()),
            None => Span::of(self.lanes[lane].was.iter().map(|lane| lane.timeout_ms)),
        }
    }

    pub(crate) fn progress_timeout(&self, lane: usize, plan: &CommandPlan) -> Span {
        match plan.progress_ms {
            Some(own) => Span::of([Some(own)].into_iter()),
            None => Span::of(self.lanes[lane].was.iter().map(|lane| lane.progress_ms)),
        }
    }

    pub(crate) fn most_grace(&self, lane: usize) -> Duration {
        let graces = self.lanes[lane].was.iter().map(|lane| lane.grace_ms);
        ms(graces.max().unwrap_or_default())
    }

    pub(crate) fn may_be_preempted(&self, lane: usize, plan: &CommandPlan) -> bool {
        plan.preemptible && self.lanes[lane].ever(|lane| lane.preemptible)
    }

    /// The least time between an attempt that failed and the next.
    pub(crate) fn least_retry_delay(&self, lane: usize, plan: &CommandPlan) -> Duration {
        let delays = self.lanes[lane].was.iter().map(|lane| {
            let delay_ms = plan.retry.map_or(lane.delay_ms, |(_, delay_ms)| delay_ms);
            least_of(delay_ms, plan.jitter.unwrap_or(lane.jitter))
        });
        delays.min().unwrap_or_default()
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
            prop_assert!(most <= lane.max(), "{} in lane {}", most, number);
            for key in 0..usize::from(KEYS) {
                let most = book.keys[number][key].most.load(SeqCst);
                let kept = lane.widest(|lane| lane.key_max);
                let kept = kept.is_none_or(|max| most <= max);
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
            prop_assert!(lane.active <= self.lanes[number].max(), "{:?}", lane);
            #[cfg(feature = "distributed")]
            {
                let of_lane = records.iter().filter(|record| record.lane == number);
                let of_lane = of_lane.map(|record| &**record);
                super::urgency::look(&self.lanes[number].is, lane, of_lane)?;
            }
        }
        for lane in 0..LANES {
            let fresh = waiting_since_submission(&records, lane);
            // What comes back finds room in a full lane; then the oldest that is dropped for a new one may be that.
            let of_lane = &self.lanes[lane];
            let most = of_lane.widest(|lane| lane.pending.map(|(max, _)| max));
            let kept = most.is_none_or(|max| fresh <= max);
            prop_assert!(
                kept || of_lane.drops_oldest(),
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

/// How many commands of the lane wait for their first start. Children may go into a full lane.
pub(crate) fn waiting_since_submission(records: &[Arc<Record>], lane: usize) -> usize {
    let fresh = records.iter().filter(|record| {
        let waits = record.handle().is_some_and(|handle| {
            matches!(
                handle.status(),
                CommandStatus::Pending | CommandStatus::Delayed
            )
        });
        let began = record.seen.bodies.load(SeqCst) > 0;
        record.lane == lane && record.is_by_player() && waits && !began
    });
    fresh.count()
}
