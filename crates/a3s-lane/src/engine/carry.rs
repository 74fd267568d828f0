//! What a runner does when its command has ended: it goes on with the next, and acts on what the end has made possible.

use std::sync::Arc;

use super::Engine;
use super::locked::Locked;
use super::taken::{Hand, Stage, Taken};
use crate::executor::locks::Lock;
use crate::hint::{likely, unlikely};

impl Engine {
    /// Takes the next command into the hand of a runner, or arms the runner again, and releases the lock.
    #[inline(always)]
    pub(super) fn carry_on(
        self: &Arc<Self>,
        stage: &mut Stage,
        mut state: Locked<'_>,
        take: bool,
        now: u64,
        hand: &mut Hand,
    ) {
        debug_assert!(hand.is_empty(), "a runner holds one command");
        if unlikely(self.handlers.has_executors()) {
            return self.carry_on_here(stage, state, take, now, hand);
        }
        if take {
            self.take(&mut state, now, hand);
            if hand.is_empty() && self.has_posts() {
                self.collect_posts(&mut state);
                self.take(&mut state, now, hand);
            }
        }
        // A handler at an executor may have come since.
        if unlikely(hand.is_foreign()) {
            let elsewhere = hand.pick().into_iter().collect();
            stage.go_on(&mut state, take, hand);
            return self.carry_on_and_act(state, elsewhere, hand);
        }
        stage.go_on(&mut state, take, hand);
        if likely(self.calls_for_nothing(&state)) {
            return;
        }
        self.carry_on_and_act(state, Vec::new(), hand);
    }

    /// As [`carry_on`](Self::carry_on), with handlers that run at executors.
    #[inline(never)]
    fn carry_on_here(
        self: &Arc<Self>,
        stage: &mut Stage,
        mut state: Locked<'_>,
        take: bool,
        now: u64,
        hand: &mut Hand,
    ) {
        let mut elsewhere = Vec::new();
        if take {
            self.take_here(&mut state, now, hand, &mut elsewhere);
            if hand.is_empty() && self.has_posts() {
                self.collect_posts(&mut state);
                self.take_here(&mut state, now, hand, &mut elsewhere);
            }
        }
        stage.go_on(&mut state, take, hand);
        self.carry_on_and_act(state, elsewhere, hand);
    }

    #[inline(never)]
    fn carry_on_and_act(
        self: &Arc<Self>,
        mut state: Locked<'_>,
        elsewhere: Vec<Taken>,
        hand: &mut Hand,
    ) {
        let mut follow_up = self.follow_up(&mut state);
        follow_up.hand_over_first(elsewhere);
        if let Some(held) = hand.held_mut() {
            held.timer_first = follow_up.concerns_timer();
        }
        // As in `release_and_run`.
        let _lock = Lock::taken();
        drop(state);
        self.act(follow_up);
    }
}
