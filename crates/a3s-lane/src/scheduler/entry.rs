//! A command inside the scheduler.

use super::arena::Arena;
use super::decision::{CommandKey, LaneKey, StopReason};
use super::flow::NONE;
use super::policy::LanePolicy;
use super::terms::Terms;

/// Where a command is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Ready,
    Delayed,
    /// Found too old to start; leaves at the next tick.
    Expired,
    Running,
    /// Asked to stop; its body goes on until the grace period ends.
    Asked,
    /// Its body must be dropped; the slot is taken away when that takes too long.
    Dropped,
    Concluded,
}

/// What `release` does with a concluded command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Leave,
    /// It goes back into its lane, behind the others.
    Retry,
    /// It goes back into its lane, before the others.
    Preempted,
}

/// Kept small: a queue may hold a million. What few commands need is in `terms`.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) job: T,
    pub(super) serial: u64,
    pub(super) submitted_at: u64,
    /// Depending on its state: see [`ready_at`](Self::ready_at), [`started_at`](Self::started_at) and
    /// [`retry_delay`](Self::retry_delay).
    time: u64,
    pub(super) terms: Option<Box<Terms>>,
    /// Neighbours in the lane's queue or in its list of running commands.
    pub(super) next: u32,
    pub(super) prev: u32,
    pub(super) lane: LaneKey,
    /// How often it was started.
    pub(super) run: u32,
    pub(super) state: State,
    pub(super) stop: Option<StopReason>,
    pub(super) after: After,
}

impl<T> Entry<T> {
    #[inline]
    pub(super) fn new(
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

    pub(super) fn key(&self, place: u32) -> CommandKey {
        CommandKey {
            place,
            serial: self.serial,
        }
    }

    pub(super) fn holds_slot(&self) -> bool {
        !matches!(self.state, State::Ready | State::Delayed | State::Expired)
    }

    /// Whether this run is neither concluded nor over.
    pub(super) fn is_running(&self, key: CommandKey, run: u32) -> bool {
        self.serial == key.serial
            && self.run == run
            && matches!(self.state, State::Running | State::Asked | State::Dropped)
    }

    /// It is ready from now on.
    #[inline]
    pub(super) fn become_ready(&mut self, now: u64) {
        self.state = State::Ready;
        self.time = now;
    }

    /// When a ready command became ready.
    #[inline]
    pub(super) fn ready_at(&self) -> u64 {
        debug_assert!(self.state == State::Ready, "it is ready");
        self.time
    }

    /// When its present run started.
    #[inline]
    pub(super) fn started_at(&self) -> u64 {
        debug_assert!(
            self.holds_slot() && self.state != State::Concluded,
            "it runs"
        );
        self.time
    }

    /// A run begins in a lane with this policy. Returns how long it may take, and how long it may give no sign of life.
    #[inline]
    pub(super) fn begin_run(
        &mut self,
        policy: &LanePolicy,
        now: u64,
    ) -> (Option<u64>, Option<u64>) {
        self.state = State::Running;
        self.run = self.run.saturating_add(1);
        self.time = now;
        if policy.progress_ns.is_some() {
            self.terms.get_or_insert_default();
        }
        let Some(terms) = &mut self.terms else {
            return (policy.timeout_ns, None);
        };
        terms.expires_at = None;
        terms.notes.timeout_ns = None;
        terms.notes.progress_ns = terms.progress_ns.or(policy.progress_ns);
        terms.notes.beat = now;
        let timeout_ns = terms.timeout_ns.unwrap_or(policy.timeout_ns);
        (timeout_ns, terms.notes.progress_ns)
    }

    /// The time limit of the present run, in a lane with this one.
    pub(super) fn timeout_ns(&self, of_lane: Option<u64>) -> Option<u64> {
        let own = self.terms.as_ref();
        let own = own.and_then(|terms| terms.notes.timeout_ns.or(terms.timeout_ns));
        own.unwrap_or(of_lane)
    }

    /// When that time limit ends.
    pub(super) fn until(&self, of_lane: Option<u64>) -> u64 {
        let limit = self.timeout_ns(of_lane);
        limit.map_or(u64::MAX, |limit| self.started_at().saturating_add(limit))
    }

    /// Runs that count, the current one and those before a restart included.
    pub(super) fn attempt(&self) -> u32 {
        let terms = self.terms.as_deref();
        terms.map_or(self.run, |terms| {
            (self.run - terms.notes.uncounted).saturating_add(terms.earlier)
        })
    }

    pub(super) fn parent(&self) -> Option<CommandKey> {
        self.terms.as_ref()?.parent
    }

    pub(super) fn priority(&self) -> i32 {
        self.terms.as_ref().map_or(0, |terms| terms.priority)
    }

    /// The number of its fairness key in its lane; 0 for none.
    pub(super) fn key_number(&self) -> u32 {
        self.terms
            .as_ref()
            .map_or(0, |terms| terms.notes.key_number)
    }

    /// Since when it waits, as far as its age matters: a delay that it asked for does not count, that of a retry does.
    pub(super) fn waits_since(&self) -> u64 {
        let delay_until = self.terms.as_ref().map_or(0, |terms| terms.delay_until);
        self.submitted_at.max(delay_until)
    }

    /// How long the retry of a concluded command waits; 0 for one that is not retried.
    pub(super) fn retry_delay(&self) -> u64 {
        match (self.state, self.after) {
            (State::Concluded, After::Retry) => self.time,
            _ => 0,
        }
    }

    /// It is retried after this delay.
    pub(super) fn set_retry_delay(&mut self, delay: u64) {
        self.after = After::Retry;
        self.time = delay;
    }

    /// Whether a ready command was preempted when it ran last.
    pub(super) fn was_preempted(&self) -> bool {
        self.after == After::Preempted
    }

    /// Whether it stands before another one that is ready, of the same priority: preempted ones do, the last of them first;
    /// the others stand in the order in which they became ready.
    pub(super) fn came_before(&self, other: &Self) -> bool {
        // A retry joins behind those who come at the same time.
        let joined = |entry: &Self| (entry.time, entry.after == After::Retry, entry.serial);
        match (self.was_preempted(), other.was_preempted()) {
            (true, true) => other.time <= self.time,
            (false, false) => joined(self) < joined(other),
            (before, _) => before,
        }
    }

    pub(super) fn expires_at(&self) -> Option<u64> {
        self.terms.as_ref().and_then(|terms| terms.expires_at)
    }

    pub(super) fn is_expired(&self, now: u64) -> bool {
        self.expires_at().is_some_and(|at| at <= now)
    }
}

impl<T> Arena<Entry<T>> {
    /// The entry of a command that is not gone.
    #[inline]
    pub(super) fn alive(&self, key: CommandKey) -> Option<&Entry<T>> {
        let entry = self.get(key.place)?;
        (entry.serial == key.serial).then_some(entry)
    }

    #[inline]
    pub(super) fn alive_mut(&mut self, key: CommandKey) -> Option<&mut Entry<T>> {
        let entry = self.get_mut(key.place)?;
        (entry.serial == key.serial).then_some(entry)
    }

    /// The entry of a command while this run of it is neither concluded nor over.
    #[inline]
    pub(super) fn running_mut(&mut self, key: CommandKey, run: u32) -> Option<&mut Entry<T>> {
        let entry = self.get_mut(key.place)?;
        entry.is_running(key, run).then_some(entry)
    }
}
