//! Which lanes are under pressure, by what they say.

use a3s_lane::EventStream;
use a3s_lane::event::{EventPayload, events};
use futures::FutureExt;
use proptest::prelude::*;

use super::limits::{Limits, waiting_since_submission};
use super::plan::LANES;
use super::play::Checked;
use super::record::Book;

/// Follows the events of a queue on one thread.
pub(crate) struct Pressure {
    stream: EventStream,
    pressed: [bool; LANES],
}

impl Pressure {
    pub(crate) fn new(stream: EventStream) -> Self {
        Self {
            stream,
            pressed: [false; LANES],
        }
    }

    /// Reads what was said until now: pressure and its end take turns, and only a lane with a threshold says so.
    fn catch_up(&mut self, limits: &Limits) -> Checked {
        loop {
            // What is there is read, however much that is.
            let event = tokio::task::unconstrained(self.stream.recv());
            let Some(Some(event)) = event.now_or_never() else {
                return Ok(());
            };
            let now = match event.key.as_str() {
                events::QUEUE_LANE_PRESSURE => true,
                events::QUEUE_LANE_IDLE => false,
                _ => continue,
            };
            let EventPayload::Map(payload) = &event.payload else {
                continue;
            };
            let lane: usize = payload["lane_id"].as_str().unwrap().parse().unwrap();
            prop_assert!(self.pressed[lane] != now, "lane {} twice: {}", lane, now);
            let has_threshold = limits.lanes[lane].ever(|lane| lane.pressure.is_some());
            prop_assert!(has_threshold, "lane {} has no threshold", lane);
            self.pressed[lane] = now;
        }
    }

    /// A lane in which as many wait since their submission as it has a threshold is under pressure.
    pub(crate) fn look(
        &mut self,
        limits: &Limits,
        book: &Book,
        pending: [usize; LANES],
    ) -> Checked {
        self.catch_up(limits)?;
        let records = book.records();
        for (number, lane) in limits.lanes.iter().enumerate() {
            let fresh = waiting_since_submission(&records, number);
            let reached = !lane.ever(|lane| lane.pressure.is_none_or(|least| least > fresh));
            prop_assert!(
                self.pressed[number] || !reached,
                "lane {} has {} waiting",
                number,
                fresh
            );
            prop_assert!(
                pending[number] > 0 || !self.pressed[number],
                "lane {} is under pressure without a command",
                number
            );
        }
        Ok(())
    }
}
