//! The scheduler and the model side by side.

mod calls;
mod finish;
mod limiters;
mod nesting;
mod record;
mod tally;

use std::collections::BTreeMap;

use proptest::test_runner::TestCaseError;

use super::operation::{Jump, Op};
use super::rules::{LaneRules, Setup};
use crate::scheduler::model::{Command, Model, Phase};
use crate::scheduler::{CommandKey, Ending, LaneKey, Scheduler};
use crate::seeds::count_operation;

pub(super) use record::{Preempted, Started};
pub(super) use tally::Tally;

pub(super) type Checked = Result<(), TestCaseError>;

/// What the model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// It decides by itself, and each of the scheduler's answers must be its own.
    Agree,
    /// It keeps the books of what the scheduler decided.
    Follow,
}

pub(super) struct World {
    /// Each command's job is its serial.
    pub(super) scheduler: Scheduler<u64>,
    pub(super) model: Model,
    pub(super) now: u64,
    mode: Mode,
    /// Every command that was accepted, by its serial.
    keys: BTreeMap<u64, CommandKey>,
    #[cfg(feature = "distributed")]
    limiters: Vec<crate::scheduler::LimiterKey>,
    /// The number of each lane's policy, and of its coming into being, among all of these.
    policies: Vec<usize>,
    incarnations: Vec<usize>,
    numbers: usize,
    pub(super) started: Vec<Started>,
    pub(super) preempted: Vec<Preempted>,
    /// Commands that left, once for each time they did.
    pub(super) left: Vec<u64>,
    /// Times when `next` said that nothing starts while a lane was eligible.
    pub(super) missed: Vec<u64>,
    /// Times when `preempt` asked nobody, nobody was about to stop, and a more urgent lane waited for nothing but a slot
    /// that it could have got.
    pub(super) unhelped: Vec<u64>,
    /// Nothing has happened since everything due was handled and everything eligible was started.
    pub(super) at_rest: bool,
    /// The minimums fit into the total, and free slots were there for all of them when limits were set last.
    pub(super) minimums_fit: bool,
    /// The most commands that were in the scheduler at once.
    pub(super) peak: usize,
    pub(super) tally: Tally,
    /// Each operation takes a nanosecond, and what is due is handled at its time: see `pass_to`.
    pub(super) nests: bool,
}

/// Applies `ops` to a fresh world and calls `check` after each.
pub(super) fn run(
    mode: Mode,
    setup: Setup,
    ops: &[Op],
    check: impl Fn(&World) -> Checked,
) -> Result<World, TestCaseError> {
    let mut world = World::new(mode, setup);
    for op in ops {
        count_operation();
        world.apply(op)?;
        check(&world)?;
    }
    Ok(world)
}

impl World {
    pub(super) fn new(mode: Mode, setup: Setup) -> Self {
        let mut world = Self {
            scheduler: Scheduler::new(false),
            model: Model::default(),
            now: 1_000,
            mode,
            keys: BTreeMap::new(),
            #[cfg(feature = "distributed")]
            limiters: Vec::new(),
            policies: Vec::new(),
            incarnations: Vec::new(),
            numbers: 0,
            started: Vec::new(),
            preempted: Vec::new(),
            left: Vec::new(),
            missed: Vec::new(),
            unhelped: Vec::new(),
            at_rest: false,
            minimums_fit: false,
            peak: 0,
            tally: Tally::default(),
            nests: false,
        };
        for limiter in setup.limiters {
            world.add_limiter(limiter);
        }
        for rules in setup.lanes {
            world.add_lane(rules);
        }
        world.set_total(setup.total);
        world.look_at_minimums();
        world
    }

    /// The serials of all commands that were accepted, in order.
    pub(super) fn accepted(&self) -> impl Iterator<Item = u64> + '_ {
        self.keys.keys().copied()
    }

    pub(super) fn lane_keys(&self) -> Vec<(usize, LaneKey)> {
        let lanes = self.model.lane_numbers().into_iter();
        lanes.map(|lane| (lane, lane_key(lane))).collect()
    }

    pub(super) fn apply(&mut self, op: &Op) -> Checked {
        self.at_rest = false;
        self.tally.operations += 1;
        if self.nests {
            self.pass_to(self.now + 1)?;
        }
        match op.clone() {
            Op::Submit {
                lane,
                count,
                rules,
                backwards,
            } => {
                let lane = self.lane(lane);
                let mut serials: Vec<u64> =
                    (0..count).map(|_| self.scheduler.draw_serial()).collect();
                if backwards {
                    serials.reverse();
                }
                for serial in serials {
                    self.submit(lane, serial, &rules, None)?;
                }
            }
            Op::Spawn {
                pick,
                lane,
                rules,
                waits,
            } => self.spawn(pick, self.lane(lane), &rules, waits)?,
            Op::Await { pick, any, run } => self.await_one(pick, any, run),
            Op::Leave { pick, any, run } => self.leave_one(pick, any, run),
            Op::EndLeaf { pick, ending } => self.end_leaf(pick, ending)?,
            Op::Next(count) => {
                self.prepare()?;
                for _ in 0..count {
                    self.next()?;
                }
            }
            Op::Preempt(count) => {
                self.prepare()?;
                while self.next()? {}
                for _ in 0..count {
                    self.preempt()?;
                }
            }
            Op::Settle => self.settle()?,
            Op::Conclude {
                pick,
                count,
                ending,
                random,
                release,
            } => {
                for _ in 0..count {
                    let Some((serial, run)) = self.pick(pick, Phase::Running) else {
                        break;
                    };
                    if release {
                        self.end_run(serial, run, ending, random)?;
                    } else {
                        self.conclude(serial, run, ending, random)?;
                    }
                }
            }
            Op::Work {
                pick,
                count,
                ending,
                random,
                ns,
            } => {
                for round in 0..count {
                    self.settle()?;
                    let pick = pick.wrapping_add(round);
                    if let Some((serial, run)) = self.pick(pick, Phase::Running) {
                        self.end_run(serial, run, ending, random)?;
                    }
                    self.now += ns;
                }
                self.at_rest = false;
            }
            Op::Release { pick } => {
                if let Some((serial, _)) = self.pick(pick, Phase::Concluded) {
                    self.release(serial)?;
                }
            }
            Op::ConcludeStale { pick, run } => {
                if let Some(serial) = self.pick_any(pick) {
                    self.conclude(serial, run, Ending::Failed, 0)?;
                }
            }
            Op::Abandon { pick, concluded } => {
                if let Some((serial, run)) = self.pick(pick, holding(concluded)) {
                    self.abandon(serial, run)?;
                }
            }
            Op::AbandonStale { pick, run } => {
                if let Some(serial) = self.pick_any(pick) {
                    self.abandon(serial, run)?;
                }
            }
            Op::Stop { pick, reason } => {
                if let Some(serial) = self.pick_any(pick) {
                    self.stop(serial, reason)?;
                }
            }
            Op::StopHolding {
                pick,
                reason,
                concluded,
            } => {
                if let Some((serial, _)) = self.pick(pick, holding(concluded)) {
                    self.stop(serial, reason)?;
                }
            }
            Op::Beat { pick } => {
                if let Some((serial, run)) = self.pick(pick, Phase::Running) {
                    self.beat(serial, run)?;
                }
            }
            Op::BeatStale { pick, run } => {
                if let Some(serial) = self.pick_any(pick) {
                    self.beat(serial, run)?;
                }
            }
            Op::SettleCost { pick, actual } => {
                if let Some((serial, run)) = self.pick_charged(pick) {
                    self.settle_cost(serial, run, actual)?;
                }
            }
            Op::SettleCostStale { pick, run } => {
                if let Some(serial) = self.pick_any(pick) {
                    self.settle_cost(serial, run, 1)?;
                }
            }
            Op::Tick => self.tick()?,
            Op::Advance(jump) => self.advance(jump)?,
            Op::PauseLane { lane, paused } => self.pause_lane(self.lane(lane), paused)?,
            Op::PauseKey { key, paused } => self.pause_key(key, paused)?,
            Op::SetTotal(total) => self.set_total(total),
            Op::SetPolicy { lane, rules } => self.set_policy(self.lane(lane), rules),
            Op::SetLimiter { limiter, rules } => self.set_limiter(limiter, rules),
            Op::AddLane(rules) if self.model.lane_numbers().len() < 6 => self.add_lane(rules),
            Op::AddLane(_) => {}
            Op::RemoveLane { lane } => self.remove_lane(self.lane_to_remove(lane))?,
            Op::Relieve { lane } => self.relieve(self.lane(lane))?,
            Op::Open => self.set_open(true),
            Op::Close => self.set_open(false),
            Op::TakeWaiting => self.take_waiting()?,
        }
        self.peak = self.peak.max(self.model.commands.len());
        self.tally.look(&self.model);
        if matches!(
            op,
            Op::SetTotal(_) | Op::SetPolicy { .. } | Op::AddLane(_) | Op::RemoveLane { .. }
        ) {
            self.look_at_minimums();
        }
        if self.mode == Mode::Agree {
            self.compare()?;
        }
        Ok(())
    }

    /// The books know the rules, not what was refused before: with them each question comes after a tick.
    fn prepare(&mut self) -> Checked {
        if self.mode == Mode::Follow {
            self.tick()?;
        }
        Ok(())
    }

    fn settle(&mut self) -> Checked {
        self.tick()?;
        while self.next()? {}
        while self.preempt()? {}
        self.at_rest = true;
        Ok(())
    }

    fn advance(&mut self, jump: Jump) -> Checked {
        let to = match jump {
            Jump::Ns(ns) => self.now + ns,
            Jump::Wake(by) => match self.scheduler.next_wake() {
                Some(wake) => wake.saturating_add_signed(by.into()),
                None => self.now,
            },
        };
        if self.nests {
            return self.pass_to(to);
        }
        self.now = self.now.max(to);
        Ok(())
    }

    fn look_at_minimums(&mut self) {
        let lanes = self.model.lane_numbers().into_iter();
        let minimums: usize = lanes.map(|lane| self.model.lane(lane).rules.min()).sum();
        let fits = self.model.total.is_some_and(|total| minimums <= total);
        let kept = self.model.kept_for_all();
        self.minimums_fit = fits && self.model.free().is_some_and(|free| free >= kept);
    }

    fn lane(&self, pick: u8) -> usize {
        let lanes = self.model.lane_numbers();
        lanes[usize::from(pick) % lanes.len()]
    }

    fn lane_to_remove(&self, pick: u8) -> usize {
        let lanes = self.model.lane_numbers().into_iter();
        let mut empty = lanes.filter(|&lane| self.model.of_lane(lane).next().is_none());
        empty.next().unwrap_or_else(|| self.lane(pick))
    }

    fn pick(&self, pick: u8, phase: Phase) -> Option<(u64, u32)> {
        self.pick_of(pick, |command| command.phase == phase)
    }

    fn pick_charged(&self, pick: u8) -> Option<(u64, u32)> {
        let charged = |command: &Command| {
            let owner = (command.serial, command.run);
            let mut limiters = self.model.limiters.iter();
            command.phase == Phase::Running
                && limiters.any(|limiter| limiter.meter.cost_of(owner).is_some())
        };
        self.pick_of(pick, charged)
            .or_else(|| self.pick(pick, Phase::Running))
    }

    fn pick_of(&self, pick: u8, which: impl Fn(&Command) -> bool) -> Option<(u64, u32)> {
        let commands = self.model.commands.iter();
        let found: Vec<_> = commands
            .filter(|command| which(command))
            .map(|command| (command.serial, command.run))
            .collect();
        (!found.is_empty()).then(|| found[usize::from(pick) % found.len()])
    }

    /// One of the last commands that were accepted.
    fn pick_any(&self, pick: u8) -> Option<u64> {
        let last = self.keys.len().min(64);
        let mut newest = self.keys.keys().rev();
        newest.nth(usize::from(pick) % last.max(1)).copied()
    }

    pub(super) fn key(&self, serial: u64) -> CommandKey {
        self.keys[&serial]
    }

    fn add_lane(&mut self, rules: LaneRules) {
        let policy = self.policy(&rules);
        let lane = self.scheduler.add_lane(policy).index();
        self.model.add_lane(lane, rules, self.now);
        self.numbers += 1;
        for numbers in [&mut self.policies, &mut self.incarnations] {
            numbers.resize(self.model.lanes.len(), 0);
            numbers[lane] = self.numbers;
        }
    }

    fn set_policy(&mut self, lane: usize, rules: LaneRules) {
        let policy = self.policy(&rules);
        self.scheduler.set_policy(lane_key(lane), policy, self.now);
        self.heed();
        self.model.set_policy(lane, rules, self.now);
        self.numbers += 1;
        self.policies[lane] = self.numbers;
    }

    fn set_total(&mut self, total: Option<usize>) {
        self.scheduler.set_total(total, self.now);
        self.heed();
        self.model.set_total(total, self.now);
    }

    fn set_open(&mut self, open: bool) {
        self.scheduler.set_open(open);
        self.model.open = open;
    }
}

fn holding(concluded: bool) -> Phase {
    if concluded {
        Phase::Concluded
    } else {
        Phase::Running
    }
}

pub(super) fn lane_key(lane: usize) -> LaneKey {
    LaneKey(lane as u32)
}
