mod feed;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Weak};
use std::task::{Wake, Waker};

use futures_core::Stream;
use serde_json::json;

use super::*;
use crate::error::LaneError;
use crate::explain::Explanation;

/// Counts how often its wakers are woken.
pub(super) struct Wakes(AtomicUsize);

impl Wakes {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(0)))
    }

    pub(super) fn waker(self: &Arc<Self>) -> Waker {
        self.clone().into()
    }

    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A queue that notes what it is asked to cancel.
struct Canceller {
    asked: Mutex<Vec<u64>>,
    answer: bool,
}

impl Remote for Canceller {
    fn cancel(self: Arc<Self>, serial: u64) -> bool {
        self.asked.lock().expect("no panic under it").push(serial);
        self.answer
    }

    fn explain(&self, _serial: u64) -> Option<Explanation> {
        None
    }

    fn is_delayed(&self, _: u64) -> bool {
        false
    }
}

fn command_of(remote: Weak<dyn Remote>) -> (Arc<Shared>, CommandHandle) {
    let shared = Shared::new("id-7", "api".into(), 7, remote, CommandStatus::Pending);
    (shared.clone(), CommandHandle::new(shared))
}

fn command() -> (Arc<Shared>, CommandHandle) {
    command_of(Weak::<Canceller>::new())
}

fn completed(shared: &Shared, value: Value) {
    assert!(shared.settle(CommandStatus::Completed, Ok(value)));
}

/// Polls once on behalf of `wakes`.
fn poll_once<F: Future + Unpin>(future: &mut F, wakes: &Arc<Wakes>) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(&wakes.waker()))
}

#[test]
fn a_handle_knows_its_command() {
    let (shared, handle) = command();
    assert_eq!((handle.id(), handle.lane_id()), ("id-7", "api"));
    assert_eq!(handle.status(), CommandStatus::Pending);
    shared.set_status(CommandStatus::Running);
    assert_eq!(handle.clone().status(), CommandStatus::Running);
    let text = format!("{handle:?}");
    for part in ["id-7", "api", "Running"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn cancel_asks_the_queue_for_this_command() {
    for answer in [true, false] {
        let queue = Arc::new(Canceller {
            asked: Mutex::default(),
            answer,
        });
        let as_remote: Arc<dyn Remote> = queue.clone();
        let (_, handle) = command_of(Arc::downgrade(&as_remote));
        assert_eq!(handle.cancel(), answer);
        assert_eq!(*queue.asked.lock().expect("no panic under it"), [7]);
    }
}

#[test]
fn nothing_is_cancelled_when_the_queue_is_gone_or_a_handle_is_dropped() {
    let queue = Arc::new(Canceller {
        asked: Mutex::default(),
        answer: true,
    });
    let as_remote: Arc<dyn Remote> = queue.clone();
    let (shared, handle) = command_of(Arc::downgrade(&as_remote));
    drop(handle.clone().into_future());
    drop((handle.progress(), handle.chunks(), handle));
    assert!(queue.asked.lock().expect("no panic under it").is_empty());
    let (weak, handle) = (Arc::downgrade(&queue), CommandHandle::new(shared));
    drop((queue, as_remote));
    assert_eq!(weak.strong_count(), 0, "a handle keeps no queue");
    assert!(!handle.cancel());
}

#[test]
fn the_first_outcome_stays() {
    let (shared, handle) = command();
    completed(&shared, json!(1));
    assert!(!shared.settle(
        CommandStatus::Cancelled,
        Err(LaneError::Cancelled("late".into()))
    ));
    shared.set_status(CommandStatus::Running);
    assert_eq!(handle.status(), CommandStatus::Completed);
    let result = poll_once(&mut handle.into_future(), &Wakes::new());
    assert!(matches!(result, Poll::Ready(Ok(value)) if value == json!(1)));
}

#[test]
fn settling_wakes_all_who_wait() {
    let (shared, handle) = command();
    let (first, second) = (Wakes::new(), Wakes::new());
    let mut waiting = [
        (handle.clone().into_future(), &first),
        (handle.clone().into_future(), &second),
    ];
    for (future, wakes) in &mut waiting {
        assert!(poll_once(future, wakes).is_pending());
        assert!(poll_once(future, wakes).is_pending());
    }
    shared.set_status(CommandStatus::Running);
    shared.progress(json!(1));
    shared.chunk(1, json!(2));
    assert_eq!(
        (first.count(), second.count()),
        (0, 0),
        "nothing is settled"
    );
    completed(&shared, json!("done"));
    assert_eq!((first.count(), second.count()), (1, 1));
    for (future, wakes) in &mut waiting {
        let result = poll_once(future, wakes);
        assert!(matches!(result, Poll::Ready(Ok(value)) if value == json!("done")));
    }
}

#[test]
fn who_stopped_waiting_is_not_woken() {
    let (shared, handle) = command();
    let (gone, here) = (Wakes::new(), Wakes::new());
    let mut dropped = handle.clone().into_future();
    let mut kept = handle.into_future();
    assert!(poll_once(&mut dropped, &gone).is_pending());
    assert!(poll_once(&mut kept, &here).is_pending());
    drop(dropped);
    completed(&shared, json!(1));
    assert_eq!((gone.count(), here.count()), (0, 1));
}

/// A waker whose drop is the end of another future of the same command.
struct HoldsFuture {
    _future: ResultFuture,
}

impl Wake for HoldsFuture {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn the_drop_of_a_waker_may_drop_another_future_of_the_command() {
    let (shared, handle) = command();
    let mut held = handle.clone().into_future();
    assert!(poll_once(&mut held, &Wakes::new()).is_pending());
    let mut moved = handle.clone().into_future();
    let waker = Waker::from(Arc::new(HoldsFuture { _future: held }));
    assert!(
        pin!(&mut moved)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    drop(waker);
    // Replaces the waker: a lock held over its drop would never end here.
    assert!(poll_once(&mut moved, &Wakes::new()).is_pending());
    completed(&shared, json!(1));
}

#[tokio::test]
async fn the_result_can_be_read_again_and_again() {
    let (shared, handle) = command();
    completed(&shared, json!({"a": [1]}));
    for _ in 0..3 {
        let value = handle.result().await.expect("it completed");
        assert_eq!(value, json!({"a": [1]}));
    }
    assert_eq!(handle.await.expect("it completed"), json!({"a": [1]}));
}

#[tokio::test]
async fn every_reader_gets_the_error() {
    let (shared, handle) = command();
    assert!(shared.settle(
        CommandStatus::Expired,
        Err(LaneError::Expired("api".into()))
    ));
    assert_eq!(handle.status(), CommandStatus::Expired);
    for _ in 0..2 {
        let result = handle.result().await;
        assert!(matches!(result, Err(LaneError::Expired(text)) if text == "api"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_on_other_threads_miss_no_settlement() {
    for round in 0..200u64 {
        let (shared, handle) = command();
        let readers: Vec<_> = (0..8)
            .map(|_| tokio::spawn(handle.clone().into_future()))
            .collect();
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        }
        completed(&shared, json!(round));
        for reader in readers {
            let value = reader.await.expect("a reader does not panic");
            assert_eq!(value.expect("it completed"), json!(round));
        }
    }
}

#[test]
fn futures_and_streams_can_be_sent() {
    fn sent<T: Send + Sync + Unpin + 'static>(_: &T) {}
    let (_, handle) = command();
    sent(&handle);
    sent(&handle.progress());
    sent(&handle.chunks());
    sent(&handle.clone().into_future());
    fn held<T: Send>(_: T) {}
    held(handle.result());
}
