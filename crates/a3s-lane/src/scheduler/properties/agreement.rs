//! The scheduler answers as the model does.

use proptest::prelude::*;

use super::operation::{Op, ops};
use super::rules::lanes;
use super::world::{Mode, cases, run};

proptest! {
    #![proptest_config(cases(200))]

    /// Every decision, count and wake-up, after every operation and until all the work is done.
    #[test]
    fn every_answer_is_the_models(lanes in lanes(), ops in ops(50..250), open_late in any::<bool>()) {
        let before: &[Op] = if open_late { &[] } else { &[Op::Open] };
        let ops = [before, &ops].concat();
        let mut world = run(Mode::Agree, lanes, &ops, |_| Ok(()))?;
        world.finish()?;
    }
}
