//! How urgent a lane is while its commands wait: the slow model of its boost.

use std::sync::atomic::Ordering::SeqCst;

use a3s_lane::{CommandStatus, LaneSnapshot};
use proptest::prelude::*;
use tokio::time::Instant;

use super::lanes::{BoostPlan, LanePlan};
use super::play::Checked;
use super::record::{Answer, Record, lock};

/// The priority number of a lane whose oldest command has waited for that many microseconds.
fn urgency(priority: u8, boost: &BoostPlan, waited: u64) -> u8 {
    let deadline = boost.deadline_ms * 1_000;
    if waited >= deadline {
        return 0;
    }
    let left = deadline - waited;
    let mut steps = boost.steps();
    steps.retain(|(step, _)| left <= *step);
    let shortest = steps.iter().map(|(step, _)| *step).min();
    let by = steps
        .iter()
        .filter(|(step, _)| Some(*step) == shortest)
        .map(|(_, by)| *by)
        .max();
    priority.saturating_sub(by.unwrap_or_default())
}

/// The lane says that it is as urgent as a wait makes it that is possible: no longer than the longest of a command that
/// may be ready, and no shorter than the longest of one that certainly is.
pub(crate) fn look<'a>(
    plan: &LanePlan,
    lane: &LaneSnapshot,
    records: impl Iterator<Item = &'a Record>,
) -> Checked {
    prop_assert_eq!(lane.priority, plan.priority);
    let Some(boost) = &plan.boost else {
        prop_assert_eq!(lane.effective_priority, plan.priority, "without a boost");
        return Ok(());
    };
    let now = Instant::now();
    let (mut least, mut most) = (None, None);
    for record in records {
        let waits = match &*lock(&record.answer) {
            // A handle may say so when the delay is over.
            Answer::Accepted(handle) => matches!(
                handle.status(),
                CommandStatus::Pending | CommandStatus::Delayed
            ),
            Answer::Plain(Some(receiver)) => receiver.is_empty(),
            // A child whose parent does not know yet that it was let in.
            Answer::None => true,
            _ => false,
        };
        if !waits {
            continue;
        }
        let waited = |since: Instant| (now - since).as_micros() as u64;
        most = most.max(Some(waited(record.entered)));
        // Its turn may depend on its key, its parent or its time to live.
        let plan = &record.plan;
        let is_plain = plan.key.is_none() && plan.ttl_ms.is_none() && plan.is_ready_at_once();
        let is_fresh = record.is_by_player() && record.seen.bodies.load(SeqCst) == 0;
        if is_plain && is_fresh && record.handle().is_some() {
            least = least.max(Some(waited(*lock(&record.accepted))));
        }
    }
    let mut possible = Vec::new();
    if least.is_none() {
        possible.push(plan.priority);
    }
    if let Some(most) = most {
        let least = least.unwrap_or(0);
        let deadline = boost.deadline_ms * 1_000;
        let steps = boost.steps();
        let changes = steps.iter().map(|(left, _)| deadline - left);
        let waits = changes.chain([deadline, least, most]);
        let waits = waits.filter(|wait| (least..=most).contains(wait));
        possible.extend(waits.map(|wait| urgency(plan.priority, boost, wait)));
    }
    prop_assert!(
        possible.contains(&lane.effective_priority),
        "{:?}, not one of {:?}: {:?}",
        lane,
        possible,
        boost
    );
    Ok(())
}
