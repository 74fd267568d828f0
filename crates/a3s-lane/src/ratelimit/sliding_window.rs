//! The arithmetic of a sliding window, with the time as an argument.

use std::collections::VecDeque;

use super::RateLimitConfig;

/// Grants at most `max_commands` in any window of time that contains its first moment and not its last.
///
/// Remembers each moment at which something was granted, so it holds at most `max_commands` entries of 16 bytes and
/// usually as many as there were grants in the last window. Without a limit it remembers nothing.
#[derive(Debug, Clone)]
pub(crate) struct SlidingWindow {
    max_commands: u64,
    window_ns: u64,
    grants: VecDeque<Grant>,
    granted: u64,
    last_ns: u64,
}

#[derive(Debug, Clone, Copy)]
struct Grant {
    at_ns: u64,
    cost: u64,
}

impl SlidingWindow {
    pub(crate) fn new(config: &RateLimitConfig) -> Self {
        let (max_commands, window_ns) = config.normalised();
        Self {
            max_commands,
            window_ns,
            grants: VecDeque::new(),
            granted: 0,
            last_ns: 0,
        }
    }

    /// Takes `cost` from the window that ends now, or takes nothing and says from when on it would succeed.
    ///
    /// The error is an absolute time in nanoseconds; `u64::MAX` means never, as for a cost above `max_commands`. Time that
    /// runs backwards counts as standing still.
    pub(crate) fn try_take(&mut self, cost: u64, now_ns: u64) -> Result<(), u64> {
        if cost == 0 || self.is_unlimited() {
            return Ok(());
        }
        if cost > self.max_commands {
            return Err(u64::MAX);
        }
        self.expire(now_ns);
        let room = self.max_commands - self.granted;
        if cost <= room {
            self.remember(cost);
            return Ok(());
        }
        Err(self.due_ns(cost - room))
    }

    /// What was granted in the window that ends now; always 0 without a limit.
    pub(crate) fn count(&mut self, now_ns: u64) -> u64 {
        self.expire(now_ns);
        self.granted
    }

    /// What could be taken now.
    pub(crate) fn remaining(&mut self, now_ns: u64) -> u64 {
        self.expire(now_ns);
        self.max_commands - self.granted
    }

    fn is_unlimited(&self) -> bool {
        self.max_commands == u64::MAX
    }

    fn expire(&mut self, now_ns: u64) {
        self.last_ns = self.last_ns.max(now_ns);
        while let Some(grant) = self.grants.front()
            && self.last_ns - grant.at_ns >= self.window_ns
        {
            self.granted -= grant.cost;
            self.grants.pop_front();
        }
    }

    fn remember(&mut self, cost: u64) {
        self.granted += cost;
        match self.grants.back_mut() {
            Some(grant) if grant.at_ns == self.last_ns => grant.cost += cost,
            _ => self.grants.push_back(Grant {
                at_ns: self.last_ns,
                cost,
            }),
        }
    }

    /// When `missing` more will have left the window.
    fn due_ns(&self, missing: u64) -> u64 {
        let mut freed = 0;
        for grant in &self.grants {
            freed += grant.cost;
            if freed >= missing {
                return grant.at_ns.saturating_add(self.window_ns);
            }
        }
        u64::MAX
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn window(max_commands: u64, window_ns: u64) -> SlidingWindow {
        SlidingWindow::new(&RateLimitConfig::new(
            max_commands,
            Duration::from_nanos(window_ns),
        ))
    }

    #[test]
    fn a_window_holds_its_maximum_and_no_more() {
        let mut window = window(2, SECOND);
        assert_eq!(window.try_take(1, 0), Ok(()));
        assert_eq!(window.try_take(1, SECOND / 2), Ok(()));
        assert_eq!(
            (window.count(SECOND / 2), window.remaining(SECOND / 2)),
            (2, 0)
        );
        assert_eq!(window.try_take(1, SECOND - 1), Err(SECOND));
        assert_eq!(window.try_take(1, SECOND), Ok(()));
        assert_eq!(window.try_take(1, SECOND), Err(SECOND + SECOND / 2));
        assert_eq!(window.try_take(2, SECOND), Err(2 * SECOND));
    }

    #[test]
    fn grants_of_one_moment_share_an_entry() {
        let mut window = window(1_000_000, SECOND);
        for _ in 0..1_000 {
            assert_eq!(window.try_take(1, 7), Ok(()));
        }
        assert_eq!(window.grants.len(), 1);
        assert_eq!(window.count(7), 1_000);
        assert_eq!(window.count(7 + SECOND), 0);
        assert!(window.grants.is_empty());
    }

    #[test]
    fn time_that_runs_backwards_stands_still() {
        let mut window = window(1, SECOND);
        assert_eq!(window.try_take(1, 5 * SECOND), Ok(()));
        assert_eq!(window.try_take(1, SECOND), Err(6 * SECOND));
        assert_eq!(window.count(0), 1);
    }

    #[test]
    fn what_can_never_succeed_says_never() {
        assert_eq!(window(2, SECOND).try_take(3, 0), Err(u64::MAX));
        assert_eq!(window(0, SECOND).try_take(1, u64::MAX), Err(u64::MAX));
        assert_eq!(window(5, 0).try_take(1, 0), Err(u64::MAX));
        assert_eq!(window(5, 0).remaining(0), 0);
    }

    #[test]
    fn unlimited_always_grants_and_remembers_nothing() {
        let mut unlimited = SlidingWindow::new(&RateLimitConfig::unlimited());
        for now_ns in [0, 0, 1, u64::MAX, u64::MAX] {
            assert_eq!(unlimited.try_take(u64::MAX, now_ns), Ok(()));
            assert_eq!(unlimited.remaining(now_ns), u64::MAX);
            assert_eq!(unlimited.count(now_ns), 0);
        }
        assert!(unlimited.grants.is_empty());
    }

    #[test]
    fn extreme_settings_do_not_overflow() {
        let extremes = [1, u64::MAX - 1, u64::MAX];
        for max_commands in extremes {
            for window_ns in extremes {
                let mut window = window(max_commands, window_ns);
                for now_ns in [0, 1, u64::MAX, 0, u64::MAX] {
                    let _ = window.try_take(1, now_ns);
                    let _ = window.try_take(u64::MAX - 1, now_ns);
                    let _ = window.try_take(u64::MAX, now_ns);
                }
            }
        }
    }

    proptest! {
        /// At most `max_commands` in every half-open window, and a refusal names the exact moment from which on the take
        /// succeeds.
        #[test]
        fn i11_rate_bound_sliding_window(
            max_commands in 1u64..20,
            window_ns in 1u64..500,
            requests in prop::collection::vec((0u64..100, 0u64..25), 1..80),
        ) {
            let mut window = window(max_commands, window_ns);
            let mut now_ns = 0;
            let mut grants: Vec<(u64, u64)> = Vec::new();
            for (gap_ns, cost) in requests {
                now_ns += gap_ns;
                match window.try_take(cost, now_ns) {
                    Ok(()) => grants.push((now_ns, cost)),
                    Err(u64::MAX) => prop_assert!(cost > max_commands),
                    Err(due_ns) => {
                        prop_assert!(due_ns > now_ns);
                        prop_assert!(window.clone().try_take(cost, due_ns - 1).is_err());
                        prop_assert!(window.clone().try_take(cost, due_ns).is_ok());
                    }
                }
                prop_assert!(window.grants.len() as u64 <= max_commands);
                prop_assert_eq!(window.count(now_ns) + window.remaining(now_ns), max_commands);
            }
            for &(start_ns, _) in &grants {
                let granted: u64 = grants
                    .iter()
                    .filter(|&&(at_ns, _)| (start_ns..start_ns + window_ns).contains(&at_ns))
                    .map(|&(_, cost)| cost)
                    .sum();
                prop_assert!(granted <= max_commands);
            }
        }
    }
}
