//! How commands are asked to stop, and what follows their end.

use super::{After, Model, Phase};
use crate::retry::Jitter;
use crate::scheduler::stop::OVERRUN_GRACE_NS;
use crate::scheduler::{Ending, StopReason, Verdict};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scheduler) enum ModelStopped {
    Gone,
    Left,
    Asked { drop: bool },
    Already,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scheduler) enum ModelReleased {
    Settled,
    Cancelled,
    Requeued,
}

impl Model {
    pub(in crate::scheduler) fn stop(
        &mut self,
        serial: u64,
        reason: StopReason,
        now: u64,
    ) -> ModelStopped {
        let Some(command) = self.get(serial).cloned() else {
            return ModelStopped::Gone;
        };
        match command.phase {
            Phase::Ready | Phase::Delayed | Phase::Expired => {
                self.remove(serial);
                self.touch(command.lane, now);
                ModelStopped::Left
            }
            Phase::Running if command.stop.is_none() => ModelStopped::Asked {
                drop: self.ask(serial, reason, now),
            },
            Phase::Running => {
                if reason == StopReason::Cancel {
                    let command = self.get_mut(serial);
                    command.stop = Some(reason);
                    if command.dropped && command.stop_timer.is_none() {
                        command.stop_timer = Some(now + OVERRUN_GRACE_NS);
                    }
                }
                ModelStopped::Already
            }
            Phase::Concluded if command.after == After::Leave => ModelStopped::Gone,
            Phase::Concluded => {
                self.get_mut(serial).cancelled |= reason == StopReason::Cancel;
                ModelStopped::Already
            }
        }
    }

    /// A running command has its lane's grace to end by itself. Returns whether it has none.
    pub(in crate::scheduler) fn ask(&mut self, serial: u64, reason: StopReason, now: u64) -> bool {
        let lane = self.get(serial).expect("a running command").lane;
        let grace = self.lane(lane).rules.grace_ns;
        if grace == 0 {
            self.drop_body(serial, reason, now);
        } else {
            let command = self.get_mut(serial);
            command.stop = Some(reason);
            let deadline = command.deadline().unwrap_or(u64::MAX);
            command.stop_timer = Some(deadline.min(now + grace));
        }
        grace == 0
    }

    /// The body must be dropped now, and has a short time for that.
    pub(super) fn drop_body(&mut self, serial: u64, reason: StopReason, now: u64) {
        let command = self.get_mut(serial);
        command.stop = command.stop.or(Some(reason));
        command.dropped = true;
        command.stop_timer = Some(now + OVERRUN_GRACE_NS);
    }

    pub(in crate::scheduler) fn is_running(&self, serial: u64, run: u32) -> bool {
        self.get(serial)
            .is_some_and(|command| command.run == run && command.phase == Phase::Running)
    }

    pub(in crate::scheduler) fn beat(&mut self, serial: u64, run: u32, now: u64) -> bool {
        let running = self.is_running(serial, run);
        if running {
            self.get_mut(serial).alive_at = now;
        }
        running
    }

    pub(in crate::scheduler) fn conclude(
        &mut self,
        serial: u64,
        run: u32,
        ending: Ending,
        random: u64,
    ) -> Option<Verdict> {
        if !self.is_running(serial, run) {
            return None;
        }
        let command = self.get(serial).expect("a running command");
        let (attempt, stop) = (command.attempt(), command.stop);
        let policy = &self.lane(command.lane).rules;
        let retry = command.rules.retry.unwrap_or(policy.retry);
        let jitter = command.rules.jitter.unwrap_or(policy.jitter);
        let verdict = match (stop, ending) {
            (_, Ending::Completed) => Verdict::Settle,
            (Some(StopReason::Cancel), _) => Verdict::Cancelled,
            (_, Ending::Unrecoverable) => Verdict::Settle,
            (Some(StopReason::Preempt), Ending::Failed) => Verdict::Preempted,
            (Some(StopReason::Shutdown), Ending::Failed) => Verdict::Withdrawn,
            // The first attempt is no retry.
            (_, Ending::Failed) if attempt <= retry.retries => Verdict::Retry { attempt },
            (_, Ending::Failed) => Verdict::Settle,
        };
        let command = self.get_mut(serial);
        command.phase = Phase::Concluded;
        command.stop = None;
        command.dropped = false;
        command.stop_timer = None;
        command.after = match verdict {
            Verdict::Retry { .. } => {
                After::Retry(shortened(retry.delay_ns(attempt), jitter, random))
            }
            Verdict::Preempted => After::Front,
            _ => After::Leave,
        };
        Some(verdict)
    }

    pub(in crate::scheduler) fn release(&mut self, serial: u64, now: u64) -> ModelReleased {
        let command = self.get(serial).expect("a concluded command").clone();
        assert_eq!(command.phase, Phase::Concluded, "only these are released");
        self.forget_charges(serial, command.run);
        self.end_ties(serial);
        let released = match command.after {
            _ if command.cancelled => {
                self.remove(serial);
                ModelReleased::Cancelled
            }
            After::Leave => {
                self.remove(serial);
                ModelReleased::Settled
            }
            After::Front => {
                self.get_mut(serial).uncounted += 1;
                self.join_front(serial, now);
                ModelReleased::Requeued
            }
            After::Retry(0) => {
                self.join_back(serial, now);
                ModelReleased::Requeued
            }
            After::Retry(delay) => {
                let command = self.get_mut(serial);
                command.phase = Phase::Delayed;
                command.delay_until = now + delay;
                ModelReleased::Requeued
            }
        };
        self.touch(command.lane, now);
        released
    }

    /// Returns whether there was such a run to give up.
    pub(in crate::scheduler) fn abandon(&mut self, serial: u64, run: u32, now: u64) -> bool {
        let found = self
            .get(serial)
            .filter(|command| command.run == run && command.holds_slot());
        let Some(lane) = found.map(|command| command.lane) else {
            return false;
        };
        self.forget_charges(serial, run);
        self.remove(serial);
        self.touch(lane, now);
        true
    }
}

/// What chance leaves of a delay.
fn shortened(delay: u64, jitter: Jitter, random: u64) -> u64 {
    let part = |of: u64| (u128::from(of) * u128::from(random) / (1 << 64)) as u64;
    match jitter {
        Jitter::None => delay,
        Jitter::Full => part(delay),
        Jitter::Equal => delay / 2 + part(delay - delay / 2),
    }
}
