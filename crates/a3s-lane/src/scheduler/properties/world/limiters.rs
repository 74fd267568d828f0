//! Named limiters, which exist with the `distributed` feature only.

#[cfg(feature = "distributed")]
mod there {
    use proptest::prelude::*;

    use super::super::super::rules::{LaneRules, LimiterRules};
    use super::super::{Checked, World, lane_key};
    use crate::scheduler::LanePolicy;

    impl World {
        pub(in super::super) fn policy(&self, rules: &LaneRules) -> LanePolicy {
            let mut policy = rules.policy(self.now);
            let limiters = rules.limiters.iter();
            policy.limiters = limiters.map(|&number| self.limiters[number]).collect();
            policy
        }

        pub(in super::super) fn add_limiter(&mut self, rules: LimiterRules) {
            let key = self.scheduler.add_limiter(rules.limiter(self.now));
            self.limiters.push(key);
            self.model.add_limiter(rules, self.now);
        }

        pub(in super::super) fn set_limiter(&mut self, pick: u8, rules: LimiterRules) {
            let number = usize::from(pick) % self.limiters.len();
            let limiter = rules.limiter(self.now);
            self.scheduler
                .set_limiter(self.limiters[number], limiter, self.now);
            self.model.set_limiter(number, rules, self.now);
        }

        pub(in super::super) fn settle_cost(
            &mut self,
            serial: u64,
            run: u32,
            actual: u64,
        ) -> Checked {
            if !self.model.can_settle(serial, run, actual) {
                return Ok(());
            }
            self.tally.settle(&self.model, serial, run, actual);
            let settled = self
                .scheduler
                .settle_cost(self.key(serial), run, actual, self.now);
            let expected = self.model.settle_cost(serial, run, actual, self.now);
            prop_assert_eq!(settled, expected);
            Ok(())
        }

        pub(in super::super::super) fn compare_limiters(&self) -> Checked {
            for lane in self.model.lane_numbers() {
                let highest = self.scheduler.lane(lane_key(lane)).highest_cost();
                let expected = self.model.highest_cost(lane);
                prop_assert_eq!(
                    highest,
                    expected.map(|(cost, number)| (cost, self.limiters[number]))
                );
            }
            Ok(())
        }
    }
}

#[cfg(not(feature = "distributed"))]
mod absent {
    use super::super::super::rules::{LaneRules, LimiterRules};
    use super::super::{Checked, World};
    use crate::scheduler::LanePolicy;

    impl World {
        pub(in super::super) fn policy(&self, rules: &LaneRules) -> LanePolicy {
            rules.policy(self.now)
        }

        pub(in super::super) fn add_limiter(&mut self, _rules: LimiterRules) {}

        pub(in super::super) fn set_limiter(&mut self, _pick: u8, _rules: LimiterRules) {}

        pub(in super::super) fn settle_cost(
            &mut self,
            _serial: u64,
            _run: u32,
            _actual: u64,
        ) -> Checked {
            Ok(())
        }

        pub(in super::super::super) fn compare_limiters(&self) -> Checked {
            Ok(())
        }
    }
}
