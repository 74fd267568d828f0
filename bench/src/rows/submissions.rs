//! Fills a lane through one of the ways to submit while its slots are held, then lets it run empty.

use std::time::{Duration, Instant};

use a3s_lane::{Command, CommandHandle, LaneError, SubmitOptions};

use crate::contestants::jobs::Noop;
use crate::contestants::{Contestant, Ours, Reply, Setup};
use crate::harness::usage::Usage;

use super::drive::{Blockers, check_sum, on_a_worker, per_second, submit_noops, sum_of};

const SLOTS: usize = 10;

/// What the first rates of [`fill_and_empty`] are about.
pub(crate) const PHASES: [&str; 3] = ["fill and empty", "fill", "empty"];

/// Where [`fill_and_empty`] says how much processor time a command took.
pub(crate) const CPU: usize = PHASES.len();

/// How commands are submitted.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    Submit,
    /// With the options of each number.
    With(fn(usize) -> SubmitOptions),
    /// All of a filling in one call, default options.
    Many,
}

/// Commands per second: in all, while filling, while emptying; nanoseconds of processor time per command. One more filling
/// warms up.
pub(crate) fn fill_and_empty(way: Way, depth: usize, cycles: usize) -> Vec<f64> {
    on_a_worker(async move {
        let setup = Setup::one_lane(SLOTS);
        let ours = Ours::build(&setup).await;
        let ids = setup.ids();
        let mut held = Held::new(way, depth);
        let (mut filling, mut emptying) = (Duration::ZERO, Duration::ZERO);
        let mut cpu = Duration::ZERO;
        for cycle in 0..=cycles {
            let blockers = Blockers::occupy(&ours, &ids[0], SLOTS).await;
            let (begin, before) = (Instant::now(), Usage::now());
            held.fill(way, &ours, &ids, depth).await;
            let full = Instant::now();
            blockers.release().await;
            let sum = held.sum().await;
            if cycle > 0 {
                filling += full - begin;
                emptying += full.elapsed();
                cpu += Usage::now().since(before).cpu;
            }
            check_sum(sum, depth);
        }
        let commands = depth * cycles;
        vec![
            per_second(commands, filling + emptying),
            per_second(commands, filling),
            per_second(commands, emptying),
            cpu.as_nanos() as f64 / commands as f64,
        ]
    })
}

/// What the user waits with.
enum Held {
    Receivers(Vec<Reply<LaneError>>),
    Handles(Vec<CommandHandle>),
}

impl Held {
    fn new(way: Way, depth: usize) -> Self {
        match way {
            Way::Submit => Self::Receivers(Vec::with_capacity(depth)),
            Way::With(_) | Way::Many => Self::Handles(Vec::with_capacity(depth)),
        }
    }

    async fn fill(&mut self, way: Way, ours: &Ours, ids: &[String], depth: usize) {
        match (self, way) {
            (Self::Receivers(receivers), _) => submit_noops(ours, ids, depth, receivers).await,
            (Self::Handles(handles), Way::With(options)) => {
                for number in 0..depth {
                    let command = Box::new(Noop(number as u64));
                    let handle = ours
                        .manager()
                        .submit_with(&ids[0], command, options(number))
                        .await;
                    handles.push(handle.expect("an open queue accepts a command"));
                }
            }
            (Self::Handles(handles), _) => {
                let commands = (0..depth).map(|number| {
                    let command: Box<dyn Command> = Box::new(Noop(number as u64));
                    (command, SubmitOptions::new())
                });
                let answers = ours.manager().submit_many(&ids[0], commands).await;
                let answers = answers.into_iter();
                handles.extend(answers.map(|answer| answer.expect("an open queue accepts all")));
            }
        }
    }

    async fn sum(&mut self) -> u64 {
        match self {
            Self::Receivers(receivers) => sum_of(receivers).await,
            Self::Handles(handles) => {
                let mut sum = 0;
                for handle in handles.drain(..) {
                    let value = handle.await.expect("the command succeeds");
                    sum += value.as_u64().expect("a no-op returns its number");
                }
                sum
            }
        }
    }
}
