//! A book of commands that submit children and wait for them.

mod check;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::super::rules::{CommandRules, LaneRules, LimiterRules, MeterRules, key_name};
use super::super::world::{Checked, lane_key};
use super::operation::{Op, Setup};
#[cfg(feature = "distributed")]
use crate::scheduler::LimiterKey;
use crate::scheduler::{
    CommandKey, Due, Ending, LanePolicy, Released, Scheduler, Start, StopReason, Stopped,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Waiting,
    Running(u32),
    Concluded(u32),
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) key: CommandKey,
    pub(super) lane: usize,
    pub(super) parent: Option<u64>,
    pub(super) phase: Phase,
    pub(super) awaits: BTreeSet<u64>,
    /// Those that stood still for it when it started, and those that did for these.
    pub(super) lenders: BTreeSet<u64>,
}

impl Member {
    fn runs(&self) -> bool {
        matches!(self.phase, Phase::Running(_))
    }

    fn holds_slot(&self) -> bool {
        self.phase != Phase::Waiting
    }
}

pub(super) struct Family {
    pub(super) scheduler: Scheduler<u64>,
    pub(super) members: BTreeMap<u64, Member>,
    pub(super) now: u64,
    pub(super) lanes: Vec<LaneRules>,
    /// Limits on starts per time may refuse what was promised.
    is_rated: bool,
    pub(super) total: Option<usize>,
    /// Every command that was accepted, and its parent.
    pub(super) accepted: BTreeMap<u64, Option<u64>>,
    pub(super) left: Vec<u64>,
    /// Lanes to which a child may go: its parent's and later ones only.
    pub(super) forward: bool,
}

/// When a run begins, in nanoseconds.
const START: u64 = 1_000;

/// What lanes with a limiter share.
const SHARED: LimiterRules = LimiterRules {
    meter: MeterRules::Window {
        max: 3,
        window_ns: 20,
    },
    counts_cost: true,
    urgent: 0,
    kept: 0,
};

fn policy(rules: &LaneRules, now: u64) -> LanePolicy {
    #[cfg(feature = "distributed")]
    return LanePolicy {
        limiters: rules.limiters.iter().map(|_| LimiterKey(0)).collect(),
        ..rules.policy(now)
    };
    #[cfg(not(feature = "distributed"))]
    rules.policy(now)
}

impl Family {
    pub(super) fn new(setup: Setup, forward: bool) -> Self {
        let mut scheduler = Scheduler::new(false);
        scheduler.set_open(true);
        #[cfg(feature = "distributed")]
        scheduler.add_limiter(SHARED.limiter(START));
        for rules in &setup.lanes {
            scheduler.add_lane(policy(rules, START));
        }
        scheduler.set_total(setup.total, START);
        Self {
            is_rated: setup.lanes.iter().any(LaneRules::is_rated),
            scheduler,
            members: BTreeMap::new(),
            now: START,
            lanes: setup.lanes,
            total: setup.total,
            accepted: BTreeMap::new(),
            left: Vec::new(),
            forward,
        }
    }

    pub(super) fn apply(&mut self, op: &Op) -> Checked {
        match op.clone() {
            Op::Submit { lane, rules } => {
                self.submit(usize::from(lane) % self.lanes.len(), None, &rules);
            }
            Op::Spawn {
                pick,
                lane,
                rules,
                waits,
            } => {
                let Some(parent) = self.pick(pick, |_, member| member.runs()) else {
                    return Ok(());
                };
                let lane = usize::from(lane);
                let of_parent = self.members[&parent].lane;
                let lane = if self.forward {
                    of_parent + lane % (self.lanes.len() - of_parent)
                } else {
                    lane % self.lanes.len()
                };
                let child = self.submit(lane, Some(parent), &rules);
                if waits && let Some(child) = child {
                    self.wait(parent, child);
                }
            }
            Op::Await { pick } => {
                let child = self.pick(pick, |family, member| {
                    let parent = member.parent.and_then(|parent| family.members.get(&parent));
                    parent.is_some_and(Member::runs)
                });
                if let Some(child) = child
                    && let Some(parent) = self.members[&child].parent
                {
                    self.wait(parent, child);
                }
            }
            Op::Leave { pick } => {
                let awaited = self.pick_serial(pick, |family, serial, member| {
                    let parent = member.parent.and_then(|parent| family.members.get(&parent));
                    parent.is_some_and(|parent| parent.awaits.contains(&serial))
                });
                if let Some(child) = awaited
                    && let Some(parent) = self.members[&child].parent
                {
                    self.leave(parent, child);
                }
            }
            Op::LeaveOther { pick, other } => {
                let parent = self.pick(pick, |_, member| member.runs());
                let child = self.pick(other, |_, _| true);
                if let (Some(parent), Some(child)) = (parent, child)
                    && !self.members[&parent].awaits.contains(&child)
                {
                    self.leave(parent, child);
                }
            }
            Op::Next(count) => {
                self.tick()?;
                for _ in 0..count {
                    self.next()?;
                }
            }
            Op::Settle => self.settle()?,
            Op::Conclude {
                pick,
                waiting,
                ending,
                release,
            } => {
                let body = self.pick_serial(pick, |family, serial, member| {
                    member.runs() && (waiting || !family.stands_still(serial))
                });
                if let Some(body) = body {
                    if release {
                        self.end_run(body, ending)?;
                    } else {
                        self.conclude(body, ending)?;
                    }
                }
            }
            Op::Release { pick } => {
                let concluded =
                    |_: &Self, member: &Member| matches!(member.phase, Phase::Concluded(_));
                if let Some(serial) = self.pick(pick, concluded) {
                    self.release(serial)?;
                }
            }
            Op::Abandon { pick } => {
                if let Some(serial) = self.pick(pick, |_, member| member.holds_slot()) {
                    self.abandon(serial)?;
                }
            }
            Op::Stop { pick, reason } => {
                if let Some(serial) = self.pick(pick, |_, _| true) {
                    self.stop(serial, reason)?;
                }
            }
            Op::Advance(ns) => self.now += ns,
            Op::PauseLane { lane, paused } => {
                let lane = lane_key(usize::from(lane) % self.lanes.len());
                self.scheduler.pause_lane(lane, paused, self.now);
            }
            Op::PauseKey { key, paused } => {
                self.scheduler.pause_key(&key_name(key), paused, self.now);
            }
            Op::SetTotal(total) => {
                self.total = total;
                self.scheduler.set_total(total, self.now);
            }
            Op::SetRate { lane, rate } => {
                let lane = usize::from(lane) % self.lanes.len();
                let rules = &mut self.lanes[lane];
                rules.rate = rate;
                self.is_rated |= rules.is_rated();
                let policy = policy(rules, self.now);
                self.scheduler.set_policy(lane_key(lane), policy, self.now);
            }
            Op::TakeWaiting => {
                for (key, _, serial) in self.scheduler.take_waiting(self.now) {
                    prop_assert_eq!(self.members[&serial].phase, Phase::Waiting);
                    prop_assert_eq!(self.members[&serial].key, key);
                    self.gone(serial)?;
                }
            }
        }
        self.check()
    }

    pub(super) fn submit(
        &mut self,
        lane: usize,
        parent: Option<u64>,
        rules: &CommandRules,
    ) -> Option<u64> {
        let serial = self.scheduler.draw_serial();
        let parent_key = parent.map(|parent| self.members[&parent].key);
        let mut terms = rules.terms(self.now);
        if parent.is_some() {
            terms.get_or_insert_default().parent = parent_key;
        }
        let submitted = self
            .scheduler
            .submit(lane_key(lane), serial, serial, terms, self.now);
        let key = submitted.ok()?.key;
        self.accepted.insert(serial, parent);
        self.members.insert(
            serial,
            Member {
                key,
                lane,
                parent,
                phase: Phase::Waiting,
                awaits: BTreeSet::new(),
                lenders: BTreeSet::new(),
            },
        );
        Some(serial)
    }

    pub(super) fn wait(&mut self, parent: u64, child: u64) {
        let child_key = self.members[&child].key;
        let Some(member) = self.members.get_mut(&parent) else {
            return;
        };
        let Phase::Running(run) = member.phase else {
            return;
        };
        member.awaits.insert(child);
        let key = member.key;
        self.scheduler.await_child(key, run, child_key, self.now);
    }

    pub(super) fn leave(&mut self, parent: u64, child: u64) {
        let child_key = self.members[&child].key;
        let member = self
            .members
            .get_mut(&parent)
            .expect("a parent that waits is there");
        member.awaits.remove(&child);
        let key = member.key;
        if let Phase::Running(run) | Phase::Concluded(run) = member.phase {
            self.scheduler.leave_child(key, run, child_key, self.now);
        }
    }

    pub(super) fn tick(&mut self) -> Checked {
        while let Some(due) = self.scheduler.tick(self.now) {
            match due {
                Due::Expired(_, _, serial) => {
                    prop_assert_eq!(self.members[&serial].phase, Phase::Waiting);
                    self.gone(serial)?;
                }
                Due::Overrun(key, run) => {
                    prop_assert_eq!(self.members[&key.serial()].phase, Phase::Running(run));
                    self.abandon(key.serial())?;
                }
                Due::Deadline(_) | Due::Stalled(_) | Due::Drop(..) => {}
            }
        }
        Ok(())
    }

    pub(super) fn next(&mut self) -> Result<Option<u64>, TestCaseError> {
        let startable = self.scheduler.startable();
        let started = self.ask()?;
        if self.is_rated {
            prop_assert!(startable > 0 || started.is_none(), "nothing was startable");
            return Ok(started);
        }
        prop_assert_eq!(startable == 0, started.is_none(), "{} startable", startable);
        if started.is_some() {
            prop_assert_eq!(self.scheduler.startable(), startable - 1);
        }
        Ok(started)
    }

    fn ask(&mut self) -> Result<Option<u64>, TestCaseError> {
        let total_before = self.scheduler.shares;
        let lanes: Vec<usize> = (0..self.lanes.len()).map(|lane| self.slots(lane)).collect();
        let Some(start) = self.scheduler.next(self.now) else {
            return Ok(None);
        };
        self.note(start, lanes[start.lane.index()], total_before)?;
        Ok(Some(start.key.serial()))
    }

    fn note(&mut self, start: Start, slots_before: usize, total_before: usize) -> Checked {
        let serial = start.key.serial();
        let lane = start.lane.index();
        let chain = self.waiting_ancestors(serial);
        let slot_is_lent = self.slots(lane) == slots_before;
        let share_is_lent = self.scheduler.shares == total_before;
        let in_lane = chain.iter().any(|above| self.members[above].lane == lane);
        prop_assert!(!slot_is_lent || in_lane, "nobody lends {} a slot", serial);
        prop_assert!(
            !share_is_lent || !chain.is_empty(),
            "nobody lends {} a share",
            serial
        );
        let within = self
            .total
            .is_none_or(|total| share_is_lent || total_before < total);
        prop_assert!(within, "{} goes above the total", serial);
        prop_assert!(
            slot_is_lent || slots_before < self.lanes[lane].max(),
            "{} goes above the lane",
            serial
        );
        if self.lanes[lane].max() == 1 {
            for (&other, member) in &self.members {
                let lends = member.lane == lane && self.stands_still(other);
                let is_descendant = self.descends_from(serial, other);
                prop_assert!(
                    !lends || is_descendant,
                    "{} starts while {} waits",
                    serial,
                    other
                );
            }
        }
        let mut lenders = BTreeSet::new();
        for above in chain {
            lenders.extend(self.members[&above].lenders.iter().copied());
            lenders.insert(above);
        }
        let member = self.members.get_mut(&serial).expect("it was accepted");
        prop_assert_eq!(member.phase, Phase::Waiting);
        member.phase = Phase::Running(start.run);
        member.lenders = lenders;
        Ok(())
    }

    /// Starts what can start, as many as were promised.
    pub(super) fn settle(&mut self) -> Checked {
        self.tick()?;
        let promised = self.scheduler.startable();
        let mut started = 0;
        while self.next()?.is_some() {
            started += 1;
        }
        prop_assert!(
            self.is_rated || started == promised,
            "{} of {}",
            started,
            promised
        );
        // It stands only while every child that it waits for is kept back.
        let shares = self.scheduler.check_shares(self.now);
        prop_assert!(shares.is_ok(), "{:?}", shares);
        while let Some((key, _)) = self.scheduler.preempt(self.now) {
            let stopped = key.serial();
            prop_assert!(!self.stands_still(stopped), "a waiting command is stopped");
            let priority = |member: &Member| self.lanes[member.lane].priority;
            let is_for = |member: &Member| {
                !member.holds_slot()
                    && !self.is_known_below(member, stopped)
                    && priority(member) < priority(&self.members[&stopped])
            };
            prop_assert!(
                self.members.values().any(is_for),
                "{} is stopped for nobody but those below it",
                stopped
            );
        }
        Ok(())
    }

    pub(super) fn conclude(&mut self, serial: u64, ending: Ending) -> Checked {
        let member = self.members.get_mut(&serial).expect("it is there");
        let Phase::Running(run) = member.phase else {
            return Ok(());
        };
        member.phase = Phase::Concluded(run);
        let verdict = self.scheduler.conclude(member.key, run, ending, 0);
        prop_assert!(verdict.is_some(), "{} was not running", serial);
        Ok(())
    }

    pub(super) fn release(&mut self, serial: u64) -> Checked {
        let key = self.members[&serial].key;
        match self.scheduler.release(key, self.now) {
            Released::Left(job) | Released::CancelledLate(job) => {
                prop_assert_eq!(job, serial);
                self.gone(serial)
            }
            Released::Requeued => {
                let member = self.members.get_mut(&serial).expect("it is there");
                member.phase = Phase::Waiting;
                member.awaits.clear();
                member.lenders.clear();
                Ok(())
            }
        }
    }

    /// Ends a run with nothing in between. What has completed ends in one call, as in the engine; or in two, for every second one.
    fn end_run(&mut self, serial: u64, ending: Ending) -> Checked {
        let member = &self.members[&serial];
        if let Phase::Running(run) = member.phase
            && ending == Ending::Completed
            && serial.is_multiple_of(2)
        {
            let job = self.scheduler.complete(member.key, run, self.now);
            prop_assert_eq!(job, Some(serial));
            return self.gone(serial);
        }
        self.conclude(serial, ending)?;
        self.release(serial)
    }

    pub(super) fn abandon(&mut self, serial: u64) -> Checked {
        let member = &self.members[&serial];
        let (Phase::Running(run) | Phase::Concluded(run)) = member.phase else {
            return Ok(());
        };
        let abandoned = self.scheduler.abandon(member.key, run, self.now);
        prop_assert_eq!(abandoned.map(|(_, job)| job), Some(serial));
        self.gone(serial)
    }

    pub(super) fn stop(&mut self, serial: u64, reason: StopReason) -> Checked {
        let member = &self.members[&serial];
        match self.scheduler.stop(member.key, reason, self.now) {
            Stopped::Left(_, job) => {
                prop_assert_eq!((job, member.phase), (serial, Phase::Waiting));
                self.gone(serial)
            }
            Stopped::Asked { .. } | Stopped::Already | Stopped::Gone => {
                prop_assert!(member.holds_slot());
                Ok(())
            }
        }
    }

    fn gone(&mut self, serial: u64) -> Checked {
        prop_assert!(
            self.members.remove(&serial).is_some(),
            "{} left twice",
            serial
        );
        for member in self.members.values_mut() {
            member.awaits.remove(&serial);
        }
        self.left.push(serial);
        Ok(())
    }

    /// Whether the body of a command waits for a child that has not ended.
    pub(super) fn stands_still(&self, serial: u64) -> bool {
        let member = &self.members[&serial];
        member.runs() && !member.awaits.is_empty()
    }

    /// The ancestors of a command, as far as each waits for the next.
    fn waiting_ancestors(&self, serial: u64) -> Vec<u64> {
        let mut chain = Vec::new();
        let mut below = serial;
        while let Some(above) = self.members[&below].parent
            && let Some(member) = self.members.get(&above)
            && member.awaits.contains(&below)
        {
            chain.push(above);
            below = above;
        }
        chain
    }

    fn descends_from(&self, serial: u64, ancestor: u64) -> bool {
        let parent = |serial: &u64| self.accepted.get(serial).copied().flatten();
        std::iter::successors(parent(&serial), parent).any(|above| above == ancestor)
    }

    pub(super) fn slots(&self, lane: usize) -> usize {
        self.scheduler.lane(lane_key(lane)).counts.active
    }

    /// Bodies that move, less those that stopped to wait for a command that still uses what they lent it.
    fn moving(&self, which: impl Fn(&Member) -> bool) -> usize {
        let lending: BTreeSet<u64> = self
            .members
            .values()
            .filter(|member| member.holds_slot())
            .flat_map(|member| member.lenders.iter().copied())
            .collect();
        let moving = self.members.iter().filter(|(serial, member)| {
            which(member)
                && member.runs()
                && !self.stands_still(**serial)
                && !lending.contains(serial)
        });
        moving.count()
    }

    fn pick(&self, pick: u8, which: impl Fn(&Self, &Member) -> bool) -> Option<u64> {
        self.pick_serial(pick, |family, _, member| which(family, member))
    }

    fn pick_serial(&self, pick: u8, which: impl Fn(&Self, u64, &Member) -> bool) -> Option<u64> {
        let found: Vec<u64> = self
            .members
            .iter()
            .filter(|(serial, member)| which(self, **serial, member))
            .map(|(serial, _)| *serial)
            .collect();
        (!found.is_empty()).then(|| found[usize::from(pick) % found.len()])
    }
}
