//! A lane kept busy by a backlog, while something else is measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crate::contestants::Contestant;
use crate::contestants::jobs::Spin;

use super::drive::Blockers;

/// What one command of the load does, and how many there are.
#[derive(Clone, Copy)]
pub(crate) struct Backlog {
    pub(crate) time: Duration,
    pub(crate) asleep: bool,
    pub(crate) commands: usize,
}

/// The lane is busy, the workers are not.
pub(crate) const SLEEPING: Backlog = Backlog {
    time: Duration::from_millis(5),
    asleep: true,
    commands: 10_000,
};

/// Two slots of it keep two workers busy all the time.
pub(crate) const COMPUTING: Backlog = Backlog {
    time: Duration::from_micros(20),
    asleep: false,
    commands: 100_000,
};

/// A submitted backlog.
pub(crate) struct Load {
    done: Arc<AtomicUsize>,
    commands: usize,
}

impl Load {
    /// Submits the backlog while the lane's slots are held, then lets them go.
    pub(crate) async fn start<C: Contestant>(
        contestant: &Arc<C>,
        lane: &'static str,
        slots: usize,
        backlog: Backlog,
    ) -> Self {
        let done = Arc::new(AtomicUsize::new(0));
        let blockers = Blockers::occupy(&**contestant, lane, slots).await;
        let submitter = {
            let (contestant, done) = (Arc::clone(contestant), Arc::clone(&done));
            async move {
                for _ in 0..backlog.commands {
                    let spin = Spin {
                        time: backlog.time,
                        asleep: backlog.asleep,
                        done: Arc::clone(&done),
                    };
                    drop(contestant.submit(lane, spin).await);
                }
            }
        };
        tokio::spawn(submitter)
            .await
            .expect("the load is submitted");
        blockers.release().await;
        Self {
            done,
            commands: backlog.commands,
        }
    }

    /// Whether nine tenths have run.
    pub(crate) fn nearly_over(&self) -> bool {
        self.done.load(Relaxed) >= self.commands - self.commands / 10
    }

    /// Panics unless some ran and some still wait.
    pub(crate) fn check(&self) {
        let done = self.done.load(Relaxed);
        assert!(
            done > 0 && done + 2 < self.commands,
            "some of the load ran and some still waits: {done} of {} done",
            self.commands
        );
    }
}
