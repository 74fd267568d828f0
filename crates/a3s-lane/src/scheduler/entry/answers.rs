//! A new entry, and what it says of itself and of its terms.

use super::{After, Entry, State, Terms};
use crate::scheduler::decision::{CommandKey, LaneKey};
use crate::scheduler::lane::{LanePolicy, NONE, nanos};

impl<T> Entry<T> {
    #[inline]
    pub(in crate::scheduler) fn new(
        job: T,
        serial: u64,
        lane: LaneKey,
        terms: Option<Box<Terms>>,
        now: u64,
    ) -> Self {
        Self {
            job,
            serial,
            submitted_at: now,
            time: now,
            terms,
            next: NONE,
            prev: NONE,
            lane,
            run: 0,
            state: State::Ready,
            stop: None,
            after: After::Leave,
        }
    }

    pub(in crate::scheduler) fn key(&self, place: u32) -> CommandKey {
        CommandKey {
            place,
            serial: self.serial,
        }
    }

    #[inline]
    pub(in crate::scheduler) fn ready_at(&self) -> u64 {
        debug_assert!(self.state == State::Ready, "it is ready");
        self.time
    }

    #[inline]
    pub(in crate::scheduler) fn started_at(&self) -> u64 {
        debug_assert!(
            self.holds_slot() && self.state != State::Concluded,
            "it runs"
        );
        self.time
    }

    /// How long it waits for its next attempt after this one has failed; `None` when there is none.
    pub(in crate::scheduler) fn retries_after(
        &self,
        policy: &LanePolicy,
        random: u64,
    ) -> Option<u64> {
        let attempt = self.attempt();
        let retries = attempt - 1;
        let terms = self.terms.as_deref();
        let retry = terms.and_then(|terms| terms.retry.as_ref());
        let retry = retry.unwrap_or(&policy.retry);
        if !retry.should_retry(retries) {
            return None;
        }
        let jitter = terms.and_then(|terms| terms.jitter);
        let jitter = jitter.unwrap_or(policy.jitter);
        Some(jitter.apply(nanos(retry.delay_for_attempt(attempt)), random))
    }

    /// Runs that count, the current one and those before a restart included.
    pub(in crate::scheduler) fn attempt(&self) -> u32 {
        let terms = self.terms.as_deref();
        terms.map_or(self.run, |terms| {
            (self.run - terms.notes.uncounted).saturating_add(terms.earlier)
        })
    }

    /// How long the retry of a concluded command waits; 0 for one that is not retried.
    pub(in crate::scheduler) fn retry_delay(&self) -> u64 {
        match (self.state, self.after) {
            (State::Concluded, After::Retry) => self.time,
            _ => 0,
        }
    }

    pub(in crate::scheduler) fn parent(&self) -> Option<CommandKey> {
        self.terms.as_ref()?.parent
    }

    pub(in crate::scheduler) fn priority(&self) -> i32 {
        self.terms.as_ref().map_or(0, |terms| terms.priority)
    }

    /// The number of its fairness key in its lane; 0 for none.
    pub(in crate::scheduler) fn key_number(&self) -> u32 {
        self.terms
            .as_ref()
            .map_or(0, |terms| terms.notes.key_number)
    }

    /// Since when it waits, as far as its age matters: a delay that it asked for does not count, that of a retry
    /// does, and so do its earlier runs.
    pub(in crate::scheduler) fn waits_since(&self) -> u64 {
        let delay_until = self.terms.as_ref().map_or(0, |terms| terms.delay_until);
        self.submitted_at.max(delay_until)
    }

    /// The time limit of the present run, in a lane with this one.
    pub(in crate::scheduler) fn timeout_ns(&self, of_lane: Option<u64>) -> Option<u64> {
        let own = self.terms.as_ref();
        let own = own.and_then(|terms| terms.notes.timeout_ns.or(terms.timeout_ns));
        own.unwrap_or(of_lane)
    }

    /// When it meets the time limit of the present run.
    pub(in crate::scheduler) fn times_out_at(&self, of_lane: Option<u64>) -> u64 {
        let limit = self.timeout_ns(of_lane);
        limit.map_or(u64::MAX, |limit| self.started_at().saturating_add(limit))
    }

    /// When it must have shown a sign of life.
    pub(in crate::scheduler) fn stalls_at(&self) -> u64 {
        let notes = self.terms.as_ref().map(|terms| &terms.notes);
        let stall = notes.and_then(|notes| Some(notes.beat.saturating_add(notes.progress_ns?)));
        stall.unwrap_or(u64::MAX)
    }

    pub(in crate::scheduler) fn expires_at(&self) -> Option<u64> {
        self.terms.as_ref().and_then(|terms| terms.expires_at)
    }

    pub(in crate::scheduler) fn is_expired(&self, now: u64) -> bool {
        self.expires_at().is_some_and(|at| at <= now)
    }
}
