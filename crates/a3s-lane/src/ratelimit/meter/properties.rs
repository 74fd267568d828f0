//! The meter against a replay of its whole history.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::super::marks::Marks;
use super::super::{RateLimitConfig, SlidingWindow, TokenBucket};
use super::*;
use crate::seeds::{count_operation, properties};

#[derive(Debug, Clone, Copy)]
struct Settings {
    is_window: bool,
    max_commands: u64,
    window_ns: u64,
    burst: u64,
}

impl Settings {
    fn meter(self) -> Meter {
        let window = Duration::from_nanos(self.window_ns);
        let config = RateLimitConfig::new(self.max_commands, window);
        if self.is_window {
            Meter::Window(SlidingWindow::new(&config))
        } else {
            Meter::Bucket(TokenBucket::new(&config, self.burst, 0))
        }
    }

    fn capacity(self) -> u64 {
        if self.is_window {
            self.max_commands
        } else {
            self.burst
        }
    }
}

fn settings() -> impl Strategy<Value = Settings> {
    (any::<bool>(), 1u64..50, 1u64..2_000, 1u64..30).prop_map(
        |(is_window, max_commands, window_ns, burst)| Settings {
            is_window,
            max_commands,
            window_ns,
            burst,
        },
    )
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Take {
        cost: u64,
        keep: u64,
    },
    Overdraw {
        cost: u64,
    },
    Settle {
        which: prop::sample::Index,
        actual: u64,
    },
    Forget {
        which: prop::sample::Index,
    },
    /// The same limit is set again.
    Renew,
}

/// Operations, each after a step in time. A negative step is a clock that runs backwards once.
fn ops() -> impl Strategy<Value = Vec<(i64, Op)>> {
    let which = any::<prop::sample::Index>;
    let op = prop_oneof![
        6 => (0u64..15, 0u64..4).prop_map(|(cost, keep)| Op::Take { cost, keep }),
        1 => (0u64..30).prop_map(|cost| Op::Overdraw { cost }),
        6 => (which(), 0u64..25).prop_map(|(which, actual)| Op::Settle { which, actual }),
        1 => which().prop_map(|which| Op::Forget { which }),
        1 => Just(Op::Renew),
    ];
    let step = prop_oneof![3 => Just(0i64), 6 => 0i64..60, 2 => 0i64..1_000, 1 => -50i64..0];
    prop::collection::vec((step, op), 1..80)
}

/// One taking, as it was settled last.
#[derive(Debug, Clone, Copy)]
struct Taking {
    at_ns: u64,
    amount: u64,
    is_grant: bool,
}

/// Everything that was ever taken, in order.
struct History {
    settings: Settings,
    takings: Vec<Taking>,
}

impl History {
    /// What is left, in units of `1 / window_ns`.
    fn level(&self, now_ns: u64) -> i128 {
        let Settings {
            max_commands,
            window_ns,
            ..
        } = self.settings;
        let full = i128::from(self.settings.capacity()) * i128::from(window_ns);
        if self.settings.is_window {
            let in_window = |taking: &&Taking| now_ns - taking.at_ns < window_ns;
            let taken = self.takings.iter().filter(in_window);
            let taken: u64 = taken.map(|taking| taking.amount).sum();
            return full - i128::from(taken) * i128::from(window_ns);
        }
        let (mut level, mut last_ns) = (full, 0);
        let refill = |level: i128, from_ns: u64, to_ns: u64| {
            full.min(level + i128::from(to_ns - from_ns) * i128::from(max_commands))
        };
        for taking in &self.takings {
            level = refill(level, last_ns, taking.at_ns);
            level -= i128::from(taking.amount) * i128::from(window_ns);
            last_ns = taking.at_ns;
        }
        refill(level, last_ns, now_ns)
    }

    fn admits(&self, cost: u64, keep: u64, now_ns: u64) -> bool {
        let need = i128::from(cost + keep) * i128::from(self.settings.window_ns);
        cost == 0 || self.level(now_ns) >= need
    }

    fn push(&mut self, at_ns: u64, amount: u64, is_grant: bool) -> usize {
        self.takings.push(Taking {
            at_ns,
            amount,
            is_grant,
        });
        self.takings.len() - 1
    }

    /// Takings of one charge now cost `actual` together: the latest change first.
    fn settle(&mut self, parts: &mut Vec<usize>, actual: u64, now_ns: u64) {
        let before: u64 = parts.iter().map(|&part| self.takings[part].amount).sum();
        if actual > before {
            parts.push(self.push(now_ns, actual - before, false));
        }
        let mut excess = before.saturating_sub(actual);
        for &part in parts.iter().rev() {
            let given = excess.min(self.takings[part].amount);
            self.takings[part].amount -= given;
            excess -= given;
        }
    }
}

struct World {
    meter: Meter,
    history: History,
    /// Open charges and their takings.
    open: Vec<(Charge, Vec<usize>)>,
    now_ns: u64,
}

impl World {
    fn new(settings: Settings) -> Self {
        Self {
            meter: settings.meter(),
            history: History {
                settings,
                takings: Vec::new(),
            },
            open: Vec::new(),
            now_ns: 0,
        }
    }

    fn apply(&mut self, step_ns: i64, op: Op) -> TestCaseResult {
        let told_ns = self.now_ns.saturating_add_signed(step_ns);
        let needs_charge = matches!(op, Op::Settle { .. } | Op::Forget { .. });
        if needs_charge && self.open.is_empty() {
            return Ok(());
        }
        let tells_time = match op {
            Op::Forget { .. } => false,
            Op::Settle { which, actual } => which.get(&self.open).0.cost != actual,
            _ => true,
        };
        if tells_time {
            self.now_ns = self.now_ns.max(told_ns);
        }
        match op {
            Op::Take { cost, keep } => {
                let admitted = self.history.admits(cost, keep, self.now_ns);
                let checked = self.meter.check(cost, keep, told_ns);
                prop_assert_eq!(checked.is_ok(), admitted);
                match checked {
                    Ok(()) => self.take(cost, told_ns, true),
                    Err(u64::MAX) => {
                        prop_assert!(cost + keep > self.history.settings.capacity());
                    }
                    Err(due_ns) => {
                        prop_assert!(due_ns > self.now_ns);
                        prop_assert!(!self.history.admits(cost, keep, due_ns - 1));
                        prop_assert!(self.history.admits(cost, keep, due_ns));
                    }
                }
            }
            Op::Overdraw { cost } => self.take(cost, told_ns, false),
            Op::Settle { which, actual } => {
                let (charge, parts) = which.get_mut(&mut self.open);
                self.meter.settle(charge, actual, told_ns);
                self.history.settle(parts, actual, self.now_ns);
            }
            Op::Forget { which } => {
                let (charge, _) = self.open.swap_remove(which.index(self.open.len()));
                self.meter.forget(charge);
            }
            Op::Renew => {
                let mut meter = self.history.settings.meter();
                meter.inherit(&self.meter, told_ns);
                self.meter = meter;
            }
        }
        Ok(())
    }

    fn take(&mut self, cost: u64, told_ns: u64, is_grant: bool) {
        let charge = self.meter.take(cost, told_ns);
        let part = self.history.push(self.now_ns, cost, is_grant);
        self.open.push((charge, vec![part]));
    }

    /// What the meter says is left, in units of `1 / window_ns`.
    fn level(&self) -> i128 {
        let window_ns = i128::from(self.history.settings.window_ns);
        match &self.meter {
            Meter::Bucket(bucket) => {
                let full = i128::from(bucket.burst()) * window_ns;
                full - i128::try_from(bucket.lack_at(self.now_ns)).unwrap_or(i128::MAX)
            }
            Meter::Window(window) => {
                assert!(window.entries() <= self.history.takings.len());
                window.left(self.now_ns).map_or(0, |left| left * window_ns)
            }
        }
    }
}

properties! {
    cases: 3_000, least: 100_000;

    /// In every span that ends with a grant, grants cost at most burst + max_commands * span / window, or `max_commands` in
    /// any sliding window. Each grant counts what it was settled to at last but no more than it was charged at its start,
    /// and a debt of the span counts when it was incurred.
    #[test]
    fn i11_rate_bound_settled(settings in settings(), ops in ops()) {
        let mut world = World::new(settings);
        for (step_ns, op) in ops {
            count_operation();
            if !matches!(op, Op::Overdraw { .. }) {
                world.apply(step_ns, op)?;
            }
        }
        let Settings { is_window, max_commands, window_ns, burst } = settings;
        let takings = &world.history.takings;
        for first in 0..takings.len() {
            let mut taken = 0;
            for taking in &takings[first..] {
                let span_ns = taking.at_ns - takings[first].at_ns;
                if is_window && span_ns >= window_ns {
                    break;
                }
                taken += taking.amount;
                let bound = if is_window {
                    max_commands
                } else {
                    burst + max_commands * span_ns / window_ns
                };
                prop_assert!(!taking.is_grant || taking.amount == 0 || taken <= bound);
            }
        }
    }
}

proptest! {
    #![proptest_config(crate::seeds::cases(256))]

    /// Whatever is taken, settled, forgotten and renewed: the level is what a replay of everything that was taken gives,
    /// each taking at what it was settled to last.
    #[test]
    fn the_level_is_that_of_a_replay(settings in settings(), ops in ops()) {
        let mut world = World::new(settings);
        for (step_ns, op) in ops {
            world.apply(step_ns, op)?;
            let level = world.history.level(world.now_ns);
            prop_assert_eq!(world.level(), level);
            let available = u64::try_from(level.div_euclid(i128::from(settings.window_ns)));
            prop_assert_eq!(world.meter.available(world.now_ns), available.unwrap_or(0));
        }
    }

    /// A bucket that remembers too little refunds less than the replay gives, never more.
    #[test]
    fn forgotten_marks_only_make_refunds_smaller(
        settings in settings(),
        limit in 1usize..4,
        ops in ops(),
    ) {
        let settings = Settings { is_window: false, burst: settings.burst + 20, ..settings };
        let mut world = World::new(settings);
        if let Meter::Bucket(bucket) = &mut world.meter {
            bucket.marks = Marks::with_limit(limit);
        }
        for (step_ns, op) in ops {
            // A take that is checked would have to be refused by both.
            let op = match op {
                Op::Take { cost, .. } => Op::Overdraw { cost },
                Op::Renew => continue,
                other => other,
            };
            world.apply(step_ns, op)?;
            prop_assert!(world.level() <= world.history.level(world.now_ns));
            if let Meter::Bucket(bucket) = &world.meter {
                prop_assert!(bucket.marks.len() <= limit);
            }
        }
    }
}
