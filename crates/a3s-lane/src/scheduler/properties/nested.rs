//! The promises about nested work. Here the books are of their own: who waits for whom, and who holds a slot.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::rules::{CommandRules, LaneRules, RetryRules};
use super::world::{Checked, cases};
use crate::scheduler::{
    CommandKey, Due, Ending, LaneKey, Released, Scheduler, Start, StopReason, Stopped,
};

/// A command is picked by a number that is taken modulo how many there are.
#[derive(Debug, Clone)]
enum Step {
    /// A command without a parent.
    Submit {
        lane: u8,
        key: Option<u8>,
    },
    /// A running command submits another, into its own lane or a later one, and perhaps waits for it.
    Nest {
        parent: u8,
        lane: u8,
        key: Option<u8>,
        delay_ns: u64,
        waits: bool,
    },
    /// A running command begins to wait for a child.
    Wait {
        child: u8,
    },
    /// A command does not wait any more for a child that has not started.
    Leave {
        child: u8,
    },
    Settle,
    /// A run ends that waits for nobody.
    End {
        pick: u8,
        ending: Ending,
        release: bool,
    },
    /// Any run ends, as when it is out of time.
    Break {
        pick: u8,
        release: bool,
    },
    Release {
        pick: u8,
    },
    Abandon {
        pick: u8,
    },
    Cancel {
        pick: u8,
    },
    Advance(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || prop_oneof![2 => Just(None), 1 => (0u8..2).prop_map(Some)];
    let ending = prop_oneof![3 => Just(Ending::Completed), 2 => Just(Ending::Failed)];
    let delay = prop_oneof![3 => Just(0), 1 => 1u64..10];
    let pick = any::<u8>;
    let step = prop_oneof![
        6 => (pick(), key()).prop_map(|(lane, key)| Step::Submit { lane, key }),
        16 => (pick(), pick(), key(), delay, prop::bool::weighted(0.8)).prop_map(
            |(parent, lane, key, delay_ns, waits)| Step::Nest { parent, lane, key, delay_ns, waits }
        ),
        4 => pick().prop_map(|child| Step::Wait { child }),
        2 => pick().prop_map(|child| Step::Leave { child }),
        14 => Just(Step::Settle),
        8 => (pick(), ending, prop::bool::weighted(0.8))
            .prop_map(|(pick, ending, release)| Step::End { pick, ending, release }),
        3 => (pick(), prop::bool::weighted(0.8)).prop_map(|(pick, release)| Step::Break { pick, release }),
        3 => pick().prop_map(|pick| Step::Release { pick }),
        1 => pick().prop_map(|pick| Step::Abandon { pick }),
        2 => pick().prop_map(|pick| Step::Cancel { pick }),
        3 => (0u64..20).prop_map(Step::Advance),
    ];
    prop::collection::vec(step, 1..120)
}

#[derive(Debug, Clone)]
struct Member {
    key: CommandKey,
    lane: usize,
    parent: Option<u64>,
    /// The children that its run waits for.
    waits_for: Vec<u64>,
    run: u32,
    running: bool,
    concluded: bool,
}

impl Member {
    fn holds_slot(&self) -> bool {
        self.running || self.concluded
    }
}

struct Family {
    scheduler: Scheduler<u64>,
    lanes: Vec<(LaneKey, LaneRules)>,
    total: Option<usize>,
    now: u64,
    members: BTreeMap<u64, Member>,
    left: Vec<u64>,
    submitted: u64,
    /// A command has ended while a child of it held a slot: that child's body goes on beside the bodies above it.
    orphans: bool,
}

impl Family {
    fn new(lanes: Vec<LaneRules>, total: Option<usize>) -> Self {
        let mut scheduler = Scheduler::new();
        scheduler.set_total(total, 0);
        scheduler.open();
        let lanes = lanes.into_iter();
        let lanes = lanes.map(|rules| (scheduler.add_lane(rules.policy(0)), rules));
        let lanes = lanes.collect();
        Self {
            scheduler,
            lanes,
            total,
            now: 0,
            members: BTreeMap::new(),
            left: Vec::new(),
            submitted: 0,
            orphans: false,
        }
    }

    fn apply(&mut self, step: &Step) -> Checked {
        match *step {
            Step::Submit { lane, key } => {
                let lane = usize::from(lane) % self.lanes.len();
                self.submit(lane, key, None, 0)?;
            }
            Step::Nest {
                parent,
                lane,
                key,
                delay_ns,
                waits,
            } => {
                let Some(parent) = self.pick(parent, |member| member.running) else {
                    return Ok(());
                };
                // Waiting goes one way only: nobody waits for the slot of a lane whose commands wait for his.
                let first = self.members[&parent].lane;
                let lane = first + usize::from(lane) % (self.lanes.len() - first);
                let child = self.submit(lane, key, Some(parent), delay_ns)?;
                if waits {
                    self.wait(child);
                }
            }
            Step::Wait { child } => {
                if let Some(child) = self.pick(child, |member| member.parent.is_some()) {
                    self.wait(child);
                }
            }
            Step::Leave { child } => {
                let waits = |member: &Member| member.parent.is_some() && !member.holds_slot();
                if let Some(child) = self.pick(child, waits) {
                    self.leave(child);
                }
            }
            Step::Settle => self.settle()?,
            Step::End {
                pick,
                ending,
                release,
            } => {
                let free = |family: &Self, serial: u64| {
                    family.members[&serial].running && !family.waits(serial)
                };
                let found: Vec<u64> = self.members.keys().copied().collect();
                let found: Vec<u64> = found
                    .into_iter()
                    .filter(|serial| free(self, *serial))
                    .collect();
                if !found.is_empty() {
                    self.end(found[usize::from(pick) % found.len()], ending, release)?;
                }
            }
            Step::Break { pick, release } => {
                if let Some(serial) = self.pick(pick, |member| member.running) {
                    self.end(serial, Ending::Failed, release)?;
                }
            }
            Step::Release { pick } => {
                if let Some(serial) = self.pick(pick, |member| member.concluded) {
                    self.release(serial)?;
                }
            }
            Step::Abandon { pick } => {
                if let Some(serial) = self.pick(pick, Member::holds_slot) {
                    self.note_orphans(serial);
                    let Member { key, run, .. } = self.members[&serial];
                    let abandoned = self.scheduler.abandon(key, run, self.now);
                    prop_assert_eq!(abandoned.map(|(_, job)| job), Some(serial));
                    self.leaves(serial);
                }
            }
            Step::Cancel { pick } => {
                if let Some(serial) = self.pick(pick, |_| true) {
                    self.cancel(serial);
                }
            }
            Step::Advance(ns) => self.now += ns,
        }
        Ok(())
    }

    fn submit(
        &mut self,
        lane: usize,
        key: Option<u8>,
        parent: Option<u64>,
        delay_ns: u64,
    ) -> Result<u64, TestCaseError> {
        let serial = self.scheduler.reserve();
        self.submitted = serial;
        let rules = CommandRules {
            key,
            delay_ns: Some(delay_ns),
            ..CommandRules::default()
        };
        let mut terms = rules.terms(self.now);
        if let Some(terms) = &mut terms {
            terms.parent = parent.map(|parent| self.members[&parent].key);
        }
        let submitted = self
            .scheduler
            .submit(self.lanes[lane].0, serial, serial, terms, self.now);
        prop_assert!(submitted.is_ok());
        let member = submitted.ok().map(|submitted| Member {
            key: submitted.key,
            lane,
            parent,
            waits_for: Vec::new(),
            run: 0,
            running: false,
            concluded: false,
        });
        self.members.extend(member.map(|member| (serial, member)));
        Ok(serial)
    }

    /// The parent of a command begins to wait for it, if it still runs.
    fn wait(&mut self, child: u64) {
        let Member { key, parent, .. } = self.members[&child];
        let Some(parent) = parent.and_then(|parent| self.members.get_mut(&parent)) else {
            return;
        };
        if parent.running && !parent.waits_for.contains(&child) {
            parent.waits_for.push(child);
            self.scheduler
                .await_child(parent.key, parent.run, key, self.now);
        }
    }

    fn leave(&mut self, child: u64) {
        let Member { key, parent, .. } = self.members[&child];
        if let Some(parent) = parent.and_then(|parent| self.members.get_mut(&parent)) {
            parent.waits_for.retain(|awaited| *awaited != child);
            self.scheduler.leave_child(parent.key, key, self.now);
        }
    }

    fn settle(&mut self) -> Checked {
        while let Some(due) = self.scheduler.tick(self.now) {
            prop_assert!(matches!(due, Due::Drop(..) | Due::Overrun(..)));
        }
        loop {
            while let Some(start) = self.scheduler.next(self.now) {
                self.start(start)?;
            }
            prop_assert_eq!(self.scheduler.startable(), 0);
            if self.scheduler.preempt(self.now).is_none() {
                return Ok(());
            }
        }
    }

    /// A start leaves no more bodies at work than there are slots.
    fn start(&mut self, start: Start) -> Checked {
        let serial = start.key.serial();
        let Some(member) = self.members.get_mut(&serial) else {
            prop_assert!(false, "{} is not there", serial);
            return Ok(());
        };
        prop_assert!(!member.holds_slot(), "{} runs already", serial);
        (member.running, member.run) = (true, start.run);
        let lane = member.lane;
        if self.orphans {
            return Ok(());
        }
        let in_lane = self.bodies(|member| member.lane == lane);
        prop_assert!(in_lane <= self.lanes[lane].1.max(), "{} in a lane", in_lane);
        let in_all = self.bodies(|_| true);
        prop_assert!(
            self.total.is_none_or(|total| in_all <= total),
            "{} in all",
            in_all
        );
        Ok(())
    }

    /// Commands that hold a slot and wait for no child.
    fn bodies(&self, which: impl Fn(&Member) -> bool) -> usize {
        let holding = self
            .members
            .iter()
            .filter(|(_, member)| member.holds_slot() && which(member));
        holding.filter(|(serial, _)| !self.waits(**serial)).count()
    }

    fn waits(&self, serial: u64) -> bool {
        let mut awaited = self.members[&serial].waits_for.iter();
        awaited.any(|child| self.members.contains_key(child))
    }

    fn note_orphans(&mut self, serial: u64) {
        let mut members = self.members.values();
        self.orphans |= members.any(|member| member.parent == Some(serial) && member.holds_slot());
    }

    fn end(&mut self, serial: u64, ending: Ending, release: bool) -> Checked {
        self.note_orphans(serial);
        let Member { key, run, .. } = self.members[&serial];
        let verdict = self.scheduler.conclude(key, run, ending, 0);
        prop_assert!(verdict.is_some(), "{} was not running", serial);
        if let Some(member) = self.members.get_mut(&serial) {
            (member.running, member.concluded) = (false, true);
        }
        if release {
            self.release(serial)?;
        }
        Ok(())
    }

    fn release(&mut self, serial: u64) -> Checked {
        let key = self.members[&serial].key;
        match self.scheduler.release(key, self.now) {
            Released::Settled(job) | Released::Cancelled(job) => {
                prop_assert_eq!(job, serial);
                self.leaves(serial);
            }
            Released::Requeued => {
                if let Some(member) = self.members.get_mut(&serial) {
                    member.concluded = false;
                    member.waits_for.clear();
                }
            }
        }
        Ok(())
    }

    fn cancel(&mut self, serial: u64) {
        let key = self.members[&serial].key;
        if let Stopped::Left(..) = self.scheduler.stop(key, StopReason::Cancel, self.now) {
            self.leaves(serial);
        }
    }

    fn leaves(&mut self, serial: u64) {
        self.members.remove(&serial);
        self.left.push(serial);
    }

    fn pick(&self, pick: u8, which: impl Fn(&Member) -> bool) -> Option<u64> {
        let members = self.members.iter();
        let found: Vec<u64> = members
            .filter(|(_, member)| which(member))
            .map(|(serial, _)| *serial)
            .collect();
        (!found.is_empty()).then(|| found[usize::from(pick) % found.len()])
    }

    /// Runs everything to its end. Commands that wait for a child do not end before it.
    fn finish(&mut self) -> Checked {
        for _ in 0..2_000 {
            self.settle()?;
            let holding: Vec<u64> = self
                .members
                .iter()
                .filter(|(_, member)| member.holds_slot())
                .map(|(serial, _)| *serial)
                .collect();
            let before = self.left.len();
            let mut ended = false;
            for serial in holding {
                if self.members[&serial].concluded {
                    self.release(serial)?;
                    ended = true;
                } else if !self.waits(serial) {
                    self.end(serial, Ending::Completed, true)?;
                    ended = true;
                }
            }
            if self.members.is_empty() {
                break;
            }
            if !ended {
                let wake = self.scheduler.next_wake();
                prop_assert!(
                    wake.is_some_and(|wake| wake > self.now),
                    "everybody waits for somebody: {:?}",
                    self.members
                );
                self.now = self.now.max(wake.unwrap_or_default());
            }
            prop_assert!(before <= self.left.len());
        }
        prop_assert!(self.members.is_empty(), "the work never ends");
        let mut left = self.left.clone();
        left.sort_unstable();
        prop_assert_eq!(left, (1..=self.submitted).collect::<Vec<_>>());
        prop_assert_eq!((self.scheduler.active(), self.scheduler.pending()), (0, 0));
        for (lane, _) in &self.lanes {
            prop_assert_eq!(self.scheduler.counts(*lane).active, 0);
        }
        Ok(())
    }
}

fn lanes() -> impl Strategy<Value = Vec<LaneRules>> {
    let lane = (0u8..3, 1usize..3, any::<bool>(), 0u32..3).prop_map(
        |(priority, configured_max, preemptible, retries)| LaneRules {
            priority,
            configured_max,
            preemptible,
            retry: RetryRules {
                retries,
                first_delay_ns: 2,
                max_delay_ns: 2,
                doubling: false,
            },
            ..LaneRules::default()
        },
    );
    prop::collection::vec(lane, 1..4)
}

proptest! {
    #![proptest_config(cases(250))]

    /// A command that waits for a child of its own lane, or of one that waits for nobody of its own, lets it run, however
    /// few slots there are; no more bodies are at work than there are slots; and in the end every slot is free again.
    #[test]
    fn nested_work_never_waits_for_itself(
        lanes in lanes(),
        total in prop_oneof![1 => Just(None), 2 => (1usize..4).prop_map(Some)],
        steps in steps(),
    ) {
        let mut family = Family::new(lanes, total);
        for step in &steps {
            family.apply(step)?;
        }
        family.finish()?;
    }
}
