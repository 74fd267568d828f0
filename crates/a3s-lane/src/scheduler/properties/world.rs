//! The scheduler and the model side by side.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError};

use super::operation::{Jump, Op};
use super::rules::{LaneRules, Rate};
use crate::scheduler::model::{Model, ModelDue, Phase};
use crate::scheduler::{CommandKey, Due, Ending, LaneKey, Released, Scheduler, Start};

pub(super) type Checked = Result<(), TestCaseError>;

/// What the model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// It decides by itself, and each of the scheduler's answers must be its own.
    Agree,
    /// It keeps the books of what the scheduler decided.
    Follow,
}

/// A start that the scheduler decided on, and what the books said just before.
#[derive(Debug, Clone)]
pub(super) struct Started {
    pub(super) at: u64,
    pub(super) serial: u64,
    pub(super) lane: usize,
    pub(super) attempt: u32,
    /// The lane's effective priority, and the number of its last start.
    pub(super) rank: (u8, u64),
    /// The same of the best eligible lane.
    pub(super) best: Option<(u8, u64)>,
    /// The command that should go first in this lane.
    pub(super) front: Option<u64>,
    pub(super) active_after: usize,
    pub(super) max: usize,
    pub(super) rate: Option<Rate>,
    /// Which of the lane's successive policies.
    pub(super) policy: usize,
}

pub(super) struct World {
    /// Each command's job is its serial.
    pub(super) scheduler: Scheduler<u64>,
    pub(super) model: Model,
    pub(super) now: u64,
    mode: Mode,
    keys: Vec<CommandKey>,
    policies: usize,
    policy_of: Vec<usize>,
    pub(super) started: Vec<Started>,
    /// Commands that left, once for each time they did.
    pub(super) left: Vec<u64>,
    /// Times when `next` said that nothing starts while a lane was eligible.
    pub(super) missed: Vec<u64>,
    /// Nothing has happened since everything due was handled and everything eligible was started.
    pub(super) at_rest: bool,
    /// The most commands that were in the scheduler at once.
    pub(super) peak: usize,
}

/// How many cases to run. The environment can ask for more.
pub(super) fn cases(cases: u32) -> Config {
    let more = Config::default().cases.max(256) / 256;
    Config::with_cases(cases.saturating_mul(more))
}

/// Applies `ops` to a fresh world and calls `check` after each.
pub(super) fn run(
    mode: Mode,
    lanes: Vec<LaneRules>,
    ops: &[Op],
    check: impl Fn(&World) -> Checked,
) -> Result<World, TestCaseError> {
    let mut world = World::new(mode, lanes);
    for op in ops {
        world.apply(op)?;
        check(&world)?;
    }
    Ok(world)
}

impl World {
    pub(super) fn new(mode: Mode, lanes: Vec<LaneRules>) -> Self {
        let mut world = Self {
            scheduler: Scheduler::new(),
            model: Model::default(),
            now: 1_000,
            mode,
            keys: Vec::new(),
            policies: 0,
            policy_of: Vec::new(),
            started: Vec::new(),
            left: Vec::new(),
            missed: Vec::new(),
            at_rest: false,
            peak: 0,
        };
        for rules in lanes {
            world.add_lane(rules);
        }
        world
    }

    pub(super) fn submitted(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn lane_keys(&self) -> impl Iterator<Item = (usize, LaneKey)> + use<> {
        (0..self.model.lanes.len()).map(|lane| (lane, LaneKey(lane as u32)))
    }

    pub(super) fn apply(&mut self, op: &Op) -> Checked {
        self.at_rest = false;
        match op.clone() {
            Op::Submit { lane, count } => {
                for _ in 0..count {
                    self.submit(self.lane(lane))?;
                }
            }
            Op::Next(count) => {
                // The books know the rules, not what was refused before: with them each question comes after a tick.
                if self.mode == Mode::Follow {
                    self.tick()?;
                }
                for _ in 0..count {
                    self.next()?;
                }
            }
            Op::Settle => self.settle()?,
            Op::Conclude {
                pick,
                ending,
                release,
            } => {
                if let Some((serial, attempt)) = self.pick(pick, &[Phase::Running, Phase::Overdue])
                {
                    self.conclude(serial, attempt, ending)?;
                    if release {
                        self.release(serial)?;
                    }
                }
            }
            Op::Release { pick } => {
                if let Some((serial, _)) = self.pick(pick, &[Phase::Concluded]) {
                    self.release(serial)?;
                }
            }
            Op::ConcludeStale { pick, attempt } => {
                if let Some(serial) = self.pick_any(pick) {
                    self.conclude(serial, attempt, Ending::Failed)?;
                }
            }
            Op::Abandon { pick, concluded } => {
                let phases: &[Phase] = if concluded {
                    &[Phase::Concluded]
                } else {
                    &[Phase::Running, Phase::Overdue]
                };
                if let Some((serial, attempt)) = self.pick(pick, phases) {
                    self.abandon(serial, attempt)?;
                }
            }
            Op::AbandonStale { pick, attempt } => {
                if let Some(serial) = self.pick_any(pick) {
                    self.abandon(serial, attempt)?;
                }
            }
            Op::Tick => self.tick()?,
            Op::Advance(jump) => self.advance(jump),
            Op::SetPolicy { lane, rules } => self.set_policy(self.lane(lane), rules),
            Op::AddLane(rules) if self.model.lanes.len() < 6 => self.add_lane(rules),
            Op::AddLane(_) => {}
            Op::Open => {
                self.scheduler.open();
                self.model.open = true;
            }
            Op::TakeWaiting => self.take_waiting()?,
        }
        self.peak = self.peak.max(self.model.commands.len());
        if self.mode == Mode::Agree {
            self.compare()?;
        }
        Ok(())
    }

    /// Runs everything to its end.
    pub(super) fn finish(&mut self) -> Checked {
        self.apply(&Op::Open)?;
        for _ in 0..10_000 {
            self.apply(&Op::Settle)?;
            let holding: Vec<(u64, u32, Phase)> = self
                .model
                .commands
                .iter()
                .filter(|command| command.holds_slot())
                .map(|command| (command.serial, command.attempt, command.phase))
                .collect();
            for &(serial, attempt, phase) in &holding {
                if phase != Phase::Concluded {
                    self.conclude(serial, attempt, Ending::Failed)?;
                }
                self.release(serial)?;
            }
            if self.scheduler.pending() + self.scheduler.active() == 0 {
                return Ok(());
            }
            if holding.is_empty() {
                let wake = self.scheduler.next_wake();
                prop_assert!(
                    wake.is_some(),
                    "work is left and nothing would ever start it"
                );
                self.now = self.now.max(wake.unwrap_or_default());
            }
        }
        prop_assert!(false, "the work never ends");
        Ok(())
    }

    fn lane(&self, pick: u8) -> usize {
        usize::from(pick) % self.model.lanes.len()
    }

    fn pick(&self, pick: u8, phases: &[Phase]) -> Option<(u64, u32)> {
        let found: Vec<_> = self
            .model
            .commands
            .iter()
            .filter(|command| phases.contains(&command.phase))
            .map(|command| (command.serial, command.attempt))
            .collect();
        (!found.is_empty()).then(|| found[usize::from(pick) % found.len()])
    }

    /// Any command ever submitted.
    fn pick_any(&self, pick: u8) -> Option<u64> {
        (!self.keys.is_empty()).then(|| self.keys[usize::from(pick) % self.keys.len()].serial)
    }

    pub(super) fn key(&self, serial: u64) -> CommandKey {
        self.keys[serial as usize - 1]
    }

    fn add_lane(&mut self, rules: LaneRules) {
        let key = self.scheduler.add_lane(rules.policy(self.now));
        assert_eq!(key.index(), self.model.lanes.len());
        self.model.add_lane(rules, self.now);
        self.policy_of.push(self.policies);
        self.policies += 1;
    }

    fn set_policy(&mut self, lane: usize, rules: LaneRules) {
        self.scheduler
            .set_policy(LaneKey(lane as u32), rules.policy(self.now), self.now);
        self.model.set_policy(lane, rules, self.now);
        self.policy_of[lane] = self.policies;
        self.policies += 1;
    }

    fn submit(&mut self, lane: usize) -> Checked {
        let serial = self.scheduler.reserve();
        let submitted = self
            .scheduler
            .submit(LaneKey(lane as u32), serial, serial, self.now);
        self.keys.push(submitted.key);
        let pressure = self.model.submit(serial, lane, self.now);
        if self.mode == Mode::Agree {
            prop_assert_eq!(submitted.pressure, pressure);
        }
        Ok(())
    }

    /// Asks for one start; returns whether there was one.
    fn next(&mut self) -> Result<bool, TestCaseError> {
        let chosen = match self.mode {
            Mode::Agree => self.model.choose(self.now),
            Mode::Follow => None,
        };
        let start = self.scheduler.next(self.now);
        if self.mode == Mode::Agree {
            let expected = chosen
                .and_then(|lane| self.model.front(lane))
                .map(|command| command.serial);
            prop_assert_eq!(start.map(|start| start.key.serial), expected);
        }
        let Some(start) = start else {
            if (0..self.model.lanes.len()).any(|lane| self.model.is_eligible(lane, self.now)) {
                self.missed.push(self.now);
            }
            return Ok(false);
        };
        self.record(start)?;
        Ok(true)
    }

    fn record(&mut self, start: Start) -> Checked {
        let (serial, lane) = (start.key.serial, start.lane.index());
        prop_assert_eq!(start.key, self.key(serial));
        let known = self.model.get(serial).cloned();
        prop_assert!(
            known
                .as_ref()
                .is_some_and(|command| command.phase == Phase::Ready && command.lane == lane),
            "command {} was started in lane {} where it does not wait",
            serial,
            lane
        );
        let rank = |lane: usize| {
            (
                self.model.effective_priority(lane, self.now),
                self.model.lanes[lane].last_served,
            )
        };
        let eligible =
            (0..self.model.lanes.len()).filter(|&lane| self.model.is_eligible(lane, self.now));
        let books = Started {
            at: self.now,
            serial,
            lane,
            attempt: start.attempt,
            rank: rank(lane),
            best: eligible.map(rank).min(),
            front: self.model.front(lane).map(|command| command.serial),
            active_after: self.model.active(lane) + 1,
            max: self.model.lanes[lane].rules.max(),
            rate: self.model.lanes[lane].rules.rate,
            policy: self.policy_of[lane],
        };
        self.started.push(books);
        let relieved = self.model.start(serial, self.now);
        if self.mode == Mode::Agree {
            let command = self.model.get(serial);
            prop_assert_eq!(Some(start.attempt), command.map(|command| command.attempt));
            prop_assert_eq!(
                Some(start.wait_ns),
                known.map(|command| self.now - command.ready_at)
            );
            prop_assert_eq!(start.timeout_ns, self.model.lanes[lane].rules.timeout_ns);
            prop_assert_eq!(start.relieved, relieved);
        }
        Ok(())
    }

    fn conclude(&mut self, serial: u64, attempt: u32, ending: Ending) -> Checked {
        let verdict = self.scheduler.conclude(self.key(serial), attempt, ending);
        let expected = self.model.conclude(serial, attempt, ending);
        prop_assert_eq!(verdict, expected);
        if verdict.is_some() {
            let again = self
                .scheduler
                .conclude(self.key(serial), attempt, Ending::Completed);
            prop_assert_eq!(again, None, "an attempt was concluded twice");
        }
        Ok(())
    }

    fn release(&mut self, serial: u64) -> Checked {
        let released = self.scheduler.release(self.key(serial), self.now);
        let settled = self.model.release(serial, self.now);
        match released {
            Released::Settled(job) => {
                prop_assert_eq!(job, serial);
                prop_assert!(settled, "a command that retries left");
                self.left.push(serial);
            }
            Released::Requeued => prop_assert!(!settled, "a settled command was queued again"),
        }
        Ok(())
    }

    fn abandon(&mut self, serial: u64, attempt: u32) -> Checked {
        let job = self.scheduler.abandon(self.key(serial), attempt, self.now);
        let expected = self.model.abandon(serial, attempt);
        prop_assert_eq!(job.map(|(_, job)| job), expected.then_some(serial));
        self.left.extend(job.map(|(_, job)| job));
        Ok(())
    }

    fn tick(&mut self) -> Checked {
        loop {
            let due = self.scheduler.tick(self.now);
            let expected = self.model.tick(self.now);
            let due = due.map(|due| match due {
                Due::Deadline(key) => ModelDue::Deadline(key.serial),
                Due::Overrun(key, attempt) => ModelDue::Overrun(key.serial, attempt),
            });
            prop_assert_eq!(due, expected);
            if due.is_none() {
                return Ok(());
            }
        }
    }

    fn settle(&mut self) -> Checked {
        self.tick()?;
        while self.next()? {}
        self.at_rest = true;
        Ok(())
    }

    fn advance(&mut self, jump: Jump) {
        let to = match jump {
            Jump::Ns(ns) => self.now + ns,
            Jump::Wake(by) => match self.scheduler.next_wake() {
                Some(wake) => wake.saturating_add_signed(by.into()),
                None => self.now,
            },
        };
        self.now = self.now.max(to);
    }

    fn take_waiting(&mut self) -> Checked {
        let expected = self.model.take_waiting();
        let taken = self.scheduler.take_waiting(self.now);
        let jobs: Vec<u64> = taken.iter().map(|(_, _, job)| *job).collect();
        prop_assert_eq!(&jobs, &expected);
        self.left.extend(jobs);
        Ok(())
    }
}
