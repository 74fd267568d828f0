//! Each call, made to the scheduler and to the model.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::super::rules::{CommandRules, key_name};
use super::{Checked, Mode, World, lane_key};
use crate::scheduler::model::{ModelDue, ModelReleased, ModelStopped, ModelSubmitted};
use crate::scheduler::{Due, Ending, Released, StopReason, Stopped, Verdict};

impl World {
    pub(super) fn submit(
        &mut self,
        lane: usize,
        serial: u64,
        rules: &CommandRules,
        parent: Option<u64>,
    ) -> Checked {
        let mut terms = rules.terms(self.now);
        if let Some(parent) = parent {
            terms.get_or_insert_default().parent = Some(self.key(parent));
        }
        let submitted = self
            .scheduler
            .submit(lane_key(lane), serial, serial, terms, self.now);
        self.heed();
        let expected = self
            .model
            .submit(serial, lane, rules.clone(), parent, self.now);
        if let Ok(submitted) = &submitted {
            self.keys.insert(serial, submitted.key);
        }
        let answer = submitted.map(|submitted| {
            let evicted = submitted.evicted.map(|(key, job)| (key.serial, job));
            self.left.extend(evicted.map(|(_, job)| job));
            self.tally.evicted += usize::from(evicted.is_some());
            let evicted = evicted.map(|(serial, job)| {
                assert_eq!(serial, job, "the job of another command");
                serial
            });
            ModelSubmitted {
                pressure: submitted.pressure,
                evicted,
            }
        });
        self.tally.refused += usize::from(answer.is_err());
        let answer = answer.map_err(|job| assert_eq!(job, serial, "the job of another command"));
        prop_assert_eq!(answer, expected);
        Ok(())
    }

    /// Asks for one start; returns whether there was one.
    pub(super) fn next(&mut self) -> Result<bool, TestCaseError> {
        let expected = match self.mode {
            Mode::Agree => self.model.choose(self.now),
            Mode::Follow => None,
        };
        let start = self.scheduler.next(self.now);
        if self.mode == Mode::Agree {
            let expected = expected.and_then(|lane| self.model.front(lane, self.now));
            prop_assert_eq!(
                start.map(|start| start.key.serial),
                expected.map(|command| command.serial)
            );
        }
        let Some(start) = start else {
            let lanes = self.model.lane_numbers();
            if self.mode == Mode::Follow
                && lanes
                    .iter()
                    .any(|&lane| self.model.is_eligible(lane, self.now))
            {
                self.missed.push(self.now);
            }
            return Ok(false);
        };
        self.heed();
        self.record_start(start)?;
        Ok(true)
    }

    /// Asks once who must make room; returns whether there was one.
    pub(super) fn preempt(&mut self) -> Result<bool, TestCaseError> {
        let expected = match self.mode {
            Mode::Agree => self.model.preempt(self.now),
            Mode::Follow => None,
        };
        let answer = self.scheduler.preempt(self.now);
        let victim = answer.map(|(key, _)| key.serial);
        if self.mode == Mode::Agree {
            prop_assert_eq!(victim, expected);
        } else {
            self.record_preemption(victim)?;
        }
        let Some((key, drop)) = answer else {
            return Ok(false);
        };
        prop_assert_eq!(key, self.key(key.serial));
        let dropped = self.model.ask(key.serial, StopReason::Preempt, self.now);
        prop_assert_eq!(drop, dropped);
        self.tally.preempted += 1;
        Ok(true)
    }

    pub(super) fn conclude(
        &mut self,
        serial: u64,
        run: u32,
        ending: Ending,
        random: u64,
    ) -> Checked {
        let key = self.key(serial);
        let verdict = self.scheduler.conclude(key, run, ending, random);
        let expected = self.model.conclude(serial, run, ending, random);
        prop_assert_eq!(verdict, expected);
        if let Some(verdict) = verdict {
            self.tally.verdict(verdict);
            let again = self.scheduler.conclude(key, run, Ending::Completed, 0);
            prop_assert_eq!(again, None, "a run was concluded twice");
        }
        Ok(())
    }

    pub(super) fn release(&mut self, serial: u64) -> Checked {
        let released = self.scheduler.release(self.key(serial), self.now);
        self.heed();
        let expected = self.model.release(serial, self.now);
        let (released, job) = match released {
            Released::Left(job) => (ModelReleased::Settled, Some(job)),
            Released::CancelledLate(job) => (ModelReleased::Cancelled, Some(job)),
            Released::Requeued => (ModelReleased::Requeued, None),
        };
        prop_assert_eq!(released, expected);
        prop_assert!(job.is_none_or(|job| job == serial));
        self.tally.cancelled_late += usize::from(released == ModelReleased::Cancelled);
        self.left.extend(job);
        Ok(())
    }

    /// As the engine ends an attempt that nothing comes between: one that has completed, in one call.
    pub(super) fn end_run(
        &mut self,
        serial: u64,
        run: u32,
        ending: Ending,
        random: u64,
    ) -> Checked {
        if ending != Ending::Completed || random.is_multiple_of(4) {
            self.conclude(serial, run, ending, random)?;
            return self.release(serial);
        }
        let key = self.key(serial);
        prop_assert_eq!(self.scheduler.complete(key, run + 1, self.now), None);
        let job = self.scheduler.complete(key, run, self.now);
        prop_assert_eq!(job, Some(serial));
        let again = self.scheduler.complete(key, run, self.now);
        prop_assert_eq!(again, None, "a run was completed twice");
        self.heed();
        let verdict = self.model.conclude(serial, run, ending, random);
        prop_assert_eq!(verdict, Some(Verdict::Settle));
        self.tally.verdict(Verdict::Settle);
        prop_assert_eq!(self.model.release(serial, self.now), ModelReleased::Settled);
        self.left.extend(job);
        Ok(())
    }

    pub(super) fn abandon(&mut self, serial: u64, run: u32) -> Checked {
        let abandoned = self.scheduler.abandon(self.key(serial), run, self.now);
        self.heed();
        let expected = self.model.abandon(serial, run, self.now);
        let job = abandoned.map(|(_, job)| job);
        prop_assert_eq!(job, expected.then_some(serial));
        self.left.extend(job);
        Ok(())
    }

    pub(super) fn stop(&mut self, serial: u64, reason: StopReason) -> Checked {
        let stopped = self.scheduler.stop(self.key(serial), reason, self.now);
        self.heed();
        let expected = self.model.stop(serial, reason, self.now);
        let (stopped, job) = match stopped {
            Stopped::Gone => (ModelStopped::Gone, None),
            Stopped::Left(_, job) => (ModelStopped::Left, Some(job)),
            Stopped::Asked { drop } => (ModelStopped::Asked { drop }, None),
            Stopped::Already => (ModelStopped::Already, None),
        };
        prop_assert_eq!(stopped, expected);
        prop_assert!(job.is_none_or(|job| job == serial));
        self.tally.stopped(stopped);
        self.left.extend(job);
        Ok(())
    }

    pub(super) fn beat(&mut self, serial: u64, run: u32) -> Checked {
        let alive = self.scheduler.beat(self.key(serial), run, self.now);
        prop_assert_eq!(alive, self.model.beat(serial, run, self.now));
        Ok(())
    }

    pub(super) fn pause_lane(&mut self, lane: usize, paused: bool) -> Checked {
        let changed = self.scheduler.pause_lane(lane_key(lane), paused, self.now);
        self.heed();
        prop_assert_eq!(changed, self.model.pause_lane(lane, paused, self.now));
        Ok(())
    }

    pub(super) fn pause_key(&mut self, key: u8, paused: bool) -> Checked {
        let changed = self.scheduler.pause_key(&key_name(key), paused, self.now);
        self.heed();
        prop_assert_eq!(changed, self.model.pause_key(key, paused, self.now));
        Ok(())
    }

    /// The last lane stays.
    pub(super) fn remove_lane(&mut self, lane: usize) -> Checked {
        if self.model.lane_numbers().len() == 1 {
            return Ok(());
        }
        let removed = self.scheduler.remove_lane(lane_key(lane));
        prop_assert_eq!(removed, self.model.remove_lane(lane));
        if removed {
            self.tally.removed_lanes += 1;
            let again = self.scheduler.remove_lane(lane_key(lane));
            prop_assert!(!again, "a lane was removed twice");
        }
        Ok(())
    }

    pub(super) fn relieve(&mut self, lane: usize) -> Checked {
        let relieved = self.scheduler.relieve(lane_key(lane));
        prop_assert_eq!(relieved, self.model.relieve(lane));
        Ok(())
    }

    pub(super) fn tick(&mut self) -> Checked {
        loop {
            let due = self.scheduler.tick(self.now);
            self.heed();
            let expected = self.model.tick(self.now);
            let due = due.map(|due| match due {
                Due::Deadline(key) => ModelDue::Deadline(key.serial),
                Due::Stalled(key) => ModelDue::Stalled(key.serial),
                Due::Drop(key, reason) => ModelDue::Drop(key.serial, reason),
                Due::Overrun(key, run) => ModelDue::Overrun(key.serial, run),
                Due::Expired(key, _, job) => {
                    assert_eq!(key.serial, job, "the job of another command");
                    self.left.push(job);
                    ModelDue::Expired(job)
                }
            });
            prop_assert_eq!(due, expected);
            let Some(due) = due else {
                return Ok(());
            };
            self.tally.due(due);
        }
    }

    pub(super) fn take_waiting(&mut self) -> Checked {
        let taken = self.scheduler.take_waiting(self.now);
        self.heed();
        let expected = self.model.take_waiting(self.now);
        let jobs: Vec<u64> = taken.iter().map(|(_, _, job)| *job).collect();
        prop_assert_eq!(&jobs, &expected);
        self.left.extend(jobs);
        Ok(())
    }
}
