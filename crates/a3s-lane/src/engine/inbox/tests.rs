use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::sync::oneshot::Receiver;

use super::*;
use crate::command::Command;
use crate::config::{LaneConfig, LaneOptions, Overflow};
use crate::engine::LaneSpec;
use crate::error::LaneError;
use crate::event::EventEmitter;
use crate::queue::{CommandQueue, Lane};
use crate::scheduler::LaneCounts;

/// Runs as soon as there is a permit.
struct Gated(Arc<Semaphore>);

#[async_trait::async_trait]
impl Command for Gated {
    async fn execute(&self) -> crate::error::Result<Value> {
        self.0.acquire().await.expect("never closed").forget();
        Ok(Value::Null)
    }

    fn command_type(&self) -> &str {
        "gated"
    }
}

type Answer = Receiver<crate::error::Result<Value>>;

struct House {
    runtime: Runtime,
    queue: Arc<CommandQueue>,
    gate: Arc<Semaphore>,
}

impl House {
    /// A started queue with a lane "a" of one slot.
    fn new() -> Self {
        Self::with(|config| config)
    }

    fn with(change: impl FnOnce(LaneConfig) -> LaneConfig) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let queue = Arc::new(CommandQueue::new(EventEmitter::new(64)));
        let lane = Lane::new("a", change(LaneConfig::new(1, 1)), 1);
        runtime.block_on(async {
            queue.register_lane(Arc::new(lane)).await;
            Arc::clone(&queue).start_scheduler().await;
        });
        let gate = Arc::new(Semaphore::new(0));
        Self {
            runtime,
            queue,
            gate,
        }
    }

    fn engine(&self) -> &Arc<Engine> {
        self.queue.engine()
    }

    fn submit(&self) -> Answer {
        self.try_submit().expect("accepted")
    }

    fn try_submit(&self) -> crate::error::Result<Answer> {
        let command = Box::new(Gated(Arc::clone(&self.gate)));
        self.runtime.block_on(self.queue.submit("a", command))
    }

    /// One that runs, one that waits, and the door opened if it may be: as a submitter does that had to wait for the lock.
    fn fill(&self) -> Vec<Answer> {
        let answers = vec![self.submit(), self.submit()];
        while !self.is_settled_down() {
            std::thread::yield_now();
        }
        self.knock();
        answers
    }

    /// Whether one command waits for its gate and one for its slot, and no runner is about to take the lock: the body that waits
    /// is known to the engine.
    fn is_settled_down(&self) -> bool {
        let state = self.engine().lock();
        let mut commands = state.scheduler.commands();
        let runs = commands.any(|command| command.holds_slot && command.job.cell.is_some());
        runs && state.armed == 0 && state.scheduler.overview().pending == 1
    }

    fn knock(&self) {
        let mut state = self.engine().lock();
        let lane = state.names["a"];
        self.engine().open_door(&mut state, lane);
        self.engine().release_lock(state);
    }

    fn is_open(&self) -> bool {
        self.engine().inbox.any_open.load(Ordering::Relaxed)
    }

    /// A submission that returns while this thread has the lock.
    fn post(&self) -> Answer {
        let _state = self.engine().lock();
        self.submit()
    }

    /// Whether a submission waits for the lock.
    fn waits(&self) -> bool {
        let state = self.engine().lock();
        let (answered, answer) = mpsc::channel();
        std::thread::scope(|threads| {
            threads.spawn(move || answered.send(self.submit()));
            let waits = answer.recv_timeout(Duration::from_millis(100)).is_err();
            drop(state);
            waits
        })
    }

    fn counts(&self) -> (usize, usize) {
        let mut counts = self.engine().counts::<LaneCounts>();
        let status = counts.remove("a").expect("the lane");
        (status.pending, status.active)
    }

    fn finish(&self, answers: Vec<Answer>) {
        self.gate.add_permits(answers.len());
        for answer in answers {
            let answer = self.runtime.block_on(answer);
            answer.expect("an answer").expect("no error");
        }
    }
}

#[test]
fn a_full_lane_takes_a_submission_while_the_lock_is_held() {
    let house = House::new();
    let mut answers = house.fill();
    answers.push(house.post());
    assert_eq!(house.counts(), (2, 1), "whoever looks sees all three");
    house.finish(answers);
    assert_eq!(house.counts(), (0, 0));
}

#[test]
fn without_contention_no_door_opens() {
    let house = House::new();
    let answers = vec![house.submit(), house.submit()];
    assert!(!house.is_open());
    house.finish(answers);
}

#[test]
fn the_door_of_a_lane_is_shut_when_it_has_a_free_slot() {
    let house = House::new();
    let answers = house.fill();
    assert!(house.is_open());
    house.finish(answers);
    assert_eq!(house.counts(), (0, 0));
    assert!(!house.is_open());
    assert!(house.waits());
}

#[test]
fn what_lies_in_the_inbox_starts_when_the_slot_is_free() {
    let house = House::new();
    let answers = house.fill();
    let posted = house.post();
    // Nobody but the runner takes the lock from here on.
    house.finish(answers);
    house.gate.add_permits(1);
    house
        .runtime
        .block_on(posted)
        .expect("an answer")
        .expect("no error");
}

#[test]
fn the_inbox_is_bounded() {
    let house = House::new();
    let mut answers = house.fill();
    let state = house.engine().lock();
    for _ in 0..MOST {
        answers.push(house.submit());
    }
    drop(state);
    assert!(house.engine().inbox.waiting.load(Ordering::Relaxed) == MOST);
    answers.push(house.submit());
    assert_eq!(house.engine().inbox.waiting.load(Ordering::Relaxed), 0);
    assert_eq!(house.counts(), (MOST + 2, 1));
    house.finish(answers);
}

#[test]
fn submissions_keep_their_order() {
    struct Noted(u32, Arc<Mutex<Vec<u32>>>);

    #[async_trait::async_trait]
    impl Command for Noted {
        async fn execute(&self) -> crate::error::Result<Value> {
            self.1.lock().expect("no panic").push(self.0);
            Ok(Value::Null)
        }

        fn command_type(&self) -> &str {
            "noted"
        }
    }

    let house = House::new();
    let first = house.fill();
    let order = Arc::default();
    let many = 3 * MOST as u32 + 5;
    let answers: Vec<Answer> = (0..many)
        .map(|number| {
            let command = Box::new(Noted(number, Arc::clone(&order)));
            let submitted = house.queue.submit("a", command);
            house.runtime.block_on(submitted).expect("accepted")
        })
        .collect();
    house.finish(first);
    for answer in answers {
        house
            .runtime
            .block_on(answer)
            .expect("an answer")
            .expect("no error");
    }
    assert!(order.lock().expect("no panic").iter().copied().eq(0..many));
}

#[test]
fn with_a_listener_every_submission_takes_the_lock() {
    let house = House::new();
    let answers = house.fill();
    let _events = house.queue.subscribe_stream();
    assert!(house.waits());
    drop(answers);
}

#[test]
fn who_listens_when_it_enters_its_lane_is_told() {
    let house = House::new();
    let mut answers = house.fill();
    answers.push(house.post());
    let mut events = house.queue.subscribe_stream();
    assert_eq!(house.counts(), (2, 1));
    let told = house.runtime.block_on(async {
        let told = tokio::time::timeout(Duration::from_secs(30), events.recv());
        told.await.expect("an event in time").expect("no end")
    });
    assert_eq!(told.key, "queue.command.submitted");
    house.finish(answers);
}

#[test]
fn after_the_shutdown_nothing_comes_in() {
    let house = House::new();
    let mut answers = house.fill();
    answers.push(house.post());
    house.runtime.block_on(house.queue.shutdown());
    let refused = house.try_submit();
    assert!(matches!(refused, Err(LaneError::ShutdownInProgress)));
    house.finish(answers);
}

#[test]
fn what_was_posted_is_settled_when_the_queue_ends() {
    let house = House::new();
    let mut answers = house.fill();
    answers.push(house.post());
    house.engine().close("as the test wants");
    for answer in answers {
        let answer = house.runtime.block_on(answer).expect("an answer");
        assert!(
            matches!(answer, Err(LaneError::QueueError(_))),
            "{answer:?}"
        );
    }
    assert!(house.try_submit().is_err());
}

#[test]
fn lanes_that_refuse_or_tell_have_no_door() {
    let options = LaneOptions::new()
        .with_max_pending(100)
        .with_overflow(Overflow::Reject);
    let refusing = House::new();
    refusing.engine().register(&LaneSpec {
        id: "a".to_owned(),
        priority: 1,
        config: LaneConfig::new(1, 1),
        options,
        storage: None,
    });
    let pressing = House::with(|config| config.with_pressure_threshold(100));
    for house in [refusing, pressing] {
        let answers = house.fill();
        assert!(!house.is_open());
        house.finish(answers);
    }
}

/// A lane without a free slot may lose one to a new configuration: its door is shut before that.
#[test]
fn a_new_configuration_shuts_the_doors() {
    let house = House::new();
    let mut answers = house.fill();
    answers.push(house.post());
    house.runtime.block_on(async {
        let lane = Lane::new("a", LaneConfig::new(1, 3), 1);
        house.queue.register_lane(Arc::new(lane)).await;
    });
    assert!(!house.is_open());
    house.finish(answers);
}
