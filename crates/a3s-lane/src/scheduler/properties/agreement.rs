//! The scheduler answers as the model does.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::operation::{Op, ops};
use super::strategies::setup;
use super::world::{Mode, Tally, cases, run};

proptest! {
    #![proptest_config(cases(250))]

    /// Every decision, count and wake-up, after every operation and until all the work is done.
    #[test]
    fn every_answer_is_the_models(setup in setup(), ops in ops(1..250), open_late in any::<bool>()) {
        let before: &[Op] = if open_late { &[] } else { &[Op::Open] };
        let ops = [before, &ops].concat();
        let mut world = run(Mode::Agree, setup, &ops, |_| Ok(()))?;
        world.finish()?;
    }
}

/// The random operations reach every rule. Always the same operations, about an eighth of those of a whole run of the
/// properties: this is about the other tests.
#[test]
fn the_operations_reach_every_rule() {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut sum = Tally::default();
    for _ in 0..150 {
        let inputs = (setup(), ops(1..250));
        let inputs = inputs.new_tree(&mut runner).expect("no filters");
        let (setup, ops) = inputs.current();
        let ops = [&[Op::Open], &ops[..]].concat();
        let world = run(Mode::Agree, setup, &ops, |_| Ok(())).expect("agreement");
        sum.add(&world.tally);
    }
    for (name, count) in sum.counts() {
        println!("{name}: {count}");
    }
    for (name, count) in sum.counts() {
        let distributed = ["refunds", "debts", "overdue starts"].contains(&name);
        let expected = if distributed && !cfg!(feature = "distributed") {
            0
        } else {
            12
        };
        assert!(count >= expected, "{name} happened only {count} times");
    }
}
