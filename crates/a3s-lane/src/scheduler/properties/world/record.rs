//! What the books said just before the scheduler decided something.

use proptest::prelude::*;

use super::super::rules::Rate;
use super::{Checked, Mode, World};
use crate::scheduler::Start;
use crate::scheduler::model::{Command, Phase};

/// A start that the scheduler decided on.
#[derive(Debug, Clone)]
pub(in super::super) struct Started {
    pub(in super::super) at: u64,
    pub(in super::super) serial: u64,
    #[expect(dead_code, reason = "printed with a failure")]
    pub(in super::super) lane: usize,
    pub(in super::super) key: Option<u8>,
    pub(in super::super) run: u32,
    pub(in super::super) attempt: u32,
    pub(in super::super) priority: i32,
    pub(in super::super) joined: i64,
    /// The lane's effective priority, and the number of its last start.
    pub(in super::super) rank: (u8, u64),
    /// The same of the best eligible lane.
    pub(in super::super) best: Option<(u8, u64)>,
    /// The least priority number among the commands of the lane that could have started.
    pub(in super::super) least_priority: Option<i32>,
    /// The lane's oldest command, when it has waited the deadline of the lane's boost.
    pub(in super::super) overdue: Option<u64>,
    /// When the eligible lanes whose oldest command is overdue were served last.
    pub(in super::super) overdue_lanes: Vec<u64>,
    pub(in super::super) active_after: usize,
    pub(in super::super) max: usize,
    pub(in super::super) key_active_after: usize,
    pub(in super::super) key_max: Option<usize>,
    pub(in super::super) all_active_after: usize,
    pub(in super::super) total: Option<usize>,
    pub(in super::super) rate: Option<Rate>,
    /// Which of all policies the lane had, and which of all lanes it was.
    pub(in super::super) policy: usize,
    pub(in super::super) incarnation: usize,
}

/// A command that was asked to make room.
#[derive(Debug, Clone)]
pub(in super::super) struct Preempted {
    #[expect(dead_code, reason = "printed with a failure")]
    pub(in super::super) serial: u64,
    /// How urgent it will be when it is back, and that of all commands that there are to give.
    pub(in super::super) priority: u8,
    pub(in super::super) priorities: Vec<u8>,
    /// Its start, and those of all commands to give that will be as urgent.
    pub(in super::super) started_at: u64,
    pub(in super::super) starts: Vec<u64>,
    /// The effective priorities of the lanes that wait for nothing but the total.
    pub(in super::super) waiting: Vec<u8>,
    /// Commands that were about to stop already, and the ready commands of more urgent lanes that may not start.
    pub(in super::super) stopping: usize,
    pub(in super::super) ready: usize,
    /// Commands of its lane that were not about to stop, and the lane's minimum.
    pub(in super::super) staying: usize,
    pub(in super::super) min: usize,
    /// It and its lane allow that, and it was not asked before.
    pub(in super::super) willing: bool,
}

impl World {
    pub(super) fn record_start(&mut self, start: Start) -> Checked {
        let (serial, lane) = (start.key.serial, start.lane.index());
        prop_assert_eq!(start.key, self.key(serial));
        let known = self.model.get(serial).cloned();
        let waits = |command: &&Command| command.phase == Phase::Ready && command.lane == lane;
        let Some(command) = known.as_ref().filter(waits) else {
            prop_assert!(false, "{} started where it does not wait", serial);
            return Ok(());
        };
        if self.mode == Mode::Follow {
            self.started.push(self.started(command, start));
        }
        self.tally.start(&self.model, command);
        let relieved = self.model.start(serial, self.now);
        let running = self.model.get(serial).expect("a running command");
        prop_assert_eq!(start.run, running.run);
        prop_assert_eq!(start.attempt, running.attempt());
        prop_assert_eq!(start.wait_ns, self.now - command.ready_at);
        prop_assert_eq!(start.timeout_ns, running.timeout_ns);
        prop_assert_eq!(start.progress_ns, running.progress_ns);
        let preemptible = self.model.lane(lane).rules.preemptible;
        let limited = running.timeout_ns.is_some() || running.progress_ns.is_some();
        prop_assert_eq!(start.may_overlap, limited || preemptible);
        prop_assert_eq!(start.relieved, relieved);
        Ok(())
    }

    fn started(&self, command: &Command, start: Start) -> Started {
        let (lane, now, model) = (command.lane, self.now, &self.model);
        let key = command.rules.key;
        let rules = &model.lane(lane).rules;
        let eligible = model.lane_numbers().into_iter();
        let eligible: Vec<usize> = eligible
            .filter(|&lane| model.is_eligible(lane, now))
            .collect();
        let overdue = |lane: usize| {
            let deadline = model.lane(lane).rules.deadline_ns()?;
            let oldest = model.oldest(lane)?;
            (now - oldest.waits_since() >= deadline).then_some(oldest.serial)
        };
        let overdue_lanes = eligible.iter().filter(|&&lane| overdue(lane).is_some());
        let candidates = model.candidates(lane);
        Started {
            at: now,
            serial: command.serial,
            lane,
            key,
            run: start.run,
            attempt: start.attempt,
            priority: command.rules.priority,
            joined: command.joined,
            rank: model.rank(lane, now),
            best: eligible.iter().map(|&lane| model.rank(lane, now)).min(),
            least_priority: candidates.map(|command| command.rules.priority).min(),
            overdue: overdue(lane),
            overdue_lanes: overdue_lanes
                .map(|&lane| model.lane(lane).last_served)
                .collect(),
            active_after: model.active(lane) + 1,
            max: rules.max(),
            key_active_after: model.active_of_key(lane, key) + 1,
            key_max: rules.key_max.filter(|_| key.is_some()),
            all_active_after: model.active_in_all() + 1,
            total: model.total,
            rate: rules.rate,
            policy: self.policies[lane],
            incarnation: self.incarnations[lane],
        }
    }

    pub(super) fn record_preemption(&mut self, victim: Option<u64>) -> Checked {
        let model = &self.model;
        let lanes = model.lane_numbers();
        let priority_of = |command: &Command| model.urgency_back(command, self.now);
        let victims: Vec<&Command> = model.victims().collect();
        let waiting: Vec<u8> = lanes
            .iter()
            .filter(|&&lane| model.waits_for_total(lane, self.now))
            .map(|&lane| model.effective_priority(lane, self.now))
            .collect();
        let Some(victim) = victim else {
            if model.is_help_needed(self.now) {
                self.unhelped.push(self.now);
            }
            return Ok(());
        };
        let Some(command) = model.get(victim) else {
            prop_assert!(false, "{} is not there", victim);
            return Ok(());
        };
        let priority = priority_of(command);
        let of_priority = victims
            .iter()
            .filter(|command| priority_of(command) == priority);
        let urgent = lanes.iter().filter(|&&lane| {
            model.effective_priority(lane, self.now) < priority && !model.admits(lane)
        });
        let stays = model
            .of_lane(command.lane)
            .filter(|command| command.holds_slot() && !command.is_stopping());
        let preempted = Preempted {
            serial: victim,
            priority,
            priorities: victims.iter().map(|command| priority_of(command)).collect(),
            started_at: command.started_at,
            starts: of_priority.map(|command| command.started_at).collect(),
            waiting,
            stopping: model.freeing(),
            ready: urgent.map(|&lane| model.ready(lane).count()).sum(),
            staying: stays.count(),
            min: model.lane(command.lane).rules.min(),
            willing: command.phase == Phase::Running
                && command.stop.is_none()
                && command.rules.preemptible
                && model.lane(command.lane).rules.preemptible,
        };
        self.preempted.push(preempted);
        Ok(())
    }
}
