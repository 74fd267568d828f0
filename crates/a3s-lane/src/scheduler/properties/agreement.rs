//! The scheduler answers as the model does.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::LEAST;
use super::operation::{Op, ops};
use super::strategies::setup;
use super::world::{Mode, Tally, run};
use crate::seeds::properties;

properties! {
    cases: 850, least: LEAST;

    /// Every decision, count and wake-up, after every operation and until all the work is done.
    #[test]
    fn every_answer_is_the_models(setup in setup(), ops in ops(1..250), open_late in any::<bool>()) {
        let before: &[Op] = if open_late { &[] } else { &[Op::Open] };
        let ops = [before, &ops].concat();
        let mut world = run(Mode::Agree, setup, &ops, |_| Ok(()))?;
        world.finish()?;
    }
}

/// How often each rule must be reached, and the most runs this may take.
const OFTEN: usize = 12;
const RUNS: usize = 600;

/// The random operations reach every rule. Always the same operations, and no more of them than it takes: this is about
/// the other tests, which play about a thousand runs.
#[test]
fn the_operations_reach_every_rule() {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut sum = Tally::default();
    let mut missing = Vec::new();
    for done in 1..=RUNS {
        let inputs = (setup(), ops(1..250));
        let inputs = inputs.new_tree(&mut runner).expect("no filters");
        let (setup, ops) = inputs.current();
        let ops = [&[Op::Open], &ops[..]].concat();
        let world = run(Mode::Agree, setup, &ops, |_| Ok(())).expect("agreement");
        sum.add(&world.tally);

        missing = sum.counts();
        missing.retain(|&(name, count)| count < expected(name));
        if missing.is_empty() {
            println!("every rule was reached {OFTEN} times in {done} runs");
            return;
        }
    }
    panic!("in {RUNS} runs these happened less than {OFTEN} times: {missing:?}");
}

fn expected(name: &str) -> usize {
    let distributed = ["refunds", "debts", "overdue starts"].contains(&name);
    if distributed && !cfg!(feature = "distributed") {
        0
    } else {
        OFTEN
    }
}
