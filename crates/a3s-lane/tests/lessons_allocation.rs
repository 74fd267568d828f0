//! L34, L35: with nobody listening an event builds nothing, and metrics keep no value.
//!
//! Counts every allocation of the process, so it is a process of its own with one test, which plays three in turn: with another
//! beside it, what the harness and that one's runtime allocate would be counted too.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use a3s_lane::{
    Command, EventEmitter, LaneConfig, LaneEvent, QueueManager, QueueManagerBuilder, Result,
};
use async_trait::async_trait;
use serde_json::Value;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and `memory` came from `System`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`, and `memory` came from `System`.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

async fn allocations_of(work: impl Future<Output = ()>) -> u64 {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    work.await;
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

struct Nothing;

#[async_trait]
impl Command for Nothing {
    async fn execute(&self) -> Result<Value> {
        Ok(Value::Null)
    }
    fn command_type(&self) -> &str {
        "nothing"
    }
}

const COMMANDS: u64 = 1_000;

async fn run(manager: &QueueManager) {
    let mut receivers = Vec::with_capacity(COMMANDS as usize);
    for _ in 0..COMMANDS {
        let submitted = manager.submit("only", Box::new(Nothing)).await;
        receivers.push(submitted.expect("accepted"));
    }
    for receiver in receivers {
        receiver.await.expect("resolved").expect("it ran");
    }
}

async fn started() -> QueueManager {
    let manager = QueueManagerBuilder::new(EventEmitter::new(16))
        .with_lane("only", LaneConfig::new(1, 4), 0)
        .build()
        .await
        .expect("built");
    manager.start().await.expect("starts");
    manager
}

#[tokio::test]
async fn l34_l35_what_nobody_reads_is_not_kept() {
    with_nobody_listening_nothing_is_allocated_for_events().await;
    an_event_that_nobody_hears_allocates_nothing().await;
    #[cfg(feature = "metrics")]
    metrics_keep_no_value().await;
}

async fn with_nobody_listening_nothing_is_allocated_for_events() {
    let manager = started().await;
    // The first run grows the queue's buffers.
    run(&manager).await;
    let silent = allocations_of(run(&manager)).await;
    // The body's future and the channel of the result; a command of no size needs no box. The rest is the list of
    // receivers and now and then a task.
    assert!(
        silent < 2 * COMMANDS + COMMANDS / 10,
        "{silent} allocations for {COMMANDS} commands"
    );
    let mut stream = manager.subscribe();
    let heard = allocations_of(async {
        run(&manager).await;
        for _ in 0..16 {
            stream.recv().await.expect("an event");
        }
    })
    .await;
    assert!(
        heard > silent + 16 * 4,
        "this test sees events: {heard} after {silent}"
    );
    drop(stream);
    run(&manager).await;
    let silent_again = allocations_of(run(&manager)).await;
    assert!(
        silent_again < 2 * COMMANDS + COMMANDS / 10,
        "{silent_again} allocations for {COMMANDS} commands after the last listener left"
    );
}

async fn an_event_that_nobody_hears_allocates_nothing() {
    let emitter = EventEmitter::new(16);
    let events: Vec<LaneEvent> = (0..100).map(|_| LaneEvent::empty("k")).collect();
    let allocations = allocations_of(async {
        for event in events {
            emitter.emit(event);
        }
    })
    .await;
    assert_eq!(allocations, 0);
}

#[cfg(feature = "metrics")]
async fn metrics_keep_no_value() {
    use a3s_lane::metrics::{LaneSample, LocalMetrics, MetricsBackend};

    let metrics = LocalMetrics::new();
    let lane = metrics.lane_recorder("only").expect("it has recorders");
    let record = || {
        for n in 0..100_000 {
            let latency_ms = f64::from(n % 1_000);
            lane.record(LaneSample::Completed { latency_ms }, 0, 0);
        }
    };
    record();
    let allocations = allocations_of(async { record() }).await;
    assert_eq!(allocations, 0, "for 100,000 values like those before");
    let latency = metrics.get_histogram_stats("lane.command.latency_ms.only");
    assert_eq!(latency.await.expect("recorded").count, 200_000);
}
